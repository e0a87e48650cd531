//! The layout of a schema: the flat list of parts, and the way from a path to what stands there.

use super::node::Node;
use super::{Part, Walker};
use crate::program::Fault;

/// Parts of one record, most of them one field each.
const PARTS_MAX: usize = 20_000;

/// A field of the record, or of a record in it that is never null.
enum Place {
    Part(usize),
    Record(Vec<Place>),
}

/// Where a path leads.
pub enum Found<'a> {
    /// To a record that is never null and was written out.
    Record,
    /// To a part; `rest` of the path leads on inside it.
    Part {
        /// Its place in the flat list.
        part: usize,
        /// What is left of the path.
        rest: &'a [i32],
    },
}

/// A schema on its way to a walker: whoever needs a part asks for its slot.
pub struct Layout {
    root: Vec<Place>,
    parts: Vec<Part>,
    slots: u16,
}

impl Layout {
    /// Lays out the fields of a record.
    pub fn new(fields: Vec<Node>) -> Result<Layout, Fault> {
        let mut parts = Vec::new();
        let root = lay_out(fields, &mut parts);
        if parts.len() > PARTS_MAX {
            return Err(Fault("a schema has too many parts"));
        }
        Ok(Layout { root, parts, slots: 0 })
    }

    /// Follows a path of field places; -1 is each element, which only stands inside a part.
    pub fn find<'a>(&self, path: &'a [i32]) -> Result<Found<'a>, Fault> {
        let mut level = &self.root;
        for (depth, step) in path.iter().enumerate() {
            match usize::try_from(*step).ok().and_then(|step| level.get(step)) {
                Some(Place::Record(fields)) => level = fields,
                Some(Place::Part(part)) => return Ok(Found::Part { part: *part, rest: &path[depth + 1..] }),
                None => return Err(Fault("a path leads nowhere in its schema")),
            }
        }
        if path.is_empty() { Err(Fault("a path is empty")) } else { Ok(Found::Record) }
    }

    /// The parts at or under a path that leads to a part or to a record: first and last.
    pub fn span(&self, path: &[i32]) -> Result<(usize, usize), Fault> {
        let mut level = &self.root;
        for step in path {
            match usize::try_from(*step).ok().and_then(|step| level.get(step)) {
                Some(Place::Record(fields)) => level = fields,
                Some(Place::Part(part)) => return Ok((*part, *part)),
                None => return Err(Fault("a path leads nowhere in its schema")),
            }
        }
        let (first, last) = (level.first().and_then(Place::first), level.last().and_then(Place::last));
        first.zip(last).ok_or(Fault("a record has no fields"))
    }

    /// The type of a part.
    pub fn node(&self, part: usize) -> &Node {
        &self.parts[part].node
    }

    /// The slot of a part, which from now on is filled.
    pub fn slot(&mut self, part: usize) -> u16 {
        let part = &mut self.parts[part];
        if part.slot == 0 {
            self.slots += 1;
            part.slot = self.slots;
        }
        part.slot
    }

    /// The walker that fills the slots that were asked for.
    pub fn walker(self) -> Walker {
        Walker::new(self.parts)
    }
}

impl Place {
    fn first(&self) -> Option<usize> {
        match self {
            Place::Part(part) => Some(*part),
            Place::Record(fields) => fields.first().and_then(Place::first),
        }
    }

    fn last(&self) -> Option<usize> {
        match self {
            Place::Part(part) => Some(*part),
            Place::Record(fields) => fields.last().and_then(Place::last),
        }
    }
}

fn lay_out(fields: Vec<Node>, parts: &mut Vec<Part>) -> Vec<Place> {
    fields
        .into_iter()
        .map(|node| match node {
            Node::Record(fields) if !fields.is_empty() => Place::Record(lay_out(fields, parts)),
            node => {
                parts.push(Part { node, slot: 0 });
                Place::Part(parts.len() - 1)
            }
        })
        .collect()
}
