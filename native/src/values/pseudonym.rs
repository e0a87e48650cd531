//! Pseudonyms: base32 of the first 16 bytes of HMAC-SHA-256, as `hub.model.pseudonym.pseudonym` has it.
//!
//! A key is kept as the two states of SHA-256 behind its padded blocks (FIPS 198-1), so that a short message costs two
//! compressions. A `Stage` gathers messages (each padded once, whatever the number of keys) and jobs (a key and a message), in
//! any order; `run` answers them many at a time, keys mixed, results in the order of the jobs.

use std::fmt;

use sha2::block_api::compress256;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::audited::sha::{Lane, Slot, avx512, instructions};

/// Characters of a pseudonym.
pub const PSEUDONYM_BYTES: usize = 26;
const BLOCK_BYTES: usize = 64;
/// The longest message that one block holds, with its end mark and its length.
const SHORT_BYTES_MAX: usize = BLOCK_BYTES - 9;
const INITIAL: [u32; 8] = [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The key of one consumer, purpose and identifier kind. Wiped when dropped, never shown; what registers and the stack hold of it
/// while a pseudonym is worked out is not wiped.
pub struct MacKey {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl Drop for MacKey {
    fn drop(&mut self) {
        self.wipe();
    }
}

impl ZeroizeOnDrop for MacKey {}

impl MacKey {
    /// Prepares a key.
    pub fn new(key: &[u8; 32]) -> MacKey {
        let state = |pad: u8| {
            let mut block = [pad; BLOCK_BYTES];
            block.iter_mut().zip(key).for_each(|(byte, secret)| *byte ^= secret);
            let mut state = INITIAL;
            compress256(&mut state, &[block]);
            block.zeroize();
            state
        };
        MacKey { inner: state(0x36), outer: state(0x5c) }
    }

    fn wipe(&mut self) {
        self.inner.zeroize();
        self.outer.zeroize();
    }
}

/// Sixteen bytes of a digest, as the words of SHA-256, big-endian.
type Digest = [u32; 4];

/// A short message: one padded block.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Block([u8; BLOCK_BYTES]);

impl Block {
    /// Pads a message of at most `SHORT_BYTES_MAX` bytes.
    #[inline]
    fn new(message: &[u8]) -> Block {
        let mut block = [0; BLOCK_BYTES];
        block[..message.len()].copy_from_slice(message);
        block[message.len()] = 0x80;
        block[BLOCK_BYTES - 8..].copy_from_slice(&bits_behind_key(message.len()));
        Block(block)
    }
}

fn bits_behind_key(length: usize) -> [u8; 8] {
    (8 * (BLOCK_BYTES + length) as u64).to_be_bytes()
}

/// The pseudonym of one normal form.
pub fn pseudonym(key: &MacKey, normal: &[u8]) -> [u8; PSEUDONYM_BYTES] {
    let digest = if normal.len() <= SHORT_BYTES_MAX { digest(key, &[Block::new(normal).0]) } else { digest(key, &blocks(normal)) };
    text(&digest)
}

/// The blocks of a message of any length.
fn blocks(message: &[u8]) -> Vec<[u8; BLOCK_BYTES]> {
    let (full, rest) = message.as_chunks::<BLOCK_BYTES>();
    let mut found = full.to_vec();
    let mut last = [0; BLOCK_BYTES];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    if rest.len() > SHORT_BYTES_MAX {
        found.push(last);
        last = [0; BLOCK_BYTES];
    }
    last[BLOCK_BYTES - 8..].copy_from_slice(&bits_behind_key(message.len()));
    found.push(last);
    found
}

fn digest(key: &MacKey, blocks: &[[u8; BLOCK_BYTES]]) -> Digest {
    let mut inner = key.inner;
    compress256(&mut inner, blocks);
    let mut block = [0; BLOCK_BYTES];
    for (bytes, word) in block.chunks_exact_mut(4).zip(inner) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    block[32] = 0x80;
    block[BLOCK_BYTES - 8..].copy_from_slice(&bits_behind_key(32));
    let mut outer = key.outer;
    compress256(&mut outer, &[block]);
    [outer[0], outer[1], outer[2], outer[3]]
}

const PAIRS: [[u8; 2]; 1024] = pairs();

const fn pairs() -> [[u8; 2]; 1024] {
    let letters = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut found = [[0; 2]; 1024];
    let mut place = 0;
    while place < 1024 {
        found[place] = [letters[place >> 5], letters[place & 31]];
        place += 1;
    }
    found
}

/// Base32 by pairs of letters: 128 bits and two zero bits are 13 pairs.
fn text(digest: &Digest) -> [u8; PSEUDONYM_BYTES] {
    let number = digest.iter().fold(0u128, |number, word| number << 32 | u128::from(*word));
    let mut out = [0; PSEUDONYM_BYTES];
    let (pairs, _) = out.as_chunks_mut::<2>();
    for (place, pair) in pairs.iter_mut().enumerate() {
        let bits = if place < 12 { number >> (118 - 10 * place) } else { number << 2 };
        *pair = PAIRS[bits as usize & 0x3ff];
    }
    out
}

/// Jobs that SHA instructions work out at once.
const LANES: usize = 4;
static NOTHING: [u8; PSEUDONYM_BYTES] = [0; PSEUDONYM_BYTES];
/// Marks the index of a long message.
const LONG: u32 = 1 << 31;

#[derive(Clone, Copy)]
struct Job {
    key: u32,
    message: u32,
}

/// Messages and jobs of a batch of records. Memory is used again after `clear`.
#[derive(Default)]
pub struct Stage {
    blocks: Vec<Block>,
    long: Vec<Box<[u8]>>,
    jobs: Vec<Job>,
    found: Vec<Slot>,
}

impl Stage {
    /// Forgets all messages, jobs and results.
    pub fn clear(&mut self) {
        self.blocks.clear();
        self.long.clear();
        self.jobs.clear();
        self.found.clear();
    }

    /// Adds a normal form; returns the index that jobs name it by.
    #[inline]
    pub fn message(&mut self, normal: &[u8]) -> u32 {
        if normal.len() <= SHORT_BYTES_MAX {
            self.blocks.push(Block::new(normal));
            return (self.blocks.len() - 1) as u32;
        }
        self.long.push(normal.into());
        (self.long.len() - 1) as u32 | LONG
    }

    /// Adds the pseudonym of a message under the key of that index; returns the index of its result.
    #[inline]
    pub fn job(&mut self, key: u32, message: u32) -> u32 {
        self.jobs.push(Job { key, message });
        (self.jobs.len() - 1) as u32
    }

    /// Answers every job, by the best means of this processor. Panics where a job names a key or message that is not there.
    pub fn run(&mut self, keys: &[MacKey]) {
        self.run_by(Means::of_processor(), keys);
    }

    /// Answers every job as `run` does, by these means alone; panics where the processor lacks them.
    pub fn run_by(&mut self, means: Means, keys: &[MacKey]) {
        self.found.resize(self.jobs.len(), [0; 32]);
        let mut place = 0;
        if means.avx512 {
            // A last few that fit into one turn of the SHA instructions cost less there.
            let left = if means.instructions { LANES } else { 1 };
            while place + left < self.jobs.len() {
                place = self.run_lanes::<{ avx512::LANES }>(place, keys, avx512::pseudonyms);
            }
        }
        if means.instructions {
            while place + 1 < self.jobs.len() {
                place = self.run_lanes::<LANES>(place, keys, instructions::pseudonyms);
            }
        }
        (place..self.jobs.len()).for_each(|place| self.run_alone(place, keys));
    }

    /// Answers the next `N` jobs from `place` on; returns the place behind them. Where there are fewer, the last one is worked out
    /// more than once.
    #[inline]
    fn run_lanes<const N: usize>(&mut self, place: usize, keys: &[MacKey], run: impl FnOnce([Lane<'_>; N], &mut [Slot; N])) -> usize {
        let behind = self.jobs.len().min(place + N);
        let jobs: [Job; N] = std::array::from_fn(|lane| self.jobs[(place + lane).min(behind - 1)]);
        let is_long = |job: &Job| job.message & LONG != 0;
        let Some(short) = jobs.iter().copied().find(|job| !is_long(job)) else {
            (place..behind).for_each(|place| self.run_alone(place, keys));
            return behind;
        };
        // The lane of a long message works on a short one meanwhile: the others need not go alone because of it.
        let lanes = jobs.map(|job| {
            let job = if is_long(&job) { short } else { job };
            let (key, block) = (&keys[job.key as usize], &self.blocks[job.message as usize]);
            Lane { inner: &key.inner, outer: &key.outer, block: &block.0 }
        });
        match self.found[place..].first_chunk_mut() {
            Some(found) => run(lanes, found),
            None => {
                let mut found = [[0; 32]; N];
                run(lanes, &mut found);
                self.found[place..behind].copy_from_slice(&found[..behind - place]);
            }
        }
        for (at, job) in (place..behind).zip(&jobs) {
            if is_long(job) {
                self.run_alone(at, keys);
            }
        }
        behind
    }

    fn run_alone(&mut self, place: usize, keys: &[MacKey]) {
        let job = self.jobs[place];
        let key = &keys[job.key as usize];
        let found = match job.message & LONG {
            0 => text(&digest(key, &[self.blocks[job.message as usize].0])),
            _ => pseudonym(key, &self.long[(job.message & !LONG) as usize]),
        };
        self.found[place][..PSEUDONYM_BYTES].copy_from_slice(&found);
    }

    /// The pseudonym that a job asked for.
    #[inline]
    pub fn found(&self, job: u32) -> &[u8; PSEUDONYM_BYTES] {
        self.found[job as usize].first_chunk().unwrap_or(&NOTHING)
    }
}

/// What many jobs are worked out by; without either, one is at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// Sixteen lanes of AVX-512.
    pub avx512: bool,
    /// Four lanes on SHA instructions.
    pub instructions: bool,
}

impl Means {
    /// All that this processor has.
    pub fn of_processor() -> Means {
        Means { avx512: avx512::supported(), instructions: instructions::supported() }
    }

    /// Every choice of what this processor has, the best first.
    pub fn choices() -> impl Iterator<Item = Means> {
        let all = Means::of_processor();
        [(true, true), (true, false), (false, true), (false, false)]
            .map(|(avx512, instructions)| Means { avx512, instructions })
            .into_iter()
            .filter(move |some| all.avx512 >= some.avx512 && all.instructions >= some.instructions)
    }
}

impl fmt::Display for Means {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(match (self.avx512, self.instructions) {
            (true, true) => "16 lanes of AVX-512, the last 4 on SHA instructions",
            (true, false) => "16 lanes of AVX-512",
            (false, true) => "4 lanes on SHA instructions",
            (false, false) => "one lane",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage_of(keys: usize, messages: &[Vec<u8>]) -> (Vec<MacKey>, Stage, Vec<(usize, usize)>) {
        let keys: Vec<MacKey> = (0..keys).map(|place| MacKey::new(&[place as u8 * 17 + 1; 32])).collect();
        let mut stage = Stage::default();
        let mut jobs = Vec::new();
        for (place, message) in messages.iter().enumerate() {
            let index = stage.message(message);
            for key in (0..keys.len()).rev() {
                stage.job(key as u32, index);
                jobs.push((key, place));
            }
        }
        (keys, stage, jobs)
    }

    #[test]
    fn lanes_give_what_one_message_alone_gives() {
        // Lengths in turn from both ends, so that long messages and short ones share the lanes.
        let length = |place: usize| if place.is_multiple_of(3) { 129 - place } else { place % 60 };
        let messages: Vec<Vec<u8>> = (0..130).map(|place| (0..length(place)).map(|byte| (byte * 7) as u8).collect()).collect();
        for (of_keys, count) in [1, 3].into_iter().flat_map(|keys| (0..messages.len()).map(move |count| (keys, count))) {
            let (keys, mut stage, jobs) = stage_of(of_keys, &messages[count / 2..count]);
            for means in Means::choices() {
                stage.found.clear();
                stage.run_by(means, &keys);
                for (job, (key, message)) in jobs.iter().enumerate() {
                    assert_eq!(*stage.found(job as u32), pseudonym(&keys[*key], &messages[count / 2 + message]), "{means:?}");
                }
            }
        }
    }

    #[test]
    fn a_message_of_any_length_has_the_digest_of_rfc_2104() {
        use sha2::{Digest as _, Sha256};
        for length in 0..300usize {
            let message: Vec<u8> = (0..length).map(|byte| byte as u8).collect();
            let secret = [length as u8; 32];
            let pad = |byte: u8| -> Vec<u8> { (0..64).map(|place| byte ^ secret.get(place).copied().unwrap_or(0)).collect() };
            let inner = Sha256::digest([pad(0x36), message.clone()].concat());
            let whole = Sha256::digest([pad(0x5c), inner.to_vec()].concat());
            let words: Vec<u32> = whole[..16].chunks(4).map(|word| u32::from_be_bytes(word.try_into().unwrap())).collect();
            assert_eq!(pseudonym(&MacKey::new(&secret), &message), text(&words.try_into().unwrap()));
        }
    }

    #[test]
    fn a_key_is_wiped_when_it_is_dropped() {
        let mut key = MacKey::new(&[7; 32]);
        assert!(key.inner != [0; 8] && key.outer != [0; 8]);
        key.wipe();
        assert_eq!((key.inner, key.outer), ([0; 8], [0; 8]));
        assert!(std::mem::needs_drop::<MacKey>());
    }

    #[test]
    fn letters_are_those_of_rfc_4648() {
        assert_eq!(&text(&[0; 4]), b"aaaaaaaaaaaaaaaaaaaaaaaaaa");
        assert_eq!(&text(&[u32::MAX; 4]), b"77777777777777777777777774");
        assert_eq!(&text(&[0x666f_6f62, 0x6172_0000, 0, 0])[..10], b"mzxw6ytboi");
    }
}
