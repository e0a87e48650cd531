//! The proleptic Gregorian calendar on whole numbers, as `hub.exchange.reference.transforms` has it.
//!
//! Source: H. Hinnant, chrono-compatible low-level date algorithms; years begin in March, so that a leap day ends one.

/// The first day of the month (`months` 1), quarter (3) or year (12) that `day` lies in, in days since 1970-01-01.
#[inline]
pub fn first_day(day: i64, months: i64) -> i64 {
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let (year, month) = (year_of_era + era * 400 + i64::from(march_month >= 10), (march_month + 2) % 12);
    days_to(year, month / months * months)
}

/// The days from 1970-01-01 to the first of `month` (January 0).
fn days_to(year: i64, month: i64) -> i64 {
    let year = year - i64::from(month < 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 10) % 12) + 2) / 5;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}
