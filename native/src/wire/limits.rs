//! Bounds of a record batch, the same as `hub.settings` names them.

/// A batch that decompresses to more is not read.
pub const PLAIN_BYTES_MAX: usize = 32 * 1024 * 1024;
/// A batch of more records is not read.
pub const RECORDS_MAX: i32 = 500_000;
/// A batch of more record headers, all records together, is not read.
pub const RECORD_HEADERS_MAX: usize = 500_000;
/// A zstd frame that asks for a larger window, as a power of two, is not read.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// A gzip stream of more members is not read.
pub const GZIP_MEMBERS_MAX: usize = 16;
