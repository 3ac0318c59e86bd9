//! Decodes events to rows of observations by templates: Python decodes the first message with a key, and
//! the first row with a class; all others differ from these in id, time and values alone.

use std::borrow::Cow;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::events::counts::{Counts, Decoded};
use crate::events::document::{self, Times};
use crate::events::event::{line, record, Event, Found, Kind, Reason, NO_TIME};
use crate::events::partition::{FlushedRows, Head, Partition};
use crate::events::payloads::content::{Content, RuleParts, Rules};
use crate::events::record_batch::{Record, RecordBatch};
use crate::events::structured;
use crate::events::templates::{Parts, Row, Templates};

/// Streams are dropped, with all templates, when there are so many.
const MAX_STREAMS: usize = 10_000;
const MILLISECOND: i64 = 1_000_000;

fn malformed_batch() -> PyErr {
    PyValueError::new_err("malformed record batch")
}

/// Decodes the events whose templates are known. `on_full` gets the rows of a partition that has
/// `max_rows` items, or `max_dictionary_bytes` in its dictionaries. Rows later than `as_of` (ns) are
/// counted and left out.
#[pyclass]
pub struct Reader {
    on_full: Py<PyAny>,
    max_rows: u32,
    max_dictionary_bytes: usize,
    as_of: i64,
    partitions: Vec<Partition>,
    templates: Templates,
    /// The message of an event, or of the response of a document.
    content: Content,
    /// The feedback of a document.
    feedback: Content,
    /// The templates of the rows of `content`, and of `feedback`.
    rows: Vec<Row>,
    feedback_rows: Vec<Row>,
}

impl Reader {
    /// Where the next event's message is read to.
    pub fn content(&mut self) -> &mut Content {
        &mut self.content
    }

    /// The numbers of predictions and feedbacks in the first partition.
    pub fn counts(&self) -> (u32, u32) {
        self.partitions[0].counts()
    }

    /// Add an event that was read, if its templates are known; its record's `timestamp` (ns) is negative
    /// if it has none. Returns whether it was added.
    pub fn add_event(
        &mut self,
        py: Python<'_>,
        event: Result<Event, Reason>,
        timestamp: i64,
        decoded: &mut Decoded,
    ) -> PyResult<bool> {
        let reason = match event {
            Ok(event) => {
                if self.add_known(py, &event, decoded)? {
                    decoded.check_time(&event, timestamp);
                    return Ok(true);
                }
                Reason::Template
            }
            Err(reason) => reason,
        };
        decoded.leave(reason);
        Ok(false)
    }

    /// Add the row of an event whose template is known. Returns false if it is not.
    fn add_known(
        &mut self,
        py: Python<'_>,
        event: &Event,
        decoded: &mut Decoded,
    ) -> PyResult<bool> {
        let is_excluded = event.kind == Kind::Response && self.content.rules.is_excluded;
        if is_excluded || !event.kind.is_observed() {
            decoded.add(event.kind);
            return Ok(true);
        }
        let Some(message) = self.templates.find(&self.content, &mut self.rows) else {
            return Ok(false);
        };
        let (id, time) = (&event.id[..], event.time);
        self.add_row(py, message, false, Head { id, time }, decoded)?;
        self.flush_if_full(py, id)?;
        Ok(true)
    }

    fn partition(&self, id: &[u8]) -> usize {
        match self.partitions.len() {
            1 => 0,
            count => crc32fast::hash(id) as usize % count,
        }
    }

    /// Add the row of a message whose template was found; `is_part` says that it is the feedback of a
    /// document.
    fn add_row(
        &mut self,
        py: Python<'_>,
        message: u32,
        is_part: bool,
        head: Head,
        decoded: &mut Decoded,
    ) -> PyResult<()> {
        let partition = self.partition(head.id);
        let message = self.templates.message(message);
        decoded.add(if message.is_feedback { Kind::Feedback } else { Kind::Response });
        if head.time <= self.as_of {
            let (content, rows) = if is_part {
                (&self.feedback, &self.feedback_rows)
            } else {
                (&self.content, &self.rows)
            };
            self.partitions[partition].add(py, &self.templates, message, rows, content, head)?;
        }
        Ok(())
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

    /// Make room for further templates.
    fn make_room(&mut self, py: Python<'_>) {
        let streams = self.content.streams().max(self.feedback.streams());
        if self.templates.is_full() || streams >= MAX_STREAMS {
            self.invalidate(py);
        }
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

    /// One event of a record that is a batch, as if it had come in a record of its own.
    fn to_structured<'py>(&self, py: Python<'py>, event: &[u8]) -> RemainingRecord<'py> {
        let (name, value) = structured::HEADER;
        let headers = vec![(Cow::Borrowed(name), Some(PyBytes::new(py, value)))];
        let key = self.key.map(|key| PyBytes::new(py, key));
        (self.offset, self.timestamp, key, Some(PyBytes::new(py, event)), headers)
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
            content: Content::default(),
            feedback: Content::tagged(1),
            rows: Vec::new(),
            feedback_rows: Vec::new(),
        }
    }

    /// Decode the records of a Kafka record batch (version 2, not compressed) from an offset on, until
    /// `limit` remain. Returns the remaining records, the timestamp (ms) of the last record or, if there
    /// is none, of the batch, the counts, and the offset to go on from, None at the end. `ValueError` if
    /// the batch is malformed.
    #[allow(clippy::type_complexity)]
    fn decode_batch<'py>(
        &mut self,
        py: Python<'py>,
        batch: &[u8],
        start: i64,
        limit: usize,
    ) -> PyResult<(Vec<RemainingRecord<'py>>, i64, Counts, Option<i64>)> {
        let (mut remaining, mut decoded) = (Vec::new(), Decoded::default());
        let mut records = RecordBatch::new(batch).ok_or_else(malformed_batch)?;
        let mut last = records.latest;
        while let Some(record) = records.next() {
            let record = record.ok_or_else(malformed_batch)?;
            if record.offset < start {
                continue;
            }
            if remaining.len() >= limit {
                return Ok((remaining, last, decoded.counts(), Some(record.offset)));
            }
            last = record.timestamp;
            let (headers, value) = (record.headers.iter().copied(), record.value);
            let timestamp = record.timestamp.saturating_mul(MILLISECOND);
            let event = match self::record(headers, value, timestamp, &mut self.content) {
                Ok(Found::Event(event)) => Ok(event),
                Ok(Found::Batch(text)) => match structured::split(&text) {
                    Some(events) => {
                        for text in events {
                            let event = structured::read(text, timestamp, &mut self.content);
                            if !self.add_event(py, event, timestamp, &mut decoded)? {
                                remaining.push(record.to_structured(py, text));
                            }
                        }
                        continue;
                    }
                    None => Err(Reason::Envelope),
                },
                Err(reason) => Err(reason),
            };
            if !self.add_event(py, event, timestamp, &mut decoded)? {
                remaining.push(record.to_python(py));
            }
        }
        Ok((remaining, last, decoded.counts(), None))
    }

    /// Decode the lines of a block. Returns number, start and end of each remaining line, the number of
    /// lines, and the counts, which leave out empty lines.
    #[allow(clippy::type_complexity)]
    fn decode_lines(
        &mut self,
        py: Python<'_>,
        block: &[u8],
    ) -> PyResult<(Vec<(usize, usize, usize)>, usize, Counts)> {
        let (mut remaining, mut decoded) = (Vec::new(), Decoded::default());
        let (mut start, mut number) = (0, 0);
        while start < block.len() {
            let end = line_end(block, start);
            let text = &block[start..end];
            if text.trim_ascii().is_empty() {
                remaining.push((number, start, end));
            } else {
                let event = line(text, &mut self.content);
                if !self.add_event(py, event, NO_TIME, &mut decoded)? {
                    remaining.push((number, start, end));
                }
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
        for (position, (id, text)) in documents.iter().enumerate() {
            let Ok(id) = id.to_str().map(str::as_bytes) else {
                remaining.push(position);
                continue;
            };
            let times = document::read(id, text.as_bytes(), &mut self.content, &mut self.feedback);
            let found = times.and_then(|Times { predicted_at, feedback_at }| {
                let latest = feedback_at.unwrap_or(predicted_at).max(predicted_at);
                if latest >= before || latest < since {
                    return None;
                }
                let prediction = self.templates.find(&self.content, &mut self.rows)?;
                let feedback = match feedback_at {
                    None => None,
                    Some(time) => {
                        let rows = &mut self.feedback_rows;
                        Some((time, self.templates.find(&self.feedback, rows)?))
                    }
                };
                Some((predicted_at, prediction, feedback))
            });
            let Some((time, prediction, feedback)) = found else {
                remaining.push(position);
                continue;
            };
            self.add_row(py, prediction, false, Head { id, time }, &mut decoded)?;
            if let Some((time, feedback)) = feedback {
                self.add_row(py, feedback, true, Head { id, time }, &mut decoded)?;
            }
            self.flush_if_full(py, id)?;
        }
        Ok((remaining, decoded.counts()))
    }

    /// Read a document whose templates may be added, of a stream with these rules if it is new. Returns
    /// whether native code can read it.
    fn read_document(&mut self, id: &str, text: &Bound<'_, PyBytes>, rules: RuleParts) -> bool {
        self.make_room(text.py());
        self.content.offer(Some(Rules::new(rules.clone())));
        self.feedback.offer(Some(Rules::new(rules)));
        let (content, feedback) = (&mut self.content, &mut self.feedback);
        let times = document::read(id.as_bytes(), text.as_bytes(), content, feedback);
        self.content.offer(None);
        self.feedback.offer(None);
        times.is_some()
    }

    /// Read a record as `read_document` does.
    fn read_record(
        &mut self,
        py: Python<'_>,
        headers: Vec<(String, Option<Vec<u8>>)>,
        value: Option<&[u8]>,
        rules: RuleParts,
    ) -> bool {
        self.make_room(py);
        self.content.offer(Some(Rules::new(rules)));
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref()));
        // Templates do not depend on the time.
        let found = record(headers, value, 0, &mut self.content);
        self.content.offer(None);
        matches!(found, Ok(Found::Event(event)) if event.kind.is_observed())
    }

    /// Read a line as `read_document` does.
    fn read_line(&mut self, py: Python<'_>, text: &[u8], rules: RuleParts) -> bool {
        self.make_room(py);
        self.content.offer(Some(Rules::new(rules)));
        let event = line(text, &mut self.content);
        self.content.offer(None);
        event.is_ok_and(|event| event.kind.is_observed())
    }

    /// Add the templates of the event that was read last.
    fn add_template(&mut self, parts: Parts) -> PyResult<()> {
        self.templates.add(&self.content, parts)
    }

    /// Add the templates of the document that was read last: of its response, and its feedback.
    fn add_document_template(
        &mut self,
        prediction: Parts,
        feedback: Option<Parts>,
    ) -> PyResult<()> {
        self.templates.add(&self.content, prediction)?;
        feedback.map_or(Ok(()), |parts| self.templates.add(&self.feedback, parts))
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

    /// Drop all streams and templates: the rules have changed.
    fn invalidate(&mut self, py: Python<'_>) {
        self.content.forget_streams();
        self.feedback.forget_streams();
        self.templates = Templates::new(py);
        self.partitions.iter_mut().for_each(Partition::invalidate);
    }
}

/// The end of the line that begins at `start`.
fn line_end(block: &[u8], start: usize) -> usize {
    block[start..].iter().position(|&byte| byte == b'\n').map_or(block.len(), |at| start + at)
}
