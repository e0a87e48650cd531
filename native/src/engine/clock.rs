//! The clock of the stages: laps between them, and nothing at all when a step is not timed.

use std::time::Instant;

/// A stage of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Batches: CRC, decompression, frames.
    Read,
    /// Records: where their parts stand.
    Walk,
    /// Rules.
    Filter,
    /// Runs of output that no key takes part in.
    Fragments,
    /// Pseudonyms.
    Mac,
    /// Output records.
    Emit,
    /// Compression, and what else is left.
    Finish,
}

/// Every stage, in order.
pub const STAGES: [Stage; 7] = [Stage::Read, Stage::Walk, Stage::Filter, Stage::Fragments, Stage::Mac, Stage::Emit, Stage::Finish];

/// Times stages where `TIMED` is set.
pub struct Clock<const TIMED: bool> {
    last: Option<Instant>,
    nanoseconds: [u64; STAGES.len()],
}

impl<const TIMED: bool> Clock<TIMED> {
    /// Begins now.
    pub fn new() -> Self {
        Clock { last: TIMED.then(Instant::now), nanoseconds: [0; STAGES.len()] }
    }

    /// Counts the time since the lap before for a stage.
    #[inline(always)]
    pub fn lap(&mut self, stage: Stage) {
        if TIMED {
            let now = Instant::now();
            let since = self.last.replace(now).map_or(0, |last| now.duration_since(last).as_nanos() as u64);
            self.nanoseconds[stage as usize] += since;
        }
    }

    /// Nanoseconds by stage.
    pub fn nanoseconds(&self) -> [u64; STAGES.len()] {
        self.nanoseconds
    }
}
