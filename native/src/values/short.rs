//! Short byte strings in registers: two reads that overlap in place of a copy of a length that the compiler does not know.

/// Up to 8 bytes as a little-endian number, zeros behind them. Of a longer slice: nothing meant.
#[inline]
pub fn eight(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    match bytes {
        [] => 0,
        [only] => u64::from(*only),
        [_, ..] if length >= 8 => whole(bytes, 0),
        [_, ..] if length >= 4 => half(bytes, 0) | half(bytes, length - 4) << (8 * (length - 4)),
        [first, .., last] => {
            u64::from(*first) | u64::from(bytes[length / 2]) << (8 * (length / 2)) | u64::from(*last) << (8 * (length - 1))
        }
    }
}

/// Up to 16 bytes, as `eight` does.
#[inline]
pub fn sixteen(bytes: &[u8]) -> u128 {
    let length = bytes.len();
    match length {
        16.. => u128::from_le_bytes(bytes[..16].try_into().unwrap_or_default()),
        9..16 => u128::from(whole(bytes, 0)) | u128::from(whole(bytes, length - 8)) << (8 * (length - 8)),
        _ => u128::from(eight(bytes)),
    }
}

#[inline]
fn whole(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or_default())
}

#[inline]
fn half(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_strings_are_read_as_they_stand() {
        let bytes: Vec<u8> = (1..=40).collect();
        for length in 0..=16 {
            let mut full = [0; 16];
            full[..length].copy_from_slice(&bytes[..length]);
            assert_eq!(sixteen(&bytes[..length]), u128::from_le_bytes(full));
            if length <= 8 {
                assert_eq!(u128::from(eight(&bytes[..length])), u128::from_le_bytes(full));
            }
        }
        assert_eq!(sixteen(&bytes), sixteen(&bytes[..16]));
    }
}
