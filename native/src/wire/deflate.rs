//! Compression of a whole batch's records, each codec at its quickest level, in forms that every client reads. Lz4 has a way of its own.

use flate2::{Compress, Compression, FlushCompress, Status};
use zstd::zstd_safe::{CCtx, CParameter};

use super::Codec;

const GZIP_LEVEL: u32 = 1;
const GZIP_WINDOW_BITS: u8 = 15;
const ZSTD_LEVEL: i32 = 1;
/// What Java's library writes before its blocks: magic, version, and the oldest version that can read it.
const XERIAL_HEADER: [u8; 16] = *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
const XERIAL_BLOCK_BYTES: usize = 32 * 1024;

/// Encoders that are reused from batch to batch.
#[derive(Default)]
pub(super) struct Compressors {
    gzip: Option<Compress>,
    snappy: Option<snap::raw::Encoder>,
    zstd: Option<CCtx<'static>>,
    block: Vec<u8>,
}

impl Compressors {
    /// Compresses `plain` to the beginning of `out`; None where `out` is too short for it, so that it does not pay.
    pub fn compress(&mut self, codec: Codec, plain: &[u8], out: &mut [u8]) -> Option<usize> {
        match codec {
            Codec::None | Codec::Lz4 => None,
            Codec::Gzip => self.gzip(plain, out),
            Codec::Snappy => self.snappy(plain, out),
            Codec::Zstd => self.zstd(plain, out),
        }
    }

    fn gzip(&mut self, plain: &[u8], out: &mut [u8]) -> Option<usize> {
        let stream = self.gzip.get_or_insert_with(|| Compress::new_gzip(Compression::new(GZIP_LEVEL), GZIP_WINDOW_BITS));
        stream.reset();
        let status = stream.compress(plain, out, FlushCompress::Finish).ok()?;
        (status == Status::StreamEnd).then_some(stream.total_out() as usize)
    }

    fn snappy(&mut self, plain: &[u8], out: &mut [u8]) -> Option<usize> {
        self.block.resize(snap::raw::max_compress_len(XERIAL_BLOCK_BYTES), 0);
        out.get_mut(..XERIAL_HEADER.len())?.copy_from_slice(&XERIAL_HEADER);
        let encoder = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
        let mut at = XERIAL_HEADER.len();
        for part in plain.chunks(XERIAL_BLOCK_BYTES) {
            let len = encoder.compress(part, &mut self.block).ok()?;
            let (head, room) = out.get_mut(at..)?.split_first_chunk_mut::<4>()?;
            room.get_mut(..len)?.copy_from_slice(&self.block[..len]);
            *head = (len as u32).to_be_bytes();
            at += 4 + len;
        }
        Some(at)
    }

    fn zstd(&mut self, plain: &[u8], out: &mut [u8]) -> Option<usize> {
        let context = match &mut self.zstd {
            Some(context) => context,
            none => {
                let mut context = CCtx::try_create()?;
                context.set_parameter(CParameter::CompressionLevel(ZSTD_LEVEL)).ok()?;
                none.insert(context)
            }
        };
        context.compress2(out, plain).ok()
    }
}
