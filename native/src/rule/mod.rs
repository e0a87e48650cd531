//! Rules: which records of a block lie in the rows that were agreed, in three-valued logic, for all agreements at once.
//!
//! The truth of a rule over a block is two words, one bit per record: true, false, and neither for unknown. Conditions on one
//! field are asked together, by one look at its value (`values::Column`); conditions on elements, on what lies behind a null and
//! on unions of several types are asked of the bytes one by one (`path`). Equal conditions, and equal rules made of them, are one,
//! whichever agreements they come from. SQL's logic, and Kleene's: a null makes every condition but `is_null` unknown, `not` keeps
//! unknown, `all` is false as soon as one is false, `any` true as soon as one is true.

mod path;

use std::collections::HashMap;

use serde::Deserialize;

use crate::limits::BLOCK_RECORDS;
use crate::program::Fault;
use crate::values::{COLUMN_TESTS_MAX, Column, Test, TestSpec};
use crate::walk::Slot;
use crate::walk::layout::{Found, Layout};
use path::{Ask, PathTest, Truth};

/// A rule, of leaves by their place.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleSpec {
    /// One condition.
    Leaf(usize),
    /// False as soon as one is false.
    All(Vec<RuleSpec>),
    /// True as soon as one is true.
    Any(Vec<RuleSpec>),
    /// The other way round.
    Not(Box<RuleSpec>),
}

/// A condition at the end of a path.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeafSpec {
    path: Vec<i32>,
    every: bool,
    ask: AskSpec,
}

/// What is asked of a value.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskSpec {
    /// Whether it is null (true), or is not.
    IsNull(bool),
    /// An operator.
    Test(TestSpec),
    /// By branch of a union of several types; none: unknown.
    Branches(Vec<Option<AskSpec>>),
}

/// Truth over a block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Word {
    /// Records of which the rule is true.
    pub yes: u64,
    /// Records of which it is false.
    pub no: u64,
}

/// A block as rules and forms see it: for each record the bytes that its slots lie in, and the slots.
pub struct View<'a> {
    /// By record.
    pub sources: &'a [&'a [u8]],
    /// `stride` of them by record.
    pub slots: &'a [Slot],
    /// Slots of a record.
    pub stride: usize,
}

impl<'a> View<'a> {
    /// A slot of a record, and the bytes that it lies in.
    #[inline(always)]
    pub fn at(&self, row: usize, slot: u16) -> (&'a [u8], Slot) {
        (self.sources[row], self.slots[row * self.stride + slot as usize])
    }
}

/// Bytes `start..end`, or none at all where they are no such range; the walk has held that they are one.
#[inline(always)]
pub fn cut(source: &[u8], start: u32, end: u32) -> &[u8] {
    source.get(start as usize..end as usize).unwrap_or_default()
}

/// All conditions on one field that may be asked together.
struct Asked {
    slot: u16,
    /// Bytes of the union's branch before the value: 1 where it may be null.
    branch: u32,
    column: Column,
    /// Where its leaves begin among the truths, and how many they are.
    first: usize,
    count: usize,
}

/// Conditions on one field, on their way to columns.
struct AskedOf {
    slot: u16,
    branch: u32,
    /// By leaf.
    tests: Vec<(usize, Test)>,
}

enum Expr {
    All(Box<[usize]>),
    Any(Box<[usize]>),
    Not(usize),
}

/// The rules of one writer schema.
pub struct Rules {
    constants: Vec<(usize, bool)>,
    nulls: Vec<(usize, u16, bool)>,
    columns: Vec<Asked>,
    paths: Vec<(usize, PathTest)>,
    leaves: usize,
    exprs: Vec<Expr>,
    roots: Vec<usize>,
}

impl Rules {
    /// Compiles leaves and the rules made of them.
    pub fn compile(leaves: &[LeafSpec], rules: &[RuleSpec], layout: &mut Layout) -> Result<Rules, Fault> {
        let mut found = Rules {
            constants: Vec::new(),
            nulls: Vec::new(),
            columns: Vec::new(),
            paths: Vec::new(),
            leaves: leaves.len(),
            exprs: Vec::new(),
            roots: Vec::new(),
        };
        let places = found.place_leaves(leaves, layout)?;
        let mut known = HashMap::new();
        for rule in rules {
            let root = found.place_rule(rule, &places, &mut known)?;
            found.roots.push(root);
        }
        Ok(found)
    }

    /// Tells how many rules there are.
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Tells whether there is none.
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Gives the leaves of one field neighbouring places, so that a column's answers stand together.
    fn place_leaves(&mut self, leaves: &[LeafSpec], layout: &mut Layout) -> Result<Vec<usize>, Fault> {
        let mut places = vec![0; leaves.len()];
        let mut next = 0;
        let mut fields: Vec<AskedOf> = Vec::new();
        for (leaf, spec) in leaves.iter().enumerate() {
            let target = layout.find(&spec.path)?;
            match (target, &spec.ask) {
                (Found::Record, AskSpec::IsNull(wanted)) => self.constants.push((next, !wanted)),
                (Found::Record, _) => return Err(Fault("a record can only be asked whether it is null")),
                (Found::Part { part, rest: [] }, AskSpec::IsNull(wanted)) => self.nulls.push((next, layout.slot(part), *wanted)),
                (Found::Part { part, rest: [] }, AskSpec::Test(test)) => {
                    let (slot, branch) = (layout.slot(part), u32::from(layout.node(part).null_byte().is_some()));
                    let test = Test::compile(test)?;
                    match fields.iter_mut().find(|field| field.slot == slot) {
                        Some(field) => field.tests.push((leaf, test)),
                        None => fields.push(AskedOf { slot, branch, tests: vec![(leaf, test)] }),
                    }
                    continue;
                }
                (Found::Part { part, rest }, ask) => {
                    let slot = layout.slot(part);
                    let test = PathTest::compile(slot, layout.node(part).clone(), rest, Ask::compile(ask)?, spec.every)?;
                    self.paths.push((next, test));
                }
            }
            places[leaf] = next;
            next += 1;
        }
        for AskedOf { slot, branch, tests } in fields {
            for some in tests.chunks(COLUMN_TESTS_MAX) {
                let own: Vec<Test> = some.iter().map(|(_, test)| test.clone()).collect();
                self.columns.push(Asked { slot, branch, column: Column::new(&own), first: next, count: some.len() });
                for (leaf, _) in some {
                    places[*leaf] = next;
                    next += 1;
                }
            }
        }
        Ok(places)
    }

    fn place_rule(&mut self, rule: &RuleSpec, places: &[usize], known: &mut HashMap<(u8, Vec<usize>), usize>) -> Result<usize, Fault> {
        let mut inner = |found: &mut Rules, parts: &[RuleSpec]| -> Result<Vec<usize>, Fault> {
            parts.iter().map(|part| found.place_rule(part, places, known)).collect()
        };
        let (kind, parts) = match rule {
            RuleSpec::Leaf(leaf) => return places.get(*leaf).copied().ok_or(Fault("a rule names no leaf")),
            RuleSpec::All(parts) => (0, inner(self, parts)?),
            RuleSpec::Any(parts) => (1, inner(self, parts)?),
            RuleSpec::Not(part) => (2, vec![self.place_rule(part, places, known)?]),
        };
        if let Some(place) = known.get(&(kind, parts.clone())) {
            return Ok(*place);
        }
        let place = self.leaves + self.exprs.len();
        self.exprs.push(match kind {
            0 => Expr::All(parts.clone().into()),
            1 => Expr::Any(parts.clone().into()),
            _ => Expr::Not(parts[0]),
        });
        known.insert((kind, parts), place);
        Ok(place)
    }

    /// Decides every rule for the records of `there`. `truths` is scratch; the answers are read by `yes`.
    pub fn decide(&self, view: &View, there: u64, truths: &mut Vec<Word>) {
        truths.clear();
        truths.resize(self.leaves, Word::default());
        for (place, truth) in &self.constants {
            truths[*place] = word(if *truth { there } else { 0 }, there);
        }
        for (place, slot, wanted) in &self.nulls {
            let nulls = nulls_of(view, there, *slot);
            truths[*place] = word(if *wanted { nulls } else { there & !nulls }, there);
        }
        for asked in &self.columns {
            asked.decide(view, there, &mut truths[asked.first..asked.first + asked.count]);
        }
        for (place, test) in &self.paths {
            truths[*place] = test.decide(view, there);
        }
        for expr in &self.exprs {
            let found = match expr {
                Expr::All(parts) => parts.iter().fold(Word { yes: there, no: 0 }, |all, part| {
                    let part = truths[*part];
                    Word { yes: all.yes & part.yes, no: all.no | part.no }
                }),
                Expr::Any(parts) => parts.iter().fold(Word { yes: 0, no: there }, |any, part| {
                    let part = truths[*part];
                    Word { yes: any.yes | part.yes, no: any.no & part.no }
                }),
                Expr::Not(part) => Word { yes: truths[*part].no, no: truths[*part].yes },
            };
            truths.push(found);
        }
    }

    /// The records of which a rule is true, once decided.
    #[inline]
    pub fn yes(&self, rule: usize, truths: &[Word]) -> u64 {
        truths[self.roots[rule]].yes
    }
}

impl Asked {
    #[inline(never)]
    fn decide(&self, view: &View, there: u64, truths: &mut [Word]) {
        let mut answers = [0u64; BLOCK_RECORDS];
        let mut known = 0u64;
        for row in rows(there) {
            let (source, slot) = view.at(row, self.slot);
            if slot.null == 0 {
                known |= 1 << row;
                answers[row] = self.column.truths(cut(source, slot.start + self.branch, slot.end));
            }
        }
        if self.count > 8 {
            transpose(&mut answers);
            for (truth, yes) in truths.iter_mut().zip(&answers) {
                *truth = word(*yes, known);
            }
        } else {
            for (bit, truth) in truths.iter_mut().enumerate() {
                let yes = answers.iter().enumerate().fold(0, |yes, (row, answer)| yes | (answer >> bit & 1) << row);
                *truth = word(yes, known);
            }
        }
    }
}

/// True of `yes`, false of what else is known.
fn word(yes: u64, known: u64) -> Word {
    Word { yes: yes & known, no: known & !yes }
}

fn nulls_of(view: &View, there: u64, slot: u16) -> u64 {
    rows(there).fold(0, |word, row| word | u64::from(view.at(row, slot).1.null) << row)
}

/// The places of a word's bits, lowest first.
#[inline(always)]
pub fn rows(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        if word == 0 {
            return None;
        }
        let row = word.trailing_zeros() as usize;
        word &= word - 1;
        Some(row)
    })
}

/// Makes bit j of word i bit i of word j.
fn transpose(words: &mut [u64; BLOCK_RECORDS]) {
    let (mut width, mut mask) = (32, 0x0000_0000_FFFF_FFFFu64);
    while width != 0 {
        let mut at = 0;
        while at < BLOCK_RECORDS {
            let swapped = ((words[at] >> width) ^ words[at + width]) & mask;
            words[at] ^= swapped << width;
            words[at + width] ^= swapped;
            at = (at + width + 1) & !width;
        }
        width >>= 1;
        mask ^= mask << width;
    }
}

impl Truth {
    fn add_to(self, word: &mut Word, row: usize) {
        match self {
            Truth::True => word.yes |= 1 << row,
            Truth::False => word.no |= 1 << row,
            Truth::Unknown => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_answers_turns_on_its_side() {
        let mut words = [0u64; 64];
        words[3] = 1 << 17 | 1 << 63;
        words[63] = 1;
        transpose(&mut words);
        assert_eq!((words[17], words[63], words[0]), (1 << 3, 1 << 3, 1 << 63));
        assert_eq!(words.iter().map(|word| word.count_ones()).sum::<u32>(), 3);
    }

    #[test]
    fn rows_are_the_bits_from_the_lowest() {
        assert_eq!(rows(1 | 1 << 5 | 1 << 63).collect::<Vec<_>>(), [0, 5, 63]);
        assert_eq!(rows(0).next(), None);
    }
}
