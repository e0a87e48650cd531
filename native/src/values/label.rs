//! Names of intervals of one width: `[10,20)`, `[0.5,1)`. Plain decimal fractions, without exponent and without needless zeros.

use num_bigint::BigInt;

/// Powers of ten that a `u64` holds.
const SHORT_SCALE_MAX: usize = 19;

/// A width as it is shown: `units` of the digit `scale` places behind the point.
#[derive(Clone, Debug)]
pub struct Shown {
    units: BigInt,
    scale: usize,
    short: Option<Short>,
}

/// A width whose ends are short numbers, for all places but far ones.
#[derive(Clone, Copy, Debug)]
struct Short {
    units: i64,
    scale: usize,
    one: u64,
}

impl Shown {
    /// Keeps a width.
    pub fn new(units: BigInt, scale: usize) -> Shown {
        let short = i64::try_from(&units).ok().filter(|_| scale <= SHORT_SCALE_MAX);
        let short = short.map(|units| Short { units, scale, one: 10u64.pow(scale as u32) });
        Shown { units, scale, short }
    }

    /// Writes the name of the interval at `place` as an encoded string.
    pub fn write(&self, place: i64, out: &mut Vec<u8>) {
        let ends = self.short.and_then(|short| {
            let low = place.checked_mul(short.units)?;
            Some((short, low, low.checked_add(short.units)?))
        });
        match ends {
            Some((short, low, high)) => interval(out, |out| short.number(out, low), |out| short.number(out, high)),
            None => self.write_wide(&BigInt::from(place), out),
        }
    }

    /// Writes the name of an interval at any place.
    #[inline(never)]
    pub fn write_wide(&self, place: &BigInt, out: &mut Vec<u8>) {
        let low = place * &self.units;
        let high = &low + &self.units;
        interval(out, |out| self.number(out, &low), |out| self.number(out, &high));
    }

    fn number(&self, out: &mut Vec<u8>, units: &BigInt) {
        let text = units.to_string();
        let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
        let digits = format!("{digits:0>least$}", least = self.scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - self.scale);
        out.extend_from_slice(sign.as_bytes());
        out.extend_from_slice(whole.as_bytes());
        let fraction = fraction.trim_end_matches('0');
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction.as_bytes());
        }
    }
}

impl Short {
    #[inline]
    fn number(self, out: &mut Vec<u8>, units: i64) {
        if units < 0 {
            out.push(b'-');
        }
        if self.scale == 0 {
            return digits(out, units.unsigned_abs(), 1);
        }
        let (whole, mut fraction) = (units.unsigned_abs() / self.one, units.unsigned_abs() % self.one);
        digits(out, whole, 1);
        if fraction > 0 {
            let mut scale = self.scale;
            while fraction.is_multiple_of(10) {
                (fraction, scale) = (fraction / 10, scale - 1);
            }
            out.push(b'.');
            digits(out, fraction, scale);
        }
    }
}

/// Writes an interval as an encoded string; its length is known when its ends are written.
#[inline]
fn interval(out: &mut Vec<u8>, low: impl FnOnce(&mut Vec<u8>), high: impl FnOnce(&mut Vec<u8>)) {
    let before = out.len();
    out.extend_from_slice(&[0, b'[']);
    low(out);
    out.push(b',');
    high(out);
    out.push(b')');
    let length = out.len() - before - 1;
    if length < 64 {
        out[before] = (length as u8) << 1;
    } else {
        // At most some hundred characters: a length of two bytes.
        out[before] = (length << 1) as u8 | 0x80;
        out.insert(before + 1, (length >> 6) as u8);
    }
}

/// Writes a number in at least so many digits (1 to 19).
#[inline]
fn digits(out: &mut Vec<u8>, mut number: u64, least: usize) {
    let mut room = [b'0'; 20];
    let mut begin = room.len();
    while number > 0 {
        begin -= 1;
        room[begin] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&room[begin.min(room.len() - least)..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(units: i64, scale: usize, place: i64) -> String {
        let (mut short, mut wide) = (vec![], vec![]);
        let shown = Shown::new(BigInt::from(units), scale);
        shown.write(place, &mut short);
        shown.write_wide(&BigInt::from(place), &mut wide);
        assert_eq!(short, wide);
        String::from_utf8(super::super::read::payload(&short).to_vec()).unwrap()
    }

    #[test]
    fn numbers_are_plain() {
        assert_eq!(label(10, 0, 1), "[10,20)");
        assert_eq!(label(10, 0, -1), "[-10,0)");
        assert_eq!(label(5, 1, 1), "[0.5,1)");
        assert_eq!(label(5, 1, -1), "[-0.5,0)");
        assert_eq!(label(250, 2, -1), "[-2.5,0)");
        assert_eq!(label(1, 19, 3), "[0.0000000000000000003,0.0000000000000000004)");
        assert_eq!(label(1, 30, 1), format!("[0.{zeros}1,0.{zeros}2)", zeros = "0".repeat(29)));
        assert_eq!(label(i64::MAX, 3, i64::MIN).len(), "[-85070591730234615856620279821087277.056,".len() + 41);
        assert_eq!(label(3, 0, i64::MAX / 3), format!("[{},{})", i64::MAX - 1, i64::MAX as i128 + 2));
    }
}
