//! Decompression into one buffer that is reused and never grows beyond the bound, whatever a stream claims.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::limits::{GZIP_MEMBERS_MAX, PLAIN_BYTES_MAX, ZSTD_WINDOW_LOG_MAX};
use super::zstd_frame::ZstdFrame;
use super::{Codec, Unreadable, lz4};

const FIRST_GUESS_BYTES: usize = 64 * 1024;
const XERIAL: &[u8] = b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16;
const SNAPPY_GROWTH_MAX: usize = 22;
const GZIP_WINDOW_BITS: u8 = 15;
/// A zstd frame that says it is smaller, and is here whole, is decoded in one pass by the reference's library; larger ones block by block.
const ZSTD_FIRST_OUT: usize = 8 * 1024;
const ZSTD_FIRST_IN: usize = 128 * 1024 + 3;

/// Decoders and the buffer that they fill.
#[derive(Default)]
pub(super) struct Inflaters {
    plain: Vec<u8>,
    gzip: Option<Decompress>,
    snappy: snap::raw::Decoder,
    zstd: Option<DCtx<'static>>,
}

impl Inflaters {
    /// Exchanges the buffer that was filled last for another.
    pub fn swap_plain(&mut self, other: &mut Vec<u8>) {
        std::mem::swap(&mut self.plain, other);
    }

    /// Decompresses `body`, or says why not.
    pub fn inflate(&mut self, codec: Codec, body: &[u8]) -> Result<&[u8], Unreadable> {
        if body.is_empty() {
            return Err(Unreadable::CodecCorrupt);
        }
        let len = match codec {
            Codec::None => return Err(Unreadable::CodecUnknown),
            Codec::Gzip => self.gzip(body),
            Codec::Snappy => self.snappy(body),
            Codec::Lz4 => lz4::decode_frame(body, PLAIN_BYTES_MAX, &mut self.plain),
            Codec::Zstd => self.zstd(body),
        }?;
        Ok(&self.plain[..len])
    }

    /// One member, or some back to back, each whole.
    fn gzip(&mut self, body: &[u8]) -> Result<usize, Unreadable> {
        let stream = self.gzip.get_or_insert_with(|| Decompress::new_gzip(GZIP_WINDOW_BITS));
        grow(&mut self.plain, FIRST_GUESS_BYTES.max(4 * body.len()).min(PLAIN_BYTES_MAX + 1));
        let (mut rest, mut len) = (body, 0);
        for _ in 0..GZIP_MEMBERS_MAX {
            *stream = Decompress::new_gzip(GZIP_WINDOW_BITS);
            loop {
                let (taken, given) = (stream.total_in(), stream.total_out());
                let status = stream.decompress(rest, &mut self.plain[len..], FlushDecompress::None);
                let taken = (stream.total_in() - taken) as usize;
                let given = (stream.total_out() - given) as usize;
                rest = &rest[taken..];
                len += given;
                if len > PLAIN_BYTES_MAX {
                    return Err(Unreadable::TooLarge);
                }
                match status {
                    Ok(Status::StreamEnd) => break,
                    Ok(_) if len == self.plain.len() => {
                        let wider = (4 * len).min(PLAIN_BYTES_MAX + 1);
                        grow(&mut self.plain, wider);
                    }
                    Ok(_) if taken + given > 0 => {}
                    _ => return Err(Unreadable::CodecCorrupt),
                }
            }
            if rest.is_empty() {
                return Ok(len);
            }
        }
        Err(Unreadable::TooLarge)
    }

    /// One raw block, or blocks of it behind the header that Java's library writes.
    fn snappy(&mut self, body: &[u8]) -> Result<usize, Unreadable> {
        if !body.starts_with(XERIAL) {
            return self.snappy_block(body, 0);
        }
        let mut rest = body.get(XERIAL_HEADER_BYTES..).ok_or(Unreadable::CodecCorrupt)?;
        let mut len = 0;
        while let Some((size, behind)) = rest.split_first_chunk::<4>() {
            let size = usize::try_from(i32::from_be_bytes(*size)).map_err(|_| Unreadable::CodecCorrupt)?;
            let (block, behind) = behind.split_at_checked(size).ok_or(Unreadable::CodecCorrupt)?;
            len += self.snappy_block(block, len)?;
            rest = behind;
        }
        if rest.is_empty() { Ok(len) } else { Err(Unreadable::CodecCorrupt) }
    }

    fn snappy_block(&mut self, block: &[u8], at: usize) -> Result<usize, Unreadable> {
        let len = snap::raw::decompress_len(block).map_err(|_| Unreadable::CodecCorrupt)?;
        if len > PLAIN_BYTES_MAX - at {
            return Err(Unreadable::TooLarge);
        }
        if len > SNAPPY_GROWTH_MAX * block.len() {
            return Err(Unreadable::CodecCorrupt);
        }
        grow(&mut self.plain, at + len);
        self.snappy.decompress(block, &mut self.plain[at..at + len]).map_err(|_| Unreadable::CodecCorrupt)
    }

    /// One frame, its outer form checked first. What a frame says about its size is believed only as far as its blocks can hold it.
    fn zstd(&mut self, body: &[u8]) -> Result<usize, Unreadable> {
        let frame = ZstdFrame::of(body)?;
        let room = frame.bound.min(PLAIN_BYTES_MAX as u64) as usize + 1;
        grow(&mut self.plain, room);
        let context = match &mut self.zstd {
            Some(context) => context,
            none => none.insert(zstd_context()?),
        };
        context.reset(ResetDirective::SessionOnly).map_err(|_| Unreadable::CodecCorrupt)?;
        let mut len = 0;
        let mut out_max = room.min(ZSTD_FIRST_OUT);
        let mut taken = 0;
        let mut in_max = body.len().min(ZSTD_FIRST_IN);
        loop {
            let mut input = InBuffer::around(&body[taken..in_max]);
            let mut output = OutBuffer::around(&mut self.plain[len..out_max]);
            let left = context.decompress_stream(&mut output, &mut input).map_err(|_| Unreadable::CodecCorrupt)?;
            let (read, written) = (input.pos(), output.pos());
            (taken, len) = (taken + read, len + written);
            if len > PLAIN_BYTES_MAX {
                return Err(Unreadable::TooLarge);
            }
            if left == 0 {
                let whole = taken == body.len() && frame.content_bytes.is_none_or(|size| size == len as u64);
                return if whole { Ok(len) } else { Err(Unreadable::CodecCorrupt) };
            }
            if read + written == 0 && out_max == room && in_max == body.len() {
                return Err(Unreadable::CodecCorrupt);
            }
            (out_max, in_max) = (room, body.len());
        }
    }
}

fn zstd_context() -> Result<DCtx<'static>, Unreadable> {
    let mut context = DCtx::try_create().ok_or(Unreadable::CodecCorrupt)?;
    context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).map_err(|_| Unreadable::CodecCorrupt)?;
    Ok(context)
}

/// Makes room for `len` bytes; what stands there already stays.
pub(super) fn grow(plain: &mut Vec<u8>, len: usize) {
    if plain.len() < len {
        plain.resize(len, 0);
    }
}
