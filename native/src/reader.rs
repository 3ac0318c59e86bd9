//! Usual events to rows of observations. What they mean, Python has said once of an event like them.

use std::borrow::Cow;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};
use rustc_hash::FxHashMap;

use crate::batch::{Batch, Record};
use crate::document;
use crate::event::{line, record, Event, Kind};
use crate::partition::{Partition, Parts, Pulled, Templates};
use crate::times::SECOND;

/// Meanings that are remembered, and the bytes of their keys.
const MOST: usize = 20_000;
const MOST_BYTES: usize = 16 << 20;
/// A time this far ahead of its record's is counted (counting rule 13).
const FUTURE: i64 = 300 * SECOND;
const MILLISECOND: i64 = 1_000_000;

/// How many requests, responses and feedbacks were taken, and how many of them come from the future.
#[derive(Default)]
struct Taken(u64, u64, u64, u64);

type Counts = (u64, u64, u64, u64);

impl Taken {
    /// Count an event that is from the future, by its record's time (ms).
    fn look_at(&mut self, event: &Event, timestamp: i64) {
        if event.kind != Kind::Request
            && timestamp >= 0
            && event.time > timestamp.saturating_mul(MILLISECOND).saturating_add(FUTURE)
        {
            self.3 += 1;
        }
    }
}

fn torn() -> PyErr {
    PyValueError::new_err("a batch of records that is none")
}

/// Reads events of few kinds. `full` gets the rows of a partition that has `most`, or `most_bytes` in
/// its tables. Rows later than `as_of` (ns) are counted and left out.
#[pyclass]
pub struct Reader {
    full: Py<PyAny>,
    most: u32,
    most_bytes: usize,
    as_of: i64,
    partitions: Vec<Partition>,
    known: FxHashMap<Box<[u8]>, u32>,
    known_bytes: usize,
    meanings: Templates,
}

impl Reader {
    /// Take an event that means what an earlier one did; whether it is one.
    fn take(
        &mut self,
        py: Python<'_>,
        event: &Event,
        key: &[u8],
        taken: &mut Taken,
    ) -> PyResult<bool> {
        if event.kind == Kind::Request {
            taken.0 += 1;
            return Ok(true);
        }
        let Some(&meaning) = self.known.get(key) else {
            return Ok(false);
        };
        self.put(py, event.id, event.time, meaning, taken);
        self.close_if_full(py, event.id)?;
        Ok(true)
    }

    fn partition(&self, id: &[u8]) -> usize {
        match self.partitions.len() {
            1 => 0,
            count => crc32fast::hash(id) as usize % count,
        }
    }

    /// Add a row.
    fn put(&mut self, py: Python<'_>, id: &[u8], time: i64, number: u32, taken: &mut Taken) {
        let feedback = self.meanings.is_feedback(number);
        *(if feedback { &mut taken.2 } else { &mut taken.1 }) += 1;
        if time <= self.as_of {
            let at = self.partition(id);
            self.partitions[at].put(py, &self.meanings, number, id, time);
        }
    }

    fn close_if_full(&mut self, py: Python<'_>, id: &[u8]) -> PyResult<()> {
        let at = self.partition(id);
        let partition = &mut self.partitions[at];
        if partition.is_full(self.most, self.most_bytes) {
            let pulled = partition.flush_rows(py, false)?;
            self.full.bind(py).call1((at, pulled))?;
        }
        Ok(())
    }

    /// From now on events like this one mean this.
    fn remember(&mut self, event: Option<Event>, key: Vec<u8>, parts: Parts) -> PyResult<()> {
        match event {
            Some(event) if event.kind != Kind::Request => self.template(key.into(), parts),
            _ => Ok(()),
        }
    }

    fn template(&mut self, key: Box<[u8]>, parts: Parts) -> PyResult<()> {
        if self.meanings.len() >= MOST || self.known_bytes >= MOST_BYTES {
            self.invalidate(parts.1 .0.py());
        }
        let number = self.meanings.add_template(parts)?;
        self.known_bytes += key.len();
        self.known.insert(key, number);
        Ok(())
    }
}

/// A record that is left: offset, time (ms), key, value and headers.
type LeftRecord<'py> = (
    i64,
    i64,
    Option<Bound<'py, PyBytes>>,
    Option<Bound<'py, PyBytes>>,
    Vec<(Cow<'py, str>, Option<Bound<'py, PyBytes>>)>,
);

impl Record<'_> {
    fn remaining<'py>(&self, py: Python<'py>) -> LeftRecord<'py> {
        let bytes = |content: Option<&[u8]>| content.map(|content| PyBytes::new(py, content));
        // Kafka takes any bytes for a name.
        let name = |name: &[u8]| Cow::Owned(String::from_utf8_lossy(name).into_owned());
        let headers = self.headers.iter().map(|(key, value)| (name(key), bytes(*value))).collect();
        (self.offset, self.timestamp, bytes(self.key), bytes(self.value), headers)
    }
}

#[pymethods]
impl Reader {
    #[new]
    #[pyo3(signature = (partitions, most, most_bytes, full, as_of=None))]
    fn new(
        py: Python<'_>,
        partitions: usize,
        most: u32,
        most_bytes: usize,
        full: Py<PyAny>,
        as_of: Option<i64>,
    ) -> Self {
        let mut rows = Vec::new();
        rows.resize_with(partitions, Partition::default);
        Reader {
            full,
            most,
            most_bytes,
            as_of: as_of.unwrap_or(i64::MAX),
            partitions: rows,
            known: FxHashMap::default(),
            known_bytes: 0,
            meanings: Templates::new(py),
        }
    }

    /// Take the records of a batch of Kafka (version 2, not compressed) from an offset on; those that
    /// are left, the time of the last one (ms) or, where there is none, of the batch, and
    /// what was taken.
    fn decode_batch<'py>(
        &mut self,
        py: Python<'py>,
        batch: &[u8],
        start: i64,
    ) -> PyResult<(Vec<LeftRecord<'py>>, i64, Counts)> {
        let (mut remaining, mut taken) = (Vec::new(), Taken::default());
        let mut key = Vec::new();
        let mut records = Batch::new(batch).ok_or_else(torn)?;
        let mut last = records.latest;
        while let Some(record) = records.next() {
            let record = record.ok_or_else(torn)?;
            if record.offset < start {
                continue;
            }
            last = record.timestamp;
            let event = self::record(record.headers.iter().copied(), record.value, &mut key);
            let is_taken = match &event {
                Some(event) => self.take(py, event, &key, &mut taken)?,
                None => false,
            };
            match event {
                Some(event) if is_taken => taken.look_at(&event, record.timestamp),
                _ => remaining.push(record.remaining(py)),
            }
        }
        Ok((remaining, last, (taken.0, taken.1, taken.2, taken.3)))
    }

    /// Take the lines of a block; number, start and end of those that are left, how many lines there
    /// are, and what was taken.
    #[allow(clippy::type_complexity)]
    fn decode_lines(
        &mut self,
        py: Python<'_>,
        block: &[u8],
    ) -> PyResult<(Vec<(usize, usize, usize)>, usize, Counts)> {
        let (mut remaining, mut taken) = (Vec::new(), Taken::default());
        let mut key = Vec::new();
        let (mut start, mut number) = (0, 0);
        while start < block.len() {
            let end = memchr(block, start);
            let text = &block[start..end];
            let event = line(text, &mut key);
            let is_taken = match &event {
                Some(event) => self.take(py, event, &key, &mut taken)?,
                None => false,
            };
            if !is_taken {
                remaining.push((number, start, end));
            }
            number += 1;
            start = end + 1;
        }
        Ok((remaining, number, (taken.0, taken.1, taken.2, taken.3)))
    }

    /// Take documents, ids and texts, whose answers and feedbacks are from before a time (ns), one of
    /// them from `since` on; the places of those that are left, and what was taken. A feedback's row
    /// is in the same record as its prediction's.
    fn decode_documents(
        &mut self,
        py: Python<'_>,
        documents: Vec<(Bound<'_, PyString>, Bound<'_, PyBytes>)>,
        before: i64,
        since: i64,
    ) -> PyResult<(Vec<usize>, Counts)> {
        let (mut remaining, mut taken) = (Vec::new(), Taken::default());
        let (mut made, mut said) = (Vec::new(), Vec::new());
        for (place, (id, text)) in documents.iter().enumerate() {
            let Ok(id) = id.to_str() else {
                remaining.push(place);
                continue;
            };
            let id = id.as_bytes();
            let found =
                document::read(id, text.as_bytes(), &mut made, &mut said).and_then(|times| {
                    let latest = times.said.unwrap_or(times.made).max(times.made);
                    if latest >= before || latest < since {
                        return None;
                    }
                    let answer = *self.known.get(&made[..])?;
                    let judgement = match times.said {
                        None => None,
                        Some(feedback_at) => Some((feedback_at, *self.known.get(&said[..])?)),
                    };
                    Some((times.made, answer, judgement))
                });
            let Some((predicted_at, answer, judgement)) = found else {
                remaining.push(place);
                continue;
            };
            self.put(py, id, predicted_at, answer, &mut taken);
            if let Some((feedback_at, judgement)) = judgement {
                self.put(py, id, feedback_at, judgement, &mut taken);
            }
            self.close_if_full(py, id)?;
        }
        Ok((remaining, (taken.0, taken.1, taken.2, taken.3)))
    }

    /// Remember what a document's answer means, and its feedback, if it is of a usual form.
    fn add_document_template(
        &mut self,
        id: &str,
        text: &[u8],
        prediction: Parts,
        feedback: Option<Parts>,
    ) -> PyResult<()> {
        let (mut made, mut said) = (Vec::new(), Vec::new());
        let Some(times) = document::read(id.as_bytes(), text, &mut made, &mut said) else {
            return Ok(());
        };
        self.template(made.into(), prediction)?;
        match (feedback, times.said) {
            (Some(feedback), Some(_)) => self.template(said.into(), feedback),
            _ => Ok(()),
        }
    }

    /// Remember what a record means by its headers and value, if it is of a usual form.
    fn add_record_template(
        &mut self,
        headers: Vec<(String, Option<Vec<u8>>)>,
        value: Option<&[u8]>,
        parts: Parts,
    ) -> PyResult<()> {
        let headers = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref()));
        let mut key = Vec::new();
        let event = record(headers, value, &mut key);
        self.remember(event, key, parts)
    }

    /// Remember what a line means, if it is of a usual form.
    fn add_line_template(&mut self, text: &[u8], parts: Parts) -> PyResult<()> {
        let mut key = Vec::new();
        let event = line(text, &mut key);
        self.remember(event, key, parts)
    }

    /// The rows of a partition that were read since the last time; its tables are others from now on
    /// unless they are kept.
    fn flush_rows<'py>(
        &mut self,
        py: Python<'py>,
        partition: usize,
        keep_dictionaries: bool,
    ) -> PyResult<Pulled<'py>> {
        self.partitions[partition].flush_rows(py, keep_dictionaries)
    }

    /// Remember nothing: the rules have changed.
    fn invalidate(&mut self, py: Python<'_>) {
        self.known.clear();
        self.known_bytes = 0;
        self.meanings = Templates::new(py);
        self.partitions.iter_mut().for_each(Partition::invalidate);
    }
}

/// The end of the line that starts at a place.
fn memchr(block: &[u8], start: usize) -> usize {
    block[start..].iter().position(|&byte| byte == b'\n').map_or(block.len(), |at| start + at)
}
