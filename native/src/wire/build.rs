//! Building batches in place: records are written once, behind the place of their header, in memory from the pool.
//!
//! One builder per agreement and step. Lengths are known before a value is written, so every varint is written once and the bound
//! is held before the record begins. The CRC is left to [`stamp`](super::stamp), which must reckon it anyway.

use super::header::{self, HEADER_BYTES};
use super::pool::PooledBuffer;
use super::read::Scratch;
use super::varint::{int_len, write_int};
use super::{Codec, lz4};

/// Room of a builder's first buffer; it grows to the bound where a step needs more.
const FIRST_ROOM: usize = 64 * 1024;
/// Room behind the last byte, so that short pieces are copied in whole words.
const SLACK: usize = 64;
/// Length, attributes, timestamp delta, offset delta, lengths of key and value, header count: at most so many bytes.
const FRAME_BYTES_MAX: usize = 5 + 1 + 1 + 5 + 5 + 5 + 1;

/// One finished batch: base offset 0, no producer, CRC not reckoned.
pub struct Built {
    /// The batch, header and records.
    pub buffer: PooledBuffer,
    /// Records in it.
    pub records: i32,
    /// Its bytes uncompressed, header and records.
    pub plain_bytes: usize,
}

/// Collects records and cuts them into batches.
pub struct BatchBuilder {
    codec: Codec,
    timestamp_ms: i64,
    bytes_max: usize,
    buffer: PooledBuffer,
    at: usize,
    record_end: usize,
    records: u32,
    built: Vec<Built>,
}

impl BatchBuilder {
    /// A builder without records, for batches of at most `bytes_max` uncompressed bytes, header and records.
    pub fn new(codec: Codec, timestamp_ms: i64, bytes_max: usize) -> BatchBuilder {
        BatchBuilder {
            codec,
            timestamp_ms,
            bytes_max,
            buffer: PooledBuffer::with_room(FIRST_ROOM),
            at: HEADER_BYTES,
            record_end: HEADER_BYTES,
            records: 0,
            built: Vec::new(),
        }
    }

    /// Begins a record whose value, if it has one, will be put in pieces of `value_len` bytes together.
    ///
    /// The batch before is cut where the record would take it over its bound. A record that is over the bound alone makes a batch
    /// alone: callers know the bound of a record and do not come with one.
    #[inline]
    pub fn begin(&mut self, key: Option<&[u8]>, value_len: Option<usize>) {
        let (key_len, value_bytes) = (key.map_or(0, <[u8]>::len), value_len.unwrap_or(0));
        let most = FRAME_BYTES_MAX + key_len + value_bytes;
        if self.at + most > self.bytes_max && self.records > 0 && self.at + self.frame_bytes(key, value_len) > self.bytes_max {
            self.cut();
        }
        if self.at + most + SLACK > self.buffer.room().len() {
            self.widen(most);
        }
        let inner = self.inner_bytes(key, value_len);
        let (mut at, records) = (self.at, self.records);
        let room = &mut self.buffer.room()[at..];
        let mut write = write_int(room, inner as u32);
        (room[write], room[write + 1]) = (0, 0);
        write += 2;
        write += write_int(&mut room[write..], records);
        match key {
            None => {
                room[write] = 1;
                write += 1;
            }
            Some(key) => {
                write += write_int(&mut room[write..], key.len() as u32);
                copy(&mut room[write..], key);
                write += key.len();
            }
        }
        match value_len {
            None => {
                room[write] = 1;
                write += 1;
            }
            Some(len) => write += write_int(&mut room[write..], len as u32),
        }
        at += write;
        (self.at, self.record_end) = (at, at + value_bytes);
    }

    /// Puts a piece of the value.
    #[inline(always)]
    pub fn put(&mut self, piece: &[u8]) {
        let at = self.at;
        copy(&mut self.buffer.room()[at..], piece);
        self.at = at + piece.len();
    }

    /// A field begins here, where what follows is likely to have been seen before: lz4 looks for matches there.
    #[inline(always)]
    pub fn hint(&mut self) {}

    /// Ends the record; panics where its pieces are not as long together as was said, since such a batch must never be sent.
    #[inline]
    pub fn end(&mut self) {
        assert_eq!(self.at, self.record_end, "a value's pieces are as long as was said");
        let at = self.at;
        self.buffer.room()[at] = 0;
        self.at = at + 1;
        self.records += 1;
    }

    /// The batches, in order; none where there are no records.
    pub fn finish(mut self, scratch: &mut Scratch) -> Vec<Built> {
        if self.records > 0 {
            self.cut();
        }
        if self.codec != Codec::None {
            for built in &mut self.built {
                compress(self.codec, self.timestamp_ms, built, scratch);
            }
        }
        self.built
    }

    fn cut(&mut self) {
        let next = PooledBuffer::with_room(FIRST_ROOM);
        let mut buffer = std::mem::replace(&mut self.buffer, next);
        buffer.set_len(self.at);
        header::write(&mut buffer, self.at, Codec::None, self.records, self.timestamp_ms);
        self.built.push(Built { buffer, records: self.records as i32, plain_bytes: self.at });
        (self.at, self.records) = (HEADER_BYTES, 0);
    }

    #[cold]
    fn widen(&mut self, more: usize) {
        let needed = self.at + more + SLACK;
        let usual = (4 * self.buffer.room().len()).min(self.bytes_max + SLACK);
        let mut wider = PooledBuffer::with_room(needed.max(usual));
        wider.room()[..self.at].copy_from_slice(&self.buffer.room()[..self.at]);
        self.buffer = wider;
    }

    /// Bytes of the record behind its length.
    #[inline(always)]
    fn inner_bytes(&self, key: Option<&[u8]>, value_len: Option<usize>) -> usize {
        let key_bytes = key.map_or(1, |key| int_len(key.len() as u32) + key.len());
        let value_bytes = value_len.map_or(1, |len| int_len(len as u32) + len);
        1 + 1 + int_len(self.records) + key_bytes + value_bytes + 1
    }

    fn frame_bytes(&self, key: Option<&[u8]>, value_len: Option<usize>) -> usize {
        let inner = self.inner_bytes(key, value_len);
        int_len(inner as u32) + inner
    }
}

/// Copies `from` to the beginning of `to`, which is longer: short pieces in one or two whole words.
#[inline(always)]
fn copy(to: &mut [u8], from: &[u8]) {
    let len = from.len();
    match len {
        0 => {}
        1..=3 => {
            to[0] = from[0];
            to[len / 2] = from[len / 2];
            to[len - 1] = from[len - 1];
        }
        4..=7 => ends::<4>(to, from, len),
        8..=15 => ends::<8>(to, from, len),
        16..=32 => ends::<16>(to, from, len),
        _ => to[..len].copy_from_slice(from),
    }
}

#[inline(always)]
fn ends<const N: usize>(to: &mut [u8], from: &[u8], len: usize) {
    if let (Some(first), Some(last), Some(to)) = (from.first_chunk::<N>(), from.last_chunk::<N>(), to.get_mut(..len)) {
        to[..N].copy_from_slice(first);
        to[len - N..].copy_from_slice(last);
    }
}

/// Replaces a batch by the same one compressed, where that is shorter.
fn compress(codec: Codec, timestamp_ms: i64, built: &mut Built, scratch: &mut Scratch) {
    let plain = &built.buffer[HEADER_BYTES..];
    let mut smaller = PooledBuffer::with_room(HEADER_BYTES + plain.len() + lz4::BLOCK_BYTES_MAX);
    let room = &mut smaller.room()[HEADER_BYTES..];
    match scratch.compressors.compress(codec, plain, room) {
        Some(len) if len < plain.len() => {
            smaller.set_len(HEADER_BYTES + len);
            header::write(&mut smaller, HEADER_BYTES + len, codec, built.records as u32, timestamp_ms);
            built.buffer = smaller;
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_every_length_are_copied_whole() {
        let from: Vec<u8> = (0..=255).collect();
        for len in 0..200 {
            let mut to = [0u8; 260];
            copy(&mut to, &from[..len]);
            assert_eq!((&to[..len], to[len]), (&from[..len], 0));
        }
    }
}
