//! Applies the rows of a batch to the packed requests, and judges predictions that get their first
//! feedback.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustc_hash::FxHashSet;
use smallvec::SmallVec;

use crate::errors::malformed_rows;
use crate::ids::{AnswerId, DeploymentId, ModelId};
use crate::join::deltas::accumulator::DeltaAccumulator;
use crate::join::judgements::{Judged, Judgements};
use crate::join::requests::codec::{write_new, Item, Items, NewItems, NewRegister, Request};
use crate::join::requests::request_table::RequestTable;
use crate::join::requests::table::Found;
use crate::request_ids::Id;

/// A list that most often has one element, which needs no memory of its own then.
pub type OfOne<T> = SmallVec<[T; 1]>;

/// A model or scope: its deployment, and numbers of its names, 0 for an empty one.
#[derive(Clone, Copy)]
pub struct Model {
    pub deployment: DeploymentId,
    pub predictor: u32,
    pub name: u32,
}

impl Model {
    /// Whether a reward of this scope can be about a model: an empty name matches every name.
    pub fn names(&self, model: &Model) -> bool {
        (self.predictor == 0 || self.predictor == model.predictor)
            && (self.name == 0 || self.name == model.name)
    }
}

/// A prediction to be applied. Its items have positions in the tables of the state; the digest is None if
/// it follows from them.
pub struct NewPrediction<'a> {
    pub model: ModelId,
    pub time: i64,
    pub provisional: bool,
    pub source_rank: u64,
    pub digest: Option<u64>,
    pub answers: NewItems<'a>,
}

/// A feedback to be applied.
pub struct NewFeedback<'a> {
    pub scope: ModelId,
    pub time: i64,
    pub source_rank: u64,
    pub digest: Option<u64>,
    pub truth: Option<NewItems<'a>>,
    pub reward: Option<i64>,
}

/// What a feedback says of the items of a prediction.
#[derive(Clone, Copy)]
pub struct Says<'a, 'r> {
    pub time: i64,
    pub truth: Option<&'a [Item<'r>]>,
    pub reward: Option<i64>,
}

/// A prediction that gets its first feedback, and how to judge its items.
pub struct Verdict<'a> {
    pub model: ModelId,
    pub times: (i64, i64),
    pub items: OfOne<Judged<'a>>,
}

/// Requests that are noted for Python, by deployment and request id.
pub struct Notes<'a, 'py> {
    /// With the offset of their batch: requests that have both sides.
    pub judged: Option<&'a Bound<'py, PyDict>>,
    /// Feedback that finds no prediction.
    pub unmatched: Option<&'a Bound<'py, PyDict>>,
    pub offset: i64,
}

impl Notes<'_, '_> {
    pub fn judged(&self, deployment: DeploymentId, id: &Id) -> PyResult<()> {
        let Some(judged) = self.judged else { return Ok(()) };
        judged.set_item((deployment, text(id)?), self.offset)
    }

    fn unmatched(&self, deployment: DeploymentId, id: &Id) -> PyResult<()> {
        let Some(unmatched) = self.unmatched else { return Ok(()) };
        unmatched.set_item((deployment, text(id)?), unmatched.py().None())
    }
}

fn text<'a>(id: &Id<'a>) -> PyResult<&'a str> {
    std::str::from_utf8(id.text).map_err(|_| malformed_rows())
}

pub struct RequestUpdater<'a, 'py> {
    pub requests: PyRefMut<'py, RequestTable>,
    pub accumulator: &'a Bound<'py, DeltaAccumulator>,
    /// Python's function of an answer, a truth and a reward.
    pub plan_of: &'a Bound<'py, PyAny>,
    pub models: &'a [Model],
    pub notes: Notes<'a, 'py>,
    /// The log hour of the batch.
    pub hour: u32,
    pub judgements: Judgements<'a>,
    /// Changes of the numbers of requests without feedback, and of those without a prediction.
    pub waiting: i64,
    pub unmatched: i64,
    /// Rows that were known already, those of which another version was, and outcomes that have changed.
    pub duplicates: i64,
    pub superseded: i64,
    pub corrections: i64,
    /// Requests with a row that Python has to apply: their later rows must not overtake it.
    left: FxHashSet<(DeploymentId, Box<[u8]>)>,
    /// A packed register, a request before a row and after it: memory that is used again.
    pub register: Vec<u8>,
    old: Vec<u8>,
    pub new: Vec<u8>,
    /// Where rows belong: their buckets, and the hashes of their ids.
    buckets: Vec<(DeploymentId, usize, u32)>,
}

impl<'a, 'py> RequestUpdater<'a, 'py> {
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        requests: PyRefMut<'py, RequestTable>,
        accumulator: &'a Bound<'py, DeltaAccumulator>,
        plan_of: &'a Bound<'py, PyAny>,
        models: &'a [Model],
        notes: Notes<'a, 'py>,
        hour: u32,
        bounds: &'a [f64],
    ) -> Self {
        RequestUpdater {
            requests,
            accumulator,
            plan_of,
            models,
            notes,
            hour,
            judgements: Judgements::new(bounds),
            waiting: 0,
            unmatched: 0,
            duplicates: 0,
            superseded: 0,
            corrections: 0,
            left: FxHashSet::default(),
            register: Vec::new(),
            old: Vec::new(),
            new: Vec::new(),
            buckets: Vec::new(),
        }
    }

    /// Have the CPU load the buckets of some requests, which are looked for soon.
    pub fn prefetch<'r>(&mut self, refs: impl Iterator<Item = &'r (ModelId, Id<'r>)>) {
        self.buckets.clear();
        for &(model, ref id) in refs {
            let Ok(Model { deployment, .. }) = self.model(model) else { continue };
            let Ok(table) = self.requests.table(deployment) else { continue };
            let number = table.prefetch(id);
            self.buckets.extend(number.map(|number| (deployment, number, id.hash())));
        }
        for &(deployment, number, hash) in &self.buckets {
            if let Ok(table) = self.requests.table(deployment) {
                table.prefetch_content(number, hash);
            }
        }
    }

    /// Note that Python has to apply a row of this request.
    pub fn leave(&mut self, model: ModelId, id: &[u8]) -> PyResult<()> {
        self.left.insert((self.model(model)?.deployment, id.into()));
        Ok(())
    }

    fn is_left(&self, deployment: DeploymentId, id: &[u8]) -> bool {
        !self.left.is_empty() && self.left.contains(&(deployment, id.into()))
    }

    pub fn model(&self, model: ModelId) -> PyResult<Model> {
        self.models.get(model.index()).copied().ok_or_else(malformed_rows)
    }

    /// Apply a prediction. Returns false if Python has to.
    pub fn apply_prediction(&mut self, id: &Id, row: &NewPrediction) -> PyResult<bool> {
        let deployment = self.model(row.model)?.deployment;
        if self.is_left(deployment, id.text) {
            return Ok(false);
        }
        let register = NewRegister {
            model: row.model,
            source_rank: row.source_rank,
            digest: row.digest,
            items: Some(row.answers),
        };
        register.write_prediction(row.provisional, &mut self.register);
        let table = self.requests.table(deployment)?;
        let Some(found) = table.find(id) else {
            write_new(self.hour, false, row.time, &self.register, &mut self.new);
            table.insert(id, &self.new);
            self.waiting += 1;
            self.count_predictions(row);
            return Ok(true);
        };
        let old = replaced(&mut self.old, table.request(id, &found));
        let is_applied = self.add_prediction(deployment, id, &found, &old, row);
        self.old = old;
        is_applied
    }

    /// Apply a prediction, whose register is packed, to the request that was found.
    fn add_prediction(
        &mut self,
        deployment: DeploymentId,
        id: &Id,
        found: &Found,
        old: &[u8],
        row: &NewPrediction,
    ) -> PyResult<bool> {
        let request = Request::new(old)?;
        if request.has(false, row.time, &self.register)? {
            return self.note_duplicate(deployment, id, request.feedbacks > 0);
        }
        let Some(verdict) = self.verdict_of_new(&request, row)? else { return Ok(false) };
        request.with_prediction(row.time, &self.register, &mut self.new)?;
        self.requests.table(deployment)?.replace(id, found, &self.new);
        if request.feedbacks > 0 {
            self.notes.judged(deployment, id)?;
        }
        self.unmatched -= i64::from(request.predictions == 0);
        self.count_predictions(row);
        verdict.iter().try_for_each(|verdict| self.count(verdict)).map(|()| true)
    }

    /// Apply a feedback. Returns false if Python has to.
    pub fn apply_feedback(&mut self, id: &Id, row: &NewFeedback) -> PyResult<bool> {
        let deployment = self.model(row.scope)?.deployment;
        if self.is_left(deployment, id.text) {
            return Ok(false);
        }
        let register = NewRegister {
            model: row.scope,
            source_rank: row.source_rank,
            digest: row.digest,
            items: row.truth,
        };
        register.write_feedback(row.reward, &mut self.register);
        let table = self.requests.table(deployment)?;
        let Some(found) = table.find(id) else {
            write_new(self.hour, true, row.time, &self.register, &mut self.new);
            table.insert(id, &self.new);
            self.unmatched += 1;
            self.notes.unmatched(deployment, id)?;
            return Ok(true);
        };
        let old = replaced(&mut self.old, table.request(id, &found));
        let is_applied = self.add_feedback(deployment, id, &found, &old, row);
        self.old = old;
        is_applied
    }

    /// Apply a feedback, whose register is packed, to the request that was found.
    fn add_feedback(
        &mut self,
        deployment: DeploymentId,
        id: &Id,
        found: &Found,
        old: &[u8],
        row: &NewFeedback,
    ) -> PyResult<bool> {
        let request = Request::new(old)?;
        if request.feedbacks > 0 {
            if request.has(true, row.time, &self.register)? {
                return self.note_duplicate(deployment, id, request.predictions > 0);
            }
            return self.correct(deployment, id, found, &request, row);
        }
        let Some(verdicts) = self.verdicts(&request, row)? else { return Ok(false) };
        request.with_feedback(row.time, &self.register, &mut self.new);
        self.requests.table(deployment)?.replace(id, found, &self.new);
        self.notes.judged(deployment, id)?;
        self.waiting -= 1;
        verdicts.iter().try_for_each(|verdict| self.count(verdict)).map(|()| true)
    }

    /// Count a row that says what is known already.
    fn note_duplicate(
        &mut self,
        deployment: DeploymentId,
        id: &Id,
        has_both_sides: bool,
    ) -> PyResult<bool> {
        self.duplicates += 1;
        if has_both_sides {
            self.notes.judged(deployment, id)?;
        }
        Ok(true)
    }

    fn count_predictions(&self, row: &NewPrediction) {
        let mut accumulator = self.accumulator.borrow_mut();
        for item in row.answers.items {
            accumulator.add_prediction(row.model, AnswerId(item.position), row.time);
        }
    }

    fn count(&mut self, verdict: &Verdict) -> PyResult<()> {
        let accumulator = &mut self.accumulator.borrow_mut();
        self.judgements.count(accumulator, verdict.model, verdict.times, &verdict.items)
    }
}

pub fn collected<'r>(items: &Items<'r>) -> PyResult<OfOne<Item<'r>>> {
    items.iter().collect()
}

/// A vector with other content, taken from where it was.
fn replaced(vector: &mut Vec<u8>, content: &[u8]) -> Vec<u8> {
    let mut vector = std::mem::take(vector);
    vector.clear();
    vector.extend_from_slice(content);
    vector
}
