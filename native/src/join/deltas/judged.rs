//! Counts judged items with their packed values.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::ids::{ModelId, OutcomeId, PlanId};
use crate::join::deltas::accumulator::{unknown, DeltaAccumulator, NONE};
use crate::join::deltas::changes::NUMBER_SIZE;
use crate::join::deltas::sums;
use crate::join::plans::{self, Kind, Tolerance};
use crate::quantities::MAX_WIDTH;
use crate::times::MINUTE;

/// The kind of the sum of delays of numbers, as in `sums.py`.
const NUMBER_DELAY: u32 = 53;
/// Bins of the delays of one class of errors, and whether these are within a tolerance, as in
/// `error_delays.py`.
const CLASS_BINS: i64 = 32;
const NO_TOLERANCE: i64 = 0;
const BEYOND: i64 = 1;
const WITHIN: i64 = 2;
const VERDICTS: i64 = 3;

impl DeltaAccumulator {
    /// Count the judgement of an item with packed values on both bases, by the times (ns) of the prediction
    /// and of the feedback. Returns its outcome, and whether this affects the diagnostics.
    pub fn add_valued_judgement(
        &mut self,
        model: ModelId,
        (predicted_at, feedback_at): (i64, i64),
        plan: PlanId,
        values: &[u8],
        truth_values: &[u8],
    ) -> PyResult<(OutcomeId, bool)> {
        let keys = [(0, predicted_at), (1, feedback_at)]
            .map(|(basis, time)| (model, basis, time.div_euclid(MINUTE)));
        let plan = self.plans.get(plan.index()).ok_or_else(unknown)?;
        let mut outcome = plan.outcome;
        let tables = &self.tables;
        let bucket = tables.delay_bucket(feedback_at.saturating_sub(predicted_at));
        match &plan.kind {
            _ if values.is_empty() => {}
            Kind::Labels => {}
            // By the number of classes: ten pairs are as long as the q of 30 classes.
            Kind::Probabilities(scores) if scores.names.len() <= MAX_WIDTH => {
                let width = scores.names.len();
                if values.len() != 2 * width {
                    return Err(PyValueError::new_err("probabilities of another length"));
                }
                for key in keys {
                    self.scores
                        .entry((key, scores.names_id))
                        .or_insert_with(|| self.empty_scores.pop().unwrap_or_default())
                        .add(scores, values, tables);
                }
            }
            Kind::Probabilities(scores) => {
                for key in keys {
                    let sums = self.sums.entry(key).or_default();
                    sums::add_pairs(scores, values, NONE, tables, sums);
                }
            }
            Kind::Confidence { right } => {
                let q = values.try_into().map_err(|_| unknown())?;
                for key in keys {
                    self.scores
                        .entry((key, 0))
                        .or_insert_with(|| self.empty_scores.pop().unwrap_or_default())
                        .add_top(u16::from_le_bytes(q), *right, tables);
                }
            }
            Kind::Numbers(number) => {
                let predicted = plans::predicted(values)?;
                match plans::actual(number, truth_values)? {
                    None => outcome = number.out_of_range,
                    Some(actual) => {
                        for key in keys {
                            let sums = self.sums.entry(key).or_default();
                            if sums::add_number(number, predicted, actual, tables, sums) {
                                outcome = number.within;
                            }
                        }
                        let verdict = match number.tolerance {
                            Tolerance::None => NO_TOLERANCE,
                            _ if outcome == number.within => WITHIN,
                            _ => BEYOND,
                        };
                        let size = i128::from(predicted).abs_diff(actual.into());
                        let class = VERDICTS * i64::from(128 - size.leading_zeros()) + verdict;
                        let sums = self.sums.entry(keys[0]).or_default();
                        let delay = class * CLASS_BINS + i64::from(bucket);
                        sums::add(sums, NUMBER_DELAY, number.unit_label, delay, 1);
                        sums::add(sums, NUMBER_SIZE, number.unit_label, class, size as i128);
                    }
                }
            }
        }
        let affects = self.add_judgement(model, predicted_at, feedback_at, outcome, 1)?;
        Ok((outcome, affects))
    }

    /// Whether a truth and a reward disagree on an item of this plan alone; None if it has no label or is
    /// not judged (counting rule 7).
    pub fn disagrees(&self, plan: PlanId) -> PyResult<Option<bool>> {
        let plan = self.plans.get(plan.index()).ok_or_else(unknown)?;
        let outcome = self.outcomes.get(plan.outcome.index()).ok_or_else(unknown)?;
        let [.., disagreements] = outcome.totals;
        Ok((!outcome.cells.is_empty()).then_some(disagreements != 0))
    }
}
