//! What Python learns of the judgements of one call.

use pyo3::prelude::*;

use crate::collections::OrderedMap;
use crate::ids::{AnswerId, ModelId, OutcomeId, PlanId, TruthId};
use crate::join::deltas::accumulator::DeltaAccumulator;
use crate::times::SECOND;

/// The delays of feedback by bucket, their total in nanoseconds, and how often each outcome came that
/// affects the diagnostics.
pub type JudgementSummary = (Vec<u64>, i128, Vec<(OutcomeId, i64)>);

/// An item that is judged: how, and the packed values of its prediction and of its truth.
pub struct Judged<'a> {
    pub plan: PlanId,
    pub values: &'a [u8],
    pub truth_values: &'a [u8],
}

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

    /// Count the first judgement of a prediction here and in the accumulator; times are in ns, of the
    /// prediction and of the feedback.
    pub fn count(
        &mut self,
        accumulator: &mut DeltaAccumulator,
        model: ModelId,
        times: (i64, i64),
        items: &[Judged],
    ) -> PyResult<()> {
        for &Judged { plan, values, truth_values } in items {
            let (outcome, affects_diagnostics) =
                accumulator.add_valued_judgement(model, times, plan, values, truth_values)?;
            if affects_diagnostics {
                *self.diagnostics.entry(outcome).or_insert(0) += 1;
            }
        }
        let delay = (times.1 - times.0).max(0);
        let seconds = delay as f64 / SECOND as f64;
        self.buckets[self.bounds.partition_point(|&bound| bound < seconds)] += 1;
        self.total_ns += i128::from(delay);
        Ok(())
    }

    pub fn summary(self) -> JudgementSummary {
        (self.buckets, self.total_ns, self.diagnostics.into_iter().collect())
    }
}

/// The part of an item in its message: see `Part` in `plans.py`.
pub type Part = u8;
pub const ALONE: Part = 0;
pub const FIRST: Part = 1;
pub const FIRST_OF_DISAGREEMENT: Part = 2;
pub const FURTHER: Part = 3;

/// What a plan is made for: an answer, a truth, a reward in millionths, and the part of the item.
pub type PlanKey = (AnswerId, Option<TruthId>, Option<i64>, Part);

/// A plan from a memo of the accumulator, of other labels, or from Python; None if Python has to judge.
pub fn plan_of(
    accumulator: &Bound<'_, DeltaAccumulator>,
    key: PlanKey,
    resolve: &Bound<'_, PyAny>,
) -> PyResult<Option<PlanId>> {
    if let Some(plan) = accumulator.borrow().plan_ids.get(&key) {
        return Ok(Some(plan));
    }
    let py = accumulator.py();
    let known = accumulator.borrow_mut().derived_plan(py, key)?;
    // Python adds the plan to the accumulator, so it must not be borrowed meanwhile.
    let plan: Option<PlanId> = match known {
        None => resolve.call1(key)?.extract()?,
        known => known,
    };
    if let Some(plan) = plan {
        let accumulator = &mut accumulator.borrow_mut();
        accumulator.plan_ids.put(key, plan);
        if known.is_none() {
            accumulator.learn_label_plan(py, key, plan)?;
            accumulator.learn_set_plan(py, key, plan)?;
        }
    }
    Ok(plan)
}
