//! Text that is masked or cut, by characters (code points) of valid UTF-8.

use super::{short, write};

/// Writes `text` with `*` for every character but the kept ones; all of it where the kept parts would cover it.
#[inline]
pub fn mask(text: &[u8], keep_first: usize, keep_last: usize, out: &mut Vec<u8>) {
    match text.len() {
        ..=16 => mask_short(text, keep_first, keep_last, out),
        17..=32 => mask_medium(text, keep_first, keep_last, out),
        _ => mask_long(text, keep_first, keep_last, out),
    }
}

const STARS: u128 = u128::from_le_bytes([b'*'; 16]);
const HIGH_BITS: u128 = u128::from_le_bytes([0x80; 16]);

/// At most 16 bytes, in a register.
#[inline]
fn mask_short(text: &[u8], keep_first: usize, keep_last: usize, out: &mut Vec<u8>) {
    let bytes = short::sixteen(text);
    if bytes & HIGH_BITS != 0 {
        return mask_characters(text, keep_first, keep_last, out);
    }
    let (first, last) = kept(text.len(), keep_first, keep_last);
    let begin = out.len();
    let masked = starred(bytes, first, text.len() - last);
    out.extend_from_slice(&[(text.len() as u8) << 1, masked as u8]);
    out.extend_from_slice(&((masked >> 8) as u64).to_le_bytes());
    out.extend_from_slice(&((masked >> 72) as u64).to_le_bytes());
    out.truncate(begin + 1 + text.len());
}

/// 17 to 32 bytes: the first 16 and the last 16, which may overlap.
#[inline]
fn mask_medium(text: &[u8], keep_first: usize, keep_last: usize, out: &mut Vec<u8>) {
    let (head, tail) = (short::sixteen(text), short::sixteen(&text[text.len() - 16..]));
    if (head | tail) & HIGH_BITS != 0 {
        return mask_characters(text, keep_first, keep_last, out);
    }
    let length = text.len();
    let (first, last) = kept(length, keep_first, keep_last);
    let (shown, ahead) = (length - last, length - 16);
    let begin = out.len() + 1;
    out.push((length as u8) << 1);
    out.extend_from_slice(&starred(head, first, shown).to_le_bytes());
    out.extend_from_slice(&[0; 16]);
    let tail = starred(tail, first.saturating_sub(ahead), shown.saturating_sub(ahead));
    out[begin + ahead..begin + length].copy_from_slice(&tail.to_le_bytes());
    out.truncate(begin + length);
}

/// Stars from byte `from` to byte `to`.
#[inline]
fn starred(bytes: u128, from: usize, to: usize) -> u128 {
    let hidden = !below(from) & below(to);
    bytes & !hidden | STARS & hidden
}

/// All bits of the first `bytes` bytes.
#[inline]
fn below(bytes: usize) -> u128 {
    if bytes < 16 { (1 << (8 * bytes)) - 1 } else { u128::MAX }
}

#[inline(never)]
fn mask_long(text: &[u8], keep_first: usize, keep_last: usize, out: &mut Vec<u8>) {
    if !text.is_ascii() {
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
    if text[..ahead].is_ascii() {
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
