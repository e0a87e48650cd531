//! Reading one batch: header, CRC, decompression and every frame. A batch is readable whole or not at all.

use super::Codec;
use super::deflate::Compressors;
use super::frames::{Frame, read_frames};
use super::header::{BatchHeader, HEADER_BYTES, LENGTH_FROM, crc_of};
use super::inflate::Inflaters;
use super::limits::RECORDS_MAX;

/// Why a batch cannot be read, by the codes of `hub.broker.batches.UnreadableBatch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is shorter or longer than its header says.
    Cut,
    /// It is not of message format 2.
    Magic,
    /// Its CRC is wrong.
    Crc,
    /// It claims an impossible number of records.
    Count,
    /// Offsets do not rise, or leave the range that the header claims.
    Offsets,
    /// The bytes are no records, or not as many as claimed.
    Records,
    /// Its codec stands for nothing.
    CodecUnknown,
    /// The compressed bytes are no such stream.
    CodecCorrupt,
    /// It is beyond a bound of [`limits`](super::limits).
    TooLarge,
}

impl Unreadable {
    /// The code of Python's `UnreadableBatch`.
    pub const fn code(self) -> &'static str {
        match self {
            Unreadable::Cut => "cut",
            Unreadable::Magic => "magic",
            Unreadable::Crc => "crc",
            Unreadable::Count => "count",
            Unreadable::Offsets => "offsets",
            Unreadable::Records => "records",
            Unreadable::CodecUnknown => "codec-unknown",
            Unreadable::CodecCorrupt => "codec-corrupt",
            Unreadable::TooLarge => "too-large",
        }
    }
}

/// What reading and compressing reuse from batch to batch: one per thread that runs a kernel.
#[derive(Default)]
pub struct Scratch {
    pub(super) compressors: Compressors,
    inflaters: Inflaters,
    frames: Vec<Frame>,
}

impl Scratch {
    /// Gives away what was decompressed last, and takes another buffer for what comes next.
    pub fn swap_plain(&mut self, other: &mut Vec<u8>) {
        self.inflaters.swap_plain(other);
    }
}

/// The records of one batch.
#[derive(Clone, Copy, Debug)]
pub struct Records<'a> {
    /// The bytes that the frames point into: the batch's own where it is not compressed.
    pub plain: &'a [u8],
    /// One per record, in order of offset.
    pub frames: &'a [Frame],
    base_offset: i64,
}

impl Records<'_> {
    /// The offset of one record in its partition.
    #[inline(always)]
    pub fn offset(&self, frame: &Frame) -> i64 {
        self.base_offset + i64::from(frame.offset_delta)
    }
}

/// Reads one whole batch, as [`headers`](super::headers) found it.
pub fn read<'a>(batch: &'a [u8], header: &BatchHeader, scratch: &'a mut Scratch) -> Result<Records<'a>, Unreadable> {
    check(batch, header)?;
    let body = &batch[HEADER_BYTES..];
    let plain = match header.codec().ok_or(Unreadable::CodecUnknown)? {
        Codec::None => body,
        codec => scratch.inflaters.inflate(codec, body)?,
    };
    read_frames(plain, header, &mut scratch.frames)?;
    Ok(Records { plain, frames: &scratch.frames, base_offset: header.base_offset })
}

fn check(batch: &[u8], header: &BatchHeader) -> Result<(), Unreadable> {
    if batch.len() < HEADER_BYTES {
        return Err(Unreadable::Cut);
    }
    if !header.is_magic_2() {
        return Err(Unreadable::Magic);
    }
    if i64::from(header.length) + LENGTH_FROM as i64 != batch.len() as i64 {
        return Err(Unreadable::Cut);
    }
    if crc_of(batch) != header.crc {
        return Err(Unreadable::Crc);
    }
    if header.records < 0 {
        return Err(Unreadable::Count);
    }
    if header.records > RECORDS_MAX {
        return Err(Unreadable::TooLarge);
    }
    if header.base_offset < 0 || header.last_offset() > i128::from(i64::MAX) {
        return Err(Unreadable::Offsets);
    }
    Ok(())
}
