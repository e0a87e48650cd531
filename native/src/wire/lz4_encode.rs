//! Compressing to LZ4 where it pays: matches are looked for where the caller says that a field begins.
//!
//! Records of one agreement repeat each other field by field, and what does not repeat (pseudonyms above all) is not worth a look. So
//! a block is searched at the hints; only between hints that are far apart, in long texts and in records that came without any, is
//! it searched like any other bytes. The dictionary is the block itself, of 64 KiB at most, so that places fit in 16 bits.
//!
//! What is written ends as the format asks: a match begins twelve bytes before the end of the block at the latest, and the last
//! five bytes are literals.

use super::lz4::{MATCH_MIN, STORED, chunk, chunk_mut};

/// The header of the frames that are written: blocks of at most 64 KiB, independent, no checksums (the batch has its CRC).
pub(super) const FRAME_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
/// The mark behind the last block.
pub(super) const END_MARK: [u8; 4] = [0; 4];
/// Plain bytes of a block at most.
pub(super) const BLOCK_BYTES_MAX: usize = 64 * 1024;

const TABLE_BITS: u32 = 12;
/// Hints further apart than this leave bytes between them that are searched too.
const GAP_BYTES: usize = 48;
/// A field that begins at most so many bytes before the end of a match is looked at nevertheless.
const OVERLAP_BYTES: usize = 4;
/// The search between hints goes on in longer steps after so many places without a match.
const MISSES_PER_STEP: usize = 16;
const LAST_MATCH_BEFORE_END: usize = 12;
const LAST_LITERALS: usize = 5;
const WIDE: usize = 32;

/// Room that a block of `plain` bytes needs at most, its size included, while it is written.
pub(super) const fn block_room(plain: usize) -> usize {
    4 + plain + plain / 255 + 16 + WIDE
}

/// The places of a block where its bytes have been seen, by a hash of five of them.
pub(super) struct Encoder {
    places: Box<[u16; 1 << TABLE_BITS]>,
}

impl Encoder {
    pub fn new() -> Encoder {
        Encoder { places: Box::new([0; 1 << TABLE_BITS]) }
    }

    /// Writes one block of at most 64 KiB to the beginning of `out`, its size before it, and returns its length with that.
    /// `hints` rise. Stored as it is where that is no longer.
    pub fn block(&mut self, plain: &[u8], hints: &[u16], out: &mut [u8]) -> usize {
        let (head, room) = out.split_at_mut(4);
        let len = self.sequences(plain, hints, room);
        if len < plain.len() {
            head.copy_from_slice(&(len as u32).to_le_bytes());
            return 4 + len;
        }
        head.copy_from_slice(&(plain.len() as u32 | STORED).to_le_bytes());
        room[..plain.len()].copy_from_slice(plain);
        4 + plain.len()
    }

    fn sequences(&mut self, plain: &[u8], hints: &[u16], out: &mut [u8]) -> usize {
        self.places.fill(0);
        let mut writer = Writer { plain, out, at: 0, anchor: 0, waiting: Match { start: 0, candidate: 0, end: 0 } };
        let last_match = plain.len().saturating_sub(LAST_MATCH_BEFORE_END);
        let mut tried = 0;
        for hint in hints.iter().map(|hint| usize::from(*hint)).chain([last_match]) {
            let hint = hint.min(last_match);
            tried = tried.max(writer.waiting.end);
            if hint > tried + GAP_BYTES {
                self.search(&mut writer, tried, hint);
            }
            if hint + OVERLAP_BYTES < writer.waiting.end || hint >= last_match {
                continue;
            }
            self.look(&mut writer, hint);
            tried = hint + 1;
        }
        writer.finish()
    }

    /// Looks at places from `from` to `to`, fewer of them the longer nothing is found.
    #[inline(never)]
    fn search(&mut self, writer: &mut Writer<'_>, from: usize, to: usize) {
        let (mut at, mut misses) = (from, 0);
        while at < to {
            if self.look(writer, at) {
                (at, misses) = (writer.waiting.end, 0);
            } else {
                misses += 1;
                at += 1 + misses / MISSES_PER_STEP;
            }
        }
    }

    /// Notes a match if the bytes at `at` have been seen in this block.
    #[inline(always)]
    fn look(&mut self, writer: &mut Writer<'_>, at: usize) -> bool {
        let Some(word) = chunk::<8>(writer.plain, at) else { return false };
        let word = u64::from_le_bytes(*word);
        let place = &mut self.places[(((word << 24).wrapping_mul(889_523_592_379)) >> (64 - TABLE_BITS)) as usize];
        let candidate = usize::from(*place);
        *place = at as u16;
        if candidate >= at || chunk::<4>(writer.plain, candidate).is_none_or(|seen| u32::from_le_bytes(*seen) != word as u32) {
            return false;
        }
        writer.found(at, candidate)
    }
}

/// The bytes from `start` to `end` are those from `candidate` on.
#[derive(Clone, Copy)]
struct Match {
    start: usize,
    candidate: usize,
    end: usize,
}

struct Writer<'a> {
    plain: &'a [u8],
    out: &'a mut [u8],
    at: usize,
    /// Where what has not been written yet begins.
    anchor: usize,
    /// The last match found, not yet written: the next field may begin inside it and be worth more. Empty at first.
    waiting: Match,
}

impl Writer<'_> {
    /// Takes the match of the bytes at `start`, which are four at least, with those at `candidate`, made as long as it can be on both
    /// sides; false where the match that waits is worth more.
    #[inline(always)]
    fn found(&mut self, mut start: usize, mut candidate: usize) -> bool {
        let end = start + MATCH_MIN + self.common(start + MATCH_MIN, candidate + MATCH_MIN);
        if start < self.waiting.end {
            if end <= self.waiting.end + 1 || start < self.waiting.start + MATCH_MIN {
                return false;
            }
            self.waiting.end = start;
        } else {
            let floor = self.waiting.end;
            while start > floor && candidate > 0 && self.plain[start - 1] == self.plain[candidate - 1] {
                (start, candidate) = (start - 1, candidate - 1);
            }
        }
        self.write_waiting();
        self.waiting = Match { start, candidate, end };
        true
    }

    /// Writes the literals before the match that waits, and the match.
    #[inline(always)]
    fn write_waiting(&mut self) {
        let Match { start, candidate, end } = self.waiting;
        if end == 0 {
            return;
        }
        let token = self.literals(start);
        self.out[self.at..self.at + 2].copy_from_slice(&((start - candidate) as u16).to_le_bytes());
        self.at += 2;
        let rest = end - start - MATCH_MIN;
        self.out[token] |= rest.min(15) as u8;
        if rest >= 15 {
            self.long_run(rest - 15);
        }
        self.anchor = end;
    }

    /// Bytes that are the same from `left` and from `right` on, short of the last literals.
    #[inline(always)]
    fn common(&self, left: usize, right: usize) -> usize {
        let most = (self.plain.len() - LAST_LITERALS).saturating_sub(left);
        let mut same = 0;
        while same < most {
            let (Some(one), Some(other)) = (chunk::<8>(self.plain, left + same), chunk::<8>(self.plain, right + same)) else {
                return same + (same..most).take_while(|at| self.plain[left + at] == self.plain[right + at]).count();
            };
            let differ = u64::from_le_bytes(*one) ^ u64::from_le_bytes(*other);
            if differ != 0 {
                return (same + differ.trailing_zeros() as usize / 8).min(most);
            }
            same += 8;
        }
        most
    }

    /// Writes a token and the literals from the anchor to `end`; returns where the token stands.
    #[inline(always)]
    fn literals(&mut self, end: usize) -> usize {
        let (token, length) = (self.at, end - self.anchor);
        self.out[token] = (length.min(15) as u8) << 4;
        self.at += 1;
        if length >= 15 {
            self.long_run(length - 15);
        }
        if length <= WIDE
            && let (Some(from), Some(to)) = (chunk::<WIDE>(self.plain, self.anchor), chunk_mut::<WIDE>(self.out, self.at))
        {
            *to = *from;
        } else {
            self.out[self.at..self.at + length].copy_from_slice(&self.plain[self.anchor..end]);
        }
        self.at += length;
        token
    }

    #[inline]
    fn long_run(&mut self, mut rest: usize) {
        while rest >= 255 {
            self.out[self.at] = 255;
            self.at += 1;
            rest -= 255;
        }
        self.out[self.at] = rest as u8;
        self.at += 1;
    }

    fn finish(mut self) -> usize {
        self.write_waiting();
        self.literals(self.plain.len());
        self.at
    }
}
