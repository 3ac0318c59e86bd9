//! The join's short way on packed rows: the twin of `short_way.py`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use rustc_hash::FxHashMap;

use crate::ids;
use crate::ledger::{DeltaAccumulator, Numbers, Sums};
use crate::rows::{feedback, prediction, Remaining, Rows, TORN};
use crate::settle::{self, Batch};
use crate::table::Table;
use crate::times::{HOUR, SECOND};

/// A list of rows that are left to Python.
type Others<'py> = Option<Bound<'py, PyBytes>>;

/// The delays of feedback by bucket, and their total in seconds.
pub struct Delays {
    buckets: Vec<u64>,
    total: f64,
}

impl Delays {
    pub fn new(bounds: &[f64]) -> Self {
        Delays { buckets: vec![0; bounds.len() + 1], total: 0.0 }
    }

    pub fn observe(&mut self, bounds: &[f64], predicted_at: i64, feedback_at: i64) {
        let delay = (feedback_at - predicted_at).max(0) as f64 / SECOND as f64;
        self.buckets[bounds.partition_point(|&bound| bound < delay)] += 1;
        self.total += delay;
    }
}

/// What Python is told of judgements: the delays, and how often those outcomes came that add to a
/// gauge.
pub type Judged = (Vec<u64>, f64, Vec<(u32, i64)>);

pub fn judged(delays: Delays, diagnostics: Sums<u32>) -> Judged {
    (delays.buckets, delays.total, diagnostics.into_vec())
}

pub fn others(py: Python<'_>, remaining: Remaining) -> Others<'_> {
    remaining.list().map(|bytes| PyBytes::new(py, &bytes))
}

/// What rows of predictions share: model, rank, digest, answer, whether it is weak.
type PredictionContent = (u32, u64, u64, u32, bool);
/// What rows of feedbacks share: scope, rank, digest, truth, reward.
type FeedbackContent = (u32, u64, u64, Option<u32>, Option<i64>);

/// Tables that a call has opened, by deployment.
pub struct Tables<'py, 'a> {
    state: &'a Bound<'py, PyAny>,
    open: FxHashMap<u32, Table<'py>>,
    max_bucket_bytes: usize,
    rows_per_bucket: i64,
}

impl<'py> Tables<'py, '_> {
    pub fn of(&mut self, deployment: u32) -> PyResult<&mut Table<'py>> {
        use std::collections::hash_map::Entry;
        Ok(match self.open.entry(deployment) {
            Entry::Occupied(table) => table.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(Table::open(
                self.state,
                deployment as usize,
                self.max_bucket_bytes,
                self.rows_per_bucket,
            )?),
        })
    }

    pub fn close(self) -> PyResult<()> {
        self.open.into_values().try_for_each(Table::close)
    }
}

/// Folds what is usual into a state, and counts it in the ledger. `made` and `said` give contents their
/// numbers, `met` and `settled` the number of the outcome of two contents, or of an answer, a truth
/// and a reward; `deployment_of` is by model, and grows.
#[pyclass]
pub struct FastPath {
    pub state: Py<PyAny>,
    pub accumulator: Py<DeltaAccumulator>,
    outcome_of_pair: Py<PyAny>,
    pub outcome_of_completed: Py<PyAny>,
    prediction_id: Py<PyAny>,
    feedback_id: Py<PyAny>,
    deployment_of: Py<PyList>,
    pub bounds: Vec<f64>,
    max_bucket_bytes: usize,
    rows_per_bucket: i64,
    pub prefixes: Vec<Vec<u8>>,
    deployments: Vec<u32>,
    prediction_models: Vec<u32>,
    prediction_ids: Numbers<PredictionContent>,
    feedback_ids: Numbers<FeedbackContent>,
}

impl FastPath {
    /// What is behind positions that a batch's table holds.
    fn refresh(&mut self, py: Python<'_>) -> PyResult<()> {
        let deployment_of = self.deployment_of.bind(py);
        for position in self.deployments.len()..deployment_of.len() {
            self.deployments.push(deployment_of.get_item(position)?.extract()?);
        }
        Ok(())
    }

    /// The model of a prediction's content.
    fn model_of(&mut self, py: Python<'_>, prediction_id: u32) -> PyResult<u32> {
        let prediction_id = prediction_id as usize;
        if prediction_id >= self.prediction_models.len() {
            let contents =
                self.state.bind(py).getattr("prediction_contents")?.cast_into::<PyList>()?;
            for position in self.prediction_models.len()..contents.len() {
                let content = contents.get_item(position)?;
                self.prediction_models.push(content.getattr("model")?.extract()?);
            }
        }
        self.prediction_models.get(prediction_id).copied().ok_or_else(torn)
    }

    pub fn tables<'py, 'a>(&self, state: &'a Bound<'py, PyAny>) -> Tables<'py, 'a> {
        let (max_bucket_bytes, rows_per_bucket) = (self.max_bucket_bytes, self.rows_per_bucket);
        Tables { state, open: FxHashMap::default(), max_bucket_bytes, rows_per_bucket }
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
impl FastPath {
    #[new]
    #[allow(clippy::too_many_arguments)]
    #[pyo3(signature = (state, accumulator, outcome_of_pair, outcome_of_completed, prediction_id, feedback_id, deployment_of, bounds, max_bucket_bytes, rows_per_bucket))]
    fn new(
        state: Py<PyAny>,
        accumulator: Py<DeltaAccumulator>,
        outcome_of_pair: Py<PyAny>,
        outcome_of_completed: Py<PyAny>,
        prediction_id: Py<PyAny>,
        feedback_id: Py<PyAny>,
        deployment_of: Py<PyList>,
        bounds: Vec<f64>,
        max_bucket_bytes: usize,
        rows_per_bucket: i64,
    ) -> Self {
        FastPath {
            state,
            accumulator,
            outcome_of_pair,
            outcome_of_completed,
            prediction_id,
            feedback_id,
            deployment_of,
            bounds,
            max_bucket_bytes,
            rows_per_bucket,
            prefixes: Vec::new(),
            deployments: Vec::new(),
            prediction_models: Vec::new(),
            prediction_ids: Numbers::default(),
            feedback_ids: Numbers::default(),
        }
    }

    /// Take predictions; the rows that are left, and how many were taken.
    fn apply_predictions<'py>(
        &mut self,
        py: Python<'py>,
        rows: &[u8],
        models: Vec<u32>,
        answers: Vec<u32>,
    ) -> PyResult<(Others<'py>, i64)> {
        self.refresh(py)?;
        let state = self.state.bind(py).clone();
        let completed_until: i64 = state.getattr("completed_until")?.extract()?;
        let log_time: i64 = state.getattr("log_time")?.extract()?;
        let first_seen_hour = log_time.div_euclid(HOUR) as u32;
        let mut tables = self.tables(&state);
        let mut remaining = Remaining::default();
        let mut accumulator = self.accumulator.bind(py).borrow_mut();
        let mut count = 0;
        let mut numbers = std::mem::take(&mut self.prediction_ids);
        let mut rows = Rows::new(rows).ok_or_else(torn)?;
        while let Some((bytes, parsed)) = rows.next(prediction) {
            let Some((key, row)) = parsed.and_then(|row| Some((ids::pack(row.id)?, row))) else {
                remaining.push(bytes);
                continue;
            };
            let model = resolve(&models, row.model)?;
            let answer = resolve(&answers, row.answer)?;
            let table = tables.of(self.deployment(model)?)?;
            if row.time <= completed_until || table.has_other(row.id)? {
                remaining.push(bytes);
                continue;
            }
            let content = (model, row.source_rank, row.digest, answer, row.provisional);
            let number = || -> PyResult<Option<u32>> {
                if let Some(known) = numbers.get(&content) {
                    return Ok(Some(known));
                }
                let number: Option<u32> = self.prediction_id.bind(py).call1(content)?.extract()?;
                number.inspect(|&number| numbers.put(content, number));
                Ok(number)
            };
            if table.add(&key, first_seen_hour, row.time, number)? {
                accumulator.predict(model, row.time);
                count += 1;
            } else {
                remaining.push(bytes);
            }
        }
        tables.close()?;
        drop(accumulator);
        self.prediction_ids = numbers;
        if !rows.is_whole() {
            return Err(torn());
        }
        Ok((others(py, remaining), count))
    }

    /// Take feedbacks, and note in `judged` whose they are; the rows that are left, and what is told of
    /// the others.
    fn apply_feedback<'py>(
        &mut self,
        py: Python<'py>,
        rows: &[u8],
        models: Vec<u32>,
        truths: Vec<u32>,
        judged: Option<Bound<'py, PyDict>>,
        offset: i64,
    ) -> PyResult<(Others<'py>, Judged)> {
        self.refresh(py)?;
        let state = self.state.bind(py).clone();
        let mut tables = self.tables(&state);
        let mut remaining = Remaining::default();
        let (mut delays, mut diagnostics) = (Delays::new(&self.bounds), Sums::default());
        let mut numbers = std::mem::take(&mut self.feedback_ids);
        let mut rows = Rows::new(rows).ok_or_else(torn)?;
        while let Some((bytes, parsed)) = rows.next(feedback) {
            let Some((key, row)) = parsed.and_then(|row| Some((ids::pack(row.id)?, row))) else {
                remaining.push(bytes);
                continue;
            };
            let scope = resolve(&models, row.scope)?;
            let truth = row.truth.map(|position| resolve(&truths, position)).transpose()?;
            let deployment = self.deployment(scope)?;
            let Some(found) = tables.of(deployment)?.find(&key)? else {
                remaining.push(bytes);
                continue;
            };
            let model = self.model_of(py, found.prediction_id)?;
            if found.feedback_id != 0 || (truth.is_none() && scope != model) {
                remaining.push(bytes);
                continue;
            }
            let content = (scope, row.source_rank, row.digest, truth, row.reward);
            let number = match numbers.get(&content) {
                Some(known) => known,
                None => match self.feedback_id.bind(py).call1(content)?.extract::<Option<u32>>()? {
                    Some(number) => {
                        numbers.put(content, number);
                        number
                    }
                    None => {
                        remaining.push(bytes);
                        continue;
                    }
                },
            };
            tables.of(deployment)?.judge(&found, number, row.time)?;
            let pair = (found.prediction_id, number);
            let known = self.accumulator.bind(py).borrow().pairs.get(&pair);
            let outcome = match known {
                Some(outcome) => outcome,
                // It is told to the ledger, which nobody may hold meanwhile.
                None => self.outcome_of_pair.bind(py).call1(pair)?.extract()?,
            };
            let mut accumulator = self.accumulator.bind(py).borrow_mut();
            if known.is_none() {
                accumulator.pairs.put(pair, outcome);
            }
            if accumulator.judged(model, found.predicted_at, row.time, outcome, 1)? {
                diagnostics.add(outcome, 1);
            }
            delays.observe(&self.bounds, found.predicted_at, row.time);
            if let Some(judged) = &judged {
                let id = std::str::from_utf8(row.id).map_err(|_| torn())?;
                judged.set_item((deployment, id), offset)?;
            }
        }
        tables.close()?;
        self.feedback_ids = numbers;
        if !rows.is_whole() {
            return Err(torn());
        }
        Ok((others(py, remaining), self::judged(delays, diagnostics)))
    }

    /// Take requests that are all there is of them: a prediction, and a feedback or none. The rows that
    /// are left of both, what is told of the others, the time of the latest prediction, and how many
    /// rows had been counted before. `prefixes` is what identities of a deployment's requests begin
    /// with, a list that grows.
    #[allow(clippy::type_complexity, clippy::too_many_arguments)]
    fn apply_completed<'py>(
        &mut self,
        py: Python<'py>,
        predictions: &[u8],
        feedbacks: &[u8],
        models: Vec<u32>,
        answers: Vec<u32>,
        truths: Vec<u32>,
        prefixes: &Bound<'py, PyList>,
    ) -> PyResult<(Others<'py>, Others<'py>, Judged, Option<i64>, i64)> {
        self.refresh(py)?;
        for position in self.prefixes.len()..prefixes.len() {
            self.prefixes.push(prefixes.get_item(position)?.extract()?);
        }
        let batch = Batch { models: &models, answers: &answers, truths: &truths };
        let state = self.state.bind(py);
        let completed = settle::apply_completed(self, state, &batch, predictions, feedbacks)?;
        Ok((
            others(py, completed.predictions),
            others(py, completed.feedbacks),
            judged(completed.delays, completed.diagnostics),
            completed.latest,
            completed.skipped,
        ))
    }
}
