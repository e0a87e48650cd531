//! Names of intervals of one width: `[10,20)`, `[0.5,1)`. Plain decimal fractions, without exponent and without needless zeros.

use std::io::Write;

use num_bigint::BigInt;

/// A width as it is shown: `units` of the digit `scale` places behind the point.
#[derive(Clone, Debug)]
pub struct Shown {
    units: BigInt,
    short: Option<i64>,
    scale: usize,
}

impl Shown {
    /// Keeps a width.
    pub fn new(units: BigInt, scale: usize) -> Shown {
        let short = i64::try_from(&units).ok();
        Shown { units, short, scale }
    }

    /// Writes the name of the interval at `place` as an encoded string.
    pub fn write(&self, place: i64, out: &mut Vec<u8>) {
        match self.short {
            Some(units) => {
                let low = i128::from(place) * i128::from(units);
                self.interval(out, &[low, low + i128::from(units)]);
            }
            None => self.write_wide(&BigInt::from(place), out),
        }
    }

    /// Writes the name of an interval at any place.
    pub fn write_wide(&self, place: &BigInt, out: &mut Vec<u8>) {
        let low = place * &self.units;
        let high = &low + &self.units;
        self.interval(out, &[low, high]);
    }

    fn interval<T: std::fmt::Display>(&self, out: &mut Vec<u8>, ends: &[T; 2]) {
        let before = out.len();
        out.extend_from_slice(&[0, b'[']);
        self.number(out, &ends[0]);
        out.push(b',');
        self.number(out, &ends[1]);
        out.push(b')');
        let length = out.len() - before - 1;
        if length < 64 {
            out[before] = (length as u8) << 1;
        } else {
            // At most some hundred characters: a length of two bytes.
            let raw = length << 1;
            out[before] = raw as u8 | 0x80;
            out.insert(before + 1, (raw >> 7) as u8);
        }
    }

    /// Writes units as a decimal fraction.
    fn number<T: std::fmt::Display>(&self, out: &mut Vec<u8>, units: &T) {
        let begin = out.len();
        // A Vec takes every byte.
        let _ = write!(out, "{units}");
        if self.scale == 0 {
            return;
        }
        let digits_begin = begin + usize::from(out.get(begin) == Some(&b'-'));
        let digits = out.len() - digits_begin;
        if digits <= self.scale {
            let zeros = self.scale + 1 - digits;
            out.splice(digits_begin..digits_begin, std::iter::repeat_n(b'0', zeros));
        }
        let point = out.len() - self.scale;
        let fraction = out[point..].iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
        out.truncate(point + fraction);
        if fraction > 0 {
            out.insert(point, b'.');
        }
    }
}
