//! Templates of events, and the rows of one partition with their dictionaries, from which Python's
//! `BatchBuilder` makes a batch.

use std::collections::hash_map::Entry::{Occupied, Vacant};

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use rustc_hash::FxHashMap;

use crate::digests::mix;
use crate::{pack, rows};

/// The row of all events with one template key, but for id, time and values: the model (or scope), the
/// packed fields behind the time, an answer (or a truth, or none), and the packed rest. ``base`` is the
/// digest of the answer alone where rows have values; it is not in the packed fields then.
struct Template {
    is_feedback: bool,
    model: u32,
    middle: Vec<u8>,
    content: Option<u32>,
    end: Vec<u8>,
    base: Option<u64>,
}

/// A template from Python; see `packed_parts`. Entries of dictionaries come with their size in bytes.
pub type Parts<'py> = (
    bool,
    (Bound<'py, PyAny>, usize),
    Vec<u8>,
    Option<(Bound<'py, PyAny>, usize)>,
    Vec<u8>,
    Option<u64>,
);

/// Entries of dictionaries that are equal to Python, with their size in bytes.
struct Entries {
    numbers: Py<PyDict>,
    entries: Vec<(Py<PyAny>, usize)>,
}

impl Entries {
    fn new(py: Python<'_>) -> Self {
        Entries { numbers: PyDict::new(py).unbind(), entries: Vec::new() }
    }

    fn number(&mut self, (entry, size): (Bound<'_, PyAny>, usize)) -> PyResult<u32> {
        let numbers = self.numbers.bind(entry.py());
        if let Some(known) = numbers.get_item(&entry)? {
            return known.extract();
        }
        let number = self.entries.len() as u32;
        numbers.set_item(&entry, number)?;
        self.entries.push((entry.unbind(), size));
        Ok(number)
    }
}

/// Templates by number.
pub struct Templates {
    list: Vec<Template>,
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
        self.list[number as usize].is_feedback
    }

    /// Add a template. Returns its number.
    pub fn add(
        &mut self,
        (is_feedback, model, middle, content, end, base): Parts,
    ) -> PyResult<u32> {
        let entries = if is_feedback { &mut self.truths } else { &mut self.answers };
        let content = content.map(|content| entries.number(content)).transpose()?;
        let model = self.models.number(model)?;
        self.list.push(Template { is_feedback, model, middle, content, end, base });
        Ok(self.list.len() as u32 - 1)
    }
}

/// A dictionary of a batch: the positions of entries by their numbers, and the entries.
#[derive(Default)]
struct Dictionary {
    positions: FxHashMap<u32, u32>,
    used: Vec<Py<PyAny>>,
}

impl Dictionary {
    /// The position of an entry; the size of a new one is added to `bytes`.
    fn position(
        &mut self,
        py: Python<'_>,
        entries: &Entries,
        number: u32,
        bytes: &mut usize,
    ) -> u32 {
        let used = &mut self.used;
        *self.positions.entry(number).or_insert_with(|| {
            let (entry, size) = &entries.entries[number as usize];
            used.push(entry.clone_ref(py));
            *bytes += size;
            used.len() as u32 - 1
        })
    }
}

/// The packed fields of a template's rows under the dictionaries of a batch: the model, the fields up to
/// the digest (with it if rows have no values), and the fields after it.
struct PackedFields {
    model: Vec<u8>,
    middle: Vec<u8>,
    end: Vec<u8>,
}

/// The rows of one partition (how many, and their bytes), their dictionaries, and the size of the
/// dictionaries in bytes. `packed` has the packed fields by template.
#[derive(Default)]
pub struct Partition {
    predictions: (u32, Vec<u8>),
    feedbacks: (u32, Vec<u8>),
    models: Dictionary,
    answers: Dictionary,
    truths: Dictionary,
    dictionary_bytes: usize,
    packed: FxHashMap<u32, PackedFields>,
}

impl Partition {
    /// Add a row of a template; `values` are empty unless it has a base.
    pub fn add(
        &mut self,
        py: Python<'_>,
        templates: &Templates,
        number: u32,
        id: &[u8],
        time: i64,
        values: &[u8],
    ) {
        let template = &templates.list[number as usize];
        let bytes = &mut self.dictionary_bytes;
        let fields = match self.packed.entry(number) {
            Occupied(entry) => entry.into_mut(),
            Vacant(entry) => {
                let model = self.models.position(py, &templates.models, template.model, bytes);
                let (dictionary, entries) = if template.is_feedback {
                    (&mut self.truths, &templates.truths)
                } else {
                    (&mut self.answers, &templates.answers)
                };
                let (mut packed_model, mut end) = (Vec::new(), Vec::new());
                pack::integer(&mut packed_model, i64::from(model));
                match template.content {
                    Some(content) => {
                        let position = dictionary.position(py, entries, content, bytes);
                        pack::integer(&mut end, i64::from(position));
                    }
                    None => pack::nil(&mut end),
                }
                end.extend_from_slice(&template.end);
                entry.insert(PackedFields {
                    model: packed_model,
                    middle: template.middle.clone(),
                    end,
                })
            }
        };
        let (rows, bytes) =
            if template.is_feedback { &mut self.feedbacks } else { &mut self.predictions };
        rows::write(bytes, id, &fields.model, time, &fields.middle);
        if let Some(base) = template.base {
            pack::natural(bytes, mix(base, values));
        }
        bytes.extend_from_slice(&fields.end);
        pack::values(bytes, values);
        *rows += 1;
    }

    /// Whether there are so many rows, or so many bytes in the dictionaries.
    pub fn is_full(&self, max_rows: u32, max_dictionary_bytes: usize) -> bool {
        self.predictions.0 + self.feedbacks.0 >= max_rows
            || self.dictionary_bytes >= max_dictionary_bytes
    }

    /// The rows since the last call, and their dictionaries, which start anew unless they are kept.
    pub fn flush_rows<'py>(
        &mut self,
        py: Python<'py>,
        keep_dictionaries: bool,
    ) -> PyResult<FlushedRows<'py>> {
        let (predictions, prediction_rows) = std::mem::take(&mut self.predictions);
        let (feedbacks, feedback_rows) = std::mem::take(&mut self.feedbacks);
        let list = |dictionary: &Dictionary| PyList::new(py, &dictionary.used);
        let flushed = (
            predictions,
            PyBytes::new(py, &prediction_rows),
            feedbacks,
            PyBytes::new(py, &feedback_rows),
            list(&self.models)?,
            list(&self.answers)?,
            list(&self.truths)?,
        );
        if !keep_dictionaries {
            *self = Partition::default();
        }
        Ok(flushed)
    }

    /// Forget the numbers of templates and entries; the entries stay in the dictionaries.
    pub fn invalidate(&mut self) {
        self.packed.clear();
        for dictionary in [&mut self.models, &mut self.answers, &mut self.truths] {
            dictionary.positions.clear();
        }
    }
}

/// The number of predictions and their rows, the same of feedback, and the dictionaries of models,
/// answers and truths.
pub type FlushedRows<'py> = (
    u32,
    Bound<'py, PyBytes>,
    u32,
    Bound<'py, PyBytes>,
    Bound<'py, PyList>,
    Bound<'py, PyList>,
    Bound<'py, PyList>,
);
