//! Forms: what an agreement grants of a record, compiled to pieces that stand one behind the other in the output.
//!
//! A piece is a fragment or a pseudonym. Fragments are the longest runs that no key takes part in: agreements that grant the same
//! run share it, so that it is made once per record. Neighbours that are kept are one copy, across the borders of inner records
//! too. Pseudonyms are told by key and message (a field's text, or the record key, in the normal form of an identifier kind), and
//! equal ones are one as well. Grants inside arrays, maps, unions and records that may be null are written by `tree`.

pub mod tree;

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Deserializer, de};

use crate::program::Fault;
use crate::reject::Reject;
use crate::rule::{View, cut};
use crate::values::{Change, ChangeSpec, Forms, IdentifierKind, MacKey};
use crate::walk::layout::{Found, Layout};
use crate::walk::node::Node;
use tree::{Sink, Tree, Weight, Writer};

/// Bytes, as hex digits.
#[derive(Clone, PartialEq)]
pub struct Hex(pub Box<[u8]>);

impl fmt::Debug for Hex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hex, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = text.as_bytes().as_chunks::<2>();
        if !bytes.1.is_empty() {
            return Err(de::Error::custom("half a byte"));
        }
        let byte = |digits: &[u8; 2]| {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.chars().all(|digit| digit.is_ascii_hexdigit()))?;
            u8::from_str_radix(digits, 16).ok()
        };
        let found = bytes.0.iter().map(byte).collect::<Option<Box<[u8]>>>();
        found.map(Hex).ok_or_else(|| de::Error::custom("no hex digits"))
    }
}

/// What is granted of a part of a record.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum GrantSpec {
    /// All of it, as it stands.
    Copy,
    /// Of a record these fields, in the schema's order.
    Members(Vec<(usize, GrantSpec)>),
    /// Of an array or map this form of each element.
    Each(Box<GrantSpec>),
    /// These bytes, whatever stands there.
    Constant(Hex),
    /// A transform of the value; null stays null.
    Change(ChangeSpec),
    /// The pseudonym of the text under a key.
    Pseudonym {
        /// Identifier kind.
        kind: String,
        /// Index among the keys.
        key: usize,
    },
    /// By branch of a union of several types.
    Branches(Vec<Option<GrantSpec>>),
}

/// What pseudonyms are made of: the record key, or the text of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// None: the record key.
    pub slot: Option<u16>,
    /// How it is brought to its normal form.
    pub kind: IdentifierKind,
}

/// A message under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Index among the keys.
    pub key: usize,
    /// Index among the messages.
    pub message: usize,
}

/// A part of an output body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A fragment, by its index.
    Fragment(usize),
    /// A pseudonym, by the index of its pair; `slot` tells where the field is null and which branch it has.
    Pseudonym { pair: usize, slot: u16, nullable: bool },
}

enum Step {
    Copy { first: u16, last: u16 },
    Constant(Box<[u8]>),
    Change { slot: u16, nullable: bool, change: Change },
    Tree { slot: u16, node: Node, tree: Tree },
}

/// A run of output that is made once per record.
pub struct Fragment {
    steps: Vec<Step>,
}

/// Gathers the forms of one writer schema.
pub struct FormCompiler<'a> {
    layout: &'a mut Layout,
    keys: usize,
    fragments: Vec<Fragment>,
    known: HashMap<String, usize>,
    /// Pairs of the whole program: those of record keys first.
    pub pairs: Vec<Pair>,
    /// Messages of the whole program.
    pub messages: Vec<Message>,
}

/// A step on its way into a fragment.
enum Draft {
    Copy { first: usize, last: usize },
    Constant(Box<[u8]>),
    Change { part: usize, change: Change, name: String },
    Tree { part: usize, tree: Tree, name: String },
}

impl<'a> FormCompiler<'a> {
    /// Begins with the pairs and messages that record keys have.
    pub fn new(layout: &'a mut Layout, keys: usize, pairs: &[Pair], messages: &[Message]) -> FormCompiler<'a> {
        FormCompiler { layout, keys, fragments: Vec::new(), known: HashMap::new(), pairs: pairs.to_vec(), messages: messages.to_vec() }
    }

    /// Compiles the form of one agreement: the granted fields, by their place, in the schema's order.
    pub fn form(&mut self, grants: &[(usize, GrantSpec)]) -> Result<Vec<Piece>, Fault> {
        let mut form = Form { pieces: Vec::new(), run: Vec::new() };
        for (place, grant) in grants {
            self.add(&mut vec![i32::try_from(*place).map_err(|_| Fault("a place is out of range"))?], grant, &mut form)?;
        }
        self.flush(&mut form);
        Ok(form.pieces)
    }

    /// The fragments of all forms.
    pub fn finish(self) -> (Vec<Fragment>, Vec<Pair>, Vec<Message>) {
        (self.fragments, self.pairs, self.messages)
    }

    fn add(&mut self, path: &mut Vec<i32>, grant: &GrantSpec, form: &mut Form) -> Result<(), Fault> {
        match (self.layout.find(path)?, grant) {
            (Found::Record, GrantSpec::Copy) => {
                let (first, last) = self.layout.span(path)?;
                form.copy(first, last);
            }
            (Found::Record, GrantSpec::Members(members)) => {
                for (place, member) in members {
                    path.push(i32::try_from(*place).map_err(|_| Fault("a place is out of range"))?);
                    self.add(path, member, form)?;
                    path.pop();
                }
            }
            (Found::Part { part, rest: [] }, grant) => self.add_part(part, grant, form)?,
            _ => return Err(Fault("a grant does not fit its type")),
        }
        Ok(())
    }

    fn add_part(&mut self, part: usize, grant: &GrantSpec, form: &mut Form) -> Result<(), Fault> {
        let node = self.layout.node(part);
        let tree = Tree::compile(grant, node, self.keys)?;
        match (tree, node.bare()) {
            (Tree::Copy, _) => form.copy(part, part),
            (Tree::Constant(bytes), _) => form.constant(&bytes),
            (Tree::Pseudonym(kind, key), Node::String) => {
                let nullable = node.null_byte().is_some();
                self.flush(form);
                let slot = self.layout.slot(part);
                let pair = pair_of(&mut self.pairs, &mut self.messages, key, Message { slot: Some(slot), kind });
                form.pieces.push(Piece::Pseudonym { pair, slot, nullable });
            }
            (Tree::Change(change), _) => form.run.push(Draft::Change { part, change, name: format!("{grant:?}") }),
            (tree, _) => {
                let keyed = holds_key(grant);
                if keyed {
                    self.flush(form);
                }
                form.run.push(Draft::Tree { part, tree, name: format!("{grant:?}") });
                if keyed {
                    self.flush(form);
                }
            }
        }
        Ok(())
    }

    /// Ends a run; a run that is there already is the same fragment.
    fn flush(&mut self, form: &mut Form) {
        if form.run.is_empty() {
            return;
        }
        let name = form.run.iter().map(Draft::name).collect::<Vec<_>>().join(" ");
        let run = std::mem::take(&mut form.run);
        let fragment = match self.known.get(&name) {
            Some(fragment) => *fragment,
            None => {
                let steps = run.into_iter().map(|draft| self.step(draft)).collect();
                self.fragments.push(Fragment { steps });
                self.known.insert(name, self.fragments.len() - 1);
                self.fragments.len() - 1
            }
        };
        form.pieces.push(Piece::Fragment(fragment));
    }

    fn step(&mut self, draft: Draft) -> Step {
        match draft {
            Draft::Copy { first, last } => Step::Copy { first: self.layout.slot(first), last: self.layout.slot(last) },
            Draft::Constant(bytes) => Step::Constant(bytes),
            Draft::Change { part, change, .. } => {
                Step::Change { slot: self.layout.slot(part), nullable: self.layout.node(part).null_byte().is_some(), change }
            }
            Draft::Tree { part, tree, .. } => Step::Tree { slot: self.layout.slot(part), node: self.layout.node(part).clone(), tree },
        }
    }
}

/// The index of a message under a key, entered where it is new.
pub fn pair_of(pairs: &mut Vec<Pair>, messages: &mut Vec<Message>, key: usize, message: Message) -> usize {
    let message = place_of(messages, message);
    place_of(pairs, Pair { key, message })
}

fn place_of<T: PartialEq>(all: &mut Vec<T>, one: T) -> usize {
    all.iter().position(|other| *other == one).unwrap_or_else(|| {
        all.push(one);
        all.len() - 1
    })
}

fn holds_key(grant: &GrantSpec) -> bool {
    match grant {
        GrantSpec::Pseudonym { .. } => true,
        GrantSpec::Members(members) => members.iter().any(|(_, member)| holds_key(member)),
        GrantSpec::Each(inner) => holds_key(inner),
        GrantSpec::Branches(branches) => branches.iter().flatten().any(holds_key),
        _ => false,
    }
}

struct Form {
    pieces: Vec<Piece>,
    run: Vec<Draft>,
}

impl Form {
    fn copy(&mut self, first: usize, last: usize) {
        match self.run.last_mut() {
            Some(Draft::Copy { last: before, .. }) if *before + 1 == first => *before = last,
            _ => self.run.push(Draft::Copy { first, last }),
        }
    }

    fn constant(&mut self, bytes: &[u8]) {
        match self.run.last_mut() {
            Some(Draft::Constant(before)) => *before = [before, bytes].concat().into(),
            _ => self.run.push(Draft::Constant(bytes.into())),
        }
    }
}

impl Draft {
    /// Equal drafts have equal names.
    fn name(&self) -> String {
        match self {
            Draft::Copy { first, last } => format!("copy {first} {last}"),
            Draft::Constant(bytes) => format!("constant {:?}", Hex(bytes.clone())),
            Draft::Change { part, name, .. } | Draft::Tree { part, name, .. } => format!("part {part} {name}"),
        }
    }
}

/// Where the first fields of a fragment begin, for whoever compresses it; `NONE` behind the last.
pub type Marks = [u8; 8];
/// No mark.
pub const NONE: u8 = u8::MAX;

/// What a fragment needs besides the block.
pub struct Tools<'a> {
    /// The program's keys, for pseudonyms inside trees.
    pub keys: &'a [MacKey],
    /// Memory for normal forms.
    pub forms: &'a mut Forms,
    /// More bytes than this are no output any more.
    pub most: usize,
}

impl Fragment {
    /// The most bytes that it makes of a record.
    pub fn weight(&self) -> Weight {
        let weights = self.steps.iter().map(|step| match step {
            Step::Copy { .. } => Tree::Copy.weight(),
            Step::Constant(bytes) => Weight { by_byte: 0, besides: bytes.len() },
            Step::Change { change, .. } => Weight { by_byte: 1, besides: change.bound(0).saturating_add(1) },
            Step::Tree { tree, .. } => tree.weight(),
        });
        weights.fold(Weight::default(), Weight::with)
    }

    /// Appends the fragment of a record; OutputTooLarge where it became so large that no output can hold it, else the first reject.
    #[inline]
    pub fn write(&self, view: &View, row: usize, tools: &mut Tools, out: &mut Vec<u8>, marks: &mut Marks) -> Result<(), Reject> {
        let begin = out.len();
        *marks = [NONE; 8];
        for (place, step) in self.steps.iter().enumerate() {
            if let Some(mark) = marks.get_mut(place) {
                *mark = u8::try_from(out.len() - begin).unwrap_or(NONE);
            }
            match step {
                Step::Copy { first, last } => {
                    let (source, from) = view.at(row, *first);
                    append(out, source, from.start as usize, view.at(row, *last).1.end as usize);
                }
                Step::Constant(bytes) => out.extend_from_slice(bytes),
                Step::Change { slot, nullable, change } => {
                    let (source, at) = view.at(row, *slot);
                    let mut start = at.start;
                    if *nullable {
                        out.push(source.get(start as usize).copied().unwrap_or_default());
                        start += 1;
                    }
                    if at.null == 0 {
                        change.write(cut(source, start, at.end), out)?;
                    }
                }
                Step::Tree { slot, node, tree } => {
                    let (source, at) = view.at(row, *slot);
                    let data = source.get(..at.end as usize).unwrap_or_default();
                    let mut sink = Sink { most: begin + tools.most + 1, out };
                    let mut writer = Writer { data, keys: tools.keys, forms: tools.forms };
                    writer.write(tree, node, at.start as usize, &mut sink)?;
                }
            }
        }
        if out.len() - begin > tools.most { Err(Reject::OutputTooLarge) } else { Ok(()) }
    }
}

/// Appends `source[from..to]`: short pieces by one copy of fixed size where the source has the bytes.
#[inline(always)]
pub fn append(out: &mut Vec<u8>, source: &[u8], from: usize, to: usize) {
    let length = to.wrapping_sub(from);
    if length <= 64
        && let Some(rest) = source.get(from..)
    {
        let end = out.len() + length;
        if length <= 16
            && let Some(some) = rest.first_chunk::<16>()
        {
            out.extend_from_slice(some);
            out.truncate(end);
            return;
        }
        if let Some(some) = rest.first_chunk::<64>() {
            out.extend_from_slice(some);
            out.truncate(end);
            return;
        }
    }
    out.extend_from_slice(source.get(from..to).unwrap_or_default());
}
