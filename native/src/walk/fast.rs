//! The fast walker: the common parts of a record without a branch that can be foretold wrongly, and no word on what is wrong.
//!
//! It may load bytes behind the value, which lie in the same buffer: a value that leads there is refused in the end, since the last
//! part must end where the value does. Everything that is not common is read by the strict walker's reader.

use super::node::Node;
use super::strict::Reader;
use super::{Part, Slot, slot_of, varint};

/// One step over the body.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// Text.
    Text(u16),
    /// Text or null.
    TextOrNull { null: u8, slot: u16 },
    /// Number of 32 bits.
    Int(u16),
    /// Number of 32 bits or null.
    IntOrNull { null: u8, slot: u16 },
    /// Number of 64 bits.
    Long(u16),
    /// Number of 64 bits or null.
    LongOrNull { null: u8, slot: u16 },
    /// So many bytes.
    Fixed { bytes: u32, slot: u16 },
    /// So many bytes, or null.
    FixedOrNull { bytes: u32, null: u8, slot: u16 },
    /// 0 or 1.
    Boolean(u16),
    /// Index of one byte.
    Enum { count: u8, slot: u16 },
    /// Any part, by its place in the list.
    Other(u16),
}

/// Compiles the list of parts; neighbours of fixed size that nothing asks for are one step.
pub fn compile(parts: &[Part]) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let op = op_of(part, place as u16);
        match (ops.last_mut(), op) {
            (Some(Op::Fixed { bytes, slot: 0 }), Op::Fixed { bytes: more, slot: 0 }) if bytes.checked_add(more).is_some() => *bytes += more,
            _ => ops.push(op),
        }
    }
    ops
}

fn op_of(part: &Part, place: u16) -> Op {
    let slot = part.slot;
    match &part.node {
        Node::String => Op::Text(slot),
        Node::Int => Op::Int(slot),
        Node::Long => Op::Long(slot),
        Node::Fixed(bytes) => Op::Fixed { bytes: *bytes, slot },
        Node::Boolean => Op::Boolean(slot),
        Node::Enum(count) if *count <= 64 => Op::Enum { count: *count as u8, slot },
        Node::Nullable { null, inner } => match **inner {
            Node::String => Op::TextOrNull { null: *null, slot },
            Node::Int => Op::IntOrNull { null: *null, slot },
            Node::Long => Op::LongOrNull { null: *null, slot },
            Node::Fixed(bytes) => Op::FixedOrNull { bytes, null: *null, slot },
            _ => Op::Other(place),
        },
        _ => Op::Other(place),
    }
}

/// Tells whether the body `source[body..end]` is a record of the schema, and fills its slots.
#[inline(always)]
pub fn walk(ops: &[Op], parts: &[Part], source: &[u8], body: usize, end: usize, slots: &mut [Slot]) -> bool {
    let mut at = body;
    for op in ops {
        match step(*op, parts, source, at, end, slots) {
            Some(behind) => at = behind,
            None => return false,
        }
    }
    at == end
}

#[inline(always)]
fn step(op: Op, parts: &[Part], source: &[u8], at: usize, end: usize, slots: &mut [Slot]) -> Option<usize> {
    match op {
        Op::Text(slot) => {
            let (text, behind) = text(source, at)?;
            set(slots, slot, at, text, behind, 0);
            Some(behind)
        }
        Op::TextOrNull { null, slot } => {
            let there = there(source, at, null)?;
            // Whether a field is null is as good as random: both cases take the same way.
            let first = *source.get(at + 1)?;
            if there == 1 && first & 0x81 != 0 {
                let (text, behind) = text(source, at + 1)?;
                set(slots, slot, at, text, behind, 0);
                return Some(behind);
            }
            let (length, begin) = ((first >> 1) as usize & there.wrapping_neg(), at + 1 + there);
            let behind = begin + length;
            if !is_text(source, begin, length) {
                return None;
            }
            set(slots, slot, at, begin, behind, 1 - there);
            Some(behind)
        }
        Op::Int(slot) => {
            let behind = int(source, at)?;
            set(slots, slot, at, at, behind, 0);
            Some(behind)
        }
        Op::IntOrNull { null, slot } => {
            let there = there(source, at, null)?;
            let behind = at + 1 + (number::<true>(source, at + 1, there)? & there.wrapping_neg());
            set(slots, slot, at, at + 1, behind, 1 - there);
            Some(behind)
        }
        Op::Long(slot) => {
            let behind = varint::skip(source, at)?;
            set(slots, slot, at, at, behind, 0);
            Some(behind)
        }
        Op::LongOrNull { null, slot } => {
            let there = there(source, at, null)?;
            let behind = at + 1 + (number::<false>(source, at + 1, there)? & there.wrapping_neg());
            set(slots, slot, at, at + 1, behind, 1 - there);
            Some(behind)
        }
        Op::Fixed { bytes, slot } => {
            let behind = at + bytes as usize;
            set(slots, slot, at, at, behind, 0);
            Some(behind)
        }
        Op::FixedOrNull { bytes, null, slot } => {
            let there = there(source, at, null)?;
            let behind = at + 1 + (bytes as usize & there.wrapping_neg());
            set(slots, slot, at, at + 1, behind, 1 - there);
            Some(behind)
        }
        Op::Boolean(slot) => {
            if *source.get(at)? > 1 {
                return None;
            }
            set(slots, slot, at, at, at + 1, 0);
            Some(at + 1)
        }
        Op::Enum { count, slot } => {
            let byte = *source.get(at)?;
            if byte & 0x81 != 0 || byte >> 1 >= count {
                return None;
            }
            set(slots, slot, at, at, at + 1, 0);
            Some(at + 1)
        }
        Op::Other(place) => other(&parts[place as usize], source, at, end, slots),
    }
}

#[inline(never)]
fn other(part: &Part, source: &[u8], at: usize, end: usize, slots: &mut [Slot]) -> Option<usize> {
    let data = source.get(..end)?;
    if at > end {
        return None;
    }
    let behind = Reader::new(data).value(&part.node, at).ok()?;
    if part.slot != 0 {
        slots[part.slot as usize] = slot_of(&part.node, data, at, behind);
    }
    Some(behind)
}

#[inline(always)]
fn set(slots: &mut [Slot], slot: u16, start: usize, text: usize, end: usize, null: usize) {
    if slot != 0
        && let Some(place) = slots.get_mut(slot as usize)
    {
        *place = Slot { start: start as u32, text: text as u32, end: end as u32, null: null as u32 };
    }
}

/// 1 where a value follows the branch byte, 0 where it says null.
#[inline(always)]
fn there(source: &[u8], at: usize, null: u8) -> Option<usize> {
    let branch = *source.get(at)?;
    if branch & !2 != 0 { None } else { Some(usize::from(branch != null)) }
}

/// Where the text behind a length begins and ends.
#[inline(always)]
fn text(source: &[u8], at: usize) -> Option<(usize, usize)> {
    let first = *source.get(at)?;
    let (begin, length) = if first < 0x80 {
        if first & 1 != 0 {
            return None;
        }
        (at + 1, (first >> 1) as usize)
    } else {
        let (length, begin) = varint::read(source, at).ok()?;
        (begin, usize::try_from(length).ok()?)
    };
    if is_text(source, begin, length) { Some((begin, begin + length)) } else { None }
}

#[inline(always)]
fn is_text(source: &[u8], begin: usize, length: usize) -> bool {
    if length <= 32
        && let Some(loaded) = source.get(begin..).and_then(|rest| rest.first_chunk::<32>())
        && is_ascii(loaded, length)
    {
        return true;
    }
    long_text(source, begin, length)
}

#[inline(never)]
fn long_text(source: &[u8], begin: usize, length: usize) -> bool {
    let Some(text) = begin.checked_add(length).and_then(|end| source.get(begin..end)) else { return false };
    text.is_ascii() || std::str::from_utf8(text).is_ok()
}

#[inline(always)]
fn int(source: &[u8], at: usize) -> Option<usize> {
    let behind = varint::skip(source, at)?;
    // Five bytes hold 35 bits: of the last one, four are a number's.
    if behind - at < 5 || (behind - at == 5 && source[behind - 1] < 16) { Some(behind) } else { None }
}

/// Bytes of the number at `at`; what stands there is only held to be one where there is one.
#[inline(always)]
fn number<const INT: bool>(source: &[u8], at: usize, there: usize) -> Option<usize> {
    const MORE: u64 = 0x8080_8080_8080_8080;
    let Some(eight) = source.get(at..).and_then(|rest| rest.first_chunk::<8>()) else {
        return if there == 0 { Some(0) } else { Some(if INT { int(source, at)? } else { varint::skip(source, at)? } - at) };
    };
    let word = u64::from_le_bytes(*eight);
    let ends = !word & MORE;
    if ends == 0 {
        return if there == 0 { Some(0) } else { Some(varint::skip(source, at)? - at).filter(|_| !INT) };
    }
    let last = ends.trailing_zeros() as usize / 8;
    let byte = (word >> (8 * last)) as u8;
    let wrong = (INT & ((last > 4) | (last == 4 && byte > 15))) | (last > 0 && byte == 0);
    if wrong & (there == 1) { None } else { Some(last + 1) }
}

/// Tells whether the first `length` of 32 bytes are ASCII, whatever their number, without a branch on it.
#[inline(always)]
fn is_ascii(bytes: &[u8; 32], length: usize) -> bool {
    static HIGH_BITS: [u8; 64] = {
        let mut bits = [0; 64];
        let mut at = 0;
        while at < 32 {
            bits[at] = 0x80;
            at += 1;
        }
        bits
    };
    let own = HIGH_BITS.get(32 - length..).and_then(|bits| bits.first_chunk::<32>()).unwrap_or(&[0x80; 32]);
    let word = |bytes: &[u8; 32], at: usize| u64::from_le_bytes(*bytes[at..].first_chunk::<8>().unwrap_or(&[0; 8]));
    let high = |at: usize| word(bytes, at) & word(own, at);
    high(0) | high(8) | high(16) | high(24) == 0
}
