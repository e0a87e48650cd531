//! What a step came to: counts by agreement, batches, and what could not be decided.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};

use crate::limits::QUARANTINED_VALUE_BYTES_MAX;
use crate::reject::Reject;
use crate::wire::Built;

/// Running counts of one agreement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records that go to its share topic.
    pub delivered: i64,
    /// Records outside its rows.
    pub filtered: i64,
    /// Records without value that it does not get.
    pub suppressed: i64,
    /// Records that could not be read or transformed for it.
    pub quarantined: i64,
    /// Source bytes of the delivered records, key and value.
    pub bytes_source: i64,
    /// Their bytes as delivered.
    pub bytes_delivered: i64,
}

/// What is kept of a quarantined record or batch: once, however many agreements it failed for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The key; none where there is none, or a very long one.
    pub key: Option<Vec<u8>>,
    /// The value; none where there is none, or a very long one.
    pub value: Option<Vec<u8>>,
    /// Hash and length of a very long value.
    pub digest: Option<([u8; 32], usize)>,
}

impl Kept {
    /// Keeps what is short enough.
    pub fn new(key: Option<&[u8]>, value: Option<&[u8]>) -> Kept {
        let short = |bytes: &&[u8]| bytes.len() <= QUARANTINED_VALUE_BYTES_MAX;
        Kept {
            key: key.filter(short).map(<[u8]>::to_vec),
            value: value.filter(short).map(<[u8]>::to_vec),
            digest: value.filter(|bytes| !short(bytes)).map(|bytes| (Sha256::digest(bytes).into(), bytes.len())),
        }
    }

    /// Bytes that a row holds of it.
    pub fn bytes(&self) -> u64 {
        (self.key.as_ref().map_or(0, Vec::len) + self.value.as_ref().map_or(0, Vec::len)) as u64
    }
}

/// One row of quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// Orders rows: in the step the records have this order, whatever their offsets.
    pub sequence: u64,
    /// Which agreement; none: every one.
    pub agreement: Option<u32>,
    /// Why.
    pub code: Reject,
    /// The offset, or the first of a batch.
    pub first_offset: i64,
    /// One past the last offset.
    pub next_offset: i64,
    /// Index among what is kept.
    pub kept: usize,
}

/// What a step came to.
#[derive(Default)]
pub struct Outcome {
    /// Records at or above the position.
    pub records: i64,
    /// Where a limit of the step ended it; none: it read all.
    pub next_offset: Option<i64>,
    /// By agreement, in the plan's order.
    pub tallies: Vec<Tally>,
    /// Batches by agreement.
    pub batches: Vec<Vec<Built>>,
    /// Rows of quarantine, in order.
    pub quarantined: Vec<Row>,
    /// What they hold.
    pub kept: Vec<Kept>,
    /// Schema ids that the plan does not know.
    pub unknown: BTreeSet<u32>,
}
