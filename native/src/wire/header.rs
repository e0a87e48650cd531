//! The 61 bytes before the records of a batch: what they say, where batches begin, and what a producer stamps into them.
//!
//! Layout as in Apache Kafka's documentation, "Record Batch". The CRC covers everything from the attributes on, so leader epoch
//! and base offset change without it.

use std::ops::Range;

use super::Codec;

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
pub(super) const LENGTH_AT: usize = 8;
pub(super) const LENGTH_FROM: usize = 12;
const LEADER_EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const CRC_FROM: usize = 21;
const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const FIRST_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
const RECORDS_AT: usize = 57;
const MAGIC: u8 = 2;
const TRANSACTIONAL: u8 = 0x10;
const CODEC_BITS: u8 = 0x07;

/// What the kernel needs of a batch's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the batch in its partition.
    pub base_offset: i64,
    /// Offset of the last record, counted from the first.
    pub last_offset_delta: i32,
    /// Records that the batch claims to hold.
    pub records: i32,
    /// Codec, timestamp type, transaction and control bits.
    pub attributes: u16,
    pub(super) length: i32,
    pub(super) magic: u8,
    pub(super) crc: u32,
}

impl BatchHeader {
    /// Reads the header at the beginning of `bytes`; None where they are fewer than 61.
    pub fn of(bytes: &[u8]) -> Option<BatchHeader> {
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        Some(BatchHeader {
            base_offset: i64::from_be_bytes(part(header, 0)),
            last_offset_delta: i32::from_be_bytes(part(header, LAST_OFFSET_DELTA_AT)),
            records: i32::from_be_bytes(part(header, RECORDS_AT)),
            attributes: u16::from_be_bytes(part(header, ATTRIBUTES_AT)),
            length: i32::from_be_bytes(part(header, LENGTH_AT)),
            magic: header[MAGIC_AT],
            crc: u32::from_be_bytes(part(header, CRC_AT)),
        })
    }

    /// The codec of the records; None for the numbers that stand for nothing.
    pub const fn codec(&self) -> Option<Codec> {
        Codec::of(self.attributes as u8 & CODEC_BITS)
    }

    /// Offset of the last record as the header claims it, which may be beyond what a partition can have.
    pub const fn last_offset(&self) -> i128 {
        self.base_offset as i128 + self.last_offset_delta as i128
    }

    pub(super) const fn is_magic_2(&self) -> bool {
        self.magic == MAGIC
    }
}

fn part<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    header[at..].first_chunk().copied().unwrap_or([0; N])
}

/// Each whole batch of a message set, where it stands and its header; a cut batch at the end is left out.
pub fn headers(data: &[u8]) -> impl Iterator<Item = (Range<usize>, BatchHeader)> {
    let mut position = 0;
    std::iter::from_fn(move || {
        let header = BatchHeader::of(data.get(position..)?)?;
        let length = usize::try_from(header.length).ok()?;
        let end = position + LENGTH_FROM + length;
        if length < HEADER_BYTES - LENGTH_FROM || end > data.len() {
            position = data.len();
            return None;
        }
        let range = position..end;
        position = end;
        Some((range, header))
    })
}

/// CRC-32C, as Kafka uses it.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

pub(super) fn crc_of(batch: &[u8]) -> u32 {
    crc32c(&batch[CRC_FROM..])
}

/// What the header of a batch of this product says: base offset 0, no producer, its CRC not yet reckoned.
pub(super) fn write(batch: &mut [u8], length: usize, codec: Codec, records: u32, timestamp_ms: i64) {
    let mut header = [0u8; HEADER_BYTES];
    header[LENGTH_AT..LEADER_EPOCH_AT].copy_from_slice(&((length - LENGTH_FROM) as u32).to_be_bytes());
    header[LEADER_EPOCH_AT..MAGIC_AT].copy_from_slice(&(-1i32).to_be_bytes());
    header[MAGIC_AT] = MAGIC;
    header[ATTRIBUTES_AT + 1] = codec as u8;
    header[LAST_OFFSET_DELTA_AT..FIRST_TIMESTAMP_AT].copy_from_slice(&(records - 1).to_be_bytes());
    header[FIRST_TIMESTAMP_AT..MAX_TIMESTAMP_AT].copy_from_slice(&timestamp_ms.to_be_bytes());
    header[MAX_TIMESTAMP_AT..PRODUCER_ID_AT].copy_from_slice(&timestamp_ms.to_be_bytes());
    header[PRODUCER_ID_AT..RECORDS_AT].fill(0xff);
    header[RECORDS_AT..].copy_from_slice(&records.to_be_bytes());
    batch[..HEADER_BYTES].copy_from_slice(&header);
}

/// Sets producer id, epoch, base sequence and the transactional bit of a whole batch in place, and makes its CRC anew.
///
/// Nothing happens to bytes that are shorter than a header.
pub fn stamp(batch: &mut [u8], producer_id: i64, epoch: i16, sequence: i32, transactional: bool) {
    if batch.len() < HEADER_BYTES {
        return;
    }
    if transactional {
        batch[ATTRIBUTES_AT + 1] |= TRANSACTIONAL;
    }
    batch[PRODUCER_ID_AT..PRODUCER_EPOCH_AT].copy_from_slice(&producer_id.to_be_bytes());
    batch[PRODUCER_EPOCH_AT..BASE_SEQUENCE_AT].copy_from_slice(&epoch.to_be_bytes());
    batch[BASE_SEQUENCE_AT..RECORDS_AT].copy_from_slice(&sequence.to_be_bytes());
    let crc = crc_of(batch);
    batch[CRC_AT..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
}
