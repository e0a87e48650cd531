//! Engine: decides every record of a step under a program, the same as `hub.exchange.reference`.
//!
//! Records are read batch by batch and walked one by one; up to 64 of them make a block, which runs across batches and is decided
//! stage by stage (`decide`): rules for all agreements, fragments, pseudonyms, output. What cannot be read, and what fails for an
//! agreement, becomes a row of quarantine; rows are put in the order of records, then agreements, when their block is decided.
//! Nothing here does I/O, asks for the time or panics because of a record; memory is used again from step to step.

mod block;
mod clock;
mod decide;
mod emit;
mod macs;
mod outcome;

use std::sync::{Mutex, PoisonError};

pub use clock::{STAGES, Stage};
pub use outcome::{Kept, Outcome, Row, Tally};

use block::{Block, Record, Source, Span};
use clock::Clock;
use decide::Workspace;
use emit::FRAMING_BYTES;

use crate::limits::{BLOCK_PLAIN_BYTES, BLOCK_RECORDS};
use crate::program::Program;
use crate::reject::Reject;
use crate::wire::{self, BatchBuilder, BatchHeader, Codec, Frame, HEADER_BYTES, Records, Scratch, Unreadable, headers};

/// Decompressed batches that a block holds on to.
const HELD_MAX: usize = 16;
/// Memory beyond this is given back rather than kept for the next step.
const WORKSPACE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Bytes behind a batch that short loads may reach.
const SLACK: usize = 64;
/// States that wait for the next step.
const WAITING_MAX: usize = 8;

/// One fetched message set, and the offset below which nothing of it counts.
#[derive(Clone, Copy)]
pub struct Chunk<'a> {
    /// Record batches back to back.
    pub data: &'a [u8],
    /// The offset that was asked for.
    pub first_offset: i64,
}

/// What a step is about.
pub struct Input<'a> {
    /// In order.
    pub chunks: &'a [Chunk<'a>],
    /// Where the step begins.
    pub position: i64,
    /// Timestamp of output batches.
    pub now_ms: i64,
    /// By agreement: whether a right is missing at this moment.
    pub denied: &'a [bool],
}

/// Memory of one step, used again for the next.
#[derive(Default)]
struct State {
    scratch: Option<Box<Scratch>>,
    block: Block,
    workspace: Workspace,
    /// Plain bytes of decompressed batches that have records in the block.
    held: Vec<Vec<u8>>,
}

static STATES: Mutex<Vec<State>> = Mutex::new(Vec::new());

/// Runs a program on a step.
pub fn run(program: &Program, input: &Input) -> Outcome {
    let mut state = STATES.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
    let outcome = Run::<false>::new(program, input, &mut state).all().0;
    let mut waiting = STATES.lock().unwrap_or_else(PoisonError::into_inner);
    if waiting.len() < WAITING_MAX {
        waiting.push(state);
    }
    outcome
}

/// Runs a program on a step and tells the nanoseconds of each stage.
pub fn profile(program: &Program, input: &Input) -> (Outcome, [u64; STAGES.len()]) {
    Run::<true>::new(program, input, &mut State::default()).all()
}

struct Run<'a, const TIMED: bool> {
    program: &'a Program,
    input: &'a Input<'a>,
    /// Taken while a batch is read.
    scratch: &'a mut Option<Box<Scratch>>,
    block: &'a mut Block,
    workspace: &'a mut Workspace,
    held_plain: &'a mut Vec<Vec<u8>>,
    outcome: Outcome,
    codec: Option<Codec>,
    builders: Vec<Option<BatchBuilder>>,
    /// Agreements that have a right.
    active: Vec<usize>,
    /// Schema id of the record before, and its writer.
    last: Option<(u32, usize)>,
    sequence: u64,
    block_records: usize,
    plain_bytes: u64,
    output_bytes: u64,
    quarantined_bytes: u64,
    /// Records that no agreement can have.
    refused: i64,
    /// Rows of quarantine since the block began, not yet in order.
    pending: Vec<Row>,
    /// Decompressed batches that the block holds on to, and their bytes.
    held: usize,
    held_bytes: usize,
    full: bool,
    clock: Clock<TIMED>,
}

impl<'a, const TIMED: bool> Run<'a, TIMED> {
    fn new(program: &'a Program, input: &'a Input<'a>, state: &'a mut State) -> Self {
        let agreements = program.agreements.len();
        let limits = &program.limits;
        // A block takes a step beyond its bounds by a small part of them.
        let of_output = limits.step_output_bytes_max / 16_384;
        let of_quarantined = (limits.step_quarantined_max as u64 / 64).min(limits.step_quarantined_bytes_max / 16_384);
        state.block.clear();
        Run {
            program,
            input,
            scratch: &mut state.scratch,
            block: &mut state.block,
            workspace: &mut state.workspace,
            held_plain: &mut state.held,
            outcome: Outcome { tallies: vec![Tally::default(); agreements], ..Outcome::default() },
            codec: limits.output_codec,
            builders: std::iter::repeat_with(|| None).take(agreements).collect(),
            active: (0..agreements).filter(|place| input.denied.get(*place) != Some(&true)).collect(),
            last: None,
            sequence: 0,
            block_records: of_output.min(of_quarantined).clamp(1, BLOCK_RECORDS as u64) as usize,
            plain_bytes: 0,
            output_bytes: 0,
            quarantined_bytes: 0,
            refused: 0,
            pending: Vec::new(),
            held: 0,
            held_bytes: 0,
            full: false,
            clock: Clock::new(),
        }
    }

    fn all(mut self) -> (Outcome, [u64; STAGES.len()]) {
        self.outcome.next_offset = self.read();
        self.decide(&[]);
        for active in &self.active {
            self.outcome.tallies[*active].quarantined += self.refused;
        }
        let scratch = self.scratch.get_or_insert_default();
        let builders = self.builders.drain(..);
        self.outcome.batches = builders.map(|builder| builder.map_or_else(Vec::new, |builder| builder.finish(scratch))).collect();
        self.workspace.shrink(WORKSPACE_BYTES_MAX);
        self.held_plain.retain(|held| held.capacity() <= WORKSPACE_BYTES_MAX);
        self.clock.lap(Stage::Finish);
        (self.outcome, self.clock.nanoseconds())
    }

    /// Reads until all is read or a limit is reached; returns where it stopped.
    fn read(&mut self) -> Option<i64> {
        for (chunk, Chunk { data, first_offset }) in self.input.chunks.iter().enumerate() {
            let floor = self.input.position.max(*first_offset);
            for (range, header) in headers(data) {
                if header.last_offset() < i128::from(floor) {
                    continue;
                }
                if self.full {
                    return Some(header.base_offset.max(floor));
                }
                // Records that are not compressed are looked at in the chunk: short loads may reach behind their batch.
                let (batch, at, behind) = (&data[range.clone()], range.start + HEADER_BYTES, data.len().min(range.end + SLACK));
                let undecided = if header.codec() == Some(Codec::None) {
                    self.plain_batch(batch, &header, &data[at..behind], Source::Input { chunk, at, behind }, floor)
                } else {
                    self.compressed_batch(batch, &header, floor)
                };
                if undecided.is_some() {
                    return undecided;
                }
            }
        }
        None
    }

    fn plain_batch(&mut self, batch: &'a [u8], header: &BatchHeader, source: &[u8], place: Source, floor: i64) -> Option<i64> {
        let mut scratch = self.scratch.take().unwrap_or_default();
        let undecided = match wire::read(batch, header, &mut scratch) {
            Ok(records) => self.records(&records, header, source, place, floor),
            Err(unreadable) => self.set_batch_aside(unreadable, batch, header, floor),
        };
        *self.scratch = Some(scratch);
        undecided
    }

    fn compressed_batch(&mut self, batch: &'a [u8], header: &BatchHeader, floor: i64) -> Option<i64> {
        if self.held >= HELD_MAX || self.held_bytes >= BLOCK_PLAIN_BYTES {
            self.decide(&[]);
        }
        let mut scratch = self.scratch.take().unwrap_or_default();
        let mut plain_bytes = 0;
        let undecided = match wire::read(batch, header, &mut scratch) {
            Ok(records) => {
                plain_bytes = records.plain.len();
                self.records(&records, header, records.plain, Source::Current, floor)
            }
            Err(unreadable) => self.set_batch_aside(unreadable, batch, header, floor),
        };
        self.hold(&mut scratch, plain_bytes);
        *self.scratch = Some(scratch);
        undecided
    }

    /// Keeps what was decompressed last, where records of it are in the block.
    fn hold(&mut self, scratch: &mut Scratch, plain_bytes: usize) {
        let held = self.held;
        let mut lies_there = false;
        for source in &mut self.block.sources {
            if matches!(source, Source::Current) {
                *source = Source::Held(held);
                lies_there = true;
            }
        }
        if !lies_there {
            return;
        }
        if self.held_plain.len() <= held {
            self.held_plain.push(Vec::new());
        }
        scratch.swap_plain(&mut self.held_plain[held]);
        self.held += 1;
        self.held_bytes += plain_bytes;
    }

    /// Decides, or puts into the block, the records of a batch; returns the first offset that is left for the next step, if any.
    #[inline(always)]
    fn records(&mut self, records: &Records, header: &BatchHeader, source: &[u8], place: Source, floor: i64) -> Option<i64> {
        self.codec = self.codec.or(header.codec());
        self.clock.lap(Stage::Read);
        let mut here = None;
        for frame in records.frames {
            let offset = records.offset(frame);
            if offset < floor {
                continue;
            }
            if self.full {
                self.decide(source);
                return Some(offset);
            }
            self.record(frame, offset, source, place, &mut here);
        }
        None
    }

    /// Decides on one record, or puts it into the block.
    #[inline(never)]
    fn record(&mut self, frame: &Frame, offset: i64, source: &[u8], place: Source, here: &mut Option<u32>) {
        let (key, value) = (frame.key_range(), frame.value_range());
        self.outcome.records += 1;
        self.sequence += 1;
        self.plain_bytes += (key.as_ref().map_or(0, ExactSizeIterator::len) + value.as_ref().map_or(0, ExactSizeIterator::len)) as u64;
        self.full |= self.plain_bytes >= self.program.limits.step_plain_bytes_max;
        if let Some(value) = &value
            && let Err(code) = self.walk(source, value.start, value.end, here)
        {
            let bytes = |range: &Option<std::ops::Range<usize>>| range.clone().and_then(|range| source.get(range));
            self.set_record_aside(code, offset, bytes(&key), source.get(value.clone()));
            return;
        }
        let block = &mut *self.block;
        let at = *here.get_or_insert_with(|| {
            block.sources.push(place);
            block.sources.len() as u32 - 1
        });
        block.push(Record { sequence: self.sequence, offset, source: at, key: Span::new(key), value: Span::new(value) });
        if block.is_full(self.block_records) {
            self.decide(source);
            *here = None;
        }
    }

    /// Finds the parts of a value and puts them into the block's next slots, in a block of its writer.
    #[inline(always)]
    fn walk(&mut self, source: &[u8], start: usize, end: usize, here: &mut Option<u32>) -> Result<(), Reject> {
        let framing =
            if end - start >= FRAMING_BYTES { source.get(start..).and_then(|value| value.first_chunk::<FRAMING_BYTES>()) } else { None };
        let Some([0, id @ ..]) = framing else { return Err(Reject::Framing) };
        let id = u32::from_be_bytes(*id);
        let writer = match self.last {
            Some((last, writer)) if last == id => writer,
            _ => {
                let Some(writer) = self.program.writer(id) else {
                    self.outcome.unknown.insert(id);
                    return Err(Reject::SchemaUnknown);
                };
                self.last = Some((id, writer));
                writer
            }
        };
        let of_writer = &self.program.writers[writer];
        if self.block.writer != Some(writer) {
            if self.block.writer.is_some() {
                self.decide(source);
                *here = None;
            }
            self.block.begin(writer, of_writer);
        }
        of_writer.walker.walk(source, start, start + FRAMING_BYTES, end, self.block.next_slots())
    }

    /// Quarantines a record once, for every agreement that has a right.
    #[cold]
    fn set_record_aside(&mut self, code: Reject, offset: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        self.refused += 1;
        let kept = self.keep(Kept::new(key, value));
        self.pending.push(Row {
            sequence: self.sequence,
            agreement: None,
            code,
            first_offset: offset,
            next_offset: offset.saturating_add(1),
            kept,
        });
        self.count_quarantined(kept);
    }

    /// Quarantines a batch that cannot be read, whole, from offset `floor` on.
    #[cold]
    fn set_batch_aside(&mut self, unreadable: Unreadable, batch: &[u8], header: &BatchHeader, floor: i64) -> Option<i64> {
        let first_offset = header.base_offset.max(floor);
        let claimed = claimed_records(header, first_offset);
        self.outcome.records += claimed;
        self.refused += claimed;
        self.sequence += 1;
        self.plain_bytes += batch.len() as u64;
        self.full |= self.plain_bytes >= self.program.limits.step_plain_bytes_max;
        let kept = self.keep(Kept::new(None, Some(batch)));
        self.pending.push(Row {
            sequence: self.sequence,
            agreement: None,
            code: if unreadable == Unreadable::TooLarge { Reject::BatchTooLarge } else { Reject::BatchCorrupt },
            first_offset,
            next_offset: header.base_offset.saturating_add(i64::from(header.last_offset_delta)).saturating_add(1),
            kept,
        });
        self.count_quarantined(kept);
        None
    }

    fn keep(&mut self, kept: Kept) -> usize {
        self.outcome.kept.push(kept);
        self.outcome.kept.len() - 1
    }

    fn count_quarantined(&mut self, kept: usize) {
        self.quarantined_bytes += self.outcome.kept[kept].bytes();
        let limits = &self.program.limits;
        self.full |= self.pending.len() + self.outcome.quarantined.len() >= limits.step_quarantined_max
            || self.quarantined_bytes >= limits.step_quarantined_bytes_max;
    }
}

/// How many records of a broken batch, from `first` on, its header claims: as the transport counts its gaps.
///
/// A count that the offsets cannot hold is no count, and where the position cuts the batch only the offset deltas of its records
/// could tell, which cannot be read: then every offset is a record.
fn claimed_records(header: &BatchHeader, first: i64) -> i64 {
    let span = i64::from(header.last_offset_delta) + 1;
    let cut = first.saturating_sub(header.base_offset);
    let records = i64::from(header.records);
    if cut == 0 && (0..span).contains(&records) { records } else { span.saturating_sub(cut) }
}
