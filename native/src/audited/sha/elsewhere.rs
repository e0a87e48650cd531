//! Where a processor is of another kind: nothing is supported, and nothing is called.

use super::{Lane, Slot};

/// Tells whether this processor has the instructions.
pub fn supported() -> bool {
    false
}

/// Is never called, since nothing supports it.
pub fn pseudonyms<const N: usize>(_lanes: [Lane<'_>; N], _found: &mut [Slot; N]) {
    unreachable!("the processor has no such instructions")
}
