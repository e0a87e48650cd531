//! Buffers that are used again: a fresh megabyte costs 256 page faults, more than filling it.
//!
//! One pool for the process, since a buffer is filled by a kernel's thread and given back by whichever thread drops the last
//! Python object on it. A lock is taken twice per batch, not per record. The last buffer given back is the first one taken, so
//! that small steps stay in few pages; what would make the pool larger than its bound is freed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Bytes that wait in the pool at most.
const WAITING_BYTES_MAX: usize = 96 * 1024 * 1024;
/// A buffer so many times as large as needed is used before a fresh one is made.
const LARGER_MAX: usize = 2;
const SMALLEST: usize = 16 * 1024;

static POOL: Mutex<Pool> = Mutex::new(Pool { shelves: BTreeMap::new(), waiting_bytes: 0 });

struct Pool {
    shelves: BTreeMap<usize, Vec<Box<[u8]>>>,
    waiting_bytes: usize,
}

/// Memory from the pool, which goes back to it on drop. What stood in it before is not cleared.
pub struct PooledBuffer {
    bytes: Box<[u8]>,
    len: usize,
}

impl PooledBuffer {
    /// A buffer of `len` bytes.
    pub fn new(len: usize) -> PooledBuffer {
        let mut buffer = PooledBuffer::with_room(len);
        buffer.len = len;
        buffer
    }

    /// A buffer without memory.
    pub(super) fn empty() -> PooledBuffer {
        PooledBuffer { bytes: Box::default(), len: 0 }
    }

    /// An empty buffer with room for at least `room` bytes.
    pub(super) fn with_room(room: usize) -> PooledBuffer {
        let size = shelf_of(room);
        let waiting = {
            let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
            let found = pool.shelves.range_mut(size..=size * LARGER_MAX).find_map(|(_, shelf)| shelf.pop());
            pool.waiting_bytes -= found.as_ref().map_or(0, |bytes| bytes.len());
            found
        };
        PooledBuffer { bytes: waiting.unwrap_or_else(|| vec![0; size].into_boxed_slice()), len: 0 }
    }

    /// All of its memory, beyond its length too.
    #[inline(always)]
    pub(super) fn room(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    pub(super) fn set_len(&mut self, len: usize) {
        self.len = len.min(self.bytes.len());
    }
}

impl std::ops::Deref for PooledBuffer {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl std::ops::DerefMut for PooledBuffer {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        let size = bytes.len();
        if size == 0 {
            return;
        }
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        if pool.waiting_bytes + size <= WAITING_BYTES_MAX {
            pool.waiting_bytes += size;
            pool.shelves.entry(size).or_default().push(bytes);
        }
    }
}

/// Bytes that wait in the pool now.
pub fn pooled_bytes() -> usize {
    POOL.lock().unwrap_or_else(PoisonError::into_inner).waiting_bytes
}

/// Sizes rise in quarters of a power of two, so that at most a fifth of a fresh buffer is idle.
fn shelf_of(room: usize) -> usize {
    let room = room.max(SMALLEST);
    let quarter = (room.next_power_of_two() / 8).max(1);
    room.div_ceil(quarter) * quarter
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shelf_holds_what_is_asked_and_little_more() {
        for room in [1, 16_384, 16_385, 65_536, 900_000, 1_048_576, 1_048_577, 33_554_433] {
            let size = shelf_of(room);
            assert!(size >= room && (size <= SMALLEST || size * 4 <= room * 5 + 4), "{room} {size}");
            assert_eq!(shelf_of(size), size);
        }
    }

    #[test]
    fn a_larger_buffer_is_used_before_a_fresh_one_is_made_but_none_much_larger() {
        let large = PooledBuffer::new(11_000_001);
        let at = large.as_ptr();
        drop(large);
        let (far, near) = (PooledBuffer::new(3_000_001), PooledBuffer::new(6_000_001));
        assert_ne!(far.as_ptr(), at);
        assert_eq!((near.as_ptr(), near.len()), (at, 6_000_001));
    }

    #[test]
    fn memory_that_is_given_back_is_used_again() {
        let mut one = PooledBuffer::new(7_000_001);
        one[7_000_000] = 42;
        let at = one.as_ptr();
        drop(one);
        let again = PooledBuffer::new(7_000_001);
        assert_eq!((again.as_ptr(), again[7_000_000], again.len()), (at, 42, 7_000_001));
    }
}
