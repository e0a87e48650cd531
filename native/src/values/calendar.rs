//! The proleptic Gregorian calendar on whole numbers, as `hub.exchange.reference.transforms` has it.
//!
//! Years begin in March, so that a leap day ends one. Source: C. Neri and L. Schneider, Euclidean affine functions and their
//! application to calendar algorithms, 2022.

/// 1970-01-01 in days since 0000-03-01, and as many whole eras of 400 years before it as reach below every timestamp.
const EPOCH: u64 = 719_468 + 146_097 * 1_000_000;
/// Days from the first of January to the first of each quarter, without a leap day.
const QUARTERS: [i64; 4] = [0, 90, 181, 273];

/// The unit whose first day is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The first of the month.
    Month,
    /// The first of January, April, July or October.
    Quarter,
    /// The first of January.
    Year,
}

impl Unit {
    /// The unit of that many months.
    pub fn of_months(months: u8) -> Option<Unit> {
        match months {
            1 => Some(Unit::Month),
            3 => Some(Unit::Quarter),
            12 => Some(Unit::Year),
            _ => None,
        }
    }

    /// The first day of the unit that `day` lies in, in days since 1970-01-01; any day of a date or timestamp.
    #[inline]
    pub fn first_day(self, day: i64) -> i64 {
        let (century, day_of_century) = parts(day.wrapping_add_unsigned(EPOCH) as u64, 146_097);
        let (year_of_century, day_of_year) = parts(day_of_century, 1_461);
        // The months from March on, by an affine function whose rest tells the day of the month.
        let month = 5 * day_of_year + 2;
        if self == Unit::Month {
            return day - ((month % 153) / 5) as i64;
        }
        let leap = i64::from(if year_of_century == 0 { century.is_multiple_of(4) } else { year_of_century.is_multiple_of(4) });
        // January and February stand at the end of the year before.
        let since_january = if day_of_year >= 306 { day_of_year as i64 - 306 } else { day_of_year as i64 + 59 + leap };
        if self == Unit::Year {
            return day - since_january;
        }
        let quarter = ((month / 153 + 2) % 12 / 3) as usize;
        day - since_january + QUARTERS[quarter] + if quarter > 0 { leap } else { 0 }
    }
}

/// How often a span of `quarters` quarters of a day lies in `days`, and the days behind the last of them.
#[inline]
fn parts(days: u64, quarters: u64) -> (u64, u64) {
    let number = days.wrapping_mul(4).wrapping_add(3);
    (number / quarters, number % quarters / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The algorithm of the reference, which is another one.
    fn reference(day: i64, months: i64) -> i64 {
        let (era, day_of_era) = ((day + 719_468).div_euclid(146_097), (day + 719_468).rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let (year, month) = (year_of_era + era * 400 + i64::from(march_month >= 10), (march_month + 2) % 12 / months * months);
        let year = year - i64::from(month < 2);
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * ((month + 10) % 12) + 2) / 5 - 719_468
    }

    #[test]
    fn units_begin_where_the_reference_says() {
        let far = [i64::from(i32::MIN), i64::from(i32::MAX), i64::MIN / 86_400_000 - 1, i64::MAX / 86_400_000, -719_468, 0];
        let near = far.iter().flat_map(|day| day - 400..day + 400).chain(-800_000..200_000);
        for day in near {
            for months in [1, 3, 12] {
                let unit = Unit::of_months(months).unwrap();
                assert_eq!(unit.first_day(day), reference(day, i64::from(months)), "{day} {unit:?}");
            }
        }
    }
}
