//! Requests that are counted whole and not kept: pairs of a batch, and the set of those counted.

use pyo3::prelude::*;
use pyo3::types::PyByteArray;
use rustc_hash::FxHashMap;

use crate::ids;
use crate::join::{resolve, torn, Delays, FastPath};
use crate::ledger::Sums;
use crate::rows::{feedback, head, prediction, Feedback, Prediction, Remaining, Rows};

/// Rows of a batch: what they are about, their bytes, and what they say where that is usual.
type Listed<'a, T> = Vec<(usize, &'a [u8], Option<T>)>;

/// The rows that a batch holds of one request, by position; `left` are those that Python is to take.
struct Group<'a> {
    deployment: u32,
    id: &'a [u8],
    prediction_rows: Vec<usize>,
    feedback_rows: Vec<usize>,
    remaining: bool,
}

pub struct Completed {
    pub predictions: Remaining,
    pub feedbacks: Remaining,
    pub delays: Delays,
    pub diagnostics: Sums<u32>,
    /// The time of the latest prediction, where there was one.
    pub latest: Option<i64>,
    /// Rows of requests that were counted before.
    pub skipped: i64,
}

/// A batch's tables, as positions in the state's.
pub struct Batch<'a> {
    pub models: &'a [u32],
    pub answers: &'a [u32],
    pub truths: &'a [u32],
}

/// Requests in the order of their first rows.
#[derive(Default)]
struct Groups<'a> {
    places: FxHashMap<(u32, &'a [u8]), usize>,
    groups: Vec<Group<'a>>,
}

impl<'a> Groups<'a> {
    fn of(&mut self, deployment: u32, id: &'a [u8]) -> usize {
        let next = self.groups.len();
        let found = *self.places.entry((deployment, id)).or_insert(next);
        if found == next {
            let (prediction_rows, feedback_rows) = (Vec::new(), Vec::new());
            self.groups.push(Group {
                deployment,
                id,
                prediction_rows,
                feedback_rows,
                remaining: true,
            });
        }
        found
    }
}

/// Lists the rows of one kind with the places of their groups.
fn list<'a, T>(
    way: &FastPath,
    batch: &Batch,
    rows: &'a [u8],
    read: fn(&mut Rows<'a>) -> Option<T>,
    groups: &mut Groups<'a>,
) -> PyResult<Listed<'a, T>> {
    let mut rows = Rows::new(rows).ok_or_else(torn)?;
    let mut found = Vec::with_capacity(rows.len().min(1 << 16));
    while let Some((bytes, parsed)) = rows.next(read) {
        let (id, model) = head(bytes).ok_or_else(torn)?;
        let deployment = way.deployment(resolve(batch.models, model)?)?;
        found.push((groups.of(deployment, id), bytes, parsed));
    }
    if rows.is_whole() {
        Ok(found)
    } else {
        Err(torn())
    }
}

/// Count the requests of a batch that are of the usual kind and not in memory.
pub fn apply_completed(
    way: &FastPath,
    state: &Bound<'_, PyAny>,
    batch: &Batch,
    predictions: &[u8],
    feedbacks: &[u8],
) -> PyResult<Completed> {
    let mut groups = Groups::default();
    let predictions: Listed<Prediction> = list(way, batch, predictions, prediction, &mut groups)?;
    let feedbacks: Listed<Feedback> = list(way, batch, feedbacks, feedback, &mut groups)?;
    let mut groups = groups.groups;
    for (index, row) in predictions.iter().enumerate() {
        groups[row.0].prediction_rows.push(index);
    }
    for (index, row) in feedbacks.iter().enumerate() {
        groups[row.0].feedback_rows.push(index);
    }
    let mut completed = Completed {
        predictions: Remaining::default(),
        feedbacks: Remaining::default(),
        delays: Delays::new(&way.bounds),
        diagnostics: Sums::default(),
        latest: None,
        skipped: 0,
    };
    let mut tables = way.tables(state);
    let mut counted = IdSet::open(state)?;
    let py = state.py();
    let accumulator = way.accumulator.bind(py);
    for group in &mut groups {
        let (deployment, id) = (group.deployment, group.id);
        let ([prediction_rows], [] | [_]) = (&group.prediction_rows[..], &group.feedback_rows[..])
        else {
            continue;
        };
        let Some(row) = &predictions[*prediction_rows].2 else { continue };
        let judgement = match group.feedback_rows.first() {
            None => None,
            Some(&feedback_rows) => match &feedbacks[feedback_rows].2 {
                Some(judgement) => Some(judgement),
                None => continue,
            },
        };
        let model = resolve(batch.models, row.model)?;
        let answer = resolve(batch.answers, row.answer)?;
        let feedback_rows = match judgement {
            None => None,
            Some(feedback_rows) => {
                let truth = feedback_rows
                    .truth
                    .map(|position| resolve(batch.truths, position))
                    .transpose()?;
                if truth.is_none() && resolve(batch.models, feedback_rows.scope)? != model {
                    continue;
                }
                Some(((answer, truth, feedback_rows.reward), feedback_rows.time))
            }
        };
        let table = tables.of(deployment)?;
        let packed = match ids::pack(id) {
            Some(key) => table.find(&key)?.is_some(),
            None => false,
        };
        if packed || table.has_other(id)? {
            continue;
        }
        group.remaining = false;
        let prefix = way.prefixes.get(deployment as usize).ok_or_else(torn)?;
        if !counted.add(identity(prefix, id))? {
            completed.skipped += 1 + group.feedback_rows.len() as i64;
            continue;
        }
        completed.latest = completed.latest.max(Some(row.time));
        accumulator.borrow_mut().predict(model, row.time);
        if let Some((content, feedback_at)) = feedback_rows {
            let known = accumulator.borrow().contents.get(&content);
            let outcome = match known {
                Some(outcome) => outcome,
                // It is told to the ledger, which nobody may hold meanwhile.
                None => way.outcome_of_completed.bind(py).call1(content)?.extract()?,
            };
            let mut accumulator = accumulator.borrow_mut();
            if known.is_none() {
                accumulator.contents.put(content, outcome);
            }
            if accumulator.judged(model, row.time, feedback_at, outcome, 1)? {
                completed.diagnostics.add(outcome, 1);
            }
            completed.delays.observe(&way.bounds, row.time, feedback_at);
        }
    }
    counted.close()?;
    for (index, bytes, _) in &predictions {
        if groups[*index].remaining {
            completed.predictions.push(bytes);
        }
    }
    for (index, bytes, _) in &feedbacks {
        if groups[*index].remaining {
            completed.feedbacks.push(bytes);
        }
    }
    Ok(completed)
}

/// As `id_set.py` has it.
fn identity(prefix: &[u8], id: &[u8]) -> u64 {
    let hash =
        blake2b_simd::Params::new().hash_length(8).to_state().update(prefix).update(id).finalize();
    u64::from_le_bytes(hash.as_bytes().try_into().unwrap()).max(1)
}

/// The set of `id_set.py`, which keeps it: slots of 8 bytes in a bytearray, 0 where one is free.
struct IdSet<'py> {
    set: Bound<'py, PyAny>,
    table: Bound<'py, PyByteArray>,
    count: usize,
    grow_at: usize,
}

impl<'py> IdSet<'py> {
    fn open(state: &Bound<'py, PyAny>) -> PyResult<Self> {
        let set = state.getattr("completed_ids")?;
        let mut ids = IdSet {
            table: set.getattr("table")?.cast_into::<PyByteArray>()?,
            count: set.getattr("count")?.extract()?,
            grow_at: 0,
            set,
        };
        ids.grow_at = ids.most();
        Ok(ids)
    }

    /// Five of eight slots.
    fn most(&self) -> usize {
        self.table.len() / 64 * 5
    }

    fn close(&self) -> PyResult<()> {
        self.set.setattr("count", self.count)
    }

    /// Whether it is new.
    fn add(&mut self, number: u64) -> PyResult<bool> {
        if self.count >= self.grow_at {
            self.close()?;
            self.set.call_method0("grow")?;
            self.table = self.set.getattr("table")?.cast_into::<PyByteArray>()?;
            self.grow_at = self.most();
        }
        // SAFETY: nothing of Python runs while the slice is there.
        let slots = unsafe { self.table.as_bytes_mut() };
        let mask = slots.len() / 8 - 1;
        let mut position = number as usize & mask;
        loop {
            let slot = &mut slots[position * 8..position * 8 + 8];
            let held = u64::from_ne_bytes(slot.try_into().unwrap());
            if held == number {
                return Ok(false);
            }
            if held == 0 {
                slot.copy_from_slice(&number.to_ne_bytes());
                self.count += 1;
                return Ok(true);
            }
            position = (position + 1) & mask;
        }
    }
}
