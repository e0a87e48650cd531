//! Division by a number that is known when the plan is compiled: a product and a shift in place of the processor's division.
//!
//! Dividends lie below 2^63, so a multiplier of 64 bits is exact: with 2^s the least power of two that is no less than the
//! divisor d, m = ceil(2^(63+s) / d) < 2^64, and floor(m n / 2^(63+s)) = floor(n / d) for every n below 2^63. With 2n in the
//! place of n that is the high word of the product, shifted by s.
//! Source: T. Granlund and P. Montgomery, Division by Invariant Integers using Multiplication, 1994, theorem 4.2.

/// A divisor above zero.
#[derive(Clone, Copy, Debug)]
pub struct Divisor {
    number: i64,
    multiplier: u64,
    shift: u32,
}

impl Divisor {
    /// Prepares a divisor; None where it is not above zero.
    pub fn new(number: i64) -> Option<Divisor> {
        if number <= 0 {
            return None;
        }
        let shift = 64 - (number as u64 - 1).leading_zeros();
        let multiplier = (1u128 << (63 + shift)).div_ceil(number as u128);
        Some(Divisor { number, multiplier: multiplier as u64, shift })
    }

    /// The divisor itself.
    #[inline]
    pub fn number(&self) -> i64 {
        self.number
    }

    /// The quotient, rounded down.
    #[inline]
    pub fn quotient(&self, number: i64) -> i64 {
        // Of a negative number, floor(n / d) is the complement of floor(!n / d).
        let sign = number >> 63;
        let product = u128::from(self.multiplier) * u128::from(((number ^ sign) as u64) << 1);
        ((product >> 64) as u64 >> self.shift) as i64 ^ sign
    }

    /// The quotient, rounded down, and what is left: at least zero and below the divisor.
    #[inline]
    pub fn divide(&self, number: i64) -> (i64, i64) {
        let quotient = self.quotient(number);
        (quotient, number.wrapping_sub(quotient.wrapping_mul(self.number)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_are_those_of_the_processor() {
        let mut numbers = vec![0, 1, 2, 3, 5, 7, 10, 1_000, 86_400_000, 86_400_000_000, i64::MAX - 1, i64::MAX];
        numbers.extend((0..62).flat_map(|bit| [(1 << bit) - 1, 1 << bit, (1 << bit) + 1]));
        let mut state = 1u64;
        for _ in 0..2_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            numbers.push((state >> (1 + state % 62)) as i64);
        }
        for &divisor in numbers.iter().filter(|number| **number > 0) {
            let prepared = Divisor::new(divisor).unwrap();
            let near = [divisor - 1, divisor, divisor.wrapping_add(1), i64::MAX / divisor * divisor, i64::MAX / divisor * divisor - 1];
            for number in numbers.iter().chain(&near).flat_map(|number| [*number, !*number]) {
                assert_eq!(prepared.divide(number), (number.div_euclid(divisor), number.rem_euclid(divisor)), "{number} / {divisor}");
            }
        }
        assert!(Divisor::new(0).is_none() && Divisor::new(-1).is_none());
    }
}
