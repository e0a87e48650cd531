//! Text that is masked or cut, by characters (code points) of valid UTF-8.

use super::write;

/// Tells whether every byte is ASCII.
#[inline]
pub fn is_ascii(text: &[u8]) -> bool {
    text.is_ascii()
}

/// Writes `text` with `*` for every character but the kept ones; all of it where the kept parts would cover it.
#[inline]
pub fn mask(text: &[u8], keep_first: usize, keep_last: usize, out: &mut Vec<u8>) {
    if !is_ascii(text) {
        return mask_characters(text, keep_first, keep_last, out);
    }
    let length = text.len();
    let (first, last) = kept(length, keep_first, keep_last);
    write::length(out, length);
    let begin = out.len();
    out.extend_from_slice(text);
    out[begin + first..begin + length - last].fill(b'*');
}

#[inline]
fn kept(characters: usize, keep_first: usize, keep_last: usize) -> (usize, usize) {
    if characters > keep_first + keep_last { (keep_first, keep_last) } else { (0, 0) }
}

#[inline(never)]
fn mask_characters(text: &[u8], keep_first: usize, keep_last: usize, out: &mut Vec<u8>) {
    let characters = text.iter().filter(|byte| begins(**byte)).count();
    let (first, last) = kept(characters, keep_first, keep_last);
    let (head, tail) = (behind(text, first), behind(text, characters - last));
    let hidden = characters - first - last;
    write::length(out, head + hidden + text.len() - tail);
    out.extend_from_slice(&text[..head]);
    out.resize(out.len() + hidden, b'*');
    out.extend_from_slice(&text[tail..]);
}

/// Writes the first `characters` of `text`.
#[inline]
pub fn prefix(text: &[u8], characters: usize, out: &mut Vec<u8>) {
    let end = if text.len() <= characters { text.len() } else { behind(text, characters) };
    write::text(out, &text[..end]);
}

/// Where the character behind the first `characters` begins.
#[inline]
fn behind(text: &[u8], characters: usize) -> usize {
    let ahead = characters.min(text.len());
    if is_ascii(&text[..ahead]) {
        return ahead;
    }
    let mut left = characters;
    for (place, byte) in text.iter().enumerate() {
        if begins(*byte) {
            if left == 0 {
                return place;
            }
            left -= 1;
        }
    }
    text.len()
}

/// Tells whether a byte begins a character.
#[inline]
fn begins(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}
