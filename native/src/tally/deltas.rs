//! Keeps the deltas of batches until they are added to the buckets: the counterpart of `fresh.py`.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustc_hash::FxHashMap;

use crate::collections::OrderedMap;
use crate::tally::bucket::{unknown, BucketCounts, Content, Totals};
use crate::tally::labels::{Label, Labels};
use crate::tally::sums::{Key, Sums};
use crate::tally::unpack::{Malformed, Unpacker};
use crate::wide::Wide;

/// A change of one model's counts in one minute, as it stands on the log.
struct Delta {
    basis: usize,
    minute: i64,
    totals: Totals,
    /// Actual, predicted and n.
    cells: Vec<(Label, Label, i64)>,
    sums: Sums,
    delays: Sums,
}

impl Delta {
    /// Read a delta, and the position of its model.
    fn unpack(
        py: Python<'_>,
        unpacker: &mut Unpacker,
        names: &[Label],
    ) -> PyResult<(usize, Delta)> {
        let fields = unpacker.list()?;
        if !(5..=6).contains(&fields) {
            return Err(Malformed.into());
        }
        let (model, basis) = (unpacker.position()?, unpacker.position()?);
        if basis > 1 {
            return Err(unknown());
        }
        let minute = unpacker.integer()?;
        let mut totals = Totals::default();
        if unpacker.list()? != totals.len() {
            return Err(Malformed.into());
        }
        for total in &mut totals {
            *total = unpacker.integer()?;
        }
        let length = unpacker.list()? / 3;
        let mut cells = Vec::with_capacity(length.min(SHORT));
        for _ in 0..length {
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
        Ok((model, Delta { basis, minute, totals, cells, sums, delays }))
    }

    fn add_labels_to(&self, content: &mut Content) -> PyResult<()> {
        content.add_totals(&self.totals, 1)?;
        for &(actual, predicted, n) in &self.cells {
            content.add_cell((actual, predicted), n, 1)?;
        }
        Ok(())
    }
}

/// The length up to which a list's memory is taken at once, whatever length the bytes claim.
const SHORT: usize = 16;

/// So many deltas of a model are kept apart at most: one who reads a long log has little use of each.
const MOST: usize = 64;

type Pairs = Vec<(Key, Wide)>;

/// The changes of a model that are not in its buckets yet. At first a delta is only kept: a model's
/// counts are in the processor's cache no more when its next delta comes, so that it is faster to add
/// some of them at once.
#[pyclass]
pub struct Fresh {
    labels: Py<Labels>,
    deltas: Vec<Delta>,
    /// What was added up, by basis and minute.
    sums: [OrderedMap<i64, Content>; 2],
}

impl Fresh {
    fn push(&mut self, delta: Delta) -> PyResult<()> {
        self.deltas.push(delta);
        if self.deltas.len() < MOST {
            return Ok(());
        }
        self.add_up()
    }

    fn add_up(&mut self) -> PyResult<()> {
        // To sort the sums of all deltas once is faster than to add them to each other one by one.
        let mut pairs: OrderedMap<(usize, i64), [Pairs; 2]> = OrderedMap::default();
        for delta in std::mem::take(&mut self.deltas) {
            let content = self.sums[delta.basis].entry(delta.minute).or_default();
            delta.add_labels_to(content)?;
            let [sums, delays] = pairs.entry((delta.basis, delta.minute)).or_default();
            sums.extend(delta.sums.iter());
            delays.extend(delta.delays.iter());
        }
        for ((basis, minute), [sums, delays]) in pairs {
            let content = self.sums[basis].entry(minute).or_default();
            content.sums.add(&Sums::from_pairs(sums), false);
            content.delays.add(&Sums::from_pairs(delays), false);
        }
        Ok(())
    }

    /// Take all changes, by basis and minute.
    pub fn take(&mut self) -> PyResult<[OrderedMap<i64, Content>; 2]> {
        self.add_up()?;
        Ok(std::mem::take(&mut self.sums))
    }
}

#[pymethods]
impl Fresh {
    #[new]
    fn new(labels: Py<Labels>) -> Self {
        Fresh { labels, deltas: Vec::new(), sums: Default::default() }
    }

    fn __bool__(&self) -> bool {
        !self.deltas.is_empty() || self.sums.iter().any(|sums| !sums.is_empty())
    }

    /// The changes by basis and minute.
    #[getter]
    fn changes<'py>(&mut self, py: Python<'py>) -> PyResult<[Bound<'py, PyDict>; 2]> {
        self.add_up()?;
        let changes = [PyDict::new(py), PyDict::new(py)];
        for (sums, changes) in self.sums.iter().zip(&changes) {
            for (minute, content) in sums {
                let counts = BucketCounts::with(self.labels.clone_ref(py), content.clone());
                changes.set_item(minute, Bound::new(py, counts)?)?;
            }
        }
        Ok(changes)
    }
}

/// Reads batches of deltas; it knows models by their encoded keys.
#[pyclass]
pub struct DeltaReader {
    labels: Py<Labels>,
    models: FxHashMap<Box<[u8]>, Py<Fresh>>,
}

#[pymethods]
impl DeltaReader {
    #[new]
    fn new(labels: Py<Labels>) -> Self {
        DeltaReader { labels, models: FxHashMap::default() }
    }

    /// Add the deltas of a batch, whose dictionaries of models and labels are encoded too, to the changes
    /// of its models. `find` returns these by the parts of a model's key, and is called once for each.
    fn add(
        &mut self,
        py: Python<'_>,
        models: &[u8],
        texts: &[u8],
        deltas: &[u8],
        find: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let mut models = Unpacker::new(models);
        let length = models.list()?;
        let mut fresh = Vec::with_capacity(length.min(SHORT));
        for _ in 0..length {
            fresh.push(self.model(models.texts()?, find)?.clone_ref(py));
        }
        let names = self.names(py, texts)?;
        let mut deltas = Unpacker::new(deltas);
        for _ in 0..deltas.list()? {
            let (model, delta) = Delta::unpack(py, &mut deltas, &names)?;
            fresh.get(model).ok_or_else(unknown)?.borrow_mut(py).push(delta)?;
        }
        Ok(())
    }
}

impl DeltaReader {
    fn model(&mut self, key: &[u8], find: &Bound<'_, PyAny>) -> PyResult<&Py<Fresh>> {
        if !self.models.contains_key(key) {
            let mut unpacker = Unpacker::new(key);
            let parts: Result<Vec<_>, _> = (0..unpacker.list()?).map(|_| unpacker.text()).collect();
            let fresh = find.call1((parts?,))?.cast_into::<Fresh>()?.unbind();
            self.models.insert(key.into(), fresh);
        }
        self.models.get(key).ok_or_else(unknown)
    }

    fn names(&self, py: Python<'_>, texts: &[u8]) -> PyResult<Vec<Label>> {
        let mut labels = self.labels.borrow_mut(py);
        let mut texts = Unpacker::new(texts);
        let length = texts.list()?;
        let mut names = Vec::with_capacity(length.min(SHORT));
        for _ in 0..length {
            names.push(labels.number(texts.text()?));
        }
        Ok(names)
    }
}
