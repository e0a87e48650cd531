//! What identifiers need of Unicode: NFKC that does not depend on a version, white space as Python trims it.

use unicode_normalization::UnicodeNormalization;

/// Characters first assigned after Unicode 14 that a later version gave a normalisation; `hub.model.pseudonym` has the same list.
const REFUSED: &[(char, char)] = &[];

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
