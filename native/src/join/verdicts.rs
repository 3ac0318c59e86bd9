//! How to judge the predictions of a request by its feedback: plans of their items, or None where Python
//! has to apply the row.

use pyo3::prelude::*;
use smallvec::smallvec;

use crate::ids::{AnswerId, ModelId, PlanId, TruthId};
use crate::join::judgements::{
    plan_of, Judged, Part, ALONE, FIRST, FIRST_OF_DISAGREEMENT, FURTHER,
};
use crate::join::request_updater::{
    collected, NewFeedback, NewPrediction, OfOne, RequestUpdater, Says, Verdict,
};
use crate::join::requests::codec::{Item, Register, Request};

/// A reward of 1, in millionths.
const MICRO: i64 = 1_000_000;

impl RequestUpdater<'_, '_> {
    /// The verdict on a further prediction of a request, an empty list if its feedback says nothing of it;
    /// None if Python has to apply it.
    pub fn verdict_of_new<'r>(
        &self,
        request: &Request<'r>,
        row: &NewPrediction<'r>,
    ) -> PyResult<Option<OfOne<Verdict<'r>>>> {
        if request.feedbacks > 1 {
            return Ok(None);
        }
        let model = self.model(row.model)?;
        let mut registers = request.registers();
        let mut others = OfOne::with_capacity(request.predictions);
        for known in registers.by_ref().take(request.predictions) {
            let known = known?;
            let other = self.model(known.model)?;
            // It may be a version of the same prediction, or yield to the other one (rule 14).
            if known.model == row.model
                || known.restored
                || (other.predictor == model.predictor && known.provisional != row.provisional)
            {
                return Ok(None);
            }
            others.push(other);
        }
        let Some(feedback) = registers.next().transpose()? else { return Ok(Some(OfOne::new())) };
        let scope = self.model(feedback.model)?;
        let names_it = scope.names(&model);
        if feedback.items.is_none() && names_it && others.iter().any(|other| scope.names(other)) {
            return Ok(None); // a reward that could be about several predictions
        }
        if feedback.items.is_none() && !names_it {
            return Ok(Some(OfOne::new()));
        }
        let truth = feedback.items.as_ref().map(collected).transpose()?;
        let (time, reward) = (feedback.time, feedback.reward);
        let says = Says { time, truth: truth.as_deref(), reward };
        let verdict = self.verdict(row.model, row.time, row.answers.items, says)?;
        Ok(verdict.map(|verdict| smallvec![verdict]))
    }

    /// The verdicts of the first feedback of a request; None if Python has to apply it.
    pub fn verdicts<'r>(
        &self,
        request: &Request<'r>,
        row: &NewFeedback<'r>,
    ) -> PyResult<Option<OfOne<Verdict<'r>>>> {
        let scope = self.model(row.scope)?;
        let says =
            Says { time: row.time, truth: row.truth.map(|truth| truth.items), reward: row.reward };
        let mut verdicts = OfOne::with_capacity(request.predictions);
        for prediction in request.registers() {
            let Register { model, time, items, .. } = prediction?;
            if says.truth.is_none() && !scope.names(&self.model(model)?) {
                continue;
            }
            let Some(items) = items else { return Ok(None) };
            let Some(verdict) = self.verdict(model, time, &collected(&items)?, says)? else {
                return Ok(None);
            };
            verdicts.push(verdict);
        }
        // A reward that could be about several predictions judges none of them.
        Ok((says.truth.is_some() || verdicts.len() <= 1).then_some(verdicts))
    }

    /// How to judge a prediction; None if Python has to.
    pub fn verdict<'r>(
        &self,
        model: ModelId,
        predicted_at: i64,
        answers: &[Item<'r>],
        says: Says<'_, 'r>,
    ) -> PyResult<Option<Verdict<'r>>> {
        let Says { time, truth, reward } = says;
        let fits = match (answers.len(), truth) {
            (1, None) => true,
            (1, Some(truth)) => truth.len() == 1,
            (count, Some(truth)) => count > 1 && truth.len() == count,
            // A reward between may say nothing of each item.
            (count, None) => {
                count > 1 && reward.is_some_and(|reward| reward <= 0 || reward >= MICRO)
            }
        };
        if !fits {
            return Ok(None);
        }
        let Some(first) = self.first_part(answers, truth, reward)? else { return Ok(None) };
        let mut items = OfOne::with_capacity(answers.len());
        for (number, answer) in answers.iter().enumerate() {
            let truth = truth.map(|truth| truth[number]);
            let part = if number == 0 { first } else { FURTHER };
            let Some(plan) = self.plan(answer, truth.as_ref(), reward, part)? else {
                return Ok(None);
            };
            let truth_values = truth.map_or(&[][..], |truth| truth.values);
            items.push(Judged { plan, values: answer.values, truth_values });
        }
        Ok(Some(Verdict { model, times: (predicted_at, time), items }))
    }

    /// The part of the first item, with which a disagreement of the reward with the truth of all items that
    /// have labels is counted (counting rule 7); None if Python has to judge.
    fn first_part(
        &self,
        answers: &[Item],
        truth: Option<&[Item]>,
        reward: Option<i64>,
    ) -> PyResult<Option<Part>> {
        if answers.len() == 1 {
            return Ok(Some(ALONE));
        }
        let (Some(truth), Some(_)) = (truth, reward) else { return Ok(Some(FIRST)) };
        let mut part = FIRST;
        for (answer, row) in answers.iter().zip(truth) {
            let Some(plan) = self.plan(answer, Some(row), reward, ALONE)? else { return Ok(None) };
            match self.accumulator.borrow().disagrees(plan)? {
                Some(false) => return Ok(Some(FIRST)),
                Some(true) => part = FIRST_OF_DISAGREEMENT,
                None => {}
            }
        }
        Ok(Some(part))
    }

    fn plan(
        &self,
        answer: &Item,
        truth: Option<&Item>,
        reward: Option<i64>,
        part: Part,
    ) -> PyResult<Option<PlanId>> {
        let truth = truth.map(|truth| TruthId(truth.position));
        let key = (AnswerId(answer.position), truth, reward, part);
        plan_of(self.accumulator, key, self.plan_of)
    }
}
