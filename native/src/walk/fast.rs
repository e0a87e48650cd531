//! The fast walker: the common parts of a record without a branch that can be foretold wrongly, and no word on what is wrong.
//!
//! Each step looks through a window of fixed size at what stands next, so that one comparison holds all its loads within the
//! buffer. The window may reach behind the value: a value that leads there is refused in the end, since the last part must end
//! where the value does. What is not common is read by the strict walker's reader, and a refused record is decided by it.

use super::node::Node;
use super::strict::Reader;
use super::{Part, Slot, slot_of, varint};

/// One step over the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Op {
    kind: Kind,
    /// The branch byte of null.
    null: u8,
    slot: u16,
    /// Bytes of a fixed, symbols of an enum, or the place of any other part.
    number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    TextOrNull,
    Int,
    IntOrNull,
    Long,
    LongOrNull,
    Fixed,
    FixedOrNull,
    Boolean,
    /// Its index has one byte.
    Enum,
    Other,
}

const WINDOW: usize = 40;
/// Texts up to this length are held to be ASCII in the window; longer ones, and others, are looked at apart.
const SHORT: usize = 32;

/// Compiles the list of parts; neighbours of fixed size that nothing asks for are one step.
pub fn compile(parts: &[Part]) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let op = op_of(part, place);
        match ops.last_mut() {
            Some(last) if (last.kind, last.slot, op.kind, op.slot) == (Kind::Fixed, 0, Kind::Fixed, 0) => {
                last.number = last.number.saturating_add(op.number);
            }
            _ => ops.push(op),
        }
    }
    ops
}

fn op_of(part: &Part, place: usize) -> Op {
    let (node, null) = match &part.node {
        Node::Nullable { null, inner } => (&**inner, Some(*null)),
        node => (node, None),
    };
    let (kind, number) = match (node, null) {
        (Node::String, None) => (Kind::Text, 0),
        (Node::String, Some(_)) => (Kind::TextOrNull, 0),
        (Node::Int, None) => (Kind::Int, 0),
        (Node::Int, Some(_)) => (Kind::IntOrNull, 0),
        (Node::Long, None) => (Kind::Long, 0),
        (Node::Long, Some(_)) => (Kind::LongOrNull, 0),
        (Node::Fixed(bytes), None) => (Kind::Fixed, *bytes),
        (Node::Fixed(bytes), Some(_)) => (Kind::FixedOrNull, *bytes),
        (Node::Boolean, None) => (Kind::Boolean, 0),
        (Node::Enum(count), None) if *count <= 64 => (Kind::Enum, *count),
        _ => (Kind::Other, place as u32),
    };
    Op { kind, null: null.unwrap_or(0), slot: part.slot, number }
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
    let window = source.get(at..)?.first_chunk::<WINDOW>()?;
    let (start, text, behind, there);
    match op.kind {
        Kind::Text => {
            (start, there) = (at, 1);
            let first = window[0];
            if first & 0x81 == 0 && is_short_text(window[1..].first_chunk()?, (first >> 1) as usize) {
                (text, behind) = (at + 1, at + 1 + (first >> 1) as usize);
            } else {
                (text, behind) = long_text(source, at)?;
            }
        }
        Kind::TextOrNull => {
            // Whether a field is null is as good as random: both cases take the same way.
            (start, there) = (at, is_there(window[0], op.null)?);
            let first = window[1];
            let length = (first >> 1) as usize & there.wrapping_neg();
            if usize::from(first & 0x81) & there.wrapping_neg() == 0 && is_short_text(window[2..].first_chunk()?, length) {
                (text, behind) = (at + 1 + there, at + 1 + there + length);
            } else if there == 0 {
                (text, behind) = (at + 1, at + 1);
            } else {
                (text, behind) = long_text(source, at + 1)?;
            }
        }
        Kind::Int => {
            (start, text, there) = (at, at, 1);
            behind = at + number::<true>(word(window, 0), 1)?;
        }
        Kind::IntOrNull => {
            (start, text, there) = (at, at + 1, is_there(window[0], op.null)?);
            behind = text + (number::<true>(word(window, 1), there)? & there.wrapping_neg());
        }
        Kind::Long => {
            (start, text, there) = (at, at, 1);
            behind = match number::<false>(word(window, 0), 1) {
                Some(bytes) => at + bytes,
                None => varint::read(source, at).ok()?.1,
            };
        }
        Kind::LongOrNull => {
            (start, text, there) = (at, at + 1, is_there(window[0], op.null)?);
            behind = match number::<false>(word(window, 1), there) {
                Some(bytes) => text + (bytes & there.wrapping_neg()),
                None => varint::read(source, text).ok()?.1,
            };
        }
        Kind::Fixed => {
            (start, text, there) = (at, at, 1);
            behind = at + op.number as usize;
        }
        Kind::FixedOrNull => {
            (start, text, there) = (at, at + 1, is_there(window[0], op.null)?);
            behind = text + (op.number as usize & there.wrapping_neg());
        }
        Kind::Boolean => {
            (start, text, there, behind) = (at, at, 1, at + 1);
            if window[0] > 1 {
                return None;
            }
        }
        Kind::Enum => {
            (start, text, there, behind) = (at, at, 1, at + 1);
            if window[0] & 0x81 != 0 || u32::from(window[0] >> 1) >= op.number {
                return None;
            }
        }
        Kind::Other => return other(&parts[op.number as usize], source, at, end, slots),
    }
    // Slot 0 is nobody's: writing it is quicker than asking.
    let slot = slots.get_mut(op.slot as usize)?;
    *slot = Slot { start: start as u32, text: text as u32, end: behind as u32, null: 1 - there as u32 };
    Some(behind)
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

/// 1 where a value follows the branch byte, 0 where it says null.
#[inline(always)]
fn is_there(branch: u8, null: u8) -> Option<usize> {
    if branch & !2 != 0 { None } else { Some(usize::from(branch != null)) }
}

/// Where the text behind a length begins and ends.
#[inline(never)]
fn long_text(source: &[u8], at: usize) -> Option<(usize, usize)> {
    let (length, begin) = varint::read(source, at).ok()?;
    let end = begin.checked_add(usize::try_from(length).ok()?)?;
    let text = source.get(begin..end)?;
    if text.is_ascii() || std::str::from_utf8(text).is_ok() { Some((begin, end)) } else { None }
}

/// The eight bytes of a window from `at` on.
#[inline(always)]
fn word(window: &[u8; WINDOW], at: usize) -> u64 {
    u64::from_le_bytes(*window[at..].first_chunk().unwrap_or(&[0; 8]))
}

/// Bytes of the number that a word begins with. What stands there is only held to be one where there is one; None too for numbers
/// that a word cannot hold.
#[inline(always)]
fn number<const INT: bool>(word: u64, there: usize) -> Option<usize> {
    let ends = !word & 0x8080_8080_8080_8080;
    let last = (ends.trailing_zeros() / 8) as usize;
    let byte = (word >> (8 * (last & 7))) as u8;
    let wrong = (last > 7) | (INT & ((last > 4) | (last == 4 && byte > 15))) | (last > 0 && byte == 0);
    if wrong & (there == 1) { None } else { Some(last + 1) }
}

/// The high bits of the first bytes of a text, by its length.
static HIGH_BITS: [[u64; SHORT / 8]; SHORT + 1] = {
    let mut masks = [[0; SHORT / 8]; SHORT + 1];
    let mut length = 0;
    while length <= SHORT {
        let mut at = 0;
        while at < length {
            masks[length][at / 8] |= 0x80 << (8 * (at % 8));
            at += 1;
        }
        length += 1;
    }
    masks
};

/// Tells whether a text is short and ASCII, whatever its length, without a branch on it.
#[inline(always)]
fn is_short_text(bytes: &[u8; SHORT], length: usize) -> bool {
    let Some(own) = HIGH_BITS.get(length) else { return false };
    let (words, _) = bytes.as_chunks::<8>();
    let high = words.iter().zip(own).fold(0, |high, (word, own)| high | u64::from_le_bytes(*word) & own);
    high == 0
}
