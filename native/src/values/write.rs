//! Writers of encoded values, in the one form that the hub writes.

/// Writes a zigzag varint in its shortest form.
#[inline]
pub fn long(out: &mut Vec<u8>, number: i64) {
    let mut raw = ((number << 1) ^ (number >> 63)) as u64;
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
