//! The MessagePack of sums: a flat list of what is summed, the position of its label, its bin, the sum, ...

use pyo3::prelude::*;

use crate::collections::OrderedSet;
use crate::pack;
use crate::tally::labels::{Label, Labels};
use crate::tally::sums::{Key, Row, Sums};
use crate::tally::unpack::{Amount, Malformed, Unpacker};
use crate::wide::Wide;

/// Sums as they are read: most of them are short.
#[derive(Default)]
pub struct Pairs {
    pub short: Vec<(Key, i64)>,
    pub long: Vec<(Key, Wide)>,
}

impl Pairs {
    /// Append the sums of a flat list.
    pub fn read(
        &mut self,
        py: Python<'_>,
        unpacker: &mut Unpacker,
        names: &[Label],
    ) -> PyResult<()> {
        let length = unpacker.list()? / 4;
        // Each takes four bytes at least, whatever length the bytes claim.
        self.short.reserve(length.min(unpacker.rest() / 4));
        for _ in 0..length {
            let kind = u32::try_from(unpacker.integer()?).map_err(|_| Malformed)?;
            let label = *names.get(unpacker.position()?).ok_or(Malformed)?;
            let key = (kind, label, unpacker.integer()?);
            match unpacker.amount()? {
                Amount::Integer(number) => self.short.push((key, number)),
                Amount::Text(text) => self.long.push((key, Wide::parse(py, text)?)),
            }
        }
        Ok(())
    }
}

impl Sums {
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
        let mut pairs = Pairs::default();
        pairs.read(py, &mut unpacker, &names?)?;
        let Pairs { short, long: mut others } = pairs;
        let mut sums = Sums::default();
        for (key, amount) in short {
            // Labels can be numbered in another order than that of their texts.
            if !sums.push(key, amount) {
                others.push((key, i128::from(amount).into()));
            }
        }
        if !others.is_empty() {
            sums.add(&Sums::from_pairs(others), false);
        }
        Ok(sums)
    }

    /// The labels, and the sums in the order of their keys with labels by position; empty without sums.
    pub fn packed(&self, py: Python<'_>, labels: &Labels) -> PyResult<Vec<u8>> {
        let mut packed = Vec::new();
        if self.is_empty() {
            return Ok(packed);
        }
        // Only the groups of a kind and label are put into the order of their texts.
        let mut groups = self.groups();
        groups.sort_by_key(|group| (group[0].group.0, labels.text(group[0].group.1)));
        let mut names: OrderedSet<Label> = OrderedSet::default();
        let count = self.count();
        let mut flat = Vec::with_capacity(count * 6 + 5);
        pack::list(&mut flat, count * 4);
        for group in groups {
            let position = names.insert_full(group[0].group.1).0 as i64;
            self.pack_group(py, group, position, &mut flat)?;
        }
        packed.reserve_exact(flat.len() + 16 * names.len() + 6);
        pack::list(&mut packed, 2);
        pack::list(&mut packed, names.len());
        names.iter().for_each(|&name| pack::text(&mut packed, labels.text(name)));
        packed.extend_from_slice(&flat);
        Ok(packed)
    }

    fn pack_group(
        &self,
        py: Python<'_>,
        group: &[Row],
        position: i64,
        to: &mut Vec<u8>,
    ) -> PyResult<()> {
        for ((kind, _, bin), amount) in group.iter().flat_map(|row| self.of_row(row)) {
            pack::integer(to, kind.into());
            pack::integer(to, position);
            pack::integer(to, bin);
            amount.pack(py, to)?;
        }
        Ok(())
    }
}
