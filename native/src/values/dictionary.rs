//! Short texts to words of 64 bits, by one look-up without a call: the texts that row conditions list.
//!
//! A text of at most 16 bytes is told by two numbers of eight bytes (its ends, which overlap) and its length; they are the key
//! and need no second look at the bytes. Longer ones go by an ordinary map. The texts are an agreement's and few; a value from
//! outside can at worst walk the longest run of taken places, and the table is at least half empty.

use std::collections::HashMap;

const INLINE_BYTES_MAX: usize = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Key {
    first: u64,
    last: u64,
    length: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Place {
    key: Key,
    word: u64,
    taken: bool,
}

/// Words by text.
#[derive(Clone, Debug)]
pub(super) struct Dictionary {
    places: Box<[Place]>,
    long: HashMap<Box<[u8]>, u64>,
    other: u64,
}

impl Dictionary {
    /// Gathers the words of each text by OR; any other text has the word `other`.
    pub(super) fn new<'a>(entries: impl Iterator<Item = (&'a [u8], u64)>, other: u64) -> Dictionary {
        let mut all: HashMap<Box<[u8]>, u64> = HashMap::new();
        for (text, word) in entries {
            *all.entry(text.into()).or_default() |= word;
        }
        let mut found =
            Dictionary { places: vec![Place::default(); (4 * all.len()).next_power_of_two().max(4)].into(), long: HashMap::new(), other };
        for (text, word) in all {
            if let Some(key) = key(&text) {
                let place = found.place(&key);
                found.places[place] = Place { key, word, taken: true };
            } else {
                found.long.insert(text, word);
            }
        }
        found
    }

    /// The word of a text.
    #[inline]
    pub(super) fn get(&self, text: &[u8]) -> u64 {
        match key(text) {
            Some(key) => {
                let place = &self.places[self.place(&key)];
                if place.taken { place.word } else { self.other }
            }
            None => self.get_long(text),
        }
    }

    #[inline(never)]
    fn get_long(&self, text: &[u8]) -> u64 {
        if self.long.is_empty() { self.other } else { self.long.get(text).copied().unwrap_or(self.other) }
    }

    /// Where a key stands, or the free place where it would.
    #[inline]
    fn place(&self, key: &Key) -> usize {
        let mask = self.places.len() - 1;
        let mut place = key.hash() & mask;
        loop {
            let found = &self.places[place];
            if !found.taken || found.key == *key {
                return place;
            }
            place = (place + 1) & mask;
        }
    }
}

impl Key {
    #[inline]
    fn hash(&self) -> usize {
        let mixed = (self.first ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xd6e8_feb8_6659_fd93) ^ self.last.rotate_left(29) ^ self.length;
        let folded = mixed.wrapping_mul(0xa076_1d64_78bd_642f);
        (folded >> 32) as usize
    }
}

#[inline]
fn key(text: &[u8]) -> Option<Key> {
    let length = text.len();
    let (first, last) = match length {
        8..=INLINE_BYTES_MAX => (eight(text, 0), eight(text, length - 8)),
        4..8 => (four(text, 0) | four(text, length - 4) << 32, 0),
        1..4 => (u64::from(text[0]) | u64::from(text[length / 2]) << 8 | u64::from(text[length - 1]) << 16, 0),
        0 => (0, 0),
        _ => return None,
    };
    Some(Key { first, last, length: length as u64 })
}

#[inline]
fn eight(text: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(text[at..at + 8].try_into().unwrap_or_default())
}

#[inline]
fn four(text: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(text[at..at + 4].try_into().unwrap_or_default()))
}
