//! Further feedback of a request that has one: what the former one counted is taken back if the new one is
//! later (counting rules 11 and 12).

use pyo3::prelude::*;
use rustc_hash::FxHashMap;

use crate::ids::{DeploymentId, PlanId};
use crate::join::deltas::accumulator::{unknown, DeltaAccumulator, NONE};
use crate::join::deltas::changes::Scored;
use crate::join::deltas::scores::ScoreSums;
use crate::join::judgements::Judged;
use crate::join::plans::Kind;
use crate::join::request_updater::{collected, NewFeedback, OfOne, RequestUpdater, Says, Verdict};
use crate::join::requests::codec::{Register, Request};
use crate::join::requests::table::Found;
use crate::quantities::MAX_WIDTH;
use crate::request_ids::Id;
use crate::times::MINUTE;

/// What a prediction counted, what it counts now, and whether these differ.
struct Correction<'a> {
    before: Verdict<'a>,
    after: Verdict<'a>,
    differ: bool,
}

/// Whether a feedback is a version of a known one, and the digests of both can be compared: as they are, or
/// by the contents that they follow from.
fn is_version(known: &Register, row: &NewFeedback) -> bool {
    known.items.is_some() == row.truth.is_some()
        && (row.truth.is_some() || known.model == row.scope)
        && known.source_rank == row.source_rank
        && known.digest.is_some() == row.digest.is_some()
}

impl RequestUpdater<'_, '_> {
    /// Replace the only feedback of a request by a later version, or put another kind of feedback beside it;
    /// an earlier version is counted alone. Returns false if Python has to apply it.
    pub fn correct(
        &mut self,
        deployment: DeploymentId,
        id: &Id,
        found: &Found,
        request: &Request,
        row: &NewFeedback,
    ) -> PyResult<bool> {
        let Some(known) = request.only_feedback()? else { return Ok(false) };
        let is_version = is_version(&known, row);
        if known.time == row.time || !(is_version || self.stands_beside(request, &known, row)?) {
            return Ok(false);
        }
        let truth = known.items.as_ref().map(collected).transpose()?;
        let was = Says { time: known.time, truth: truth.as_deref(), reward: known.reward };
        let truth = row.truth.map(|truth| truth.items);
        let is_same = match row.digest {
            Some(_) => row.digest == known.digest,
            None => was.reward == row.reward && was.truth == truth,
        };
        let mut corrections = OfOne::new();
        if known.time < row.time {
            let Some(found) = self.corrections_of(request, row, was)? else { return Ok(false) };
            corrections = found;
        }
        self.duplicates += i64::from(is_version && is_same);
        self.superseded += i64::from(is_version && !is_same);
        self.notes.judged(deployment, id)?;
        if !is_version {
            request.with_feedback(row.time, &self.register, &mut self.new);
        } else if known.time < row.time {
            request.with_other_feedback(&known, row.time, &self.register, &mut self.new);
        } else {
            return Ok(true);
        }
        self.requests.table(deployment)?.replace(id, found, &self.new);
        for correction in &corrections {
            self.accumulator.borrow_mut().correct(correction)?;
            self.corrections += i64::from(correction.differ);
        }
        Ok(true)
    }

    /// Whether one of two feedbacks is a reward alone and the other one has a truth, and either judges the
    /// only prediction of their request.
    fn stands_beside(
        &self,
        request: &Request,
        known: &Register,
        row: &NewFeedback,
    ) -> PyResult<bool> {
        let scope = match (&known.items, &row.truth) {
            (None, Some(_)) => known.model,
            (Some(_), None) => row.scope,
            _ => return Ok(false),
        };
        let Some(prediction) = request.registers().next().transpose()? else { return Ok(false) };
        Ok(request.predictions == 1 && self.model(scope)?.names(&self.model(prediction.model)?))
    }

    /// The corrections of all predictions that the feedback is about. None if Python has to judge any of
    /// them.
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
            if restored {
                return Ok(None);
            }
            let Some(before) = self.verdict(model, time, &items, was)? else { return Ok(None) };
            let Some(after) = self.verdict(model, time, &items, says)? else { return Ok(None) };
            let accumulator = self.accumulator.borrow();
            let plans = before.items.iter().chain(&after.items).map(|item| item.plan);
            if !accumulator.can_take_back(plans)? {
                return Ok(None);
            }
            let Some(differ) = accumulator.differ(&before, &after)? else { return Ok(None) };
            corrections.push(Correction { before, after, differ });
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

    /// Count a corrected judgement.
    fn correct(&mut self, Correction { before, after, .. }: &Correction) -> PyResult<()> {
        // The items that are right, and those that are wrong, beyond those of now.
        let (mut right, mut wrong) = (0, 0);
        for (was, is) in before.items.iter().zip(&after.items) {
            self.take_back(before, was)?;
            let Judged { plan, values, truth_values } = *is;
            self.add_valued_judgement(after.model, after.times, plan, values, truth_values)?;
            for (plan, sign) in [(was.plan, 1), (plan, -1)] {
                let (judged, correct) = self.verdict_of(plan)?;
                right += sign * correct;
                wrong += sign * (judged - correct);
            }
        }
        let minute = before.times.0.div_euclid(MINUTE);
        for (verdict, taken) in [("right", right), ("wrong", wrong)] {
            if taken > 0 {
                self.add_retracted(before.model, minute, verdict.to_owned(), taken);
            }
        }
        Ok(())
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
            let (mut sums, mut summed) = (ScoreSums::default(), Scored::new());
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
                    *sum = sum.plus((-amount).into());
                }
            }
        }
        self.add_judgement(model, times.0, times.1, outcome, -1).map(|_| ())
    }

    /// Whether two verdicts on one prediction count otherwise. None if items differ and their sums may not.
    fn differ(&self, before: &Verdict, after: &Verdict) -> PyResult<Option<bool>> {
        let pairs = || before.items.iter().zip(&after.items);
        let mut differing = 0;
        for (was, is) in pairs() {
            differing += usize::from(self.plans_differ(was.plan, is.plan)?);
        }
        if differing == 0 || before.items.len() == 1 {
            return Ok(Some(differing > 0));
        }
        let (mut totals, mut cells) = ([0; 7], FxHashMap::default());
        for (plan, sign) in pairs().flat_map(|(was, is)| [(was.plan, -1), (is.plan, 1)]) {
            let plan = self.plans.get(plan.index()).ok_or_else(unknown)?;
            let outcome = self.outcomes.get(plan.outcome.index()).ok_or_else(unknown)?;
            totals.iter_mut().zip(outcome.totals).for_each(|(sum, n)| *sum += sign * n);
            for &(actual, predicted, n) in &outcome.cells {
                *cells.entry((actual, predicted)).or_insert(0) += sign * n;
            }
        }
        let is_other = totals != [0; 7] || cells.values().any(|&n| n != 0);
        Ok(is_other.then_some(true))
    }

    /// Whether two plans for one answer count otherwise.
    fn plans_differ(&self, one: PlanId, other: PlanId) -> PyResult<bool> {
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
