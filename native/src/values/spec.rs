//! Numbers in specs: as text, so that no JSON reader rounds them. Longs in decimal, floating numbers and decimals by their bits.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

use super::wide::Wide;

/// A spec that cannot be compiled: an error of the program that made it. Carries no operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpecError(pub &'static str);

impl fmt::Display for SpecError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl std::error::Error for SpecError {}

/// A long, as decimal text.
#[derive(Clone, Copy, Debug)]
pub struct Long(pub i64);

/// A floating number, as the 16 hex digits of its bits.
#[derive(Clone, Copy, Debug)]
pub struct Bits(pub f64);

impl<'de> Deserialize<'de> for Long {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Long).map_err(|_| de::Error::custom("not a long as text"))
    }
}

impl<'de> Deserialize<'de> for Bits {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bits = if text.len() == 16 { u64::from_str_radix(&text, 16).ok() } else { None };
        bits.map(|bits| Bits(f64::from_bits(bits))).ok_or_else(|| de::Error::custom("not the bits of a floating number"))
    }
}

impl<'de> Deserialize<'de> for Wide {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Wide::from_hex(&text).ok_or_else(|| de::Error::custom("not the 32 bytes of a decimal"))
    }
}
