//! Zigzag varints in their shortest form: read strictly, or trusted once the walk has seen them; and written.

use crate::reject::Reject;

/// Takes the sign from the lowest bit.
#[inline(always)]
pub const fn unzigzag(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

/// Puts the sign into the lowest bit.
#[inline(always)]
pub const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// Reads a number of at most 64 bits in its shortest form, and the position behind it. Truncated where the bytes end inside it.
#[inline]
pub fn read(data: &[u8], at: usize) -> Result<(i64, usize), Reject> {
    let (mut raw, mut shift, mut at) = (0u64, 0u32, at);
    loop {
        let byte = *data.get(at).ok_or(Reject::Truncated)?;
        at += 1;
        if shift == 63 {
            // The tenth byte holds the last bit; more is no 64-bit number, and a zero is no shortest form.
            return if byte == 1 { Ok((unzigzag(raw | 1 << 63), at)) } else { Err(Reject::ValueInvalid) };
        }
        raw |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return if byte == 0 && shift > 0 { Err(Reject::ValueInvalid) } else { Ok((unzigzag(raw), at)) };
        }
        shift += 7;
    }
}

/// Reads a number that the walk has validated; anything else gives a number, and never a panic.
#[inline(always)]
pub fn trusted(data: &[u8], at: usize) -> (i64, usize) {
    match data.get(at) {
        Some(&byte) if byte < 0x80 => (unzigzag(u64::from(byte)), at + 1),
        _ => read(data, at).unwrap_or((0, at)),
    }
}

/// The count of a block of items that the walk has validated, and where its items begin.
#[inline]
pub fn block(data: &[u8], at: usize) -> (u64, usize) {
    let (count, begin) = trusted(data, at);
    let begin = if count < 0 { trusted(data, begin).1 } else { begin };
    (count.unsigned_abs(), begin)
}

/// Appends a number in its shortest form.
#[inline]
pub fn put(out: &mut Vec<u8>, number: i64) {
    let mut raw = zigzag(number);
    while raw > 0x7F {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_read_as_it_is_written_and_no_longer_form_is() {
        for number in [0, -1, 1, 63, -64, 64, 1 << 20, i64::MAX, i64::MIN, i64::MIN + 1, -(1 << 40)] {
            let mut out = Vec::new();
            put(&mut out, number);
            assert_eq!(read(&out, 0), Ok((number, out.len())));
            assert_eq!(trusted(&out, 0), (number, out.len()));
            let mut longer = out.clone();
            let last = longer.len() - 1;
            longer[last] |= 0x80;
            longer.push(0);
            assert!(read(&longer, 0).is_err());
        }
    }

    #[test]
    fn sixty_five_bits_are_no_number_and_a_cut_one_is_truncated() {
        assert_eq!(read(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02], 0), Err(Reject::ValueInvalid));
        assert_eq!(read(&[0x80; 20], 0), Err(Reject::ValueInvalid));
        assert_eq!(read(&[0x80; 9], 0), Err(Reject::Truncated));
        assert_eq!(read(&[], 0), Err(Reject::Truncated));
    }
}
