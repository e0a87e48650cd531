//! A block: up to 64 records that are decided together, from as many batches as it takes.

use std::ops::Range;

use crate::limits::{BLOCK_BYTES, BLOCK_RECORDS};
use crate::program::Writer;
use crate::walk::Slot;

/// Marks what is not there.
const NULL: u32 = u32::MAX;

/// A range of bytes that may not be there.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// Where it begins; `NULL` where it is not.
    start: u32,
    end: u32,
}

impl Span {
    /// A range, which the caller has held to lie within 32 bits.
    pub fn new(range: Option<Range<usize>>) -> Span {
        range.map_or(Span { start: NULL, end: NULL }, |range| Span { start: range.start as u32, end: range.end as u32 })
    }

    /// Its bytes in `source`.
    #[inline(always)]
    pub fn of<'a>(&self, source: &'a [u8]) -> Option<&'a [u8]> {
        if self.start == NULL { None } else { source.get(self.start as usize..self.end as usize) }
    }

    /// How many bytes it has.
    #[inline(always)]
    pub fn bytes(&self) -> usize {
        (self.end - self.start) as usize
    }
}

/// A record that is read and not yet decided.
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Its place in the step.
    pub sequence: u64,
    /// Its offset.
    pub offset: i64,
    /// Which of the block's sources it lies in.
    pub source: u32,
    /// Its key.
    pub key: Span,
    /// Its value.
    pub value: Span,
}

/// Where bytes of a block lie.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// In the input: chunk, and where the batch's records and a little more begin and end in it.
    Input { chunk: usize, at: usize, behind: usize },
    /// In the batch that was decompressed last.
    Current,
    /// In one that was decompressed before.
    Held(usize),
}

/// Records of one writer schema, and records without value.
pub struct Block {
    /// In the order of the step.
    pub records: Vec<Record>,
    /// Where they lie.
    pub sources: Vec<Source>,
    /// Slots of each record.
    pub slots: Vec<Slot>,
    /// Slots of one record.
    pub stride: usize,
    /// The writer schema, once a record with a value is there.
    pub writer: Option<usize>,
    /// Records with a value.
    pub valued: u64,
    /// Records with a key.
    pub keyed: u64,
    bytes: usize,
    bytes_max: usize,
    records_max: usize,
}

impl Default for Block {
    fn default() -> Block {
        Block {
            records: Vec::with_capacity(BLOCK_RECORDS),
            sources: Vec::new(),
            slots: Vec::new(),
            stride: 1,
            writer: None,
            valued: 0,
            keyed: 0,
            bytes: 0,
            bytes_max: BLOCK_BYTES,
            records_max: BLOCK_RECORDS,
        }
    }
}

impl Block {
    /// Forgets the records; what was decompressed last stays a source.
    pub fn clear(&mut self) {
        self.records.clear();
        self.sources.clear();
        (self.writer, self.valued, self.keyed, self.bytes) = (None, 0, 0, 0);
    }

    /// Sets the writer schema of a block that has none.
    pub fn begin(&mut self, place: usize, writer: &Writer) {
        self.writer = Some(place);
        let stride = writer.walker.slots;
        (self.stride, self.bytes_max, self.records_max) = (stride, writer.block_bytes_max, writer.block_records_max);
        if self.slots.len() < stride * BLOCK_RECORDS {
            self.slots.resize(stride * BLOCK_RECORDS, Slot::default());
        }
    }

    /// The slots of the next record.
    #[inline(always)]
    pub fn next_slots(&mut self) -> &mut [Slot] {
        let at = self.records.len() * self.stride;
        &mut self.slots[at..at + self.stride]
    }

    /// Adds a record whose slots, if it has a value, have been filled.
    #[inline(always)]
    pub fn push(&mut self, record: Record) {
        let bit = 1 << self.records.len();
        self.valued |= if record.value.start == NULL { 0 } else { bit };
        self.keyed |= if record.key.start == NULL { 0 } else { bit };
        self.bytes += record.key.bytes() + record.value.bytes();
        self.records.push(record);
    }

    /// Tells whether it takes no more records.
    #[inline(always)]
    pub fn is_full(&self, records_max: usize) -> bool {
        self.records.len() >= self.records_max.min(records_max) || self.bytes >= self.bytes_max
    }
}
