//! Plans of label sets (counting rule 29): Python judges one pair of sets, and the plans of all other
//! pairs with the same settings follow from it, since what a pair counts depends on its labels alone.

use pyo3::prelude::*;
use pyo3::types::{PyInt, PyString, PyTuple};
use rustc_hash::FxHashMap;

use crate::ids::{AnswerId, LabelId, PlanId, TruthId};
use crate::join::deltas::accumulator::{DeltaAccumulator, Outcome};
use crate::join::deltas::changes::{Sum, Totals};
use crate::join::judgements::PlanKey;
use crate::join::plans::labels::{ShapeKey, MAX_SHAPES};
use crate::join::plans::{Kind, Plan};

/// The kinds of rows that are a text and a label set, as in `values.py`.
const TEXT: u8 = 3;
const LABEL_SET: u8 = 6;
/// A longer text is no label.
const MAX_LABEL: usize = 256;
/// The kinds of sums, as in `sums.py`.
const ITEMS: u32 = 40;
const TRUE_POSITIVES: u32 = 41;
const FALSE_POSITIVES: u32 = 42;
const FALSE_NEGATIVES: u32 = 43;
const JACCARD: u32 = 44;
const EXACT: u32 = 45;
const MILLION: u64 = 1_000_000;

/// The empty label, the first one.
const NONE: LabelId = LabelId(0);

/// An answer that is a label set: its schema, the number of labels that there are, and its labels, sorted.
struct Answer {
    schema: u32,
    width: u32,
    labels: Box<[LabelId]>,
}

/// A truth that is a label set: its labels, the positions of others, and the number of labels that there
/// are.
struct Truth {
    labels: Box<[LabelId]>,
    positions: Box<[u32]>,
    width: u32,
}

/// What is known of answers, truths and the names of their positions; None for what is none of these.
#[derive(Default)]
pub struct SetPlans {
    answers: FxHashMap<AnswerId, Option<Answer>>,
    truths: FxHashMap<TruthId, Option<Truth>>,
    /// By schema and the number of labels; None if a name is no label.
    names: FxHashMap<(u32, u32), Option<Box<[LabelId]>>>,
    shapes: FxHashMap<ShapeKey, Totals>,
}

impl SetPlans {
    /// Forget the labels: their positions are not valid any more.
    pub fn clear(&mut self) {
        self.answers.clear();
        self.truths.clear();
        self.names.clear();
    }

    /// How many entries are kept.
    pub fn len(&self) -> usize {
        self.answers.len() + self.truths.len() + self.names.len() + self.shapes.len()
    }

    /// The actual labels of an answer, sorted. None if Python has to judge them.
    fn actual(&self, truth: &Truth, answer: &Answer) -> Option<Vec<LabelId>> {
        let mut found = truth.labels.to_vec();
        if !truth.positions.is_empty() {
            if truth.width != answer.width {
                return None;
            }
            let names = self.names.get(&(answer.schema, answer.width))?.as_ref()?;
            for &position in &truth.positions {
                found.push(*names.get(position as usize)?);
            }
        }
        found.sort_unstable();
        found.dedup();
        Some(found)
    }

    /// What a plan depends on beside the labels, and what the labels count.
    fn shape(&self, (answer, truth, reward, part): PlanKey) -> Option<(ShapeKey, Vec<Sum>)> {
        let answer = self.answers.get(&answer)?.as_ref()?;
        let Some(truth) = truth else {
            return Some(((answer.schema, None, reward, part), Vec::new()));
        };
        let actual = self.actual(self.truths.get(&truth)?.as_ref()?, answer)?;
        let is_exact = *actual == *answer.labels;
        Some(((answer.schema, Some(is_exact), reward, part), sums(&answer.labels, &actual)))
    }
}

/// What an item counts; both sets are sorted.
fn sums(predicted: &[LabelId], actual: &[LabelId]) -> Vec<Sum> {
    let mut found = Vec::with_capacity(predicted.len() + actual.len() + 3);
    let mut common = 0;
    for label in predicted {
        let is_right = actual.binary_search(label).is_ok();
        common += u64::from(is_right);
        found.push((if is_right { TRUE_POSITIVES } else { FALSE_POSITIVES }, *label, 0, 1));
    }
    for label in actual.iter().filter(|label| predicted.binary_search(label).is_err()) {
        found.push((FALSE_NEGATIVES, *label, 0, 1));
    }
    found.push((ITEMS, NONE, 0, 1));
    let jaccard = jaccard(common, found.len() as u64 - 1);
    if jaccard > 0 {
        found.push((JACCARD, NONE, 0, jaccard.into()));
    }
    if predicted == actual {
        found.push((EXACT, NONE, 0, 1));
    }
    found
}

/// The Jaccard index of two sets in millionths, rounded half to even; 1 if both are empty.
fn jaccard(common: u64, all: u64) -> u64 {
    if all == 0 {
        return MILLION;
    }
    let (quotient, rest) = (common * MILLION / all, common * MILLION % all);
    let is_up = 2 * rest > all || (2 * rest == all && quotient & 1 == 1);
    quotient + u64::from(is_up)
}

impl DeltaAccumulator {
    /// Read what an answer is, and the names of its positions.
    fn read_set_answer(&mut self, py: Python<'_>, id: AnswerId) -> PyResult<()> {
        if self.set_plans.answers.contains_key(&id) {
            return Ok(());
        }
        let found = self.set_answer(py, id)?;
        self.set_plans.answers.insert(id, found);
        Ok(())
    }

    fn set_answer(&mut self, py: Python<'_>, id: AnswerId) -> PyResult<Option<Answer>> {
        let Some(fields) = self.label_plans.answer_fields(py, id)? else { return Ok(None) };
        // label, reason, mode, schema, width, labels
        let is_set = fields.get_item(2)?.extract::<u8>()? == LABEL_SET;
        if !is_set || !fields.get_item(1)?.is_none() {
            return Ok(None);
        }
        let schema = fields.get_item(3)?.cast_into::<PyTuple>()?;
        let number = self.label_plans.schemas.find(&schema)?.number;
        let width: u32 = fields.get_item(4)?.extract()?;
        let labels: Vec<String> = fields.get_item(5)?.extract()?;
        if !self.set_plans.names.contains_key(&(number, width)) {
            let names = self.set_names(&schema, width)?;
            self.set_plans.names.insert((number, width), names);
        }
        let mut labels: Vec<_> = labels.into_iter().map(|label| self.label(label)).collect();
        labels.sort_unstable();
        Ok(Some(Answer { schema: number, width, labels: labels.into() }))
    }

    /// The names of so many positions: those of the message, else the classes of the models file, else the
    /// positions.
    fn set_names(
        &mut self,
        schema: &Bound<'_, PyTuple>,
        width: u32,
    ) -> PyResult<Option<Box<[LabelId]>>> {
        let mut names: Option<Vec<String>> = None;
        for field in 0..2 {
            let found: Option<Vec<String>> = schema.get_item(field)?.extract()?;
            names = names.or(found.filter(|found| found.len() == width as usize));
        }
        let names = names.unwrap_or_else(|| (0..width).map(|at| at.to_string()).collect());
        if !names.iter().all(|name| is_label(name)) {
            return Ok(None);
        }
        Ok(Some(names.into_iter().map(|name| self.label(name)).collect()))
    }

    fn read_set_truth(&mut self, py: Python<'_>, id: TruthId) -> PyResult<()> {
        if self.set_plans.truths.contains_key(&id) {
            return Ok(());
        }
        let found = self.set_truth(py, id)?;
        self.set_plans.truths.insert(id, found);
        Ok(())
    }

    fn set_truth(&mut self, py: Python<'_>, id: TruthId) -> PyResult<Option<Truth>> {
        let Some(fields) = self.label_plans.truth_fields(py, id)? else { return Ok(None) };
        // kind, value, width, probabilities
        let (mut labels, mut positions) = (Vec::new(), Vec::new());
        match fields.get_item(0)?.extract()? {
            TEXT => labels.push(self.label(fields.get_item(1)?.extract()?)),
            LABEL_SET => {
                for one in fields.get_item(1)?.cast_into::<PyTuple>()? {
                    if let Ok(position) = one.cast::<PyInt>() {
                        positions.push(position.extract()?);
                        continue;
                    }
                    let text = one.cast::<PyString>()?.to_str()?;
                    if !is_label(text) {
                        return Ok(None);
                    }
                    labels.push(self.label(text.to_owned()));
                }
            }
            _ => return Ok(None),
        }
        let width = fields.get_item(2)?.extract()?;
        Ok(Some(Truth { labels: labels.into(), positions: positions.into(), width }))
    }

    fn set_shape(
        &mut self,
        py: Python<'_>,
        key: PlanKey,
    ) -> PyResult<Option<(ShapeKey, Vec<Sum>)>> {
        self.read_set_answer(py, key.0)?;
        if let Some(truth) = key.1 {
            self.read_set_truth(py, truth)?;
        }
        Ok(self.set_plans.shape(key))
    }

    /// The plan of label sets of which Python has judged others.
    pub fn set_plan(&mut self, py: Python<'_>, key: PlanKey) -> PyResult<Option<PlanId>> {
        let Some((shape, sums)) = self.set_shape(py, key)? else { return Ok(None) };
        let Some(&totals) = self.set_plans.shapes.get(&shape) else { return Ok(None) };
        self.label_plans.cells += 2 + sums.len();
        let outcome = self.push_outcome(Outcome {
            totals,
            cells: Vec::new(),
            sums,
            delayed: Vec::new(),
            affects_diagnostics: false,
        });
        Ok(Some(self.add_plan(outcome, Kind::Labels)))
    }

    /// Note what the plans of other label sets have in common with this one, which Python has made.
    pub fn learn_set_plan(&mut self, py: Python<'_>, key: PlanKey, plan: PlanId) -> PyResult<()> {
        let Some((shape, mut sums)) = self.set_shape(py, key)? else { return Ok(()) };
        let Some(Plan { outcome, kind: Kind::Labels }) = self.plans.get(plan.index()) else {
            return Ok(());
        };
        let Some(outcome) = self.outcomes.get(outcome.index()) else { return Ok(()) };
        let mut known = outcome.sums.clone();
        known.sort_unstable();
        sums.sort_unstable();
        let is_plain = outcome.cells.is_empty() && outcome.delayed.is_empty();
        if is_plain && !outcome.affects_diagnostics && known == sums {
            let totals = outcome.totals;
            if self.set_plans.shapes.len() >= MAX_SHAPES {
                self.set_plans.shapes.clear();
            }
            self.set_plans.shapes.insert(shape, totals);
        }
        Ok(())
    }
}

fn is_label(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_LABEL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_right_wrong_or_missing() {
        let sets = |labels: &[u32]| labels.iter().map(|&label| LabelId(label)).collect::<Vec<_>>();
        let found = sums(&sets(&[1, 2]), &sets(&[2, 3, 4]));
        assert_eq!(
            found.iter().map(|&(kind, label, _, n)| (kind, label.0, n)).collect::<Vec<_>>(),
            [
                (FALSE_POSITIVES, 1, 1),
                (TRUE_POSITIVES, 2, 1),
                (FALSE_NEGATIVES, 3, 1),
                (FALSE_NEGATIVES, 4, 1),
                (ITEMS, 0, 1),
                (JACCARD, 0, 250_000),
            ]
        );
        let exact: Vec<_> = sums(&sets(&[1]), &sets(&[1])).iter().map(|one| one.0).collect();
        assert_eq!(exact, [TRUE_POSITIVES, ITEMS, JACCARD, EXACT]);
        assert_eq!(sums(&[], &sets(&[1])).len(), 2);
    }

    #[test]
    fn the_jaccard_index_is_rounded_half_to_even() {
        for (common, all, index) in [(1, 3, 333_333), (2, 3, 666_667), (0, 0, 1_000_000), (0, 5, 0)]
        {
            assert_eq!(jaccard(common, all), index);
        }
    }
}
