//! LZ4: frames as Kafka's clients write them, and blocks.
//!
//! Libraries differ, by version and processor, in which broken blocks they take. What is taken here is what `hub.broker.lz4_frames`
//! takes: matches within the block (or, where blocks depend on each other, the frame), literals to the very end of each block,
//! nothing behind the end mark. Checksums inside are passed over: the batch's own CRC has covered them.

use super::Unreadable;
use super::inflate::grow;

const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
const VERSION_BITS: u8 = 0xc0;
const VERSION_1: u8 = 0x40;
const INDEPENDENT: u8 = 0x20;
const BLOCK_CHECKSUM: u8 = 0x10;
const CONTENT_SIZE: u8 = 0x08;
const CONTENT_CHECKSUM: u8 = 0x04;
const RESERVED_OR_DICTIONARY: u8 = 0x03;
const STORED: u32 = 0x8000_0000;
const MATCH_MIN: usize = 4;

/// Decompresses one frame into `plain` and returns its length.
pub(super) fn decode_frame(body: &[u8], bytes_max: usize, plain: &mut Vec<u8>) -> Result<usize, Unreadable> {
    let (form, mut rest) = FrameForm::of(body).ok_or(Unreadable::CodecCorrupt)?;
    let mut len = 0;
    loop {
        let (head, behind) = rest.split_first_chunk::<4>().ok_or(Unreadable::CodecCorrupt)?;
        let head = u32::from_le_bytes(*head);
        if head == 0 {
            rest = behind;
            break;
        }
        let (block, behind) = behind.split_at_checked((head & !STORED) as usize).ok_or(Unreadable::CodecCorrupt)?;
        rest = behind.get(form.block_checksum_bytes..).ok_or(Unreadable::CodecCorrupt)?;
        let most = form.block_bytes_max.min(bytes_max - len);
        let decoded = if head & STORED != 0 {
            store(block, most, plain, len)
        } else {
            decode_block(block, if form.independent { len } else { 0 }, most, plain, len)
        };
        len += match decoded {
            Err(Unreadable::TooLarge) if most == form.block_bytes_max => return Err(Unreadable::CodecCorrupt),
            other => other?,
        };
    }
    let whole = rest.len() == form.content_checksum_bytes && form.content_size.is_none_or(|size| size == len as u64);
    if whole { Ok(len) } else { Err(Unreadable::CodecCorrupt) }
}

struct FrameForm {
    independent: bool,
    block_checksum_bytes: usize,
    content_checksum_bytes: usize,
    content_size: Option<u64>,
    block_bytes_max: usize,
}

impl FrameForm {
    fn of(body: &[u8]) -> Option<(FrameForm, &[u8])> {
        let described = body.strip_prefix(&MAGIC)?;
        let (&[flags, sizes], mut rest) = described.split_first_chunk::<2>()?;
        if flags & VERSION_BITS != VERSION_1 || flags & RESERVED_OR_DICTIONARY != 0 || sizes & 0x8f != 0 || sizes < 0x40 {
            return None;
        }
        let mut content_size = None;
        if flags & CONTENT_SIZE != 0 {
            let (size, behind) = rest.split_first_chunk::<8>()?;
            content_size = Some(u64::from_le_bytes(*size));
            rest = behind;
        }
        let descriptor = &described[..described.len() - rest.len()];
        let (&check, rest) = rest.split_first()?;
        if check != (xxh32_short(descriptor) >> 8) as u8 {
            return None;
        }
        let form = FrameForm {
            independent: flags & INDEPENDENT != 0,
            block_checksum_bytes: if flags & BLOCK_CHECKSUM != 0 { 4 } else { 0 },
            content_checksum_bytes: if flags & CONTENT_CHECKSUM != 0 { 4 } else { 0 },
            content_size,
            block_bytes_max: 1 << (8 + 2 * (sizes >> 4)),
        };
        Some((form, rest))
    }
}

fn store(block: &[u8], most: usize, plain: &mut Vec<u8>, at: usize) -> Result<usize, Unreadable> {
    if block.len() > most {
        return Err(Unreadable::TooLarge);
    }
    grow(plain, at + block.len());
    plain[at..at + block.len()].copy_from_slice(block);
    Ok(block.len())
}

/// Decompresses one block to `plain[at..]`, at most `most` bytes; matches reach back to `floor` at most.
fn decode_block(block: &[u8], floor: usize, most: usize, plain: &mut Vec<u8>, at: usize) -> Result<usize, Unreadable> {
    const CORRUPT: Unreadable = Unreadable::CodecCorrupt;
    let (mut read, mut write, limit) = (0, at, at + most);
    loop {
        let token = *block.get(read).ok_or(CORRUPT)?;
        read += 1;
        let literals = run_length(block, &mut read, token >> 4).ok_or(CORRUPT)?;
        let from = block.get(read..).and_then(|rest| rest.get(..literals)).ok_or(CORRUPT)?;
        if literals > limit - write {
            return Err(Unreadable::TooLarge);
        }
        if plain.len() < write + literals {
            grow(plain, (2 * (write + literals)).min(limit));
        }
        plain[write..write + literals].copy_from_slice(from);
        (read, write) = (read + literals, write + literals);
        if read == block.len() {
            return Ok(write - at);
        }
        let distance = block.get(read..).and_then(|rest| rest.first_chunk::<2>()).ok_or(CORRUPT)?;
        let distance = usize::from(u16::from_le_bytes(*distance));
        read += 2;
        let length = run_length(block, &mut read, token & 0x0f).ok_or(CORRUPT)? + MATCH_MIN;
        if distance == 0 || distance > write - floor {
            return Err(CORRUPT);
        }
        if length > limit - write {
            return Err(Unreadable::TooLarge);
        }
        if plain.len() < write + length {
            grow(plain, (2 * (write + length)).min(limit));
        }
        repeat(plain, write, distance, length);
        write += length;
    }
}

/// Copies `length` bytes from `distance` before `at`, where the copy may run into itself.
fn repeat(plain: &mut [u8], at: usize, distance: usize, length: usize) {
    let start = at - distance;
    let mut copied = 0;
    while copied < length {
        let part = (distance + copied).min(length - copied);
        plain.copy_within(start..start + part, at + copied);
        copied += part;
    }
}

/// A length of four bits, and where they are all set the bytes behind that add to it.
fn run_length(block: &[u8], read: &mut usize, bits: u8) -> Option<usize> {
    let mut length = usize::from(bits);
    if bits == 15 {
        loop {
            let more = *block.get(*read)?;
            *read += 1;
            length += usize::from(more);
            if more != 255 {
                break;
            }
        }
    }
    Some(length)
}

/// XXH32 with seed 0 of fewer than 16 bytes: the check byte of a frame's header is its second.
fn xxh32_short(bytes: &[u8]) -> u32 {
    const P: [u32; 5] = [2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263, 374_761_393];
    let mut hash = P[4].wrapping_add(bytes.len() as u32);
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        hash = hash.wrapping_add(u32::from_le_bytes(*word).wrapping_mul(P[2])).rotate_left(17).wrapping_mul(P[3]);
    }
    for byte in rest {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(P[4])).rotate_left(11).wrapping_mul(P[0]);
    }
    hash = (hash ^ hash >> 15).wrapping_mul(P[1]);
    hash = (hash ^ hash >> 13).wrapping_mul(P[2]);
    hash ^ hash >> 16
}

/// The header of the frames that are written: blocks of at most 64 KiB, independent, no checksums (the batch has its CRC).
pub(super) const FRAME_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
/// Plain bytes of a written block at most.
pub(super) const BLOCK_BYTES_MAX: usize = 64 * 1024;

/// Compresses `plain` as one frame to the beginning of `out` and returns its length, or None where `out` is too short.
pub(super) fn encode_frame(plain: &[u8], out: &mut [u8]) -> Option<usize> {
    out.get_mut(..FRAME_HEADER.len())?.copy_from_slice(&FRAME_HEADER);
    let mut at = FRAME_HEADER.len();
    for block in plain.chunks(BLOCK_BYTES_MAX) {
        let (head, room) = out.get_mut(at..)?.split_first_chunk_mut::<4>()?;
        let stored = block.len();
        let len = match lz4_flex::block::compress_into(block, room) {
            Ok(len) if len < stored => {
                *head = (len as u32).to_le_bytes();
                len
            }
            _ => {
                room.get_mut(..stored)?.copy_from_slice(block);
                *head = (stored as u32 | STORED).to_le_bytes();
                stored
            }
        };
        at += 4 + len;
    }
    out.get_mut(at..at + 4)?.fill(0);
    Some(at + 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_byte_of_every_written_header_is_right() {
        assert_eq!((xxh32_short(&FRAME_HEADER[4..6]) >> 8) as u8, FRAME_HEADER[6]);
        assert_eq!((xxh32_short(&[0x60, 0x70]) >> 8) as u8, 0x73);
    }
}
