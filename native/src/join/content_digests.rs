//! Whether the digests of rows follow from their content, which need not be kept then.

use std::hash::Hash;

use pyo3::call::PyCallArgs;
use pyo3::prelude::*;

use crate::collections::Memo;
use crate::digests::mix;
use crate::ids::{AnswerId, TruthId};
use crate::join::deltas::accumulator::DeltaAccumulator;
use crate::join::requests::codec::Item;
use crate::rows::{Feedback, Items, Prediction};

/// The digests of contents without values: of labels that are texts, and Python's functions of all else
/// and what they gave.
pub struct Digests {
    labels: Py<DeltaAccumulator>,
    base_of_prediction: Py<PyAny>,
    base_of_feedback: Py<PyAny>,
    prediction_bases: Memo<(AnswerId,), u64>,
    feedback_bases: Memo<(Option<TruthId>, Option<i64>), u64>,
}

impl Digests {
    pub fn new(
        labels: Py<DeltaAccumulator>,
        base_of_prediction: Py<PyAny>,
        base_of_feedback: Py<PyAny>,
    ) -> Self {
        Digests {
            labels,
            base_of_prediction,
            base_of_feedback,
            prediction_bases: Memo::default(),
            feedback_bases: Memo::default(),
        }
    }

    /// The digest of a prediction, None if it follows from the content.
    pub fn of_prediction(
        &mut self,
        py: Python<'_>,
        row: &Prediction,
        items: &[Item],
    ) -> PyResult<Option<u64>> {
        let Items::One(item) = &row.answers else { return Ok(Some(row.digest)) };
        let answer = AnswerId(items[0].position);
        let base = match self.prediction_bases.get(&(answer,)) {
            Some(known) => known,
            None => match self.labels.bind(py).borrow_mut().label_digest(py, answer)? {
                Some(base) => base,
                None => base_of(
                    &mut self.prediction_bases,
                    (answer,),
                    self.base_of_prediction.bind(py),
                )?,
            },
        };
        Ok((mix(base, item.values) != row.digest).then_some(row.digest))
    }

    /// The digest of a feedback, None if it follows from the content.
    pub fn of_feedback(
        &mut self,
        py: Python<'_>,
        row: &Feedback,
        items: Option<&[Item]>,
    ) -> PyResult<Option<u64>> {
        let values = match &row.truth {
            None => &[],
            Some(Items::One(item)) => item.values,
            Some(Items::Several(..)) => return Ok(Some(row.digest)),
        };
        let key = (items.map(|items| TruthId(items[0].position)), row.reward);
        let base = match (self.feedback_bases.get(&key), key.0) {
            (Some(known), _) => known,
            (None, Some(truth)) => {
                let found =
                    self.labels.bind(py).borrow_mut().truth_digest(py, truth, row.reward)?;
                match found {
                    Some(base) => base,
                    None => base_of(&mut self.feedback_bases, key, self.base_of_feedback.bind(py))?,
                }
            }
            (None, None) => base_of(&mut self.feedback_bases, key, self.base_of_feedback.bind(py))?,
        };
        Ok((mix(base, values) != row.digest).then_some(row.digest))
    }
}

/// The digest of a content without values, from a memo or from Python.
fn base_of<'py, K>(memo: &mut Memo<K, u64>, content: K, base: &Bound<'py, PyAny>) -> PyResult<u64>
where
    K: Copy + Eq + Hash + PyCallArgs<'py>,
{
    if let Some(known) = memo.get(&content) {
        return Ok(known);
    }
    let known = base.call1(content)?.extract()?;
    memo.put(content, known);
    Ok(known)
}
