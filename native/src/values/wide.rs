//! Unscaled decimals: two's complement of at most 32 bytes, of any length that holds them.

use num_bigint::BigInt;

use super::write;

/// Bytes of the longest decimal that the hub carries.
pub const DECIMAL_BYTES_MAX: usize = 32;

/// An integer of 256 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wide {
    high: i128,
    low: u128,
}

impl Wide {
    /// Reads big-endian two's complement.
    #[inline]
    pub fn read(bytes: &[u8]) -> Wide {
        match short(bytes) {
            Some(number) => Wide { high: i128::from(number >> 63), low: i128::from(number) as u128 },
            None => Wide::read_long(bytes),
        }
    }

    #[inline(never)]
    fn read_long(bytes: &[u8]) -> Wide {
        let mut full = [if is_negative(bytes) { 0xff } else { 0 }; DECIMAL_BYTES_MAX];
        let length = bytes.len().min(DECIMAL_BYTES_MAX);
        full[DECIMAL_BYTES_MAX - length..].copy_from_slice(&bytes[bytes.len() - length..]);
        let (high, low) = full.split_at(16);
        Wide {
            high: i128::from_be_bytes(high.try_into().unwrap_or_default()),
            low: u128::from_be_bytes(low.try_into().unwrap_or_default()),
        }
    }

    /// Reads 64 hex digits.
    pub fn from_hex(text: &str) -> Option<Wide> {
        if text.len() != 2 * DECIMAL_BYTES_MAX || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let (high, low) = text.split_at(DECIMAL_BYTES_MAX);
        Some(Wide { high: u128::from_str_radix(high, 16).ok()? as i128, low: u128::from_str_radix(low, 16).ok()? })
    }
}

/// The quotient, rounded down; the divisor is above zero.
pub fn floor_quotient(number: &BigInt, divisor: &BigInt) -> BigInt {
    let quotient = number / divisor;
    if &quotient * divisor > *number { quotient - 1 } else { quotient }
}

/// Reads a decimal of at most eight bytes.
#[inline]
pub fn short(bytes: &[u8]) -> Option<i64> {
    match bytes.len() {
        0 => Some(0),
        length @ 1..=8 => Some((super::short::eight(bytes).swap_bytes() as i64) >> (64 - 8 * length)),
        _ => None,
    }
}

#[inline]
fn is_negative(bytes: &[u8]) -> bool {
    bytes.first().is_some_and(|byte| *byte >= 0x80)
}

/// Writes a decimal on a fixed of `size` bytes, or, of size 0, its shortest form behind its length. False: it does not fit.
pub fn write_short(out: &mut Vec<u8>, number: i64, size: usize) -> bool {
    write_bytes(out, &number.to_be_bytes(), size)
}

/// Writes a decimal of any length, as `write_short` does.
pub fn write_any(out: &mut Vec<u8>, number: &BigInt, size: usize) -> bool {
    write_bytes(out, &number.to_signed_bytes_be(), size)
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8], size: usize) -> bool {
    let sign = if is_negative(bytes) { 0xff } else { 0 };
    let needless = bytes.windows(2).take_while(|pair| pair[0] == sign && (pair[1] ^ sign) < 0x80).count();
    let shortest = &bytes[needless..];
    if size == 0 {
        if shortest.len() > DECIMAL_BYTES_MAX {
            return false;
        }
        write::text(out, shortest);
        return true;
    }
    if shortest.len() > size {
        return false;
    }
    out.resize(out.len() + size - shortest.len(), sign);
    out.extend_from_slice(shortest);
    true
}
