//! The control: a target with three faults behind words of three letters, which a guided search finds in seconds and a blind one never.

use std::time::{Duration, Instant};

use super::{Ran, Target};
use crate::heap;

const HEAP_BYTES_MAX: usize = 1 << 20;

/// Panics, swells or is slow, for the right input.
pub struct Broken;

impl Target for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn heap_bytes_max(&self) -> usize {
        HEAP_BYTES_MAX
    }

    fn run(&mut self, input: &[u8]) -> Ran {
        let before = heap::begin();
        let start = Instant::now();
        if is::<b'b', b'u', b'g'>(input) {
            panic!("as it should");
        }
        if is::<b'f', b'a', b't'>(input) {
            std::hint::black_box(vec![1u8; 2 * HEAP_BYTES_MAX]);
        }
        if is::<b'l', b'a', b'g'>(input) {
            std::thread::sleep(Duration::from_millis(60));
        }
        Ran { time: start.elapsed(), heap_bytes: heap::peak() - before }
    }
}

/// Compares letter by letter, so that each right one is a place of code of its own.
#[inline(never)]
fn is<const ONE: u8, const TWO: u8, const THREE: u8>(input: &[u8]) -> bool {
    if input.first() != Some(&ONE) {
        return false;
    }
    std::hint::black_box(());
    if input.get(1) != Some(&TWO) {
        return false;
    }
    std::hint::black_box(());
    input.get(2) == Some(&THREE)
}
