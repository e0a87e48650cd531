//! The strict walker: one byte sequence per record is accepted and no other, and every refusal has the reference's code.
//!
//! The order of the checks is that of `reference/decode.py`, since a record that breaks two rules is named by the first. Counts and
//! lengths are held against the rest of the body before anything is looked at, so that a claim of a billion items costs nothing.
//! Depth is bounded by the schema, which cannot contain itself.

use super::node::Node;
use super::{decimal_length, varint};
use crate::limits::ITEMS_MAX;
use crate::reject::Reject;

/// Reads values of a body; `data` ends where the body does.
pub struct Reader<'a> {
    data: &'a [u8],
    /// Keys of the maps that are being read, innermost last.
    keys: Vec<&'a [u8]>,
}

impl<'a> Reader<'a> {
    /// Reads in `data`.
    pub fn new(data: &'a [u8]) -> Reader<'a> {
        Reader { data, keys: Vec::new() }
    }

    /// Returns the position behind the value at `at`.
    pub fn value(&mut self, node: &Node, at: usize) -> Result<usize, Reject> {
        match node {
            Node::Null => Ok(at),
            Node::Boolean => match self.byte(at)? {
                0 | 1 => Ok(at + 1),
                _ => Err(Reject::ValueInvalid),
            },
            Node::Int => {
                let (number, behind) = varint::read(self.data, at)?;
                if i32::try_from(number).is_ok() { Ok(behind) } else { Err(Reject::ValueInvalid) }
            }
            Node::Long => Ok(varint::read(self.data, at)?.1),
            Node::Bytes => Ok(self.extent(at)?.1),
            Node::String => Ok(self.string(at)?.1),
            Node::Decimal => {
                let (begin, end) = self.extent(at)?;
                decimal_length(end - begin).map(|()| end)
            }
            Node::Fixed(size) => self.within(at, u64::from(*size)),
            Node::Enum(count) => {
                let (index, behind) = varint::read(self.data, at)?;
                if (0..i64::from(*count)).contains(&index) { Ok(behind) } else { Err(Reject::ValueInvalid) }
            }
            Node::Nullable { null, inner } => match self.byte(at)? {
                branch if branch == 2 - null => self.value(inner, at + 1),
                branch if branch == *null => Ok(at + 1),
                _ => Err(Reject::ValueInvalid),
            },
            Node::Record(fields) => fields.iter().try_fold(at, |at, field| self.value(field, at)),
            Node::Union { branches, .. } => {
                let (index, behind) = varint::read(self.data, at)?;
                let branch = usize::try_from(index).ok().and_then(|index| branches.get(index)).ok_or(Reject::ValueInvalid)?;
                self.value(branch, behind)
            }
            Node::Array(item) => self.blocks(at, |reader, at| reader.value(item, at)),
            Node::Map(value) => self.map(value, at),
        }
    }

    fn byte(&self, at: usize) -> Result<u8, Reject> {
        self.data.get(at).copied().ok_or(Reject::Truncated)
    }

    fn within(&self, at: usize, bytes: u64) -> Result<usize, Reject> {
        if bytes <= (self.data.len().saturating_sub(at)) as u64 { Ok(at + bytes as usize) } else { Err(Reject::Truncated) }
    }

    /// Where the bytes behind a length begin and end.
    fn extent(&self, at: usize) -> Result<(usize, usize), Reject> {
        let (length, begin) = varint::read(self.data, at)?;
        let length = u64::try_from(length).map_err(|_| Reject::ValueInvalid)?;
        Ok((begin, self.within(begin, length)?))
    }

    fn string(&self, at: usize) -> Result<(&'a [u8], usize), Reject> {
        let (begin, end) = self.extent(at)?;
        let text = &self.data[begin..end];
        if text.is_ascii() || std::str::from_utf8(text).is_ok() { Ok((text, end)) } else { Err(Reject::ValueInvalid) }
    }

    fn blocks(&mut self, at: usize, mut item: impl FnMut(&mut Self, usize) -> Result<usize, Reject>) -> Result<usize, Reject> {
        let (mut at, mut left) = (at, ITEMS_MAX);
        loop {
            let (count, begin) = varint::read(self.data, at)?;
            at = begin;
            let mut claimed = None;
            if count < 0 {
                let (begin, end) = self.extent(at)?;
                (at, claimed) = (begin, Some(end));
            }
            let count = count.unsigned_abs();
            if count == 0 {
                return Ok(at);
            }
            left = left.checked_sub(count).ok_or(Reject::Limit)?;
            if count > (self.data.len() - at) as u64 {
                return Err(Reject::Truncated);
            }
            for _ in 0..count {
                at = item(self, at)?;
            }
            if claimed.is_some_and(|end| end != at) {
                return Err(Reject::ValueInvalid);
            }
        }
    }

    /// A map holds a key once; which the reference looks at when it has read the map.
    fn map(&mut self, value: &Node, at: usize) -> Result<usize, Reject> {
        let outer = self.keys.len();
        let behind = self.blocks(at, |reader, at| {
            let (key, at) = reader.string(at)?;
            reader.keys.push(key);
            reader.value(value, at)
        })?;
        let own = &mut self.keys[outer..];
        own.sort_unstable();
        let twice = own.windows(2).any(|pair| pair[0] == pair[1]);
        self.keys.truncate(outer);
        if twice { Err(Reject::ValueInvalid) } else { Ok(behind) }
    }
}
