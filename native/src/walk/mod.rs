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

#[cfg(test)]
mod tests {
    use super::*;

    struct Dice(u64);

    impl Dice {
        fn roll(&mut self, sides: usize) -> usize {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) as usize % sides
        }

        fn node(&mut self, depth: usize) -> Node {
            let simple = [Node::Boolean, Node::Int, Node::Long, Node::Bytes, Node::String, Node::Decimal, Node::Fixed(3), Node::Enum(5)];
            match self.roll(if depth == 0 { 12 } else { 18 }) {
                0 => Node::Null,
                1 => Node::Enum(70),
                2 | 3 => Node::String,
                place @ 4..12 => simple[place - 4].clone(),
                12 | 13 => {
                    let inner = Box::new(self.node(0));
                    if *inner == Node::Null { *inner } else { Node::Nullable { null: 2 * self.roll(2) as u8, inner } }
                }
                14 => Node::Array(Box::new(self.node(depth - 1))),
                15 => Node::Map(Box::new(self.node(depth - 1))),
                16 => Node::Union { branches: vec![Node::Null, self.node(0), self.node(depth - 1)], null: Some(0) },
                _ => Node::Record((0..self.roll(4)).map(|_| self.node(depth - 1)).collect()),
            }
        }

        fn value(&mut self, node: &Node, out: &mut Vec<u8>) {
            match node {
                Node::Null => {}
                Node::Boolean => out.push(self.roll(2) as u8),
                Node::Int => varint::put(out, [0, -1, 63, 64, -65, i64::from(i32::MAX), i64::from(i32::MIN), 300][self.roll(8)]),
                Node::Long => varint::put(out, [0, -1, 8191, -8192, i64::MAX, i64::MIN, 1 << 40, 1 << 55][self.roll(8)]),
                Node::Bytes | Node::Decimal => {
                    let length = 1 + self.roll(40);
                    varint::put(out, length as i64);
                    out.extend((0..length).map(|_| self.roll(256) as u8));
                }
                Node::String => self.text(out),
                Node::Fixed(size) => out.extend((0..*size).map(|at| at as u8)),
                Node::Enum(count) => varint::put(out, self.roll(*count as usize) as i64),
                Node::Nullable { null, inner } => {
                    let there = self.roll(2) == 0;
                    out.push(if there { 2 - null } else { *null });
                    if there {
                        self.value(inner, out);
                    }
                }
                Node::Record(fields) => fields.iter().for_each(|field| self.value(field, out)),
                Node::Union { branches, .. } => {
                    let branch = self.roll(branches.len());
                    varint::put(out, branch as i64);
                    self.value(&branches[branch], out);
                }
                Node::Array(inner) | Node::Map(inner) => {
                    for block in 0..self.roll(3) {
                        varint::put(out, 2);
                        for item in 0..2 {
                            if matches!(node, Node::Map(_)) {
                                out.extend([4, b'a' + block as u8, b'a' + item]);
                            }
                            self.value(inner, out);
                        }
                    }
                    out.push(0);
                }
            }
        }

        fn text(&mut self, out: &mut Vec<u8>) {
            let ascii = "0123456789abcdef0123456789abcdef-36+";
            let texts = ["", "a", "浙A12345", "é", &ascii[..32], ascii, "张三张三张三张三张三张三"];
            let text = texts[self.roll(7)].repeat([1, 2, 3, 27][self.roll(4)]);
            varint::put(out, text.len() as i64);
            out.extend_from_slice(text.as_bytes());
        }
    }

    /// Whatever the bytes, both walkers say the same, and where they say yes they fill the slots alike.
    #[test]
    fn the_fast_walker_is_the_strict_one_with_another_speed() {
        let mut dice = Dice(20_261_124);
        let (mut whole, mut refused) = (0, 0);
        for _ in 0..400 {
            let parts = (1..2 + dice.roll(12) as u16).map(|place| (dice.node(2), if dice.roll(3) == 0 { 0 } else { place }));
            let walker = Walker::new(parts.map(|(node, slot)| Part { node, slot }).collect());
            for _ in 0..60 {
                let mut source = vec![0, 0, 0, 0, 7];
                walker.parts.iter().for_each(|part| dice.value(&part.node, &mut source));
                let at = 5 + dice.roll(source.len() - 4);
                match dice.roll(6) {
                    0 => source.truncate(at),
                    1 => source.push(dice.roll(256) as u8),
                    2 | 3 if at < source.len() => source[at] = dice.roll(256) as u8,
                    _ => {}
                }
                let end = source.len();
                source.extend([0, 0xFF, 0x80, 2].repeat(dice.roll(20)));
                let (mut quick, mut strict) = (vec![Slot::default(); walker.slots], vec![Slot::default(); walker.slots]);
                let found = walker.walk(&source, 0, 5, end, &mut quick);
                assert_eq!(found, walker.decide(&source, 0, 5, end, &mut strict));
                let shown = |slots: &[Slot]| slots[1..].iter().map(|slot| (slot.start, slot.text, slot.end, slot.null)).collect::<Vec<_>>();
                assert!(found.is_err() || shown(&quick) == shown(&strict));
                *(if found.is_ok() { &mut whole } else { &mut refused }) += 1;
            }
        }
        assert!(whole > 8_000 && refused > 4_000, "{whole} {refused}");
    }

    /// A length that leads out of the value is not followed, however much stands behind it.
    #[test]
    fn what_a_record_claims_beyond_itself_is_not_read() {
        let walker = Walker::new(vec![Part { node: Node::String, slot: 1 }, Part { node: Node::Fixed(u32::MAX), slot: 0 }]);
        let mut source = vec![0, 0, 0, 0, 7];
        varint::put(&mut source, 1 << 19);
        let end = source.len();
        source.resize(1 << 20, b'a');
        assert!(!fast::walk(&walker.ops, &walker.parts, &source, 5, end, &mut vec![Slot::default(); walker.slots]));
        let mut slots = vec![Slot::default(); walker.slots];
        assert_eq!(walker.walk(&source, 0, 5, end, &mut slots), Err(Reject::Truncated));
        assert_eq!(walker.walk(&[0, 0, 0, 0, 7, 0, 1, 1], 0, 5, 8, &mut slots), Err(Reject::Truncated));
    }
}
