//! Decodes events of the common case to rows of observations, by templates: Python decodes the first
//! event with a template key, and all others differ from it in id and time alone.

use std::borrow::Cow;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use rustc_hash::FxHashMap;

use crate::events::document::{self, Times};
use crate::events::event::{line, record, Content, Event, Kind};
use crate::events::partition::{FlushedRows, Partition, Parts, Templates};
use crate::events::record_batch::{Record, RecordBatch};
use crate::times::SECOND;

/// Templates are dropped, all at once, when there are so many, or so many bytes of keys.
const MAX_TEMPLATES: usize = 20_000;
const MAX_KEY_BYTES: usize = 16 << 20;
/// Events whose time is this far ahead of their record's are counted (counting rule 13).
const MAX_AHEAD: i64 = 300 * SECOND;
const MILLISECOND: i64 = 1_000_000;

/// How many requests, responses and feedbacks were decoded, and how many of these are ahead of their
/// records.
type Counts = (u64, u64, u64, u64);

#[derive(Default)]
struct Decoded {
    requests: u64,
    responses: u64,
    feedbacks: u64,
    future: u64,
}

impl Decoded {
    fn counts(&self) -> Counts {
        (self.requests, self.responses, self.feedbacks, self.future)
    }

    /// Count an event if it is ahead of its record's timestamp (ms).
    fn check_time(&mut self, event: &Event, timestamp: i64) {
        if event.kind != Kind::Request
            && timestamp >= 0
            && event.time > timestamp.saturating_mul(MILLISECOND).saturating_add(MAX_AHEAD)
        {
            self.future += 1;
        }
    }
}

fn malformed_batch() -> PyErr {
    PyValueError::new_err("malformed record batch")
}

/// Decodes the events whose template key is known. `on_full` gets the rows of a partition that has
/// `max_rows` rows, or `max_dictionary_bytes` in its dictionaries. Rows later than `as_of` (ns) are
/// counted and left out.
#[pyclass]
pub struct Reader {
    on_full: Py<PyAny>,
    max_rows: u32,
    max_dictionary_bytes: usize,
    as_of: i64,
    partitions: Vec<Partition>,
    templates: Templates,
    template_numbers: FxHashMap<Box<[u8]>, u32>,
    key_bytes: usize,
}

impl Reader {
    /// Add the row of an event whose template is known. Returns false if it is not.
    fn add_event(
        &mut self,
        py: Python<'_>,
        event: &Event,
        content: &Content,
        decoded: &mut Decoded,
    ) -> PyResult<bool> {
        if event.kind == Kind::Request {
            decoded.requests += 1;
            return Ok(true);
        }
        let Some(&template) = self.template_numbers.get(&content.key[..]) else {
            return Ok(false);
        };
        self.add_row(py, event.id, event.time, template, &content.values, decoded);
        self.flush_if_full(py, event.id)?;
        Ok(true)
    }

    fn partition(&self, id: &[u8]) -> usize {
        match self.partitions.len() {
            1 => 0,
            count => crc32fast::hash(id) as usize % count,
        }
    }

    fn add_row(
        &mut self,
        py: Python<'_>,
        id: &[u8],
        time: i64,
        template: u32,
        values: &[u8],
        decoded: &mut Decoded,
    ) {
        if self.templates.is_feedback(template) {
            decoded.feedbacks += 1;
        } else {
            decoded.responses += 1;
        }
        if time <= self.as_of {
            let partition = self.partition(id);
            self.partitions[partition].add(py, &self.templates, template, id, time, values);
        }
    }

    /// Hand over the rows of an id's partition if it is full.
    fn flush_if_full(&mut self, py: Python<'_>, id: &[u8]) -> PyResult<()> {
        let number = self.partition(id);
        let partition = &mut self.partitions[number];
        if partition.is_full(self.max_rows, self.max_dictionary_bytes) {
            let flushed = partition.flush_rows(py, false)?;
            self.on_full.bind(py).call1((number, flushed))?;
        }
        Ok(())
    }

    /// Add the template of an event, unless it has no key or is a request.
    fn add_event_template(
        &mut self,
        event: Option<Event>,
        content: Content,
        parts: Parts,
    ) -> PyResult<()> {
        match event {
            Some(event) if event.kind != Kind::Request => self.add_template(content, parts),
            _ => Ok(()),
        }
    }

    fn add_template(&mut self, content: Content, parts: Parts) -> PyResult<()> {
        // Values that only Python reads differ between events with equal keys.
        if parts.5.is_some() == content.values.is_empty() {
            return Ok(());
        }
        let key: Box<[u8]> = content.key.into();
        if self.templates.len() >= MAX_TEMPLATES || self.key_bytes >= MAX_KEY_BYTES {
            self.invalidate(parts.1 .0.py());
        }
        let number = self.templates.add(parts)?;
        self.key_bytes += key.len();
        self.template_numbers.insert(key, number);
        Ok(())
    }
}

/// A record for Python to decode: offset, timestamp (ms), key, value and headers.
type RemainingRecord<'py> = (
    i64,
    i64,
    Option<Bound<'py, PyBytes>>,
    Option<Bound<'py, PyBytes>>,
    Vec<(Cow<'py, str>, Option<Bound<'py, PyBytes>>)>,
);

impl Record<'_> {
    fn to_python<'py>(&self, py: Python<'py>) -> RemainingRecord<'py> {
        let bytes = |content: Option<&[u8]>| content.map(|content| PyBytes::new(py, content));
        // Kafka accepts any bytes as a header's name.
        let name = |name: &[u8]| Cow::Owned(String::from_utf8_lossy(name).into_owned());
        let headers = self.headers.iter().map(|(key, value)| (name(key), bytes(*value))).collect();
        (self.offset, self.timestamp, bytes(self.key), bytes(self.value), headers)
    }
}

#[pymethods]
impl Reader {
    #[new]
    #[pyo3(signature = (partitions, max_rows, max_dictionary_bytes, on_full, as_of=None))]
    fn new(
        py: Python<'_>,
        partitions: usize,
        max_rows: u32,
        max_dictionary_bytes: usize,
        on_full: Py<PyAny>,
        as_of: Option<i64>,
    ) -> Self {
        let mut rows = Vec::new();
        rows.resize_with(partitions, Partition::default);
        Reader {
            on_full,
            max_rows,
            max_dictionary_bytes,
            as_of: as_of.unwrap_or(i64::MAX),
            partitions: rows,
            templates: Templates::new(py),
            template_numbers: FxHashMap::default(),
            key_bytes: 0,
        }
    }

    /// Decode the records of a Kafka record batch (version 2, not compressed) from an offset on. Returns
    /// the remaining records, the timestamp (ms) of the last record or, if there is none, of the batch,
    /// and the counts. `ValueError` if the batch is malformed.
    fn decode_batch<'py>(
        &mut self,
        py: Python<'py>,
        batch: &[u8],
        start: i64,
    ) -> PyResult<(Vec<RemainingRecord<'py>>, i64, Counts)> {
        let (mut remaining, mut decoded) = (Vec::new(), Decoded::default());
        let mut content = Content::default();
        let mut records = RecordBatch::new(batch).ok_or_else(malformed_batch)?;
        let mut last = records.latest;
        while let Some(record) = records.next() {
            let record = record.ok_or_else(malformed_batch)?;
            if record.offset < start {
                continue;
            }
            last = record.timestamp;
            let event = self::record(record.headers.iter().copied(), record.value, &mut content);
            let is_decoded = match &event {
                Some(event) => self.add_event(py, event, &content, &mut decoded)?,
                None => false,
            };
            match event {
                Some(event) if is_decoded => decoded.check_time(&event, record.timestamp),
                _ => remaining.push(record.to_python(py)),
            }
        }
        Ok((remaining, last, decoded.counts()))
    }

    /// Decode the lines of a block. Returns number, start and end of each remaining line, the number of
    /// lines, and the counts.
    #[allow(clippy::type_complexity)]
    fn decode_lines(
        &mut self,
        py: Python<'_>,
        block: &[u8],
    ) -> PyResult<(Vec<(usize, usize, usize)>, usize, Counts)> {
        let (mut remaining, mut decoded) = (Vec::new(), Decoded::default());
        let mut content = Content::default();
        let (mut start, mut number) = (0, 0);
        while start < block.len() {
            let end = line_end(block, start);
            let text = &block[start..end];
            let event = line(text, &mut content);
            let is_decoded = match &event {
                Some(event) => self.add_event(py, event, &content, &mut decoded)?,
                None => false,
            };
            if !is_decoded {
                remaining.push((number, start, end));
            }
            number += 1;
            start = end + 1;
        }
        Ok((remaining, number, decoded.counts()))
    }

    /// Decode documents (id and text) whose prediction and feedback are earlier than `before` (ns), and
    /// the later of them not earlier than `since`. Returns the positions of the remaining documents, and
    /// the counts. The rows of a prediction and its feedback go to the same record.
    fn decode_documents(
        &mut self,
        py: Python<'_>,
        documents: Vec<(Bound<'_, PyString>, Bound<'_, PyBytes>)>,
        before: i64,
        since: i64,
    ) -> PyResult<(Vec<usize>, Counts)> {
        let (mut remaining, mut decoded) = (Vec::new(), Decoded::default());
        let (mut answer, mut feedback_key) = (Content::default(), Vec::new());
        for (position, (id, text)) in documents.iter().enumerate() {
            let Ok(id) = id.to_str() else {
                remaining.push(position);
                continue;
            };
            let id = id.as_bytes();
            let times = document::read(id, text.as_bytes(), &mut answer, &mut feedback_key);
            let found = times.and_then(|Times { predicted_at, feedback_at }| {
                let latest = feedback_at.unwrap_or(predicted_at).max(predicted_at);
                if latest >= before || latest < since {
                    return None;
                }
                let prediction = *self.template_numbers.get(&answer.key[..])?;
                let feedback = match feedback_at {
                    None => None,
                    Some(time) => Some((time, *self.template_numbers.get(&feedback_key[..])?)),
                };
                Some((predicted_at, prediction, feedback))
            });
            let Some((predicted_at, prediction, feedback)) = found else {
                remaining.push(position);
                continue;
            };
            self.add_row(py, id, predicted_at, prediction, &answer.values, &mut decoded);
            if let Some((feedback_at, feedback)) = feedback {
                self.add_row(py, id, feedback_at, feedback, &[], &mut decoded);
            }
            self.flush_if_full(py, id)?;
        }
        Ok((remaining, decoded.counts()))
    }

    /// Add the templates of a document's prediction and feedback, if it is of the common case.
    fn add_document_template(
        &mut self,
        id: &str,
        text: &[u8],
        prediction: Parts,
        feedback: Option<Parts>,
    ) -> PyResult<()> {
        let (mut answer, mut feedback_key) = (Content::default(), Vec::new());
        let Some(times) = document::read(id.as_bytes(), text, &mut answer, &mut feedback_key)
        else {
            return Ok(());
        };
        self.add_template(answer, prediction)?;
        match (feedback, times.feedback_at) {
            (Some(feedback), Some(_)) => {
                self.add_template(Content { key: feedback_key, values: Vec::new() }, feedback)
            }
            _ => Ok(()),
        }
    }

    /// Add the template of a record, if it is of the common case.
    fn add_record_template(
        &mut self,
        headers: Vec<(String, Option<Vec<u8>>)>,
        value: Option<&[u8]>,
        parts: Parts,
    ) -> PyResult<()> {
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref()));
        let mut content = Content::default();
        let event = record(headers, value, &mut content);
        self.add_event_template(event, content, parts)
    }

    /// Add the template of a line, if it is of the common case.
    fn add_line_template(&mut self, text: &[u8], parts: Parts) -> PyResult<()> {
        let mut content = Content::default();
        let event = line(text, &mut content);
        self.add_event_template(event, content, parts)
    }

    /// The rows of a partition since the last call, and its dictionaries, which start anew unless they
    /// are kept.
    fn flush_rows<'py>(
        &mut self,
        py: Python<'py>,
        partition: usize,
        keep_dictionaries: bool,
    ) -> PyResult<FlushedRows<'py>> {
        self.partitions[partition].flush_rows(py, keep_dictionaries)
    }

    /// Drop all templates: the rules have changed.
    fn invalidate(&mut self, py: Python<'_>) {
        self.template_numbers.clear();
        self.key_bytes = 0;
        self.templates = Templates::new(py);
        self.partitions.iter_mut().for_each(Partition::invalidate);
    }
}

/// The end of the line that begins at `start`.
fn line_end(block: &[u8], start: usize) -> usize {
    block[start..].iter().position(|&byte| byte == b'\n').map_or(block.len(), |at| start + at)
}
