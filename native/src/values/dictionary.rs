//! Short texts to words of 64 bits, by one look-up without a call: the texts that row conditions list.
//!
//! A text of at most 16 bytes is told by two numbers of eight bytes (its ends, which may overlap) and its length; they are the key
//! and need no second look at the bytes. Longer ones go by an ordinary map. The texts are an agreement's and few; a value from
//! outside can at worst walk the longest run of taken places, and the table is at least half empty.

use std::collections::HashMap;

use super::short;

const INLINE_BYTES_MAX: usize = 16;

/// A short text: its first and last eight bytes (or what there is), and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    first: u64,
    last: u64,
    length: u64,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    key: Key,
    word: u64,
}

/// Stands in a place that is free: no text has that length.
const FREE: Key = Key { first: 0, last: 0, length: u64::MAX };

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
        let places = (4 * all.len()).next_power_of_two().max(4);
        let mut found = Dictionary { places: vec![Place { key: FREE, word: other }; places].into(), long: HashMap::new(), other };
        for (text, word) in all {
            if let Some(key) = key(&text) {
                let place = found.place(&key);
                found.places[place] = Place { key, word };
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
            Some(key) => self.places[self.place(&key)].word,
            None => self.get_long(text),
        }
    }

    #[inline(never)]
    fn get_long(&self, text: &[u8]) -> u64 {
        if self.long.is_empty() { self.other } else { self.long.get(text).copied().unwrap_or(self.other) }
    }

    /// Where a key stands, or the free place where it would: that has the word of other texts.
    #[inline]
    fn place(&self, key: &Key) -> usize {
        let mask = self.places.len() - 1;
        let mut place = key.hash() & mask;
        loop {
            let found = &self.places[place];
            if found.key == *key || found.key == FREE {
                return place;
            }
            place = (place + 1) & mask;
        }
    }
}

impl Key {
    #[inline]
    fn hash(&self) -> usize {
        let mixed = (self.first ^ self.last.rotate_left(23) ^ self.length << 59).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize
    }
}

#[inline]
fn key(text: &[u8]) -> Option<Key> {
    let length = text.len();
    let (first, last) = match length {
        0..=8 => (short::eight(text), 0),
        9..=INLINE_BYTES_MAX => (short::eight(text), short::eight(&text[length - 8..])),
        _ => return None,
    };
    Some(Key { first, last, length: length as u64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_has_its_word_and_no_other_has_one() {
        let texts: Vec<Vec<u8>> = (0..40).flat_map(|length| (0..30).map(move |seed| vec![seed * 7; length])).collect();
        let found = Dictionary::new(texts.iter().step_by(2).enumerate().map(|(place, text)| (&text[..], 1 << (place % 64))), 0);
        for (place, text) in texts.iter().enumerate() {
            let same = texts.iter().step_by(2).enumerate().filter(|(_, other)| *other == text);
            let word = same.fold(0, |word, (place, _)| word | 1 << (place % 64));
            assert_eq!(found.get(text), word, "{place}");
        }
        assert_eq!(Dictionary::new([].into_iter(), 5).get(b"any"), 5);
    }
}
