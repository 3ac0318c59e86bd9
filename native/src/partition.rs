//! The rows of one partition and their tables, of which Python's `BatchBuilder` makes a batch.

use std::collections::hash_map::Entry::{Occupied, Vacant};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use rustc_hash::FxHashMap;

use crate::{pack, rows};

/// What an event like it was said to mean, as a row has it: what it is about, what is behind the time
/// (packed), an answer or a truth or none, and the rest (packed).
struct Meaning {
    feedback: bool,
    model: u32,
    middle: Vec<u8>,
    content: Option<u32>,
    end: Vec<u8>,
}

/// The same from Python: `packed_parts` has it.
pub type Parts<'py> =
    (bool, (Bound<'py, PyAny>, usize), Vec<u8>, Option<(Bound<'py, PyAny>, usize)>, Vec<u8>);

/// Numbers of what is equal to Python, and what each of them weighs.
struct Entries {
    numbers: Py<PyDict>,
    entries: Vec<(Py<PyAny>, usize)>,
}

impl Entries {
    fn new(py: Python<'_>) -> Self {
        Entries { numbers: PyDict::new(py).unbind(), entries: Vec::new() }
    }

    fn number(&mut self, (entry, weight): (Bound<'_, PyAny>, usize)) -> PyResult<u32> {
        let numbers = self.numbers.bind(entry.py());
        if let Some(known) = numbers.get_item(&entry)? {
            return known.extract();
        }
        let number = self.entries.len() as u32;
        numbers.set_item(&entry, number)?;
        self.entries.push((entry.unbind(), weight));
        Ok(number)
    }
}

/// What usual events mean, by number.
pub struct Templates {
    list: Vec<Meaning>,
    models: Entries,
    answers: Entries,
    truths: Entries,
}

impl Templates {
    pub fn new(py: Python<'_>) -> Self {
        let [models, answers, truths] = std::array::from_fn(|_| Entries::new(py));
        Templates { list: Vec::new(), models, answers, truths }
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    pub fn is_feedback(&self, number: u32) -> bool {
        self.list[number as usize].feedback
    }

    /// The number of another one.
    pub fn add_template(
        &mut self,
        (feedback, model, middle, content, end): Parts,
    ) -> PyResult<u32> {
        let entries = if feedback { &mut self.truths } else { &mut self.answers };
        let content = content.map(|content| entries.number(content)).transpose()?;
        let model = self.models.number(model)?;
        self.list.push(Meaning { feedback, model, middle, content, end });
        Ok(self.list.len() as u32 - 1)
    }
}

/// A table of a batch: the positions of entries by their numbers, and the entries.
#[derive(Default)]
struct Table {
    positions: FxHashMap<u32, u32>,
    used: Vec<Py<PyAny>>,
}

impl Table {
    /// The position of an entry; what it weighs is added to `bytes` where it is new.
    fn position(
        &mut self,
        py: Python<'_>,
        entries: &Entries,
        number: u32,
        bytes: &mut usize,
    ) -> u32 {
        let used = &mut self.used;
        *self.positions.entry(number).or_insert_with(|| {
            let (entry, weight) = &entries.entries[number as usize];
            used.push(entry.clone_ref(py));
            *bytes += weight;
            used.len() as u32 - 1
        })
    }
}

/// The rows of one partition, the tables that they point into with the bytes of what is in these, and
/// by meaning what is before an id in rows and after the time.
#[derive(Default)]
pub struct Partition {
    predictions: (u32, Vec<u8>),
    feedbacks: (u32, Vec<u8>),
    models: Table,
    answers: Table,
    truths: Table,
    bytes: usize,
    placed: FxHashMap<u32, (Vec<u8>, Vec<u8>)>,
}

impl Partition {
    /// Add a row.
    pub fn put(&mut self, py: Python<'_>, meanings: &Templates, number: u32, id: &[u8], time: i64) {
        let meaning = &meanings.list[number as usize];
        let bytes = &mut self.bytes;
        let (before, after) = match self.placed.entry(number) {
            Occupied(entry) => entry.into_mut(),
            Vacant(entry) => {
                let model = self.models.position(py, &meanings.models, meaning.model, bytes);
                let (table, entries) = if meaning.feedback {
                    (&mut self.truths, &meanings.truths)
                } else {
                    (&mut self.answers, &meanings.answers)
                };
                let (mut before, mut after) = (Vec::new(), meaning.middle.clone());
                pack::integer(&mut before, i64::from(model));
                match meaning.content {
                    Some(content) => {
                        let place = table.position(py, entries, content, bytes);
                        pack::integer(&mut after, i64::from(place));
                    }
                    None => pack::nil(&mut after),
                }
                after.extend_from_slice(&meaning.end);
                entry.insert((before, after))
            }
        };
        let (rows, bytes) =
            if meaning.feedback { &mut self.feedbacks } else { &mut self.predictions };
        rows::write(bytes, id, before, time, after);
        *rows += 1;
    }

    /// Whether there are so many rows, or bytes in its tables.
    pub fn is_full(&self, most: u32, most_bytes: usize) -> bool {
        self.predictions.0 + self.feedbacks.0 >= most || self.bytes >= most_bytes
    }

    /// The rows that were put since the last time; the tables begin anew unless they are kept.
    pub fn flush_rows<'py>(
        &mut self,
        py: Python<'py>,
        keep_dictionaries: bool,
    ) -> PyResult<Pulled<'py>> {
        let (predictions, made) = std::mem::take(&mut self.predictions);
        let (feedbacks, said) = std::mem::take(&mut self.feedbacks);
        let list = |table: &Table| PyList::new(py, &table.used);
        let pulled = (
            predictions,
            PyBytes::new(py, &made),
            feedbacks,
            PyBytes::new(py, &said),
            list(&self.models)?,
            list(&self.answers)?,
            list(&self.truths)?,
        );
        if !keep_dictionaries {
            *self = Partition::default();
        }
        Ok(pulled)
    }

    /// Forget the numbers of entries, which stay in the tables.
    pub fn invalidate(&mut self) {
        self.placed.clear();
        for table in [&mut self.models, &mut self.answers, &mut self.truths] {
            table.positions.clear();
        }
    }
}

/// Rows of predictions and of feedbacks: how many, and their bytes; and the tables of models, answers
/// and truths.
pub type Pulled<'py> = (
    u32,
    Bound<'py, PyBytes>,
    u32,
    Bound<'py, PyBytes>,
    Bound<'py, PyList>,
    Bound<'py, PyList>,
    Bound<'py, PyList>,
);
