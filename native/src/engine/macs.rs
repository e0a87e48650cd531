//! Pseudonyms of a block: every message brought to its normal form once, every pair of key and message reckoned once.
//!
//! Jobs of all agreements are put down first and reckoned together, so that all lanes of SHA-256 have work. A record key
//! that reads like a field of the same identifier kind shares that field's message, and its pseudonym where the key is the same.

use super::block::Block;
use crate::form::{Message, Pair};
use crate::limits::BLOCK_RECORDS;
use crate::program::Writer;
use crate::rule::{View, cut, rows};
use crate::values::{Forms, MacKey, PSEUDONYM_BYTES, Stage};

/// Memory for the pseudonyms of a block.
#[derive(Default)]
pub struct Macs {
    stage: Stage,
    /// By pair: records that need it.
    need: Vec<u64>,
    /// By message: records that have a normal form; and those that have none and should.
    made: Vec<u64>,
    failed: Vec<u64>,
    /// By message and record.
    messages: Vec<u32>,
    /// By pair and record.
    jobs: Vec<u32>,
}

impl Macs {
    /// Begins a block.
    pub fn clear(&mut self, writer: &Writer) {
        self.stage.clear();
        for (words, count) in
            [(&mut self.need, writer.pairs.len()), (&mut self.made, writer.messages.len()), (&mut self.failed, writer.messages.len())]
        {
            words.clear();
            words.resize(count, 0);
        }
        self.messages.resize(writer.messages.len() * BLOCK_RECORDS, 0);
        self.jobs.resize(writer.pairs.len() * BLOCK_RECORDS, 0);
    }

    /// Asks for a pair in these records.
    #[inline]
    pub fn ask(&mut self, pair: usize, records: u64) {
        self.need[pair] |= records;
    }

    /// Reckons all that was asked for.
    #[inline(never)]
    pub fn reckon(&mut self, writer: &Writer, view: &View, block: &Block, keys: &[MacKey], forms: &mut Forms) {
        // Fields before keys, which may share what the fields have.
        for of_key in [false, true] {
            for (place, message) in writer.messages.iter().enumerate() {
                if message.slot.is_none() == of_key {
                    self.message(place, *message, writer, view, block, forms);
                }
            }
            for (place, pair) in writer.pairs.iter().enumerate() {
                if writer.messages[pair.message].slot.is_none() == of_key {
                    self.pair(place, *pair, writer);
                }
            }
        }
        self.stage.run(keys);
    }

    fn message(&mut self, place: usize, message: Message, writer: &Writer, view: &View, block: &Block, forms: &mut Forms) {
        let wanted = writer.pairs.iter().zip(&self.need).filter(|(pair, _)| pair.message == place).fold(0, |all, (_, need)| all | need);
        for row in rows(wanted) {
            let text = match message.slot {
                Some(slot) => {
                    let (source, at) = view.at(row, slot);
                    if at.null == 1 {
                        continue;
                    }
                    cut(source, at.text, at.end)
                }
                None => block.records[row].key.of(view.sources[row]).unwrap_or_default(),
            };
            let twin = if message.slot.is_none() { self.twin(message, text, row, writer, view) } else { None };
            let staged = twin.or_else(|| crate::values::normal_form(message.kind, text, forms).map(|normal| self.stage.message(normal)));
            match staged {
                Some(staged) => {
                    self.messages[place * BLOCK_RECORDS + row] = staged;
                    self.made[place] |= 1 << row;
                }
                None => self.failed[place] |= 1 << row,
            }
        }
    }

    /// The message of a field of the same kind that reads the same.
    fn twin(&self, message: Message, text: &[u8], row: usize, writer: &Writer, view: &View) -> Option<u32> {
        writer.messages.iter().enumerate().find_map(|(place, other)| {
            let slot = other.slot.filter(|_| other.kind == message.kind && self.made[place] >> row & 1 == 1)?;
            let (source, at) = view.at(row, slot);
            (cut(source, at.text, at.end) == text).then(|| self.messages[place * BLOCK_RECORDS + row])
        })
    }

    fn pair(&mut self, place: usize, pair: Pair, writer: &Writer) {
        let of_key = writer.messages[pair.message].slot.is_none();
        for row in rows(self.need[place] & self.made[pair.message]) {
            let message = self.messages[pair.message * BLOCK_RECORDS + row];
            let twin = if of_key { self.twin_job(pair, message, row, writer) } else { None };
            self.jobs[place * BLOCK_RECORDS + row] = twin.unwrap_or_else(|| self.stage.job(pair.key as u32, message));
        }
    }

    fn twin_job(&self, pair: Pair, message: u32, row: usize, writer: &Writer) -> Option<u32> {
        writer.pairs.iter().enumerate().find_map(|(place, other)| {
            let same = other.key == pair.key
                && writer.messages[other.message].slot.is_some()
                && (self.need[place] & self.made[other.message]) >> row & 1 == 1
                && self.messages[other.message * BLOCK_RECORDS + row] == message;
            same.then(|| self.jobs[place * BLOCK_RECORDS + row])
        })
    }

    /// Records that need the pair and have no normal form for it.
    #[inline]
    pub fn failed(&self, pair: usize, writer: &Writer) -> u64 {
        self.failed[writer.pairs[pair].message]
    }

    /// The pseudonym of a record that has one.
    #[inline(always)]
    pub fn found(&self, pair: usize, row: usize) -> &[u8; PSEUDONYM_BYTES] {
        self.stage.found(self.jobs[pair * BLOCK_RECORDS + row])
    }
}
