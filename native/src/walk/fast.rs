//! The fast walker: the common parts of a record without a branch that can be foretold wrongly, and no word on what is wrong.
//!
//! Each step looks through a window of fixed size at what stands next, so that one comparison holds all its loads within the
//! buffer. The window may reach behind the value: a value that leads there is refused in the end, since the last part must end
//! where the value does. What is not common is read by the strict walker's reader, and a refused record is decided by it.

use super::node::Node;
use super::strict::Reader;
use super::{Part, Slot, slot_of, utf8, varint};

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
/// Longer texts are left to the standard library, which is quick where much of one is ASCII. Between the two are identifiers (36
/// characters) above all.
const LONG: usize = 64;

/// Compiles the list of parts; neighbours of fixed size that nothing asks for are one step.
pub fn compile(parts: &[Part]) -> Vec<Op> {
    let mut ops: Vec<Op> = Vec::new();
    for (place, part) in parts.iter().enumerate() {
        let op = op_of(part, place);
        match ops.last_mut() {
            Some(last)
                if (last.kind, last.slot, op.kind, op.slot) == (Kind::Fixed, 0, Kind::Fixed, 0)
                    && last.number.checked_add(op.number).is_some() =>
            {
                last.number += op.number;
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
        let op = *op;
        // Each kind of part fills its slot by itself, so that nothing waits for the kinds to come together again.
        let found = match op.kind {
            Kind::Text => fill(text(source, at, end), &mut at, slots, op),
            Kind::TextOrNull => fill(text_or_null(source, at, end, op.null), &mut at, slots, op),
            Kind::Int => fill(int(source, at), &mut at, slots, op),
            Kind::IntOrNull => fill(int_or_null(source, at, op.null), &mut at, slots, op),
            Kind::Long => fill(long(source, at), &mut at, slots, op),
            Kind::LongOrNull => fill(long_or_null(source, at, op.null), &mut at, slots, op),
            Kind::Fixed => fill(fixed(at, end, op), &mut at, slots, op),
            Kind::FixedOrNull => fill(fixed_or_null(source, at, end, op), &mut at, slots, op),
            Kind::Boolean => fill(boolean(source, at), &mut at, slots, op),
            Kind::Enum => fill(index(source, at, op.number), &mut at, slots, op),
            Kind::Other => fill(parts.get(op.number as usize).and_then(|part| other(part, source, at, end)), &mut at, slots, op),
        };
        if !found {
            return false;
        }
    }
    at == end
}

#[inline(always)]
fn fill(found: Option<Slot>, at: &mut usize, slots: &mut [Slot], op: Op) -> bool {
    let Some(found) = found else { return false };
    *at = found.end as usize;
    if op.slot != 0
        && let Some(slot) = slots.get_mut(op.slot as usize)
    {
        *slot = found;
    }
    true
}

#[inline(always)]
fn int(source: &[u8], at: usize) -> Option<Slot> {
    there(at, at + number::<true>(word(window(source, at)?, 0), 1)?)
}

#[inline(always)]
fn int_or_null(source: &[u8], at: usize, null: u8) -> Option<Slot> {
    let window = window(source, at)?;
    let there = is_there(window[0], null)?;
    or_null(at, there, number::<true>(word(window, 1), there)?)
}

#[inline(always)]
fn long(source: &[u8], at: usize) -> Option<Slot> {
    match number::<false>(word(window(source, at)?, 0), 1) {
        Some(bytes) => there(at, at + bytes),
        None => there(at, varint::read(source, at).ok()?.1),
    }
}

#[inline(always)]
fn long_or_null(source: &[u8], at: usize, null: u8) -> Option<Slot> {
    let window = window(source, at)?;
    let there = is_there(window[0], null)?;
    match number::<false>(word(window, 1), there) {
        Some(bytes) => or_null(at, there, bytes),
        None => or_null(at, there, varint::read(source, at + 1).ok()?.1 - at - 1),
    }
}

#[inline(always)]
fn fixed(at: usize, end: usize, op: Op) -> Option<Slot> {
    there(at, at + op.number as usize).filter(|_| at + op.number as usize <= end)
}

#[inline(always)]
fn fixed_or_null(source: &[u8], at: usize, end: usize, op: Op) -> Option<Slot> {
    let there = is_there(*source.get(at)?, op.null)?;
    let bytes = op.number as usize & there.wrapping_neg();
    or_null(at, there, bytes).filter(|_| at + 1 + bytes <= end)
}

#[inline(always)]
fn boolean(source: &[u8], at: usize) -> Option<Slot> {
    if *source.get(at)? > 1 { None } else { there(at, at + 1) }
}

/// An enum's.
#[inline(always)]
fn index(source: &[u8], at: usize, count: u32) -> Option<Slot> {
    let byte = *source.get(at)?;
    if byte & 0x81 != 0 || u32::from(byte >> 1) >= count { None } else { there(at, at + 1) }
}

#[inline(always)]
fn window(source: &[u8], at: usize) -> Option<&[u8; WINDOW]> {
    source.get(at..)?.first_chunk()
}

/// A part that is no text and cannot be null.
#[inline(always)]
fn there(start: usize, end: usize) -> Option<Slot> {
    Some(Slot { start: start as u32, text: start as u32, end: end as u32, null: 0 })
}

/// A part that is no text and may be null: 1 where it is there, and how many bytes it has in that case.
#[inline(always)]
fn or_null(start: usize, there: usize, bytes: usize) -> Option<Slot> {
    let text = start + 1;
    Some(Slot { start: start as u32, text: text as u32, end: (text + (bytes & there.wrapping_neg())) as u32, null: 1 - there as u32 })
}

#[inline(always)]
fn text(source: &[u8], at: usize, end: usize) -> Option<Slot> {
    let window = window(source, at)?;
    let first = window[0];
    let (text, behind) = if first & 0x81 == 0 && is_short_text(window[1..].first_chunk()?, (first >> 1) as usize) {
        (at + 1, at + 1 + (first >> 1) as usize)
    } else {
        any_text(source, at, end)?
    };
    Some(Slot { start: at as u32, text: text as u32, end: behind as u32, null: 0 })
}

/// Whether a field is null is as good as random: both cases take the same way.
#[inline(always)]
fn text_or_null(source: &[u8], at: usize, end: usize, null: u8) -> Option<Slot> {
    let window = window(source, at)?;
    let there = is_there(window[0], null)?;
    let first = window[1];
    let length = (first >> 1) as usize & there.wrapping_neg();
    let (text, behind) = if usize::from(first & 0x81) & there.wrapping_neg() == 0 && is_short_text(window[2..].first_chunk()?, length) {
        (at + 1 + there, at + 1 + there + length)
    } else {
        any_text(source, at + 1, end)?
    };
    Some(Slot { start: at as u32, text: text as u32, end: behind as u32, null: 1 - there as u32 })
}

#[inline(never)]
fn other(part: &Part, source: &[u8], at: usize, end: usize) -> Option<Slot> {
    let data = source.get(..end)?;
    if at > end {
        return None;
    }
    let behind = Reader::new(data).value(&part.node, at).ok()?;
    Some(slot_of(&part.node, data, at, behind))
}

/// 1 where a value follows the branch byte, 0 where it says null.
#[inline(always)]
fn is_there(branch: u8, null: u8) -> Option<usize> {
    if branch & !2 != 0 { None } else { Some(usize::from(branch != null)) }
}

/// Where the text behind a length begins and ends: any text that ends within the value. A longer claim is not looked at, or every
/// record of a batch could have the batch read to its end.
#[inline(never)]
fn any_text(source: &[u8], at: usize, end: usize) -> Option<(usize, usize)> {
    let (length, begin) = varint::read(source, at).ok()?;
    let behind = begin.checked_add(usize::try_from(length).ok()?).filter(|behind| *behind <= end)?;
    let text = source.get(begin..behind)?;
    let holds = if text.len() <= SHORT {
        utf8::is_utf8(text)
    } else if text.len() <= LONG {
        is_ascii(text) || utf8::is_utf8(text)
    } else {
        std::str::from_utf8(text).is_ok()
    };
    if holds { Some((begin, behind)) } else { None }
}

/// Tells whether a text between `SHORT` and `LONG` is ASCII, by its two ends, which overlap.
#[inline(always)]
fn is_ascii(text: &[u8]) -> bool {
    let (Some(first), Some(last)) = (text.first_chunk::<SHORT>(), text.last_chunk::<SHORT>()) else { return false };
    let words = first.as_chunks::<8>().0.iter().chain(last.as_chunks::<8>().0);
    words.fold(0, |high, word| high | u64::from_le_bytes(*word)) & 0x8080_8080_8080_8080 == 0
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
