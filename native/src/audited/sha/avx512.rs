//! Sixteen lanes in vectors of AVX-512.
//!
//! A vector holds the same word of every lane, so that the rounds are written as FIPS 180-4 has them. Blocks and states come lane
//! by lane and are transposed on the way in, digests on the way out.

/// Messages that are worked out at once.
pub const LANES: usize = 16;

#[cfg(target_arch = "x86_64")]
pub use x86::{pseudonyms, supported};

#[cfg(not(target_arch = "x86_64"))]
pub use super::elsewhere::{pseudonyms, supported};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, __m256i, __m512i, _mm_loadu_si128, _mm_storeu_si128, _mm256_loadu_si256, _mm512_add_epi8, _mm512_add_epi32,
        _mm512_and_si512, _mm512_broadcast_i32x4, _mm512_castsi256_si512, _mm512_cmpgt_epi8_mask, _mm512_extracti32x4_epi32,
        _mm512_inserti64x4, _mm512_loadu_si512, _mm512_mask_sub_epi8, _mm512_mulhi_epu16, _mm512_packus_epi16, _mm512_ror_epi32,
        _mm512_set1_epi8, _mm512_set1_epi16, _mm512_set1_epi32, _mm512_shuffle_epi8, _mm512_shuffle_i32x4, _mm512_srli_epi32,
        _mm512_ternarylogic_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
    };

    use super::LANES;
    use crate::audited::sha::{Lane, ROUNDS, Slot};

    /// Tells whether this processor has the instructions; asked of it once, then remembered.
    #[inline]
    pub fn supported() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
    }

    /// Writes the pseudonym of each lane. Panics where the processor has not the instructions.
    #[inline]
    pub fn pseudonyms(lanes: [Lane<'_>; LANES], found: &mut [Slot; LANES]) {
        assert!(supported());
        // SAFETY: the processor has every instruction that the function is compiled with, as was just asked.
        unsafe { digests(&lanes, found) }
    }

    /// Truth tables of three bits: a choice by the first, the majority, and the sum.
    const CHOICE: i32 = 0xca;
    const MAJORITY: i32 = 0xe8;
    const SUM: i32 = 0x96;

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn load_block(from: &[u8; 64]) -> __m512i {
        // SAFETY: the array holds 64 bytes; any alignment will do.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn load_state(from: &[u32; 8]) -> __m256i {
        // SAFETY: the array holds 32 bytes; any alignment will do.
        unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
    }

    /// The same 16 bytes in every quarter.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn quarters(of: &[u8; 16]) -> __m512i {
        // SAFETY: the array holds 16 bytes; any alignment will do.
        _mm512_broadcast_i32x4(unsafe { _mm_loadu_si128(of.as_ptr().cast()) })
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn store(to: &mut [u8; 16], from: __m128i) {
        // SAFETY: the array holds 16 bytes; any alignment will do.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), from) }
    }

    /// Within each quarter, the words of four rows by column.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn columns(rows: [__m512i; 4]) -> [__m512i; 4] {
        let (low, high) = (_mm512_unpacklo_epi32(rows[0], rows[1]), _mm512_unpackhi_epi32(rows[0], rows[1]));
        let (low_next, high_next) = (_mm512_unpacklo_epi32(rows[2], rows[3]), _mm512_unpackhi_epi32(rows[2], rows[3]));
        [
            _mm512_unpacklo_epi64(low, low_next),
            _mm512_unpackhi_epi64(low, low_next),
            _mm512_unpacklo_epi64(high, high_next),
            _mm512_unpackhi_epi64(high, high_next),
        ]
    }

    /// The even quarters of both vectors; and the odd ones.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn even_and_odd(first: __m512i, second: __m512i) -> (__m512i, __m512i) {
        (_mm512_shuffle_i32x4::<0x88>(first, second), _mm512_shuffle_i32x4::<0xdd>(first, second))
    }

    /// The words of all blocks.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn messages(lanes: &[Lane<'_>; LANES]) -> [__m512i; 16] {
        let big_endian = quarters(&[3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12]);
        let row = |lane: usize| _mm512_shuffle_epi8(load_block(lanes[lane].block), big_endian);
        let group = |first: usize| columns([row(first), row(first + 1), row(first + 2), row(first + 3)]);
        let groups = [group(0), group(4), group(8), group(12)];
        let mut words = [_mm512_set1_epi32(0); 16];
        for column in 0..4 {
            let (even, odd) = even_and_odd(groups[0][column], groups[1][column]);
            let (even_next, odd_next) = even_and_odd(groups[2][column], groups[3][column]);
            (words[column], words[8 + column]) = even_and_odd(even, even_next);
            (words[4 + column], words[12 + column]) = even_and_odd(odd, odd_next);
        }
        words
    }

    /// The words of sixteen states.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn states(of: [&[u32; 8]; LANES]) -> [__m512i; 8] {
        let row = |lane: usize| _mm512_inserti64x4::<1>(_mm512_castsi256_si512(load_state(of[lane])), load_state(of[lane + 4]));
        let group = |first: usize| columns([row(first), row(first + 1), row(first + 2), row(first + 3)]);
        let (first, second) = (group(0), group(8));
        let mut words = [_mm512_set1_epi32(0); 8];
        for column in 0..4 {
            (words[column], words[4 + column]) = even_and_odd(first[column], second[column]);
        }
        words
    }

    /// The 64 rounds of all lanes; the state after them, the state before added.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn compress(before: [__m512i; 8], mut words: [__m512i; 16]) -> [__m512i; 8] {
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = before;
        macro_rules! sum {
            ($first:expr, $second:expr, $third:expr) => {
                _mm512_ternarylogic_epi32::<SUM>($first, $second, $third)
            };
        }
        macro_rules! rounds {
            ($from:expr, $follows:literal, $($number:literal)*) => { $({
                if $follows {
                    let (old, last) = (words[($number + 1) % 16], words[($number + 14) % 16]);
                    let old = sum!(_mm512_ror_epi32::<7>(old), _mm512_ror_epi32::<18>(old), _mm512_srli_epi32::<3>(old));
                    let last = sum!(_mm512_ror_epi32::<17>(last), _mm512_ror_epi32::<19>(last), _mm512_srli_epi32::<10>(last));
                    let kept = _mm512_add_epi32(words[$number], words[($number + 9) % 16]);
                    words[$number] = _mm512_add_epi32(_mm512_add_epi32(old, last), kept);
                }
                let constant = _mm512_set1_epi32(ROUNDS[$from + $number] as i32);
                let given = _mm512_add_epi32(h, _mm512_add_epi32(words[$number], constant));
                let chosen = _mm512_ternarylogic_epi32::<CHOICE>(e, f, g);
                let turned = sum!(_mm512_ror_epi32::<6>(e), _mm512_ror_epi32::<11>(e), _mm512_ror_epi32::<25>(e));
                // What comes late is added last: rounds take as long as the way from one e to the next.
                let next = _mm512_add_epi32(turned, _mm512_add_epi32(chosen, _mm512_add_epi32(d, given)));
                let first = _mm512_add_epi32(turned, _mm512_add_epi32(chosen, given));
                let turned = sum!(_mm512_ror_epi32::<2>(a), _mm512_ror_epi32::<13>(a), _mm512_ror_epi32::<22>(a));
                let second = _mm512_add_epi32(first, _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c));
                (h, g, f, e) = (g, f, e, next);
                (d, c, b, a) = (c, b, a, _mm512_add_epi32(turned, second));
            })* };
        }
        rounds!(0, false, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        // A loop, not one long piece: there the compiler works out all words before all rounds, and neither fills the other's gaps.
        for from in [16, 32, 48] {
            rounds!(from, true, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        }
        let mut after = [a, b, c, d, e, f, g, h];
        for (word, before) in after.iter_mut().zip(before) {
            *word = _mm512_add_epi32(*word, before);
        }
        after
    }

    #[target_feature(enable = "avx512f,avx512bw")]
    fn digests(lanes: &[Lane<'_>; LANES], found: &mut [Slot; LANES]) {
        let inner = compress(states(lanes.map(|lane| lane.inner)), messages(lanes));
        // The outer message is the inner digest: 32 bytes, their end mark, and their length with the key's block, 768 bits.
        let (zero, mark, length) = (_mm512_set1_epi32(0), _mm512_set1_epi32(i32::MIN), _mm512_set1_epi32(768));
        let [a, b, c, d, e, f, g, h] = inner;
        let outer =
            compress(states(lanes.map(|lane| lane.outer)), [a, b, c, d, e, f, g, h, mark, zero, zero, zero, zero, zero, zero, length]);
        let big_endian = quarters(&[3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12]);
        for (place, digests) in columns([outer[0], outer[1], outer[2], outer[3]]).into_iter().enumerate() {
            let (front, back) = base32(_mm512_shuffle_epi8(digests, big_endian));
            write::<0>(front, back, &mut found[place]);
            write::<1>(front, back, &mut found[4 + place]);
            write::<2>(front, back, &mut found[8 + place]);
            write::<3>(front, back, &mut found[12 + place]);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn write<const QUARTER: i32>(front: __m512i, back: __m512i, slot: &mut Slot) {
        if let ([first, second], []) = slot.as_chunks_mut::<16>() {
            store(first, _mm512_extracti32x4_epi32::<QUARTER>(front));
            store(second, _mm512_extracti32x4_epi32::<QUARTER>(back));
        }
    }

    /// Each quarter's 16 bytes as 26 letters: the first 16, and the others. A letter is five bits, which lie within two neighbouring
    /// bytes: those are brought into a lane of 16 bits, and a product takes the place of a shift that differs from lane to lane.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn base32(digests: __m512i) -> (__m512i, __m512i) {
        // By lane of 16 bits, low byte first: 1 << 5, 1 << 10, 1 << 7, 1 << 12, 1 << 9, 1 << 6, 1 << 11, 1 << 8.
        let shifts = quarters(&[32, 0, 0, 4, 128, 0, 0, 16, 0, 2, 64, 0, 0, 8, 0, 1]);
        let five_bits = _mm512_set1_epi16(31);
        let pairs = quarters(&[1, 0, 1, 0, 2, 1, 2, 1, 3, 2, 4, 3, 4, 3, 5, 4]);
        let ends = quarters(&[0x80, 15, 0x80, 15, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80]);
        let numbers = |places: __m512i| {
            let windows = _mm512_shuffle_epi8(digests, places);
            _mm512_and_si512(_mm512_mulhi_epu16(windows, shifts), five_bits)
        };
        let from = |first: i8| numbers(_mm512_add_epi8(pairs, _mm512_set1_epi8(first)));
        let letters = |numbers: __m512i| {
            let letters = _mm512_add_epi8(numbers, _mm512_set1_epi8(97));
            let digits = _mm512_cmpgt_epi8_mask(numbers, _mm512_set1_epi8(25));
            _mm512_mask_sub_epi8(letters, digits, letters, _mm512_set1_epi8(73))
        };
        (letters(_mm512_packus_epi16(from(0), from(5))), letters(_mm512_packus_epi16(from(10), numbers(ends))))
    }
}
