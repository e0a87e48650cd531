//! Shanghai's clock with its history, as `hub.model.shanghai` has it, and timestamps cut by it.
//!
//! Within the hour a timestamp keeps its offset, so that an hour that came twice stays two; a day, and what is longer, begins at its
//! first instant. Since 1992 that is reckoned at +08:00; what is older is looked up. Source: the tz database, Asia/Shanghai, 2026f.

use super::calendar::Unit;
use super::divisor::Divisor;

const MEAN_TIME: i64 = 29_143;
const STANDARD: i64 = 28_800;
const SUMMER: i64 = 32_400;
/// 1992-01-01 00:00: no unit that lies behind it begins before it.
const SETTLED: i64 = 694_195_200;
const DAY: i64 = 86_400;
/// 1901-01-01 00:00:00 by mean time, when clocks went back by 5:43.
const STANDARD_FROM: i64 = -2_177_481_943;
/// First second and end of each time at +09:00.
const SUMMERS: [(i64, i64); 14] = [
    (-1_600_675_200, -1_585_904_400),
    (-933_667_200, -922_093_200),
    (-908_870_400, -888_829_200),
    (-881_049_600, -767_869_200),
    (-745_833_600, -733_827_600),
    (-716_889_600, -699_613_200),
    (-683_884_800, -670_669_200),
    (-652_348_800, -650_019_600),
    (515_527_200, 527_014_800),
    (545_162_400, 558_464_400),
    (577_216_800, 589_914_000),
    (608_666_400, 621_968_400),
    (640_116_000, 653_418_000),
    (671_565_600, 684_867_600),
];

/// What the clock is ahead of UTC at an instant; both in seconds.
fn offset_at(instant: i64) -> i64 {
    if instant < STANDARD_FROM {
        return MEAN_TIME;
    }
    if SUMMERS.iter().any(|(begin, end)| (*begin..*end).contains(&instant)) { SUMMER } else { STANDARD }
}

/// The instant at which the clock showed a time: of one that it showed twice the first; one that it passed over counts on.
fn instant_of(shown: i64) -> i64 {
    if shown < STANDARD_FROM + MEAN_TIME {
        return shown - MEAN_TIME;
    }
    let is_summer = SUMMERS.iter().any(|(begin, end)| (begin + SUMMER..end + SUMMER).contains(&shown));
    shown - if is_summer { SUMMER } else { STANDARD }
}

/// A cut to where a unit begins.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    per_second: Divisor,
    /// From here on at +08:00, in the timestamp's own units.
    settled: i64,
    zone: i64,
    unit: Span,
}

#[derive(Clone, Copy, Debug)]
enum Span {
    /// A second, minute or hour: in seconds, and in the timestamp's own units.
    Clock { seconds: i64, width: Divisor },
    /// A day, in the timestamp's own units.
    Day { day: Divisor },
    /// A month, quarter or year.
    Calendar { day: Divisor, unit: Unit },
}

impl Cut {
    /// The cut to `unit` of timestamps of so many units in a second; None where there is no such unit, or no such timestamp.
    pub fn new(unit: &str, per_second: i64) -> Option<Cut> {
        if !matches!(per_second, 1_000 | 1_000_000 | 1_000_000_000) {
            return None;
        }
        let of = |seconds: i64| Divisor::new(seconds.checked_mul(per_second)?);
        let unit = match unit {
            "second" => Span::Clock { seconds: 1, width: of(1)? },
            "minute" => Span::Clock { seconds: 60, width: of(60)? },
            "hour" => Span::Clock { seconds: 3_600, width: of(3_600)? },
            "day" => Span::Day { day: of(DAY)? },
            "month" => Span::Calendar { day: of(DAY)?, unit: Unit::Month },
            "quarter" => Span::Calendar { day: of(DAY)?, unit: Unit::Quarter },
            "year" => Span::Calendar { day: of(DAY)?, unit: Unit::Year },
            _ => return None,
        };
        let settled = SETTLED.checked_mul(per_second)?;
        Some(Cut { per_second: Divisor::new(per_second)?, settled, zone: STANDARD * per_second, unit })
    }

    /// Where the unit of an instant begins; None before the first instant that there is.
    #[inline]
    pub fn begin(&self, at: i64) -> Option<i64> {
        if at < self.settled {
            return self.begin_by_table(at);
        }
        // Whole hours: the zone moves none of their borders.
        match self.unit {
            Span::Clock { width, .. } => Some(at - width.divide(at).1),
            Span::Day { day } => Some(at - beyond(at, day, self.zone).1),
            Span::Calendar { day, unit } => {
                let (today, beyond) = beyond(at, day, self.zone);
                Some(at - beyond - (today - unit.first_day(today)) * day.number())
            }
        }
    }

    #[inline(never)]
    fn begin_by_table(&self, at: i64) -> Option<i64> {
        let second = self.per_second.quotient(at);
        let offset = offset_at(second);
        let shown = second + offset;
        let begin = match self.unit {
            Span::Clock { seconds, .. } => shown - shown.rem_euclid(seconds) - offset,
            Span::Day { .. } => instant_of(shown - shown.rem_euclid(DAY)),
            Span::Calendar { unit, .. } => instant_of(unit.first_day(shown.div_euclid(DAY)) * DAY),
        };
        begin.checked_mul(self.per_second.number())
    }
}

/// The day that an instant lies in at `zone`, and how far behind the day's beginning it lies.
#[inline]
fn beyond(at: i64, day: Divisor, zone: i64) -> (i64, i64) {
    let (today, beyond) = day.divide(at);
    let beyond = beyond + zone;
    if beyond >= day.number() { (today + 1, beyond - day.number()) } else { (today, beyond) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_settled_is_what_the_table_says() {
        for unit in ["second", "minute", "hour", "day", "month", "quarter", "year"] {
            for per_second in [1_000, 1_000_000, 1_000_000_000] {
                let cut = Cut::new(unit, per_second).unwrap();
                let mut state = 1u64;
                let ends = [SETTLED * per_second, i64::MAX];
                let near = ends.iter().flat_map(|at| [*at, at - 1, at.saturating_add(1)]).collect::<Vec<_>>();
                for round in 0..20_000 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let at = near.get(round).copied().unwrap_or((state >> 1) as i64);
                    assert_eq!(cut.begin(at), cut.begin_by_table(at), "{unit} {per_second} {at}");
                }
            }
        }
    }

    #[test]
    fn a_birthday_in_summer_time_keeps_its_day() {
        let millis = |unit: &str, second: i64| Cut::new(unit, 1_000).unwrap().begin(second * 1_000).map(|at| at / 1_000);
        // 1988-06-01 00:00 at +09:00 is 1988-05-31T15:00Z.
        assert_eq!(millis("day", 581_094_000), Some(581_094_000));
        assert_eq!(millis("month", 581_094_000), Some(581_094_000));
        // The first of May 1988 lies in summer time, the first of January does not.
        assert_eq!(millis("year", 581_094_000), Some(567_964_800));
        // The hour from 01:00 of 1986-09-14 came twice.
        assert_eq!(millis("hour", 527_014_800 - 1), Some(527_014_800 - 3_600));
        assert_eq!(millis("hour", 527_014_800 + 3_599), Some(527_014_800));
        // 1940-06-01 began at 01:00.
        assert_eq!(millis("month", -933_667_200 + 5), Some(-933_667_200));
        assert!(Cut::new("day", 1_000_000_000).unwrap().begin(i64::MIN).is_none());
        assert!(Cut::new("day", 1_000).unwrap().begin(i64::MIN).is_none());
    }
}
