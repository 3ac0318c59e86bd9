//! The labels of a tally's counts, each with a number, since numbers are compared faster than texts.

use pyo3::prelude::*;

use crate::collections::OrderedSet;

/// The number of a label in its `Labels`.
pub type Label = u32;

/// Labels by number. None is ever forgotten: the counts of all time have them all.
#[pyclass]
#[derive(Default)]
pub struct Labels(OrderedSet<String>);

impl Labels {
    pub fn number(&mut self, text: &str) -> Label {
        match self.0.get_index_of(text) {
            Some(number) => number as Label,
            None => self.0.insert_full(text.to_owned()).0 as Label,
        }
    }

    pub fn text(&self, label: Label) -> &str {
        &self.0[label as usize]
    }
}

#[pymethods]
impl Labels {
    #[new]
    fn new() -> Self {
        Self::default()
    }
}
