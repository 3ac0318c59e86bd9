//! Usual events to rows of observations. What they mean, Python has said once of an event like them.

use std::borrow::Cow;
use std::collections::hash_map::Entry::{Occupied, Vacant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use rustc_hash::FxHashMap;

use crate::batch::{Batch, Record};
use crate::body::{self, Once};
use crate::document;
use crate::json::Scanner;
use crate::pack;
use crate::rows;
use crate::times::{self, SECOND};

/// Meanings that are remembered, and the bytes of their keys; and the longest request id of a row.
const MOST: usize = 20_000;
const MOST_BYTES: usize = 16 << 20;
const LONGEST_ID: usize = 127;
/// A time this far ahead of its record's is counted (counting rule 13).
const FUTURE: i64 = 300 * SECOND;
const MILLISECOND: i64 = 1_000_000;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Response,
    Request,
    Feedback,
}

fn kind(event_type: &[u8]) -> Option<Kind> {
    Some(match event_type {
        b"io.seldon.serving.inference.response" | b"org.kubeflow.serving.inference.response" => {
            Kind::Response
        }
        b"io.seldon.serving.inference.request" | b"org.kubeflow.serving.inference.request" => {
            Kind::Request
        }
        b"io.seldon.serving.feedback" | b"org.kubeflow.serving.feedback" => Kind::Feedback,
        _ => return None,
    })
}

/// What a usual event says beside its meaning, which goes to a key.
struct Event<'a> {
    kind: Kind,
    id: &'a [u8],
    time: i64,
}

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
type Parts<'py> =
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
struct Partition {
    predictions: (u32, Vec<u8>),
    feedbacks: (u32, Vec<u8>),
    models: Table,
    answers: Table,
    truths: Table,
    bytes: usize,
    placed: FxHashMap<u32, (Vec<u8>, Vec<u8>)>,
}

impl Partition {
    fn pull<'py>(&mut self, py: Python<'py>, keep_tables: bool) -> PyResult<Pulled<'py>> {
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
        if !keep_tables {
            *self = Partition::default();
        }
        Ok(pulled)
    }

    /// Forget the numbers of entries, which stay in the tables.
    fn forget(&mut self) {
        self.placed.clear();
        for table in [&mut self.models, &mut self.answers, &mut self.truths] {
            table.positions.clear();
        }
    }
}

/// Rows of predictions and of feedbacks: how many, and their bytes; and the tables of models, answers
/// and truths.
type Pulled<'py> = (
    u32,
    Bound<'py, PyBytes>,
    u32,
    Bound<'py, PyBytes>,
    Bound<'py, PyList>,
    Bound<'py, PyList>,
    Bound<'py, PyList>,
);

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
#[pyclass(unsendable)]
pub struct Reader {
    full: Py<PyAny>,
    most: u32,
    most_bytes: usize,
    as_of: i64,
    partitions: Vec<Partition>,
    known: FxHashMap<Box<[u8]>, u32>,
    known_bytes: usize,
    meanings: Vec<Meaning>,
    models: Entries,
    answers: Entries,
    truths: Entries,
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
        self.put(py, event.id, event.time, meaning, taken)?;
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
    fn put(
        &mut self,
        py: Python<'_>,
        id: &[u8],
        time: i64,
        number: u32,
        taken: &mut Taken,
    ) -> PyResult<()> {
        let meaning = &self.meanings[number as usize];
        *(if meaning.feedback { &mut taken.2 } else { &mut taken.1 }) += 1;
        if time > self.as_of {
            return Ok(());
        }
        let at = self.partition(id);
        let partition = &mut self.partitions[at];
        let bytes = &mut partition.bytes;
        let (before, after) = match partition.placed.entry(number) {
            Occupied(entry) => entry.into_mut(),
            Vacant(entry) => {
                let model = partition.models.position(py, &self.models, meaning.model, bytes);
                let (table, entries) = if meaning.feedback {
                    (&mut partition.truths, &self.truths)
                } else {
                    (&mut partition.answers, &self.answers)
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
            if meaning.feedback { &mut partition.feedbacks } else { &mut partition.predictions };
        rows::write(bytes, id, before, time, after);
        *rows += 1;
        Ok(())
    }

    fn close_if_full(&mut self, py: Python<'_>, id: &[u8]) -> PyResult<()> {
        let at = self.partition(id);
        let partition = &mut self.partitions[at];
        let rows = partition.predictions.0 + partition.feedbacks.0;
        if rows >= self.most || partition.bytes >= self.most_bytes {
            let pulled = partition.pull(py, false)?;
            self.full.bind(py).call1((at, pulled))?;
        }
        Ok(())
    }

    /// From now on events like this one mean this.
    fn remember(&mut self, event: Option<Event>, key: Vec<u8>, parts: Parts) -> PyResult<()> {
        match event {
            Some(event) if event.kind != Kind::Request => self.mean(key.into(), parts),
            _ => Ok(()),
        }
    }

    fn mean(&mut self, key: Box<[u8]>, parts: Parts) -> PyResult<()> {
        let (feedback, model, middle, content, end) = parts;
        if self.meanings.len() >= MOST || self.known_bytes >= MOST_BYTES {
            self.forget(model.0.py());
        }
        let entries = if feedback { &mut self.truths } else { &mut self.answers };
        let content = content.map(|content| entries.number(content)).transpose()?;
        let model = self.models.number(model)?;
        self.known_bytes += key.len();
        self.known.insert(key, self.meanings.len() as u32);
        self.meanings.push(Meaning { feedback, model, middle, content, end });
        Ok(())
    }
}

/// The headers that tell what an event is about, as they come.
#[derive(Default)]
struct Headers<'a> {
    names: [&'a [u8]; 8],
    seen: Once,
}

const TYPE: usize = 0;
const ID: usize = 5;
const TIME: usize = 6;
const CONTENT_TYPE: usize = 7;

/// All but the content type.
const NEEDED: u32 = 0x7f;

impl<'a> Headers<'a> {
    /// None for a header that makes the event unusual; `mark` is what stands after `ce` in names.
    fn put(&mut self, name: &[u8], mark: u8, value: &'a [u8]) -> Option<()> {
        let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let place = match name {
            b"content-type" => CONTENT_TYPE,
            b"content-encoding" => return None,
            [b'c', b'e', separator, rest @ ..] if *separator == mark => match rest {
                b"type" => TYPE,
                b"namespace" => 1,
                b"inferenceservicename" => 2,
                b"endpoint" => 3,
                b"modelid" => 4,
                b"requestid" => ID,
                b"time" => TIME,
                _ if rest.iter().all(plain) => return Some(()),
                _ => return None,
            },
            // What decides only where one of those above is empty.
            b"seldon-puid" | b"traceparent" => return Some(()),
            _ => return None,
        };
        self.seen.first(1 << place)?;
        self.names[place] = value;
        Some(())
    }

    /// The event, with its stream at the key's beginning.
    fn event(&self, key: &mut Vec<u8>) -> Option<Event<'a>> {
        self.seen.has(NEEDED)?;
        let kind = kind(self.names[TYPE])?;
        let (id, names) = (self.names[ID], &self.names);
        if id.is_empty() || id.len() > LONGEST_ID || !id.is_ascii() {
            return None;
        }
        if names[2].is_empty() || names[4].is_empty() {
            return None;
        }
        key.clear();
        key.push(kind as u8);
        for place in [1, 2, 3, 4, CONTENT_TYPE] {
            body::name(key, names[place])?;
        }
        Some(Event { kind, id, time: times::parse(names[TIME])? })
    }
}

fn body_of(scanner: &mut Scanner, kind: Kind, key: &mut Vec<u8>) -> Option<()> {
    match kind {
        Kind::Response => body::response(scanner, key),
        Kind::Feedback => body::feedback(scanner, key),
        Kind::Request => scanner.skip().map(|_| ()),
    }
}

/// A usual line of an events file; its meaning goes to the key.
fn line<'a>(text: &'a [u8], key: &mut Vec<u8>) -> Option<Event<'a>> {
    let mut scanner = Scanner::new(text);
    scanner.expect(b'{')?;
    if scanner.key()? != b"headers" {
        return None;
    }
    let mut headers = Headers::default();
    scanner.members(|scanner, name| headers.put(name, b'-', scanner.string()?))?;
    let event = headers.event(key)?;
    if !scanner.more(b'}')? || scanner.key()? != b"data" {
        return None;
    }
    body_of(&mut scanner, event.kind, key)?;
    scanner.expect(b'}')?;
    scanner.at_end()?;
    Some(event)
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
    fn left<'py>(&self, py: Python<'py>) -> LeftRecord<'py> {
        let bytes = |content: Option<&[u8]>| content.map(|content| PyBytes::new(py, content));
        // Kafka takes any bytes for a name.
        let name = |name: &[u8]| Cow::Owned(String::from_utf8_lossy(name).into_owned());
        let headers = self.headers.iter().map(|(key, value)| (name(key), bytes(*value))).collect();
        (self.offset, self.timestamp, bytes(self.key), bytes(self.value), headers)
    }
}

/// A usual record in binary mode; its meaning goes to the key.
fn record<'a>(
    headers: impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)>,
    value: Option<&'a [u8]>,
    key: &mut Vec<u8>,
) -> Option<Event<'a>> {
    let mut found = Headers::default();
    for (name, value) in headers {
        found.put(name, b'_', value?)?;
    }
    if found.names[CONTENT_TYPE] != b"application/json" {
        return None;
    }
    let event = found.event(key)?;
    if event.kind != Kind::Request {
        let mut scanner = Scanner::new(value?);
        body_of(&mut scanner, event.kind, key)?;
        scanner.at_end()?;
    }
    Some(event)
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
            meanings: Vec::new(),
            models: Entries::new(py),
            answers: Entries::new(py),
            truths: Entries::new(py),
        }
    }

    /// Take the records of a batch of Kafka (version 2, not compressed) from an offset on; those that
    /// are left, the time of the last one (ms) or, where there is none, of the batch, and
    /// what was taken.
    fn take_batch<'py>(
        &mut self,
        py: Python<'py>,
        batch: &[u8],
        start: i64,
    ) -> PyResult<(Vec<LeftRecord<'py>>, i64, Counts)> {
        let (mut left, mut taken) = (Vec::new(), Taken::default());
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
                _ => left.push(record.left(py)),
            }
        }
        Ok((left, last, (taken.0, taken.1, taken.2, taken.3)))
    }

    /// Take the lines of a block; number, start and end of those that are left, how many lines there
    /// are, and what was taken.
    #[allow(clippy::type_complexity)]
    fn take_lines(
        &mut self,
        py: Python<'_>,
        block: &[u8],
    ) -> PyResult<(Vec<(usize, usize, usize)>, usize, Counts)> {
        let (mut left, mut taken) = (Vec::new(), Taken::default());
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
                left.push((number, start, end));
            }
            number += 1;
            start = end + 1;
        }
        Ok((left, number, (taken.0, taken.1, taken.2, taken.3)))
    }

    /// Take documents, ids and texts, whose answers and feedbacks are from before a time (ns), one of
    /// them from `since` on; the places of those that are left, and what was taken. A feedback's row
    /// is in the same record as its prediction's.
    fn take_documents(
        &mut self,
        py: Python<'_>,
        documents: Vec<(Bound<'_, PyString>, Bound<'_, PyBytes>)>,
        before: i64,
        since: i64,
    ) -> PyResult<(Vec<usize>, Counts)> {
        let (mut left, mut taken) = (Vec::new(), Taken::default());
        let (mut made, mut said) = (Vec::new(), Vec::new());
        for (place, (id, text)) in documents.iter().enumerate() {
            let Ok(id) = id.to_str() else {
                left.push(place);
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
                        Some(said_at) => Some((said_at, *self.known.get(&said[..])?)),
                    };
                    Some((times.made, answer, judgement))
                });
            let Some((made_at, answer, judgement)) = found else {
                left.push(place);
                continue;
            };
            self.put(py, id, made_at, answer, &mut taken)?;
            if let Some((said_at, judgement)) = judgement {
                self.put(py, id, said_at, judgement, &mut taken)?;
            }
            self.close_if_full(py, id)?;
        }
        Ok((left, (taken.0, taken.1, taken.2, taken.3)))
    }

    /// Remember what a document's answer means, and its feedback, if it is of a usual form.
    fn learn_document(
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
        self.mean(made.into(), prediction)?;
        match (feedback, times.said) {
            (Some(feedback), Some(_)) => self.mean(said.into(), feedback),
            _ => Ok(()),
        }
    }

    /// Remember what a record means by its headers and value, if it is of a usual form.
    fn learn_record(
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
    fn learn_line(&mut self, text: &[u8], parts: Parts) -> PyResult<()> {
        let mut key = Vec::new();
        let event = line(text, &mut key);
        self.remember(event, key, parts)
    }

    /// The rows of a partition that were read since the last time; its tables are others from now on
    /// unless they are kept.
    fn pull<'py>(
        &mut self,
        py: Python<'py>,
        partition: usize,
        keep_tables: bool,
    ) -> PyResult<Pulled<'py>> {
        self.partitions[partition].pull(py, keep_tables)
    }

    /// Remember nothing: the rules have changed.
    fn forget(&mut self, py: Python<'_>) {
        self.known.clear();
        self.known_bytes = 0;
        self.meanings.clear();
        for entries in [&mut self.models, &mut self.answers, &mut self.truths] {
            *entries = Entries::new(py);
        }
        self.partitions.iter_mut().for_each(Partition::forget);
    }
}

/// The end of the line that starts at a place.
fn memchr(block: &[u8], start: usize) -> usize {
    block[start..].iter().position(|&byte| byte == b'\n').map_or(block.len(), |at| start + at)
}
