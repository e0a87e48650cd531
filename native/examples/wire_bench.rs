//! What reading and building a record costs, by codec: `cargo run --release --no-default-features --example wire_bench`.
//!
//! Records are like those that the hub delivers: a pseudonym of random letters, masked names, a few words that come again and again,
//! small numbers and times that rise. Buffers are warm, so that no page is fetched; the last column proves it.

use std::time::Instant;

use _native::wire::{BatchBuilder, Built, Codec, Scratch, headers, read, stamp};

const RECORDS: usize = 6_500;
const BATCHES: usize = 8;
const BYTES_MAX: usize = 4_000_000;
const NOW_MS: i64 = 1_790_000_000_000;
const ROUNDS: usize = 60;

/// Records back to back, as a kernel has them: where each field ends, the first of a record being its key.
struct Chunk {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    fields: usize,
}

fn main() {
    println!("{:8} {:>8} {:>10} {:>10} {:>8} {:>12}", "codec", "ratio", "read ns", "build ns", "stamp ns", "page faults");
    let mut scratch = Scratch::default();
    let chunks: Vec<Chunk> = (0..BATCHES).map(|seed| records(seed as u64 + 1)).collect();
    for (codec, hinted) in Codec::ALL.map(|codec| (codec, true)).into_iter().chain([(Codec::Lz4, false)]) {
        let build = if hinted { build::<true> } else { build::<false> };
        let mut batches: Vec<Built> = chunks.iter().flat_map(|rows| build(codec, rows, &mut scratch)).collect();
        let plain: usize = batches.iter().map(|batch| batch.plain_bytes).sum();
        let sent: usize = batches.iter().map(|batch| batch.buffer.len()).sum();
        let all = (RECORDS * BATCHES) as f64;
        let stamping = least(|at| stamp(&mut batches[at].buffer, 1, 2, 3, true));
        let reading = least(|at| {
            let (_, header) = headers(&batches[at].buffer).next().expect("a batch");
            let records = read(&batches[at].buffer, &header, &mut scratch).expect("readable");
            assert_eq!(std::hint::black_box(records.frames).len(), RECORDS);
        });
        let before = page_faults();
        let building = least(|at| drop(std::hint::black_box(build(codec, &chunks[at], &mut scratch))));
        let faults = (page_faults() - before) as f64 / (ROUNDS * BATCHES) as f64;
        println!(
            "{:8} {:8.2} {:10.1} {:10.1} {:8.1} {:12.1}",
            if hinted { codec.name() } else { "unhinted" },
            plain as f64 / sent as f64,
            reading / all,
            building / all,
            stamping / all,
            faults
        );
    }
}

fn build<const HINTED: bool>(codec: Codec, chunk: &Chunk, scratch: &mut Scratch) -> Vec<Built> {
    let mut builder = BatchBuilder::new(codec, NOW_MS, BYTES_MAX);
    let mut start = 0;
    for ends in chunk.ends.chunks_exact(chunk.fields) {
        let (key_end, end) = (ends[0], ends[ends.len() - 1]);
        builder.begin(Some(&chunk.bytes[start..key_end]), Some(end - key_end));
        start = key_end;
        for &end in &ends[1..] {
            if HINTED {
                builder.hint();
            }
            builder.put_from(&chunk.bytes, start..end);
            start = end;
        }
        builder.end();
    }
    builder.finish(scratch)
}

/// The sum over the batches of the least time of each, in nanoseconds: whoever else works on the machine lengthens some rounds.
fn least(mut work: impl FnMut(usize)) -> f64 {
    let mut best = [f64::INFINITY; BATCHES];
    for _ in 0..ROUNDS {
        for (at, best) in best.iter_mut().enumerate() {
            let start = Instant::now();
            work(at);
            *best = best.min(start.elapsed().as_nanos() as f64);
        }
    }
    best.iter().sum()
}

fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(7)?.parse().ok()).unwrap_or(0)
}

fn records(seed: u64) -> Chunk {
    const WORDS: [&str; 8] = ["Xihu", "Gongshu", "Shangcheng", "Binjiang", "Xiaoshan", "Yuhang", "Linping", "Qiantang"];
    const KINDS: [&str; 5] = ["car", "lorry", "electric car", "bus", "motorcycle"];
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut noise = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state >> 11
    };
    let mut chunk = Chunk { bytes: Vec::new(), ends: Vec::new(), fields: 0 };
    for at in 0..RECORDS as u64 {
        let letters: Vec<u8> = (0..26).map(|_| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"[noise() as usize % 32]).collect();
        let text = |text: &[u8]| [&[2 * text.len() as u8], text].concat();
        let mut fields = vec![vec![0, 0, 0, 0, 7], text(&letters)];
        fields.push(text(WORDS[(noise() % 8).min(noise() % 8) as usize].as_bytes()));
        fields.push(text(KINDS[(noise() % 5).min(noise() % 5) as usize].as_bytes()));
        fields.push(text(format!("lot-{:04}", noise() % 400).as_bytes()));
        fields.push(text(format!("Zhang{}", "*".repeat(noise() as usize % 4 + 2)).as_bytes()));
        fields.push(vec![(noise() % 120) as u8]);
        fields.push(varint(2 * (NOW_MS as u64 + at * 40 + noise() % 1000)));
        fields.push(text(b"2026-09"));
        fields.push((20.0 + (noise() % 900) as f64 / 10.0).to_le_bytes().to_vec());
        fields.push(vec![2, (noise() % 2) as u8]);
        fields.push(text(format!("device-{:06}", noise() % 5_000).as_bytes()));
        fields.push(text(format!("{:08}", noise() % 100_000_000).as_bytes()));
        fields.push(text(b"normal"));
        fields.insert(0, letters.clone());
        chunk.fields = fields.len();
        for field in fields {
            chunk.bytes.extend(field);
            chunk.ends.push(chunk.bytes.len());
        }
    }
    chunk
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}
