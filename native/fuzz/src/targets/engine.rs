//! Programs on chunks: whatever the records, each has one fate for each agreement, and what is delivered is readable.
//!
//! The programs are plans that the product lowered (`programs/`). An input's first byte chooses one, the second says how the batches
//! are written: bits 0 to 2, the codec; bit 3, whether a byte is broken behind the CRC; bits 4 and 5, which agreement is denied. Bit 6: the
//! engine has no memory of a step before, which may hide what was not made in this one.
//! Then come records: a byte of what it is, two of its length, and its bytes. Of the first: bit 0, no value; bit 1, a key; bits 2 and 3,
//! all set: no framing, so that the bytes bring their own; bits 4 to 7, by which schema it was written.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use _native::engine::{Chunk, Input, Outcome, profile, run};
use _native::program::Program;
use _native::wire::{BatchBuilder, Codec, Scratch, headers, read, stamp};

use super::{Ran, Target};
use crate::heap;

const MIB: usize = 1024 * 1024;
/// A block's arena of 64 MiB, its output and quarantine, and the copies of buffers that grow.
const HEAP_BYTES_MAX: usize = 192 * MIB;
/// A step of a lane has more, but 50 ms are asked of each input.
const RECORDS_MAX: usize = 4_000;
const BATCH_BYTES: usize = 20_000;
const KEY_BYTES_MAX: usize = 24;

/// A plan, lowered and compiled, and the ids of its schemas.
struct Plan {
    program: Program,
    ids: Vec<u32>,
}

/// Deciding on records.
pub struct Engine {
    plans: Vec<Plan>,
    scratch: Scratch,
}

struct Wanted<'a> {
    key: Option<&'a [u8]>,
    value: Option<Vec<u8>>,
}

impl Engine {
    /// Reads the programs: a line with the number of keys and the ids of schemas, then the program.
    pub fn new() -> Engine {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")); // the fuzzer's, or the kernel's where its tests run the seeds
        let folder = if root.ends_with("fuzz") { root.join("programs") } else { root.join("fuzz/programs") };
        let mut paths: Vec<_> = fs::read_dir(folder).expect("a folder of programs").flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let plans = paths.iter().map(|path| plan_of(&fs::read_to_string(path).expect("a program"))).collect();
        Engine { plans, scratch: Scratch::default() }
    }
}

impl Target for Engine {
    fn name(&self) -> &'static str {
        "engine"
    }

    fn heap_bytes_max(&self) -> usize {
        HEAP_BYTES_MAX
    }

    fn run(&mut self, input: &[u8]) -> Ran {
        let [chosen, mode, rest @ ..] = input else { return Ran { time: Duration::ZERO, heap_bytes: 0 } };
        let Plan { program, ids } = &self.plans[usize::from(*chosen) % self.plans.len()];
        let wanted = records(rest, ids);
        let codec = Codec::ALL[usize::from(mode & 7) % Codec::ALL.len()];
        let mut data = chunk(&wanted, codec, &mut self.scratch);
        let broken = mode & 8 != 0 && !data.is_empty();
        if broken {
            let place = data.len() - 1;
            data[place] ^= 0x55;
        }
        let denied: Vec<bool> = (0..program.agreements.len()).map(|place| mode >> 4 & 3 == place as u8 + 1).collect();

        let before = heap::begin();
        let start = Instant::now();
        let outcomes = steps(program, &data, &denied, wanted.len() as i64, mode & 64 != 0);
        let ran = Ran { time: start.elapsed(), heap_bytes: heap::peak() - before };

        let records: i64 = outcomes.iter().map(|outcome| outcome.records).sum();
        assert_eq!(records, wanted.len() as i64, "every record is decided, once");
        for outcome in outcomes {
            check(program, outcome, &denied, &mut self.scratch);
        }
        ran
    }
}

/// Runs step after step until all is decided, as a lane does.
fn steps(program: &Program, data: &[u8], denied: &[bool], end: i64, anew: bool) -> Vec<Outcome> {
    let (mut outcomes, mut position) = (Vec::new(), 0);
    while position < end {
        let chunks = [Chunk { data, first_offset: 0 }];
        let input = Input { chunks: &chunks, position, now_ms: 1_700_000_000_000, denied };
        let outcome = if anew { profile(program, &input).0 } else { run(program, &input) };
        let next = outcome.next_offset.unwrap_or(end);
        assert!(next > position, "a step goes on");
        position = next;
        outcomes.push(outcome);
    }
    outcomes
}

/// Panics where counts and batches of a step cannot be right.
fn check(program: &Program, outcome: Outcome, denied: &[bool], scratch: &mut Scratch) {
    for ((tally, batches), denied) in outcome.tallies.iter().zip(outcome.batches).zip(denied) {
        let decided = tally.delivered + tally.filtered + tally.suppressed + tally.quarantined;
        assert_eq!(decided, if *denied { 0 } else { outcome.records }, "each record has one fate");
        let mut delivered = 0;
        for mut built in batches {
            assert!(built.plain_bytes <= program.limits.batch_bytes_max || built.records == 1);
            stamp(&mut built.buffer, 1, 2, 3, true);
            let (range, header) = headers(&built.buffer).next().expect("a batch");
            assert_eq!(range.len(), built.buffer.len());
            let found = read(&built.buffer, &header, scratch).expect("what is delivered is readable");
            assert_eq!(found.frames.len(), built.records as usize);
            delivered += found.frames.len() as i64;
        }
        assert_eq!(delivered, tally.delivered);
    }
}

fn records<'a>(mut rest: &'a [u8], ids: &[u32]) -> Vec<Wanted<'a>> {
    let mut found = Vec::new();
    while let [what, high, low, after @ ..] = rest
        && found.len() < RECORDS_MAX
    {
        let (bytes, behind) = after.split_at(after.len().min(usize::from(u16::from_be_bytes([*high, *low]))));
        rest = behind;
        let mut value = Vec::with_capacity(bytes.len() + 5);
        if what & 12 != 12 {
            value.push(0);
            value.extend_from_slice(&ids[usize::from(what >> 4) % ids.len()].to_be_bytes());
        }
        value.extend_from_slice(bytes);
        let key = (what & 2 != 0).then(|| &bytes[bytes.len() - bytes.len().min(KEY_BYTES_MAX)..]);
        found.push(Wanted { key, value: (what & 1 == 0).then_some(value) });
    }
    found
}

/// Writes records as a producer does: batches one after the other, offsets too.
fn chunk(wanted: &[Wanted], codec: Codec, scratch: &mut Scratch) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec, 0, BATCH_BYTES);
    for record in wanted {
        builder.begin(record.key, record.value.as_ref().map(Vec::len));
        builder.hint();
        builder.put(record.value.as_deref().unwrap_or_default());
        builder.end();
    }
    let (mut data, mut offset) = (Vec::new(), 0i64);
    for mut built in builder.finish(scratch) {
        stamp(&mut built.buffer, -1, -1, -1, false);
        let begin = data.len();
        data.extend_from_slice(&built.buffer);
        data[begin..begin + 8].copy_from_slice(&offset.to_be_bytes());
        offset += i64::from(built.records);
    }
    data
}

fn plan_of(text: &str) -> Plan {
    let (head, program) = text.split_once('\n').expect("a line of numbers, then the program");
    let mut numbers = head.split(' ').map(|word| word.parse::<u32>().expect("a number"));
    let keys: Vec<[u8; 32]> = (0..numbers.next().expect("the number of keys")).map(|place| [place as u8 + 1; 32]).collect();
    Plan { program: Program::compile(program, &keys).expect("a program that compiles"), ids: numbers.collect() }
}
