//! Record batches of Kafka's message format 2: reading what producers wrote, building what consumers get.
//!
//! The truth is `hub.broker.batches` and `hub.broker.codecs` in Python: what is readable there is readable here, byte for byte,
//! and nothing else. Whatever the bytes, reading answers with records or with [`Unreadable`], within the bounds of [`limits`].

mod build;
mod deflate;
mod frames;
mod header;
mod inflate;
pub mod limits;
mod lz4;
mod lz4_encode;
mod pool;
mod read;
mod varint;
mod zstd_frame;

pub use build::{BatchBuilder, Built};
pub use frames::Frame;
pub use header::{BatchHeader, HEADER_BYTES, crc32c, headers, stamp};
pub use pool::{PooledBuffer, pooled_bytes};
pub use read::{Records, Scratch, Unreadable, read};

/// Compression of a batch, by its number in the attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Codec {
    /// 0
    None = 0,
    /// 1
    Gzip = 1,
    /// 2, xerial framing out; xerial framing and raw blocks in
    Snappy = 2,
    /// 3, the frame format
    Lz4 = 3,
    /// 4
    Zstd = 4,
}

impl Codec {
    /// Every codec, in the order of their numbers.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// The codec with this number; 5 to 7 stand for nothing.
    pub const fn of(number: u8) -> Option<Codec> {
        match number {
            0 => Some(Codec::None),
            1 => Some(Codec::Gzip),
            2 => Some(Codec::Snappy),
            3 => Some(Codec::Lz4),
            4 => Some(Codec::Zstd),
            _ => None,
        }
    }

    /// The codec of this name, as in `hub.broker.codecs.NAMES`.
    pub fn named(name: &str) -> Option<Codec> {
        Codec::ALL.into_iter().find(|codec| codec.name() == name)
    }

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}
