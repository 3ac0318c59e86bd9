//! Requests that are complete in one batch: counted and not kept.

use pyo3::prelude::*;

use crate::collections::OrderedMap;
use crate::errors::{malformed_rows, resolve};
use crate::ids::{AnswerId, DeploymentId, ModelId, TruthId};
use crate::join::deltas::accumulator::DeltaAccumulator;
use crate::join::judgements::{plan_of, Judged, Judgements, ALONE};
use crate::join::request_updater::Model;
use crate::join::requests::id_set::{identity, IdSet};
use crate::join::requests::request_table::RequestTable;
use crate::request_ids::Id;
use crate::rows::{feedback, head, prediction, Feedback, Prediction, Remaining, Rows};

/// The rows of one kind: the position of the request's group, the bytes, and the content in the common
/// case.
type ParsedRows<'a, T> = Vec<(usize, &'a [u8], Option<T>)>;

/// A batch's dictionaries, as positions in the tables of the state.
#[derive(Clone, Copy)]
pub struct Dictionaries<'a> {
    pub models: &'a [ModelId],
    pub answers: &'a [AnswerId],
    pub truths: &'a [TruthId],
}

/// The rows of one request, by position. The rows are handed back to Python while `remaining` is true.
struct Group {
    prediction_rows: Vec<usize>,
    feedback_rows: Vec<usize>,
    remaining: bool,
}

/// Groups by deployment and request id, in the order of their first rows.
type Groups<'a> = OrderedMap<(DeploymentId, &'a [u8]), Group>;

/// A request of the common case.
struct Request<'a> {
    model: ModelId,
    answer: AnswerId,
    predicted_at: i64,
    /// The time of the feedback, and how to judge the item.
    feedback: Option<(i64, Judged<'a>)>,
}

/// Counts the requests of a batch that are of the common case and not in memory.
pub struct CompletedRequests<'a, 'py> {
    pub dictionaries: Dictionaries<'a>,
    /// The models of the state.
    pub known_models: &'a [Model],
    /// The beginning of the text that `identity` hashes, by deployment.
    pub prefixes: &'a [Vec<u8>],
    pub accumulator: &'a Bound<'py, DeltaAccumulator>,
    /// Python's function of an answer, a truth and a reward.
    pub plan_of: &'a Bound<'py, PyAny>,
    pub requests: PyRefMut<'py, RequestTable>,
    pub counted: PyRefMut<'py, IdSet>,
    pub judgements: Judgements<'a>,
    /// The time (ns) of the latest prediction that was counted.
    pub latest: Option<i64>,
    /// The number of rows whose requests had been counted before.
    pub skipped: i64,
}

impl CompletedRequests<'_, '_> {
    /// Count the requests of a batch. Returns the remaining rows of predictions and of feedback.
    pub fn apply(
        &mut self,
        predictions: &[u8],
        feedbacks: &[u8],
    ) -> PyResult<(Remaining, Remaining)> {
        let mut groups = Groups::default();
        let predictions = self.parse(predictions, prediction, &mut groups)?;
        let feedbacks = self.parse(feedbacks, feedback, &mut groups)?;
        for (index, row) in predictions.iter().enumerate() {
            groups[row.0].prediction_rows.push(index);
        }
        for (index, row) in feedbacks.iter().enumerate() {
            groups[row.0].feedback_rows.push(index);
        }
        for (&(deployment, id), group) in &mut groups {
            let Some(request) = self.request(group, &predictions, &feedbacks)? else { continue };
            if !self.is_in_memory(deployment, id)? {
                group.remaining = false;
                self.count(deployment, id, &request)?;
            }
        }
        Ok((remaining(&predictions, &groups), remaining(&feedbacks, &groups)))
    }

    /// Parse the rows of one kind, and find or add their groups.
    fn parse<'r, T>(
        &self,
        rows: &'r [u8],
        read: fn(&mut Rows<'r>) -> Option<T>,
        groups: &mut Groups<'r>,
    ) -> PyResult<ParsedRows<'r, T>> {
        let mut rows = Rows::new(rows).ok_or_else(malformed_rows)?;
        let mut parsed_rows = Vec::with_capacity(rows.len().min(1 << 16));
        while let Some((bytes, parsed)) = rows.next(read) {
            let (id, model) = head(bytes).ok_or_else(malformed_rows)?;
            let model = resolve(self.dictionaries.models, model)?;
            let deployment = resolve(self.known_models, model.index())?.deployment;
            let entry = groups.entry((deployment, id));
            let index = entry.index();
            entry.or_insert_with(|| Group {
                prediction_rows: Vec::new(),
                feedback_rows: Vec::new(),
                remaining: true,
            });
            parsed_rows.push((index, bytes, parsed));
        }
        if rows.is_complete() {
            Ok(parsed_rows)
        } else {
            Err(malformed_rows())
        }
    }

    /// The request of a group with one prediction and at most one feedback that applies to it.
    fn request<'r>(
        &self,
        group: &Group,
        predictions: &ParsedRows<'r, Prediction<'r>>,
        feedbacks: &ParsedRows<'r, Feedback<'r>>,
    ) -> PyResult<Option<Request<'r>>> {
        let ([row], [] | [_]) = (&group.prediction_rows[..], &group.feedback_rows[..]) else {
            return Ok(None);
        };
        let Some(row) = &predictions[*row].2 else { return Ok(None) };
        let Dictionaries { models, answers, truths } = self.dictionaries;
        let model = resolve(models, row.model)?;
        let Some(item) = row.answers.one() else { return Ok(None) };
        let answer = resolve(answers, item.position)?;
        let mut judgement = None;
        if let Some(&feedback) = group.feedback_rows.first() {
            let Some(feedback) = &feedbacks[feedback].2 else { return Ok(None) };
            let truth = match &feedback.truth {
                None => None,
                Some(items) => match items.one() {
                    None => return Ok(None),
                    truth => truth,
                },
            };
            if truth.is_none() && resolve(models, feedback.scope)? != model {
                return Ok(None);
            }
            let position = truth.map(|truth| resolve(truths, truth.position)).transpose()?;
            let key = (answer, position, feedback.reward, ALONE);
            let Some(plan) = plan_of(self.accumulator, key, self.plan_of)? else { return Ok(None) };
            let truth_values = truth.map_or(&[][..], |truth| truth.values);
            let judged = Judged { plan, values: item.values, truth_values };
            judgement = Some((feedback.time, judged));
        }
        Ok(Some(Request { model, answer, predicted_at: row.time, feedback: judgement }))
    }

    fn is_in_memory(&mut self, deployment: DeploymentId, id: &[u8]) -> PyResult<bool> {
        Ok(self.requests.table(deployment)?.find(&Id::new(id)).is_some())
    }

    /// Count a request unless it had been counted before.
    fn count(&mut self, deployment: DeploymentId, id: &[u8], request: &Request) -> PyResult<()> {
        let prefix = self.prefixes.get(deployment.index()).ok_or_else(malformed_rows)?;
        if !self.counted.add(identity(prefix, id)) {
            self.skipped += 1 + i64::from(request.feedback.is_some());
            return Ok(());
        }
        self.latest = self.latest.max(Some(request.predicted_at));
        let (model, predicted_at) = (request.model, request.predicted_at);
        self.accumulator.borrow_mut().add_prediction(model, request.answer, predicted_at);
        if let Some((time, judged)) = &request.feedback {
            let accumulator = &mut self.accumulator.borrow_mut();
            let times = (request.predicted_at, *time);
            self.judgements.count(
                accumulator,
                request.model,
                times,
                std::slice::from_ref(judged),
            )?;
        }
        Ok(())
    }
}

/// The rows of groups that are handed back to Python.
fn remaining<T>(rows: &ParsedRows<T>, groups: &Groups) -> Remaining {
    let mut remaining = Remaining::default();
    for (group, bytes, _) in rows {
        if groups[*group].remaining {
            remaining.push(bytes);
        }
    }
    remaining
}
