//! Labels that are texts: entries of dictionaries that differ in their label alone. Python says of the
//! first label what all others of its family mean, so that none of them is remembered.

use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};

use crate::events::payloads::content::Rules;
use crate::events::payloads::rows::{CONFIDENT, LABELLED, TEXT};
use crate::pack;

/// The most families of one message.
const MAX_FAMILIES: usize = 8;

/// What entries share that differ in their label alone: an entry whose label is empty, the place of the
/// label in it, its encoded content before and behind the label, and its bytes without it.
pub struct Family {
    prototype: Py<PyTuple>,
    at: usize,
    head: Vec<u8>,
    tail: Vec<u8>,
    size: usize,
}

impl Family {
    /// The family of an entry with this label, which `encoded` contains behind `at` + 1 bytes, and whose
    /// bytes in a dictionary are `size`. None if it is not encoded so.
    pub fn new(
        prototype: Bound<'_, PyTuple>,
        at: usize,
        label: &str,
        encoded: &[u8],
        size: usize,
    ) -> Option<Self> {
        let (head, rest) = encoded.split_at_checked(at + 1)?;
        let mut packed = Vec::new();
        pack::text(&mut packed, label);
        let tail = rest.strip_prefix(&packed[..])?.to_vec();
        let size = size.checked_sub(size_of(label))?;
        Some(Family { prototype: prototype.unbind(), at, head: head.to_vec(), tail, size })
    }

    /// Append the encoded content with a label.
    pub fn encode(&self, to: &mut Vec<u8>, label: &str) {
        to.extend_from_slice(&self.head);
        pack::text(to, label);
        to.extend_from_slice(&self.tail);
    }

    /// The entry with a label, and its bytes in a dictionary.
    pub fn entry(&self, py: Python<'_>, label: &str) -> PyResult<(Py<PyAny>, usize)> {
        let prototype = self.prototype.bind(py);
        let fields = prototype.iter().enumerate().map(|(at, field)| match at == self.at {
            true => Ok(label.into_pyobject(py)?.into_any()),
            false => Ok(field),
        });
        let fields = PyTuple::new(py, fields.collect::<PyResult<Vec<_>>>()?)?;
        let new = py.get_type::<PyTuple>().getattr(pyo3::intern!(py, "__new__"))?;
        let kind: Bound<'_, PyType> = prototype.get_type();
        Ok((new.call1((kind, fields))?.unbind(), self.size + size_of(label)))
    }
}

/// An upper bound of the bytes of a text, as in `observations.py`.
fn size_of(text: &str) -> usize {
    match text.is_ascii() {
        true => text.len(),
        false => 4 * text.chars().count(),
    }
}

/// The families of the rows of a message, by the class of a row without its label.
#[derive(Default)]
pub struct Families(Vec<(Box<[u8]>, u32)>);

impl Families {
    /// Note the family of a class with this label. Returns whether rows of the class need no template.
    pub fn add(&mut self, class: &[u8], label: &str, rules: &Rules, family: u32) -> bool {
        let Some((kind, text)) = free_text(class, rules) else { return false };
        if text != label {
            return false;
        }
        match self.0.iter().find(|(known, _)| **known == *kind) {
            Some((_, known)) => *known == family,
            None if self.0.len() < MAX_FAMILIES => {
                self.0.push((kind.into(), family));
                true
            }
            None => false,
        }
    }

    /// The family of a class.
    pub fn find(&self, class: &[u8], rules: &Rules) -> Option<u32> {
        if self.0.is_empty() {
            return None;
        }
        let (kind, _) = free_text(class, rules)?;
        self.0.iter().find_map(|(known, family)| (**known == *kind).then_some(*family))
    }
}

/// The class of a row without its text, and the text, if its label is a text.
fn text_of(class: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = match class {
        [TEXT, ..] => 1,
        [CONFIDENT, _, TEXT, ..] => 3,
        [LABELLED, _, _, _, _, TEXT, ..] => 6,
        _ => return None,
    };
    Some(class.split_at(length))
}

/// The class without its text, and the text, if this is the label whatever it is: the label of an empty
/// text is another, and so is one that the models file names.
fn free_text<'a>(class: &'a [u8], rules: &Rules) -> Option<(&'a [u8], &'a str)> {
    let (kind, text) = text_of(class)?;
    if text.is_empty() || rules.renamed.contains(text) {
        return None;
    }
    Some((kind, std::str::from_utf8(text).ok()?))
}

/// The label of a class that has a family.
pub fn label_of(class: &[u8]) -> &str {
    let text = text_of(class).map_or(&[][..], |(_, text)| text);
    // `free_text` has checked it.
    std::str::from_utf8(text).unwrap_or_default()
}
