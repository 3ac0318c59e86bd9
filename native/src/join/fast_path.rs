//! The fast path of the join on packed rows: the counterpart of `fast_path.py`.

use std::hash::Hash;
use std::sync::Arc;

use pyo3::call::PyCallArgs;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::collections::Memo;
use crate::errors::{malformed_rows, resolve};
use crate::ids::{AnswerId, DeploymentId, FeedbackId, ModelId, PredictionId, TruthId};
use crate::join::accumulator::DeltaAccumulator;
use crate::join::completed::{CompletedRequests, Dictionaries};
use crate::join::id_set::IdSet;
use crate::join::judgements::{outcome_of, JudgementSummary, Judgements};
use crate::join::table::{Limits, Tables};
use crate::request_ids;
use crate::rows::{feedback, prediction, Remaining, Rows};
use crate::times::HOUR;

/// The rows that Python has to apply, as a MessagePack list.
type RemainingRows<'py> = Option<Bound<'py, PyBytes>>;

fn remaining_rows(py: Python<'_>, remaining: Remaining) -> RemainingRows<'_> {
    remaining.into_list().map(|bytes| PyBytes::new(py, &bytes))
}

/// Model, source rank, digest, answer, and whether the prediction is provisional.
type PredictionContent = (ModelId, u64, u64, AnswerId, bool);
/// Scope, source rank, digest, truth, and reward in millionths.
type FeedbackContent = (ModelId, u64, u64, Option<TruthId>, Option<i64>);

/// The number of a content, from a memo or from Python; None if the state has no room for it.
fn number_of<'py, K, V>(
    memo: &mut Memo<K, V>,
    content: K,
    number: &Bound<'py, PyAny>,
) -> PyResult<Option<V>>
where
    K: Copy + Eq + Hash + PyCallArgs<'py>,
    V: Copy + for<'a> FromPyObject<'a, 'py, Error = PyErr>,
{
    if let Some(known) = memo.get(&content) {
        return Ok(Some(known));
    }
    let number: Option<V> = number.call1(content)?.extract()?;
    Ok(number.inspect(|&number| memo.put(content, number)))
}

/// Applies the common case to a state and counts it in the accumulator. `prediction_id` and
/// `feedback_id` are Python's functions that number contents; `outcome_of_pair` gives the outcome of two
/// contents, `outcome_of_completed` that of an answer, a truth and a reward. `deployment_of` is a list
/// by model that grows.
#[pyclass]
pub struct FastPath {
    state: Py<PyAny>,
    accumulator: Py<DeltaAccumulator>,
    outcome_of_pair: Py<PyAny>,
    outcome_of_completed: Py<PyAny>,
    prediction_id: Py<PyAny>,
    feedback_id: Py<PyAny>,
    deployment_of: Py<PyList>,
    bounds: Arc<[f64]>,
    limits: Limits,
    prefixes: Vec<Vec<u8>>,
    deployments: Vec<DeploymentId>,
    prediction_models: Vec<ModelId>,
    prediction_ids: Memo<PredictionContent, PredictionId>,
    feedback_ids: Memo<FeedbackContent, FeedbackId>,
}

impl FastPath {
    /// Copy the deployments of models that were added since the last call.
    fn refresh(&mut self, py: Python<'_>) -> PyResult<()> {
        let deployment_of = self.deployment_of.bind(py);
        for position in self.deployments.len()..deployment_of.len() {
            self.deployments.push(deployment_of.get_item(position)?.extract()?);
        }
        Ok(())
    }

    /// The model of a prediction's content.
    fn model_of(&mut self, py: Python<'_>, prediction: PredictionId) -> PyResult<ModelId> {
        if prediction.index() >= self.prediction_models.len() {
            let contents =
                self.state.bind(py).getattr("prediction_contents")?.cast_into::<PyList>()?;
            for position in self.prediction_models.len()..contents.len() {
                let content = contents.get_item(position)?;
                self.prediction_models.push(content.getattr("model")?.extract()?);
            }
        }
        resolve(&self.prediction_models, prediction.index())
    }
}

#[pymethods]
impl FastPath {
    #[new]
    #[allow(clippy::too_many_arguments)]
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
            bounds: bounds.into(),
            limits: Limits { max_bucket_bytes, rows_per_bucket },
            prefixes: Vec::new(),
            deployments: Vec::new(),
            prediction_models: Vec::new(),
            prediction_ids: Memo::default(),
            feedback_ids: Memo::default(),
        }
    }

    /// Apply predictions. Returns the remaining rows, and how many were applied.
    fn apply_predictions<'py>(
        &mut self,
        py: Python<'py>,
        rows: &[u8],
        models: Vec<ModelId>,
        answers: Vec<AnswerId>,
    ) -> PyResult<(RemainingRows<'py>, i64)> {
        self.refresh(py)?;
        let state = self.state.bind(py).clone();
        let completed_until: i64 = state.getattr("completed_until")?.extract()?;
        let log_time: i64 = state.getattr("log_time")?.extract()?;
        let first_seen_hour = log_time.div_euclid(HOUR) as u32;
        let mut tables = Tables::new(&state, self.limits);
        let mut remaining = Remaining::default();
        let accumulator = self.accumulator.bind(py).clone();
        let mut accumulator = accumulator.borrow_mut();
        let mut count = 0;
        let mut rows = Rows::new(rows).ok_or_else(malformed_rows)?;
        while let Some((bytes, parsed)) = rows.next(prediction) {
            let parsed = parsed.filter(|row| row.values.is_empty());
            let Some((key, row)) = parsed.and_then(|row| Some((request_ids::pack(row.id)?, row)))
            else {
                remaining.push(bytes);
                continue;
            };
            let model = resolve(&models, row.model)?;
            let answer = resolve(&answers, row.answer)?;
            let table = tables.get(resolve(&self.deployments, model.index())?)?;
            if row.time <= completed_until || table.has_object(row.id)? {
                remaining.push(bytes);
                continue;
            }
            let content = (model, row.source_rank, row.digest, answer, row.provisional);
            let prediction_id =
                || number_of(&mut self.prediction_ids, content, self.prediction_id.bind(py));
            if table.add(&key, first_seen_hour, row.time, prediction_id)? {
                accumulator.add_prediction(model, row.time);
                count += 1;
            } else {
                remaining.push(bytes);
            }
        }
        tables.close()?;
        if !rows.is_complete() {
            return Err(malformed_rows());
        }
        Ok((remaining_rows(py, remaining), count))
    }

    /// Apply feedback, and note in `judged` the offset by deployment and request id. Returns the
    /// remaining rows, and a summary of the judgements.
    fn apply_feedback<'py>(
        &mut self,
        py: Python<'py>,
        rows: &[u8],
        models: Vec<ModelId>,
        truths: Vec<TruthId>,
        judged: Option<Bound<'py, PyDict>>,
        offset: i64,
    ) -> PyResult<(RemainingRows<'py>, JudgementSummary)> {
        self.refresh(py)?;
        let state = self.state.bind(py).clone();
        let accumulator = self.accumulator.bind(py).clone();
        let mut tables = Tables::new(&state, self.limits);
        let mut remaining = Remaining::default();
        let bounds = Arc::clone(&self.bounds);
        let mut judgements = Judgements::new(&bounds);
        let mut rows = Rows::new(rows).ok_or_else(malformed_rows)?;
        while let Some((bytes, parsed)) = rows.next(feedback) {
            let parsed = parsed.filter(|row| row.values.is_empty());
            let Some((key, row)) = parsed.and_then(|row| Some((request_ids::pack(row.id)?, row)))
            else {
                remaining.push(bytes);
                continue;
            };
            let scope = resolve(&models, row.scope)?;
            let truth = row.truth.map(|position| resolve(&truths, position)).transpose()?;
            let deployment = resolve(&self.deployments, scope.index())?;
            let Some(request) = tables.get(deployment)?.find(&key)? else {
                remaining.push(bytes);
                continue;
            };
            let model = self.model_of(py, request.prediction_id)?;
            if request.has_feedback || (truth.is_none() && scope != model) {
                remaining.push(bytes);
                continue;
            }
            let content = (scope, row.source_rank, row.digest, truth, row.reward);
            let number = number_of(&mut self.feedback_ids, content, self.feedback_id.bind(py))?;
            let Some(feedback_id) = number else {
                remaining.push(bytes);
                continue;
            };
            tables.get(deployment)?.set_feedback(&request, feedback_id, row.time)?;
            let outcome = outcome_of(
                &accumulator,
                |accumulator| &mut accumulator.pair_outcomes,
                (request.prediction_id, feedback_id),
                self.outcome_of_pair.bind(py),
            )?;
            let accumulator = &mut accumulator.borrow_mut();
            judgements.count(accumulator, model, request.predicted_at, row.time, outcome)?;
            if let Some(judged) = &judged {
                let id = std::str::from_utf8(row.id).map_err(|_| malformed_rows())?;
                judged.set_item((deployment, id), offset)?;
            }
        }
        tables.close()?;
        if !rows.is_complete() {
            return Err(malformed_rows());
        }
        Ok((remaining_rows(py, remaining), judgements.summary()))
    }

    /// Count requests that are complete: one prediction, and at most one feedback. Returns the remaining
    /// rows of predictions and of feedback, a summary of the judgements, the time of the latest
    /// prediction, and how many rows had been counted before. `prefixes` is a list by deployment that
    /// grows; see `prefix` in `id_set.py`.
    #[allow(clippy::type_complexity, clippy::too_many_arguments)]
    fn apply_completed<'py>(
        &mut self,
        py: Python<'py>,
        predictions: &[u8],
        feedbacks: &[u8],
        models: Vec<ModelId>,
        answers: Vec<AnswerId>,
        truths: Vec<TruthId>,
        prefixes: &Bound<'py, PyList>,
    ) -> PyResult<(RemainingRows<'py>, RemainingRows<'py>, JudgementSummary, Option<i64>, i64)>
    {
        self.refresh(py)?;
        for position in self.prefixes.len()..prefixes.len() {
            self.prefixes.push(prefixes.get_item(position)?.extract()?);
        }
        let state = self.state.bind(py);
        let mut requests = CompletedRequests {
            dictionaries: Dictionaries { models: &models, answers: &answers, truths: &truths },
            deployments: &self.deployments,
            prefixes: &self.prefixes,
            accumulator: self.accumulator.bind(py),
            outcome_of: self.outcome_of_completed.bind(py),
            tables: Tables::new(state, self.limits),
            counted: IdSet::open(state.getattr("completed_ids")?)?,
            judgements: Judgements::new(&self.bounds),
            latest: None,
            skipped: 0,
        };
        let (predictions, feedbacks) = requests.apply(predictions, feedbacks)?;
        Ok((
            remaining_rows(py, predictions),
            remaining_rows(py, feedbacks),
            requests.judgements.summary(),
            requests.latest,
            requests.skipped,
        ))
    }
}
