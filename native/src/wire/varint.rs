//! Zig-zag varints of record frames: what Kafka's own reader takes, so at most five bytes for 32 bits and ten for 64.

/// Reads a 32-bit varint at `*at` and moves behind it; None where the bytes end or are more than 32 bits.
#[inline(always)]
pub fn read_int(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let first = *bytes.get(*at)?;
    *at += 1;
    if first < 0x80 {
        return Some(unzigzag(u32::from(first)));
    }
    read_long_form(bytes, at, first)
}

#[inline]
fn read_long_form(bytes: &[u8], at: &mut usize, first: u8) -> Option<i32> {
    let mut value = u32::from(first & 0x7f);
    for shift in [7, 14, 21] {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u32::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(unzigzag(value));
        }
    }
    let last = *bytes.get(*at)?;
    *at += 1;
    (last < 0x10).then(|| unzigzag(value | u32::from(last) << 28))
}

/// Moves behind a 64-bit varint; None where the bytes end or are more than 64 bits.
#[inline(always)]
pub fn skip_long(bytes: &[u8], at: &mut usize) -> Option<()> {
    for _ in 0..9 {
        let byte = *bytes.get(*at)?;
        *at += 1;
        if byte < 0x80 {
            return Some(());
        }
    }
    let last = *bytes.get(*at)?;
    *at += 1;
    (last < 0x02).then_some(())
}

/// Bytes of `value` as a varint.
#[inline(always)]
pub const fn int_len(value: u32) -> usize {
    let bits = 32 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// Below this a number has three bytes at most.
pub const SMALL: u32 = 1 << 20;

/// A number below [`SMALL`] as the low bytes of a word, and how many they are.
#[inline(always)]
pub const fn small_int(value: u32) -> (u64, usize) {
    let raw = zigzag(value) as u64;
    if raw < 0x80 {
        (raw, 1)
    } else if raw < 0x4000 {
        (raw & 0x7f | 0x80 | raw >> 7 << 8, 2)
    } else {
        (raw & 0x7f | 0x80 | (raw >> 7 & 0x7f | 0x80) << 8 | raw >> 14 << 16, 3)
    }
}

/// Writes `value`, which is below 2^31, at the beginning of `out` and returns its length. `out` holds five bytes at least.
#[inline(always)]
pub fn write_int(out: &mut [u8], value: u32) -> usize {
    let mut rest = zigzag(value);
    let mut at = 0;
    while rest >= 0x80 {
        out[at] = rest as u8 | 0x80;
        rest >>= 7;
        at += 1;
    }
    out[at] = rest as u8;
    at + 1
}

const fn zigzag(value: u32) -> u32 {
    value << 1
}

#[inline(always)]
const fn unzigzag(value: u32) -> i32 {
    (value >> 1) as i32 ^ -((value & 1) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_has_the_length_that_was_said() {
        for value in [0, 1, 63, 64, 8191, 8192, SMALL - 1, SMALL, (1 << 27) - 1, 1 << 27, i32::MAX as u32] {
            let mut out = [0xff; 8];
            let written = write_int(&mut out, value);
            let mut at = 0;
            assert_eq!(read_int(&out, &mut at), Some(value as i32));
            assert_eq!((at, int_len(value)), (written, written));
            if value < SMALL {
                let (word, bytes) = small_int(value);
                assert_eq!((&word.to_le_bytes()[..bytes], bytes), (&out[..written], written));
            }
        }
    }

    #[test]
    fn over_long_forms_are_taken_and_more_than_32_bits_are_not() {
        let read = |bytes: &[u8]| read_int(bytes, &mut 0);
        assert_eq!(read(&[0x82, 0x80, 0x00]), Some(1));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x0f]), Some(i32::MIN));
        assert_eq!(read(&[0xff, 0xff, 0xff, 0xff, 0x1f]), None);
        assert_eq!(read(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), None);
        assert_eq!(read(&[0x80, 0x80]), None);
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn a_long_has_ten_bytes_at_most_and_64_bits() {
        let skip = |bytes: &[u8]| {
            let mut at = 0;
            skip_long(bytes, &mut at).map(|()| at)
        };
        assert_eq!(skip(&[0x00, 0x01]), Some(1));
        assert_eq!(skip(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]), Some(10));
        assert_eq!(skip(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x02]), None);
        assert_eq!(skip(&[0x80; 11]), None);
        assert_eq!(skip(&[0x80]), None);
    }
}
