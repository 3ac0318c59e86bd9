//! Sorts the requests of a table into blocks; see `selection.py` and `columns.py`.

use std::collections::HashMap;
use std::ops::Range;

use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rustc_hash::FxHashMap;

use crate::join::requests::buckets::{records, LENGTH};
use crate::join::requests::codec::{first_seen_hour, malformed, Request};
use crate::request_ids::Id;
use crate::savepoint::kinds::cut;
use crate::savepoint::planes::{add_numbers, add_strings};

const LONG: u8 = 255;
const SECOND: u64 = 1_000_000_000;
const MINUTE: i64 = 60 * SECOND as i64;
/// The slots of an hour; see `slot` in `selection.py`.
const SLOTS: u64 = 128;

/// A request: where its packed id, its packed request and the next one begin in the sorter's content.
struct Entry {
    hour: u32,
    restored: bool,
    time: i64,
    start: usize,
    request: usize,
    end: usize,
}

/// The fields of `Requests`.
type Block<'py> = (
    u32,
    bool,
    usize,
    i64,
    u64,
    (usize, usize, usize),
    Vec<Bound<'py, PyBytes>>,
    Vec<String>,
    Vec<Bound<'py, PyBytes>>,
);

/// See `Sorter` in `selection.py`.
#[pyclass]
pub struct RequestSorter {
    slots: Range<u64>,
    part: u32,
    parts: u32,
    content: Vec<u8>,
    entries: Vec<Entry>,
    /// How many of the sorted entries are in blocks; none are sorted before the first block.
    used: Option<usize>,
}

impl RequestSorter {
    fn add_one(&mut self, id: &[u8], code: &[u8], packed: &[u8]) -> PyResult<()> {
        if packed.len() < 6 {
            return Err(malformed());
        }
        let hour = first_seen_hour(packed);
        let hours = self.slots.start / SLOTS..self.slots.end.div_ceil(SLOTS);
        if !hours.contains(&u64::from(hour))
            || self.parts > 1 && crc32fast::hash(code) % self.parts != self.part
        {
            return Ok(());
        }
        let (parsed, time) = parsed(packed)?;
        if !self.slots.contains(&slot(hour, time)) {
            return Ok(());
        }
        let restored = parsed.is_restored();
        let start = self.content.len();
        self.content.extend_from_slice(id);
        let request = self.content.len();
        self.content.extend_from_slice(packed);
        let end = self.content.len();
        self.entries.push(Entry { hour, restored, time, start, request, end });
        Ok(())
    }

    fn sort(&mut self) {
        let content = &self.content;
        let id = |entry: &Entry| &content[entry.start..entry.request];
        self.entries.sort_unstable_by(|a, b| {
            (a.hour, a.restored, a.time)
                .cmp(&(b.hour, b.restored, b.time))
                .then_with(|| id(a).cmp(id(b)))
        });
    }

    fn block<'py>(&self, py: Python<'py>, entries: &[Entry]) -> PyResult<Block<'py>> {
        let mut columns = Columns::default();
        let (mut rest, mut ends) = (Vec::new(), Vec::new());
        let (mut kinds, mut known, mut kind) = (Vec::new(), FxHashMap::default(), Vec::new());
        let mut shape = Vec::new();
        let mut before = entries[0].time;
        for entry in entries {
            columns.add_id(&self.content[entry.start..entry.request])?;
            let request = Request::new(&self.content[entry.request..entry.end])?;
            request.shape(&mut shape);
            cut(&shape, &mut kind, &mut rest).ok_or_else(malformed)?;
            ends.push(rest.len());
            let position = match known.get(&kind) {
                Some(&position) => position,
                None => {
                    kinds.push(PyBytes::new(py, &kind));
                    known.insert(kind.clone(), kinds.len() as u64 - 1);
                    kinds.len() as u64 - 1
                }
            };
            columns.positions.push(position);
            columns.steps.add(before, entry.time);
            for number in 1..request.predictions + request.feedbacks {
                columns.others.add(entry.time, request.time(number));
            }
            before = entry.time;
        }
        let unit = unit(&columns.steps, &columns.others);
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let contents: Vec<&[u8]> =
            starts.zip(&ends).map(|(start, &end)| &rest[start..end]).collect();
        let mut planes = vec![columns.forms];
        add_strings(&mut planes, &columns.rests);
        let kind_width = add_numbers(&mut planes, &columns.positions);
        let step_width =
            add_numbers(&mut planes, &columns.steps.in_units(unit, |number| number as u64));
        let zigzag = |number: i64| (number << 1 ^ number >> 63) as u64;
        let other_width = add_numbers(&mut planes, &columns.others.in_units(unit, zigzag));
        add_strings(&mut planes, &contents);
        let first = &entries[0];
        Ok((
            first.hour,
            first.restored,
            entries.len(),
            first.time,
            unit,
            (kind_width, step_width, other_width),
            kinds,
            columns.long_ids,
            planes.iter().map(|plane| PyBytes::new(py, plane)).collect(),
        ))
    }
}

#[derive(Default)]
struct Columns<'a> {
    forms: Vec<u8>,
    rests: Vec<&'a [u8]>,
    long_ids: Vec<String>,
    positions: Vec<u64>,
    steps: Differences,
    others: Differences,
}

impl<'a> Columns<'a> {
    fn add_id(&mut self, id: &'a [u8]) -> PyResult<()> {
        self.forms.push(id[0]);
        if id[0] == LONG {
            self.long_ids.push(String::from_utf8(id[1..].to_vec()).map_err(|_| malformed())?);
        } else {
            self.rests.push(&id[1..]);
        }
        Ok(())
    }
}

/// Differences of times, modulo 2**64.
#[derive(Default)]
struct Differences {
    numbers: Vec<i64>,
    /// Whether one takes 65 bits.
    wraps: bool,
}

impl Differences {
    fn add(&mut self, before: i64, time: i64) {
        self.wraps |= time.checked_sub(before).is_none_or(|number| number == i64::MIN);
        self.numbers.push(time.wrapping_sub(before));
    }

    fn in_units(&self, unit: u64, packed: impl Fn(i64) -> u64) -> Vec<u64> {
        self.numbers.iter().map(|number| packed(number / unit as i64)).collect()
    }
}

/// The greatest unit, up to a second, of which all differences are multiples.
fn unit(steps: &Differences, others: &Differences) -> u64 {
    let mut unit = SECOND;
    for number in steps.numbers.iter().chain(&others.numbers) {
        let (mut a, mut b) = (number.unsigned_abs(), unit);
        if a % b == 0 {
            continue;
        }
        while b != 0 {
            (a, b) = (b, a % b);
        }
        unit = a;
        if unit == 1 {
            break;
        }
    }
    if steps.wraps || others.wraps {
        1
    } else {
        unit
    }
}

#[pymethods]
impl RequestSorter {
    #[new]
    fn new(first: u64, end: u64, part: u32, parts: u32) -> Self {
        let (content, entries) = (Vec::new(), Vec::new());
        RequestSorter { slots: first..end, part, parts, content, entries, used: None }
    }

    fn add(&mut self, content: &[u8]) -> PyResult<()> {
        for (record, request) in records(content) {
            let id = content.get(record.start + LENGTH..request.start).ok_or_else(malformed)?;
            self.add_one(id, id, content.get(request).ok_or_else(malformed)?)?;
        }
        Ok(())
    }

    fn add_other(&mut self, request_id: &str, packed: &[u8]) -> PyResult<()> {
        let id = Id::new(request_id.as_bytes());
        match id.packed() {
            Some(id) => self.add_one(id, id, packed),
            None => {
                let long = [&[LONG], id.text].concat();
                self.add_one(&long, id.text, packed)
            }
        }
    }

    /// The next block of at most so many requests, None after the last one.
    fn next_block<'py>(&mut self, py: Python<'py>, size: usize) -> PyResult<Option<Block<'py>>> {
        if self.used.is_none() {
            self.sort();
        }
        let used = self.used.unwrap_or(0);
        let left = &self.entries[used..];
        let Some(first) = left.first() else { return Ok(None) };
        let is_equal =
            |entry: &&Entry| (entry.hour, entry.restored) == (first.hour, first.restored);
        let count = left.iter().take(size).take_while(is_equal).count();
        let block = self.block(py, &left[..count])?;
        self.used = Some(used + count);
        Ok(Some(block))
    }
}

/// The number of requests in the content of buckets by their slots.
#[pyfunction]
pub fn count_slots(content: &[u8]) -> PyResult<HashMap<u64, usize>> {
    let mut slots = FxHashMap::default();
    for (_, request) in records(content) {
        let packed = content.get(request).filter(|packed| packed.len() >= 6);
        let packed = packed.ok_or_else(malformed)?;
        let (_, time) = parsed(packed)?;
        *slots.entry(slot(first_seen_hour(packed), time)).or_default() += 1;
    }
    Ok(slots.into_iter().collect())
}

/// A request and its first time.
fn parsed(packed: &[u8]) -> PyResult<(Request<'_>, i64)> {
    let request = Request::new(packed)?;
    if request.predictions + request.feedbacks == 0 {
        return Err(malformed());
    }
    let time = request.time(0);
    Ok((request, time))
}

/// See `slot` in `selection.py`.
fn slot(hour: u32, time: i64) -> u64 {
    let minute = time.div_euclid(MINUTE) - i64::from(hour) * 60 + 64;
    u64::from(hour) * SLOTS + minute.clamp(0, SLOTS as i64 - 1) as u64
}
