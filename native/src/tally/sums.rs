//! Sums of statistics: integers of any size by what is summed, its label and its bin.

use std::collections::BTreeMap;
use std::ops::Range;

use pyo3::prelude::*;

use crate::tally::labels::{Label, Labels};
use crate::wide::Wide;

/// What is summed, its label and its bin.
pub type Key = (u32, Label, i64);

/// So many bins lie in one row: eight amounts are added as fast as one that is not in the cache.
pub const WIDTH: usize = 8;

/// The amounts of neighbouring bins. Those of no bin are 0.
#[derive(Clone)]
pub struct Row {
    /// What is summed, its label, and the first bin divided by `WIDTH`.
    pub group: Key,
    amounts: [i64; WIDTH],
}

impl Row {
    fn new(group: Key) -> Row {
        Row { group, amounts: [0; WIDTH] }
    }

    #[inline]
    fn is_zero(&self) -> bool {
        self.amounts.iter().fold(0, |all, amount| all | amount) == 0
    }

    fn key(&self, place: usize) -> Key {
        let (kind, label, group) = self.group;
        (kind, label, group.wrapping_mul(WIDTH as i64).wrapping_add(place as i64))
    }
}

/// Stands in a row for an amount that is among the wide ones.
const WIDE: i64 = i64::MIN;

/// The highest bit tells whether a number needs more than 63 bits: two that do not can be added.
#[inline]
fn excess(number: i64) -> i64 {
    number ^ number << 1
}

/// The amounts of two rows added, or one from the other; None if any of them is wide.
#[inline]
fn combined(own: &[i64; WIDTH], others: &[i64; WIDTH], subtract: bool) -> Option<[i64; WIDTH]> {
    let (mut sums, mut all) = ([0; WIDTH], 0);
    for place in 0..WIDTH {
        let (one, other) = (own[place], others[place]);
        let sum = if subtract { one.wrapping_sub(other) } else { one.wrapping_add(other) };
        all |= excess(one) | excess(other) | excess(sum);
        sums[place] = sum;
    }
    (all >= 0).then_some(sums)
}

/// The row of a key, and the place there.
#[inline]
fn place_of(key: Key) -> (Key, usize) {
    let width = WIDTH as i64;
    ((key.0, key.1, key.2.div_euclid(width)), key.2.rem_euclid(width) as usize)
}

/// Sums that are not zero, in the order of their keys: two of them are added in one pass over adjacent
/// memory. A hash table takes as much time for one look-up that is not in the processor's cache.
#[derive(Clone, Default)]
pub struct Sums {
    rows: Vec<Row>,
    /// The amounts that need more than 63 bits, which are rare.
    wide: BTreeMap<Key, Wide>,
}

/// The kinds of the sums of delays, as in Python.
pub const DELAYS: Range<u32> = 50..60;

/// So many times longer sums are searched, shorter ones passed through.
const MUCH_LONGER: usize = 8;

impl Sums {
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Key, Wide)> + '_ {
        self.rows.iter().flat_map(|row| self.of_row(row))
    }

    /// The sums of each kind and label, in order, as many as there are, and these.
    pub fn groups(&self) -> Vec<&[Row]> {
        let same = |a: &Row, b: &Row| (a.group.0, a.group.1) == (b.group.0, b.group.1);
        self.rows.chunk_by(same).collect()
    }

    /// The number of sums.
    pub fn count(&self) -> usize {
        let amounts = self.rows.iter().flat_map(|row| &row.amounts);
        amounts.filter(|&&amount| amount != 0).count()
    }

    pub fn of_row<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = (Key, Wide)> + 'a {
        let places = row.amounts.iter().enumerate().filter(|(_, &amount)| amount != 0);
        places.map(|(place, _)| (row.key(place), self.amount(row, place)))
    }

    /// The sum of a key, which is 0 if it is not there.
    pub fn get(&self, key: Key) -> Wide {
        let (group, place) = place_of(key);
        match self.rows.binary_search_by_key(&group, |row| row.group) {
            Ok(at) => self.amount(&self.rows[at], place),
            Err(_) => Wide::default(),
        }
    }

    /// Add others, or subtract them.
    pub fn add(&mut self, other: &Sums, subtract: bool) {
        if self.rows.is_empty() && !subtract {
            self.rows.reserve(other.rows.len());
            self.rows.extend(other.rows.iter().filter(|row| !row.is_zero()).cloned());
            self.wide.clone_from(&other.wide);
            return;
        }
        let much_longer = self.rows.len() > MUCH_LONGER * other.rows.len();
        let (mut at, mut has_zeros) = (0, false);
        let mut missing: Vec<&Row> = Vec::new();
        for row in other.rows.iter().filter(|row| !row.is_zero()) {
            let rest = &self.rows[at..];
            at += if much_longer {
                rest.partition_point(|own| own.group < row.group)
            } else {
                rest.iter().position(|own| own.group >= row.group).unwrap_or(rest.len())
            };
            if self.rows.get(at).is_some_and(|own| own.group == row.group) {
                self.add_row(at, other, row, subtract);
                has_zeros |= self.rows[at].is_zero();
            } else {
                missing.push(row);
            }
        }
        if has_zeros {
            self.remove_zeros();
        }
        if !missing.is_empty() {
            self.insert(missing.iter().map(|row| row.group));
            let mut at = 0;
            for row in missing {
                at += self.rows[at..].partition_point(|own| own.group < row.group);
                self.add_row(at, other, row, subtract);
            }
        }
    }

    /// Add an amount to a row that is there. `at` is a row that may be near, and becomes that of the key.
    /// Returns whether there was one, and no wide number.
    #[inline]
    pub fn add_near(&mut self, at: &mut usize, key: Key, amount: i64) -> bool {
        let (group, place) = place_of(key);
        let found = match self.rows.get(*at) {
            Some(row) if row.group == group => *at,
            Some(row) if row.group < group => self.search_from(*at + 1, group),
            _ => self.rows.partition_point(|row| row.group < group),
        };
        let Some(row) = self.rows.get_mut(found).filter(|row| row.group == group) else {
            return false;
        };
        *at = found;
        let sum = row.amounts[place].wrapping_add(amount);
        let is_small = excess(row.amounts[place]) | excess(amount) | excess(sum) >= 0;
        if is_small {
            row.amounts[place] = sum;
        }
        is_small
    }

    fn search_from(&self, start: usize, group: Key) -> usize {
        let rest = &self.rows[start..];
        let near = &rest[..rest.len().min(MUCH_LONGER)];
        start
            + match near.iter().position(|row| row.group >= group) {
                Some(steps) => steps,
                None => rest.partition_point(|row| row.group < group),
            }
    }

    /// The sums without those of delays, and these.
    pub fn split(mut self) -> (Sums, Sums) {
        let start = self.rows.partition_point(|row| row.group.0 < DELAYS.start);
        let end = self.rows.partition_point(|row| row.group.0 < DELAYS.end);
        if start == end {
            return (self, Sums::default());
        }
        let rows = self.rows.drain(start..end).collect();
        let (wide, others) = self.wide.into_iter().partition(|(key, _)| DELAYS.contains(&key.0));
        self.wide = others;
        (self, Sums { rows, wide })
    }

    /// Sums from pairs in any order; those of equal keys are added.
    pub fn from_pairs(mut pairs: Vec<(Key, Wide)>) -> Sums {
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            pairs.sort_by_key(|pair| pair.0);
        }
        let mut sums = Sums::default();
        for (key, amount) in pairs {
            let (at, place) = sums.last_row(key);
            sums.put(at, place, sums.amount(&sums.rows[at], place).plus(amount));
        }
        sums.remove_zeros();
        sums
    }

    /// Append a sum whose key is above all others. Returns whether it is.
    pub fn push(&mut self, key: Key, amount: i64) -> bool {
        let (group, place) = place_of(key);
        let follows = match self.rows.last() {
            Some(last) if last.group == group => {
                last.amounts[place..].iter().all(|&amount| amount == 0)
            }
            Some(last) => last.group < group,
            None => true,
        };
        let fits = follows && amount != 0 && excess(amount) >= 0;
        if fits {
            let (at, place) = self.last_row(key);
            self.rows[at].amounts[place] = amount;
        }
        fits
    }

    pub fn reserve(&mut self, rows: usize) {
        self.rows.reserve(rows);
    }

    /// Set all sums to zero, and keep their rows for others of the same keys: until `remove_zeros` there
    /// are sums of zero.
    pub fn zero(&mut self) {
        self.wide.clear();
        self.rows.iter_mut().for_each(|row| row.amounts = [0; WIDTH]);
    }

    /// Remove the rows that have zeros alone.
    pub fn remove_zeros(&mut self) {
        self.rows.retain(|row| !row.is_zero());
    }

    /// The last row, a new one if it is of another group than the key, and the key's place in it.
    fn last_row(&mut self, key: Key) -> (usize, usize) {
        let (group, place) = place_of(key);
        if self.rows.last().is_none_or(|last| last.group != group) {
            self.rows.push(Row::new(group));
        }
        (self.rows.len() - 1, place)
    }

    fn add_row(&mut self, at: usize, other: &Sums, row: &Row, subtract: bool) {
        let own = &mut self.rows[at].amounts;
        if let Some(sums) = combined(own, &row.amounts, subtract) {
            *own = sums;
            return;
        }
        for place in 0..WIDTH {
            let amount = other.amount(row, place);
            let amount = if subtract { amount.negated() } else { amount };
            self.put(at, place, self.amount(&self.rows[at], place).plus(amount));
        }
    }

    fn amount(&self, row: &Row, place: usize) -> Wide {
        match row.amounts[place] {
            WIDE => self.wide.get(&row.key(place)).copied().unwrap_or_default(),
            amount => Wide::from(i128::from(amount)),
        }
    }

    fn put(&mut self, at: usize, place: usize, amount: Wide) {
        let row = &mut self.rows[at];
        let key = row.key(place);
        let small = i64::try_from(amount.low).ok().filter(|&n| amount.carry == 0 && excess(n) >= 0);
        let before = std::mem::replace(&mut row.amounts[place], small.unwrap_or(WIDE));
        if small.is_none() {
            self.wide.insert(key, amount);
        } else if before == WIDE {
            self.wide.remove(&key);
        }
    }

    /// Insert empty rows of new groups, in their order.
    fn insert(&mut self, groups: impl DoubleEndedIterator<Item = Key> + ExactSizeIterator) {
        let mut old = self.rows.len();
        let mut free = old + groups.len();
        self.rows.resize_with(free, || Row::new((0, 0, 0)));
        for group in groups.rev() {
            while old > 0 && self.rows[old - 1].group > group {
                old -= 1;
                free -= 1;
                self.rows.swap(old, free);
            }
            free -= 1;
            self.rows[free] = Row::new(group);
        }
    }
}

/// A key from Python.
pub fn pair(item: &Bound<'_, PyAny>, labels: &mut Labels) -> PyResult<(Key, Wide)> {
    let ((kind, label, bin), amount): ((u32, String, i64), Bound<'_, PyAny>) = item.extract()?;
    Ok(((kind, labels.number(&label), bin), Wide::from_python(&amount)?))
}
