//! Writers of encoded values, in the one form that the hub writes.

/// Writes a zigzag varint in its shortest form.
#[inline]
pub fn long(out: &mut Vec<u8>, number: i64) {
    let raw = ((number << 1) ^ (number >> 63)) as u64;
    if raw < 0x80 {
        return out.push(raw as u8);
    }
    if raw >= 1 << 56 {
        return longest(out, raw);
    }
    // Seven bits to a byte, and the mark on every byte but the last.
    let halves = (raw & 0x0fff_ffff) | (raw & 0x00ff_ffff_f000_0000) << 4;
    let quarters = (halves & 0x0000_3fff_0000_3fff) | (halves & 0x0fff_c000_0fff_c000) << 2;
    let spread = (quarters & 0x007f_007f_007f_007f) | (quarters & 0x3f80_3f80_3f80_3f80) << 1;
    let last = (63 - raw.leading_zeros()) / 7;
    let marks = 0x8080_8080_8080_8080 & ((1 << (8 * last)) - 1);
    let begin = out.len();
    out.extend_from_slice(&(spread | marks).to_le_bytes());
    out.truncate(begin + last as usize + 1);
}

#[inline(never)]
fn longest(out: &mut Vec<u8>, mut raw: u64) {
    while raw > 0x7f {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// Writes what stands before `length` bytes of text.
#[inline]
pub fn length(out: &mut Vec<u8>, length: usize) {
    if length < 64 {
        out.push((length as u8) << 1);
    } else {
        long(out, length as i64);
    }
}

/// Writes text, or bytes, behind its length.
#[inline]
pub fn text(out: &mut Vec<u8>, text: &[u8]) {
    length(out, text.len());
    out.extend_from_slice(text);
}
