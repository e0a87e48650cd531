//! Frames of records: where key and value of each record stand, found in one pass that checks every byte which is not theirs.

use super::Unreadable;
use super::header::BatchHeader;
use super::limits::RECORD_HEADERS_MAX;
use super::varint::{read_int, skip_long};

const RECORD_BYTES_MIN: usize = 7;
const NULL: u32 = u32::MAX;

/// One record of a batch: places in the batch's plain bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Counted from the batch's base offset.
    pub offset_delta: u32,
    key_at: u32,
    key_len: u32,
    value_at: u32,
    value_len: u32,
}

impl Frame {
    /// The record's key.
    #[inline(always)]
    pub fn key<'a>(&self, plain: &'a [u8]) -> Option<&'a [u8]> {
        part(plain, self.key_at, self.key_len)
    }

    /// The record's value; None is a tombstone.
    #[inline(always)]
    pub fn value<'a>(&self, plain: &'a [u8]) -> Option<&'a [u8]> {
        part(plain, self.value_at, self.value_len)
    }

    /// Where the key begins and ends.
    #[inline(always)]
    pub fn key_range(&self) -> Option<std::ops::Range<usize>> {
        (self.key_len != NULL).then(|| self.key_at as usize..self.key_at as usize + self.key_len as usize)
    }

    /// Where the value begins and ends, for whoever reads a little beyond it.
    #[inline(always)]
    pub fn value_range(&self) -> Option<std::ops::Range<usize>> {
        (self.value_len != NULL).then(|| self.value_at as usize..self.value_at as usize + self.value_len as usize)
    }
}

#[inline(always)]
fn part(plain: &[u8], at: u32, len: u32) -> Option<&[u8]> {
    if len == NULL { None } else { plain.get(at as usize..at as usize + len as usize) }
}

/// Finds every frame of `plain`. Offsets must rise and stay within what the header claims; nothing may follow the last record.
pub fn read_frames(plain: &[u8], header: &BatchHeader, frames: &mut Vec<Frame>) -> Result<(), Unreadable> {
    frames.clear();
    let records = usize::try_from(header.records).map_err(|_| Unreadable::Count)?;
    if records > plain.len() / RECORD_BYTES_MIN {
        return Err(Unreadable::Records);
    }
    frames.reserve(records);
    let mut pass = Pass { plain, at: 0, record_headers: 0 };
    let (mut floor, last) = (0i64, i64::from(header.last_offset_delta));
    for _ in 0..records {
        let Some(frame) = pass.frame() else {
            return Err(if pass.record_headers > RECORD_HEADERS_MAX { Unreadable::TooLarge } else { Unreadable::Records });
        };
        let delta = i64::from(frame.offset_delta as i32);
        if delta < floor || delta > last {
            return Err(Unreadable::Offsets);
        }
        floor = delta + 1;
        frames.push(frame);
    }
    if pass.at == plain.len() { Ok(()) } else { Err(Unreadable::Records) }
}

struct Pass<'a> {
    plain: &'a [u8],
    at: usize,
    record_headers: usize,
}

impl Pass<'_> {
    /// Length, attributes, timestamp delta, offset delta, key, value, headers.
    #[inline(always)]
    fn frame(&mut self) -> Option<Frame> {
        let mut at = self.at;
        let length = read_int(self.plain, &mut at)?;
        let end = at + usize::try_from(length).ok()?;
        let record = self.plain.get(..end)?;
        at += 1;
        skip_long(record, &mut at)?;
        let offset_delta = read_int(record, &mut at)? as u32;
        let (key_at, key_len) = nullable(record, &mut at)?;
        let (value_at, value_len) = nullable(record, &mut at)?;
        match read_int(record, &mut at)? {
            0 => {}
            headers => self.skip_headers(record, &mut at, usize::try_from(headers).ok()?)?,
        }
        self.at = end;
        (at == end).then_some(Frame { offset_delta, key_at, key_len, value_at, value_len })
    }

    #[cold]
    fn skip_headers(&mut self, record: &[u8], at: &mut usize, headers: usize) -> Option<()> {
        self.record_headers = self.record_headers.saturating_add(headers);
        if self.record_headers > RECORD_HEADERS_MAX {
            return None;
        }
        for _ in 0..headers {
            let (name_at, name_len) = nullable(record, at)?;
            std::str::from_utf8(part(record, name_at, name_len)?).ok()?;
            nullable(record, at)?;
        }
        Some(())
    }
}

/// Bytes behind their length; any negative length is null.
#[inline(always)]
fn nullable(record: &[u8], at: &mut usize) -> Option<(u32, u32)> {
    let length = read_int(record, at)?;
    if length < 0 {
        return Some((*at as u32, NULL));
    }
    let start = *at;
    *at = start + length as usize;
    (*at <= record.len()).then_some((start as u32, length as u32))
}
