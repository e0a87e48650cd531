//! Emitting: output records of one agreement, straight into its batch.
//!
//! Lengths are known before a byte is written. The loop over records is compiled for each common shape of a form (a fragment, a
//! pseudonym, both in either order), and once for all others, which look their pieces up record by record.

use super::decide::Made;
use super::macs::Macs;
use crate::form::{Marks, NONE, Piece};
use crate::limits::BLOCK_RECORDS;
use crate::rule::{View, rows};
use crate::values::PSEUDONYM_BYTES;
use crate::wire::BatchBuilder;

/// Before a value's body: zero, and its schema id.
pub const FRAMING_BYTES: usize = 5;
/// Zigzag of the length of a pseudonym.
const PSEUDONYM_LENGTH: u8 = 2 * PSEUDONYM_BYTES as u8;

/// Records that an agreement gets, and what their keys become.
pub struct Rows<'a> {
    /// Records for which nothing failed.
    pub good: u64,
    /// Records with a value.
    pub valued: u64,
    /// Records whose key crosses.
    pub keyed: u64,
    /// By record.
    pub keys: &'a [&'a [u8]; BLOCK_RECORDS],
    /// By record: bytes of key and value.
    pub weights: &'a [usize; BLOCK_RECORDS],
    /// Where keys become pseudonyms: of which pair.
    pub pseudonym: Option<(&'a Macs, usize)>,
    /// What stands before each body.
    pub framing: [u8; FRAMING_BYTES],
    /// The most bytes of an output record.
    pub most: usize,
}

/// What was written.
#[derive(Default)]
pub struct Emitted {
    /// Records.
    pub records: i64,
    /// Their bytes at the source.
    pub source_bytes: usize,
    /// Their bytes as written.
    pub bytes: usize,
    /// Records that were not, being too large.
    pub too_large: u64,
}

/// The body of a form: how long it is for a record, and its bytes.
pub trait Body {
    /// Bytes of a record's body.
    fn length(&self, row: usize) -> usize;
    /// Puts them.
    fn put(&self, row: usize, builder: &mut BatchBuilder);
}

impl Rows<'_> {
    /// Writes the records.
    #[inline(always)]
    pub fn emit(&self, body: &impl Body, builder: &mut BatchBuilder) -> Emitted {
        let mut emitted = Emitted::default();
        for row in rows(self.good) {
            let key = if self.keyed >> row & 1 == 0 {
                None
            } else if let Some((macs, pair)) = self.pseudonym {
                Some(macs.found(pair, row).as_slice())
            } else {
                Some(self.keys[row % BLOCK_RECORDS])
            };
            let value = if self.valued >> row & 1 == 1 { Some(FRAMING_BYTES + body.length(row)) } else { None };
            let size = value.unwrap_or(0) + key.map_or(0, <[u8]>::len);
            if size > self.most {
                emitted.too_large |= 1 << row;
                continue;
            }
            builder.begin(key, value);
            if value.is_some() {
                builder.put(&self.framing);
                body.put(row, builder);
            }
            builder.end();
            emitted.records += 1;
            emitted.source_bytes += self.weights[row % BLOCK_RECORDS];
            emitted.bytes += size;
        }
        emitted
    }
}

/// A fragment: where its bytes stand, by record.
pub struct Fragment<'a> {
    made: &'a [Made; BLOCK_RECORDS],
    marks: Option<&'a [Marks; BLOCK_RECORDS]>,
    arena: &'a [u8],
}

impl<'a> Fragment<'a> {
    /// Of all that was made, that of one fragment; with marks, where fields are to be told.
    pub fn of(fragment: usize, made: &'a [Made], marks: Option<&'a [Marks]>, arena: &'a [u8]) -> Fragment<'a> {
        static NOTHING: [Made; BLOCK_RECORDS] = [Made { start: 0, length: 0 }; BLOCK_RECORDS];
        let at = fragment * BLOCK_RECORDS;
        Fragment {
            made: made.get(at..).and_then(|of_it| of_it.first_chunk()).unwrap_or(&NOTHING),
            marks: marks.and_then(|marks| marks.get(at..)?.first_chunk()),
            arena,
        }
    }
}

impl Body for Fragment<'_> {
    #[inline(always)]
    fn length(&self, row: usize) -> usize {
        self.made[row % BLOCK_RECORDS].length as usize
    }

    #[inline(always)]
    fn put(&self, row: usize, builder: &mut BatchBuilder) {
        let Made { start, length } = self.made[row % BLOCK_RECORDS];
        if let Some(marks) = self.marks {
            for mark in marks[row % BLOCK_RECORDS].iter().take_while(|mark| **mark != NONE) {
                builder.hint_ahead(usize::from(*mark));
            }
        }
        builder.put_from(self.arena, start as usize..start as usize + length as usize);
    }
}

/// A pseudonym that every record has.
pub struct Pseudonym<'a> {
    /// Key and message.
    pub pair: usize,
    /// Where it is found.
    pub macs: &'a Macs,
}

impl Body for Pseudonym<'_> {
    #[inline(always)]
    fn length(&self, _row: usize) -> usize {
        1 + PSEUDONYM_BYTES
    }

    #[inline(always)]
    fn put(&self, row: usize, builder: &mut BatchBuilder) {
        builder.hint();
        builder.put(&[PSEUDONYM_LENGTH]);
        builder.put(self.macs.found(self.pair, row));
    }
}

impl<A: Body, B: Body> Body for (A, B) {
    #[inline(always)]
    fn length(&self, row: usize) -> usize {
        self.0.length(row) + self.1.length(row)
    }

    #[inline(always)]
    fn put(&self, row: usize, builder: &mut BatchBuilder) {
        self.0.put(row, builder);
        self.1.put(row, builder);
    }
}

/// Any pieces.
pub struct Many<'a> {
    /// In order.
    pub pieces: &'a [Piece],
    /// The block.
    pub view: &'a View<'a>,
    /// By fragment and record.
    pub made: &'a [Made],
    /// Likewise, where fields are to be told.
    pub marks: Option<&'a [Marks]>,
    /// Where fragments stand.
    pub arena: &'a [u8],
    /// Where pseudonyms are found.
    pub macs: &'a Macs,
}

impl Body for Many<'_> {
    fn length(&self, row: usize) -> usize {
        let lengths = self.pieces.iter().map(|piece| match *piece {
            Piece::Fragment(fragment) => Fragment::of(fragment, self.made, self.marks, self.arena).length(row),
            Piece::Pseudonym { nullable: false, .. } => 1 + PSEUDONYM_BYTES,
            Piece::Pseudonym { slot, .. } if self.view.at(row, slot).1.null == 1 => 1,
            Piece::Pseudonym { .. } => 2 + PSEUDONYM_BYTES,
        });
        lengths.sum()
    }

    fn put(&self, row: usize, builder: &mut BatchBuilder) {
        for piece in self.pieces {
            match *piece {
                Piece::Fragment(fragment) => Fragment::of(fragment, self.made, self.marks, self.arena).put(row, builder),
                Piece::Pseudonym { pair, nullable: false, .. } => Pseudonym { pair, macs: self.macs }.put(row, builder),
                Piece::Pseudonym { pair, slot, .. } => {
                    let (source, at) = self.view.at(row, slot);
                    builder.put(source.get(at.start as usize..).and_then(|rest| rest.first_chunk::<1>()).unwrap_or(&[0]));
                    if at.null == 0 {
                        Pseudonym { pair, macs: self.macs }.put(row, builder);
                    }
                }
            }
        }
    }
}
