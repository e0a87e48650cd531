//! Four lanes on the SHA instructions of x86-64.
//!
//! One HMAC waits most of the time: each pair of rounds needs the result of the pair before. Independent messages, with keys of
//! their own, fill the gaps; four keep the unit busy.
//! The instructions work on the state as (a b e f) and (c d g h), highest word first. Source: Intel SHA Extensions, 2013.

#[cfg(target_arch = "x86_64")]
pub use x86::{pseudonyms, supported};

#[cfg(not(target_arch = "x86_64"))]
pub use super::elsewhere::{pseudonyms, supported};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi8, _mm_add_epi32, _mm_alignr_epi8, _mm_and_si128, _mm_blend_epi16, _mm_cmpgt_epi8, _mm_loadu_si128,
        _mm_mulhi_epu16, _mm_packus_epi16, _mm_set_epi8, _mm_set_epi16, _mm_set_epi32, _mm_set1_epi8, _mm_set1_epi16, _mm_setzero_si128,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32, _mm_storeu_si128,
        _mm_sub_epi8,
    };

    use crate::audited::sha::{Lane, ROUNDS, Slot};

    /// Tells whether this processor has the instructions; asked of it once, then remembered.
    #[inline]
    pub fn supported() -> bool {
        is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1") && is_x86_feature_detected!("ssse3")
    }

    /// Writes the pseudonym of each lane. Panics where the processor has not the instructions.
    #[inline]
    pub fn pseudonyms<const N: usize>(lanes: [Lane<'_>; N], found: &mut [Slot; N]) {
        assert!(supported());
        // SAFETY: the processor has every instruction that the function is compiled with, as was just asked.
        unsafe { digests(lanes, found) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn load<T: Plain>(from: &[T]) -> __m128i {
        assert!(size_of_val(from) >= 16);
        // SAFETY: the slice holds at least 16 bytes, of a type in which every byte is a plain number; any alignment will do.
        unsafe { _mm_loadu_si128(from.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn store(to: &mut [u8; 16], from: __m128i) {
        // SAFETY: the array holds 16 bytes; any alignment will do.
        unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), from) }
    }

    /// Types whose every byte is a plain number.
    trait Plain {}
    impl Plain for u8 {}
    impl Plain for u32 {}

    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn load_state(words: &[u32; 8]) -> (__m128i, __m128i) {
        let low = _mm_shuffle_epi32(load(&words[..4]), 0xb1);
        let high = _mm_shuffle_epi32(load(&words[4..]), 0x1b);
        (_mm_alignr_epi8(low, high, 8), _mm_blend_epi16(high, low, 0xf0))
    }

    /// The state as words in order: the first four, and the last four.
    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn words(abef: __m128i, cdgh: __m128i) -> (__m128i, __m128i) {
        let (low, high) = (_mm_shuffle_epi32(abef, 0x1b), _mm_shuffle_epi32(cdgh, 0xb1));
        (_mm_blend_epi16(low, high, 0xf0), _mm_alignr_epi8(high, low, 8))
    }

    /// The 64 rounds of each lane, four at a step. `$w` holds the last 16 words of each lane's message.
    macro_rules! compress {
        ($abef:ident, $cdgh:ident, $w:ident, $($step:literal)*) => { $({
            let constants = load(&ROUNDS[4 * $step..]);
            for lane in 0..N {
                if $step >= 4 {
                    let old = [$w[lane][$step % 4], $w[lane][($step + 1) % 4], $w[lane][($step + 2) % 4], $w[lane][($step + 3) % 4]];
                    let sum = _mm_add_epi32(_mm_sha256msg1_epu32(old[0], old[1]), _mm_alignr_epi8(old[3], old[2], 4));
                    $w[lane][$step % 4] = _mm_sha256msg2_epu32(sum, old[3]);
                }
                let sum = _mm_add_epi32($w[lane][$step % 4], constants);
                $cdgh[lane] = _mm_sha256rnds2_epu32($cdgh[lane], $abef[lane], sum);
                $abef[lane] = _mm_sha256rnds2_epu32($abef[lane], $cdgh[lane], _mm_shuffle_epi32(sum, 0x0e));
            }
        })* };
    }

    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn digests<const N: usize>(lanes: [Lane<'_>; N], found: &mut [Slot; N]) {
        let big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
        let zero = _mm_setzero_si128();
        let (mut abef, mut cdgh, mut w) = ([zero; N], [zero; N], [[zero; 4]; N]);
        for lane in 0..N {
            (abef[lane], cdgh[lane]) = load_state(lanes[lane].inner);
            for (place, words) in w[lane].iter_mut().enumerate() {
                *words = _mm_shuffle_epi8(load(&lanes[lane].block[16 * place..]), big_endian);
            }
        }
        compress!(abef, cdgh, w, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        // The outer message is the inner digest: 32 bytes, their end mark, and their length with the key's block, 768 bits.
        let (mark, length) = (_mm_set_epi32(0, 0, 0, i32::MIN), _mm_set_epi32(768, 0, 0, 0));
        for lane in 0..N {
            let (a, c) = load_state(lanes[lane].inner);
            let (low, high) = words(_mm_add_epi32(abef[lane], a), _mm_add_epi32(cdgh[lane], c));
            w[lane] = [low, high, mark, length];
            (abef[lane], cdgh[lane]) = load_state(lanes[lane].outer);
        }
        compress!(abef, cdgh, w, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for lane in 0..N {
            let (a, c) = load_state(lanes[lane].outer);
            let (low, _) = words(_mm_add_epi32(abef[lane], a), _mm_add_epi32(cdgh[lane], c));
            base32(_mm_shuffle_epi8(low, big_endian), &mut found[lane]);
        }
    }

    /// Writes 16 bytes as 26 letters. A letter is five bits, which lie within two neighbouring bytes: those are brought into a
    /// lane of 16 bits, and a product takes the place of a shift that differs from lane to lane.
    #[inline]
    #[target_feature(enable = "sha,sse2,ssse3,sse4.1")]
    fn base32(digest: __m128i, slot: &mut Slot) {
        let shifts = _mm_set_epi16(1 << 8, 1 << 11, 1 << 6, 1 << 9, 1 << 12, 1 << 7, 1 << 10, 1 << 5);
        let five_bits = _mm_set1_epi16(31);
        let pairs = _mm_set_epi8(4, 5, 3, 4, 3, 4, 2, 3, 1, 2, 1, 2, 0, 1, 0, 1);
        let numbers = |first: i8| {
            let windows = _mm_shuffle_epi8(digest, _mm_add_epi8(pairs, _mm_set1_epi8(first)));
            _mm_and_si128(_mm_mulhi_epu16(windows, shifts), five_bits)
        };
        let last = _mm_shuffle_epi8(digest, _mm_set_epi8(-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 15, -1, 15, -1));
        let last = _mm_and_si128(_mm_mulhi_epu16(last, shifts), five_bits);
        let letters = |numbers: __m128i| {
            let digits = _mm_and_si128(_mm_cmpgt_epi8(numbers, _mm_set1_epi8(25)), _mm_set1_epi8(73));
            _mm_sub_epi8(_mm_add_epi8(numbers, _mm_set1_epi8(97)), digits)
        };
        let (front, back) = slot.split_at_mut(16);
        if let (Ok(front), Ok(back)) = (front.try_into(), back.try_into()) {
            store(front, letters(_mm_packus_epi16(numbers(0), numbers(5))));
            store(back, letters(_mm_packus_epi16(numbers(10), last)));
        }
    }
}
