//! Later versions of the only feedback of a request: what the former one counted is taken back (counting
//! rules 11 and 12).

use pyo3::prelude::*;

use crate::ids::{DeploymentId, PlanId};
use crate::join::deltas::accumulator::{unknown, DeltaAccumulator, NONE};
use crate::join::deltas::changes::Summed;
use crate::join::deltas::scores::ScoreSums;
use crate::join::judgements::Judged;
use crate::join::plans::Kind;
use crate::join::request_updater::{collected, NewFeedback, OfOne, RequestUpdater, Says, Verdict};
use crate::join::requests::codec::{Register, Request};
use crate::join::requests::table::Found;
use crate::quantities::MAX_WIDTH;
use crate::request_ids::Id;
use crate::times::MINUTE;

/// What a prediction counted, and what it counts now.
struct Correction<'a> {
    before: Verdict<'a>,
    after: Verdict<'a>,
}

/// Whether a feedback is an earlier or later version of a known one, and both have digests that follow from
/// their content.
fn is_version(known: &Register, row: &NewFeedback) -> bool {
    known.items.is_some() == row.truth.is_some()
        && (row.truth.is_some() || known.model == row.scope)
        && known.source_rank == row.source_rank
        && known.time != row.time
        && !known.has_digest
        && row.digest.is_none()
}

impl RequestUpdater<'_, '_> {
    /// Replace the only feedback of a request by a later version; an earlier one is counted alone. Returns
    /// false if Python has to apply it.
    pub fn correct(
        &mut self,
        deployment: DeploymentId,
        id: &Id,
        found: &Found,
        request: &Request,
        row: &NewFeedback,
    ) -> PyResult<bool> {
        let Some(known) = request.only_feedback()? else { return Ok(false) };
        if !is_version(&known, row) {
            return Ok(false);
        }
        let truth = known.items.as_ref().map(collected).transpose()?;
        let was = Says { time: known.time, truth: truth.as_deref(), reward: known.reward };
        let truth = row.truth.map(|truth| truth.items);
        let is_same = was.reward == row.reward && was.truth == truth;
        let mut corrections = OfOne::new();
        if known.time < row.time {
            let Some(found) = self.corrections_of(request, row, was)? else { return Ok(false) };
            corrections = found;
        }
        self.duplicates += i64::from(is_same);
        self.superseded += i64::from(!is_same);
        if request.predictions > 0 {
            self.notes.judged(deployment, id)?;
        }
        if known.time > row.time {
            return Ok(true);
        }
        request.with_other_feedback(&known, row.time, &self.register, &mut self.new);
        self.requests.table(deployment)?.replace(id, found, &self.new);
        for correction in &corrections {
            let accumulator = &mut self.accumulator.borrow_mut();
            self.corrections += i64::from(accumulator.correct(correction)?);
        }
        Ok(true)
    }

    /// The corrections of all predictions that the feedback is about, each of one item. None if Python has
    /// to judge any of them.
    fn corrections_of<'r>(
        &self,
        request: &Request<'r>,
        row: &NewFeedback<'r>,
        was: Says<'_, 'r>,
    ) -> PyResult<Option<OfOne<Correction<'r>>>> {
        let scope = self.model(row.scope)?;
        let truth = row.truth.map(|truth| truth.items);
        let says = Says { time: row.time, truth, reward: row.reward };
        let mut corrections = OfOne::with_capacity(request.predictions);
        for prediction in request.registers().take(request.predictions) {
            let Register { model, time, items, restored, .. } = prediction?;
            if says.truth.is_none() && !scope.names(&self.model(model)?) {
                continue;
            }
            let Some(items) = items else { return Ok(None) };
            let items = collected(&items)?;
            if restored || items.len() != 1 {
                return Ok(None);
            }
            let Some(before) = self.verdict(model, time, &items, was)? else { return Ok(None) };
            let Some(after) = self.verdict(model, time, &items, says)? else { return Ok(None) };
            let plans = before.items.iter().chain(&after.items).map(|item| item.plan);
            if !self.accumulator.borrow().can_take_back(plans)? {
                return Ok(None);
            }
            corrections.push(Correction { before, after });
        }
        // A reward that could be about several predictions judges none of them.
        let is_clear = says.truth.is_some() || corrections.len() == 1;
        Ok((is_clear && !corrections.is_empty()).then_some(corrections))
    }
}

impl DeltaAccumulator {
    /// Whether judgements by these plans can be taken back here.
    fn can_take_back(&self, plans: impl Iterator<Item = PlanId>) -> PyResult<bool> {
        for plan in plans {
            let plan = self.plans.get(plan.index()).ok_or_else(unknown)?;
            let outcome = self.outcomes.get(plan.outcome.index()).ok_or_else(unknown)?;
            let is_kept = match &plan.kind {
                Kind::Labels | Kind::Confidence { .. } => true,
                Kind::Probabilities(scores) => scores.names.len() <= MAX_WIDTH,
                Kind::Numbers(_) => false,
            };
            if !is_kept || outcome.affects_diagnostics {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Count a corrected judgement. Returns whether it counts otherwise than before.
    fn correct(&mut self, Correction { before, after }: &Correction) -> PyResult<bool> {
        let mut differs = false;
        for (was, is) in before.items.iter().zip(&after.items) {
            self.take_back(before, was)?;
            let Judged { plan, values, truth_values } = *is;
            self.add_valued_judgement(after.model, after.times, plan, values, truth_values)?;
            let [(judged, right), (judged_now, right_now)] =
                [self.verdict_of(was.plan)?, self.verdict_of(plan)?];
            let minute = before.times.0.div_euclid(MINUTE);
            for (verdict, taken) in [
                ("right", right - right_now),
                ("wrong", (judged - right) - (judged_now - right_now)),
            ] {
                if taken > 0 {
                    self.add_retracted(before.model, minute, verdict.to_owned(), taken);
                }
            }
            differs = differs || self.differ(was.plan, plan)?;
        }
        Ok(differs)
    }

    /// The judged items of a plan, and those that are right.
    fn verdict_of(&self, plan: PlanId) -> PyResult<(i64, i64)> {
        let plan = self.plans.get(plan.index()).ok_or_else(unknown)?;
        let [_, judged, right, ..] =
            self.outcomes.get(plan.outcome.index()).ok_or_else(unknown)?.totals;
        Ok((judged, right))
    }

    /// Take back a judgement that was counted.
    fn take_back(&mut self, verdict: &Verdict, item: &Judged) -> PyResult<()> {
        let (model, times) = (verdict.model, verdict.times);
        let plan = self.plans.get(item.plan.index()).ok_or_else(unknown)?;
        let outcome = plan.outcome;
        if !item.values.is_empty() {
            let (mut sums, mut summed) = (ScoreSums::default(), Summed::new());
            let names = match &plan.kind {
                Kind::Probabilities(scores) => {
                    sums.add(scores, item.values, &self.tables);
                    scores.names_id
                }
                Kind::Confidence { right } => {
                    let q = item.values.try_into().map_err(|_| unknown())?;
                    sums.add_top(u16::from_le_bytes(q), *right, &self.tables);
                    0
                }
                _ => 0,
            };
            let (names, order) = self.names.get_index(names as usize).ok_or_else(unknown)?;
            sums.move_to(names, order, NONE, &mut summed);
            for (basis, time) in [(0, times.0), (1, times.1)] {
                let known = self.sums.entry((model, basis, time.div_euclid(MINUTE))).or_default();
                for &(key, amount) in &summed {
                    let sum = known.entry(key).or_default();
                    *sum = sum.plus(amount.negated());
                }
            }
        }
        self.add_judgement(model, times.0, times.1, outcome, -1).map(|_| ())
    }

    /// Whether two plans for one answer count otherwise.
    fn differ(&self, one: PlanId, other: PlanId) -> PyResult<bool> {
        if one == other {
            return Ok(false);
        }
        let plan = |id: PlanId| self.plans.get(id.index()).ok_or_else(unknown);
        let (one, other) = (plan(one)?, plan(other)?);
        let is_same = match (&one.kind, &other.kind) {
            (Kind::Labels, Kind::Labels) => true,
            (Kind::Confidence { right }, Kind::Confidence { right: was }) => right == was,
            (Kind::Probabilities(scores), Kind::Probabilities(was)) => {
                (&scores.own, scores.names_id) == (&was.own, was.names_id)
            }
            _ => false,
        };
        let outcome = |id: usize| self.outcomes.get(id).ok_or_else(unknown);
        let (one, other) = (outcome(one.outcome.index())?, outcome(other.outcome.index())?);
        let sorted = |sums: &[_]| {
            let mut sums = sums.to_vec();
            sums.sort_unstable();
            sums
        };
        Ok(!is_same
            || (one.totals, &one.cells, &one.delayed)
                != (other.totals, &other.cells, &other.delayed)
            || sorted(&one.sums) != sorted(&other.sums))
    }
}
