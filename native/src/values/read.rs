//! Readers of encoded values that the walk has held to be whole.

use super::short;

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

/// The number that a zigzag varint stands for: an int, a long or an enum's index. The value is the varint and nothing else.
#[inline]
pub fn long(value: &[u8]) -> i64 {
    match value {
        [only] => unzigzag(u64::from(*only)),
        [first, second] => unzigzag(u64::from(first & 0x7f) | u64::from(*second) << 7),
        _ if value.len() <= 8 => unzigzag(gathered(short::eight(value))),
        _ => longest(value),
    }
}

/// The seven low bits of each byte, side by side.
#[inline]
fn gathered(bytes: u64) -> u64 {
    let pairs = (bytes & 0x007f_007f_007f_007f) | (bytes & 0x7f00_7f00_7f00_7f00) >> 1;
    let fours = (pairs & 0x0000_3fff_0000_3fff) | (pairs & 0x3fff_0000_3fff_0000) >> 2;
    (fours & 0x0fff_ffff) | (fours & 0x0fff_ffff_0000_0000) >> 4
}

#[inline(never)]
fn longest(value: &[u8]) -> i64 {
    let (front, back) = value.split_at(8);
    let back = back.iter().take(2).rev().fold(0, |raw, byte| raw << 7 | u64::from(byte & 0x7f));
    unzigzag(gathered(short::eight(front)) | back << 56)
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

#[cfg(test)]
mod tests {
    use super::super::write;
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut numbers = vec![0, i64::MIN, i64::MAX];
        numbers.extend((0..63).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1i64 << bit) + 1]));
        for number in numbers.iter().flat_map(|number| [*number, !*number]) {
            let mut out = vec![7];
            write::long(&mut out, number);
            let zigzag = ((number << 1) ^ (number >> 63)) as u64;
            let (mut raw, mut plain) = (zigzag, vec![]);
            while raw > 0x7f {
                plain.push(raw as u8 | 0x80);
                raw >>= 7;
            }
            plain.push(raw as u8);
            assert_eq!(out[1..], plain);
            assert_eq!(long(&plain), number);
        }
    }

    #[test]
    fn bytes_that_are_no_value_are_read_without_a_panic() {
        for length in 0..40 {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let value = vec![byte; length];
                let _ =
                    (long(&value), payload(&value).len(), floating(&value, true), floating(&value, false), decimal(&value, false).len());
            }
        }
    }
}
