//! What identifiers need of Unicode: NFKC that does not depend on a version, white space as Python trims it.

use unicode_normalization::UnicodeNormalization;

/// Characters without a normalisation in Unicode 14 and with one, or a part in one, in a version up to 18, and what lies close
/// between them. The list is that of `hub.model.pseudonym`, which says why.
const REFUSED: &[(char, char)] = &[
    ('\u{558}', '\u{558}'),
    ('\u{58b}', '\u{58c}'),
    ('\u{5c8}', '\u{5c9}'),
    ('\u{897}', '\u{897}'),
    ('\u{1acf}', '\u{1af0}'),
    ('\u{209d}', '\u{209f}'),
    ('\u{a7f1}', '\u{a7f1}'),
    ('\u{105c9}', '\u{105e4}'),
    ('\u{107bb}', '\u{107bf}'),
    ('\u{10d69}', '\u{10d6d}'),
    ('\u{10ecb}', '\u{10eff}'),
    ('\u{11382}', '\u{113d0}'),
    ('\u{11f41}', '\u{11f42}'),
    ('\u{1611e}', '\u{1612f}'),
    ('\u{16d63}', '\u{16d6a}'),
    ('\u{1b123}', '\u{1b126}'),
    ('\u{1ccd6}', '\u{1ccf9}'),
    ('\u{1d127}', '\u{1d128}'),
    ('\u{1d250}', '\u{1d281}'),
    ('\u{1d6a6}', '\u{1d6a6}'),
    ('\u{1df95}', '\u{1df95}'),
    ('\u{1dfcd}', '\u{1dfff}'),
    ('\u{1e030}', '\u{1e08f}'),
    ('\u{1e4ec}', '\u{1e4ef}'),
    ('\u{1e5ee}', '\u{1e5ef}'),
    ('\u{1e6e3}', '\u{1e6f5}'),
];

/// Tells whether NFKC of `text` depends on the version of Unicode.
pub fn refused(text: &str) -> bool {
    text.chars().any(|character| REFUSED.iter().any(|(first, last)| (*first..=*last).contains(&character)))
}

/// Tells whether NFKC leaves every text of such characters as it is: ASCII, the common Chinese characters, the middle dot.
pub fn inert(character: char) -> bool {
    matches!(character, '\0'..='\x7f' | '\u{b7}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}')
}

/// Writes NFKC of `text`.
pub fn normalise(text: &str, out: &mut String) {
    out.clear();
    out.extend(text.nfkc());
}

/// Tells whether Python's `str.strip` takes the character off.
pub fn is_space(character: char) -> bool {
    matches!(character, '\t'..='\r' | '\x1c'..=' ' | '\u{85}' | '\u{a0}' | '\u{1680}' | '\u{2000}'..='\u{200a}'
        | '\u{2028}' | '\u{2029}' | '\u{202f}' | '\u{205f}' | '\u{3000}')
}

/// Tells whether no eye sees the character: control characters and marks of layout, as `hub.model.pseudonym` lists them.
pub fn is_invisible(character: char) -> bool {
    matches!(character, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};
    use unicode_normalization::char::canonical_combining_class;

    use super::*;

    /// The sum of `tests/unit/model/test_pseudonym.py`, which says what it is for.
    #[test]
    fn no_version_of_unicode_changes_a_normal_form() {
        let mut known = Sha256::new();
        for character in (0..=0x10_ffff).filter_map(char::from_u32) {
            let text = character.to_string();
            if refused(&text) {
                continue;
            }
            let (composed, decomposed): (String, String) = (text.nfkc().collect(), text.nfkd().collect());
            let (class, space) = (canonical_combining_class(character), is_space(character));
            if composed != text || decomposed != text || class != 0 || space {
                known.update(format!("{text} {composed} {decomposed} {class} {}\n", u8::from(space)));
            }
            assert!(!inert(character) || (composed == text && class == 0));
        }
        let sum: String = known.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(sum, "973a6e70d69aca9473f0fd2eff0c790de392416762ab5cb90f2d5e1745ada30d");
    }
}
