//! The engine alone, for a profiler: runs a dumped program over dumped steps, with no Python in the process.
//!
//! `python -m benchmarks.kernel --dump FOLDER` writes the files; then `cargo run --release --example kernel_bench FOLDER N CODEC ROUNDS`.

use _native::engine::{Chunk, Input, STAGES, profile, run};
use _native::program::Program;

struct Step {
    position: i64,
    data: Vec<u8>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, folder, agreements, codec, rounds] = &arguments[..] else { return Err("FOLDER N CODEC ROUNDS".into()) };
    let spec = std::fs::read_to_string(format!("{folder}/program-{agreements}.json"))?;
    let keys = std::fs::read(format!("{folder}/keys-{agreements}.bin"))?;
    let program = Program::compile(&spec, keys.as_chunks::<32>().0)?;
    let steps = steps(&std::fs::read(format!("{folder}/steps-{codec}.bin"))?);
    let denied = vec![false; program.agreements.len()];
    let mut spent = Vec::new();
    let (mut records, mut delivered, mut stages) = (0, 0, [0u64; STAGES.len()]);
    let (mut plain, mut written) = (0, 0);
    for _ in 0..rounds.parse::<usize>()? {
        let began = processor_time();
        (records, delivered) = (0, 0);
        for step in &steps {
            let chunks = [Chunk { data: &step.data, first_offset: step.position }];
            let outcome = run(&program, &Input { chunks: &chunks, position: step.position, now_ms: 1_800_000_000_000, denied: &denied });
            records += outcome.records;
            delivered += outcome.tallies.iter().map(|tally| tally.delivered).sum::<i64>();
            plain += outcome.batches.iter().flatten().map(|built| built.plain_bytes).sum::<usize>();
            written += outcome.batches.iter().flatten().map(|built| built.buffer.len()).sum::<usize>();
        }
        spent.push((processor_time() - began) as f64 / delivered as f64);
    }
    for step in &steps {
        let chunks = [Chunk { data: &step.data, first_offset: step.position }];
        let (_, one) = profile(&program, &Input { chunks: &chunks, position: step.position, now_ms: 1_800_000_000_000, denied: &denied });
        stages.iter_mut().zip(one).for_each(|(sum, one)| *sum += one);
    }
    spent.sort_by(f64::total_cmp);
    println!(
        "N={agreements} {codec}: {records} records, {delivered} deliveries, ns per delivery: least {:.1}, median {:.1}",
        spent[0],
        spent[spent.len() / 2]
    );
    print!("  ratio {:.2};", plain as f64 / written as f64);
    for (stage, sum) in STAGES.iter().zip(stages) {
        print!("  {stage:?} {:.1}", sum as f64 / delivered as f64);
    }
    println!();
    Ok(())
}

/// Nanoseconds on a processor (Linux), so that others on the machine count less.
fn processor_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

fn steps(mut bytes: &[u8]) -> Vec<Step> {
    let mut found = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<16>() {
        let position = i64::from_le_bytes(*head.first_chunk().unwrap_or(&[0; 8]));
        let length = u64::from_le_bytes(*head.last_chunk().unwrap_or(&[0; 8])) as usize;
        let (data, behind) = rest.split_at(length);
        found.push(Step { position, data: data.to_vec() });
        bytes = behind;
    }
    found
}
