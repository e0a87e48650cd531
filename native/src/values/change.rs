//! Changes: what a transform makes of one value.
//!
//! Numbers are rounded down (towards minus infinity), floating ones as the decimals that they were written as (`steps`), dates and
//! times by the calendar on whole numbers, timestamps by Shanghai's clock (`shanghai`). Labels stand in the spec as text; only those of a width are made here. `keep`,
//! `nullify` and `constant` are copies and constants and need no value; pseudonyms have a module of their own. An enum is text
//! by its symbol, so its changes are a table. In a general union each branch has a change of its own.

use num_bigint::BigInt;
use serde::Deserialize;

use super::calendar::Unit;
use super::divisor::Divisor;
use super::shanghai::Cut;
use super::spec::{Bits, Long, SpecError};
use super::steps::{Place, Step};
use super::wide::{self, Wide, floor_quotient};
use super::{label, read, text, write};
use crate::reject::Reject;

/// In buckets from zero: beyond it floating numbers lie further apart than one, and no bucket of a width is told from the next.
const PLACE_MAX: u64 = 1 << 53;
const FLOAT_NAN: u32 = 0x7fc0_0000;
const DOUBLE_NAN: u64 = 0x7ff8_0000_0000_0000;
/// Digits of the longest number in a spec: 76 before the point and 76 behind.
const DIGITS_MAX: usize = 152;

/// A change, as `hub.exchange.native.values.change_spec` says it.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
#[allow(missing_docs)] // named as what they hold
pub enum ChangeSpec {
    /// Of text: `*` for every character but the kept ones.
    Mask { keep_first: u32, keep_last: u32 },
    /// Of text: its first characters (`prefix`, and `truncate` of text).
    Prefix { characters: u32 },
    /// Of an enum: the text by index.
    Symbols { texts: Vec<String> },
    /// Of an int (`bits` 32) or long (64): down to a multiple of `width`.
    Floor { bits: u8, width: Long },
    /// Of a date or local time: the first day of a month (1), quarter (3) or year (12), in days of `day` units.
    Calendar { bits: u8, months: u8, day: Long },
    /// Of a timestamp: where a unit (`second` … `year`) begins on Shanghai's clock.
    Shanghai { per_second: Long, unit: String },
    /// Of a float (`narrow`) or double: down to a multiple of a step, which is `units` of the digit `scale` behind the point.
    FloorFloating { narrow: bool, units: String, scale: usize },
    /// Of a decimal on a fixed of `size` bytes, or on bytes (0): down to a multiple of `step` units.
    FloorDecimal { size: usize, step: String },
    /// Of an int or long: the label of the interval between edges that it lies in.
    Edges { edges: Vec<Long>, labels: Vec<String> },
    /// Of a float (`narrow`) or double.
    EdgesFloating { narrow: bool, edges: Vec<Bits>, labels: Vec<String> },
    /// Of a decimal.
    EdgesDecimal { fixed: bool, edges: Vec<Wide>, labels: Vec<String> },
    /// Of an int or long: the name of the interval of this width.
    Width { width: Long },
    /// Of a float (`narrow`) or double; the width is `units` of the digit `scale` behind the point.
    WidthFloating { narrow: bool, units: String, scale: usize },
    /// Of a decimal; `width` in units of its last digit, which lies `scale` behind the point.
    WidthDecimal { fixed: bool, width: String, scale: usize },
}

/// A transform of one value, compiled.
#[derive(Clone, Debug)]
pub struct Change(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Mask { keep_first: usize, keep_last: usize },
    Prefix { characters: usize },
    Symbols { texts: Box<[Box<[u8]>]> },
    Floor { least: i64, width: Divisor },
    Calendar { least: i64, unit: Unit, day: Divisor },
    Shanghai(Cut),
    FloorFloating { narrow: bool, step: Step },
    FloorDecimal { size: usize, short: Option<Divisor>, step: BigInt },
    Edges { edges: Box<[i64]>, labels: Labels },
    EdgesFloating { narrow: bool, edges: Box<[f64]>, labels: Labels },
    EdgesDecimal { fixed: bool, edges: Box<[Wide]>, labels: Labels },
    Width { width: Divisor, shown: label::Shown },
    WidthFloating { narrow: bool, width: Step, shown: label::Shown },
    WidthDecimal { fixed: bool, short: Option<Divisor>, width: BigInt, shown: label::Shown },
}

/// Encoded texts, one more than there are edges.
type Labels = Box<[Box<[u8]>]>;

impl Change {
    /// Compiles a spec.
    pub fn compile(spec: &ChangeSpec) -> Result<Change, SpecError> {
        Ok(Change(match spec {
            ChangeSpec::Mask { keep_first, keep_last } => Kind::Mask { keep_first: *keep_first as usize, keep_last: *keep_last as usize },
            ChangeSpec::Prefix { characters } => Kind::Prefix { characters: *characters as usize },
            ChangeSpec::Symbols { texts } => Kind::Symbols { texts: encoded(texts) },
            ChangeSpec::Floor { bits, width } => Kind::Floor { least: least(*bits)?, width: divisor(width.0)? },
            ChangeSpec::Calendar { bits, months, day } => {
                let unit = Unit::of_months(*months).ok_or(SpecError("no calendar unit"))?;
                Kind::Calendar { least: least(*bits)?, unit, day: divisor(day.0)? }
            }
            ChangeSpec::Shanghai { per_second, unit } => {
                Kind::Shanghai(Cut::new(unit, per_second.0).ok_or(SpecError("no unit of timestamps"))?)
            }
            ChangeSpec::FloorFloating { narrow, units: step, scale } => {
                Kind::FloorFloating { narrow: *narrow, step: Step::new(units(step)?, digits(*scale)?) }
            }
            ChangeSpec::FloorDecimal { size, step } => {
                let step = units(step)?;
                Kind::FloorDecimal { size: bounded(*size)?, short: i64::try_from(&step).ok().and_then(Divisor::new), step }
            }
            ChangeSpec::Edges { edges, labels } => {
                Kind::Edges { labels: between(edges.len(), labels)?, edges: edges.iter().map(|edge| edge.0).collect() }
            }
            ChangeSpec::EdgesFloating { narrow, edges, labels } => {
                let labels = between(edges.len(), labels)?;
                Kind::EdgesFloating { narrow: *narrow, edges: edges.iter().map(|edge| edge.0).collect(), labels }
            }
            ChangeSpec::EdgesDecimal { fixed, edges, labels } => {
                Kind::EdgesDecimal { fixed: *fixed, labels: between(edges.len(), labels)?, edges: edges.as_slice().into() }
            }
            ChangeSpec::Width { width } => Kind::Width { width: divisor(width.0)?, shown: label::Shown::new(BigInt::from(width.0), 0) },
            ChangeSpec::WidthFloating { narrow, units: width, scale } => {
                let (width, scale) = (units(width)?, digits(*scale)?);
                Kind::WidthFloating { narrow: *narrow, shown: label::Shown::new(width.clone(), scale), width: Step::new(width, scale) }
            }
            ChangeSpec::WidthDecimal { fixed, width, scale } => {
                let width = units(width)?;
                let short = i64::try_from(&width).ok().and_then(Divisor::new);
                Kind::WidthDecimal { fixed: *fixed, short, shown: label::Shown::new(width.clone(), digits(*scale)?), width }
            }
        }))
    }

    /// Writes what the change makes of an encoded value, encoded and without a union's branch. On a reject nothing is written.
    #[inline]
    pub fn write(&self, value: &[u8], out: &mut Vec<u8>) -> Result<(), Reject> {
        match &self.0 {
            Kind::Mask { keep_first, keep_last } => text::mask(read::payload(value), *keep_first, *keep_last, out),
            Kind::Prefix { characters } => text::prefix(read::payload(value), *characters, out),
            Kind::Symbols { texts } => {
                let text = usize::try_from(read::long(value)).ok().and_then(|index| texts.get(index)).ok_or(Reject::TransformFailed)?;
                out.extend_from_slice(text);
            }
            Kind::Shanghai(cut) => write::long(out, cut.begin(read::long(value)).ok_or(Reject::TransformFailed)?),
            Kind::Floor { least, width } => write::long(out, floor(read::long(value), width, *least)?),
            Kind::Calendar { least, unit, day } => write::long(out, first_of(read::long(value), *unit, day, *least)?),
            _ => return self.write_rarer(value, out),
        }
        Ok(())
    }

    #[inline(never)]
    fn write_rarer(&self, value: &[u8], out: &mut Vec<u8>) -> Result<(), Reject> {
        match &self.0 {
            Kind::FloorFloating { narrow, step } => floor_floating(read::floating(value, *narrow), step, *narrow, out)?,
            Kind::FloorDecimal { size, short, step } => floor_decimal(read::decimal(value, *size > 0), short.as_ref(), step, *size, out)?,
            Kind::Edges { edges, labels } => {
                let number = read::long(value);
                out.extend_from_slice(&labels[edges.partition_point(|edge| *edge <= number)]);
            }
            Kind::EdgesFloating { narrow, edges, labels } => {
                let number = read::floating(value, *narrow);
                if number.is_nan() {
                    return Err(Reject::TransformFailed);
                }
                out.extend_from_slice(&labels[edges.partition_point(|edge| *edge <= number)]);
            }
            Kind::EdgesDecimal { fixed, edges, labels } => {
                let number = Wide::read(read::decimal(value, *fixed));
                out.extend_from_slice(&labels[edges.partition_point(|edge| *edge <= number)]);
            }
            Kind::Width { width, shown } => shown.write(width.quotient(read::long(value)), out),
            Kind::WidthFloating { narrow, width, shown } => {
                let number = read::floating(value, *narrow);
                if !number.is_finite() || width.is_far(number) {
                    return Err(Reject::TransformFailed);
                }
                match width.place(number, *narrow) {
                    Place::Short(place) if place.unsigned_abs() <= PLACE_MAX => shown.write(place, out),
                    _ => return Err(Reject::TransformFailed),
                }
            }
            Kind::WidthDecimal { fixed, short, width, shown } => {
                let bytes = read::decimal(value, *fixed);
                match short.zip(wide::short(bytes)) {
                    Some((width, number)) => shown.write(width.quotient(number), out),
                    None => shown.write_wide(&floor_quotient(&BigInt::from_signed_bytes_be(bytes), width), out),
                }
            }
            _ => unreachable!("written by `write`"),
        }
        Ok(())
    }

    /// The most bytes that the change makes of a value of `length` bytes.
    pub fn bound(&self, length: usize) -> usize {
        match &self.0 {
            Kind::Mask { .. } | Kind::Prefix { .. } => length + 10,
            Kind::Symbols { texts: labels }
            | Kind::Edges { labels, .. }
            | Kind::EdgesFloating { labels, .. }
            | Kind::EdgesDecimal { labels, .. } => labels.iter().map(|label| label.len()).max().unwrap_or(0),
            Kind::Floor { .. } | Kind::Calendar { .. } | Kind::Shanghai(_) | Kind::FloorFloating { .. } => 10,
            Kind::FloorDecimal { .. } => wide::DECIMAL_BYTES_MAX + 1,
            Kind::Width { .. } | Kind::WidthFloating { .. } | Kind::WidthDecimal { .. } => 2 * (2 * DIGITS_MAX + 8),
        }
    }
}

/// Rounds down to a multiple of `width`.
#[inline]
fn floor(number: i64, width: &Divisor, least: i64) -> Result<i64, Reject> {
    held(number.checked_sub(width.divide(number).1), least)
}

/// The first instant of the month, quarter or year.
#[inline]
fn first_of(at: i64, unit: Unit, day: &Divisor, least: i64) -> Result<i64, Reject> {
    held(unit.first_day(day.quotient(at)).checked_mul(day.number()), least)
}

#[inline]
fn held(number: Option<i64>, least: i64) -> Result<i64, Reject> {
    number.filter(|number| *number >= least).ok_or(Reject::TransformFailed)
}

/// The infinities stay as they are, NaN becomes the one NaN; what leaves the range on its way down is refused; a zero is positive.
fn floor_floating(number: f64, step: &Step, narrow: bool, out: &mut Vec<u8>) -> Result<(), Reject> {
    let found = if number.is_finite() { step.cut(number, narrow) } else { number };
    match (narrow, found.is_nan()) {
        _ if number.is_finite() && !found.is_finite() => return Err(Reject::TransformFailed),
        (true, false) => out.extend_from_slice(&(found as f32).to_le_bytes()),
        (true, true) => out.extend_from_slice(&FLOAT_NAN.to_le_bytes()),
        (false, false) => out.extend_from_slice(&found.to_le_bytes()),
        (false, true) => out.extend_from_slice(&DOUBLE_NAN.to_le_bytes()),
    }
    Ok(())
}

fn floor_decimal(bytes: &[u8], short: Option<&Divisor>, step: &BigInt, size: usize, out: &mut Vec<u8>) -> Result<(), Reject> {
    let short = short.zip(wide::short(bytes)).and_then(|(step, number)| number.checked_sub(step.divide(number).1));
    let fits = match short {
        Some(found) => wide::write_short(out, found, size),
        None => {
            let number = BigInt::from_signed_bytes_be(bytes);
            wide::write_any(out, &(floor_quotient(&number, step) * step), size)
        }
    };
    if fits { Ok(()) } else { Err(Reject::TransformFailed) }
}

fn encoded(texts: &[String]) -> Labels {
    texts
        .iter()
        .map(|label| {
            let mut out = Vec::new();
            write::text(&mut out, label.as_bytes());
            out.into()
        })
        .collect()
}

fn between(edges: usize, labels: &[String]) -> Result<Labels, SpecError> {
    if labels.len() == edges + 1 { Ok(encoded(labels)) } else { Err(SpecError("labels and edges do not go together")) }
}

fn divisor(number: i64) -> Result<Divisor, SpecError> {
    Divisor::new(number).ok_or(SpecError("a step or width is not above zero"))
}

fn least(bits: u8) -> Result<i64, SpecError> {
    match bits {
        32 => Ok(i64::from(i32::MIN)),
        64 => Ok(i64::MIN),
        _ => Err(SpecError("no width of a whole number")),
    }
}

fn bounded(size: usize) -> Result<usize, SpecError> {
    if size <= wide::DECIMAL_BYTES_MAX { Ok(size) } else { Err(SpecError("the decimal is too long")) }
}

fn digits(scale: usize) -> Result<usize, SpecError> {
    if scale <= DIGITS_MAX { Ok(scale) } else { Err(SpecError("the scale is too large")) }
}

/// A whole number above zero in decimal digits.
fn units(text: &str) -> Result<BigInt, SpecError> {
    if text.is_empty() || text.len() > DIGITS_MAX + 1 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SpecError("not a whole number as text"));
    }
    let found = BigInt::parse_bytes(text.as_bytes(), 10).filter(|number| *number > BigInt::ZERO);
    found.ok_or(SpecError("a step or width is not above zero"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(spec: &str) -> Change {
        Change::compile(&serde_json::from_str(spec).unwrap()).unwrap()
    }

    fn made(spec: &str, value: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![];
        change(spec).write(value, &mut out).ok().map(|()| out)
    }

    fn long(number: i64) -> Vec<u8> {
        let mut out = vec![];
        write::long(&mut out, number);
        out
    }

    fn text(text: &str) -> Vec<u8> {
        let mut out = vec![];
        write::text(&mut out, text.as_bytes());
        out
    }

    #[test]
    fn masks_hide_every_character_but_the_kept_ones() {
        for (keep_first, keep_last) in [(0, 0), (1, 0), (0, 1), (2, 3), (7, 9), (16, 16), (1000, 1000)] {
            let spec = format!(r#"{{"change":"mask","keep_first":{keep_first},"keep_last":{keep_last}}}"#);
            for length in 0..150usize {
                for letters in ["abcdefg", "a路é", "路"] {
                    let characters: Vec<char> = letters.chars().cycle().take(length).collect();
                    let hidden = |place: usize| length <= keep_first + keep_last || (keep_first..length - keep_last).contains(&place);
                    let masked: String = characters.iter().enumerate().map(|(place, it)| if hidden(place) { '*' } else { *it }).collect();
                    assert_eq!(made(&spec, &text(&characters.iter().collect::<String>())), Some(text(&masked)), "{length} {spec}");
                }
            }
        }
    }

    #[test]
    fn what_leaves_its_range_is_refused() {
        let floor = r#"{"change":"floor","bits":32,"width":"1000"}"#;
        assert_eq!(made(floor, &long(-2_147_483_000)), Some(long(-2_147_483_000)));
        assert_eq!(made(floor, &long(-2_147_483_648)), None);
        let widest = r#"{"change":"floor","bits":64,"width":"9223372036854775807"}"#;
        assert_eq!(made(widest, &long(i64::MAX)), Some(long(i64::MAX)));
        assert_eq!(made(widest, &long(i64::MIN)), None);
        let month = r#"{"change":"calendar","bits":64,"months":1,"day":"86400000"}"#;
        assert_eq!(made(month, &long(0)), Some(long(0)));
        assert_eq!(made(month, &long(i64::MIN)), None);
        assert!(made(month, &long(i64::MAX)).is_some());
        let month = r#"{"change":"shanghai","per_second":"1000","unit":"month"}"#;
        assert_eq!(made(month, &long(0)), Some(long(-28_800_000)));
        assert_eq!(made(month, &long(i64::MIN)), None);
        assert!(made(month, &long(i64::MAX)).is_some());
        assert_eq!(made(r#"{"change":"floor_decimal","size":1,"step":"100"}"#, &[0x80]), None);
        assert_eq!(made(r#"{"change":"floor_decimal","size":2,"step":"100"}"#, &[0xff, 0x80]), Some(vec![0xff, 0x38]));
    }

    #[test]
    fn bytes_that_are_no_value_are_changed_or_refused_without_a_panic() {
        let zeros = "0".repeat(64);
        let specs = [
            r#"{"change":"mask","keep_first":2,"keep_last":2}"#.into(),
            r#"{"change":"prefix","characters":4}"#.into(),
            r#"{"change":"symbols","texts":["a"]}"#.into(),
            r#"{"change":"floor","bits":32,"width":"7"}"#.into(),
            r#"{"change":"calendar","bits":32,"months":3,"day":"1"}"#.into(),
            r#"{"change":"shanghai","per_second":"1000000000","unit":"year"}"#.into(),
            r#"{"change":"floor_floating","narrow":true,"units":"1","scale":1}"#.into(),
            r#"{"change":"floor_floating","narrow":false,"units":"7000000000000000000000","scale":30}"#.into(),
            r#"{"change":"floor_decimal","size":0,"step":"7"}"#.into(),
            r#"{"change":"floor_decimal","size":4,"step":"700000000000000000000"}"#.into(),
            r#"{"change":"edges","edges":["0"],"labels":["a","b"]}"#.into(),
            r#"{"change":"edges_floating","narrow":false,"edges":["3ff0000000000000"],"labels":["a","b"]}"#.into(),
            format!(r#"{{"change":"edges_decimal","fixed":false,"edges":["{zeros}"],"labels":["a","b"]}}"#),
            r#"{"change":"width","width":"10"}"#.into(),
            r#"{"change":"width_floating","narrow":false,"units":"1","scale":0}"#.into(),
            r#"{"change":"width_decimal","fixed":true,"width":"7","scale":150}"#.into(),
        ];
        let mut state = 1u64;
        for spec in specs {
            let (change, mut out) = (change(&spec), vec![]);
            for round in 0..3_000 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let length = (state >> 40) as usize % 45;
                let value: Vec<u8> =
                    (0..length).map(|place| (state >> (place % 8 * 8)) as u8 | if round % 3 == 0 { 0x80 } else { 0 }).collect();
                out.clear();
                if change.write(&value, &mut out).is_err() {
                    assert!(out.is_empty());
                }
            }
        }
    }

    #[test]
    fn specs_that_cannot_be_are_refused() {
        let refused = [
            r#"{"change":"floor","bits":64,"width":"0"}"#,
            r#"{"change":"floor","bits":16,"width":"1"}"#,
            r#"{"change":"calendar","bits":64,"months":2,"day":"1"}"#,
            r#"{"change":"shanghai","per_second":"1000","unit":"week"}"#,
            r#"{"change":"shanghai","per_second":"0","unit":"day"}"#,
            r#"{"change":"shanghai","per_second":"10000000000","unit":"day"}"#,
            r#"{"change":"shanghai","per_second":"9223372036854775807","unit":"day"}"#,
            r#"{"change":"edges","edges":["1"],"labels":["a"]}"#,
            r#"{"change":"floor_floating","narrow":false,"units":"0","scale":1}"#,
            r#"{"change":"floor_decimal","size":33,"step":"1"}"#,
            r#"{"change":"floor_decimal","size":0,"step":"-1"}"#,
        ];
        assert!(refused.iter().all(|spec| Change::compile(&serde_json::from_str(spec).unwrap()).is_err()));
        let unread = [
            r#"{"change":"mask","keep_first":1,"keep_last":1,"more":1}"#,
            r#"{"change":"width","width":10}"#,
            r#"{"change":"floor","bits":64,"width":"1","zone":"0"}"#,
            r#"{"change":"other"}"#,
        ];
        assert!(unread.iter().all(|spec| serde_json::from_str::<ChangeSpec>(spec).is_err()));
    }
}
