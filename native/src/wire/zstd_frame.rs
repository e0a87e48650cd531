//! The outer form of a zstd frame (RFC 8878, 3.1.1): what it asks for is known before a byte is decompressed.
//!
//! Taken is exactly one frame, as every Kafka client writes it, with a window of at most [`ZSTD_WINDOW_LOG_MAX`], no block over what
//! the format allows, and as many bytes as it says, where it says so. What stands inside the blocks is the library's affair.

use super::Unreadable;
use super::limits::ZSTD_WINDOW_LOG_MAX;

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const SINGLE_SEGMENT: u8 = 0x20;
const RESERVED: u8 = 0x08;
const CHECKSUM: u8 = 0x04;
const BLOCK_BYTES_MAX: u64 = 128 * 1024;
const RAW: u32 = 0;
const RLE: u32 = 1;
const COMPRESSED: u32 = 2;

/// What the outer form of a frame says.
pub(super) struct ZstdFrame {
    /// The most bytes that it can decompress to, by its blocks.
    pub bound: u64,
    /// The bytes that it says it decompresses to; never more than `bound`.
    pub content_bytes: Option<u64>,
}

impl ZstdFrame {
    /// What the one frame of `body` says of itself; or that there is no such frame, or one that cannot be true or asks for too much.
    pub fn of(body: &[u8]) -> Result<ZstdFrame, Unreadable> {
        let Header { window, content_bytes, checksum, blocks } = Header::of(body).ok_or(Unreadable::CodecCorrupt)?;
        if window > 1 << ZSTD_WINDOW_LOG_MAX {
            return Err(Unreadable::TooLarge);
        }
        let bound = blocks_bound(blocks, window.min(BLOCK_BYTES_MAX), checksum).ok_or(Unreadable::CodecCorrupt)?;
        let fits = content_bytes.is_none_or(|size| size <= bound);
        if fits { Ok(ZstdFrame { bound, content_bytes }) } else { Err(Unreadable::CodecCorrupt) }
    }
}

/// What stands before the blocks, and they.
struct Header<'a> {
    window: u64,
    content_bytes: Option<u64>,
    checksum: bool,
    blocks: &'a [u8],
}

impl Header<'_> {
    fn of(body: &[u8]) -> Option<Header<'_>> {
        let rest = body.strip_prefix(&MAGIC)?;
        let (&descriptor, mut rest) = rest.split_first()?;
        if descriptor & RESERVED != 0 {
            return None;
        }
        let single = descriptor & SINGLE_SEGMENT != 0;
        let mut window = 0;
        if !single {
            let (&byte, behind) = rest.split_first()?;
            let base = 1u64 << (10 + u32::from(byte >> 3));
            window = base + base / 8 * u64::from(byte & 7);
            rest = behind;
        }
        rest = rest.get([0, 1, 2, 4][usize::from(descriptor & 3)]..)?;
        let size_bytes = match descriptor >> 6 {
            0 => usize::from(single),
            exponent => 1 << exponent,
        };
        let (size, rest) = rest.split_at_checked(size_bytes)?;
        let content_bytes = (size_bytes > 0).then(|| content_bytes(size));
        if single {
            window = content_bytes?;
        }
        Some(Header { window, content_bytes, checksum: descriptor & CHECKSUM != 0, blocks: rest })
    }
}

/// One, two, four or eight bytes; two count from 256.
fn content_bytes(size: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    bytes[..size.len()].copy_from_slice(size);
    u64::from_le_bytes(bytes) + if size.len() == 2 { 256 } else { 0 }
}

fn blocks_bound(mut rest: &[u8], block_max: u64, checksum: bool) -> Option<u64> {
    let mut bound = 0;
    loop {
        let (head, behind) = rest.split_first_chunk::<3>()?;
        let head = u32::from_le_bytes([head[0], head[1], head[2], 0]);
        let size = u64::from(head >> 3);
        if size > block_max {
            return None;
        }
        let (stored, plain) = match head >> 1 & 3 {
            RAW => (size, size),
            RLE => (1, size),
            COMPRESSED => (size, block_max),
            _ => return None,
        };
        bound += plain;
        rest = behind.get(stored as usize..)?;
        if head & 1 != 0 {
            return (rest.len() == if checksum { 4 } else { 0 }).then_some(bound);
        }
    }
}
