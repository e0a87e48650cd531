//! Conditions at the end of a path inside a part: through records that may be null, over elements, into unions of several types.
//!
//! A null on the way counts as a null at the end. Over elements a condition is the `any` of the condition on each, under `every`
//! the `all`. In a union of several types it is asked of the branches that it fits, and unknown of a value of another branch.

use super::{AskSpec, View, Word, cut, rows};
use crate::program::Fault;
use crate::values::Test;
use crate::walk::node::Node;
use crate::walk::strict::Reader;
use crate::walk::varint;

/// One of three.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not.
    False,
    /// A null, or a branch that it does not fit, stands in the way.
    Unknown,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Truth {
        if holds { Truth::True } else { Truth::False }
    }
}

/// What is asked of a value, compiled.
pub enum Ask {
    IsNull(bool),
    Test(Box<Test>),
    Branches(Vec<Option<Ask>>),
}

impl Ask {
    /// Compiles a spec.
    pub fn compile(spec: &AskSpec) -> Result<Ask, Fault> {
        Ok(match spec {
            AskSpec::IsNull(wanted) => Ask::IsNull(*wanted),
            AskSpec::Test(test) => Ask::Test(Box::new(Test::compile(test)?)),
            AskSpec::Branches(branches) => {
                let compiled = branches.iter().map(|branch| branch.as_ref().map(Ask::compile).transpose());
                Ask::Branches(compiled.collect::<Result<_, _>>()?)
            }
        })
    }

    fn of_null(&self) -> Truth {
        if let Ask::IsNull(wanted) = self { Truth::from(*wanted) } else { Truth::Unknown }
    }

    fn of_value(&self, node: &Node, data: &[u8], at: usize) -> Truth {
        match (self, node) {
            (_, Node::Null) => self.of_null(),
            (_, Node::Nullable { null, inner }) => {
                if data.get(at) == Some(null) {
                    self.of_null()
                } else {
                    self.of_value(inner, data, at + 1)
                }
            }
            (_, Node::Union { branches, null }) => {
                let (index, behind) = varint::trusted(data, at);
                let index = index as usize;
                if *null == Some(index) {
                    return self.of_null();
                }
                match self {
                    Ask::IsNull(wanted) => Truth::from(!wanted),
                    Ask::Test(_) => Truth::Unknown,
                    Ask::Branches(asks) => match (asks.get(index), branches.get(index)) {
                        (Some(Some(ask)), Some(branch)) => ask.of_value(branch, data, behind),
                        _ => Truth::Unknown,
                    },
                }
            }
            (Ask::IsNull(wanted), _) => Truth::from(!wanted),
            (Ask::Test(test), _) => {
                let end = Reader::new(data).value(node, at).unwrap_or(data.len());
                Truth::from(test.holds(data.get(at..end).unwrap_or_default()))
            }
            (Ask::Branches(_), _) => Truth::Unknown,
        }
    }
}

enum Step {
    Member(usize),
    Each,
}

/// A condition inside a part.
pub struct PathTest {
    slot: u16,
    node: Node,
    steps: Vec<Step>,
    ask: Ask,
    /// The truth of one element that decides for all: true for `any`, false for `every`.
    decisive: Truth,
}

impl PathTest {
    /// Compiles the condition; a path that does not fit the type is refused.
    pub fn compile(slot: u16, node: Node, rest: &[i32], ask: Ask, every: bool) -> Result<PathTest, Fault> {
        let mut here = &node;
        let mut steps = Vec::new();
        for step in rest {
            here = match (here.bare(), usize::try_from(*step)) {
                (Node::Record(fields), Ok(place)) => {
                    steps.push(Step::Member(place));
                    fields.get(place).ok_or(Fault("a path leads nowhere in its schema"))?
                }
                (Node::Array(inner) | Node::Map(inner), Err(_)) => {
                    steps.push(Step::Each);
                    inner
                }
                _ => return Err(Fault("a path leads nowhere in its schema")),
            };
        }
        Ok(PathTest { slot, node, steps, ask, decisive: Truth::from(!every) })
    }

    /// Decides for the records of `there`.
    pub fn decide(&self, view: &View, there: u64) -> Word {
        let mut found = Word::default();
        for row in rows(there) {
            let (source, slot) = view.at(row, self.slot);
            self.at(&self.node, &self.steps, cut(source, slot.start, slot.end), 0).add_to(&mut found, row);
        }
        found
    }

    fn at(&self, node: &Node, steps: &[Step], data: &[u8], at: usize) -> Truth {
        let Some((step, rest)) = steps.split_first() else { return self.ask.of_value(node, data, at) };
        let (node, at) = match node {
            Node::Nullable { null, .. } if data.get(at) == Some(null) => return self.ask.of_null(),
            Node::Nullable { inner, .. } => (&**inner, at + 1),
            _ => (node, at),
        };
        match (step, node) {
            (Step::Member(place), Node::Record(fields)) => {
                let mut reader = Reader::new(data);
                let begin = fields[..*place].iter().try_fold(at, |at, field| reader.value(field, at)).unwrap_or(data.len());
                self.at(&fields[*place], rest, data, begin)
            }
            (Step::Each, Node::Array(inner)) => self.elements(inner, rest, data, at, false),
            (Step::Each, Node::Map(inner)) => self.elements(inner, rest, data, at, true),
            _ => Truth::Unknown,
        }
    }

    fn elements(&self, inner: &Node, rest: &[Step], data: &[u8], at: usize, keyed: bool) -> Truth {
        let mut truth = if self.decisive == Truth::True { Truth::False } else { Truth::True };
        let mut reader = Reader::new(data);
        let mut at = at;
        loop {
            let (count, begin) = varint::block(data, at);
            if count == 0 {
                return truth;
            }
            at = begin;
            for _ in 0..count {
                if keyed {
                    at = reader.value(&Node::String, at).unwrap_or(data.len());
                }
                match self.at(inner, rest, data, at) {
                    found if found == self.decisive => return found,
                    Truth::Unknown => truth = Truth::Unknown,
                    _ => {}
                }
                at = reader.value(inner, at).unwrap_or(data.len());
            }
        }
    }
}
