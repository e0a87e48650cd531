//! Building batches in place: records are written once, behind the place of their header, in memory from the pool.
//!
//! One builder per agreement and step. Lengths are known before a value is written, so every varint is written once and the bound
//! is held before the record begins. The CRC is left to [`stamp`](super::stamp), which must reckon it anyway.
//!
//! For lz4 the records stay where they are for one block only, 64 KiB that are still in the processor's cache when they are
//! compressed. The other codecs compress whole batches at the end.

use std::ops::Range;

use super::Codec;
use super::header::{self, HEADER_BYTES};
use super::limits::PLAIN_BYTES_MAX;
use super::lz4::decode_frame;
use super::lz4_encode::{BLOCK_BYTES_MAX, END_MARK, Encoder, FRAME_HEADER, block_room};
use super::pool::PooledBuffer;
use super::read::Scratch;
use super::varint::{SMALL, int_len, small_int, write_int};

/// Room of a builder's first buffer, a block of lz4; it grows to the bound where a step needs more.
const FIRST_ROOM: usize = HEADER_BYTES + BLOCK_BYTES_MAX + SLACK;
/// Room behind the last byte, so that short pieces are copied in whole words.
const SLACK: usize = 64;
/// Bytes that are copied at once where there is room.
const WIDE: usize = 64;
/// Length, attributes, timestamp delta, offset delta, lengths of key and value, header count: at most so many bytes.
const FRAME_BYTES_MAX: usize = 5 + 1 + 1 + 5 + 5 + 5 + 1;
/// Hints of a block at first.
const HINTS: usize = 4096;

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
    /// Up to here records are written without asking for room.
    room_end: usize,
    at: usize,
    record_end: usize,
    records: u32,
    packing: Option<Packing>,
    built: Vec<Built>,
}

/// The part of a batch that is compressed already, and what the block under way is compressed with.
struct Packing {
    encoder: Encoder,
    hints: Vec<u16>,
    packed: PooledBuffer,
    at: usize,
    plain_bytes: usize,
}

impl BatchBuilder {
    /// A builder without records, for batches of at most `bytes_max` uncompressed bytes, header and records.
    pub fn new(codec: Codec, timestamp_ms: i64, bytes_max: usize) -> BatchBuilder {
        BatchBuilder {
            codec,
            timestamp_ms,
            bytes_max,
            buffer: PooledBuffer::empty(),
            room_end: 0,
            at: HEADER_BYTES,
            record_end: HEADER_BYTES,
            records: 0,
            packing: (codec == Codec::Lz4).then(Packing::new),
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
        if self.plain_bytes() + most > self.bytes_max
            && self.records > 0
            && self.plain_bytes() + self.frame_bytes(key, value_len) > self.bytes_max
        {
            self.cut();
        }
        if self.at + most > self.room_end {
            self.make_room(most);
        }
        let at = self.at;
        let write = if key_len.max(value_bytes) < SMALL as usize - FRAME_BYTES_MAX && self.records < SMALL {
            self.begin_small(key, value_len)
        } else {
            self.begin_any(key, value_len)
        };
        (self.at, self.record_end) = (at + write, at + write + value_bytes);
    }

    /// Writes the frame up to the value: what stands before the key in one piece.
    #[inline(always)]
    fn begin_small(&mut self, key: Option<&[u8]>, value_len: Option<usize>) -> usize {
        let (value_word, value_len_bytes) = value_len.map_or((1, 1), |len| small_int(len as u32));
        let (key_word, key_len_bytes) = key.map_or((1, 1), |key| small_int(key.len() as u32));
        let (delta_word, delta_bytes) = small_int(self.records);
        let key_len = key.map_or(0, <[u8]>::len);
        let head_bytes = 2 + delta_bytes + key_len_bytes;
        let inner = head_bytes + key_len + value_len_bytes + value_len.unwrap_or(0) + 1;
        let (size_word, size_bytes) = if inner < SMALL as usize { small_int(inner as u32) } else { return self.begin_any(key, value_len) };
        let head = (delta_word | key_word << (8 * delta_bytes)) << 16;
        let front_bytes = size_bytes + head_bytes;
        if let (Some(packing), Some(_)) = (&mut self.packing, key) {
            packing.hint(self.at + front_bytes - key_len_bytes); // its length looks like that of a text in the value, which it often is
        }
        let room = &mut self.buffer.room()[self.at..];
        store(room, 0, size_word);
        store(room, size_bytes, head);
        if let Some(key) = key {
            copy(&mut room[front_bytes..], key);
        }
        store(room, front_bytes + key_len, value_word);
        front_bytes + key_len + value_len_bytes
    }

    #[inline(never)]
    fn begin_any(&mut self, key: Option<&[u8]>, value_len: Option<usize>) -> usize {
        let inner = self.inner_bytes(key, value_len);
        let (at, records) = (self.at, self.records);
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
                if let Some(packing) = &mut self.packing {
                    packing.hint(at + write);
                }
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
        write
    }

    /// Puts a piece of the value.
    #[inline(always)]
    pub fn put(&mut self, piece: &[u8]) {
        let at = self.at;
        copy(&mut self.buffer.room()[at..], piece);
        self.at = at + piece.len();
    }

    /// Puts a piece of the value that stands in `all`: quicker, since what stands behind it may be read too.
    #[inline(always)]
    pub fn put_from(&mut self, all: &[u8], piece: Range<usize>) {
        let (at, len) = (self.at, piece.len());
        let room = &mut self.buffer.room()[at..];
        if len <= WIDE
            && let (Some(to), Some(from)) =
                (room.first_chunk_mut::<WIDE>(), all.get(piece.start..).and_then(|rest| rest.first_chunk::<WIDE>()))
        {
            *to = *from;
        } else {
            copy(room, &all[piece]);
        }
        self.at = at + len;
    }

    /// A field begins here, where what follows is likely to have been seen before: lz4 looks for matches there. No other codec does.
    #[inline(always)]
    pub fn hint(&mut self) {
        if let Some(packing) = &mut self.packing {
            packing.hint(self.at);
        }
    }

    /// Likewise so many bytes ahead, inside the piece that is put next.
    #[inline(always)]
    pub fn hint_ahead(&mut self, bytes: usize) {
        if let Some(packing) = &mut self.packing {
            packing.hint(self.at + bytes);
        }
    }

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
        if !matches!(self.codec, Codec::None | Codec::Lz4) {
            for built in &mut self.built {
                compress(self.codec, self.timestamp_ms, built, scratch);
            }
        }
        self.built
    }

    /// Bytes of the batch under way, uncompressed.
    #[inline(always)]
    fn plain_bytes(&self) -> usize {
        self.at + self.packing.as_ref().map_or(0, |packing| packing.plain_bytes)
    }

    #[cold]
    fn cut(&mut self) {
        let plain_bytes = self.plain_bytes();
        let packed = self.packing.as_mut().and_then(|packing| packing.finish(&mut self.buffer, self.at));
        let (mut buffer, codec) = match packed {
            Some(packed) => (packed, Codec::Lz4),
            None => {
                let mut plain = std::mem::replace(&mut self.buffer, PooledBuffer::empty());
                plain.set_len(plain_bytes);
                (plain, Codec::None)
            }
        };
        let length = buffer.len();
        header::write(&mut buffer, length, codec, self.records, self.timestamp_ms);
        self.built.push(Built { buffer, records: self.records as i32, plain_bytes });
        (self.at, self.records, self.room_end) = (HEADER_BYTES, 0, 0);
    }

    /// Makes room for a record of at most `more` bytes: by compressing the block under way, or by a larger buffer.
    #[cold]
    fn make_room(&mut self, more: usize) {
        if self.at > HEADER_BYTES
            && let Some(packing) = &mut self.packing
        {
            packing.pack(&self.buffer.room()[HEADER_BYTES..self.at]);
            self.at = HEADER_BYTES;
        }
        let needed = self.at + more + SLACK;
        if needed > self.buffer.room().len() {
            widen(&mut self.buffer, self.at, needed, self.bytes_max);
        }
        let block_end = if self.packing.is_some() { HEADER_BYTES + BLOCK_BYTES_MAX } else { usize::MAX };
        self.room_end = block_end.min(self.buffer.room().len() - SLACK);
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

impl Packing {
    fn new() -> Packing {
        Packing {
            encoder: Encoder::new(),
            hints: Vec::with_capacity(HINTS),
            packed: PooledBuffer::empty(),
            at: HEADER_BYTES,
            plain_bytes: 0,
        }
    }

    #[inline(always)]
    fn hint(&mut self, at: usize) {
        if let Ok(place) = u16::try_from(at - HEADER_BYTES) {
            self.hints.push(place);
        }
    }

    /// Compresses `plain` behind what is compressed already: one block, or several where one record is larger than a block.
    fn pack(&mut self, plain: &[u8]) {
        if self.at == HEADER_BYTES {
            self.make_room(FRAME_HEADER.len());
            self.put(&FRAME_HEADER);
        }
        let mut hints = &self.hints[..];
        for block in plain.chunks(BLOCK_BYTES_MAX) {
            let needed = self.at + block_room(block.len()) + END_MARK.len();
            if needed > self.packed.room().len() {
                widen(&mut self.packed, self.at, needed, usize::MAX);
            }
            self.at += self.encoder.block(block, std::mem::take(&mut hints), &mut self.packed.room()[self.at..]);
        }
        self.hints.clear();
        self.plain_bytes += plain.len();
    }

    /// Compresses the last block, which stands in `buffer` up to `at`, and returns the batch. None where it is no shorter so: then all
    /// of its records stand in `buffer`, uncompressed.
    fn finish(&mut self, buffer: &mut PooledBuffer, at: usize) -> Option<PooledBuffer> {
        let is_only_block = self.plain_bytes == 0;
        self.pack(&buffer.room()[HEADER_BYTES..at]);
        self.put(&END_MARK);
        let (packed_bytes, plain_bytes) = (self.at, HEADER_BYTES + self.plain_bytes);
        (self.at, self.plain_bytes) = (HEADER_BYTES, 0);
        if packed_bytes < plain_bytes {
            let mut packed = std::mem::replace(&mut self.packed, PooledBuffer::empty());
            packed.set_len(packed_bytes);
            return Some(packed);
        }
        if !is_only_block {
            let mut plain = Vec::new();
            let frame = &self.packed.room()[HEADER_BYTES..packed_bytes];
            let len = decode_frame(frame, plain_bytes.max(PLAIN_BYTES_MAX), &mut plain).unwrap_or(0);
            assert_eq!(HEADER_BYTES + len, plain_bytes, "what was compressed is there again");
            *buffer = PooledBuffer::with_room(plain_bytes);
            buffer.room()[HEADER_BYTES..plain_bytes].copy_from_slice(&plain[..len]);
        }
        None
    }

    fn make_room(&mut self, more: usize) {
        let needed = self.at + more;
        if needed > self.packed.room().len() {
            widen(&mut self.packed, self.at, needed, usize::MAX);
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.packed.room()[self.at..self.at + bytes.len()].copy_from_slice(bytes);
        self.at += bytes.len();
    }
}

/// Replaces `buffer` by a larger one that begins with the same `used` bytes: `needed` at least, and up to `usual` four times as large.
fn widen(buffer: &mut PooledBuffer, used: usize, needed: usize, usual: usize) {
    let larger = (4 * buffer.room().len()).clamp(FIRST_ROOM, FIRST_ROOM.max(usual.saturating_add(SLACK)));
    let mut wider = PooledBuffer::with_room(needed.max(larger));
    let kept = used.min(buffer.room().len());
    wider.room()[..kept].copy_from_slice(&buffer.room()[..kept]);
    *buffer = wider;
}

/// Writes a word of which some bytes are meant; the others are written over.
#[inline(always)]
fn store(room: &mut [u8], at: usize, word: u64) {
    if let Some(to) = room.get_mut(at..).and_then(|room| room.first_chunk_mut()) {
        *to = word.to_le_bytes();
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
    let mut smaller = PooledBuffer::with_room(HEADER_BYTES + plain.len());
    let room = &mut smaller.room()[HEADER_BYTES..HEADER_BYTES + plain.len()];
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
