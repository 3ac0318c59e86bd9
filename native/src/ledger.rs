//! What changes in the counts while a batch is folded, until it is packed for the log: the twin of
//! `contributions.py` and `deltas.py`.

use std::hash::Hash;

use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use rustc_hash::FxHashMap;

use crate::pack;
use crate::times::MINUTE;

/// Sums by key, in the order in which the keys came first, as Python's dicts have them.
pub struct Sums<K> {
    places: FxHashMap<K, u32>,
    sums: Vec<(K, i64)>,
}

impl<K> Default for Sums<K> {
    fn default() -> Self {
        Sums { places: FxHashMap::default(), sums: Vec::new() }
    }
}

impl<K: Copy + Eq + Hash> Sums<K> {
    pub fn add(&mut self, key: K, times: i64) {
        let next = self.sums.len();
        let place = *self.places.entry(key).or_insert(next as u32) as usize;
        if place == next {
            self.sums.push((key, 0));
        }
        self.sums[place].1 += times;
    }

    pub fn into_vec(self) -> Vec<(K, i64)> {
        self.sums
    }
}

/// Numbers that Python was asked for: a memory that is bounded.
pub struct Numbers<K>(FxHashMap<K, u32>);

const MOST_NUMBERS: usize = 1 << 16;

impl<K> Default for Numbers<K> {
    fn default() -> Self {
        Numbers(FxHashMap::default())
    }
}

impl<K: Eq + Hash> Numbers<K> {
    pub fn get(&self, key: &K) -> Option<u32> {
        self.0.get(key).copied()
    }

    pub fn put(&mut self, key: K, number: u32) {
        if self.0.len() >= MOST_NUMBERS {
            self.0.clear();
        }
        self.0.insert(key, number);
    }
}

/// An answer, and the truth and reward that it met.
pub type Content = (u32, Option<u32>, Option<i64>);

/// Predictions, judged, correct, unknown actual, rewards, their sum in millionths, disagreements.
type Totals = [i64; 7];

/// Positions of an actual and a predicted label, and how often they met.
type Cell = (u32, u32, i64);

/// What a judgement adds to the counts; `gauged` if it adds to a gauge as well.
struct Outcome {
    totals: Totals,
    cells: Vec<Cell>,
    diagnostics: bool,
}

/// Texts by number, packed.
#[derive(Default)]
struct Labels {
    numbers: FxHashMap<String, u32>,
    packed: Vec<Vec<u8>>,
}

impl Labels {
    fn number(&mut self, label: String) -> u32 {
        let packed = &mut self.packed;
        *self.numbers.entry(label).or_insert_with_key(|label| {
            let mut bytes = Vec::new();
            pack::text(&mut bytes, label);
            packed.push(bytes);
            packed.len() as u32 - 1
        })
    }
}

/// Sums up signed contributions until they are taken. Models are positions in the state's table,
/// outcomes have the numbers that `outcome` gave them.
#[pyclass]
#[derive(Default)]
pub struct DeltaAccumulator {
    predicted: Sums<(u32, i64)>,
    judged: Sums<(u32, u8, i64, u32)>,
    outcomes: Vec<Outcome>,
    labels: Labels,
    /// Numbers of outcomes by what met: contents of predictions and feedbacks, or answer, truth, reward.
    pub pairs: Numbers<(u32, u32)>,
    pub contents: Numbers<Content>,
    models: Vec<Vec<u8>>,
    targets: Vec<u32>,
}

impl DeltaAccumulator {
    /// Count a prediction in the minute of its time.
    pub fn predict(&mut self, model: u32, time: i64) {
        self.predicted.add((model, time.div_euclid(MINUTE)), 1);
    }

    /// All that was counted since the last time, summed up by model, basis and minute.
    fn changes(&mut self) -> PyResult<Vec<Change>> {
        let mut changes = DeltaSums::default();
        for ((model, minute), items) in std::mem::take(&mut self.predicted).into_vec() {
            if items != 0 {
                let place = changes.of(model, 0, minute);
                changes.add_totals(place, &[1, 0, 0, 0, 0, 0, 0], items)?;
            }
        }
        for ((model, basis, minute, outcome), times) in std::mem::take(&mut self.judged).into_vec()
        {
            if times != 0 {
                let outcome = self.outcomes.get(outcome as usize).ok_or_else(unknown)?;
                let place = changes.of(model, basis, minute);
                changes.add_totals(place, &outcome.totals, times)?;
                for cell in &outcome.cells {
                    changes.add_cell(place, *cell, times)?;
                }
            }
        }
        Ok(changes.list)
    }
}

/// What changes in a minute of a model on a basis.
struct Change {
    model: u32,
    basis: u8,
    minute: i64,
    totals: Totals,
    cells: Vec<Cell>,
}

impl Change {
    fn is_empty(&self) -> bool {
        self.totals == [0; 7] && self.cells.iter().all(|cell| cell.2 == 0)
    }
}

#[derive(Default)]
struct DeltaSums {
    places: FxHashMap<(u32, u8, i64), u32>,
    cells: FxHashMap<(u32, u32, u32), u32>,
    list: Vec<Change>,
}

fn unknown() -> PyErr {
    PyValueError::new_err("a model or an outcome that has no number here")
}

fn overflow() -> PyErr {
    PyOverflowError::new_err("a sum that no record can hold")
}

/// `sum` and so many times `number`.
fn sum(sum: i64, number: i64, times: i64) -> PyResult<i64> {
    number.checked_mul(times).and_then(|more| sum.checked_add(more)).ok_or_else(overflow)
}

impl DeltaSums {
    fn of(&mut self, model: u32, basis: u8, minute: i64) -> u32 {
        let list = &mut self.list;
        *self.places.entry((model, basis, minute)).or_insert_with(|| {
            list.push(Change { model, basis, minute, totals: [0; 7], cells: Vec::new() });
            list.len() as u32 - 1
        })
    }

    fn add_totals(&mut self, place: u32, totals: &Totals, times: i64) -> PyResult<()> {
        for (held, &number) in self.list[place as usize].totals.iter_mut().zip(totals) {
            *held = sum(*held, number, times)?;
        }
        Ok(())
    }

    /// A cell that comes to zero loses its place.
    fn add_cell(&mut self, place: u32, (actual, predicted, n): Cell, times: i64) -> PyResult<()> {
        let cells = &mut self.list[place as usize].cells;
        let key = (place, actual, predicted);
        let at = *self.cells.entry(key).or_insert_with(|| {
            cells.push((actual, predicted, 0));
            cells.len() as u32 - 1
        });
        let held = &mut cells[at as usize].2;
        *held = sum(*held, n, times)?;
        if *held == 0 {
            self.cells.remove(&key);
        }
        Ok(())
    }
}

/// Numbers of texts or models in the order of their first use.
#[derive(Default)]
struct Table {
    positions: FxHashMap<u32, u32>,
    used: Vec<u32>,
}

impl Table {
    fn position(&mut self, number: u32) -> i64 {
        let used = &mut self.used;
        i64::from(*self.positions.entry(number).or_insert_with(|| {
            used.push(number);
            used.len() as u32 - 1
        }))
    }

    fn packed<'py>(&self, py: Python<'py>, texts: &[Vec<u8>]) -> Bound<'py, PyBytes> {
        let mut bytes = Vec::new();
        pack::list(&mut bytes, self.used.len());
        for &number in &self.used {
            bytes.extend_from_slice(&texts[number as usize]);
        }
        PyBytes::new(py, &bytes)
    }
}

/// The changes of one partition of the deltas.
#[derive(Default)]
struct BatchWriter {
    models: Table,
    labels: Table,
    count: usize,
    deltas: Vec<u8>,
}

impl BatchWriter {
    fn add(&mut self, change: &Change) {
        let bytes = &mut self.deltas;
        pack::list(bytes, 5);
        pack::integer(bytes, self.models.position(change.model));
        pack::integer(bytes, i64::from(change.basis));
        pack::integer(bytes, change.minute);
        pack::list(bytes, change.totals.len());
        change.totals.iter().for_each(|&total| pack::integer(bytes, total));
        let cells = change.cells.iter().filter(|cell| cell.2 != 0);
        pack::list(bytes, cells.clone().count() * 3);
        for &(actual, predicted, n) in cells {
            pack::integer(bytes, self.labels.position(actual));
            pack::integer(bytes, self.labels.position(predicted));
            pack::integer(bytes, n);
        }
        self.count += 1;
    }
}

/// A partition of the deltas, and the packed tables of models and labels and the deltas for it.
type Packed<'py> = (u32, Bound<'py, PyBytes>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

#[pymethods]
impl DeltaAccumulator {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Count items predicted in a minute since 1970; below 0 they are taken back.
    fn predicted(&mut self, model: u32, minute: i64, items: i64) {
        self.predicted.add((model, minute), items);
    }

    /// Count a judgement on both bases so many times, by the times (ns) of the prediction and of the
    /// feedback; whether its outcome adds to a gauge.
    pub fn judged(
        &mut self,
        model: u32,
        predicted_at: i64,
        feedback_at: i64,
        outcome: u32,
        times: i64,
    ) -> PyResult<bool> {
        self.judged.add((model, 0, predicted_at.div_euclid(MINUTE), outcome), times);
        self.judged.add((model, 1, feedback_at.div_euclid(MINUTE), outcome), times);
        Ok(self.outcomes.get(outcome as usize).ok_or_else(unknown)?.diagnostics)
    }

    /// The number of an outcome that is new: what it adds beside predictions.
    fn outcome(
        &mut self,
        totals: Totals,
        cells: Vec<(String, String, i64)>,
        diagnostics: bool,
    ) -> u32 {
        let labels = &mut self.labels;
        let cells = cells
            .into_iter()
            .map(|(actual, predicted, n)| (labels.number(actual), labels.number(predicted), n))
            .collect();
        self.outcomes.push(Outcome { totals, cells, diagnostics });
        self.outcomes.len() as u32 - 1
    }

    /// What was counted since the last time, by partition of the deltas; `models` and the partitions
    /// `targets` of these are lists that only grow.
    fn drain<'py>(
        &mut self,
        py: Python<'py>,
        models: &Bound<'py, PyList>,
        targets: &Bound<'py, PyList>,
    ) -> PyResult<Vec<Packed<'py>>> {
        for position in self.models.len()..models.len() {
            let names: [String; 4] = models.get_item(position)?.extract()?;
            let mut bytes = Vec::new();
            pack::list(&mut bytes, names.len());
            names.iter().for_each(|name| pack::text(&mut bytes, name));
            self.models.push(bytes);
            self.targets.push(targets.get_item(position)?.extract()?);
        }
        let mut writers: Vec<(u32, BatchWriter)> = Vec::new();
        let mut places: FxHashMap<u32, usize> = FxHashMap::default();
        for change in self.changes()? {
            if change.is_empty() {
                continue;
            }
            let target = *self.targets.get(change.model as usize).ok_or_else(unknown)?;
            let place = *places.entry(target).or_insert_with(|| {
                writers.push((target, BatchWriter::default()));
                writers.len() - 1
            });
            writers[place].1.add(&change);
        }
        let packed = writers.iter().map(|(target, writer)| {
            let mut deltas = Vec::with_capacity(writer.deltas.len() + 5);
            pack::list(&mut deltas, writer.count);
            deltas.extend_from_slice(&writer.deltas);
            (
                *target,
                writer.models.packed(py, &self.models),
                writer.labels.packed(py, &self.labels.packed),
                PyBytes::new(py, &deltas),
            )
        });
        Ok(packed.collect())
    }

    /// Forget what was counted since the last time.
    fn clear(&mut self) {
        self.predicted = Sums::default();
        self.judged = Sums::default();
    }

    /// Forget all outcomes; nothing may be counted that was not taken.
    fn clear_outcomes(&mut self) {
        self.outcomes.clear();
        self.labels = Labels::default();
        self.pairs = Numbers::default();
        self.contents = Numbers::default();
    }
}
