//! The changes of the counts by model, basis and minute, and how they are packed for the log.

use std::cmp::Ordering;

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rustc_hash::FxHashMap;

use crate::collections::OrderedSet;
use crate::ids::{LabelId, ModelId};
use crate::join::deltas::scores::ScoreSums;
use crate::join::deltas::sums::{self, Key};
use crate::pack;
use crate::wide::Wide;

/// Predictions, judged, correct, unknown actual, rewards, their sum in millionths, disagreements.
pub type Totals = [i64; 7];

/// The labels of an actual and a predicted class, and how many items have both.
pub type Cell = (LabelId, LabelId, i64);

/// What is summed for a statistic, its label and its bin, and a sum: the squares of numbers need more than
/// 64 bits.
pub type Sum = (u32, LabelId, i64, i128);

/// The kind of the sum of absolute errors by their class, as in `sums.py`.
pub const NUMBER_SIZE: u32 = 54;

/// Model, basis and minute of a change.
pub type ChangeKey = (ModelId, u8, i64);

/// Sums of a change.
pub type Summed = Vec<(Key, Wide)>;

/// Sums of probabilities in the order of kind, text and bin, none of them zero. Where two classes have one
/// name, several of a key are among them.
pub type Scored = Vec<(Key, i64)>;

/// Whether each key is there once, and the keys of one text are in order.
fn are_distinct(scored: &Scored) -> bool {
    scored.windows(2).all(|pair| {
        let ((kind, label, bin), next) = (pair[0].0, pair[1].0);
        (kind, label) != (next.0, next.1) || bin < next.2
    })
}

/// A model as it stands in a batch of deltas, and the partition of the deltas where it belongs.
pub struct Model {
    pub packed: Vec<u8>,
    pub target: u32,
}

/// `sum + number * times`.
fn checked(sum: i64, number: i64, times: i64) -> PyResult<i64> {
    let product = number.checked_mul(times);
    product
        .and_then(|product| sum.checked_add(product))
        .ok_or_else(|| PyOverflowError::new_err("a sum that does not fit into 64 bits"))
}

/// The change of the counts in one minute of one model on one basis.
#[derive(Default)]
pub struct Change {
    totals: Totals,
    /// Cells and sums of zero stay here and are left out when the change is packed.
    cells: Vec<Cell>,
    positions: FxHashMap<(LabelId, LabelId), u32>,
    /// In any order, several of a key too, until `tidy` is called.
    pub sums: Summed,
    /// Sums of probabilities of one list of names.
    pub scores: Option<(u32, Box<ScoreSums>)>,
}

impl Change {
    pub fn add(
        &mut self,
        totals: &Totals,
        cells: &[Cell],
        sums: &[Sum],
        times: i64,
    ) -> PyResult<()> {
        for (sum, &number) in self.totals.iter_mut().zip(totals) {
            *sum = checked(*sum, number, times)?;
        }
        for &(actual, predicted, n) in cells {
            let cells = &mut self.cells;
            let position = *self.positions.entry((actual, predicted)).or_insert_with(|| {
                cells.push((actual, predicted, 0));
                cells.len() as u32 - 1
            });
            let sum = &mut cells[position as usize].2;
            *sum = checked(*sum, n, times)?;
        }
        for &(kind, label, bin, n) in sums {
            let product = n.checked_mul(i128::from(times));
            let product = product
                .ok_or_else(|| PyOverflowError::new_err("a sum that does not fit into 128 bits"))?;
            self.sums.push(((kind, label, bin), product.into()));
        }
        Ok(())
    }

    /// Add an amount to a sum.
    pub fn add_sum(&mut self, key: Key, amount: i64) {
        self.sums.push((key, i128::from(amount).into()));
    }

    /// Add sums of delays `times` times, whose bins of delays are for the first bucket: those of the kind
    /// of sizes have none.
    pub fn add_delays(&mut self, sums: &[Sum], bucket: i64, times: i64) -> PyResult<()> {
        let first = self.sums.len();
        self.add(&[0; 7], &[], sums, times)?;
        for (key, _) in &mut self.sums[first..] {
            if key.0 != NUMBER_SIZE {
                key.2 += bucket;
            }
        }
        Ok(())
    }

    /// Bring the sums into the order of kind, text and bin; those of equal keys are added, zeros left out.
    /// `scored` come before them, and are moved among them where some are of the same kinds or keys.
    pub fn tidy(&mut self, scored: &mut Scored, texts: &OrderedSet<String>) {
        let are_mixed = self.sums.iter().any(|(key, _)| key.0 <= sums::SECOND);
        if are_mixed || !are_distinct(scored) {
            self.sums.extend(scored.drain(..).map(|(key, amount)| (key, amount.into())));
        }
        let text = |label: LabelId| &texts[label.index()];
        self.sums.sort_unstable_by(|(a, _), (b, _)| {
            let by_text = || if a.1 == b.1 { Ordering::Equal } else { text(a.1).cmp(text(b.1)) };
            a.0.cmp(&b.0).then_with(by_text).then(a.2.cmp(&b.2))
        });
        self.sums.dedup_by(|next, kept| {
            let is_same = next.0 == kept.0;
            if is_same {
                kept.1 = kept.1.plus(next.1);
            }
            is_same
        });
        self.sums.retain(|(_, amount)| *amount != Wide::default());
    }

    /// Whether nothing has changed beside the sums of probabilities; to be asked after `tidy`.
    pub fn is_empty(&self) -> bool {
        self.totals == [0; 7] && self.sums.is_empty() && self.cells.iter().all(|cell| cell.2 == 0)
    }
}

/// Packs the changes for one partition of the deltas; the dictionaries keep the order of first use.
#[derive(Default)]
pub struct BatchWriter {
    models: OrderedSet<ModelId>,
    labels: OrderedSet<LabelId>,
    count: usize,
    deltas: Vec<u8>,
}

impl BatchWriter {
    /// Add a change whose sums begin with `scored`.
    pub fn add(
        &mut self,
        py: Python<'_>,
        (model, basis, minute): ChangeKey,
        change: &Change,
        scored: &Scored,
    ) -> PyResult<()> {
        let bytes = &mut self.deltas;
        pack::list(bytes, 6);
        pack::integer(bytes, self.models.insert_full(model).0 as i64);
        pack::integer(bytes, i64::from(basis));
        pack::integer(bytes, minute);
        pack::list(bytes, change.totals.len());
        change.totals.iter().for_each(|&total| pack::integer(bytes, total));
        let cells = change.cells.iter().filter(|cell| cell.2 != 0);
        pack::list(bytes, cells.clone().count() * 3);
        for &(actual, predicted, n) in cells {
            pack::integer(bytes, self.labels.insert_full(actual).0 as i64);
            pack::integer(bytes, self.labels.insert_full(predicted).0 as i64);
            pack::integer(bytes, n);
        }
        pack::list(bytes, (scored.len() + change.sums.len()) * 4);
        let (mut label, mut position) = (None, 0);
        let mut key = |bytes: &mut Vec<u8>, (kind, of, bin): Key| {
            // Sums of one label often follow each other.
            if label != Some(of) {
                (label, position) = (Some(of), self.labels.insert_full(of).0 as i64);
            }
            pack::integer(bytes, i64::from(kind));
            pack::integer(bytes, position);
            pack::integer(bytes, bin);
        };
        for &(of, amount) in scored {
            key(bytes, of);
            Wide::from(amount).pack(py, bytes)?;
        }
        for &(of, amount) in &change.sums {
            key(bytes, of);
            amount.pack(py, bytes)?;
        }
        self.count += 1;
        Ok(())
    }

    pub fn packed<'py>(
        &self,
        py: Python<'py>,
        target: u32,
        models: &[Model],
        labels: &OrderedSet<String>,
    ) -> PackedDeltas<'py> {
        let (mut packed_models, mut packed_labels) = (Vec::new(), Vec::new());
        pack::list(&mut packed_models, self.models.len());
        for model in &self.models {
            packed_models.extend_from_slice(&models[model.index()].packed);
        }
        pack::list(&mut packed_labels, self.labels.len());
        for label in &self.labels {
            pack::text(&mut packed_labels, &labels[label.index()]);
        }
        let mut deltas = Vec::with_capacity(self.deltas.len() + 5);
        pack::list(&mut deltas, self.count);
        deltas.extend_from_slice(&self.deltas);
        let bytes = |content: Vec<u8>| PyBytes::new(py, &content);
        (target, bytes(packed_models), bytes(packed_labels), bytes(deltas))
    }
}

/// A partition of the deltas, with the packed models, labels and deltas of the batch for it.
pub type PackedDeltas<'py> = (u32, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);
