//! Sums the changes of the counts while a batch is folded, and packs them for the log: the counterpart
//! of `delta_accumulator.py`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyList;
use rustc_hash::FxHashMap;

use crate::collections::{Memo, OrderedMap, OrderedSet};
use crate::ids::{AnswerId, LabelId, ModelId, OutcomeId, PlanId};
use crate::join::deltas::changes::{
    BatchWriter, Cell, ChangeKey, Model, PackedDeltas, Scored, Sum, Totals,
};
use crate::join::deltas::scores::{Names, ScoreSums};
use crate::join::deltas::sums::{self, Sums};
use crate::join::judgements::PlanKey;
use crate::join::plans::labels::LabelPlans;
use crate::join::plans::sets::SetPlans;
use crate::join::plans::{Kind, Number, Plan, Scores, Tolerance};
use crate::kept::{Kept, PLANS};
use crate::pack;
use crate::times::MINUTE;

/// The empty label, the first one.
pub const NONE: LabelId = LabelId(0);
/// What one judgement adds to the counts; `affects_diagnostics` if it changes a diagnostic gauge as
/// well.
pub struct Outcome {
    pub totals: Totals,
    pub cells: Vec<Cell>,
    pub sums: Vec<Sum>,
    /// The sums of delays, for a delay of the first bucket.
    pub delayed: Vec<Sum>,
    pub affects_diagnostics: bool,
}

/// Sums signed contributions until they are drained. Models are positions in the table of the join's
/// state; outcomes are positions that `add_outcome` returned.
#[pyclass]
#[derive(Default)]
pub struct DeltaAccumulator {
    /// By model, minute and answer.
    pub(super) predicted: OrderedMap<(ModelId, i64, AnswerId), i64>,
    /// By model, basis, minute, outcome and, on the request basis, bucket of the delay.
    pub(super) judged: OrderedMap<(ModelId, u8, i64, OutcomeId, u8), i64>,
    /// By model, minute and verdict.
    pub(super) retracted: OrderedMap<(ModelId, i64, LabelId), i64>,
    /// What answers count for among the predicted items: a kind of sums and a label.
    pub(super) predicted_sums: FxHashMap<AnswerId, Option<(u32, LabelId)>>,
    pub outcomes: Vec<Outcome>,
    pub labels: OrderedSet<String>,
    pub plan_ids: Memo<PlanKey, PlanId>,
    pub plans: Vec<Plan>,
    pub label_plans: LabelPlans,
    pub set_plans: SetPlans,
    /// The names that plans have, and the order of the texts of each.
    pub names: OrderedMap<Names, Vec<usize>>,
    /// Sums of packed values: of probabilities by the list of names, and all others.
    pub(super) scores: OrderedMap<(ChangeKey, u32), Box<ScoreSums>>,
    /// Empty sums of probabilities, to be used again; boxes, since they are moved from and to `scores`.
    #[allow(clippy::vec_box)]
    pub(super) empty_scores: Vec<Box<ScoreSums>>,
    pub sums: FxHashMap<ChangeKey, Sums>,
    pub tables: sums::Tables,
    models: Vec<Model>,
    kept: Kept<PLANS>,
}

impl DeltaAccumulator {
    /// Count one prediction in the minute of its time (ns).
    pub fn add_prediction(&mut self, model: ModelId, answer: AnswerId, time: i64) {
        self.add_predictions(model, time.div_euclid(MINUTE), answer, 1);
    }

    pub fn label(&mut self, text: String) -> LabelId {
        // The empty label is the first one.
        if self.labels.is_empty() {
            self.labels.insert_full(String::new());
            let names = Names { labels: Vec::new(), second: None };
            self.names.insert(names, Vec::new());
        }
        LabelId(self.labels.insert_full(text).0 as u32)
    }
}

pub fn unknown() -> PyErr {
    PyValueError::new_err("a model or an outcome that the accumulator does not have")
}

#[pymethods]
impl DeltaAccumulator {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Count items of an answer predicted in a minute since 1970; a negative number takes them back.
    pub fn add_predictions(&mut self, model: ModelId, minute: i64, answer: AnswerId, items: i64) {
        *self.predicted.entry((model, minute, answer)).or_insert(0) += items;
    }

    /// Count a judgement `times` times on both bases, by the times (ns) of the prediction and of the
    /// feedback. Returns whether its outcome affects the diagnostics.
    pub fn add_judgement(
        &mut self,
        model: ModelId,
        predicted_at: i64,
        feedback_at: i64,
        outcome: OutcomeId,
        times: i64,
    ) -> PyResult<bool> {
        let bucket = self.tables.delay_bucket(feedback_at.saturating_sub(predicted_at));
        for (basis, time, bucket) in [(0, predicted_at, bucket), (1, feedback_at, 0)] {
            let key = (model, basis, time.div_euclid(MINUTE), outcome, bucket);
            *self.judged.entry(key).or_insert(0) += times;
        }
        Ok(self.outcomes.get(outcome.index()).ok_or_else(unknown)?.affects_diagnostics)
    }

    /// Count items predicted in a minute since 1970 that are not of a verdict any more.
    pub fn add_retracted(&mut self, model: ModelId, minute: i64, verdict: String, items: i64) {
        let verdict = self.label(verdict);
        *self.retracted.entry((model, minute, verdict)).or_insert(0) += items;
    }

    /// Count judgements of items of one plan on both bases in a minute, by their values and those of their
    /// truths. Returns how often each outcome came.
    fn add_valued_judgements(
        &mut self,
        model: ModelId,
        minute: i64,
        plan: PlanId,
        items: Vec<(PyBackedBytes, PyBackedBytes)>,
    ) -> PyResult<Vec<(OutcomeId, usize)>> {
        let mut found = OrderedMap::<OutcomeId, usize>::default();
        let times = (minute * MINUTE, minute * MINUTE);
        for (values, truth_values) in items {
            let (outcome, _) =
                self.add_valued_judgement(model, times, plan, &values, &truth_values)?;
            *found.entry(outcome).or_insert(0) += 1;
        }
        Ok(found.into_iter().collect())
    }

    /// Add an outcome: its totals (none of them predictions), cells, sums, and its sums of delays for a
    /// delay of the first bucket. Returns its position.
    fn add_outcome(
        &mut self,
        totals: Totals,
        cells: Vec<(String, String, i64)>,
        sums: Vec<(u32, String, i64, i128)>,
        delayed: Vec<(u32, String, i64, i128)>,
        affects_diagnostics: bool,
    ) -> OutcomeId {
        let cells = cells
            .into_iter()
            .map(|(actual, predicted, n)| (self.label(actual), self.label(predicted), n))
            .collect();
        let [sums, delayed] = [sums, delayed].map(|sums| {
            sums.into_iter().map(|(kind, text, bin, n)| (kind, self.label(text), bin, n)).collect()
        });
        self.push_outcome(Outcome { totals, cells, sums, delayed, affects_diagnostics })
    }

    /// Set the tables of answers and truths of the state, which only grow.
    fn set_labels(&mut self, answers: Py<PyList>, truths: Py<PyList>) {
        self.set_label_tables(answers, truths);
    }

    /// What the plans that were made without Python take of the limit of outcomes.
    fn cells(&self) -> usize {
        self.label_plans.cells
    }

    /// Set the tables of `sums::Tables`.
    fn set_tables(
        &mut self,
        bin_edges: Vec<u16>,
        log_losses: Vec<i64>,
        error_edges: Vec<i128>,
        delay_ends: Vec<i64>,
    ) {
        self.tables = sums::Tables::new(bin_edges, log_losses, error_edges, delay_ends);
    }

    /// Add a plan that depends on no values. Returns its position.
    fn add_labels_plan(&mut self, outcome: OutcomeId) -> PlanId {
        self.add_plan(outcome, Kind::Labels)
    }

    /// Add a plan for the probability of the predicted label alone.
    fn add_confidence_plan(&mut self, outcome: OutcomeId, right: bool) -> PlanId {
        self.add_plan(outcome, Kind::Confidence { right })
    }

    /// Add a plan for the probabilities of all classes; see `Plan` in `plans.py`.
    fn add_probabilities_plan(
        &mut self,
        outcome: OutcomeId,
        names: Vec<String>,
        own: Vec<bool>,
        top: i64,
        right: bool,
        second: Option<(String, bool)>,
    ) -> PlanId {
        let names: Vec<_> = names.into_iter().map(|name| self.label(name)).collect();
        let second = second.map(|(name, by_threshold)| (self.label(name), by_threshold));
        let mut order: Vec<_> = (0..names.len()).collect();
        order.sort_by_key(|&at| &self.labels[names[at].index()]);
        let key = Names { labels: names.clone(), second };
        let names_id = self.names.insert_full(key, order).0 as u32;
        let (known, top) = (own.contains(&true), usize::try_from(top).ok());
        let scores = Scores { names, own, known, top, right, names_id };
        self.add_plan(outcome, Kind::Probabilities(scores))
    }

    /// Add a plan for numbers. `outcomes` are those of a number that is not within the tolerance, of one
    /// that is, and of a truth that is out of range.
    fn add_numbers_plan(
        &mut self,
        outcomes: [OutcomeId; 3],
        unit: i32,
        unit_label: String,
        tolerance: Option<(i64, i64)>,
        truth: Option<i64>,
    ) -> PlanId {
        let [outcome, within, out_of_range] = outcomes;
        let tolerance = match tolerance {
            None => Tolerance::None,
            Some((units, -1)) => Tolerance::Units(units),
            Some((_, part)) => Tolerance::Part(part),
        };
        let unit_label = self.label(unit_label);
        let number = Number { unit, unit_label, tolerance, truth, within, out_of_range };
        self.add_plan(outcome, Kind::Numbers(number))
    }

    /// The packed changes since the last call, by partition of the deltas, and forget them. `models`
    /// and `targets`, the models' partitions, are lists that only grow.
    fn drain<'py>(
        &mut self,
        py: Python<'py>,
        models: &Bound<'py, PyList>,
        answers: &Bound<'py, PyList>,
        targets: &Bound<'py, PyList>,
    ) -> PyResult<Vec<PackedDeltas<'py>>> {
        for position in self.models.len()..models.len() {
            let names: [String; 4] = models.get_item(position)?.extract()?;
            let mut packed = Vec::new();
            pack::list(&mut packed, names.len());
            names.iter().for_each(|name| pack::text(&mut packed, name));
            self.models.push(Model { packed, target: targets.get_item(position)?.extract()? });
        }
        let mut writers = OrderedMap::<u32, BatchWriter>::default();
        let mut scored = Scored::new();
        for (key, mut change) in self.take_changes(answers)? {
            scored.clear();
            if let Some(scores) = change.scores.take() {
                self.empty(scores, &mut scored)?;
            }
            change.tidy(&mut scored, &self.labels);
            if !change.is_empty() || !scored.is_empty() {
                let target = self.models.get(key.0.index()).ok_or_else(unknown)?.target;
                writers.entry(target).or_default().add(py, key, &change, &scored)?;
            }
        }
        let packed = writers
            .iter()
            .map(|(&target, writer)| writer.packed(py, target, &self.models, &self.labels));
        Ok(packed.collect())
    }

    /// Forget the changes since the last call of `drain` or `clear`.
    fn clear(&mut self) {
        self.predicted.clear();
        self.judged.clear();
        self.retracted.clear();
        self.scores.clear();
        self.sums.clear();
    }

    /// Forget all outcomes; changes that were not drained refer to them, so there must be none.
    fn clear_outcomes(&mut self) {
        self.outcomes.clear();
        self.labels.clear();
        self.predicted_sums.clear();
        self.names.clear();
        self.plans.clear();
        self.kept.set(0);
        self.plan_ids = Memo::default();
        self.label_plans.clear();
        self.set_plans.clear();
    }
}

impl DeltaAccumulator {
    /// A plan that follows from one that Python has made for other labels or label sets.
    pub fn derived_plan(&mut self, py: Python<'_>, key: PlanKey) -> PyResult<Option<PlanId>> {
        match self.label_plan(py, key)? {
            None => self.set_plan(py, key),
            known => Ok(known),
        }
    }

    pub fn push_outcome(&mut self, outcome: Outcome) -> OutcomeId {
        self.outcomes.push(outcome);
        OutcomeId(self.outcomes.len() as u32 - 1)
    }

    pub fn add_plan(&mut self, outcome: OutcomeId, kind: Kind) -> PlanId {
        self.plans.push(Plan { outcome, kind });
        self.kept.set(self.plans.len());
        PlanId(self.plans.len() as u32 - 1)
    }
}
