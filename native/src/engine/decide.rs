//! Deciding a block, stage by stage, over all agreements that have a right.

use super::block::{Block, Source};
use super::clock::Stage;
use super::emit::{FRAMING_BYTES, Fragment, Many, Pseudonym, Rows};
use super::macs::Macs;
use super::outcome::{Kept, Outcome, Row};
use super::{Run, WORKSPACE_BYTES_MAX};
use crate::form::{Marks, Piece, Tools};
use crate::limits::BLOCK_RECORDS;
use crate::program::{KeyRule, Program, Share, Writer};
use crate::reject::Reject;
use crate::rule::{View, Word, rows};
use crate::values::{Forms, is_key_text};
use crate::wire::{BatchBuilder, Codec};

/// Where a fragment of a record stands in the arena.
#[derive(Clone, Copy, Default)]
pub struct Made {
    /// Its first byte.
    pub start: u32,
    /// Its bytes; more than an output may have where it is too large for any.
    pub length: u32,
}

/// What the stages of a block write, used again for the next.
#[derive(Default)]
pub struct Workspace {
    truths: Vec<Word>,
    /// By agreement with a right: records that it gets where nothing fails, those without value among them.
    taken: Vec<u64>,
    /// Keys that are no UTF-8, where an agreement with a right asks for the key.
    keys_without_text: u64,
    /// By fragment: records that need it, and those for which it failed.
    needed: Vec<u64>,
    failed: Vec<u64>,
    /// By fragment and record.
    made: Vec<Made>,
    marks: Vec<Marks>,
    /// Of the fragments that failed: fragment, record, why.
    codes: Vec<(usize, usize, Reject)>,
    arena: Vec<u8>,
    macs: Macs,
    forms: Forms,
    /// Record, agreement, why.
    rejects: Vec<(usize, usize, Reject)>,
}

impl Workspace {
    /// Gives back what is much larger than steps usually need.
    pub fn shrink(&mut self, bytes_max: usize) {
        if self.arena.capacity() > bytes_max {
            self.arena = Vec::new();
        }
    }
}

impl<const TIMED: bool> Run<'_, TIMED> {
    /// Decides the block's records; `current` are the plain bytes that the records of the batch at hand lie in.
    #[inline(never)]
    pub(super) fn decide(&mut self, current: &[u8]) {
        self.clock.lap(Stage::Walk);
        if !self.block.records.is_empty() {
            let mut sources: [&[u8]; BLOCK_RECORDS] = [&[]; BLOCK_RECORDS];
            for (source, record) in sources.iter_mut().zip(&self.block.records) {
                *source = match self.block.sources[record.source as usize] {
                    Source::Input { chunk, at, behind } => &self.input.chunks[chunk].data[at..behind],
                    Source::Current => current,
                    Source::Held(place) => &self.held_plain[place],
                };
            }
            let (mut keys, mut weights): ([&[u8]; BLOCK_RECORDS], _) = ([&[]; BLOCK_RECORDS], [0; BLOCK_RECORDS]);
            for (row, (record, source)) in self.block.records.iter().zip(&sources).enumerate().take(BLOCK_RECORDS) {
                keys[row] = record.key.of(source).unwrap_or_default();
                weights[row] = record.key.bytes() + record.value.bytes();
            }
            let view = View { sources: &sources[..self.block.records.len()], slots: &self.block.slots, stride: self.block.stride };
            let mut decision = Decision {
                program: self.program,
                writer: &self.program.writers[self.block.writer.unwrap_or(self.program.nobody())],
                block: self.block,
                view,
                keys: &keys,
                weights: &weights,
                active: &self.active,
                workspace: self.workspace,
                outcome: &mut self.outcome,
            };
            decision.filter();
            self.clock.lap(Stage::Filter);
            decision.fragments();
            self.clock.lap(Stage::Fragments);
            decision.pseudonyms();
            self.clock.lap(Stage::Mac);
            let maker = Maker { codec: self.codec.unwrap_or(Codec::None), now_ms: self.input.now_ms };
            for (place, agreement) in self.active.iter().enumerate() {
                self.output_bytes += decision.emit(place, *agreement, &mut self.builders[*agreement], &maker);
            }
            self.quarantined_bytes += decision.set_aside(&mut self.pending);
            self.clock.lap(Stage::Emit);
        }
        self.block.clear();
        let held = self.held_plain.iter_mut().take(self.held);
        held.filter(|held| held.capacity() > WORKSPACE_BYTES_MAX).for_each(|held| *held = Vec::new());
        (self.held, self.held_bytes) = (0, 0);
        self.pending.sort_by_key(|row| (row.sequence, row.agreement));
        self.outcome.quarantined.append(&mut self.pending);
        let limits = &self.program.limits;
        self.full |= self.output_bytes >= limits.step_output_bytes_max
            || self.outcome.quarantined.len() >= limits.step_quarantined_max
            || self.quarantined_bytes >= limits.step_quarantined_bytes_max;
    }
}

/// How batches are made.
struct Maker {
    codec: Codec,
    now_ms: i64,
}

/// The decision on one block.
struct Decision<'a> {
    program: &'a Program,
    writer: &'a Writer,
    block: &'a Block,
    view: View<'a>,
    /// By record: its key, empty where there is none; and the bytes of key and value.
    keys: &'a [&'a [u8]; BLOCK_RECORDS],
    weights: &'a [usize; BLOCK_RECORDS],
    active: &'a [usize],
    workspace: &'a mut Workspace,
    outcome: &'a mut Outcome,
}

impl Decision<'_> {
    /// Finds for each agreement the records that it gets, and counts the others.
    fn filter(&mut self) {
        let (block, workspace) = (self.block, &mut *self.workspace);
        let there = if block.records.len() == BLOCK_RECORDS { u64::MAX } else { (1 << block.records.len()) - 1 };
        let without = there & !block.valued;
        workspace.rejects.clear();
        workspace.taken.clear();
        // Also where no record has a value: the block of one that could not be read, and of tombstones behind it, has a writer.
        if !self.active.is_empty() && !self.writer.rules.is_empty() {
            self.writer.rules.decide(&self.view, block.valued, &mut workspace.truths);
        }
        let asked = self.active.iter().any(|agreement| self.program.agreements[*agreement].key != KeyRule::Drop);
        workspace.keys_without_text = if asked { keys_without_text(block, self.keys) } else { 0 };
        for agreement in self.active {
            let tally = &mut self.outcome.tallies[*agreement];
            let of_value = match &self.writer.shares[*agreement] {
                Some(Share { rule: Some(rule), .. }) => block.valued & self.writer.rules.yes(*rule, &workspace.truths),
                Some(_) => block.valued,
                None => {
                    workspace.rejects.extend(rows(block.valued).map(|row| (row, *agreement, Reject::OutputSchemaMissing)));
                    0
                }
            };
            if self.writer.shares[*agreement].is_some() {
                tally.filtered += i64::from((block.valued & !of_value).count_ones());
            }
            let of_none = if self.program.agreements[*agreement].tombstones { without & block.keyed } else { 0 };
            tally.suppressed += i64::from((without & !of_none).count_ones());
            workspace.taken.push(of_value | of_none);
        }
    }

    /// Makes every fragment of the records that need it.
    fn fragments(&mut self) {
        let (writer, workspace) = (self.writer, &mut *self.workspace);
        let count = writer.fragments.len();
        for words in [&mut workspace.needed, &mut workspace.failed] {
            words.clear();
            words.resize(count, 0);
        }
        workspace.made.resize(count * BLOCK_RECORDS, Made::default());
        workspace.marks.resize(count * BLOCK_RECORDS, [0; 8]);
        workspace.codes.clear();
        workspace.arena.clear();
        for (agreement, taken) in self.active.iter().zip(&workspace.taken) {
            for piece in writer.shares[*agreement].iter().flat_map(|share| &share.pieces) {
                if let Piece::Fragment(fragment) = piece {
                    workspace.needed[*fragment] |= taken & self.block.valued;
                }
            }
        }
        let most = self.program.limits.record_bytes_max;
        let mut tools = Tools { keys: &self.program.keys, forms: &mut workspace.forms, most };
        for (place, fragment) in writer.fragments.iter().enumerate() {
            for row in rows(workspace.needed[place]) {
                let start = workspace.arena.len();
                let marks = &mut workspace.marks[place * BLOCK_RECORDS + row];
                let found = fragment.write(&self.view, row, &mut tools, &mut workspace.arena, marks);
                let mut length = workspace.arena.len() - start;
                if let Err(code) = found {
                    workspace.arena.truncate(start);
                    length = most + 1;
                    // What is too large is refused with its record, behind every other reason.
                    if code != Reject::OutputTooLarge {
                        workspace.failed[place] |= 1 << row;
                        workspace.codes.push((place, row, code));
                    }
                }
                workspace.made[place * BLOCK_RECORDS + row] = Made { start: start as u32, length: length as u32 };
            }
        }
    }

    /// Reckons every pseudonym of the records that need it.
    fn pseudonyms(&mut self) {
        let (writer, workspace) = (self.writer, &mut *self.workspace);
        if writer.pairs.is_empty() {
            return;
        }
        workspace.macs.clear(writer);
        for (agreement, taken) in self.active.iter().zip(&workspace.taken) {
            if let KeyRule::Pseudonym(pair) = self.program.agreements[*agreement].key {
                workspace.macs.ask(pair, taken & self.block.keyed);
            }
            for piece in writer.shares[*agreement].iter().flat_map(|share| &share.pieces) {
                if let Piece::Pseudonym { pair, .. } = piece {
                    workspace.macs.ask(*pair, taken & self.block.valued);
                }
            }
        }
        workspace.macs.reckon(writer, &self.view, self.block, &self.program.keys, &mut workspace.forms);
    }

    /// Writes the output of one agreement; returns its bytes.
    fn emit(&mut self, place: usize, agreement: usize, builder: &mut Option<BatchBuilder>, maker: &Maker) -> u64 {
        let taken = self.workspace.taken[place];
        if taken == 0 {
            return 0;
        }
        let key_rule = self.program.agreements[agreement].key;
        let pieces = self.writer.shares[agreement].as_ref().map_or([].as_slice(), |share| &share.pieces);
        let failed = self.failed(key_rule, pieces) & taken;
        for row in rows(failed) {
            let code = self.code(key_rule, pieces, row);
            self.workspace.rejects.push((row, agreement, code));
        }
        let limits = &self.program.limits;
        let builder = builder.get_or_insert_with(|| BatchBuilder::new(maker.codec, maker.now_ms, limits.batch_bytes_max));
        let Workspace { made, marks, arena, macs, rejects, .. } = &mut *self.workspace;
        let (macs, arena) = (&*macs, arena.as_slice());
        let rows = Rows {
            good: taken & !failed,
            valued: self.block.valued,
            keyed: if key_rule == KeyRule::Drop { 0 } else { self.block.keyed },
            keys: self.keys,
            weights: self.weights,
            pseudonym: if let KeyRule::Pseudonym(pair) = key_rule { Some((macs, pair)) } else { None },
            framing: self.writer.shares[agreement].as_ref().map_or([0; FRAMING_BYTES], |share| share.framing),
            most: limits.record_bytes_max,
        };
        let marks = (maker.codec == Codec::Lz4).then_some(marks.as_slice());
        let fragment = |fragment: usize| Fragment::of(fragment, made, marks, arena);
        let emitted = match *pieces {
            [Piece::Fragment(only)] => rows.emit(&fragment(only), builder),
            [Piece::Pseudonym { pair, nullable: false, .. }, Piece::Fragment(then)] => {
                rows.emit(&(Pseudonym { pair, macs }, fragment(then)), builder)
            }
            [Piece::Fragment(first), Piece::Pseudonym { pair, nullable: false, .. }] => {
                rows.emit(&(fragment(first), Pseudonym { pair, macs }), builder)
            }
            [Piece::Fragment(first), Piece::Pseudonym { pair, nullable: false, .. }, Piece::Fragment(then)] => {
                rows.emit(&(fragment(first), (Pseudonym { pair, macs }, fragment(then))), builder)
            }
            _ => rows.emit(&Many { pieces, view: &self.view, made, marks, arena, macs }, builder),
        };
        rejects.extend(self::rows(emitted.too_large).map(|row| (row, agreement, Reject::OutputTooLarge)));
        let tally = &mut self.outcome.tallies[agreement];
        tally.delivered += emitted.records;
        tally.bytes_source += emitted.source_bytes as i64;
        tally.bytes_delivered += emitted.bytes as i64;
        emitted.bytes as u64
    }

    /// Records that a key or a piece failed for.
    fn failed(&self, key_rule: KeyRule, pieces: &[Piece]) -> u64 {
        let of_key = match key_rule {
            KeyRule::Drop => 0,
            KeyRule::Keep => self.workspace.keys_without_text,
            KeyRule::Pseudonym(pair) => self.workspace.keys_without_text | self.workspace.macs.failed(pair, self.writer),
        };
        let of_value = pieces.iter().fold(0, |failed, piece| failed | self.failed_piece(piece));
        of_key & self.block.keyed | of_value & self.block.valued
    }

    fn failed_piece(&self, piece: &Piece) -> u64 {
        match piece {
            Piece::Fragment(fragment) => self.workspace.failed[*fragment],
            Piece::Pseudonym { pair, .. } => self.workspace.macs.failed(*pair, self.writer),
        }
    }

    /// Why a record failed: the key first, then the first piece.
    #[cold]
    fn code(&self, key_rule: KeyRule, pieces: &[Piece], row: usize) -> Reject {
        let is = |word: u64| word >> row & 1 == 1;
        if key_rule != KeyRule::Drop && is(self.workspace.keys_without_text) {
            return Reject::ValueInvalid;
        }
        if let KeyRule::Pseudonym(pair) = key_rule
            && is(self.block.keyed & self.workspace.macs.failed(pair, self.writer))
        {
            return Reject::IdentifierInvalid;
        }
        match pieces.iter().find(|piece| is(self.failed_piece(piece))) {
            Some(Piece::Fragment(fragment)) => {
                let found = self.workspace.codes.iter().find(|(of, record, _)| (of, record) == (fragment, &row));
                found.map_or(Reject::TransformFailed, |(.., code)| *code)
            }
            _ => Reject::IdentifierInvalid,
        }
    }

    /// Makes rows of quarantine of what failed; returns their bytes.
    fn set_aside(&mut self, pending: &mut Vec<Row>) -> u64 {
        let mut bytes = 0;
        self.workspace.rejects.sort_unstable_by_key(|(row, agreement, _)| (*row, *agreement));
        let mut last = None;
        for (row, agreement, code) in self.workspace.rejects.drain(..) {
            let (record, source) = (&self.block.records[row], self.view.sources[row]);
            if last != Some(row) {
                self.outcome.kept.push(Kept::new(record.key.of(source), record.value.of(source)));
                last = Some(row);
            }
            let kept = self.outcome.kept.len() - 1;
            self.outcome.tallies[agreement].quarantined += 1;
            bytes += self.outcome.kept[kept].bytes();
            pending.push(Row {
                sequence: record.sequence,
                agreement: Some(agreement as u32),
                code,
                first_offset: record.offset,
                next_offset: record.offset.saturating_add(1),
                kept,
            });
        }
        bytes
    }
}

/// Keys that are no UTF-8, or hold control characters: a key with a declared identifier kind is text, and no frame of a serializer.
#[inline(never)]
fn keys_without_text(block: &Block, keys: &[&[u8]; BLOCK_RECORDS]) -> u64 {
    rows(block.keyed).fold(0, |word, row| {
        let key = keys[row % BLOCK_RECORDS];
        word | u64::from(!is_key_text(key)) << row
    })
}
