//! The join's short way on packed rows: the twin of `short_way.py`.

use std::hash::Hash;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use rustc_hash::FxHashMap;

use crate::ids;
use crate::rows::{feedback, prediction, Left, Rows, TORN};
use crate::settle::{self, Batch, Content};
use crate::table::Table;
use crate::times::{HOUR, MINUTE, SECOND};

/// A list of rows that are left to Python.
type Others<'py> = Option<Bound<'py, PyBytes>>;

/// Model, minute, and how many items were predicted in it.
type Predicted = Vec<(u32, i64, i64)>;

/// Sums by key, in the order in which the keys came first, as Python's dicts have them.
pub struct Sums<K> {
    places: FxHashMap<K, usize>,
    sums: Vec<(K, i64)>,
}

impl<K: Copy + Eq + Hash> Sums<K> {
    pub fn new() -> Self {
        Sums { places: FxHashMap::default(), sums: Vec::new() }
    }

    pub fn add(&mut self, key: K) {
        let next = self.sums.len();
        let place = *self.places.entry(key).or_insert(next);
        if place == next {
            self.sums.push((key, 0));
        }
        self.sums[place].1 += 1;
    }
}

impl Sums<(u32, i64)> {
    /// Count a prediction in the minute of its time.
    pub fn predicted(&mut self, model: u32, time: i64) {
        self.add((model, time.div_euclid(MINUTE)));
    }

    pub fn told(self) -> Predicted {
        self.sums.into_iter().map(|((model, minute), items)| (model, minute, items)).collect()
    }
}

/// What judgements add: to which minute of a model on a basis, of which outcome, how often; and the
/// delays of feedback.
pub struct Judged {
    counts: Sums<(u32, u8, i64, u32)>,
    delays: Vec<u64>,
    total: f64,
}

type Judgements = (Vec<(u32, u8, i64, u32, i64)>, Vec<u64>, f64);

impl Judged {
    pub fn new(bounds: &[f64]) -> Self {
        Judged { counts: Sums::new(), delays: vec![0; bounds.len() + 1], total: 0.0 }
    }

    pub fn count(&mut self, bounds: &[f64], model: u32, made_at: i64, said_at: i64, outcome: u32) {
        self.counts.add((model, 0, made_at.div_euclid(MINUTE), outcome));
        self.counts.add((model, 1, said_at.div_euclid(MINUTE), outcome));
        let delay = (said_at - made_at).max(0) as f64 / SECOND as f64;
        self.delays[bounds.partition_point(|&bound| bound < delay)] += 1;
        self.total += delay;
    }

    pub fn told(self) -> Judgements {
        let flat = self.counts.sums.into_iter().map(|((model, basis, minute, outcome), times)| {
            (model, basis, minute, outcome, times)
        });
        (flat.collect(), self.delays, self.total)
    }
}

pub fn others(py: Python<'_>, left: Left) -> Others<'_> {
    left.list().map(|bytes| PyBytes::new(py, &bytes))
}

/// Tables that a call has opened, by deployment.
pub struct Tables<'py, 'a> {
    state: &'a Bound<'py, PyAny>,
    open: FxHashMap<u32, Table<'py>>,
    most_bytes: usize,
    full: i64,
}

impl<'py> Tables<'py, '_> {
    pub fn of(&mut self, deployment: u32) -> PyResult<&mut Table<'py>> {
        use std::collections::hash_map::Entry;
        Ok(match self.open.entry(deployment) {
            Entry::Occupied(table) => table.into_mut(),
            Entry::Vacant(room) => room.insert(Table::open(
                self.state,
                deployment as usize,
                self.most_bytes,
                self.full,
            )?),
        })
    }

    pub fn close(self) -> PyResult<()> {
        self.open.into_values().try_for_each(Table::close)
    }
}

/// Folds what is usual into a state. `made` and `said` give contents their numbers; `deployment_of` is
/// by model, and grows.
#[pyclass(unsendable)]
pub struct ShortWay {
    pub state: Py<PyAny>,
    made: Py<PyAny>,
    said: Py<PyAny>,
    deployment_of: Py<PyList>,
    pub bounds: Vec<f64>,
    most_bytes: usize,
    full: i64,
    deployments: Vec<u32>,
    made_models: Vec<u32>,
}

impl ShortWay {
    /// What is behind positions that a batch's table holds.
    fn refresh(&mut self, py: Python<'_>) -> PyResult<()> {
        let deployment_of = self.deployment_of.bind(py);
        for position in self.deployments.len()..deployment_of.len() {
            self.deployments.push(deployment_of.get_item(position)?.extract()?);
        }
        Ok(())
    }

    /// The model of a prediction's content.
    fn model_of(&mut self, py: Python<'_>, made: u32) -> PyResult<u32> {
        let made = made as usize;
        if made >= self.made_models.len() {
            let contents = self.state.bind(py).getattr("made")?.cast_into::<PyList>()?;
            for position in self.made_models.len()..contents.len() {
                let content = contents.get_item(position)?;
                self.made_models.push(content.getattr("model")?.extract()?);
            }
        }
        self.made_models.get(made).copied().ok_or_else(torn)
    }

    pub fn tables<'py, 'a>(&self, state: &'a Bound<'py, PyAny>) -> Tables<'py, 'a> {
        let (most_bytes, full) = (self.most_bytes, self.full);
        Tables { state, open: FxHashMap::default(), most_bytes, full }
    }

    pub fn deployment(&self, model: u32) -> PyResult<u32> {
        self.deployments.get(model as usize).copied().ok_or_else(torn)
    }
}

pub fn torn() -> PyErr {
    PyValueError::new_err(TORN)
}

/// The position in the state's table of what a row points at.
pub fn resolve(table: &[u32], position: usize) -> PyResult<u32> {
    table.get(position).copied().ok_or_else(torn)
}

#[pymethods]
impl ShortWay {
    #[new]
    #[pyo3(signature = (state, made, said, deployment_of, bounds, most_bytes, full))]
    fn new(
        state: Py<PyAny>,
        made: Py<PyAny>,
        said: Py<PyAny>,
        deployment_of: Py<PyList>,
        bounds: Vec<f64>,
        most_bytes: usize,
        full: i64,
    ) -> Self {
        ShortWay {
            state,
            made,
            said,
            deployment_of,
            bounds,
            most_bytes,
            full,
            deployments: Vec::new(),
            made_models: Vec::new(),
        }
    }

    /// Take predictions; the rows that are left, and what was predicted.
    fn predict<'py>(
        &mut self,
        py: Python<'py>,
        rows: &[u8],
        models: Vec<u32>,
        answers: Vec<u32>,
    ) -> PyResult<(Others<'py>, Predicted)> {
        self.refresh(py)?;
        let state = self.state.bind(py).clone();
        let settled_to: i64 = state.getattr("settled_to")?.extract()?;
        let log_time: i64 = state.getattr("log_time")?.extract()?;
        let born = log_time.div_euclid(HOUR) as u32;
        let mut tables = self.tables(&state);
        let mut left = Left::default();
        let mut counts = Sums::new();
        let mut numbers: FxHashMap<(u32, u64, u64, u32, bool), Option<u32>> = FxHashMap::default();
        let mut rows = Rows::new(rows).ok_or_else(torn)?;
        while let Some((bytes, said)) = rows.next(prediction) {
            let Some((key, row)) = said.and_then(|row| Some((ids::pack(row.id)?, row))) else {
                left.push(bytes);
                continue;
            };
            let model = resolve(&models, row.model)?;
            let answer = resolve(&answers, row.answer)?;
            let table = tables.of(self.deployment(model)?)?;
            if row.time <= settled_to || table.has_other(row.id)? {
                left.push(bytes);
                continue;
            }
            let content = (model, row.rank, row.digest, answer, row.weak);
            let number = || -> PyResult<Option<u32>> {
                if let Some(&known) = numbers.get(&content) {
                    return Ok(known);
                }
                let number = self.made.bind(py).call1(content)?.extract()?;
                numbers.insert(content, number);
                Ok(number)
            };
            if table.add(&key, born, row.time, number)? {
                counts.predicted(model, row.time);
            } else {
                left.push(bytes);
            }
        }
        tables.close()?;
        if !rows.is_whole() {
            return Err(torn());
        }
        Ok((others(py, left), counts.told()))
    }

    /// Take feedbacks, and note in `judged` whose they are; the rows that are left, the contents of
    /// predictions and feedbacks that met, and what that adds.
    #[allow(clippy::type_complexity)]
    fn feed<'py>(
        &mut self,
        py: Python<'py>,
        rows: &[u8],
        models: Vec<u32>,
        truths: Vec<u32>,
        judged: Option<Bound<'py, PyDict>>,
        offset: i64,
    ) -> PyResult<(Others<'py>, Vec<(u32, u32)>, Judgements)> {
        self.refresh(py)?;
        let state = self.state.bind(py).clone();
        let mut tables = self.tables(&state);
        let mut left = Left::default();
        let mut pairs: Vec<(u32, u32)> = Vec::new();
        let mut outcomes: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        let mut sums = Judged::new(&self.bounds);
        let mut numbers: FxHashMap<(u32, u64, u64, Option<u32>, Option<i64>), Option<u32>> =
            FxHashMap::default();
        let mut rows = Rows::new(rows).ok_or_else(torn)?;
        while let Some((bytes, said)) = rows.next(feedback) {
            let Some((key, row)) = said.and_then(|row| Some((ids::pack(row.id)?, row))) else {
                left.push(bytes);
                continue;
            };
            let scope = resolve(&models, row.scope)?;
            let truth = row.truth.map(|position| resolve(&truths, position)).transpose()?;
            let deployment = self.deployment(scope)?;
            let Some(place) = tables.of(deployment)?.find(&key)? else {
                left.push(bytes);
                continue;
            };
            let model = self.model_of(py, place.made)?;
            if place.said != 0 || (truth.is_none() && scope != model) {
                left.push(bytes);
                continue;
            }
            let content = (scope, row.rank, row.digest, truth, row.reward);
            let number = match numbers.get(&content) {
                Some(&known) => known,
                None => {
                    let number: Option<u32> = self.said.bind(py).call1(content)?.extract()?;
                    numbers.insert(content, number);
                    number
                }
            };
            let Some(number) = number else {
                left.push(bytes);
                continue;
            };
            tables.of(deployment)?.judge(&place, number, row.time)?;
            let pair = (place.made, number);
            let outcome = *outcomes.entry(pair).or_insert_with(|| {
                pairs.push(pair);
                pairs.len() as u32 - 1
            });
            sums.count(&self.bounds, model, place.made_at, row.time, outcome);
            if let Some(judged) = &judged {
                let id = std::str::from_utf8(row.id).map_err(|_| torn())?;
                judged.set_item((deployment, id), offset)?;
            }
        }
        tables.close()?;
        if !rows.is_whole() {
            return Err(torn());
        }
        Ok((others(py, left), pairs, sums.told()))
    }

    /// Take requests that are all there is of them: a prediction, and a feedback or none. The rows that
    /// are left of both, what was predicted, the answers, truths and rewards that met, what that adds,
    /// the time of the latest prediction, and how many rows had been counted before. `prefixes` is
    /// what identities of a deployment's requests begin with.
    #[allow(clippy::type_complexity, clippy::too_many_arguments)]
    fn settle<'py>(
        &mut self,
        py: Python<'py>,
        predictions: &[u8],
        feedbacks: &[u8],
        models: Vec<u32>,
        answers: Vec<u32>,
        truths: Vec<u32>,
        prefixes: Vec<Vec<u8>>,
    ) -> PyResult<(
        Others<'py>,
        Others<'py>,
        Predicted,
        Vec<Content>,
        Judgements,
        i64,
        i64,
    )> {
        self.refresh(py)?;
        let batch =
            Batch { models: &models, answers: &answers, truths: &truths, prefixes: &prefixes };
        let state = self.state.bind(py);
        let settled = settle::settle(self, state, &batch, predictions, feedbacks)?;
        Ok((
            others(py, settled.predictions),
            others(py, settled.feedbacks),
            settled.counts.told(),
            settled.contents,
            settled.sums.told(),
            settled.latest,
            settled.skipped,
        ))
    }
}
