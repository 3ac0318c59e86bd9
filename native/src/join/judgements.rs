//! What Python learns of the judgements of one call.

use std::hash::Hash;

use pyo3::call::PyCallArgs;
use pyo3::prelude::*;

use crate::collections::{Memo, OrderedMap};
use crate::ids::{ModelId, OutcomeId, PlanId};
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

    /// Count a judgement here and in the accumulator; times are in ns, of the prediction and of the
    /// feedback, and so are the packed values.
    pub fn count(
        &mut self,
        accumulator: &mut DeltaAccumulator,
        model: ModelId,
        (predicted_at, feedback_at): (i64, i64),
        plan: PlanId,
        (values, truth_values): (&[u8], &[u8]),
    ) -> PyResult<()> {
        let times = (predicted_at, feedback_at);
        let (outcome, affects_diagnostics) =
            accumulator.add_valued_judgement(model, times, plan, values, truth_values)?;
        if affects_diagnostics {
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

/// The plan for `key`, from a memo of the accumulator or from Python; None if Python has to judge.
pub fn plan_of<'py, K>(
    accumulator: &Bound<'py, DeltaAccumulator>,
    memo: impl Fn(&mut DeltaAccumulator) -> &mut Memo<K, PlanId>,
    key: K,
    resolve: &Bound<'py, PyAny>,
) -> PyResult<Option<PlanId>>
where
    K: Copy + Eq + Hash + PyCallArgs<'py>,
{
    if let Some(plan) = memo(&mut accumulator.borrow_mut()).get(&key) {
        return Ok(Some(plan));
    }
    // Python adds the plan to the accumulator, so it must not be borrowed meanwhile.
    let plan: Option<PlanId> = resolve.call1(key)?.extract()?;
    Ok(plan.inspect(|&plan| memo(&mut accumulator.borrow_mut()).put(key, plan)))
}
