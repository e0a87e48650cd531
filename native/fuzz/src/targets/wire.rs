//! Record batches: any bytes are read or refused, and what was read is built again in some codec and read again the same.
//!
//! The first byte of an input says what is done with the rest: bit 0, whether the first batch is given a right length and CRC, as
//! whoever writes batches can do; bits 1 to 3, the codec to build in; bits 4 and 5, how small the batches are cut.

use std::time::Instant;

use _native::wire::{BatchBuilder, Codec, HEADER_BYTES, Scratch, crc32c, headers, read, stamp};

use super::{Ran, Target};
use crate::heap;

const MIB: usize = 1024 * 1024;
/// 32 MiB of plain bytes, 20 bytes for each of 500,000 records, zstd's window and tables, and the copies of buffers that grow.
const HEAP_BYTES_MAX: usize = 96 * MIB;
/// What is larger is not built again: the check would take longer than what it checks.
const REBUILT_BYTES_MAX: usize = MIB;
const CUTS: [usize; 4] = [400, 5_000, 70_000, 2_000_000];

type Row = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Reading and building of batches.
pub struct Wire;

impl Target for Wire {
    fn name(&self) -> &'static str {
        "wire"
    }

    fn heap_bytes_max(&self) -> usize {
        HEAP_BYTES_MAX
    }

    fn run(&mut self, input: &[u8]) -> Ran {
        let Some((&mode, data)) = input.split_first() else { return Ran { time: std::time::Duration::ZERO, heap_bytes: 0 } };
        let mut data = data.to_vec();
        if mode & 1 != 0 {
            seal(&mut data);
        }
        let before = heap::begin();
        let mut scratch = Scratch::default(); // a fresh one, so that all it takes is this input's
        let start = Instant::now();
        let mut rows: Vec<Vec<Row>> = Vec::new();
        let mut time = std::time::Duration::ZERO;
        for (range, header) in headers(&data) {
            let found = read(&data[range], &header, &mut scratch);
            time = start.elapsed();
            let Ok(records) = found else { continue };
            assert_eq!(records.frames.len(), header.records as usize);
            assert!(records.frames.iter().all(|frame| i128::from(records.offset(frame)) <= header.last_offset()));
            if records.plain.len() <= REBUILT_BYTES_MAX && rows.len() < 4 {
                let row =
                    |frame: &_native::wire::Frame| (frame.key(records.plain).map(Vec::from), frame.value(records.plain).map(Vec::from));
                rows.push(records.frames.iter().map(row).collect());
            }
        }
        let heap_bytes = heap::peak() - before;
        let codec = Codec::ALL[usize::from(mode >> 1 & 7) % Codec::ALL.len()];
        for rows in rows {
            build_again(codec, CUTS[usize::from(mode >> 4 & 3)], rows, &mut scratch);
        }
        Ran { time, heap_bytes }
    }
}

fn build_again(codec: Codec, bytes_max: usize, rows: Vec<Row>, scratch: &mut Scratch) {
    let mut builder = BatchBuilder::new(codec, 0, bytes_max);
    for (key, value) in &rows {
        builder.begin(key.as_deref(), value.as_ref().map(Vec::len));
        for piece in value.as_deref().unwrap_or_default().chunks(13) {
            builder.hint();
            builder.put(piece);
        }
        builder.end();
    }
    let mut found: Vec<Row> = Vec::new();
    for mut built in builder.finish(scratch) {
        assert!(built.buffer.len() <= built.plain_bytes);
        assert!(built.plain_bytes <= bytes_max || built.records == 1);
        stamp(&mut built.buffer, 1, 2, 3, true);
        let (range, header) = headers(&built.buffer).next().expect("a batch");
        assert_eq!((range.len(), header.records), (built.buffer.len(), built.records));
        let records = read(&built.buffer, &header, scratch).expect("what was built is readable");
        found.extend(
            records.frames.iter().map(|frame| (frame.key(records.plain).map(Vec::from), frame.value(records.plain).map(Vec::from))),
        );
    }
    assert!(found == rows, "what is built is what was read");
}

/// Gives the one batch that `data` is a right magic, length and CRC.
fn seal(data: &mut [u8]) {
    if data.len() >= HEADER_BYTES {
        let length = (data.len() - 12) as u32;
        data[8..12].copy_from_slice(&length.to_be_bytes());
        data[16] = 2;
        let crc = crc32c(&data[21..]);
        data[17..21].copy_from_slice(&crc.to_be_bytes());
    }
}
