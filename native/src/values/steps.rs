//! Floating numbers cut by decimal steps: 36.3 is 363 tenths, whatever bits stand for it. Meaning:
//! `hub.exchange.reference.decimals`.
//!
//! A number is the shortest decimal that reads back as it (of two the nearer, of two as near the one with an even last digit). Mostly no
//! digits are needed: rounding keeps order, so that n units of 10^-s lie below that decimal where the quotient n / 10^s, which the
//! processor rounds correctly, lies below the number; and where the two are equal, the decimal *is* n units as long as n has few digits,
//! since no two decimals of 15 digits (6 in a float) are the same number. Whatever lies beyond is reckoned with its digits.

use std::io::Write as _;

use num_bigint::BigInt;

use super::divisor::Divisor;
use super::wide::floor_quotient;

/// Numbers below are told apart by their decimals of one scale: 15 digits for a double, 6 for a float.
const TOLD_APART: [f64; 2] = [1e15, 1e6];
/// Powers of ten that a double, or a float, holds exactly.
const SCALE_MAX: [usize; 2] = [22, 10];
/// Whole numbers that a double, or a float, holds exactly.
const WHOLE_MAX: [u64; 2] = [1 << 53, 1 << 24];
/// Powers of ten that 17 digits in 128 bits have room for.
const SHORT_SHIFT_MAX: i32 = 20;
/// Twice 2^53: a quotient of doubles above it is of more than 2^53 steps.
const FAR_STEPS: f64 = 18_014_398_509_481_984.0;
/// From here on a decimal of 17 digits lies within one unit of zero.
const FAR: i32 = 18;

/// A step above zero: `units` of the digit `scale` places behind the point.
#[derive(Clone, Debug)]
pub struct Step {
    units: BigInt,
    scale: usize,
    /// The units, where they are short.
    short: Option<Divisor>,
    /// From this power of ten on, every decimal is whole steps; none where a step has other factors than two and five.
    whole_from: Option<i32>,
    /// The step, nearly.
    size: f64,
    quick: Quick,
}

/// 10^scale in a double, and in a float; exact up to `SCALE_MAX`.
#[derive(Clone, Copy, Debug)]
struct Quick {
    one: f64,
    one_narrow: f32,
}

/// A whole number of steps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// That many.
    Short(i64),
    /// That many.
    Wide(BigInt),
}

impl Step {
    /// Keeps a step, which is above zero.
    pub fn new(units: BigInt, scale: usize) -> Step {
        let one: f64 = format!("1e{scale}").parse().unwrap_or(f64::INFINITY);
        let short = i64::try_from(&units).ok().and_then(Divisor::new);
        let size = format!("{units}e-{scale}").parse().unwrap_or(f64::INFINITY);
        let whole_from = power_of_ten(&units);
        Step { units, scale, short, whole_from, size, quick: Quick { one, one_narrow: one as f32 } }
    }

    /// Tells whether a finite number lies further than 2^53 steps from zero, for certain: then no place of it need be reckoned.
    #[inline]
    pub fn is_far(&self, number: f64) -> bool {
        (number / self.size).abs() > FAR_STEPS
    }

    /// The number nearest to the most whole steps below a finite number; infinite beyond the largest. A float is exact in the double.
    #[inline]
    pub fn cut(&self, number: f64, narrow: bool) -> f64 {
        match self.quick(narrow).and_then(|units| Some(units.quotient(self.quick.units_below(number, narrow)?))) {
            Some(place) => self.begin(&Place::Short(place), narrow),
            None => self.cut_by_digits(number, narrow),
        }
    }

    #[inline(never)]
    fn cut_by_digits(&self, number: f64, narrow: bool) -> f64 {
        let (digits, exponent) = written(number, narrow);
        // What is whole steps stays, a zero positive: however large, it costs no long numbers.
        if self.whole_from.is_some_and(|least| exponent + self.scale as i32 >= least) {
            return number + 0.0;
        }
        self.begin(&self.place_of_digits(digits, exponent), narrow)
    }

    /// How many whole steps lie below the decimal that a finite number was written as; below zero it counts down.
    #[inline]
    pub fn place(&self, number: f64, narrow: bool) -> Place {
        match self.quick(narrow).and_then(|units| Some(units.quotient(self.quick.units_below(number, narrow)?))) {
            Some(place) => Place::Short(place),
            None => self.place_by_digits(number, narrow),
        }
    }

    /// The units, where the quick way is exact.
    #[inline]
    fn quick(&self, narrow: bool) -> Option<Divisor> {
        self.short.filter(|_| self.scale <= SCALE_MAX[usize::from(narrow)])
    }

    #[inline(never)]
    fn place_by_digits(&self, number: f64, narrow: bool) -> Place {
        let (digits, exponent) = written(number, narrow);
        self.place_of_digits(digits, exponent)
    }

    fn place_of_digits(&self, digits: i64, exponent: i32) -> Place {
        let shift = exponent + self.scale as i32;
        if shift < 0 {
            // Floored twice is floored once: a step is whole units.
            let units = if shift > -FAR { digits.div_euclid(10i64.pow(shift.unsigned_abs())) } else { digits.signum().min(0) };
            return match self.short {
                Some(short) => Place::Short(short.quotient(units)),
                None => Place::Short(units.signum().min(0)),
            };
        }
        let place = match self.short {
            Some(short) if shift <= SHORT_SHIFT_MAX => {
                let place = (i128::from(digits) * 10i128.pow(shift as u32)).div_euclid(i128::from(short.number()));
                return i64::try_from(place).map_or_else(|_| Place::Wide(BigInt::from(place)), Place::Short);
            }
            _ => floor_quotient(&(BigInt::from(digits) * BigInt::from(10).pow(shift as u32)), &self.units),
        };
        i64::try_from(&place).map_or(Place::Wide(place), Place::Short)
    }

    /// The number nearest to the beginning of a place.
    #[inline]
    fn begin(&self, place: &Place, narrow: bool) -> f64 {
        if let (Some(short), Place::Short(place)) = (self.quick(narrow), place)
            && let Some(units) = short.number().checked_mul(*place)
            && units.unsigned_abs() <= WHOLE_MAX[usize::from(narrow)]
        {
            return self.quick.nearest(units, narrow);
        }
        self.begin_by_digits(place, narrow)
    }

    #[inline(never)]
    fn begin_by_digits(&self, place: &Place, narrow: bool) -> f64 {
        let units = match place {
            Place::Short(place) => BigInt::from(*place) * &self.units,
            Place::Wide(place) => place * &self.units,
        };
        let text = format!("{units}e-{}", self.scale);
        if narrow { text.parse::<f32>().map_or(f64::NAN, f64::from) } else { text.parse().unwrap_or(f64::NAN) }
    }
}

impl Quick {
    /// The most units that do not lie above the decimal that the number was written as; None where digits must tell.
    #[inline]
    fn units_below(self, number: f64, narrow: bool) -> Option<i64> {
        let scaled = number * self.one;
        if scaled.abs() >= TOLD_APART[usize::from(narrow)] - 2.0 {
            return None;
        }
        // The product is rounded, so that the floor may be one beside.
        let mut units = scaled.floor() as i64;
        if self.nearest(units, narrow) > number {
            units -= 1;
        } else if self.nearest(units + 1, narrow) <= number {
            units += 1;
        }
        Some(units)
    }

    #[inline]
    fn nearest(self, units: i64, narrow: bool) -> f64 {
        if narrow { f64::from(units as f32 / self.one_narrow) } else { units as f64 / self.one }
    }
}

/// The least power of ten that is a multiple of `units`.
fn power_of_ten(units: &BigInt) -> Option<i32> {
    let (mut rest, mut least) = (units.clone(), 0);
    for prime in [2, 5] {
        let mut power = 0;
        while (&rest % prime) == BigInt::ZERO {
            rest /= prime;
            power += 1;
        }
        least = least.max(power);
    }
    (rest == BigInt::from(1)).then_some(least)
}

/// The digits of the decimal that a finite number was written as, and the power of ten that they count.
fn written(number: f64, narrow: bool) -> (i64, i32) {
    let mut room = [0u8; 40];
    let mut left = room.as_mut_slice();
    // The longest is `-1.7976931348623157e308`.
    let _ = if narrow { write!(left, "{:e}", number as f32) } else { write!(left, "{number:e}") };
    let unused = left.len();
    let text = &room[..room.len() - unused];
    let (mut digits, mut behind_point, mut seen_point) = (0i64, 0, false);
    let mut rest = text.iter();
    for byte in rest.by_ref() {
        match byte {
            b'0'..=b'9' => {
                digits = digits * 10 + i64::from(byte - b'0');
                behind_point += i32::from(seen_point);
            }
            b'.' => seen_point = true,
            b'e' => break,
            _ => {}
        }
    }
    let exponent: i32 = std::str::from_utf8(rest.as_slice()).ok().and_then(|text| text.parse().ok()).unwrap_or(0);
    let exponent = exponent - behind_point;
    let digits = even_of_two(digits, exponent, number.abs(), narrow);
    (if number < 0.0 { -digits } else { digits }, exponent)
}

/// Of two decimals that are as near to the number: the one with an even last digit. Rust's shortest form is the larger of the two.
fn even_of_two(digits: i64, exponent: i32, number: f64, narrow: bool) -> i64 {
    // Two such decimals within the reach of one number have nearly as many digits as its fraction has bits; and the number is a whole
    // number of halves of 10^exponent, so that 5^-exponent divides its fraction.
    if digits % 2 == 0 || (digits as u64) < WHOLE_MAX[usize::from(narrow)] / 2 || !(-23..0).contains(&exponent) {
        return digits;
    }
    let bits = number.to_bits();
    let power = ((bits >> 52) as i32 - 1_075) + 1 - exponent;
    let fraction = u128::from(bits & ((1 << 52) - 1) | 1 << 52) * 5u128.pow(exponent.unsigned_abs());
    // number / 10^exponent * 2, where it is whole.
    let halves = match power {
        -127..=0 if fraction.trailing_zeros() >= power.unsigned_abs() => fraction >> power.unsigned_abs(),
        _ => return digits,
    };
    if halves == 2 * digits as u128 - 1 { digits - 1 } else { digits }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(units: i64, scale: usize) -> Step {
        Step::new(BigInt::from(units), scale)
    }

    fn cut(step: &Step, number: f64, narrow: bool) -> f64 {
        let found = step.cut(number, narrow);
        assert_eq!(found.to_bits(), step.begin_by_digits(&step.place_by_digits(number, narrow), narrow).to_bits());
        found
    }

    #[test]
    fn a_number_of_so_many_digits_stays_as_it_was_written() {
        let (tenth, hundredth) = (step(1, 1), step(1, 2));
        for units in -1_001..=1_001i64 {
            let number: f64 = format!("{units}e-1").parse().unwrap();
            let narrow: f32 = format!("{units}e-1").parse().unwrap();
            assert_eq!(cut(&tenth, number, false).to_bits(), (number + 0.0).to_bits(), "{number}");
            assert_eq!(cut(&tenth, f64::from(narrow), true), f64::from(narrow), "{number}");
        }
        for units in -18_000..=18_000i64 {
            let number: f64 = format!("{units}e-2").parse().unwrap();
            assert_eq!(cut(&hundredth, number, false), number);
            let least: f64 = format!("{}e-1", units.div_euclid(10)).parse().unwrap();
            assert_eq!(cut(&tenth, number, false), least);
        }
        assert_eq!(cut(&tenth, 36.55, false), 36.5);
        assert_eq!(cut(&tenth, -0.05, false), -0.1);
        assert_eq!(cut(&tenth, -0.0, false).to_bits(), 0);
        assert_eq!(cut(&step(1, 30), -0.0, false).to_bits(), 0);
        assert_eq!(cut(&tenth, -f64::MAX, false), -f64::MAX);
        assert_eq!(cut(&step(7, 0), 1e300, false), 1e300);
    }

    #[test]
    fn the_quick_way_gives_what_digits_give() {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 11
        };
        let steps = [
            (32, 1),
            (125, 1),
            (1, 25),
            (1, 1),
            (1, 2),
            (25, 2),
            (1, 0),
            (100, 0),
            (3, 0),
            (7, 5),
            (1, 22),
            (1, 10),
            (1_000_000_007, 3),
            (i64::MAX, 9),
        ];
        for (units, scale) in steps {
            let step = step(units, scale);
            for _ in 0..500 {
                let decimal = format!("{}e-{}", next() % 10u64.pow((next() % 17) as u32 + 1), next() % 20);
                let double: f64 = decimal.parse().unwrap();
                let float = f64::from(decimal.parse::<f32>().unwrap());
                for number in [double, -double, double.next_up(), double.next_down()] {
                    assert_eq!(step.place(number, false), step.place_by_digits(number, false), "{number} {units} {scale}");
                    let place = step.place(number, false);
                    assert_eq!(step.begin(&place, false), step.begin_by_digits(&place, false));
                    assert_eq!(cut(&step, number, false), step.begin(&place, false));
                    assert!(!step.is_far(number) || !matches!(place, Place::Short(place) if place.unsigned_abs() <= 1 << 53));
                }
                for number in [float, -float] {
                    assert_eq!(step.place(number, true), step.place_by_digits(number, true), "{number} {units} {scale}");
                    let place = step.place(number, true);
                    assert_eq!(step.begin(&place, true), step.begin_by_digits(&place, true));
                    assert_eq!(cut(&step, number, true), step.begin(&place, true));
                }
            }
        }
    }

    #[test]
    fn of_two_decimals_as_near_the_even_one_was_written() {
        assert_eq!(written(2f64.powi(49) + 0.25, false), (5_629_499_534_213_122, -1));
        assert_eq!(written(2f64.powi(49) + 0.75, false), (5_629_499_534_213_128, -1));
        assert_eq!(written(-2f64.powi(49) - 0.25, false), (-5_629_499_534_213_122, -1));
        assert_eq!(written(2_097_152.25, true), (20_971_522, -1));
        assert_eq!(written(1_048_576.125, true), (10_485_761, -1));
        assert_eq!(written(5e-324, false), (5, -324));
        assert_eq!(written(f64::MAX, false), (17_976_931_348_623_157, 292));
        assert_eq!(written(0.0, false), (0, 0));
    }
}
