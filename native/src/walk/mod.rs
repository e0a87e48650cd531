//! Walk: where each part of a record stands, found once for all agreements.
//!
//! A record is a row of fields; records inside it that cannot be null are written out into that row, so that most schemas are one
//! flat list of parts. A part that something asks for has a slot. Two walkers fill the slots: `fast` knows the common parts and
//! answers yes or no only; what it refuses goes to `strict`, which decides as the reference does and names the reject code.

pub mod fast;
pub mod layout;
pub mod node;
pub mod strict;
mod utf8;
pub mod varint;

use crate::limits::{DECIMAL_BYTES_MAX, RECORD_BYTES_MAX};
use crate::reject::Reject;
use node::Node;

/// Where a part stands in the block's bytes. What is encoded begins at `start`; behind the branch of a part that may be null.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slot {
    /// First byte, the union's branch included.
    pub start: u32,
    /// Of text: behind its length. Of others: the value, behind the union's branch.
    pub text: u32,
    /// One past the last byte.
    pub end: u32,
    /// 1 where the part is null, else 0.
    pub null: u32,
}

/// A part of the flat list, and which slot it fills (0: none).
pub struct Part {
    /// Its type.
    pub node: Node,
    /// Its slot.
    pub slot: u16,
}

/// The walkers of one writer schema.
pub struct Walker {
    parts: Vec<Part>,
    ops: Vec<fast::Op>,
    /// Slots of a record, the unused one at 0 included.
    pub slots: usize,
}

impl Walker {
    /// Compiles the walkers of a record's flat list of parts.
    pub fn new(parts: Vec<Part>) -> Walker {
        let slots = parts.iter().map(|part| part.slot as usize).max().unwrap_or(0) + 1;
        let ops = fast::compile(&parts);
        Walker { parts, ops, slots }
    }

    /// Finds the parts of the framed value `source[start..end]`, whose body begins at `body`.
    #[inline(always)]
    pub fn walk(&self, source: &[u8], start: usize, body: usize, end: usize, slots: &mut [Slot]) -> Result<(), Reject> {
        if end - start <= RECORD_BYTES_MAX && fast::walk(&self.ops, &self.parts, source, body, end, slots) {
            return Ok(());
        }
        self.decide(source, start, body, end, slots)
    }

    #[cold]
    fn decide(&self, source: &[u8], start: usize, body: usize, end: usize, slots: &mut [Slot]) -> Result<(), Reject> {
        if end - start > RECORD_BYTES_MAX {
            return Err(Reject::Limit);
        }
        let data = &source[..end];
        let mut reader = strict::Reader::new(data);
        let mut at = body;
        for part in &self.parts {
            let behind = reader.value(&part.node, at)?;
            if part.slot != 0 {
                slots[part.slot as usize] = slot_of(&part.node, data, at, behind);
            }
            at = behind;
        }
        if at == end { Ok(()) } else { Err(Reject::Trailing) }
    }
}

/// Tells where a validated part stands.
pub fn slot_of(node: &Node, data: &[u8], start: usize, end: usize) -> Slot {
    let (null, value) = match node {
        Node::Null => (true, start),
        Node::Nullable { null, .. } => (data.get(start) == Some(null), start + 1),
        Node::Union { null, .. } => {
            let (branch, value) = varint::trusted(data, start);
            (*null == Some(branch as usize), value)
        }
        _ => (false, start),
    };
    let inner = if let Node::Nullable { inner, .. } = node { inner } else { node };
    let text = if matches!(inner, Node::String | Node::Bytes) && !null { varint::trusted(data, value).1 } else { value };
    Slot { start: start as u32, text: text as u32, end: end as u32, null: u32::from(null) }
}

/// Checks the encoded form of a decimal on bytes or fixed, its length prefix taken off.
pub(crate) fn decimal_length(length: usize) -> Result<(), Reject> {
    match length {
        0 => Err(Reject::ValueInvalid),
        1..=DECIMAL_BYTES_MAX => Ok(()),
        _ => Err(Reject::Limit),
    }
}
