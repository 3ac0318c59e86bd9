//! What Python learns of the judgements of one call.

use std::hash::Hash;

use pyo3::call::PyCallArgs;
use pyo3::prelude::*;

use crate::collections::{Memo, OrderedMap};
use crate::ids::{ModelId, OutcomeId};
use crate::join::accumulator::DeltaAccumulator;
use crate::times::SECOND;

/// The delays of feedback by bucket, their total in nanoseconds, and how often each outcome came that
/// affects the diagnostics.
pub type JudgementSummary = (Vec<u64>, i128, Vec<(OutcomeId, i64)>);

/// Counts first judgements of predictions.
pub struct Judgements<'a> {
    bounds: &'a [f64],
    buckets: Vec<u64>,
    total_ns: i128,
    diagnostics: OrderedMap<OutcomeId, i64>,
}

impl<'a> Judgements<'a> {
    /// `bounds` are the upper bounds of the delay's buckets, in seconds.
    pub fn new(bounds: &'a [f64]) -> Self {
        Judgements {
            bounds,
            buckets: vec![0; bounds.len() + 1],
            total_ns: 0,
            diagnostics: OrderedMap::default(),
        }
    }

    /// Count a judgement here and in the accumulator; times are in ns.
    pub fn count(
        &mut self,
        accumulator: &mut DeltaAccumulator,
        model: ModelId,
        predicted_at: i64,
        feedback_at: i64,
        outcome: OutcomeId,
    ) -> PyResult<()> {
        if accumulator.add_judgement(model, predicted_at, feedback_at, outcome, 1)? {
            *self.diagnostics.entry(outcome).or_insert(0) += 1;
        }
        let delay = (feedback_at - predicted_at).max(0);
        let seconds = delay as f64 / SECOND as f64;
        self.buckets[self.bounds.partition_point(|&bound| bound < seconds)] += 1;
        self.total_ns += i128::from(delay);
        Ok(())
    }

    pub fn summary(self) -> JudgementSummary {
        (self.buckets, self.total_ns, self.diagnostics.into_iter().collect())
    }
}

/// The outcome of `key`, from a memo of the accumulator or from Python.
pub fn outcome_of<'py, K>(
    accumulator: &Bound<'py, DeltaAccumulator>,
    memo: impl Fn(&mut DeltaAccumulator) -> &mut Memo<K, OutcomeId>,
    key: K,
    resolve: &Bound<'py, PyAny>,
) -> PyResult<OutcomeId>
where
    K: Copy + Eq + Hash + PyCallArgs<'py>,
{
    if let Some(outcome) = memo(&mut accumulator.borrow_mut()).get(&key) {
        return Ok(outcome);
    }
    // Python adds the outcome to the accumulator, so it must not be borrowed meanwhile.
    let outcome = resolve.call1(key)?.extract()?;
    memo(&mut accumulator.borrow_mut()).put(key, outcome);
    Ok(outcome)
}
