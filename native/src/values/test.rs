//! Tests: one operator of a row condition on one value.
//!
//! What is compared with has been worked out before, exactly: on whole numbers and decimals every operator is a range or a set
//! (`gt 4.5` begins at 5, `gt` of the highest long is empty), on enums and booleans a table of what holds. Floating numbers are
//! compared as IEEE 754 has it: NaN equals nothing, so that only `neq` and a set's absence hold of it. Text is compared by code
//! point, which is the order of its UTF-8 bytes.

use serde::Deserialize;

use super::dictionary::Dictionary;
use super::read;
use super::spec::{Bits, Long, SpecError};
use super::wide::Wide;

/// A test, as `hub.exchange.native.values.test_spec` says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "test", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)] // named as what they hold
pub enum TestSpec {
    /// Of an int or long: it lies between the two, both included.
    IntegerRange { least: Long, most: Long },
    /// Of an int or long: whether it is one of the values is `listed`.
    IntegerSet { values: Vec<Long>, listed: bool },
    /// Of a float (`narrow`) or double.
    Floating { narrow: bool, compare: Compare, operand: Bits },
    /// Of a float (`narrow`) or double: whether it equals one of the values is `listed`.
    FloatingSet { narrow: bool, values: Vec<Bits>, listed: bool },
    /// Of a decimal on fixed, or on bytes: it lies between the two, both included.
    DecimalRange { fixed: bool, least: Wide, most: Wide },
    /// Of a decimal: whether it is one of the values is `listed`.
    DecimalSet { fixed: bool, values: Vec<Wide>, listed: bool },
    /// Of text.
    Text { compare: Compare, operand: String },
    /// Of text: how it begins.
    TextPrefix { prefix: String },
    /// Of text: whether it is one of the values is `listed`.
    TextSet { values: Vec<String>, listed: bool },
    /// Of an enum: the answer by index.
    Symbols { holds: Vec<bool> },
    /// Of a boolean: the answer for false and for true.
    Boolean { holds: [bool; 2] },
}

/// An order. Equality of whole numbers, decimals and text is a set of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)] // the operators of agreements
pub enum Compare {
    Eq,
    Neq,
    Gt,
    Gteq,
    Lt,
    Lteq,
}

impl Compare {
    #[inline]
    fn holds<T: PartialOrd + ?Sized>(self, value: &T, operand: &T) -> bool {
        match self {
            Compare::Eq => value == operand,
            Compare::Neq => value != operand,
            Compare::Gt => value > operand,
            Compare::Gteq => value >= operand,
            Compare::Lt => value < operand,
            Compare::Lteq => value <= operand,
        }
    }
}

/// One operator of a row condition, compiled.
#[derive(Clone, Debug)]
pub struct Test(pub(super) Kind);

#[derive(Clone, Debug)]
pub(super) enum Kind {
    IntegerRange { least: i64, most: i64 },
    IntegerSet { values: Box<[i64]>, listed: bool },
    Floating { narrow: bool, compare: Compare, operand: f64 },
    FloatingSet { narrow: bool, values: Box<[u64]>, listed: bool },
    DecimalRange { fixed: bool, least: Wide, most: Wide },
    DecimalSet { fixed: bool, values: Box<[Wide]>, listed: bool },
    Text { compare: Compare, operand: Box<[u8]> },
    TextPrefix { prefix: Box<[u8]> },
    TextSet { values: Box<[Box<[u8]>]>, found: Dictionary, listed: bool },
    Symbols { holds: Box<[bool]> },
    Boolean { holds: [bool; 2] },
}

impl Test {
    /// Compiles a spec.
    pub fn compile(spec: &TestSpec) -> Result<Test, SpecError> {
        Ok(Test(match spec {
            TestSpec::IntegerRange { least, most } => Kind::IntegerRange { least: least.0, most: most.0 },
            TestSpec::IntegerSet { values, listed } => {
                Kind::IntegerSet { values: sorted(values.iter().map(|value| value.0)), listed: *listed }
            }
            TestSpec::Floating { narrow, compare, operand } => {
                Kind::Floating { narrow: *narrow, compare: *compare, operand: finite(operand.0)? }
            }
            TestSpec::FloatingSet { narrow, values, listed } => {
                let values = values.iter().map(|value| finite(value.0).map(bits)).collect::<Result<Vec<_>, _>>()?;
                Kind::FloatingSet { narrow: *narrow, values: sorted(values), listed: *listed }
            }
            TestSpec::DecimalRange { fixed, least, most } => Kind::DecimalRange { fixed: *fixed, least: *least, most: *most },
            TestSpec::DecimalSet { fixed, values, listed } => {
                Kind::DecimalSet { fixed: *fixed, values: sorted(values.iter().copied()), listed: *listed }
            }
            TestSpec::Text { compare, operand } => Kind::Text { compare: *compare, operand: operand.as_bytes().into() },
            TestSpec::TextPrefix { prefix } => Kind::TextPrefix { prefix: prefix.as_bytes().into() },
            TestSpec::TextSet { values, listed } => {
                let values: Box<[Box<[u8]>]> = values.iter().map(|value| value.as_bytes().into()).collect();
                let found = Dictionary::new(values.iter().map(|value| (&**value, 1)), 0);
                Kind::TextSet { values, found, listed: *listed }
            }
            TestSpec::Symbols { holds } => Kind::Symbols { holds: holds.as_slice().into() },
            TestSpec::Boolean { holds } => Kind::Boolean { holds: *holds },
        }))
    }

    /// Tells whether the test holds of an encoded value.
    #[inline]
    pub fn holds(&self, value: &[u8]) -> bool {
        match &self.0 {
            Kind::IntegerRange { least, most } => {
                let number = read::long(value);
                *least <= number && number <= *most
            }
            Kind::IntegerSet { values, listed } => values.binary_search(&read::long(value)).is_ok() == *listed,
            Kind::Floating { narrow, compare, operand } => compare.holds(&read::floating(value, *narrow), operand),
            Kind::FloatingSet { narrow, values, listed } => values.binary_search(&bits(read::floating(value, *narrow))).is_ok() == *listed,
            Kind::DecimalRange { fixed, least, most } => {
                let number = Wide::read(read::decimal(value, *fixed));
                *least <= number && number <= *most
            }
            Kind::DecimalSet { fixed, values, listed } => {
                values.binary_search(&Wide::read(read::decimal(value, *fixed))).is_ok() == *listed
            }
            Kind::Text { compare, operand } => compare.holds(read::payload(value), operand),
            Kind::TextPrefix { prefix } => read::payload(value).starts_with(prefix),
            Kind::TextSet { found, listed, .. } => (found.get(read::payload(value)) != 0) == *listed,
            Kind::Symbols { holds } => usize::try_from(read::long(value)).ok().and_then(|index| holds.get(index)) == Some(&true),
            Kind::Boolean { holds } => holds[usize::from(value.first() == Some(&1))],
        }
    }

    /// The texts that a test of text lists, and whether it holds of them (else of all others); None for any other test.
    pub fn texts(&self) -> Option<(&[Box<[u8]>], bool)> {
        if let Kind::TextSet { values, listed, .. } = &self.0 { Some((values, *listed)) } else { None }
    }

    /// The range of a test of an int or long, both ends included; None for any other test.
    pub fn range(&self) -> Option<(i64, i64)> {
        if let Kind::IntegerRange { least, most } = self.0 { Some((least, most)) } else { None }
    }
}

fn sorted<T: Ord>(values: impl IntoIterator<Item = T>) -> Box<[T]> {
    let mut found: Vec<T> = values.into_iter().collect();
    found.sort_unstable();
    found.dedup();
    found.into()
}

fn finite(number: f64) -> Result<f64, SpecError> {
    if number.is_finite() { Ok(number) } else { Err(SpecError("an operand is not finite")) }
}

/// One name for equal numbers: both zeros have that of the positive one. A NaN is never listed, since operands are finite.
#[inline]
fn bits(number: f64) -> u64 {
    (number + 0.0).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_value_are_answered_without_a_panic() {
        let (zeros, most) = ("0".repeat(64), format!("7{}", "f".repeat(63)));
        let specs = [
            r#"{"test":"integer_range","least":"-9223372036854775808","most":"3"}"#.into(),
            r#"{"test":"integer_set","values":["1","2"],"listed":true}"#.into(),
            r#"{"test":"floating","narrow":true,"compare":"neq","operand":"3ff0000000000000"}"#.into(),
            r#"{"test":"floating_set","narrow":false,"values":["8000000000000000"],"listed":false}"#.into(),
            format!(r#"{{"test":"decimal_range","fixed":false,"least":"{zeros}","most":"{most}"}}"#),
            format!(r#"{{"test":"decimal_set","fixed":true,"values":["{zeros}"],"listed":true}}"#),
            r#"{"test":"text","compare":"gteq","operand":"m"}"#.into(),
            r#"{"test":"text_prefix","prefix":"a"}"#.into(),
            r#"{"test":"text_set","values":["a","abcdefghijklmnopqrstuvwxyz"],"listed":true}"#.into(),
            r#"{"test":"symbols","holds":[true,false]}"#.into(),
            r#"{"test":"boolean","holds":[true,false]}"#.into(),
        ];
        for spec in specs {
            let test = Test::compile(&serde_json::from_str(&spec).unwrap()).unwrap();
            let column = super::super::Column::new(std::slice::from_ref(&test));
            for length in 0..45 {
                for byte in [0, 1, 0x61, 0x7f, 0x80, 0xff] {
                    let value = vec![byte; length];
                    assert_eq!(test.holds(&value), column.truths(&value) == 1);
                }
            }
        }
    }

    #[test]
    fn a_spec_with_an_unknown_member_or_a_rounded_number_is_refused() {
        let unread = [
            r#"{"test":"integer_range","least":"0","most":"3","more":1}"#,
            r#"{"test":"integer_range","least":0,"most":3}"#,
            r#"{"test":"integer_range","least":"0","most":"9223372036854775808"}"#,
            r#"{"test":"boolean","holds":[true]}"#,
            r#"{"test":"floating","narrow":true,"compare":"is","operand":"3ff0000000000000"}"#,
        ];
        assert!(unread.iter().all(|spec| serde_json::from_str::<TestSpec>(spec).is_err()));
    }
}
