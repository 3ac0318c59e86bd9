//! Adds the deltas of a batch to the changes that wait to be added to the buckets.

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::tally::bucket::{unknown, BucketCounts, Content, Totals};
use crate::tally::labels::{Label, Labels};
use crate::tally::sums::Sums;
use crate::tally::unpack::{Malformed, Unpacker};

/// A change of one model's counts in one minute, as it stands on the log.
struct Delta {
    model: usize,
    basis: usize,
    minute: i64,
    totals: Totals,
    /// Actual, predicted and n.
    cells: Vec<(Label, Label, i64)>,
    sums: Sums,
    delays: Sums,
}

impl Delta {
    fn unpack(py: Python<'_>, unpacker: &mut Unpacker, names: &[Label]) -> PyResult<Delta> {
        let fields = unpacker.list()?;
        if !(5..=6).contains(&fields) {
            return Err(Malformed.into());
        }
        let (model, basis) = (unpacker.position()?, unpacker.position()?);
        let minute = unpacker.integer()?;
        let mut totals = Totals::default();
        if unpacker.list()? != totals.len() {
            return Err(Malformed.into());
        }
        for total in &mut totals {
            *total = unpacker.integer()?;
        }
        let mut cells = Vec::new();
        for _ in 0..unpacker.list()? / 3 {
            let mut label = || -> PyResult<Label> {
                Ok(names.get(unpacker.position()?).copied().ok_or(Malformed)?)
            };
            let cell = (label()?, label()?);
            cells.push((cell.0, cell.1, unpacker.integer()?));
        }
        let (sums, delays) = match fields {
            5 => Default::default(),
            _ => Sums::unpack(py, unpacker, names)?.split(),
        };
        Ok(Delta { model, basis, minute, totals, cells, sums, delays })
    }

    fn add_to(&self, content: &mut Content) -> PyResult<()> {
        content.add_totals(&self.totals, 1)?;
        for &(actual, predicted, n) in &self.cells {
            content.add_cell((actual, predicted), n, 1)?;
        }
        content.sums.add(&self.sums, false);
        content.delays.add(&self.delays, false);
        Ok(())
    }
}

/// Add packed deltas to the changes of each model of the batch, which are dicts by basis of counts by
/// minute. `texts` are the labels of the batch.
#[pyfunction]
pub fn add_deltas(
    py: Python<'_>,
    deltas: &[u8],
    texts: Vec<String>,
    fresh: Vec<(Bound<'_, PyDict>, Bound<'_, PyDict>)>,
    labels: &Bound<'_, Labels>,
) -> PyResult<()> {
    let names: Vec<Label> = {
        let mut labels = labels.borrow_mut();
        texts.iter().map(|text| labels.number(text)).collect()
    };
    let mut unpacker = Unpacker::new(deltas);
    for _ in 0..unpacker.list()? {
        let delta = Delta::unpack(py, &mut unpacker, &names)?;
        let (request, feedback) = fresh.get(delta.model).ok_or_else(unknown)?;
        let changes = [request, feedback];
        let changes = changes.get(delta.basis).ok_or_else(unknown)?;
        match changes.get_item(delta.minute)? {
            Some(counts) => {
                let mut counts = counts.cast_into::<BucketCounts>()?.borrow_mut();
                counts.mark_changed();
                delta.add_to(counts.content(py)?)?;
            }
            None => {
                let mut content = Content::default();
                delta.add_to(&mut content)?;
                let counts = BucketCounts::with(labels.clone().unbind(), content);
                changes.set_item(delta.minute, Bound::new(py, counts)?)?;
            }
        }
    }
    Ok(())
}
