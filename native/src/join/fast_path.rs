//! The fast path of the join on packed rows: the counterpart of `fast_path.py`.

use std::hash::Hash;
use std::sync::Arc;

use pyo3::call::PyCallArgs;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::collections::Memo;
use crate::digests::mix;
use crate::errors::{malformed_rows, resolve};
use crate::ids::{AnswerId, DeploymentId, FeedbackId, ModelId, PredictionId, TruthId};
use crate::join::accumulator::DeltaAccumulator;
use crate::join::completed::{CompletedRequests, Dictionaries};
use crate::join::id_set::IdSet;
use crate::join::judgements::{plan_of, JudgementSummary, Judgements};
use crate::join::table::{Limits, Table, Tables};
use crate::request_ids;
use crate::rows::{feedback, prediction, Feedback, Remaining, Rows};
use crate::times::HOUR;

/// The rows that Python has to apply, as a MessagePack list.
type RemainingRows<'py> = Option<Bound<'py, PyBytes>>;

fn remaining_rows(py: Python<'_>, remaining: Remaining) -> RemainingRows<'_> {
    remaining.into_list().map(|bytes| PyBytes::new(py, &bytes))
}

/// Model, source rank, digest without values, answer, whether the prediction is provisional, and the
/// length of the values.
type PredictionContent = (ModelId, u64, u64, AnswerId, bool, usize);
/// Scope, source rank, digest without values, truth, reward in millionths, and the length of the values.
type FeedbackContent = (ModelId, u64, u64, Option<TruthId>, Option<i64>, usize);

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

/// A prediction's content of the common case.
#[derive(Clone, Copy)]
struct PackedPrediction {
    model: ModelId,
    answer: AnswerId,
    /// The length of its values.
    length: usize,
}

/// The digest of an answer without its values, and how many times their length a row needs.
type ValuedAnswer = (u64, usize);

/// Applies the common case to a state and counts it in the accumulator. `prediction_id` and
/// `feedback_id` are Python's functions that number contents; `plan_of_pair` gives the plan of two
/// contents, `plan_of_completed` that of an answer, a truth and a reward, both None where Python has to
/// judge; `valued_answer` says how the
/// values of an answer are packed, and `base_of_feedback` is the digest of a truth and a reward.
/// `deployment_of` is a list by model that grows.
#[pyclass]
pub struct FastPath {
    state: Py<PyAny>,
    accumulator: Py<DeltaAccumulator>,
    plan_of_pair: Py<PyAny>,
    plan_of_completed: Py<PyAny>,
    prediction_id: Py<PyAny>,
    feedback_id: Py<PyAny>,
    valued_answer: Py<PyAny>,
    base_of_feedback: Py<PyAny>,
    deployment_of: Py<PyList>,
    bounds: Arc<[f64]>,
    limits: Limits,
    prefixes: Vec<Vec<u8>>,
    deployments: Vec<DeploymentId>,
    predictions: Vec<PackedPrediction>,
    prediction_ids: Memo<PredictionContent, PredictionId>,
    feedback_ids: Memo<FeedbackContent, FeedbackId>,
    valued_answers: Memo<(AnswerId,), ValuedAnswer>,
    feedback_bases: Memo<(TruthId, Option<i64>), u64>,
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

    /// The content of a prediction.
    fn content_of(
        &mut self,
        py: Python<'_>,
        prediction: PredictionId,
    ) -> PyResult<PackedPrediction> {
        if prediction.index() >= self.predictions.len() {
            let contents =
                self.state.bind(py).getattr("prediction_contents")?.cast_into::<PyList>()?;
            for position in self.predictions.len()..contents.len() {
                let content = contents.get_item(position)?;
                self.predictions.push(PackedPrediction {
                    model: content.getattr("model")?.extract()?,
                    answer: content.getattr("answer")?.extract()?,
                    length: content.getattr("length")?.extract()?,
                });
            }
        }
        resolve(&self.predictions, prediction.index())
    }

    /// The digest of an answer without its values; None unless the table can keep these, and the digest
    /// of both is `digest`.
    fn packed_base(
        &mut self,
        py: Python<'_>,
        answer: AnswerId,
        values: &[u8],
        digest: u64,
        table: &mut Table<'_>,
    ) -> PyResult<Option<u64>> {
        if values.is_empty() {
            return Ok(Some(digest));
        }
        let valued = number_of(&mut self.valued_answers, (answer,), self.valued_answer.bind(py))?;
        let Some((base, times)) = valued.filter(|&(base, _)| mix(base, values) == digest) else {
            return Ok(None);
        };
        Ok(table.make_room(times * values.len())?.then_some(base))
    }

    /// The digest of a truth and a reward without the values of the truth, which stand behind those of
    /// `prediction`; None unless there is room for them, and the digest of all is `digest`.
    fn feedback_base(
        &mut self,
        py: Python<'_>,
        prediction: PackedPrediction,
        truth: Option<TruthId>,
        row: &Feedback,
    ) -> PyResult<Option<u64>> {
        if row.values.is_empty() {
            return Ok(Some(row.digest));
        }
        let (Some(truth), true) = (truth, prediction.length != 0) else { return Ok(None) };
        let answer = (prediction.answer,);
        let valued = number_of(&mut self.valued_answers, answer, self.valued_answer.bind(py))?;
        let width = valued.map_or(0, |(_, times)| times * prediction.length);
        if prediction.length + row.values.len() > width {
            return Ok(None);
        }
        let key = (truth, row.reward);
        let base = number_of(&mut self.feedback_bases, key, self.base_of_feedback.bind(py))?;
        Ok(base.filter(|&base| mix(base, row.values) == row.digest))
    }
}

#[pymethods]
impl FastPath {
    #[new]
    #[allow(clippy::too_many_arguments)]
    fn new(
        state: Py<PyAny>,
        accumulator: Py<DeltaAccumulator>,
        plan_of_pair: Py<PyAny>,
        plan_of_completed: Py<PyAny>,
        prediction_id: Py<PyAny>,
        feedback_id: Py<PyAny>,
        valued_answer: Py<PyAny>,
        base_of_feedback: Py<PyAny>,
        deployment_of: Py<PyList>,
        bounds: Vec<f64>,
        max_rows: usize,
        rows_per_bucket: i64,
    ) -> Self {
        FastPath {
            state,
            accumulator,
            plan_of_pair,
            plan_of_completed,
            prediction_id,
            feedback_id,
            valued_answer,
            base_of_feedback,
            deployment_of,
            bounds: bounds.into(),
            limits: Limits { max_rows, rows_per_bucket },
            prefixes: Vec::new(),
            deployments: Vec::new(),
            predictions: Vec::new(),
            prediction_ids: Memo::default(),
            feedback_ids: Memo::default(),
            valued_answers: Memo::default(),
            feedback_bases: Memo::default(),
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
            let Some(base) = self.packed_base(py, answer, row.values, row.digest, table)? else {
                remaining.push(bytes);
                continue;
            };
            let length = row.values.len();
            let content = (model, row.source_rank, base, answer, row.provisional, length);
            let prediction_id =
                || number_of(&mut self.prediction_ids, content, self.prediction_id.bind(py));
            if table.add(&key, first_seen_hour, row.time, row.values, prediction_id)? {
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
            let prediction = self.content_of(py, request.prediction_id)?;
            let (model, start) = (prediction.model, prediction.length);
            if request.has_feedback || (truth.is_none() && scope != model) {
                remaining.push(bytes);
                continue;
            }
            let Some(base) = self.feedback_base(py, prediction, truth, &row)? else {
                remaining.push(bytes);
                continue;
            };
            let content = (scope, row.source_rank, base, truth, row.reward, row.values.len());
            let number = number_of(&mut self.feedback_ids, content, self.feedback_id.bind(py))?;
            let Some(feedback_id) = number else {
                remaining.push(bytes);
                continue;
            };
            let plan = plan_of(
                &accumulator,
                |accumulator| &mut accumulator.pair_plans,
                (request.prediction_id, feedback_id),
                self.plan_of_pair.bind(py),
            )?;
            let Some(plan) = plan else {
                remaining.push(bytes);
                continue;
            };
            let table = tables.get(deployment)?;
            table.set_feedback(&request, feedback_id, row.time, start, row.values)?;
            let times = (request.predicted_at, row.time);
            let values = (&request.values[..start], row.values);
            judgements.count(&mut accumulator.borrow_mut(), model, times, plan, values)?;
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
            plan_of: self.plan_of_completed.bind(py),
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
