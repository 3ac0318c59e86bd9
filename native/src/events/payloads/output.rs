//! One output of the Open Inference Protocol, as JSON or as a protobuf message has it.

use std::borrow::Cow;

use crate::events::payloads::content::Content;

/// More outputs are left to Python.
const MAX_OUTPUTS: usize = 32;

/// The members of an output.
#[derive(Default)]
pub struct Output<'a> {
    pub name: Cow<'a, [u8]>,
    pub datatype: Cow<'a, [u8]>,
    /// As they are written in JSON, or without the size of binary data.
    pub parameters: Cow<'a, [u8]>,
    /// None if it is empty or missing: a row for each value.
    pub shape: Option<Vec<usize>>,
    pub data: Data<'a>,
}

/// The data of an output.
pub enum Data<'a> {
    /// As it is written in JSON.
    Json(&'a [u8]),
    Numbers(Vec<f64>),
    /// As 0 and 1.
    Booleans(Vec<f64>),
    Texts(Vec<&'a [u8]>),
}

impl Default for Data<'_> {
    fn default() -> Self {
        Data::Json(b"")
    }
}

impl Data<'_> {
    pub fn len(&self) -> usize {
        match self {
            Data::Json(data) => data.len(),
            Data::Numbers(found) | Data::Booleans(found) => found.len(),
            Data::Texts(found) => found.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Output<'_> {
    pub fn is_text(&self) -> bool {
        *self.datatype == *b"BYTES"
    }
}

/// Append an output. None if there are too many, or if its name comes twice.
pub fn push<'a>(outputs: &mut Vec<Output<'a>>, found: Output<'a>) -> Option<()> {
    if outputs.len() >= MAX_OUTPUTS || outputs.iter().any(|one| one.name == found.name) {
        return None;
    }
    outputs.push(found);
    Some(())
}

/// Append an output to the key: all but its number of rows and its data.
pub fn add_to_key(found: &Output, content: &mut Content) -> Option<()> {
    content.put(b'N', &found.name)?;
    content.put(b'Y', &found.datatype)?;
    content.put(b'Z', &found.parameters)?;
    let sizes = found.shape.as_deref().unwrap_or_default();
    content.key.push(sizes.len() as u8);
    for size in sizes.iter().skip(1) {
        content.key.extend_from_slice(&(*size as u32).to_le_bytes());
    }
    Some(())
}
