//! Nanoseconds per value of each test, change, normal form and pseudonym: `cargo run --release --example values_bench`.
//!
//! Values differ from call to call (4,096 of them), so that no branch predictor learns them by heart; see `measure` for how.
//! `RUSTFLAGS='--cfg sha2_backend="soft"'` shows, in the lines `one lane`, a processor that has nothing for SHA-256.

use std::hint::black_box;
use std::time::Instant;

use _native::values::{Change, Column, Forms, IdentifierKind, MacKey, Means, Stage, Test, normal_form, pseudonym, write};

const VALUES: usize = 4_096;
const ROUNDS: usize = 201;

fn main() {
    println!("SHA-256 by {}", Means::of_processor());
    tests();
    changes();
    forms();
    pseudonyms();
}

/// Runs a round over all values again and again; prints the lower decile and the median per value. Rounds are short, so that
/// on a busy machine many of them run undisturbed: the lower decile is the figure.
fn measure(name: &str, count: usize, mut round: impl FnMut()) {
    let mut repeats = 1;
    loop {
        let begin = Instant::now();
        (0..repeats).for_each(|_| round());
        if begin.elapsed().as_micros() >= 200 {
            break;
        }
        repeats *= 2;
    }
    let mut found: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            (0..repeats).for_each(|_| round());
            begin.elapsed().as_nanos() as f64 / (repeats * count) as f64
        })
        .collect();
    found.sort_by(f64::total_cmp);
    println!("{name:<78} {:>7.1} ns   (median {:.1})", found[ROUNDS / 10], found[ROUNDS / 2]);
}

/// A small generator of numbers; the same ones in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

fn values(mut make: impl FnMut(&mut Numbers) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    (0..VALUES).map(|_| make(&mut numbers)).collect()
}

fn long(number: i64) -> Vec<u8> {
    let mut out = Vec::new();
    write::long(&mut out, number);
    out
}

fn text(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write::text(&mut out, text.as_bytes());
    out
}

fn airport(numbers: &mut Numbers) -> Vec<u8> {
    let airports = ["JFK", "LGA", "EWR", "BOS", "ATL", "ORD", "LAX", "MIA", "SFO", "DCA", "IAH", "PHL"];
    text(airports[numbers.below(12) as usize])
}

fn phrase(numbers: &mut Numbers, least: u64, most: u64) -> Vec<u8> {
    let length = least + numbers.below(most - least + 1);
    text(&(0..length).map(|_| char::from(b'a' + numbers.below(26) as u8)).collect::<String>())
}

fn chinese(numbers: &mut Numbers, least: u64, most: u64) -> Vec<u8> {
    let length = least + numbers.below(most - least + 1);
    text(&(0..length).map(|_| char::from_u32(0x4e00 + numbers.below(0x5000) as u32).unwrap_or('路')).collect::<String>())
}

fn stamp(numbers: &mut Numbers) -> Vec<u8> {
    long(1_700_000_000_000 + numbers.below(63_072_000_000) as i64)
}

fn tests() {
    let airports = values(airport);
    let set = r#"{"test":"text_set","values":["JFK","LGA"],"listed":true}"#;
    test("text isAnyOf 2", &[set], &airports);
    test("text isAnyOf 2, 5 tests in a column", &[set; 5], &airports);
    let many: Vec<String> = (0..1000).map(|number| format!("\"N{number}\"")).collect();
    let tails = values(|numbers| text(&format!("N{}", numbers.below(2000))));
    test("text isAnyOf 1,000", &[&format!(r#"{{"test":"text_set","values":[{}],"listed":true}}"#, many.join(","))], &tails);
    test("text startsWith", &[r#"{"test":"text_prefix","prefix":"J"}"#], &airports);
    test("text gt", &[r#"{"test":"text","compare":"gt","operand":"LAX"}"#], &airports);
    let small = values(|numbers| long(numbers.below(200) as i64 - 60));
    let range = r#"{"test":"integer_range","least":"16","most":"9223372036854775807"}"#;
    test("int of 1 or 2 bytes, range", &[range], &small);
    test("int of 1 or 2 bytes, 5 ranges in a column", &[range; 5], &small);
    test("timestamp, range", &[r#"{"test":"integer_range","least":"1730000000000","most":"9223372036854775807"}"#], &values(stamp));
    let listed = r#"{"test":"integer_set","values":["1","5","9","77"],"listed":true}"#;
    test("int isAnyOf 4", &[listed], &small);
    let doubles = values(|numbers| (numbers.below(1000) as f64 / 7.0).to_le_bytes().into());
    test("double gt", &[r#"{"test":"floating","narrow":false,"compare":"gt","operand":"4050000000000000"}"#], &doubles);
    let money = values(|numbers| {
        let mut out = vec![8];
        out.extend_from_slice(&(numbers.below(1 << 31) as u32).to_be_bytes());
        out
    });
    let zero = "0".repeat(64);
    let most = format!("{}40000000", "0".repeat(56));
    test("decimal of 4 bytes, range", &[&format!(r#"{{"test":"decimal_range","fixed":false,"least":"{zero}","most":"{most}"}}"#)], &money);
    let symbols = values(|numbers| long(numbers.below(8) as i64));
    test("enum", &[r#"{"test":"symbols","holds":[true,false,false,true,false,true,true,false]}"#], &symbols);
}

fn test(name: &str, specs: &[&str], values: &[Vec<u8>]) {
    let tests: Vec<Test> = specs.iter().map(|spec| Test::compile(&serde_json::from_str(spec).expect("a spec")).expect("a test")).collect();
    if let [test] = &tests[..] {
        measure(&format!("test    {name}"), VALUES, || {
            black_box(values.iter().filter(|value| test.holds(black_box(value))).count());
        });
    }
    let column = Column::new(&tests);
    measure(&format!("column  {name}"), VALUES, || {
        black_box(values.iter().fold(0, |word, value| word ^ column.truths(black_box(value))));
    });
}

fn changes() {
    let mask = r#"{"change":"mask","keep_first":2,"keep_last":2}"#;
    change("mask, 3-12 ASCII", mask, &values(|numbers| phrase(numbers, 3, 12)));
    change("mask, 8-30 ASCII", mask, &values(|numbers| phrase(numbers, 8, 30)));
    change("mask, 40-90 ASCII", mask, &values(|numbers| phrase(numbers, 40, 90)));
    change("mask, 2-6 Chinese", mask, &values(|numbers| chinese(numbers, 2, 6)));
    let prefix = r#"{"change":"prefix","characters":4}"#;
    change("prefix, 3-12 ASCII", prefix, &values(|numbers| phrase(numbers, 3, 12)));
    change("prefix, 8-30 ASCII", prefix, &values(|numbers| phrase(numbers, 8, 30)));
    change("prefix, 2-6 Chinese", prefix, &values(|numbers| chinese(numbers, 2, 6)));
    change("timestamp-millis to day", r#"{"change":"shanghai","per_second":"1000","unit":"day"}"#, &values(stamp));
    change("timestamp-millis to hour", r#"{"change":"shanghai","per_second":"1000","unit":"hour"}"#, &values(stamp));
    let month = r#"{"change":"shanghai","per_second":"1000","unit":"month"}"#;
    change("timestamp-millis to month", month, &values(stamp));
    let births = values(|numbers| long(numbers.below(1_500_000_000_000) as i64 - 900_000_000_000));
    change("timestamp-millis to month, 1941 to 1989", month, &births);
    let dates = values(|numbers| long(19_000 + numbers.below(2_000) as i64));
    change("date to quarter", r#"{"change":"calendar","bits":32,"months":3,"day":"1"}"#, &dates);
    let ints = values(|numbers| long(numbers.below(100_000) as i64 - 50_000));
    change("int to step 100", r#"{"change":"floor","bits":32,"width":"100"}"#, &ints);
    change("int to 3 edges", r#"{"change":"edges","edges":["0","18","60"],"labels":["a","b","c","d"]}"#, &ints);
    change("int to width 10", r#"{"change":"width","width":"10"}"#, &ints);
    let doubles = values(|numbers| (numbers.below(100_000) as f64 / 7.0).to_le_bytes().into());
    change("double to step 2.5", r#"{"change":"floor_floating","narrow":false,"units":"25","scale":1}"#, &doubles);
    let tenth = r#"{"change":"floor_floating","narrow":false,"units":"1","scale":1}"#;
    change("double of 2 decimals to step 0.1", tenth, &values(|numbers| (numbers.below(10_000) as f64 / 100.0).to_le_bytes().into()));
    change("double of any size to step 0.1", tenth, &values(|numbers| finite(numbers.next()).to_le_bytes().into()));
    change("double about 1e17 to step 0.1", tenth, &values(|numbers| (numbers.below(1 << 60) as f64).to_le_bytes().into()));
    let narrow = r#"{"change":"floor_floating","narrow":true,"units":"1","scale":1}"#;
    change("float of 2 decimals to step 0.1", narrow, &values(|numbers| (numbers.below(10_000) as f32 / 100.0).to_le_bytes().into()));
    change("float about 5e6 to step 0.1", narrow, &values(|numbers| (numbers.below(10_000_000) as f32).to_le_bytes().into()));
    let half = r#"{"change":"width_floating","narrow":false,"units":"5","scale":1}"#;
    change("double to width 0.5", half, &doubles);
    let money = values(|numbers| {
        let mut out = vec![8];
        out.extend_from_slice(&(numbers.below(1 << 31) as u32).to_be_bytes());
        out
    });
    change("decimal of 4 bytes to step", r#"{"change":"floor_decimal","size":0,"step":"100"}"#, &money);
    change("decimal of 4 bytes to width", r#"{"change":"width_decimal","fixed":false,"width":"1000","scale":2}"#, &money);
    change("enum", r#"{"change":"symbols","texts":["a","bb","ccc"]}"#, &values(|numbers| long(numbers.below(3) as i64)));
}

/// A double of any size.
fn finite(bits: u64) -> f64 {
    let found = f64::from_bits(bits);
    if found.is_finite() { found } else { 1.0 }
}

fn change(name: &str, spec: &str, values: &[Vec<u8>]) {
    let change = Change::compile(&serde_json::from_str(spec).expect("a spec")).expect("a change");
    let mut out = Vec::with_capacity(1 << 20);
    measure(&format!("change  {name}"), VALUES, || {
        out.clear();
        for value in values {
            change.write(black_box(value), &mut out).expect("it fits");
        }
        black_box(&out);
    });
}

fn forms() {
    let residents: Vec<Vec<u8>> = values(|numbers| {
        let digits = format!(
            "{}1949{:02}{:02}{:03}",
            110_000 + numbers.below(500_000),
            1 + numbers.below(12),
            1 + numbers.below(28),
            numbers.below(1000)
        );
        let weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
        let sum: u32 = weights.iter().zip(digits.bytes()).map(|(weight, digit)| weight * u32::from(digit - b'0')).sum();
        format!("{digits}{}", char::from(b"10X98765432"[(sum % 11) as usize])).into_bytes()
    });
    form("resident-id", "18 characters", &residents);
    form("phone", "11 digits", &values(|numbers| format!("13{:09}", numbers.below(1_000_000_000)).into_bytes()));
    form(
        "phone",
        "+86 and spaces",
        &values(|numbers| format!("+86 138 {:04} {:04}", numbers.below(9999), numbers.below(9999)).into_bytes()),
    );
    form("plate", "Chinese", &values(|numbers| format!("浙A{:05}", numbers.below(99_999)).into_bytes()));
    form("plate", "ASCII", &values(|numbers| format!("N{:05}", numbers.below(99_999)).into_bytes()));
    form("credit-code", "18 characters", &vec![b"91330106MA2CFX3H0K".to_vec(); VALUES]);
    form("name", "2-3 Chinese", &values(|numbers| chinese(numbers, 2, 3)[1..].to_vec()));
    form("name", "accented (NFKC)", &values(|numbers| format!("José N{:03}", numbers.below(999)).into_bytes()));
    form("other", "6 ASCII", &values(|numbers| format!("N{:05}", numbers.below(99_999)).into_bytes()));
}

fn form(kind: &str, name: &str, texts: &[Vec<u8>]) {
    let mut forms = Forms::default();
    let identifier = IdentifierKind::named(kind);
    measure(&format!("form    {kind}, {name}"), texts.len(), || {
        for text in texts {
            black_box(normal_form(identifier, black_box(text), &mut forms));
        }
    });
}

fn pseudonyms() {
    let keys: Vec<MacKey> = (0..5).map(|place| MacKey::new(&[place; 32])).collect();
    let texts = values(|numbers| format!("{:018}", numbers.below(u64::MAX)).into_bytes());
    measure("pseudonym  alone, 18-20 characters", VALUES, || {
        for text in &texts {
            black_box(pseudonym(&keys[0], black_box(text)));
        }
    });
    let mut stage = Stage::default();
    for (name, keys_used) in [("1 key", 1), ("5 keys", 5)] {
        measure(&format!("pseudonym  staged, {name}, all of it"), VALUES / 8 * keys_used, || {
            stage.clear();
            for text in &texts[..VALUES / 8] {
                let message = stage.message(text);
                (0..keys_used as u32).for_each(|key| _ = stage.job(key, message));
            }
            stage.run(&keys);
            black_box(stage.found(0));
        });
        for means in Means::choices() {
            measure(&format!("pseudonym  staged, {name}, run alone, {means}"), VALUES / 8 * keys_used, || {
                stage.run_by(means, &keys);
                black_box(stage.found(0));
            });
        }
    }
}
