//! Templates of messages and of their rows: what Python said of the first of each key and class.

use pyo3::prelude::*;
use pyo3::types::PyDict;
use rustc_hash::FxHashMap;

use crate::digests::{digest, mix};
use crate::events::payloads::content::Content;
use crate::pack;

/// Templates are dropped, all at once, when there are so many, or so many bytes of keys and classes.
const MAX_TEMPLATES: usize = 20_000;
const MAX_KEY_BYTES: usize = 16 << 20;
/// Stands for a truth row without a number where some have one.
const NO_DOUBLE: [u8; 8] = [0xff; 8];

/// Rewards that come time and again: none, right and wrong.
const USUAL: [Option<i64>; 4] = [None, Some(1_000_000), Some(0), Some(-1_000_000)];

/// What all messages with one key share: the model (or scope), the packed source rank, the packed fields
/// between answers and values, and the templates of rows by class.
pub struct Message {
    pub is_feedback: bool,
    pub model: u32,
    pub source: Vec<u8>,
    pub end: Vec<u8>,
    classes: FxHashMap<Box<[u8]>, u32>,
}

/// What all rows of one class share: an answer or a truth; the digest of an answer without its values;
/// the encoded truth, and the digests of feedback with this row alone and a usual reward.
pub struct RowTemplate {
    pub entry: u32,
    base: u64,
    encoded: Vec<u8>,
    usual: [u64; USUAL.len()],
}

/// A row from Python: the entry of a dictionary with its size in bytes, digest, encoded truth, values.
type RowParts<'py> = (Bound<'py, PyAny>, usize, u64, Vec<u8>, Vec<u8>);

/// A message from Python; see `packed_parts`.
pub type Parts<'py> =
    (bool, (Bound<'py, PyAny>, usize), Vec<u8>, Vec<u8>, Vec<RowParts<'py>>, Option<i64>, u64);

/// Entries of dictionaries that are equal to Python, with their size in bytes.
pub struct Entries {
    numbers: Py<PyDict>,
    pub entries: Vec<(Py<PyAny>, usize)>,
}

impl Entries {
    fn new(py: Python<'_>) -> Self {
        Entries { numbers: PyDict::new(py).unbind(), entries: Vec::new() }
    }

    fn number(&mut self, entry: Bound<'_, PyAny>, size: usize) -> PyResult<u32> {
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
    keys: FxHashMap<Box<[u8]>, u32>,
    messages: Vec<Message>,
    pub rows: Vec<RowTemplate>,
    pub models: Entries,
    pub answers: Entries,
    pub truths: Entries,
    key_bytes: usize,
}

impl Templates {
    pub fn new(py: Python<'_>) -> Self {
        let [models, answers, truths] = std::array::from_fn(|_| Entries::new(py));
        Templates {
            keys: FxHashMap::default(),
            messages: Vec::new(),
            rows: Vec::new(),
            models,
            answers,
            truths,
            key_bytes: 0,
        }
    }

    pub fn is_full(&self) -> bool {
        self.messages.len() + self.rows.len() >= MAX_TEMPLATES || self.key_bytes >= MAX_KEY_BYTES
    }

    /// The number of a message's template; the numbers of the templates of its rows replace `rows`. None
    /// if any of these is not known.
    pub fn find(&self, content: &Content, rows: &mut Vec<u32>) -> Option<u32> {
        let number = *self.keys.get(&content.key[..])?;
        let classes = &self.messages[number as usize].classes;
        rows.clear();
        for (class, _) in content.rows.iter() {
            rows.push(*classes.get(class)?);
        }
        Some(number)
    }

    pub fn message(&self, number: u32) -> &Message {
        &self.messages[number as usize]
    }

    /// The digest of a message with these templates.
    pub fn digest(
        &self,
        message: &Message,
        rows: &[u32],
        content: &Content,
        buffer: &mut Vec<u8>,
    ) -> u64 {
        let templates = rows.iter().map(|&number| &self.rows[number as usize]);
        if message.is_feedback {
            feedback_digest(templates, content, buffer)
        } else {
            prediction_digest(templates, content, buffer)
        }
    }

    /// Add the templates of a message and its rows, unless Python reads other values, another reward or
    /// another digest than native code.
    pub fn add(&mut self, content: &Content, parts: Parts) -> PyResult<()> {
        let (is_feedback, model, source, end, rows, reward, expected) = parts;
        let values = rows.iter().map(|(.., values)| &values[..]);
        if !content.rows.iter().map(|(_, values)| values).eq(values) || content.reward != reward {
            return Ok(());
        }
        let entries = if is_feedback { &mut self.truths } else { &mut self.answers };
        let mut templates = Vec::with_capacity(rows.len());
        for (entry, size, base, encoded, _) in rows {
            let entry = entries.number(entry, size)?;
            let usual = if is_feedback { usual_digests(&encoded) } else { [0; USUAL.len()] };
            templates.push(RowTemplate { entry, base, encoded, usual });
        }
        let mut buffer = Vec::new();
        let found = if is_feedback {
            feedback_digest(templates.iter(), content, &mut buffer)
        } else {
            prediction_digest(templates.iter(), content, &mut buffer)
        };
        if found != expected {
            return Ok(());
        }
        let model = self.models.number(model.0, model.1)?;
        let number = *self.keys.entry(content.key[..].into()).or_insert_with(|| {
            self.key_bytes += content.key.len();
            let classes = FxHashMap::default();
            self.messages.push(Message { is_feedback, model, source, end, classes });
            self.messages.len() as u32 - 1
        });
        let classes = &mut self.messages[number as usize].classes;
        for ((class, _), template) in content.rows.iter().zip(templates) {
            if !classes.contains_key(class) {
                self.key_bytes += class.len();
                classes.insert(class.into(), self.rows.len() as u32);
                self.rows.push(template);
            }
        }
        Ok(())
    }
}

/// The digest of the items of a prediction: see `Decoder._answers`.
fn prediction_digest<'a>(
    mut templates: impl ExactSizeIterator<Item = &'a RowTemplate>,
    content: &Content,
    buffer: &mut Vec<u8>,
) -> u64 {
    let mut values = content.rows.iter().map(|(_, values)| values);
    if templates.len() == 1 {
        if let (Some(template), Some(values)) = (templates.next(), values.next()) {
            return mix(template.base, values);
        }
    }
    buffer.clear();
    pack::list(buffer, 1);
    pack::list(buffer, templates.len());
    for (template, values) in templates.zip(values) {
        pack::natural(buffer, mix(template.base, values));
    }
    digest(buffer)
}

fn usual_digests(truth: &[u8]) -> [u64; USUAL.len()] {
    let mut buffer = Vec::new();
    USUAL.map(|reward| {
        buffer.clear();
        pack::list(&mut buffer, 2);
        pack::list(&mut buffer, 1);
        buffer.extend_from_slice(truth);
        pack::optional(&mut buffer, reward);
        digest(&buffer)
    })
}

/// The digest of a truth and a reward: see `Decoder._judged`.
fn feedback_digest<'a>(
    mut templates: impl ExactSizeIterator<Item = &'a RowTemplate>,
    content: &Content,
    buffer: &mut Vec<u8>,
) -> u64 {
    let have_values = content.rows.have_values();
    let usual = USUAL.iter().position(|reward| *reward == content.reward);
    if let (1, false, Some(at)) = (templates.len(), have_values, usual) {
        return templates.next().map_or(0, |template| template.usual[at]);
    }
    buffer.clear();
    pack::list(buffer, 2);
    if templates.len() == 0 {
        pack::nil(buffer);
    } else {
        pack::list(buffer, templates.len());
        templates.for_each(|template| buffer.extend_from_slice(&template.encoded));
    }
    pack::optional(buffer, content.reward);
    let found = digest(buffer);
    if !have_values {
        return found;
    }
    buffer.clear();
    for (_, values) in content.rows.iter() {
        buffer.extend_from_slice(if values.is_empty() { &NO_DOUBLE } else { values });
    }
    mix(found, buffer)
}
