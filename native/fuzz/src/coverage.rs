//! Which code an input reached: one byte for every edge, counted by a pass of the compiler that the stable one has too. Without the
//! counters every input is as good as any other, and only seeds are changed.

/// Classes of how often a place was reached: powers of two.
const CLASSES: usize = 8;

/// What has been reached so far, by place and by how often, and the length of the shortest input that did.
#[derive(Default)]
pub struct Coverage {
    shortest: Vec<[u32; CLASSES]>,
}

impl Coverage {
    /// Forgets what the inputs before did.
    pub fn reset(&self) {
        counters().fill(0);
    }

    /// Notes what an input of `len` bytes reached since [`reset`](Coverage::reset); true if some of it is new, or was reached by inputs
    /// of twice the length only: short inputs are changed to more effect.
    pub fn look(&mut self, len: usize) -> bool {
        let (counters, len) = (counters(), len as u32 + 1);
        self.shortest.resize(counters.len(), [0; CLASSES]);
        let mut is_new = false;
        for (count, shortest) in counters.iter().zip(&mut self.shortest) {
            if *count != 0 {
                let shortest = &mut shortest[count.ilog2().min(CLASSES as u32 - 1) as usize];
                if *shortest == 0 || len < *shortest / 2 {
                    (is_new, *shortest) = (true, len);
                }
            }
        }
        is_new
    }

    /// Places of code that were reached at least once.
    pub fn places(&self) -> usize {
        self.shortest.iter().filter(|shortest| **shortest != [0; CLASSES]).count()
    }
}

#[cfg(feature = "coverage")]
mod table {
    use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

    static START: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
    static LEN: AtomicUsize = AtomicUsize::new(0);

    /// Called before `main` by every instrumented part of the program, with the one table of all of them.
    // SAFETY: the name is the one that the compiler's pass asks for, and nobody else's.
    #[unsafe(no_mangle)]
    extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
        START.store(start, Ordering::Relaxed);
        LEN.store(stop as usize - start as usize, Ordering::Relaxed);
    }

    pub fn counters() -> &'static mut [u8] {
        let start = START.load(Ordering::Relaxed);
        if start.is_null() {
            return &mut [];
        }
        // SAFETY: the table is part of the program and lives as long as it; one thread runs inputs and looks at the table.
        unsafe { std::slice::from_raw_parts_mut(start, LEN.load(Ordering::Relaxed)) }
    }
}

#[cfg(feature = "coverage")]
use table::counters;

#[cfg(not(feature = "coverage"))]
fn counters() -> &'static mut [u8] {
    &mut []
}
