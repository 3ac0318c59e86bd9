//! What was counted, as changes by model, basis and minute.

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::collections::OrderedMap;
use crate::ids::{AnswerId, LabelId};
use crate::join::deltas::accumulator::{unknown, DeltaAccumulator, NONE};
use crate::join::deltas::changes::{Change, ChangeKey, Scored};
use crate::join::deltas::scores::ScoreSums;

/// So many empty sums of probabilities are kept, of some kilobytes each.
const MAX_EMPTY_SCORES: usize = 512;

/// The kinds of the sums of delays, as in `sums.py`.
const PREDICTED_LABEL: u32 = 50;
const PREDICTED_NUMBER: u32 = 52;
const RETRACTED: u32 = 55;
/// The mode of an answer that is a number, as in `values.py`.
const NUMBER: u8 = 5;
const DEFAULT_UNIT: i32 = -6;

impl DeltaAccumulator {
    /// The kind and the label of the sum of predicted items that an answer in Python's list counts for;
    /// None if it has neither a label nor a number.
    fn predicted_sum(
        &mut self,
        answer: AnswerId,
        answers: &Bound<'_, PyList>,
    ) -> PyResult<Option<(u32, LabelId)>> {
        if let Some(label) = self.known_label(answer) {
            return Ok(Some((PREDICTED_LABEL, label)));
        }
        if let Some(&found) = self.predicted_sums.get(&answer) {
            return Ok(found);
        }
        let item = answers.get_item(answer.index())?;
        let label: Option<String> = item.getattr("label")?.extract()?;
        let found = match label {
            Some(text) => Some((PREDICTED_LABEL, self.label(text))),
            None if item.getattr("mode")?.extract::<u8>()? == NUMBER => {
                let unit: i32 = item.getattr("schema")?.getattr("unit")?.extract()?;
                let text = if unit == DEFAULT_UNIT { String::new() } else { unit.to_string() };
                Some((PREDICTED_NUMBER, self.label(text)))
            }
            None => None,
        };
        self.predicted_sums.insert(answer, found);
        Ok(found)
    }

    /// All that was counted, by model, basis and minute; the accumulator is empty afterwards.
    pub(super) fn take_changes(
        &mut self,
        answers: &Bound<'_, PyList>,
    ) -> PyResult<OrderedMap<ChangeKey, Change>> {
        let mut changes = OrderedMap::<_, Change>::default();
        let mut predicted_items = std::mem::take(&mut self.predicted);
        for ((model, minute, answer), items) in predicted_items.drain(..) {
            if items != 0 {
                let predicted = self.predicted_sum(answer, answers)?;
                let change: &mut Change = changes.entry((model, 0, minute)).or_default();
                change.add(&[1, 0, 0, 0, 0, 0, 0], &[], &[], items)?;
                if let Some((kind, label)) = predicted {
                    change.add_sum((kind, label, 0), items);
                }
            }
        }
        self.predicted = predicted_items;
        for ((model, basis, minute, outcome, bucket), times) in self.judged.drain(..) {
            if times != 0 {
                let outcome = self.outcomes.get(outcome.index()).ok_or_else(unknown)?;
                let change = changes.entry((model, basis, minute)).or_default();
                change.add(&outcome.totals, &outcome.cells, &outcome.sums, times)?;
                if basis == 0 {
                    change.add_delays(&outcome.delayed, bucket.into(), times)?;
                }
            }
        }
        let mut all_scores = std::mem::take(&mut self.scores);
        for ((key, names), scores) in all_scores.drain(..) {
            let change = changes.entry(key).or_default();
            if let Some(other) = change.scores.replace((names, scores)) {
                let mut scored = Scored::new();
                self.empty(other, &mut scored)?;
                change.sums.extend(scored.into_iter().map(|(key, amount)| (key, amount.into())));
            }
        }
        self.scores = all_scores;
        for (key, sums) in self.sums.drain() {
            changes.entry(key).or_default().sums.extend(sums);
        }
        for ((model, minute, verdict), items) in self.retracted.drain(..) {
            changes.entry((model, 0, minute)).or_default().add_sum((RETRACTED, verdict, 0), items);
        }
        Ok(changes)
    }

    /// Move sums of probabilities of one list of names to `scored`.
    pub(super) fn empty(
        &mut self,
        (names, mut scores): (u32, Box<ScoreSums>),
        scored: &mut Scored,
    ) -> PyResult<()> {
        let (names, order) = self.names.get_index(names as usize).ok_or_else(unknown)?;
        scores.move_to(names, order, NONE, scored);
        if self.empty_scores.len() < MAX_EMPTY_SCORES {
            self.empty_scores.push(scores);
        }
        Ok(())
    }
}
