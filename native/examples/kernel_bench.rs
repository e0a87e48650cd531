//! The engine alone, for a profiler: runs a dumped program over dumped steps, with no Python in the process.
//!
//! `python -m benchmarks.kernel --dump FOLDER` writes the files; then `cargo run --release --example kernel_bench FOLDER N CODEC ROUNDS`.

use std::time::Instant;

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
    // Of each step the quickest of all rounds counts: what else ran on the machine falls out.
    let mut spent = vec![u64::MAX; steps.len()];
    let (mut records, mut delivered, mut stages) = (0, 0, [0u64; STAGES.len()]);
    let (mut plain, mut written) = (0, 0);
    for round in 0..rounds.parse::<usize>()? {
        for (step, spent) in steps.iter().zip(&mut spent) {
            let began = Instant::now();
            let chunks = [Chunk { data: &step.data, first_offset: step.position }];
            let outcome = run(&program, &Input { chunks: &chunks, position: step.position, now_ms: 1_800_000_000_000, denied: &denied });
            *spent = (*spent).min(began.elapsed().as_nanos() as u64);
            if round == 0 {
                records += outcome.records;
                delivered += outcome.tallies.iter().map(|tally| tally.delivered).sum::<i64>();
                plain += outcome.batches.iter().flatten().map(|built| built.plain_bytes).sum::<usize>();
                written += outcome.batches.iter().flatten().map(|built| built.buffer.len()).sum::<usize>();
            }
        }
    }
    let each = spent.iter().sum::<u64>() as f64 / delivered as f64;
    for step in &steps {
        let chunks = [Chunk { data: &step.data, first_offset: step.position }];
        let input = Input { chunks: &chunks, position: step.position, now_ms: 1_800_000_000_000, denied: &denied };
        let quickest = (0..8).map(|_| profile(&program, &input).1).min_by_key(|stages| stages.iter().sum::<u64>()).unwrap_or_default();
        stages.iter_mut().zip(quickest).for_each(|(sum, one)| *sum += one);
    }
    println!("N={agreements} {codec}: {records} records, {delivered} deliveries, {each:.1} ns per delivery");
    print!("  ratio {:.2};", plain as f64 / written as f64);
    for (stage, sum) in STAGES.iter().zip(stages) {
        print!("  {stage:?} {:.1}", sum as f64 / delivered as f64);
    }
    println!();
    Ok(())
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
