//! Record batches of Kafka's message format 2: reading what producers wrote, building what consumers get.

/// Compression of a batch, by its number in the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// 0
    None,
    /// 1
    Gzip,
    /// 2, xerial framing out; xerial framing and raw blocks in
    Snappy,
    /// 3, the frame format
    Lz4,
    /// 4
    Zstd,
}
