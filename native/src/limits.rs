//! Bounds of one record and one block, as the reference names them; those of a step stand in the program.

/// A longer value is refused: a compressed batch may hold records of any size (`reference/decode.py`).
pub const RECORD_BYTES_MAX: usize = 1_048_576;
/// Items of one array, entries of one map.
pub const ITEMS_MAX: u64 = 65_536;
/// A longer encoding of a decimal is refused when it is read.
pub const DECIMAL_BYTES_MAX: usize = 32;
/// What is kept of a key or value in quarantine.
pub const QUARANTINED_VALUE_BYTES_MAX: usize = 64 * 1024;

/// Records that are decided together, one bit of a word each.
pub const BLOCK_RECORDS: usize = 64;
/// A block ends early when its values hold this much.
pub const BLOCK_BYTES: usize = 1024 * 1024;
/// What is made of a block's records takes about so much at most.
pub const ARENA_BYTES: usize = 64 * 1024 * 1024;
/// Plain bytes of compressed batches that a block may hold on to.
pub const BLOCK_PLAIN_BYTES: usize = 2 * 1024 * 1024;
