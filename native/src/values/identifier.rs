//! Identifiers: the one form that a pseudonym is made of. Meaning: `hub.model.pseudonym.normal_form`.
//! Sources: GB 11643 (resident id), GB 32100 (credit code).

use super::{short, unicode};

/// A longer text is no identifier; the bound stands before NFKC, whose cost is quadratic in runs of combining marks.
pub const IDENTIFIER_CHARACTERS_MAX: usize = 512;

/// What a value identifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the kinds of `hub.model.pseudonym`
pub enum IdentifierKind {
    ResidentId,
    Phone,
    Plate,
    CreditCode,
    Name,
    /// Any other kind: NFKC and trimming alone.
    Other,
}

impl IdentifierKind {
    /// The kind of that name.
    pub fn named(name: &str) -> IdentifierKind {
        match name {
            "resident-id" => IdentifierKind::ResidentId,
            "phone" => IdentifierKind::Phone,
            "plate" => IdentifierKind::Plate,
            "credit-code" => IdentifierKind::CreditCode,
            "name" => IdentifierKind::Name,
            _ => IdentifierKind::Other,
        }
    }
}

/// Memory for the forms that a text passes through, used again for each. Holds personal values: never shown.
#[derive(Default)]
pub struct Forms {
    normalised: String,
    form: Vec<u8>,
}

/// The normal form of `text`, which is UTF-8; None when it is no valid form of its kind.
#[inline]
pub fn normal_form<'a>(kind: IdentifierKind, text: &'a [u8], forms: &'a mut Forms) -> Option<&'a [u8]> {
    let is_normal = text.len() <= IDENTIFIER_CHARACTERS_MAX
        && match kind {
            IdentifierKind::ResidentId => is_resident_id(text),
            IdentifierKind::Phone => is_phone(text),
            IdentifierKind::Plate => is_plate(text),
            IdentifierKind::CreditCode => is_credit_code(text),
            IdentifierKind::Name => !text.is_empty() && text.chunks(3).all(is_chinese),
            IdentifierKind::Other => is_plain(text),
        };
    if is_normal { Some(text) } else { formed(kind, text, forms) }
}

/// The normal form of a text that may not be its own.
#[inline(never)]
fn formed<'a>(kind: IdentifierKind, text: &[u8], forms: &'a mut Forms) -> Option<&'a [u8]> {
    let text = std::str::from_utf8(text).ok()?;
    if text.len() > IDENTIFIER_CHARACTERS_MAX && text.chars().count() > IDENTIFIER_CHARACTERS_MAX {
        return None;
    }
    let Forms { normalised, form } = forms;
    let is_inert = text.chars().all(unicode::inert);
    if is_inert {
        normalised.clear();
        normalised.push_str(text);
    } else if unicode::refused(text) {
        return None;
    } else {
        unicode::normalise(text, normalised);
    }
    let trimmed = normalised.trim_matches(unicode::is_space);
    form.clear();
    let found = match kind {
        IdentifierKind::ResidentId => resident_id(trimmed, form)?,
        IdentifierKind::Phone => phone(trimmed, form)?,
        IdentifierKind::Plate => plate(trimmed, form)?,
        IdentifierKind::CreditCode => credit_code(trimmed, form)?,
        IdentifierKind::Name if is_inert => name(trimmed, form),
        IdentifierKind::Name => {
            name(trimmed, form);
            renormalise(form)
        }
        IdentifierKind::Other => trimmed.as_bytes(),
    };
    if found.is_empty() || holds_invisible(found) { None } else { Some(found) }
}

/// Tells whether a normal form holds what no eye sees: control characters and marks of layout. Joiners of some scripts are letters.
fn holds_invisible(form: &[u8]) -> bool {
    String::from_utf8_lossy(form).chars().any(unicode::is_invisible)
}

/// Tells whether a record's key is text: UTF-8 without control characters but tab, line feed and carriage return. A serializer's frame
/// before the text is none.
#[inline]
pub fn is_key_text(key: &[u8]) -> bool {
    is_shown(key) || is_text_by_character(key)
}

/// Tells whether every byte is one of ASCII from space to `~`, as of most identifiers and keys: eight bytes at a time.
#[inline]
fn is_shown(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks::<8>();
    words.iter().fold(0, |odd, word| odd | odd_bytes(u64::from_le_bytes(*word))) | odd_bytes(padded(rest)) == 0
}

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH_BITS: u64 = ONES << 7;

/// Marks, among others that follow one, bytes below space, above `~`, or not ASCII; zero where all eight are shown ASCII.
#[inline]
fn odd_bytes(word: u64) -> u64 {
    // Of bytes below 0x80 none carries into the next: 0x7f + 1 is 0x80, and a byte below 0x20 has no high bit when 0x60 is added.
    let low = word & !HIGH_BITS;
    ((low + ONES) | !(low + 0x60 * ONES) | word) & HIGH_BITS
}

/// Up to seven bytes, with letters behind them.
#[inline]
fn padded(rest: &[u8]) -> u64 {
    short::eight(rest) | (0x4141_4141_4141_4141 << (8 * rest.len()))
}

#[inline(never)]
fn is_text_by_character(key: &[u8]) -> bool {
    let is_control = |character: char| character.is_control() && !matches!(character, '\t' | '\n' | '\r');
    // Control characters are of these bytes, or begin with 0xc2.
    let may_be = |byte: &u8| *byte < b' ' || matches!(byte, 0x7f | 0xc2);
    std::str::from_utf8(key).is_ok_and(|text| !key.iter().any(may_be) || !text.contains(is_control))
}

/// Tells whether the text is ASCII that is shown, with nothing to trim.
#[inline]
fn is_plain(text: &[u8]) -> bool {
    is_shown(text) && text.first().is_some_and(u8::is_ascii_graphic) && text.last().is_some_and(u8::is_ascii_graphic)
}

/// Tells whether three bytes are a character from U+4E00 to U+9FFF.
#[inline]
fn is_chinese(bytes: &[u8]) -> bool {
    let &[first, second, third] = bytes else { return false };
    matches!(first, 0xe4..=0xe9) && (first > 0xe4 || second >= 0xb8) && second & 0xc0 == 0x80 && third & 0xc0 == 0x80
}

fn is_inner_space(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\n' | '\r' | '\u{3000}')
}

fn is_dash(character: char) -> bool {
    matches!(character, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

fn is_middle_dot(character: char) -> bool {
    matches!(character, '\u{b7}' | '\u{2022}' | '\u{2027}' | '\u{2219}' | '\u{22c5}' | '\u{2e31}' | '\u{30fb}')
}

fn is_dot(character: char) -> bool {
    character == '.' || is_middle_dot(character)
}

const RESIDENT_WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
const RESIDENT_CHECKS: &[u8; 11] = b"10X98765432";

/// 18 characters: no spaces and dashes, upper-case X; 15 digits (born in the 1900s) are widened.
fn resident_id<'a>(text: &str, form: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    for character in text.chars().filter(|character| !is_inner_space(*character) && !is_dash(*character)) {
        if form.len() == 18 || !character.is_ascii() {
            return None;
        }
        form.push(character.to_ascii_uppercase() as u8);
    }
    if form.len() == 15 && form.iter().all(u8::is_ascii_digit) {
        form.splice(6..6, *b"19");
        form.push(resident_check(form));
    }
    if is_resident_id(form) { Some(form) } else { None }
}

/// Tells whether the text is 18 characters of a resident whose check character and day of birth hold.
#[inline]
fn is_resident_id(text: &[u8]) -> bool {
    let Some((digits, [check])) = text.split_first_chunk::<17>() else { return false };
    let number = |from: usize, to: usize| digits[from..to].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'));
    digits.iter().all(u8::is_ascii_digit)
        && digits[0] > b'0'
        && *check == resident_check(digits)
        && is_day(number(6, 10), number(10, 12), number(12, 14))
}

#[inline]
fn resident_check(digits: &[u8]) -> u8 {
    let sum: u32 = RESIDENT_WEIGHTS.iter().zip(digits).map(|(weight, digit)| weight * u32::from(digit - b'0')).sum();
    RESIDENT_CHECKS[(sum % 11) as usize]
}

fn is_day(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u32::from(leap),
        _ => 0,
    };
    year > 0 && (1..=days).contains(&day)
}

/// Behind the one full stop of a text without its spaces and dashes: how many characters, and whether all are zeros.
fn tail(text: &str) -> Option<(usize, bool)> {
    let mut written = text.chars().filter(|character| !is_inner_space(*character) && !is_dash(*character));
    written.by_ref().find(|character| *character == '.')?;
    let (mut count, mut zeros) = (0, true);
    for character in written {
        if character == '.' {
            return None;
        }
        count += 1;
        zeros &= character == '0';
    }
    Some((count, zeros))
}

/// The digits, without +86 or 0086; spaces, dots, dashes and brackets may stand between them. Before a mobile number 86, 0 and 086 go
/// too; what begins like one and has not its eleven digits is none, and no decimal number is.
fn phone<'a>(text: &str, form: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    if tail(text).is_some_and(|(count, zeros)| zeros || (1..=2).contains(&count)) {
        return None;
    }
    let is_mark = |character| is_inner_space(character) || is_dot(character) || is_dash(character) || matches!(character, '(' | ')');
    for character in text.chars().filter(|character| !is_mark(*character)) {
        if !character.is_ascii() {
            return None;
        }
        form.push(character as u8);
    }
    let bare = form.as_slice();
    let bare = bare.strip_prefix(b"+86").or_else(|| bare.strip_prefix(b"0086")).or_else(|| bare.strip_prefix(b"+")).unwrap_or(bare);
    let mobile = [&b"86"[..], b"0", b"086"].into_iter().find_map(|before| bare.strip_prefix(before).filter(|rest| is_mobile(rest)));
    let found = mobile.unwrap_or(bare);
    if is_digits(found) && !is_cut_mobile(found) { Some(found) } else { None }
}

/// Tells whether the text is 5 to 15 digits that nothing is taken off.
#[inline]
fn is_phone(text: &[u8]) -> bool {
    is_digits(text) && !text.starts_with(b"0086") && !is_cut_mobile(text)
}

#[inline]
fn is_mobile(text: &[u8]) -> bool {
    text.len() == 11 && begins_mobile(text) && text.iter().all(u8::is_ascii_digit)
}

#[inline]
fn begins_mobile(text: &[u8]) -> bool {
    matches!(text, [b'1', b'3'..=b'9', ..])
}

/// Tells whether digits begin like a mobile number and are none; 86 may begin a landline without its area.
#[inline]
fn is_cut_mobile(digits: &[u8]) -> bool {
    match digits {
        [b'8', b'6', rest @ ..] => digits.len() > 8 && begins_mobile(rest),
        [b'0', b'8', b'6', rest @ ..] | [b'0', rest @ ..] => begins_mobile(rest),
        _ => digits.len() != 11 && begins_mobile(digits),
    }
}

#[inline]
fn is_digits(text: &[u8]) -> bool {
    (5..=15).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

/// 4-12 upper-case letters, digits and Chinese characters, a digit among them; no spaces, dots, dashes. No decimal number, and nothing
/// with one or two characters behind a full stop.
fn plate<'a>(text: &str, form: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    if tail(text).is_some_and(|(count, _)| (1..=2).contains(&count) || is_number(text)) {
        return None;
    }
    let is_mark = |character| is_inner_space(character) || is_dot(character) || is_dash(character);
    let (mut characters, mut digits) = (0, false);
    for character in text.chars().filter(|character| !is_mark(*character)) {
        characters += 1;
        match character {
            '0'..='9' => {
                digits = true;
                form.push(character as u8);
            }
            'A'..='Z' | 'a'..='z' => form.push(character.to_ascii_uppercase() as u8),
            '\u{4e00}'..='\u{9fff}' => form.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            // The only others whose upper case is of these.
            '\u{df}' => {
                characters += 1;
                form.extend_from_slice(b"SS");
            }
            '\u{131}' => form.push(b'I'),
            _ => return None,
        }
    }
    if digits && (4..=12).contains(&characters) { Some(form) } else { None }
}

/// Tells whether a text with one full stop reads as a decimal number.
fn is_number(text: &str) -> bool {
    let mut written = text.chars().filter(|character| !is_inner_space(*character) && !is_dash(*character));
    let exponent = written.by_ref().find(|character| *character != '.' && !character.is_ascii_digit());
    let mut digits = 0;
    let all = written.all(|character| {
        digits += 1;
        character.is_ascii_digit()
    });
    exponent.is_none_or(|letter| matches!(letter, 'e' | 'E') && all && digits > 0)
}

/// Tells whether the text is a plate as it should be.
#[inline]
fn is_plate(text: &[u8]) -> bool {
    let (mut rest, mut characters, mut digits) = (text, 0, false);
    while let [first, behind @ ..] = rest {
        rest = match first {
            b'0'..=b'9' => {
                digits = true;
                behind
            }
            b'A'..=b'Z' => behind,
            _ => match rest.split_at_checked(3) {
                Some((character, behind)) if is_chinese(character) => behind,
                _ => return false,
            },
        };
        characters += 1;
    }
    digits && (4..=12).contains(&characters)
}

/// No letter of credit codes.
const NO_LETTER: u8 = 0xff;
/// What each letter of credit codes counts for; I, O, S, V and Z are none.
static CREDIT_NUMBERS: [u8; 256] = {
    let letters = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
    let mut numbers = [NO_LETTER; 256];
    let mut place = 0;
    while place < letters.len() {
        numbers[letters[place] as usize] = place as u8;
        place += 1;
    }
    numbers
};
/// Powers of 3 modulo 31; the check character stands for itself.
const CREDIT_WEIGHTS: [u32; 18] = [1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28, 1];

/// 18 upper-case characters whose check character holds.
fn credit_code<'a>(text: &str, form: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    form.extend(text.bytes().map(|byte| byte.to_ascii_uppercase()));
    if is_credit_code(form) { Some(form) } else { None }
}

/// Tells whether the text is 18 letters and digits whose check character holds.
#[inline]
fn is_credit_code(text: &[u8]) -> bool {
    let Ok(text) = <&[u8; 18]>::try_from(text) else { return false };
    let numbers = text.map(|byte| CREDIT_NUMBERS[usize::from(byte)]);
    let sum: u32 = numbers.iter().zip(CREDIT_WEIGHTS).map(|(number, weight)| u32::from(*number) * weight).sum();
    !numbers.contains(&NO_LETTER) && sum.is_multiple_of(31)
}

/// The name without inner spaces, every kind of middle dot as `·`.
fn name<'a>(text: &str, form: &'a mut Vec<u8>) -> &'a [u8] {
    for character in text.chars().filter(|character| !is_inner_space(*character)) {
        let written = if is_middle_dot(character) { '\u{b7}' } else { character };
        form.extend_from_slice(written.encode_utf8(&mut [0; 4]).as_bytes());
    }
    form
}

/// NFKC once more: where a space went, a mark may meet its letter.
fn renormalise(form: &mut Vec<u8>) -> &[u8] {
    let mut again = String::new();
    unicode::normalise(&String::from_utf8_lossy(form), &mut again);
    *form = again.into_bytes();
    form
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_shown_where_every_byte_is() {
        for length in 0..20 {
            for place in 0..length {
                for byte in 0..=255u8 {
                    let mut text = vec![b'A'; length];
                    text[place] = byte;
                    assert_eq!(is_shown(&text), (b' '..=b'~').contains(&byte), "{text:?}");
                }
            }
        }
        assert!(is_shown(b"") && is_plain(b"A 1") && !is_plain(b"") && !is_plain(b" A") && !is_plain(b"A "));
    }

    #[test]
    fn a_key_is_text_where_every_character_is() {
        for length in 0..20 {
            for place in 0..length.max(1) {
                for byte in 0..=255u8 {
                    let mut key = vec![b'A'; length];
                    if let Some(one) = key.get_mut(place) {
                        *one = byte;
                    }
                    assert_eq!(is_key_text(&key), is_text_by_character(&key), "{key:?}");
                }
            }
        }
        assert!(is_key_text("浙A12345".as_bytes()) && is_key_text(b"\ta\r\n") && is_key_text(b""));
        assert!(
            !is_key_text(b"\0\0\0\0\x07\x16a-1") && !is_key_text("a\u{85}".as_bytes()) && !is_key_text(b"a\x7f") && !is_key_text(b"\xff")
        );
    }
}
