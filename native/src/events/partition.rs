//! The rows of one partition with their dictionaries, from which Python's `BatchBuilder` makes a batch.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use rustc_hash::FxHashMap;

use crate::events::labels::label_of;
use crate::events::payloads::content::Content;
use crate::events::templates::{Entries, Entry, Message, Row, Templates};
use crate::{pack, rows};

/// A dictionary of a batch: the positions of entries by their numbers, or by their families and labels,
/// and the entries.
#[derive(Default)]
struct Dictionary {
    positions: FxHashMap<u32, u32>,
    labels: FxHashMap<Box<[u8]>, u32>,
    used: Vec<Py<PyAny>>,
    /// The family and the label that are looked for.
    key: Vec<u8>,
}

impl Dictionary {
    /// The position of an entry; the size of a new one is added to `bytes`.
    fn position(
        &mut self,
        py: Python<'_>,
        entries: &Entries,
        number: u32,
        bytes: &mut usize,
    ) -> i64 {
        let used = &mut self.used;
        let position = *self.positions.entry(number).or_insert_with(|| {
            let (entry, size) = &entries.entries[number as usize];
            used.push(entry.clone_ref(py));
            *bytes += size;
            used.len() as u32 - 1
        });
        i64::from(position)
    }

    /// The position of the entry of a family with a label, as `position` does.
    fn position_of_label(
        &mut self,
        py: Python<'_>,
        templates: &Templates,
        (family, label): (u32, &str),
        bytes: &mut usize,
    ) -> PyResult<i64> {
        self.key.clear();
        self.key.extend_from_slice(&family.to_le_bytes());
        self.key.extend_from_slice(label.as_bytes());
        if let Some(&position) = self.labels.get(&self.key[..]) {
            return Ok(position.into());
        }
        let (entry, size) = templates.family(family).entry(py, label)?;
        let position = self.used.len() as u32;
        self.used.push(entry);
        self.labels.insert(self.key[..].into(), position);
        *bytes += size;
        Ok(position.into())
    }
}

/// The rows of one partition (how many, and their bytes), their dictionaries, and the size of the
/// dictionaries in bytes. `items` is the number of answers and truths in the rows.
#[derive(Default)]
pub struct Partition {
    predictions: (u32, Vec<u8>),
    feedbacks: (u32, Vec<u8>),
    items: u32,
    models: Dictionary,
    answers: Dictionary,
    truths: Dictionary,
    dictionary_bytes: usize,
    buffer: Vec<u8>,
}

/// The request and the time (ns) of a row.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub id: &'a [u8],
    pub time: i64,
}

impl Partition {
    /// Add the row of a message with these templates of its rows.
    pub fn add(
        &mut self,
        py: Python<'_>,
        templates: &Templates,
        message: &Message,
        rows: &[Row],
        content: &Content,
        head: Head,
    ) -> PyResult<()> {
        let digest = templates.digest(message, rows, content, &mut self.buffer);
        let sizes = &mut self.dictionary_bytes;
        let (to, dictionary, entries) = if message.is_feedback {
            (&mut self.feedbacks, &mut self.truths, &templates.truths)
        } else {
            (&mut self.predictions, &mut self.answers, &templates.answers)
        };
        let model = self.models.position(py, &templates.models, message.model, sizes);
        self.buffer.clear();
        pack::integer(&mut self.buffer, model);
        let bytes = &mut to.1;
        rows::write(bytes, head.id, &self.buffer, head.time, &message.source);
        pack::natural(bytes, digest);
        match rows.len() {
            0 => pack::nil(bytes),
            1 => {}
            length => pack::list(bytes, length),
        }
        for (row, (class, _)) in rows.iter().zip(content.rows.iter()) {
            let position = match templates.entry(*row, || label_of(class)) {
                Entry::Number(number) => dictionary.position(py, entries, number, sizes),
                Entry::Label(family, label) => {
                    dictionary.position_of_label(py, templates, (family, label), sizes)?
                }
            };
            pack::integer(bytes, position);
        }
        if message.is_feedback {
            pack::optional(bytes, content.reward);
        } else {
            bytes.extend_from_slice(&message.end);
        }
        if rows.len() > 1 && content.rows.have_values() {
            pack::list(bytes, rows.len());
            content.rows.iter().for_each(|(_, values)| pack::binary(bytes, values));
        } else {
            let first = content.rows.iter().next();
            pack::values(bytes, first.map_or(&[], |(_, values)| values));
        }
        to.0 += 1;
        self.items += rows.len().max(1) as u32;
        Ok(())
    }

    /// The numbers of predictions and feedbacks.
    pub fn counts(&self) -> (u32, u32) {
        (self.predictions.0, self.feedbacks.0)
    }

    /// Whether there are so many items, or so many bytes in the dictionaries.
    pub fn is_full(&self, max_rows: u32, max_dictionary_bytes: usize) -> bool {
        self.items >= max_rows || self.dictionary_bytes >= max_dictionary_bytes
    }

    /// The rows since the last call, and their dictionaries, which start anew unless they are kept.
    pub fn flush_rows<'py>(
        &mut self,
        py: Python<'py>,
        keep_dictionaries: bool,
    ) -> PyResult<FlushedRows<'py>> {
        let (predictions, prediction_rows) = std::mem::take(&mut self.predictions);
        let (feedbacks, feedback_rows) = std::mem::take(&mut self.feedbacks);
        self.items = 0;
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

    /// Forget the numbers of entries; the entries stay in the dictionaries.
    pub fn invalidate(&mut self) {
        for dictionary in [&mut self.models, &mut self.answers, &mut self.truths] {
            dictionary.positions.clear();
            dictionary.labels.clear();
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
