//! Feeds the native kernel with inputs that nobody would write: `make fuzz`.
//!
//! Stable Rust and nothing to install: inputs of `seeds/` and `corpus/` are changed at random, and what reaches code that no input
//! reached before, by the compiler's own coverage counters, is kept and changed further. An input is a finding when it panics, when
//! it takes more memory than its target allows, or when it takes longer than 50 ms in a program built as the product is. Findings
//! are written to `findings/`; after the repair they become seeds.

mod coverage;
mod heap;
mod mutate;
mod targets;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, exit};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mutate::{Mutator, Noise};
use targets::{Ran, Target};

/// What is asked of every input.
const TIME_MAX: Duration = Duration::from_millis(50);
/// An input that takes so long is taken for one that never ends.
const HANG: Duration = Duration::from_secs(10);
/// An input that takes longer is heavy, and only every so many inputs is one of them changed.
const HEAVY: Duration = Duration::from_millis(1);
/// Findings of one kind that are written down; more tell no more.
const WRITTEN_MAX: u64 = 3;
const HEAVY_EVERY: u64 = 300;
const INPUT_BYTES_MAX: usize = 256 * 1024;
const CORPUS_MAX: usize = 20_000;
/// The control must find its faults within this time.
const CONTROL: Duration = Duration::from_secs(120);
const REPORT_EVERY: Duration = Duration::from_secs(30);
/// Runs of a slow input in the plain program, of which the quickest counts: the machine may be busy.
const JUDGED_RUNS: usize = 5;

/// Milliseconds since the start of the program at which the input under way was begun, plus one; 0 where there is none.
static BEGUN_MS: AtomicU64 = AtomicU64::new(0);
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn main() -> ExitCode {
    std::thread::spawn(watch);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["run", target, seconds, plain] => match (targets::named(target), seconds.parse()) {
            (Some(target), Ok(seconds)) => Campaign::new(target, PathBuf::from(plain)).run(Duration::from_secs(seconds)),
            _ => usage(),
        },
        ["control", plain] => control(PathBuf::from(plain)),
        ["judge", target, ref files @ ..] => match targets::named(target) {
            Some(target) => judge(target, files),
            None => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    let names: Vec<&str> = targets::ALL.iter().map(|(name, _)| *name).collect();
    eprintln!("cityhub-fuzz run TARGET SECONDS PLAIN-PROGRAM | control PLAIN-PROGRAM | judge TARGET FILE…; targets: {}", names.join(" "));
    ExitCode::from(2)
}

/// Runs files and says how long each takes and how much memory: the answer of the plain program about slow inputs, and a way to look
/// at a finding again.
fn judge(mut target: Box<dyn Target>, files: &[&str]) -> ExitCode {
    let mut within = true;
    for file in files {
        let Ok(input) = fs::read(file) else {
            eprintln!("cannot read {file}");
            return ExitCode::from(2);
        };
        let runs: Vec<Ran> = (0..JUDGED_RUNS).map(|_| target.run(&input)).collect();
        let time = runs.iter().map(|ran| ran.time).min().unwrap_or_default();
        let heap = runs.iter().map(|ran| ran.heap_bytes).max().unwrap_or_default();
        println!("{file}: {:.1} ms, {:.1} MiB", time.as_secs_f64() * 1e3, heap as f64 / 1048576.0);
        within &= time <= TIME_MAX && heap <= target.heap_bytes_max();
    }
    if within { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Proves that a panic, a swelling and a slowness are found: a search that finds nothing must be one that can.
fn control(plain: PathBuf) -> ExitCode {
    let target = targets::named("broken").expect("the control");
    let mut campaign = Campaign::new(target, plain);
    let start = Instant::now();
    while campaign.kinds.len() < 3 && start.elapsed() < CONTROL {
        campaign.search(Duration::from_secs(2));
    }
    for path in campaign.written.drain(..) {
        let _ = fs::remove_file(path);
    }
    println!("control: {} of 3 faults found in {:.0} s", campaign.kinds.len(), start.elapsed().as_secs_f64());
    if campaign.kinds.len() == 3 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Campaign {
    target: Box<dyn Target>,
    plain: PathBuf,
    folder: PathBuf,
    /// Holds the input under way, so that it is there after a death without unwinding.
    current: fs::File,
    inputs: Vec<Vec<u8>>,
    /// Inputs that take long: changed now and then, or they would take all the time.
    heavy: Vec<Vec<u8>>,
    coverage: coverage::Coverage,
    runs: u64,
    slowest: Duration,
    heaviest: usize,
    judged: u64,
    findings: u64,
    kinds: BTreeMap<&'static str, u64>,
    /// Files of findings and of the corpus.
    written: Vec<PathBuf>,
}

impl Campaign {
    fn new(target: Box<dyn Target>, plain: PathBuf) -> Campaign {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf();
        let current = folder.join("findings").join(format!("{}-current", target.name()));
        fs::create_dir_all(folder.join("findings")).expect("a folder for findings");
        fs::create_dir_all(folder.join("corpus").join(target.name())).expect("a folder for the corpus");
        Campaign {
            current: fs::File::create(current).expect("a file for the input under way"),
            target,
            plain,
            folder,
            inputs: Vec::new(),
            heavy: Vec::new(),
            coverage: coverage::Coverage::default(),
            runs: 0,
            slowest: Duration::ZERO,
            heaviest: 0,
            judged: 0,
            findings: 0,
            kinds: BTreeMap::new(),
            written: Vec::new(),
        }
    }

    fn run(mut self, time: Duration) -> ExitCode {
        if !self.search(time) {
            eprintln!("no seeds for {}", self.target.name());
            return ExitCode::from(2);
        }
        if self.findings == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    /// Searches for some time; false where there is nothing to begin with.
    fn search(&mut self, time: Duration) -> bool {
        let start = Instant::now();
        std::panic::set_hook(Box::new(|_| {}));
        for kind in ["seeds", "corpus"] {
            for input in files(&self.folder.join(kind).join(self.target.name())) {
                self.feed(&input);
            }
        }
        if self.inputs.is_empty() {
            return false;
        }
        let (mut mutator, mut reported) = (Mutator::new(Noise::of_clock()), start);
        while start.elapsed() < time {
            let is_heavy = !self.heavy.is_empty() && self.runs.is_multiple_of(HEAVY_EVERY);
            let input = mutator.next(if is_heavy { &self.heavy } else { &self.inputs }, INPUT_BYTES_MAX);
            self.feed(&input);
            if reported.elapsed() > REPORT_EVERY {
                reported = Instant::now();
                self.report(start.elapsed());
            }
        }
        self.report(start.elapsed());
        true
    }

    /// Runs one input; keeps it if it reaches something new, and writes it down if it does what it must not.
    fn feed(&mut self, input: &[u8]) {
        self.note(input);
        BEGUN_MS.store(START.elapsed().as_millis() as u64 + 1, Ordering::Relaxed);
        self.coverage.reset();
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.target.run(input)));
        let is_new = self.coverage.look(input.len());
        BEGUN_MS.store(0, Ordering::Relaxed);
        self.runs += 1;
        let fault = match &ran {
            Err(_) => Some("panic"),
            Ok(ran) if ran.heap_bytes > self.target.heap_bytes_max() => Some("memory"),
            Ok(ran) if ran.time > TIME_MAX && self.is_slow(input) => Some("time"),
            Ok(_) => None,
        };
        if let Some(fault) = fault {
            self.finding(input, fault);
            return;
        }
        let Ok(ran) = ran else { return };
        self.slowest = self.slowest.max(ran.time);
        self.heaviest = self.heaviest.max(ran.heap_bytes);
        if is_new && self.inputs.len() + self.heavy.len() < CORPUS_MAX {
            if ran.time > HEAVY { &mut self.heavy } else { &mut self.inputs }.push(input.to_vec());
            let path = self.folder.join("corpus").join(self.target.name()).join(name_of(input));
            let _ = fs::write(&path, input);
            self.written.push(path);
        }
    }

    /// Asks the plain program whether an input that seemed slow is: here every branch is counted, and the machine may be busy.
    fn is_slow(&mut self, input: &[u8]) -> bool {
        if self.target.run(input).time <= TIME_MAX {
            return false;
        }
        self.judged += 1;
        let path = self.write("slow", input);
        let answer = Command::new(&self.plain).args(["judge", self.target.name()]).arg(&path).output().expect("the plain program runs");
        let _ = fs::remove_file(path);
        !answer.status.success()
    }

    fn note(&mut self, input: &[u8]) {
        use std::io::Seek as _;
        let _ = self.current.seek(std::io::SeekFrom::Start(0)).and_then(|_| self.current.write_all(input));
        let _ = self.current.set_len(input.len() as u64);
    }

    fn finding(&mut self, input: &[u8], what: &'static str) {
        self.target = targets::named(self.target.name()).expect("the target that ran");
        self.findings += 1;
        let count = self.kinds.entry(what).or_insert(0);
        *count += 1;
        if *count <= WRITTEN_MAX {
            let path = self.write(what, input);
            println!("FINDING {} {what}: {}", self.target.name(), path.display());
            self.written.push(path);
        }
    }

    fn write(&self, what: &str, input: &[u8]) -> PathBuf {
        let path = self.folder.join("findings").join(format!("{}-{what}-{}", self.target.name(), name_of(input)));
        fs::write(&path, input).expect("a finding can be written");
        path
    }

    fn report(&self, elapsed: Duration) {
        println!(
            "{}: {} inputs in {} s ({} a second), {} kept, {} places of code, slowest {:.1} ms ({} judged), most memory {:.1} MiB, findings {}",
            self.target.name(),
            self.runs,
            elapsed.as_secs(),
            self.runs / elapsed.as_secs().max(1),
            self.inputs.len() + self.heavy.len(),
            self.coverage.places(),
            self.slowest.as_secs_f64() * 1e3,
            self.judged,
            self.heaviest as f64 / 1048576.0,
            self.findings
        );
    }
}

/// Ends the program when one input does not end; it is in `findings/TARGET-current`.
fn watch() {
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let begun = BEGUN_MS.load(Ordering::Relaxed);
        if begun != 0 && START.elapsed().as_millis() as u64 > begun + HANG.as_millis() as u64 {
            println!("FINDING hang: see native/fuzz/findings/*-current");
            exit(1);
        }
    }
}

fn files(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().filter_map(|path| fs::read(path).ok()).collect()
}

/// FNV-1a: names a file by what is in it.
fn name_of(input: &[u8]) -> String {
    let hash = input.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
}
