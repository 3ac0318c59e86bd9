//! Keeps the deltas of batches until they are added to the buckets: the counterpart of `fresh.py`.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustc_hash::FxHashMap;

use crate::collections::OrderedMap;
use crate::tally::bucket::{unknown, BucketCounts};
use crate::tally::content::{Content, Totals, JUDGED};
use crate::tally::labels::{Label, Labels};
use crate::tally::packed_sums::Pairs;
use crate::tally::sums::{Key, Sums, DELAYS};
use crate::tally::unpack::{Malformed, Unpacker};
use crate::wide::Wide;

/// A change of one model's counts in one minute, as it stands on the log.
struct Delta {
    basis: usize,
    minute: i64,
    totals: Totals,
    /// Where its cells and sums end among those of all deltas.
    cells: usize,
    short: usize,
    long: usize,
}

/// Deltas in the order of the log. Their memory is kept when they are taken.
#[derive(Default)]
struct Deltas {
    all: Vec<Delta>,
    /// Actual, predicted and n.
    cells: Vec<(Label, Label, i64)>,
    sums: Pairs,
}

impl Deltas {
    /// Append the rest of a delta after its model.
    fn read(
        &mut self,
        py: Python<'_>,
        has_sums: bool,
        unpacker: &mut Unpacker,
        names: &[Label],
    ) -> PyResult<()> {
        let basis = unpacker.position()?;
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
        for _ in 0..unpacker.list()? / 3 {
            let mut label = || -> PyResult<Label> {
                Ok(names.get(unpacker.position()?).copied().ok_or(Malformed)?)
            };
            let cell = (label()?, label()?);
            self.cells.push((cell.0, cell.1, unpacker.integer()?));
        }
        if has_sums {
            self.sums.read(py, unpacker, names)?;
        }
        let (short, long) = (self.sums.short.len(), self.sums.long.len());
        self.all.push(Delta { basis, minute, totals, cells: self.cells.len(), short, long });
        Ok(())
    }

    fn clear(&mut self) {
        self.all.clear();
        self.cells.clear();
        self.sums.short.clear();
        self.sums.long.clear();
        // Rare ones with many labels must not take memory for ever.
        self.cells.shrink_to(MOST_KEPT);
        self.sums.short.shrink_to(MOST_KEPT);
        self.sums.long.shrink_to(MOST_KEPT);
    }
}

/// Add the sums whose rows are there. The others are kept in `rest`.
fn add_known(short: &[(Key, i64)], content: &mut Content, rest: &mut Vec<(Key, Wide)>) {
    let (mut at, mut at_delays) = (0, 0);
    for &(key, amount) in short {
        let is_added = if DELAYS.contains(&key.0) {
            content.delays.add_near(&mut at_delays, key, amount)
        } else {
            content.sums.add_near(&mut at, key, amount)
        };
        if !is_added {
            rest.push((key, i128::from(amount).into()));
        }
    }
}

/// The length up to which a list's memory is taken at once, whatever length the bytes claim.
const SHORT: usize = 16;

/// So many deltas of a model are kept apart at most: one who reads a long log has little use of each.
const MOST: usize = 64;

/// So many cells or sums of deltas keep their memory at most.
const MOST_KEPT: usize = 2048;

/// The most rows, and cells, of contents that are kept for the next changes of a model.
const MOST_ROWS: usize = 256;

/// The changes of a model that are not in its buckets yet. At first a delta is only kept: a model's
/// counts are in the processor's cache no more when its next delta comes, so that it is faster to add
/// some of them at once.
#[pyclass]
pub struct Fresh {
    labels: Py<Labels>,
    deltas: Deltas,
    /// What was added up, by basis and minute. Some of the sums may be zero.
    sums: [OrderedMap<i64, Content>; 2],
    /// Contents of zero, by basis, which have the rows that a model's deltas need. The first is for
    /// predictions, which have only sums of delays, the last for judged items.
    spare: [Vec<Content>; 2],
}

impl Fresh {
    fn read(
        &mut self,
        py: Python<'_>,
        has_sums: bool,
        unpacker: &mut Unpacker,
        names: &[Label],
    ) -> PyResult<()> {
        self.deltas.read(py, has_sums, unpacker, names)?;
        if self.deltas.all.len() < MOST {
            return Ok(());
        }
        self.add_up()
    }

    fn add_up(&mut self) -> PyResult<()> {
        // To sort new sums once is faster than to insert them one by one.
        let mut rests: OrderedMap<(usize, i64), Vec<(Key, Wide)>> = OrderedMap::default();
        let mut rest = Vec::new();
        let (mut cell, mut short, mut long) = (0, 0, 0);
        for delta in &self.deltas.all {
            let spare = &mut self.spare[delta.basis];
            let content = self.sums[delta.basis].entry(delta.minute).or_insert_with(|| {
                let index =
                    if delta.totals[JUDGED] > 0 { spare.len().saturating_sub(1) } else { 0 };
                if index < spare.len() {
                    spare.remove(index)
                } else {
                    Content::default()
                }
            });
            content.add_totals(&delta.totals, 1)?;
            for &(actual, predicted, n) in &self.deltas.cells[cell..delta.cells] {
                content.add_cell((actual, predicted), n, 1)?;
            }
            add_known(&self.deltas.sums.short[short..delta.short], content, &mut rest);
            rest.extend_from_slice(&self.deltas.sums.long[long..delta.long]);
            if !rest.is_empty() {
                rests.entry((delta.basis, delta.minute)).or_default().append(&mut rest);
            }
            (cell, short, long) = (delta.cells, delta.short, delta.long);
        }
        self.deltas.clear();
        for ((basis, minute), rest) in rests {
            let content = self.sums[basis].entry(minute).or_default();
            let (sums, delays) = Sums::from_pairs(rest).split();
            content.sums.add(&sums, false);
            content.delays.add(&delays, false);
        }
        Ok(())
    }

    /// Take all changes, by basis and minute. Some of the sums may be zero.
    pub fn take(&mut self) -> PyResult<[OrderedMap<i64, Content>; 2]> {
        self.add_up()?;
        Ok(std::mem::take(&mut self.sums))
    }

    /// Keep the memory of changes that were taken and added: the next ones need the same rows.
    pub fn keep(&mut self, taken: [OrderedMap<i64, Content>; 2]) {
        for (changes, spare) in taken.into_iter().zip(&mut self.spare) {
            for mut content in changes.into_values() {
                let rows = content.sums.rows() + content.delays.rows();
                if rows.max(content.cells.capacity()) <= MOST_ROWS {
                    content.zero();
                    spare.push(content);
                }
            }
            if spare.len() > 1 {
                spare.sort_by_key(|content| content.sums.rows());
                spare.drain(1..spare.len() - 1);
            }
        }
    }
}

#[pymethods]
impl Fresh {
    #[new]
    fn new(labels: Py<Labels>) -> Self {
        Fresh {
            labels,
            deltas: Deltas::default(),
            sums: Default::default(),
            spare: Default::default(),
        }
    }

    fn __bool__(&self) -> bool {
        !self.deltas.all.is_empty() || self.sums.iter().any(|sums| !sums.is_empty())
    }

    /// The changes by basis and minute.
    #[getter]
    fn changes<'py>(&mut self, py: Python<'py>) -> PyResult<[Bound<'py, PyDict>; 2]> {
        self.add_up()?;
        let changes = [PyDict::new(py), PyDict::new(py)];
        for (sums, changes) in self.sums.iter().zip(&changes) {
            for (minute, content) in sums {
                let mut content = content.clone();
                content.sums.remove_zeros();
                content.delays.remove_zeros();
                let counts = BucketCounts::with(self.labels.clone_ref(py), content);
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
        let fresh = self.models(py, &mut Unpacker::new(models), find)?;
        let names = self.names(py, &mut Unpacker::new(texts))?;
        add_deltas(py, &mut Unpacker::new(deltas), &fresh, &names)
    }

    /// Add the batch of an encoded record, if it is the next one of its source after `last`, which has
    /// the newest offset of each source. Returns whether it was; if not, nothing was done.
    fn add_record(
        &mut self,
        py: Python<'_>,
        record: &[u8],
        version: i64,
        log_id: &str,
        last: &Bound<'_, PyDict>,
        find: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let mut unpacker = Unpacker::new(record);
        let Ok(Some(head)) = Head::unpack(&mut unpacker, version, log_id) else {
            return Ok(false);
        };
        let newest = match last.get_item(head.source)? {
            Some(newest) => newest.extract()?,
            None => -1,
        };
        if head.offset <= newest || head.prev > newest {
            return Ok(false);
        }
        let fresh = self.models(py, &mut unpacker, find)?;
        let names = self.names(py, &mut unpacker)?;
        add_deltas(py, &mut unpacker, &fresh, &names)?;
        last.set_item(head.source, head.offset)?;
        Ok(true)
    }
}

/// The first fields of a record, see `DeltaBatch`.
struct Head {
    source: i64,
    offset: i64,
    prev: i64,
}

impl Head {
    /// Read the fields, unless the record is no batch, or of another version or log.
    fn unpack(
        unpacker: &mut Unpacker,
        version: i64,
        log_id: &str,
    ) -> Result<Option<Head>, Malformed> {
        let is_batch = unpacker.list()? == FIELDS
            && unpacker.text()? == "d"
            && unpacker.integer()? == version
            && unpacker.text()? == log_id;
        if !is_batch {
            return Ok(None);
        }
        let (source, offset) = (unpacker.integer()?, unpacker.integer()?);
        Ok(Some(Head { source, offset, prev: unpacker.integer()? }))
    }
}

/// The fields of a batch, with its tag.
const FIELDS: usize = 9;

fn add_deltas(
    py: Python<'_>,
    unpacker: &mut Unpacker,
    fresh: &[Py<Fresh>],
    names: &[Label],
) -> PyResult<()> {
    for _ in 0..unpacker.list()? {
        let fields = unpacker.list()?;
        if !(5..=6).contains(&fields) {
            return Err(Malformed.into());
        }
        let fresh = fresh.get(unpacker.position()?).ok_or_else(unknown)?;
        fresh.borrow_mut(py).read(py, fields == 6, unpacker, names)?;
    }
    Ok(())
}

impl DeltaReader {
    fn models(
        &mut self,
        py: Python<'_>,
        unpacker: &mut Unpacker,
        find: &Bound<'_, PyAny>,
    ) -> PyResult<Vec<Py<Fresh>>> {
        let length = unpacker.list()?;
        let mut fresh = Vec::with_capacity(length.min(SHORT));
        for _ in 0..length {
            fresh.push(self.model(unpacker.texts()?, find)?.clone_ref(py));
        }
        Ok(fresh)
    }

    fn model(&mut self, key: &[u8], find: &Bound<'_, PyAny>) -> PyResult<&Py<Fresh>> {
        if !self.models.contains_key(key) {
            let mut unpacker = Unpacker::new(key);
            let parts: Result<Vec<_>, _> = (0..unpacker.list()?).map(|_| unpacker.text()).collect();
            let fresh = find.call1((parts?,))?.cast_into::<Fresh>()?.unbind();
            self.models.insert(key.into(), fresh);
        }
        self.models.get(key).ok_or_else(unknown)
    }

    fn names(&self, py: Python<'_>, texts: &mut Unpacker) -> PyResult<Vec<Label>> {
        let mut labels = self.labels.borrow_mut(py);
        let length = texts.list()?;
        let mut names = Vec::with_capacity(length.min(SHORT));
        for _ in 0..length {
            names.push(labels.number(texts.text()?));
        }
        Ok(names)
    }
}
