//! Sums of statistics: integers of any size by what is summed, its label and its bin.

use std::collections::BTreeMap;
use std::ops::Range;

use pyo3::prelude::*;

use crate::collections::OrderedSet;
use crate::pack;
use crate::tally::labels::{Label, Labels};
use crate::tally::unpack::{Amount, Malformed, Unpacker};
use crate::wide::Wide;

/// What is summed, its label and its bin.
pub type Key = (u32, Label, i64);

/// Sums that are not zero, in the order of their keys: two of them are added in one pass over adjacent
/// memory. A hash table takes as much time for one look-up that is not in the processor's cache.
#[derive(Clone, Default)]
pub struct Sums {
    entries: Vec<(Key, i128)>,
    /// The carries that are not zero, which are rare.
    carries: BTreeMap<Key, i64>,
}

/// The kinds of the sums of delays, as in Python.
const DELAYS: Range<u32> = 50..60;

/// So many times longer sums are searched, shorter ones passed through.
const MUCH_LONGER: usize = 8;

impl Sums {
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (Key, Wide)> + '_ {
        self.entries.iter().map(|&(key, low)| (key, self.wide(key, low)))
    }

    /// The sum of a key, which is 0 if it is not there.
    pub fn get(&self, key: Key) -> Wide {
        match self.entries.binary_search_by_key(&key, |entry| entry.0) {
            Ok(at) => self.wide(key, self.entries[at].1),
            Err(_) => Wide::default(),
        }
    }

    /// Add others, or subtract them.
    pub fn add(&mut self, other: &Sums, subtract: bool) {
        if self.entries.is_empty() && !subtract {
            self.clone_from(other);
            return;
        }
        let much_longer = self.entries.len() > MUCH_LONGER * other.entries.len();
        let (mut at, mut has_zeros) = (0, false);
        let mut new: Vec<(Key, i128)> = Vec::new();
        for (key, amount) in other.iter() {
            let amount = if subtract { amount.negated() } else { amount };
            let rest = &self.entries[at..];
            at += if much_longer {
                rest.partition_point(|entry| entry.0 < key)
            } else {
                rest.iter().position(|entry| entry.0 >= key).unwrap_or(rest.len())
            };
            if self.entries.get(at).is_some_and(|entry| entry.0 == key) {
                let total = self.wide(key, self.entries[at].1).plus(amount);
                self.entries[at].1 = total.low;
                self.set_carry(key, total.carry);
                has_zeros |= total.low == 0;
            } else {
                if new.is_empty() {
                    new.reserve(other.entries.len());
                }
                new.push((key, amount.low));
                self.set_carry(key, amount.carry);
            }
        }
        if has_zeros {
            let carries = &self.carries;
            self.entries.retain(|entry| entry.1 != 0 || carries.contains_key(&entry.0));
        }
        self.insert(new);
    }

    /// The sums without those of delays, and these.
    pub fn split(mut self) -> (Sums, Sums) {
        let start = self.entries.partition_point(|entry| entry.0 .0 < DELAYS.start);
        let end = self.entries.partition_point(|entry| entry.0 .0 < DELAYS.end);
        if start == end {
            return (self, Sums::default());
        }
        let entries = self.entries.drain(start..end).collect();
        let carries = self.carries.keys().filter(|key| DELAYS.contains(&key.0));
        let carries: Vec<Key> = carries.copied().collect();
        let carries = carries.into_iter().filter_map(|key| self.carries.remove_entry(&key));
        let carries = carries.collect();
        (self, Sums { entries, carries })
    }

    /// Sums from pairs in any order; those of equal keys are added.
    pub fn from_pairs(mut pairs: Vec<(Key, Wide)>) -> Sums {
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            pairs.sort_by_key(|pair| pair.0);
        }
        let mut sums = Sums::default();
        let mut pairs = pairs.into_iter().peekable();
        while let Some((key, mut total)) = pairs.next() {
            while let Some((_, more)) = pairs.next_if(|pair| pair.0 == key) {
                total = total.plus(more);
            }
            if total != Wide::default() {
                sums.entries.push((key, total.low));
                sums.set_carry(key, total.carry);
            }
        }
        sums
    }

    /// Read a flat list: what is summed, the position of its label, its bin, the sum, ...
    pub fn unpack(py: Python<'_>, unpacker: &mut Unpacker, names: &[Label]) -> PyResult<Sums> {
        let length = unpacker.list()?;
        let mut sums = Sums::default();
        sums.entries.reserve_exact(length / 4);
        // What is not written in the order of the keys, since labels are numbered otherwise.
        let mut others = Vec::new();
        for _ in 0..length / 4 {
            let kind = u32::try_from(unpacker.integer()?).map_err(|_| Malformed)?;
            let label = *names.get(unpacker.position()?).ok_or(Malformed)?;
            let bin = unpacker.integer()?;
            let amount = match unpacker.amount()? {
                Amount::Integer(number) => Wide::from(i128::from(number)),
                Amount::Text(text) => Wide::parse(py, text)?,
            };
            let key = (kind, label, bin);
            let follows = sums.entries.last().is_none_or(|last| last.0 < key);
            if follows && amount.carry == 0 && amount.low != 0 {
                sums.entries.push((key, amount.low));
            } else {
                others.push((key, amount));
            }
        }
        if !others.is_empty() {
            sums.add(&Sums::from_pairs(others), false);
        }
        Ok(sums)
    }

    /// Read what `packed` wrote.
    pub fn from_packed(py: Python<'_>, packed: &[u8], labels: &mut Labels) -> PyResult<Sums> {
        if packed.is_empty() {
            return Ok(Sums::default());
        }
        let mut unpacker = Unpacker::new(packed);
        if unpacker.list()? != 2 {
            return Err(Malformed.into());
        }
        let count = unpacker.list()?;
        let names: PyResult<Vec<_>> =
            (0..count).map(|_| Ok(labels.number(unpacker.text()?))).collect();
        Sums::unpack(py, &mut unpacker, &names?)
    }

    /// The labels, and the sums in the order of their keys with labels by position; empty without sums.
    pub fn packed(&self, py: Python<'_>, labels: &Labels) -> PyResult<Vec<u8>> {
        let mut packed = Vec::new();
        if self.is_empty() {
            return Ok(packed);
        }
        // Sums of a kind and label lie together: only these groups are put into the order of their texts.
        let same = |a: &(Key, i128), b: &(Key, i128)| (a.0 .0, a.0 .1) == (b.0 .0, b.0 .1);
        let mut groups: Vec<_> = self.entries.chunk_by(same).collect();
        groups.sort_by_key(|group| (group[0].0 .0, labels.text(group[0].0 .1)));
        let mut names: OrderedSet<Label> = OrderedSet::default();
        let mut flat = Vec::with_capacity(self.entries.len() * 6);
        pack::list(&mut flat, self.entries.len() * 4);
        for group in groups {
            let position = names.insert_full(group[0].0 .1).0 as i64;
            for &(key, low) in group {
                pack::integer(&mut flat, key.0.into());
                pack::integer(&mut flat, position);
                pack::integer(&mut flat, key.2);
                self.wide(key, low).pack(py, &mut flat)?;
            }
        }
        packed.reserve_exact(flat.len() + 16 * names.len() + 6);
        pack::list(&mut packed, 2);
        pack::list(&mut packed, names.len());
        names.iter().for_each(|&name| pack::text(&mut packed, labels.text(name)));
        packed.extend_from_slice(&flat);
        Ok(packed)
    }

    fn wide(&self, key: Key, low: i128) -> Wide {
        let carry = if self.carries.is_empty() { 0 } else { *self.carries.get(&key).unwrap_or(&0) };
        Wide { low, carry }
    }

    #[inline]
    fn set_carry(&mut self, key: Key, carry: i64) {
        if carry != 0 {
            self.carries.insert(key, carry);
        } else if !self.carries.is_empty() {
            self.carries.remove(&key);
        }
    }

    /// Insert entries whose keys are new, in their order.
    fn insert(&mut self, new: Vec<(Key, i128)>) {
        if new.is_empty() {
            return;
        }
        let mut old = self.entries.len();
        self.entries.reserve(new.len());
        self.entries.extend_from_slice(&new);
        let mut free = self.entries.len();
        for entry in new.into_iter().rev() {
            while old > 0 && self.entries[old - 1].0 > entry.0 {
                old -= 1;
                free -= 1;
                self.entries[free] = self.entries[old];
            }
            free -= 1;
            self.entries[free] = entry;
        }
    }
}

/// A key from Python.
pub fn pair(item: &Bound<'_, PyAny>, labels: &mut Labels) -> PyResult<(Key, Wide)> {
    let ((kind, label, bin), amount): ((u32, String, i64), Bound<'_, PyAny>) = item.extract()?;
    Ok(((kind, labels.number(&label), bin), Wide::from_python(&amount)?))
}
