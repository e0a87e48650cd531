//! Readers of encoded values that the walk has held to be whole.

/// The bytes of a string or bytes value, behind its length.
#[inline]
pub fn payload(value: &[u8]) -> &[u8] {
    match value {
        [first, rest @ ..] if *first < 0x80 => rest,
        _ => behind_long_length(value),
    }
}

#[inline(never)]
fn behind_long_length(value: &[u8]) -> &[u8] {
    let length = value.iter().position(|byte| *byte < 0x80).map_or(value.len(), |last| last + 1);
    &value[length..]
}

/// The number that a zigzag varint stands for: an int, a long or an enum's index.
#[inline]
pub fn long(value: &[u8]) -> i64 {
    let mut raw = 0u64;
    let mut shift = 0;
    for byte in value.iter().take(10) {
        raw |= u64::from(byte & 0x7f) << shift;
        shift += 7;
    }
    unzigzag(raw)
}

#[inline]
fn unzigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

/// The number that a float stands for, as a double: exact.
#[inline]
pub fn float(value: &[u8]) -> f64 {
    f64::from(f32::from_le_bytes(value.try_into().unwrap_or_default()))
}

/// The number that a double stands for.
#[inline]
pub fn double(value: &[u8]) -> f64 {
    f64::from_le_bytes(value.try_into().unwrap_or_default())
}

/// A float or a double, as a double.
#[inline]
pub fn floating(value: &[u8], narrow: bool) -> f64 {
    if narrow { float(value) } else { double(value) }
}

/// The two's complement of a decimal on fixed, or on bytes, which have a length before it.
#[inline]
pub fn decimal(value: &[u8], fixed: bool) -> &[u8] {
    if fixed { value } else { payload(value) }
}
