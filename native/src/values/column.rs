//! Columns: all tests that the plan asks of one field, answered by one look at the value.
//!
//! Bit i of the answer is test i. Texts that are listed stand in one dictionary over all tests; an enum's and a boolean's
//! answers are a table; a whole number is read once and held against every range. What is left is asked one by one.

use std::collections::HashMap;

use super::dictionary::Dictionary;
use super::read;
use super::test::{Kind, Test};

/// Tests that one column holds.
pub const COLUMN_TESTS_MAX: usize = 64;

/// The tests of one field.
#[derive(Clone, Debug)]
pub struct Column {
    table: Table,
    others: Box<[(u64, Test)]>,
}

#[derive(Clone, Debug)]
enum Table {
    None,
    Texts(Dictionary),
    Symbols(Box<[u64]>),
    Booleans([u64; 2]),
    Ranges(Box<[(i64, i64, u64)]>),
}

impl Column {
    /// Puts tests of values of one type together; those beyond `COLUMN_TESTS_MAX` are not asked.
    pub fn new(tests: &[Test]) -> Column {
        let tests: Vec<(u64, &Test)> = tests.iter().take(COLUMN_TESTS_MAX).enumerate().map(|(place, test)| (1 << place, test)).collect();
        let table = table(&tests);
        let in_table = |test: &Test| match table {
            Table::None => false,
            Table::Texts(_) => matches!(test.0, Kind::TextSet { .. }),
            Table::Symbols(_) => matches!(test.0, Kind::Symbols { .. }),
            Table::Booleans(_) => matches!(test.0, Kind::Boolean { .. }),
            Table::Ranges(_) => matches!(test.0, Kind::IntegerRange { .. }),
        };
        let others = tests.iter().filter(|(_, test)| !in_table(test)).map(|(bit, test)| (*bit, (*test).clone())).collect();
        Column { table, others }
    }

    /// Tells of each test whether it holds of an encoded value.
    #[inline]
    pub fn truths(&self, value: &[u8]) -> u64 {
        let mut truths = match &self.table {
            Table::None => 0,
            Table::Texts(found) => found.get(read::payload(value)),
            Table::Symbols(words) => usize::try_from(read::long(value)).ok().and_then(|index| words.get(index)).copied().unwrap_or(0),
            Table::Booleans(words) => words[usize::from(value.first() == Some(&1))],
            Table::Ranges(ranges) => {
                let number = read::long(value);
                ranges.iter().fold(0, |word, (least, most, bit)| word | if *least <= number && number <= *most { *bit } else { 0 })
            }
        };
        for (bit, test) in &self.others {
            truths |= if test.holds(value) { *bit } else { 0 };
        }
        truths
    }
}

fn table(tests: &[(u64, &Test)]) -> Table {
    let Some((_, first)) = tests
        .iter()
        .find(|(_, test)| matches!(test.0, Kind::TextSet { .. } | Kind::Symbols { .. } | Kind::Boolean { .. } | Kind::IntegerRange { .. }))
    else {
        return Table::None;
    };
    match &first.0 {
        Kind::TextSet { .. } => Table::Texts(texts(tests)),
        Kind::Symbols { .. } => {
            let count =
                tests.iter().map(|(_, test)| if let Kind::Symbols { holds } = &test.0 { holds.len() } else { 0 }).max().unwrap_or(0);
            Table::Symbols((0..count).map(|index| word(tests, |holds: &[bool]| holds.get(index) == Some(&true))).collect())
        }
        Kind::Boolean { .. } => Table::Booleans([0, 1].map(|index: usize| word(tests, |holds: &[bool]| holds[index]))),
        _ => Table::Ranges(tests.iter().filter_map(|(bit, test)| test.range().map(|(least, most)| (least, most, *bit))).collect()),
    }
}

fn word(tests: &[(u64, &Test)], holds: impl Fn(&[bool]) -> bool) -> u64 {
    tests.iter().fold(0, |word, (bit, test)| {
        let found = match &test.0 {
            Kind::Symbols { holds: answers } => holds(answers),
            Kind::Boolean { holds: answers } => holds(answers),
            _ => false,
        };
        word | if found { *bit } else { 0 }
    })
}

/// The dictionary of all listed texts. A text that no test lists has the bits of those that ask for absence.
fn texts(tests: &[(u64, &Test)]) -> Dictionary {
    let sets = || tests.iter().filter_map(|(bit, test)| test.texts().map(|(values, listed)| (*bit, values, listed)));
    let absent = sets().fold(0, |word, (bit, _, listed)| if listed { word } else { word | bit });
    let mut words: HashMap<&[u8], u64> = HashMap::new();
    for (bit, values, listed) in sets() {
        for value in values {
            let word = words.entry(value).or_insert(absent);
            *word = if listed { *word | bit } else { *word & !bit };
        }
    }
    Dictionary::new(words.into_iter(), absent)
}
