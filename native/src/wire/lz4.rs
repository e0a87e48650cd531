//! LZ4: frames as Kafka's clients write them, and the blocks in them.
//!
//! Libraries differ, by version and processor, in which broken blocks they take. What is taken here is what `hub.broker.lz4_frames`
//! takes: matches within the block (or, where blocks depend on each other, the frame), literals to the very end of each block,
//! nothing behind the end mark. Checksums inside are passed over: the batch's own CRC has covered them.
//!
//! Both directions copy short pieces in whole words, which is why buffers have some room behind the last byte.

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
pub(super) const STORED: u32 = 0x8000_0000;
pub(super) const MATCH_MIN: usize = 4;
/// Room behind the last byte of a buffer that is decompressed into.
const SLACK: usize = 2 * WIDE;
const WIDE: usize = 16;
/// A byte of a block adds at most so many to what it decompresses to.
const GROWTH_MAX: usize = 255;

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
            let limit = len + most;
            grow(plain, limit.min(len + GROWTH_MAX * block.len()) + SLACK);
            decode_block(block, plain, Place { floor: if form.independent { len } else { 0 }, start: len, limit })
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

/// Where a block goes: from `start` to `limit` at most, with matches that reach back to `floor` at most.
struct Place {
    floor: usize,
    start: usize,
    limit: usize,
}

/// Decompresses one block into `out`, which has room for all that it can become, and slack.
fn decode_block(block: &[u8], out: &mut [u8], place: Place) -> Result<usize, Unreadable> {
    const CORRUPT: Unreadable = Unreadable::CodecCorrupt;
    let (mut read, mut write) = (0, place.start);
    loop {
        let token = *block.get(read).ok_or(CORRUPT)?;
        read += 1;
        let mut length = usize::from(token >> 4);
        if length == 15 {
            length = long_run(block, &mut read).ok_or(CORRUPT)?;
        }
        if length > block.len() - read {
            return Err(CORRUPT);
        }
        if length > place.limit - write {
            return Err(Unreadable::TooLarge);
        }
        if length <= WIDE
            && let (Some(from), Some(to)) = (chunk::<WIDE>(block, read), chunk_mut::<WIDE>(out, write))
        {
            *to = *from;
        } else {
            out[write..write + length].copy_from_slice(&block[read..read + length]);
        }
        (read, write) = (read + length, write + length);
        if read == block.len() {
            return Ok(write - place.start);
        }
        let distance = usize::from(u16::from_le_bytes(*chunk::<2>(block, read).ok_or(CORRUPT)?));
        read += 2;
        length = usize::from(token & 15) + MATCH_MIN;
        if length == 15 + MATCH_MIN {
            length = long_run(block, &mut read).ok_or(CORRUPT)? + MATCH_MIN;
        }
        if distance == 0 || distance > write - place.floor {
            return Err(CORRUPT);
        }
        if length > place.limit - write {
            return Err(Unreadable::TooLarge);
        }
        repeat(out, write, distance, length);
        write += length;
    }
}

/// Copies `length` bytes from `distance` before `at`, where the copy may run into itself.
#[inline(always)]
fn repeat(out: &mut [u8], at: usize, distance: usize, length: usize) {
    let start = at - distance;
    if distance >= WIDE && length <= 2 * WIDE && at + 2 * WIDE <= out.len() {
        for piece in [0, WIDE] {
            if let Some(&words) = chunk::<WIDE>(out, start + piece)
                && let Some(to) = chunk_mut::<WIDE>(out, at + piece)
            {
                *to = words;
            }
        }
        return;
    }
    let mut copied = 0;
    while copied < length {
        let part = (distance + copied).min(length - copied);
        out.copy_within(start..start + part, at + copied);
        copied += part;
    }
}

/// A length whose four bits are all set, so that the bytes behind add to it.
#[inline]
fn long_run(block: &[u8], read: &mut usize) -> Option<usize> {
    let mut length = 15;
    loop {
        let more = *block.get(*read)?;
        *read += 1;
        length += usize::from(more);
        if more != 255 {
            return Some(length);
        }
    }
}

#[inline(always)]
pub(super) fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

#[inline(always)]
pub(super) fn chunk_mut<const N: usize>(bytes: &mut [u8], at: usize) -> Option<&mut [u8; N]> {
    bytes.get_mut(at..)?.first_chunk_mut()
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

#[cfg(test)]
mod tests {
    use super::super::lz4_encode::FRAME_HEADER;
    use super::*;

    #[test]
    fn the_check_byte_of_every_written_header_is_right() {
        assert_eq!((xxh32_short(&FRAME_HEADER[4..6]) >> 8) as u8, FRAME_HEADER[6]);
        assert_eq!((xxh32_short(&[0x60, 0x70]) >> 8) as u8, 0x73);
    }

    #[test]
    fn a_copy_that_runs_into_itself_repeats_its_beginning() {
        for distance in 1..70 {
            for length in 4..100 {
                let mut out: Vec<u8> = (0..240).map(|at| at as u8).collect();
                let expected: Vec<u8> = (0..length).map(|at| (100 - distance + at % distance) as u8).collect();
                repeat(&mut out, 100, distance, length);
                assert_eq!(&out[100..100 + length], expected, "{distance} {length}");
            }
        }
    }
}
