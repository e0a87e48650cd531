//! UTF-8 of texts that are not ASCII, without a branch on what they hold.
//!
//! Names in most of the world's languages are short and not ASCII, and a decoder that goes character by character foretells each
//! of them wrongly. This one is a table: each byte has a word that holds, for every state, the state behind the byte, as the place
//! in the next word where that state's answer stands. One load and one shift per byte, and only the shift waits for the byte
//! before. States and bytes as in The Unicode Standard 16, table 3-7.

/// States, as places of six bits in a word.
const GOOD: u64 = 0;
const BAD: u64 = 6;
/// So many continuation bytes are missing.
const ONE: u64 = 12;
const TWO: u64 = 18;
const THREE: u64 = 24;
/// Behind E0, ED, F0 and F4, whose next byte is bounded: no overlong forms, no surrogates, nothing above U+10FFFF.
const E0: u64 = 30;
const ED: u64 = 36;
const F0: u64 = 42;
const F4: u64 = 48;

static NEXT: [u64; 256] = {
    let mut words = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        words[byte] = BAD << BAD | lead(byte as u8) << GOOD | behind(byte as u8);
        byte += 1;
    }
    words
};

/// The state behind the first byte of a character.
const fn lead(byte: u8) -> u64 {
    match byte {
        0x00..=0x7F => GOOD,
        0xC2..=0xDF => ONE,
        0xE0 => E0,
        0xED => ED,
        0xE1..=0xEF => TWO,
        0xF0 => F0,
        0xF4 => F4,
        0xF1..=0xF3 => THREE,
        _ => BAD,
    }
}

/// The states behind a byte that continues a character, by the state before it.
const fn behind(byte: u8) -> u64 {
    const fn then(holds: bool, state: u64) -> u64 {
        if holds { state } else { BAD }
    }

    let continues = byte >= 0x80 && byte <= 0xBF;
    then(continues, GOOD) << ONE
        | then(continues, ONE) << TWO
        | then(continues, TWO) << THREE
        | then(continues && byte >= 0xA0, ONE) << E0
        | then(continues && byte < 0xA0, ONE) << ED
        | then(continues && byte >= 0x90, TWO) << F0
        | then(continues && byte < 0x90, TWO) << F4
}

/// Tells whether bytes are UTF-8.
#[inline]
pub fn is_utf8(text: &[u8]) -> bool {
    let state = text.iter().fold(GOOD, |state, byte| NEXT[*byte as usize] >> (state & 63));
    state & 63 == GOOD
}

#[cfg(test)]
mod tests {
    use super::is_utf8 as holds;

    #[test]
    fn every_pair_and_every_character_is_judged_as_the_standard_library_does() {
        for first in 0..=255u8 {
            assert_eq!(holds(&[first]), std::str::from_utf8(&[first]).is_ok());
            for second in 0..=255u8 {
                assert_eq!(holds(&[first, second]), std::str::from_utf8(&[first, second]).is_ok(), "{first:x} {second:x}");
                for text in [[b'a', first, second, 0x80], [first, second, 0x80, 0xBF], [first, second, 0xBF, b'z']] {
                    assert_eq!(holds(&text), std::str::from_utf8(&text).is_ok(), "{text:x?}");
                }
            }
        }
        for character in (0..=0x10_FFFFu32).step_by(7).filter_map(char::from_u32) {
            assert!(holds(character.to_string().as_bytes()), "{character:?}");
        }
    }

    #[test]
    fn cut_and_mixed_texts_of_every_length_are_judged_likewise() {
        let text = "Ab浙A12345é\u{1F600}\u{10FFFF}ÿ上虞区zz\u{7FF}\u{800}\u{FFFF}".as_bytes();
        let mut seed = 1u64;
        for begin in 0..text.len() {
            for end in begin..text.len() {
                let mut part = text[begin..end].to_vec();
                assert_eq!(holds(&part), std::str::from_utf8(&part).is_ok());
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                if let Some(byte) = part.get_mut((seed >> 33) as usize % (end - begin + 1)) {
                    *byte = (seed >> 56) as u8;
                }
                assert_eq!(holds(&part), std::str::from_utf8(&part).is_ok());
            }
        }
    }
}
