//! Templates of messages and of their rows: what Python said of the first of each key and class.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use rustc_hash::FxHashMap;

use crate::digests::{digest, mix};
use crate::events::labels::{label_of, Families, Family};
use crate::events::payloads::content::Content;
use crate::kept::{Kept, TEMPLATES};
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
    families: Families,
}

/// How a row is decoded: by a template, or as a label of a family.
#[derive(Clone, Copy)]
pub enum Row {
    Template(u32),
    Label(u32),
}

/// An entry of a dictionary: by its number, or by its family and label.
pub enum Entry<'a> {
    Number(u32),
    Label(u32, &'a str),
}

/// What all rows of one class share: an answer or a truth, by its number, or by its family if it has a
/// label; the digest of an answer without its values; the encoded truth, and the digests of feedback with
/// this row alone and a usual reward.
pub struct RowTemplate {
    entry: u32,
    label: Option<Box<str>>,
    base: u64,
    encoded: Vec<u8>,
    usual: [u64; USUAL.len()],
}

/// A row from Python: the entry of a dictionary with its size in bytes, digest, encoded content, values,
/// and the label, if it is a text that the entry leaves out.
type RowParts<'py> = (Bound<'py, PyTuple>, usize, u64, Vec<u8>, Vec<u8>, Option<String>);

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
    rows: Vec<RowTemplate>,
    families: Vec<Family>,
    /// The numbers of families by their entries without a label.
    family_numbers: Py<PyDict>,
    pub models: Entries,
    pub answers: Entries,
    pub truths: Entries,
    key_bytes: usize,
    kept: Kept<TEMPLATES>,
}

impl Templates {
    pub fn new(py: Python<'_>) -> Self {
        let [models, answers, truths] = std::array::from_fn(|_| Entries::new(py));
        Templates {
            keys: FxHashMap::default(),
            messages: Vec::new(),
            rows: Vec::new(),
            families: Vec::new(),
            family_numbers: PyDict::new(py).unbind(),
            models,
            answers,
            truths,
            key_bytes: 0,
            kept: Kept::default(),
        }
    }

    pub fn is_full(&self) -> bool {
        self.messages.len() + self.rows.len() >= MAX_TEMPLATES || self.key_bytes >= MAX_KEY_BYTES
    }

    /// The number of a message's template; how its rows are decoded replaces `rows`. None if any of this
    /// is not known.
    pub fn find(&self, content: &Content, rows: &mut Vec<Row>) -> Option<u32> {
        let number = *self.keys.get(&content.key[..])?;
        let Message { classes, families, .. } = &self.messages[number as usize];
        rows.clear();
        for (class, _) in content.rows.iter() {
            rows.push(match families.find(class, &content.rules) {
                Some(family) => Row::Label(family),
                None => Row::Template(*classes.get(class)?),
            });
        }
        Some(number)
    }

    pub fn message(&self, number: u32) -> &Message {
        &self.messages[number as usize]
    }

    pub fn family(&self, number: u32) -> &Family {
        &self.families[number as usize]
    }

    /// The entry of a row, whose label is `label` if it has a family.
    pub fn entry<'a>(&'a self, row: Row, label: impl FnOnce() -> &'a str) -> Entry<'a> {
        let number = match row {
            Row::Label(family) => return Entry::Label(family, label()),
            Row::Template(number) => number,
        };
        let RowTemplate { entry, label, .. } = &self.rows[number as usize];
        match label {
            Some(label) => Entry::Label(*entry, label),
            None => Entry::Number(*entry),
        }
    }

    /// The digest of a message with rows that are decoded so.
    pub fn digest(
        &self,
        message: &Message,
        rows: &[Row],
        content: &Content,
        buffer: &mut Vec<u8>,
    ) -> u64 {
        let rows = rows.iter().zip(content.rows.iter()).map(|(row, (class, _))| match row {
            Row::Template(number) => Shape::Template(&self.rows[*number as usize]),
            Row::Label(family) => Shape::Label(self.family(*family), label_of(class)),
        });
        if message.is_feedback {
            feedback_digest(rows, content, buffer)
        } else {
            prediction_digest(rows, content, buffer)
        }
    }

    /// The number of the family of an entry without its label, which is added if it is new. None if the
    /// entry is not encoded as a family.
    fn family_number(
        &mut self,
        entry: &Bound<'_, PyTuple>,
        is_feedback: bool,
        label: &str,
        encoded: &[u8],
        size: usize,
    ) -> PyResult<Option<u32>> {
        let numbers = self.family_numbers.bind(entry.py());
        if let Some(known) = numbers.get_item(entry)? {
            return Ok(Some(known.extract()?));
        }
        let at = usize::from(is_feedback);
        let Some(family) = Family::new(entry.clone(), at, label, encoded, size) else {
            return Ok(None);
        };
        let number = self.families.len() as u32;
        numbers.set_item(entry, number)?;
        self.families.push(family);
        Ok(Some(number))
    }

    /// Add the templates of a message and its rows, unless Python reads other values, another reward or
    /// another digest than native code.
    pub fn add(&mut self, content: &Content, parts: Parts) -> PyResult<()> {
        let (is_feedback, model, source, end, rows, reward, expected) = parts;
        let values = rows.iter().map(|(_, _, _, _, values, _)| &values[..]);
        if !content.rows.iter().map(|(_, values)| values).eq(values) || content.reward != reward {
            return Ok(());
        }
        let mut templates = Vec::with_capacity(rows.len());
        for (entry, size, base, encoded, _, label) in rows {
            let entry = match &label {
                None if is_feedback => self.truths.number(entry.into_any(), size)?,
                None => self.answers.number(entry.into_any(), size)?,
                Some(label) => {
                    let found = self.family_number(&entry, is_feedback, label, &encoded, size)?;
                    let Some(family) = found else { return Ok(()) };
                    family
                }
            };
            let usual = if is_feedback { usual_digests(&encoded) } else { [0; USUAL.len()] };
            let label = label.map(String::into_boxed_str);
            templates.push(RowTemplate { entry, label, base, encoded, usual });
        }
        let mut buffer = Vec::new();
        let shapes = templates.iter().map(Shape::Template);
        let found = if is_feedback {
            feedback_digest(shapes, content, &mut buffer)
        } else {
            prediction_digest(shapes, content, &mut buffer)
        };
        if found != expected {
            return Ok(());
        }
        let model = self.models.number(model.0, model.1)?;
        let number = *self.keys.entry(content.key[..].into()).or_insert_with(|| {
            self.key_bytes += content.key.len();
            let (classes, families) = (FxHashMap::default(), Families::default());
            self.messages.push(Message { is_feedback, model, source, end, classes, families });
            self.messages.len() as u32 - 1
        });
        let Message { classes, families, .. } = &mut self.messages[number as usize];
        for ((class, _), template) in content.rows.iter().zip(templates) {
            if let Some(label) = &template.label {
                let family = &self.families[template.entry as usize];
                let is_right =
                    is_feedback || label_base(family, label, &mut buffer) == template.base;
                if is_right && families.add(class, label, &content.rules, template.entry) {
                    continue;
                }
            }
            if !classes.contains_key(class) {
                self.key_bytes += class.len();
                classes.insert(class.into(), self.rows.len() as u32);
                self.rows.push(template);
            }
        }
        self.kept.set(self.messages.len() + self.rows.len());
        Ok(())
    }
}

/// What the digest needs of a row.
enum Shape<'a> {
    Template(&'a RowTemplate),
    Label(&'a Family, &'a str),
}

impl Shape<'_> {
    /// The digest of an answer without its values.
    fn base(&self, buffer: &mut Vec<u8>) -> u64 {
        match self {
            Shape::Template(template) => template.base,
            Shape::Label(family, label) => label_base(family, label, buffer),
        }
    }

    /// Append the encoded truth.
    fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Shape::Template(template) => to.extend_from_slice(&template.encoded),
            Shape::Label(family, label) => family.encode(to, label),
        }
    }
}

/// The digest of an answer with this label, without its values.
fn label_base(family: &Family, label: &str, buffer: &mut Vec<u8>) -> u64 {
    buffer.clear();
    family.encode(buffer, label);
    digest(buffer)
}

/// The digest of the items of a prediction: see `Decoder._answers`.
fn prediction_digest<'a>(
    mut rows: impl ExactSizeIterator<Item = Shape<'a>>,
    content: &Content,
    buffer: &mut Vec<u8>,
) -> u64 {
    let mut values = content.rows.iter().map(|(_, values)| values);
    if rows.len() == 1 {
        if let (Some(row), Some(values)) = (rows.next(), values.next()) {
            return mix(row.base(buffer), values);
        }
    }
    let mut list = Vec::new();
    pack::list(&mut list, 1);
    pack::list(&mut list, rows.len());
    for (row, values) in rows.zip(values) {
        pack::natural(&mut list, mix(row.base(buffer), values));
    }
    digest(&list)
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
    rows: impl ExactSizeIterator<Item = Shape<'a>> + Clone,
    content: &Content,
    buffer: &mut Vec<u8>,
) -> u64 {
    let have_values = content.rows.have_values();
    let usual = USUAL.iter().position(|reward| *reward == content.reward);
    if let (1, false, Some(at), Some(Shape::Template(template))) =
        (rows.len(), have_values, usual, rows.clone().next())
    {
        return template.usual[at];
    }
    buffer.clear();
    pack::list(buffer, 2);
    if rows.len() == 0 {
        pack::nil(buffer);
    } else {
        pack::list(buffer, rows.len());
        rows.for_each(|row| row.encode(buffer));
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
