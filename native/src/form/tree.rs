//! Trees: how a granted part is written that is no plain copy and no single changed field, from the source's own bytes.
//!
//! What is kept is copied as it stands, what is not granted is passed over, what is transformed is written anew. An array or map
//! whose elements change is written as one block, as its items' sizes do. The bytes have passed the walk. Equal to
//! `reference/forms.py`, reject codes included.

use super::GrantSpec;
use crate::program::Fault;
use crate::reject::Reject;
use crate::values::{Change, Forms, IdentifierKind, MacKey, PSEUDONYM_BYTES, normal_form, pseudonym};
use crate::walk::node::Node;
use crate::walk::strict::Reader;
use crate::walk::varint;

/// Zigzag of the 26 characters of a pseudonym.
pub const PSEUDONYM_LENGTH: u8 = 52;

/// How a part is written.
#[derive(Clone)]
pub enum Tree {
    /// As it stands.
    Copy,
    /// Not at all.
    Pass,
    /// The same bytes whatever stands there.
    Constant(Box<[u8]>),
    /// Transformed.
    Change(Change),
    /// The pseudonym under a key of the program.
    Pseudonym(IdentifierKind, usize),
    /// Field by field.
    Members(Vec<Tree>),
    /// Element by element.
    Each(Box<Tree>),
    /// By branch of a union of several types, with what stands before null and before a value in the output's own union.
    Branches { trees: Vec<Option<Tree>>, null: &'static [u8], other: &'static [u8] },
}

impl Tree {
    /// Compiles what is granted of a part; a grant that does not fit the type is refused.
    pub fn compile(grant: &GrantSpec, node: &Node, keys: usize) -> Result<Tree, Fault> {
        const UNFIT: Fault = Fault("a grant does not fit its type");
        Ok(match (grant, node.bare()) {
            (GrantSpec::Copy, _) => Tree::Copy,
            (GrantSpec::Constant(bytes), _) => Tree::Constant(bytes.0.clone()),
            (GrantSpec::Members(members), Node::Record(fields)) => {
                let mut trees: Vec<Tree> = fields.iter().map(|_| Tree::Pass).collect();
                for (place, member) in members {
                    let field = fields.get(*place).ok_or(UNFIT)?;
                    trees[*place] = Tree::compile(member, field, keys)?;
                }
                Tree::Members(trees)
            }
            (GrantSpec::Each(inner), Node::Array(item) | Node::Map(item)) => Tree::Each(Box::new(Tree::compile(inner, item, keys)?)),
            (GrantSpec::Branches(grants), Node::Union { branches, null }) if grants.len() == branches.len() => {
                let trees = grants.iter().zip(branches).map(|(grant, branch)| match grant {
                    Some(grant) => Tree::compile(grant, branch, keys).map(Some),
                    None => Ok(None),
                });
                let (null, other): (&[u8], &[u8]) = match null {
                    None => (&[], &[]),
                    Some(0) => (&[0], &[2]),
                    Some(_) => (&[2], &[0]),
                };
                Tree::Branches { trees: trees.collect::<Result<_, _>>()?, null, other }
            }
            (GrantSpec::Pseudonym { kind, key }, Node::String) if *key < keys => Tree::Pseudonym(IdentifierKind::named(kind), *key),
            (GrantSpec::Change(change), Node::Union { .. } | Node::Record(_) | Node::Array(_) | Node::Map(_) | Node::Null) => {
                let _ = change;
                return Err(UNFIT);
            }
            (GrantSpec::Change(change), _) => Tree::Change(Change::compile(change)?),
            _ => return Err(UNFIT),
        })
    }
}

/// Bounds of what is made of a part: bytes for each byte of the source, and bytes besides.
#[derive(Clone, Copy, Default)]
pub struct Weight {
    /// For each byte.
    pub by_byte: usize,
    /// Besides.
    pub besides: usize,
}

impl Weight {
    /// Of two parts that share no byte.
    pub fn with(self, other: Weight) -> Weight {
        Weight { by_byte: self.by_byte.max(other.by_byte), besides: self.besides.saturating_add(other.besides) }
    }
}

impl Tree {
    /// The most bytes that it makes of a part.
    pub fn weight(&self) -> Weight {
        let besides = |besides| Weight { by_byte: 0, besides };
        match self {
            Tree::Copy => Weight { by_byte: 1, besides: 0 },
            Tree::Pass => besides(0),
            Tree::Constant(bytes) => besides(bytes.len()),
            Tree::Change(change) => Weight { by_byte: 1, besides: change.bound(0).saturating_add(1) },
            Tree::Pseudonym(..) => besides(2 + PSEUDONYM_BYTES),
            Tree::Members(trees) => trees.iter().fold(besides(1), |sum, tree| sum.with(tree.weight())),
            // An element takes a byte at least.
            Tree::Each(inner) => {
                let Weight { by_byte, besides } = inner.weight();
                Weight { by_byte: by_byte.saturating_add(besides).saturating_add(1), besides: 8 }
            }
            Tree::Branches { trees, .. } => trees.iter().flatten().fold(besides(1), |sum, tree| sum.with(tree.weight())),
        }
    }
}

/// Where output goes: it grows to a bound and no further, since a body that is too large is none, and a transform behind may
/// still fail for a reason that comes first.
pub struct Sink<'a> {
    /// The bytes.
    pub out: &'a mut Vec<u8>,
    /// So many are kept.
    pub most: usize,
}

impl Sink<'_> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
        self.hold();
    }

    #[inline]
    fn hold(&mut self) {
        self.out.truncate(self.most);
    }
}

/// Writes parts by their trees.
pub struct Writer<'a> {
    /// The source's bytes, up to where the part ends.
    pub data: &'a [u8],
    /// The program's keys.
    pub keys: &'a [MacKey],
    /// Memory for normal forms.
    pub forms: &'a mut Forms,
}

impl Writer<'_> {
    /// Writes the part at `at`; returns the position behind it.
    pub fn write(&mut self, tree: &Tree, node: &Node, at: usize, sink: &mut Sink) -> Result<usize, Reject> {
        match tree {
            Tree::Pass => return Ok(self.behind(node, at)),
            Tree::Copy => {
                let end = self.behind(node, at);
                sink.put(self.data.get(at..end).unwrap_or_default());
                return Ok(end);
            }
            Tree::Constant(bytes) => {
                sink.put(bytes);
                return Ok(self.behind(node, at));
            }
            _ => {}
        }
        match node {
            Node::Nullable { null, inner } => {
                let branch = self.data.get(at).copied().unwrap_or(*null);
                sink.put(&[branch]);
                if branch == *null { Ok(at + 1) } else { self.write_value(tree, inner, at + 1, sink) }
            }
            _ => self.write_value(tree, node, at, sink),
        }
    }

    fn write_value(&mut self, tree: &Tree, node: &Node, at: usize, sink: &mut Sink) -> Result<usize, Reject> {
        match (tree, node) {
            (Tree::Change(change), _) => {
                let end = self.behind(node, at);
                change.write(self.data.get(at..end).unwrap_or_default(), sink.out)?;
                sink.hold();
                Ok(end)
            }
            (Tree::Pseudonym(kind, key), _) => {
                let end = self.behind(node, at);
                let begin = varint::trusted(self.data, at).1;
                let text = self.data.get(begin..end).unwrap_or_default();
                let normal = normal_form(*kind, text, self.forms).ok_or(Reject::IdentifierInvalid)?;
                let key = self.keys.get(*key).ok_or(Reject::RuleFailed)?;
                sink.put(&[PSEUDONYM_LENGTH]);
                sink.put(&pseudonym(key, normal));
                Ok(end)
            }
            (Tree::Members(trees), Node::Record(fields)) => {
                trees.iter().zip(fields).try_fold(at, |at, (tree, field)| self.write(tree, field, at, sink))
            }
            (Tree::Each(inner), Node::Array(item)) => self.elements(inner, item, at, false, sink),
            (Tree::Each(inner), Node::Map(value)) => self.elements(inner, value, at, true, sink),
            (Tree::Branches { trees, null, other }, Node::Union { branches, null: null_place }) => {
                let (index, behind) = varint::trusted(self.data, at);
                let index = index as usize;
                if *null_place == Some(index) {
                    sink.put(null);
                    return Ok(behind);
                }
                sink.put(other);
                match (trees.get(index), branches.get(index)) {
                    (Some(Some(tree)), Some(branch)) => self.write(tree, branch, behind, sink),
                    _ => Err(Reject::TransformFailed),
                }
            }
            _ => Err(Reject::TransformFailed),
        }
    }

    fn elements(&mut self, inner: &Tree, item: &Node, at: usize, keyed: bool, sink: &mut Sink) -> Result<usize, Reject> {
        let (begin, mut total, mut at) = (sink.out.len(), 0i64, at);
        loop {
            let (count, items) = varint::block(self.data, at);
            at = items;
            if count == 0 {
                break;
            }
            total += count as i64;
            for _ in 0..count {
                if keyed {
                    let end = self.behind(&Node::String, at);
                    sink.put(self.data.get(at..end).unwrap_or_default());
                    at = end;
                }
                at = self.write(inner, item, at, sink)?;
            }
        }
        if total > 0 {
            // The count stands before the items, and is known behind them.
            let end = sink.out.len();
            varint::put(sink.out, total);
            let count = sink.out.len() - end;
            sink.out[begin..].rotate_right(count);
            sink.hold();
        }
        sink.put(&[0]);
        Ok(at)
    }

    fn behind(&self, node: &Node, at: usize) -> usize {
        Reader::new(self.data).value(node, at).unwrap_or(self.data.len())
    }
}
