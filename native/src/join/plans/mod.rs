//! Plans to judge packed values: Python's decisions of an answer, a truth and a reward; see `plans.py`.

pub mod labels;
pub mod sets;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::ids::{LabelId, OutcomeId};
use crate::quantities;

/// The classes of a prediction's probabilities, and what the truth says of them.
pub struct Scores {
    pub names: Vec<LabelId>,
    /// Which of the classes is the actual one.
    pub own: Vec<bool>,
    /// Whether any is.
    pub known: bool,
    /// The position of the predicted label.
    pub top: Option<usize>,
    pub right: bool,
    /// The position of `names`, and of whether a threshold decided, among all such pairs.
    pub names_id: u32,
}

/// A tolerance of a number: in units, or as a part of the truth in 10^-9.
pub enum Tolerance {
    None,
    Units(i64),
    Part(i64),
}

/// How to compare a number with its truth.
pub struct Number {
    pub unit: i32,
    pub unit_label: LabelId,
    pub tolerance: Tolerance,
    /// The truth in units, if it is not among the values.
    pub truth: Option<i64>,
    /// The outcomes of a number within the tolerance, and of a truth that is out of range.
    pub within: OutcomeId,
    pub out_of_range: OutcomeId,
}

pub enum Kind {
    Labels,
    Probabilities(Scores),
    Confidence { right: bool },
    Numbers(Number),
}

/// How to judge the values of an item; `outcome` counts whatever the values are (of a number that is not
/// within the tolerance).
pub struct Plan {
    pub outcome: OutcomeId,
    pub kind: Kind,
}

/// The prediction in units that 8 bytes hold.
pub fn predicted(values: &[u8]) -> PyResult<i64> {
    Ok(i64::from_le_bytes(bytes(values)?))
}

/// The truth in units: of the plan, or of the double that 8 bytes hold; None if it is out of range.
pub fn actual(plan: &Number, values: &[u8]) -> PyResult<Option<i64>> {
    match plan.truth {
        Some(truth) => Ok(Some(truth)),
        None => Ok(quantities::to_units(f64::from_le_bytes(bytes(values)?), plan.unit)),
    }
}

fn bytes(values: &[u8]) -> PyResult<[u8; 8]> {
    values.try_into().map_err(|_| PyValueError::new_err("a number of another length than 8 bytes"))
}
