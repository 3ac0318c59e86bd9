//! The fast path of the join on the rows of a batch, as they stand on the log: see `fast_path.py`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::collections::OrderedSet;
use crate::errors::{malformed_rows, resolve};
use crate::ids::{AnswerId, DeploymentId, ModelId, TruthId};
use crate::join::completed::{CompletedRequests, Dictionaries};
use crate::join::content_digests::Digests;
use crate::join::deltas::accumulator::DeltaAccumulator;
use crate::join::judgements::{JudgementSummary, Judgements};
use crate::join::request_updater::{Model, NewFeedback, NewPrediction, Notes, RequestUpdater};
use crate::join::requests::codec::{Item, NewItems};
use crate::join::requests::id_set::IdSet;
use crate::join::requests::request_table::RequestTable;
use crate::request_ids::Id;
use crate::rows::{self, feedback, head, prediction, Items, Remaining, Rows};

/// The rows that Python has to apply, as a MessagePack list.
type RemainingRows<'py> = Option<Bound<'py, PyBytes>>;
/// These, the changes of the numbers of requests without feedback and of those without a prediction, the
/// numbers of rows that were known already, of those of which another version was, and of outcomes that
/// have changed, and a summary of the judgements.
type Applied<'py> = (RemainingRows<'py>, i64, i64, i64, i64, i64, JudgementSummary);

fn remaining_rows(py: Python<'_>, remaining: Remaining) -> RemainingRows<'_> {
    remaining.into_list().map(|bytes| PyBytes::new(py, &bytes))
}

/// Rows whose requests are looked for in one go, so that the CPU waits for the memory of all of them.
const AT_ONCE: usize = 32;

/// The source ranks that the fast path packs.
const MAX_RANK: u64 = 1 << 32;

/// The items of a row, with their positions in the tables of the state.
enum Resolved<'r> {
    One([Item<'r>; 1]),
    Several(Vec<Item<'r>>),
}

impl<'r> Resolved<'r> {
    fn new<I: Copy>(
        items: &Items<'r>,
        dictionary: &[I],
        position: impl Fn(I) -> u32,
    ) -> PyResult<Self> {
        let item = |item: &rows::Item<'r>| {
            let position = position(resolve(dictionary, item.position)?);
            Ok(Item { position, values: item.values })
        };
        Ok(match items {
            Items::One(one) => Resolved::One([item(one)?]),
            Items::Several(items, _) => {
                Resolved::Several(items.iter().map(item).collect::<PyResult<_>>()?)
            }
        })
    }

    fn as_slice(&self) -> &[Item<'r>] {
        match self {
            Resolved::One(item) => item,
            Resolved::Several(items) => items,
        }
    }
}

fn new_items<'r>(row: &Items, items: &'r [Item<'r>]) -> NewItems<'r> {
    let (several, valued) = match row {
        Items::One(item) => (false, !item.values.is_empty()),
        Items::Several(_, valued) => (true, *valued),
    };
    NewItems { items, several, valued }
}

/// Applies rows to the requests of a state and counts them in the accumulator. `plan_of` is Python's
/// function of an answer, a truth and a reward; `base_of_prediction` and `base_of_feedback` give the digests
/// of an answer, and of a truth and a reward, without values.
#[pyclass]
pub struct FastPath {
    requests: Py<RequestTable>,
    accumulator: Py<DeltaAccumulator>,
    plan_of: Py<PyAny>,
    digests: Digests,
    bounds: Vec<f64>,
    judged: Option<Py<PyDict>>,
    unmatched: Option<Py<PyDict>>,
    models: Vec<Model>,
    names: OrderedSet<String>,
    prefixes: Vec<Vec<u8>>,
}

#[pymethods]
impl FastPath {
    #[new]
    fn new(
        py: Python<'_>,
        requests: Py<RequestTable>,
        accumulator: Py<DeltaAccumulator>,
        plan_of: Py<PyAny>,
        base_of_prediction: Py<PyAny>,
        base_of_feedback: Py<PyAny>,
        bounds: Vec<f64>,
    ) -> Self {
        let labels = accumulator.clone_ref(py);
        FastPath {
            requests,
            accumulator,
            plan_of,
            digests: Digests::new(labels, base_of_prediction, base_of_feedback),
            bounds,
            judged: None,
            unmatched: None,
            models: Vec::new(),
            names: [String::new()].into_iter().collect(),
            prefixes: Vec::new(),
        }
    }

    /// Add the next model or scope of the state.
    fn add_model(&mut self, deployment: DeploymentId, predictor: String, name: String) {
        let predictor = self.names.insert_full(predictor).0 as u32;
        let name = self.names.insert_full(name).0 as u32;
        self.models.push(Model { deployment, predictor, name });
    }

    /// Note requests in these from now on; see `fast_path.py`.
    #[pyo3(signature = (judged, unmatched))]
    fn watch(&mut self, judged: Option<Py<PyDict>>, unmatched: Option<Py<PyDict>>) {
        (self.judged, self.unmatched) = (judged, unmatched);
    }

    /// Apply predictions of a log hour; those up to `completed_until` (ns) are left to Python.
    #[allow(clippy::too_many_arguments)]
    fn apply_predictions<'py>(
        &mut self,
        py: Python<'py>,
        rows: &[u8],
        models: Vec<ModelId>,
        answers: Vec<AnswerId>,
        offset: i64,
        hour: u32,
        completed_until: i64,
    ) -> PyResult<Applied<'py>> {
        self.apply(
            py,
            rows,
            &models,
            offset,
            hour,
            prediction,
            |row| (row.model, row.id),
            |updater, digests, id, row| {
                if row.time <= completed_until || row.source_rank >= MAX_RANK {
                    return Ok(false);
                }
                let items = Resolved::new(&row.answers, &answers, |answer| answer.0)?;
                let items = items.as_slice();
                let new = NewPrediction {
                    model: resolve(&models, row.model)?,
                    time: row.time,
                    provisional: row.provisional,
                    source_rank: row.source_rank,
                    digest: digests.of_prediction(py, &row, items)?,
                    answers: new_items(&row.answers, items),
                };
                updater.apply_prediction(id, &new)
            },
        )
    }

    /// Apply feedback of a log hour.
    fn apply_feedback<'py>(
        &mut self,
        py: Python<'py>,
        rows: &[u8],
        models: Vec<ModelId>,
        truths: Vec<TruthId>,
        offset: i64,
        hour: u32,
    ) -> PyResult<Applied<'py>> {
        self.apply(
            py,
            rows,
            &models,
            offset,
            hour,
            feedback,
            |row| (row.scope, row.id),
            |updater, digests, id, row| {
                if row.source_rank >= MAX_RANK {
                    return Ok(false);
                }
                let items = row.truth.as_ref();
                let items = items.map(|items| Resolved::new(items, &truths, |truth| truth.0));
                let items = items.transpose()?;
                let items = items.as_ref().map(Resolved::as_slice);
                let truth = row.truth.as_ref().zip(items);
                let new = NewFeedback {
                    scope: resolve(&models, row.scope)?,
                    time: row.time,
                    source_rank: row.source_rank,
                    digest: digests.of_feedback(py, &row, items)?,
                    truth: truth.map(|(row, items)| new_items(row, items)),
                    reward: row.reward,
                };
                updater.apply_feedback(id, &new)
            },
        )
    }

    /// Count requests that are complete: one prediction, and at most one feedback. Returns the remaining
    /// rows of predictions and of feedback, a summary of the judgements, the time of the latest
    /// prediction, and how many rows had been counted before. `prefixes` is a list by deployment that
    /// grows; see `prefix` in `id_set.py`. The identities of the requests are added to `counted`.
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
        counted: &Bound<'py, IdSet>,
    ) -> PyResult<(RemainingRows<'py>, RemainingRows<'py>, JudgementSummary, Option<i64>, i64)>
    {
        for position in self.prefixes.len()..prefixes.len() {
            self.prefixes.push(prefixes.get_item(position)?.extract()?);
        }
        let mut requests = CompletedRequests {
            dictionaries: Dictionaries { models: &models, answers: &answers, truths: &truths },
            known_models: &self.models,
            prefixes: &self.prefixes,
            accumulator: self.accumulator.bind(py),
            plan_of: self.plan_of.bind(py),
            requests: self.requests.bind(py).borrow_mut(),
            counted: counted.borrow_mut(),
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

impl FastPath {
    /// Apply rows of a log hour, in groups whose requests are looked for at once. `read` parses a row, `head`
    /// gives its model's position and its id, and `apply` returns whether it was applied; the others remain.
    #[allow(clippy::too_many_arguments)]
    fn apply<'py, 'r, T>(
        &mut self,
        py: Python<'py>,
        rows: &'r [u8],
        models: &[ModelId],
        offset: i64,
        hour: u32,
        read: fn(&mut Rows<'r>) -> Option<T>,
        head: impl Fn(&T) -> (usize, &'r [u8]),
        mut apply: impl FnMut(&mut RequestUpdater<'_, 'py>, &mut Digests, &Id, T) -> PyResult<bool>,
    ) -> PyResult<Applied<'py>> {
        let (judged, unmatched) = (bound(&self.judged, py), bound(&self.unmatched, py));
        let mut updater = RequestUpdater::new(
            self.requests.bind(py).borrow_mut(),
            self.accumulator.bind(py),
            self.plan_of.bind(py),
            &self.models,
            Notes { judged, unmatched, offset },
            hour,
            &self.bounds,
        );
        let mut remaining = Remaining::default();
        let mut rows = Rows::new(rows).ok_or_else(malformed_rows)?;
        let mut some = Vec::with_capacity(AT_ONCE);
        let mut ids = Vec::with_capacity(AT_ONCE);
        while rows.next_few(read, AT_ONCE, &mut some) {
            ids.clear();
            ids.extend(some.iter().map(|(_, row)| {
                let (model, id) = head(row.as_ref()?);
                Some((*models.get(model)?, Id::new(id)))
            }));
            updater.prefetch(ids.iter().flatten());
            for ((bytes, parsed), id) in some.drain(..).zip(&ids) {
                let is_applied = match (parsed, id) {
                    (Some(row), Some((_, id))) => apply(&mut updater, &mut self.digests, id, row)?,
                    _ => false,
                };
                if !is_applied {
                    leave(&mut updater, models, bytes, &mut remaining)?;
                }
            }
        }
        if !rows.is_complete() {
            return Err(malformed_rows());
        }
        Ok(applied(updater, remaining_rows(py, remaining)))
    }
}

fn bound<'a, 'py, T>(object: &'a Option<Py<T>>, py: Python<'py>) -> Option<&'a Bound<'py, T>> {
    object.as_ref().map(|object| object.bind(py))
}

fn applied<'py>(updater: RequestUpdater, remaining: RemainingRows<'py>) -> Applied<'py> {
    let RequestUpdater {
        waiting, unmatched, duplicates, superseded, corrections, judgements, ..
    } = updater;
    let summary = judgements.summary();
    (remaining, waiting, unmatched, duplicates, superseded, corrections, summary)
}

/// Leave a row to Python, and the later rows of its request.
fn leave(
    updater: &mut RequestUpdater,
    models: &[ModelId],
    row: &[u8],
    remaining: &mut Remaining,
) -> PyResult<()> {
    let (id, model) = head(row).ok_or_else(malformed_rows)?;
    updater.leave(resolve(models, model)?, id)?;
    remaining.push(row);
    Ok(())
}
