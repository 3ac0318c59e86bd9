//! Plans of answers and truths that are texts: Python judges one pair of labels, and the plans of all other
//! pairs follow from it, since nothing but the equality of two labels matters.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use rustc_hash::FxHashMap;

use crate::digests::digest;
use crate::ids::{AnswerId, LabelId, PlanId, TruthId};
use crate::join::deltas::accumulator::{DeltaAccumulator, Outcome};
use crate::join::deltas::changes::{Sum, Totals};
use crate::join::judgements::{Part, PlanKey};
use crate::join::plans::{Kind, Plan};
use crate::pack;

/// The kind of a row that is a text, as in `values.py`.
const TEXT: u8 = 3;
/// The kind of the sums of delays of labels, as in `sums.py`.
const DELAY: u32 = 51;
/// All are forgotten when there are so many.
const MAX_SCHEMAS: usize = 4096;
pub const MAX_SHAPES: usize = 1 << 14;
/// What a plan with its outcome counts for in the limit of `delta_accumulator.py`.
const CELLS: usize = 4;

/// An answer that is a text: its schema, and its label.
#[derive(Clone, Copy)]
struct Answer {
    schema: u32,
    has_classes: bool,
    label: LabelId,
}

/// The entry of a table of the state.
#[derive(Clone, Copy, Default)]
enum Entry<T> {
    #[default]
    Unread,
    Text(T),
    Other,
}

/// What a plan depends on beside the labels: the schema; whether there is a truth, and whether its label
/// is the predicted one; the reward and the part.
pub type ShapeKey = (u32, Option<bool>, Option<i64>, Part);

/// The actual label of a judged item.
#[derive(Clone, Copy)]
enum Actual {
    Predicted,
    Truth,
    Unknown,
}

/// What plans share whose labels alone differ.
#[derive(Clone, Copy)]
struct Shape {
    totals: Totals,
    actual: Actual,
    has_confidence: bool,
}

/// A schema: its number, and whether it has names and classes.
#[derive(Clone, Copy)]
pub struct Schema {
    pub number: u32,
    has_names: bool,
    has_classes: bool,
}

/// The numbers of schemas.
#[derive(Default)]
pub struct Schemas {
    numbers: Option<Py<PyDict>>,
    /// No number is given to two schemas.
    next: u32,
    /// Most answers have the schema of the one before.
    last: Option<(Py<PyTuple>, Schema)>,
}

impl Schemas {
    pub fn find(&mut self, schema: &Bound<'_, PyTuple>) -> PyResult<Schema> {
        let py = schema.py();
        if let Some((last, found)) = &self.last {
            if last.is(schema) {
                return Ok(*found);
            }
        }
        let numbers = self.numbers.get_or_insert_with(|| PyDict::new(py).unbind()).bind(py);
        if numbers.len() >= MAX_SCHEMAS {
            numbers.clear();
        }
        let number = match numbers.get_item(schema)? {
            Some(known) => known.extract()?,
            None => {
                numbers.set_item(schema, self.next)?;
                self.next += 1;
                self.next - 1
            }
        };
        let has_names = !schema.get_item(0)?.is_none();
        let has_classes = !schema.get_item(1)?.is_none();
        let found = Schema { number, has_names, has_classes };
        self.last = Some((schema.clone().unbind(), found));
        Ok(found)
    }

    fn len(&self, py: Python<'_>) -> usize {
        self.numbers.as_ref().map_or(0, |numbers| numbers.bind(py).len())
    }
}

/// The tables of the state, and what is known of their labels.
#[derive(Default)]
pub struct LabelPlans {
    tables: Option<(Py<PyList>, Py<PyList>)>,
    answers: Vec<Entry<Answer>>,
    truths: Vec<Entry<LabelId>>,
    pub schemas: Schemas,
    shapes: FxHashMap<ShapeKey, Shape>,
    /// What the plans that were made here count for in the limit.
    pub cells: usize,
}

impl LabelPlans {
    /// Forget the labels: their positions are not valid any more.
    pub fn clear(&mut self) {
        self.answers.clear();
        self.truths.clear();
        self.cells = 0;
    }

    /// The fields of an answer in the table of the state.
    pub fn answer_fields<'py>(
        &self,
        py: Python<'py>,
        id: AnswerId,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let Some((answers, _)) = &self.tables else { return Ok(None) };
        Ok(Some(answers.bind(py).get_item(id.index())?.cast_into()?))
    }

    /// The fields of a truth in the table of the state.
    pub fn truth_fields<'py>(
        &self,
        py: Python<'py>,
        id: TruthId,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let Some((_, truths)) = &self.tables else { return Ok(None) };
        Ok(Some(truths.bind(py).get_item(id.index())?.cast_into()?))
    }

    /// How many entries are kept.
    pub fn len(&self, py: Python<'_>) -> usize {
        self.answers.len() + self.truths.len() + self.shapes.len() + self.schemas.len(py)
    }
}

/// The entry at a position, with room for it.
fn entry<T: Copy + Default>(entries: &mut Vec<T>, at: usize) -> &mut T {
    if entries.len() <= at {
        entries.resize(at + 1, T::default());
    }
    &mut entries[at]
}

/// The text that an answer or a truth in a table is, the fields of the entry, and whether it is one of
/// this kind.
fn text_of(fields: &Bound<'_, PyTuple>, kind: usize, label: usize) -> PyResult<Option<String>> {
    let is_text = fields.get_item(kind)?.extract::<u8>()? == TEXT;
    if is_text {
        fields.get_item(label)?.extract()
    } else {
        Ok(None)
    }
}

impl DeltaAccumulator {
    /// The label of an answer, if it is a text that stands alone.
    fn answer_label(&mut self, py: Python<'_>, id: AnswerId) -> PyResult<Option<Answer>> {
        match entry(&mut self.label_plans.answers, id.index()) {
            Entry::Text(answer) => return Ok(Some(*answer)),
            Entry::Other => return Ok(None),
            Entry::Unread => {}
        }
        let found = self.read_answer(py, id)?;
        let known = found.map_or(Entry::Other, Entry::Text);
        *entry(&mut self.label_plans.answers, id.index()) = known;
        Ok(found)
    }

    fn read_answer(&mut self, py: Python<'_>, id: AnswerId) -> PyResult<Option<Answer>> {
        let Some(fields) = self.label_plans.answer_fields(py, id)? else { return Ok(None) };
        // label, reason, mode, schema, width, labels
        let has_more = !fields.get_item(1)?.is_none() || fields.get_item(4)?.extract::<u32>()? > 0;
        let Some(text) = text_of(&fields, 2, 0)? else { return Ok(None) };
        if has_more {
            return Ok(None);
        }
        let schema = self.label_plans.schemas.find(fields.get_item(3)?.cast()?)?;
        // Names go into digests.
        if schema.has_names {
            return Ok(None);
        }
        let Schema { number, has_classes, .. } = schema;
        Ok(Some(Answer { schema: number, has_classes, label: self.label(text) }))
    }

    /// The label of a truth, if it is a text.
    fn truth_label(&mut self, py: Python<'_>, id: TruthId) -> PyResult<Option<LabelId>> {
        match entry(&mut self.label_plans.truths, id.index()) {
            Entry::Text(label) => return Ok(Some(*label)),
            Entry::Other => return Ok(None),
            Entry::Unread => {}
        }
        let Some(fields) = self.label_plans.truth_fields(py, id)? else { return Ok(None) };
        // kind, value, width, probabilities
        let has_more = fields.get_item(2)?.extract::<u32>()? > 0 || fields.get_item(3)?.len()? > 0;
        let found = if has_more { None } else { text_of(&fields, 0, 1)? };
        let found = found.map(|text| self.label(text));
        let known = found.map_or(Entry::Other, Entry::Text);
        *entry(&mut self.label_plans.truths, id.index()) = known;
        Ok(found)
    }

    /// What a plan depends on, with the predicted label and that of the truth. None if it depends on more
    /// than the equality of labels: of two classes a reward says which is the actual one.
    fn shape_key(
        &mut self,
        py: Python<'_>,
        (answer, truth, reward, part): PlanKey,
    ) -> PyResult<Option<(ShapeKey, LabelId, Option<LabelId>)>> {
        let Some(answer) = self.answer_label(py, answer)? else { return Ok(None) };
        let truth = match truth {
            None if answer.has_classes => return Ok(None),
            None => None,
            Some(truth) => match self.truth_label(py, truth)? {
                None => return Ok(None),
                known => known,
            },
        };
        let is_equal = truth.map(|truth| truth == answer.label);
        Ok(Some(((answer.schema, is_equal, reward, part), answer.label, truth)))
    }

    /// The plan of labels of which Python has judged others.
    pub fn label_plan(&mut self, py: Python<'_>, key: PlanKey) -> PyResult<Option<PlanId>> {
        let Some((key, predicted, truth)) = self.shape_key(py, key)? else { return Ok(None) };
        let Some(&Shape { totals, actual, has_confidence }) = self.label_plans.shapes.get(&key)
        else {
            return Ok(None);
        };
        let actual = match actual {
            Actual::Predicted => Some(predicted),
            Actual::Truth => truth,
            Actual::Unknown => None,
        };
        let delayed = vec![self.delay(predicted, actual)];
        let cells = actual.map(|actual| (actual, predicted, 1)).into_iter().collect();
        let (sums, affects_diagnostics) = (Vec::new(), false);
        let outcome =
            self.push_outcome(Outcome { totals, cells, sums, delayed, affects_diagnostics });
        self.label_plans.cells += CELLS;
        let kind = match has_confidence {
            true => Kind::Confidence { right: actual == Some(predicted) },
            false => Kind::Labels,
        };
        Ok(Some(self.add_plan(outcome, kind)))
    }

    /// Note what the plans of other labels have in common with this one, which Python has made.
    pub fn learn_label_plan(&mut self, py: Python<'_>, key: PlanKey, plan: PlanId) -> PyResult<()> {
        let Some((key, predicted, truth)) = self.shape_key(py, key)? else { return Ok(()) };
        let Some(Plan { outcome, kind }) = self.plans.get(plan.index()) else { return Ok(()) };
        let confidence = match kind {
            Kind::Labels => None,
            Kind::Confidence { right } => Some(*right),
            _ => return Ok(()),
        };
        let Some(outcome) = self.outcomes.get(outcome.index()) else { return Ok(()) };
        let (known, actual) = match outcome.cells[..] {
            [] => (None, Actual::Unknown),
            [(actual, of, 1)] if of == predicted && actual == predicted => {
                (Some(actual), Actual::Predicted)
            }
            [(actual, of, 1)] if of == predicted && Some(actual) == truth => {
                (Some(actual), Actual::Truth)
            }
            _ => return Ok(()),
        };
        let is_plain = outcome.sums.is_empty() && !outcome.affects_diagnostics;
        let (totals, delayed) = (outcome.totals, outcome.delayed.clone());
        let is_usual = delayed == [self.delay(predicted, known)];
        if !is_plain
            || !is_usual
            || confidence.is_some_and(|right| right != (known == Some(predicted)))
        {
            return Ok(());
        }
        let shapes = &mut self.label_plans.shapes;
        if shapes.len() >= MAX_SHAPES {
            shapes.clear();
        }
        shapes.insert(key, Shape { totals, actual, has_confidence: confidence.is_some() });
        Ok(())
    }

    /// The sum of delays of a judged item, for a delay of the first bucket; see `delays.py`.
    fn delay(&mut self, predicted: LabelId, actual: Option<LabelId>) -> Sum {
        let text = |label: LabelId| &self.labels[label.index()];
        let (predicted, actual) = (text(predicted), actual.map_or("", |label| text(label)));
        let cell = format!("{}:{predicted}{actual}", predicted.chars().count());
        (DELAY, self.label(cell), 0, 1)
    }

    /// The digest of an answer that is a text: see `content_digest` in `values.py`.
    pub fn label_digest(&mut self, py: Python<'_>, answer: AnswerId) -> PyResult<Option<u64>> {
        let Some(Answer { label, .. }) = self.answer_label(py, answer)? else { return Ok(None) };
        let mut content = Vec::with_capacity(64);
        pack::list(&mut content, 5);
        pack::text(&mut content, &self.labels[label.index()]);
        pack::nil(&mut content);
        content.push(TEXT);
        pack::nil(&mut content);
        pack::list(&mut content, 0);
        Ok(Some(digest(&content)))
    }

    /// The digest of a truth that is a text, and a reward: see `base_of_feedback` in `codec.py`.
    pub fn truth_digest(
        &mut self,
        py: Python<'_>,
        truth: TruthId,
        reward: Option<i64>,
    ) -> PyResult<Option<u64>> {
        let Some(label) = self.truth_label(py, truth)? else { return Ok(None) };
        let mut content = Vec::with_capacity(64);
        pack::list(&mut content, 2);
        pack::list(&mut content, 1);
        pack::list(&mut content, 4);
        content.push(TEXT);
        pack::text(&mut content, &self.labels[label.index()]);
        pack::integer(&mut content, 0);
        pack::binary(&mut content, &[]);
        pack::optional(&mut content, reward);
        Ok(Some(digest(&content)))
    }

    /// The label of an answer, if that is known here.
    pub fn known_label(&self, answer: AnswerId) -> Option<LabelId> {
        match self.label_plans.answers.get(answer.index()) {
            Some(Entry::Text(answer)) => Some(answer.label),
            _ => None,
        }
    }

    pub fn set_label_tables(&mut self, answers: Py<PyList>, truths: Py<PyList>) {
        self.label_plans = LabelPlans { tables: Some((answers, truths)), ..LabelPlans::default() };
    }
}
