//! Changing inputs: bytes, numbers, pieces of themselves, pieces of others.

/// A quick generator of noise (xorshift64*).
pub struct Noise(u64);

impl Noise {
    /// Begins where the clock stands: every run is another.
    pub fn of_clock() -> Noise {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Noise(now.as_nanos() as u64 | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    /// A length of at least one, more often a short one, of at most 2^`bits`.
    fn length(&mut self, bits: usize) -> usize {
        let most = 1 << self.below(bits);
        1 + self.below(most)
    }

    /// A number below `bound`, or 0.
    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { (self.next() % bound as u64) as usize }
    }
}

/// Bytes at the edges of what they stand for: varints, lengths, counts, tokens.
const EDGES: [u8; 16] = [0x00, 0x01, 0x02, 0x03, 0x0f, 0x10, 0x1f, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0x81, 0xf0, 0xfe, 0xff];
/// Beginnings and parts of what the kernel reads.
const WORDS: [&[u8]; 14] = [
    b"\x1f\x8b\x08\x00",
    b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01",
    b"\x04\x22\x4d\x18\x60\x40\x82",
    b"\x04\x22\x4d\x18\x40\x40\xc0",
    b"\x28\xb5\x2f\xfd",
    b"\x00\x00\x00\x00\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xfe\xff\xff\xff\x0f",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\xe6\x9d\xad",
    b"\x00\x00\x00\x00\x00\x00\xf8\x7f",
];

/// Makes inputs out of inputs.
pub struct Mutator {
    noise: Noise,
}

impl Mutator {
    /// A mutator that draws from `noise`.
    pub fn new(noise: Noise) -> Mutator {
        Mutator { noise }
    }

    /// One of `inputs`, changed; at most `bytes_max` long. Later inputs, which reached more, are taken more often.
    pub fn next(&mut self, inputs: &[Vec<u8>], bytes_max: usize) -> Vec<u8> {
        let one = self.noise.below(inputs.len()).max(self.noise.below(inputs.len()));
        let mut out = inputs[one].clone();
        let most = self.noise.below(5) + 1;
        for _ in 0..1 << self.noise.below(most) {
            self.change(&mut out, inputs);
        }
        out.truncate(bytes_max);
        out
    }

    fn change(&mut self, out: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        let at = self.noise.below(out.len());
        match self.noise.below(12) {
            0 | 1 if !out.is_empty() => out[at] = self.noise.next() as u8,
            2 | 3 if !out.is_empty() => out[at] = EDGES[self.noise.below(EDGES.len())],
            4 if !out.is_empty() => out[at] ^= 1 << self.noise.below(8),
            5 if !out.is_empty() => out[at] = out[at].wrapping_add(self.noise.below(9) as u8).wrapping_sub(4),
            6 => {
                let word = WORDS[self.noise.below(WORDS.len())];
                let end = if self.noise.below(2) == 0 { at } else { (at + word.len()).min(out.len()) };
                out.splice(at..end, word.iter().copied());
            }
            7 => {
                let end = (at + self.noise.length(8)).min(out.len());
                out.drain(at..end);
            }
            8 => {
                let byte = EDGES[self.noise.below(EDGES.len())];
                let count = self.noise.length(10);
                out.splice(at..at, std::iter::repeat_n(byte, count));
            }
            9 => {
                let end = (at + self.noise.length(10)).min(out.len());
                let piece = out[at..end].to_vec();
                let to = self.noise.below(out.len());
                out.splice(to..to, piece);
            }
            10 => {
                let other = &inputs[self.noise.below(inputs.len())];
                let from = self.noise.below(other.len());
                let end = (from + self.noise.length(10)).min(other.len());
                let until = (at + end - from).min(out.len());
                out.splice(at..until, other[from..end].iter().copied());
            }
            _ => {
                let keep = self.noise.below(out.len() + 1);
                if self.noise.below(8) == 0 {
                    out.truncate(keep);
                }
            }
        }
    }
}
