//! Reads and writes the packed tables of `packed_table.py`, which keeps the buckets.

use std::ops::Range;

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict, PyList, PyString};
use rustc_hash::FxHashMap;

use crate::errors::malformed_rows;
use crate::ids::{DeploymentId, FeedbackId, PredictionId};
use crate::request_ids::Key;

/// Bytes of a row without its values: the key, the log hour in which the request was first seen, the
/// prediction's content and time (ns), and the feedback's content and time.
const ROW: usize = 44;
const FIRST_SEEN: usize = 16;
const PREDICTION: usize = 20;
const FEEDBACK: usize = 32;

/// The most rows of a bucket, and how many a bucket has on average.
#[derive(Clone, Copy)]
pub struct Limits {
    pub max_rows: usize,
    pub rows_per_bucket: i64,
}

/// The tables that one call has opened, by deployment.
pub struct Tables<'py, 'a> {
    state: &'a Bound<'py, PyAny>,
    open: FxHashMap<DeploymentId, Table<'py>>,
    limits: Limits,
}

impl<'py, 'a> Tables<'py, 'a> {
    pub fn new(state: &'a Bound<'py, PyAny>, limits: Limits) -> Self {
        Tables { state, open: FxHashMap::default(), limits }
    }

    pub fn get(&mut self, deployment: DeploymentId) -> PyResult<&mut Table<'py>> {
        use std::collections::hash_map::Entry;
        Ok(match self.open.entry(deployment) {
            Entry::Occupied(table) => table.into_mut(),
            Entry::Vacant(vacant) => {
                vacant.insert(Table::open(self.state, deployment.index(), self.limits)?)
            }
        })
    }

    pub fn close(self) -> PyResult<()> {
        self.open.into_values().try_for_each(Table::close)
    }
}

/// The requests of one deployment. Row count and number of buckets are written back by `close`.
pub struct Table<'py> {
    table: Bound<'py, PyAny>,
    objects: Bound<'py, PyDict>,
    buckets: Bound<'py, PyList>,
    copying: bool,
    mask: u32,
    split: u32,
    grow_at: i64,
    count: i64,
    limits: Limits,
    changed: bool,
    /// Bytes of values in each row.
    pub width: usize,
}

/// A request in the table: its bucket, the position of its row there, and the content of the row.
pub struct PackedRequest<'py> {
    bucket: Bound<'py, PyByteArray>,
    number: u32,
    at: usize,
    pub prediction_id: PredictionId,
    pub predicted_at: i64,
    pub has_feedback: bool,
    /// The values of the prediction and of the truth, padded with zeros.
    pub values: [u8; MAX_WIDTH],
}

/// The most bytes of values in a row: those of the largest probabilities of many classes.
pub const MAX_WIDTH: usize = 64;

/// Drop the rows of a table that were first seen before a log hour. Returns how many, and how many of
/// them had no feedback. The rows of a bucket are in the order in which they were first seen.
#[pyfunction]
pub fn expire(table: &Bound<'_, PyAny>, before: i64) -> PyResult<(i64, i64)> {
    let buckets = table.getattr("buckets")?.cast_into::<PyList>()?;
    let copying = !table.getattr("copy_on_write")?.is_none();
    let size = ROW + table.getattr("width")?.extract::<usize>()?;
    let (mut dropped, mut waiting) = (0, 0);
    let mut old = Vec::with_capacity(LOOK_AHEAD);
    for start in (0..buckets.len()).step_by(LOOK_AHEAD) {
        let end = buckets.len().min(start + LOOK_AHEAD);
        has_old(&buckets, start..end, before, &mut old)?;
        for &number in &old {
            let bucket = buckets.get_item(number)?.cast_into::<PyByteArray>()?;
            let length = bucket.len();
            // SAFETY: no Python code runs while the slice exists.
            let rows = unsafe { bucket.as_bytes() };
            let expired =
                rows.chunks_exact(size).take_while(|row| i64::from(word(row, FIRST_SEEN)) < before);
            let (count, without_feedback) = expired.fold((0, 0), |(count, without), row| {
                (count + 1, without + i64::from(word(row, FEEDBACK) == 0))
            });
            if copying {
                table.call_method1("preserve", (number,))?;
            }
            // SAFETY: as above; a copy of the bucket does not change it.
            unsafe { bucket.as_bytes_mut() }.copy_within(count * size.., 0);
            bucket.resize(length - count * size)?;
            dropped += count as i64;
            waiting += without_feedback;
        }
    }
    let count: i64 = table.getattr("count")?.extract()?;
    table.setattr("count", count - dropped)?;
    Ok((dropped, waiting))
}

/// Buckets that `expire` looks at in one go: the loads do not depend on each other, so the CPU waits for
/// the memory of many buckets at a time.
const LOOK_AHEAD: usize = 64;

/// Find the buckets that have a row first seen before a log hour; the first row of a bucket is the
/// oldest.
fn has_old(
    buckets: &Bound<'_, PyList>,
    numbers: Range<usize>,
    before: i64,
    old: &mut Vec<usize>,
) -> PyResult<()> {
    old.clear();
    let mut first: [(usize, *const u8); LOOK_AHEAD] = [(0, std::ptr::null()); LOOK_AHEAD];
    let mut filled = 0;
    for number in numbers {
        let bucket = buckets.get_item(number)?;
        let bucket = bucket.cast::<PyByteArray>()?;
        if bucket.len() >= ROW {
            first[filled] = (number, bucket.data());
            filled += 1;
        }
    }
    for &(number, row) in &first[..filled] {
        // SAFETY: the list keeps the bucket alive, it has a row, and no Python code runs.
        let row = unsafe { std::slice::from_raw_parts(row, ROW) };
        if i64::from(word(row, FIRST_SEEN)) < before {
            old.push(number);
        }
    }
    Ok(())
}

fn word(row: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(row[at..at + 4].try_into().unwrap())
}

fn long(row: &[u8], at: usize) -> i64 {
    i64::from_le_bytes(row[at..at + 8].try_into().unwrap())
}

impl<'py> Table<'py> {
    fn open(state: &Bound<'py, PyAny>, deployment: usize, limits: Limits) -> PyResult<Self> {
        let table = state.getattr("packed_requests")?.get_item(deployment)?;
        let objects =
            state.getattr("object_requests")?.get_item(deployment)?.cast_into::<PyDict>()?;
        let number = |name: &str| table.getattr(name)?.extract::<u32>();
        Ok(Table {
            buckets: table.getattr("buckets")?.cast_into::<PyList>()?,
            copying: !table.getattr("copy_on_write")?.is_none(),
            width: table.getattr("width")?.extract()?,
            mask: number("mask")?,
            split: number("split")?,
            grow_at: table.getattr("grow_at")?.extract()?,
            count: table.getattr("count")?.extract()?,
            table,
            objects,
            limits,
            changed: false,
        })
    }

    fn close(self) -> PyResult<()> {
        if self.changed {
            self.table.setattr("mask", self.mask)?;
            self.table.setattr("split", self.split)?;
            self.table.setattr("grow_at", self.grow_at)?;
            self.table.setattr("count", self.count)?;
        }
        Ok(())
    }

    /// Whether a request is kept as an object.
    pub fn has_object(&self, id: &[u8]) -> PyResult<bool> {
        if self.objects.is_empty() {
            return Ok(false);
        }
        let text = std::str::from_utf8(id).map_err(|_| malformed_rows())?;
        self.objects.contains(PyString::new(self.objects.py(), text))
    }

    fn number(&self, key: &Key) -> u32 {
        let code = crc32fast::hash(key);
        let number = code & self.mask;
        if number < self.split {
            code & (self.mask << 1 | 1)
        } else {
            number
        }
    }

    fn bucket(&self, number: u32) -> PyResult<Bound<'py, PyByteArray>> {
        Ok(self.buckets.get_item(number as usize)?.cast_into::<PyByteArray>()?)
    }

    pub fn find(&self, key: &Key) -> PyResult<Option<PackedRequest<'py>>> {
        let number = self.number(key);
        let bucket = self.bucket(number)?;
        // SAFETY: no Python code runs while the slice exists.
        let rows = unsafe { bucket.as_bytes() };
        let size = ROW + self.width;
        let found = rows.chunks_exact(size).position(|row| row[..16] == *key);
        Ok(found.map(|index| {
            let at = index * size;
            let row = &rows[at..at + size];
            PackedRequest {
                bucket: bucket.clone(),
                number,
                at,
                prediction_id: PredictionId(word(row, PREDICTION)),
                predicted_at: long(row, PREDICTION + 4),
                has_feedback: word(row, FEEDBACK) != 0,
                values: {
                    let mut values = [0; MAX_WIDTH];
                    values[..self.width].copy_from_slice(&row[ROW..]);
                    values
                },
            }
        }))
    }

    /// Copy a bucket that is about to change, while a snapshot is made.
    fn preserve(&self, number: u32) -> PyResult<()> {
        if self.copying {
            self.table.call_method1("preserve", (number,))?;
        }
        Ok(())
    }

    /// Write the content and the time (ns) of a request's feedback, and the values of its truth, which
    /// start at `start` among the row's values.
    pub fn set_feedback(
        &self,
        request: &PackedRequest<'py>,
        feedback_id: FeedbackId,
        feedback_at: i64,
        start: usize,
        values: &[u8],
    ) -> PyResult<()> {
        self.preserve(request.number)?;
        // SAFETY: as in `find`; a copy of the bucket does not change it.
        let rows = unsafe { request.bucket.as_bytes_mut() };
        let row = &mut rows[request.at + FEEDBACK..request.at + ROW + self.width];
        row[..4].copy_from_slice(&feedback_id.0.to_le_bytes());
        row[4..12].copy_from_slice(&feedback_at.to_le_bytes());
        row[12 + start..12 + start + values.len()].copy_from_slice(values);
        Ok(())
    }

    /// Make room for so many bytes of values in each row. Returns false if there is less.
    pub fn make_room(&mut self, width: usize) -> PyResult<bool> {
        if width > self.width {
            if self.width != 0 || width > MAX_WIDTH {
                return Ok(false);
            }
            self.table.call_method1("widen", (width,))?;
            self.width = width;
        }
        Ok(true)
    }

    /// Add a request with the values of its prediction, for which there is room. Returns false if the
    /// table has it already, its bucket is full, or `prediction_id` gives no number.
    pub fn add(
        &mut self,
        key: &Key,
        first_seen_hour: u32,
        predicted_at: i64,
        values: &[u8],
        prediction_id: impl FnOnce() -> PyResult<Option<PredictionId>>,
    ) -> PyResult<bool> {
        let number = self.number(key);
        let bucket = self.bucket(number)?;
        let length = bucket.len();
        // SAFETY: as in `find`.
        let size = ROW + self.width;
        let exists = unsafe { bucket.as_bytes() }.chunks_exact(size).any(|row| row[..16] == *key);
        if exists || length >= self.limits.max_rows * size {
            return Ok(false);
        }
        let Some(prediction_id) = prediction_id()? else {
            return Ok(false);
        };
        self.preserve(number)?;
        bucket.resize(length + size)?;
        // SAFETY: as in `find`.
        let row = &mut unsafe { bucket.as_bytes_mut() }[length..];
        row[..16].copy_from_slice(key);
        row[16..20].copy_from_slice(&first_seen_hour.to_le_bytes());
        row[20..24].copy_from_slice(&prediction_id.0.to_le_bytes());
        row[24..32].copy_from_slice(&predicted_at.to_le_bytes());
        row[32..].fill(0);
        row[ROW..ROW + values.len()].copy_from_slice(values);
        self.count += 1;
        self.changed = true;
        if self.count > self.grow_at {
            self.grow()?;
        }
        Ok(true)
    }

    /// Split the next bucket: some of its rows move to a new one (linear hashing).
    fn grow(&mut self) -> PyResult<()> {
        self.preserve(self.split)?;
        let old = self.bucket(self.split)?;
        let bit = self.mask + 1;
        let (mut staying, mut moving) = (Vec::new(), Vec::new());
        // SAFETY: as in `find`.
        for row in unsafe { old.as_bytes() }.chunks_exact(ROW + self.width) {
            let to =
                if crc32fast::hash(&row[..16]) & bit == 0 { &mut staying } else { &mut moving };
            to.extend_from_slice(row);
        }
        let py = old.py();
        self.buckets.set_item(self.split as usize, PyByteArray::new(py, &staying))?;
        self.buckets.append(PyByteArray::new(py, &moving))?;
        self.grow_at += self.limits.rows_per_bucket;
        self.split += 1;
        if self.split == bit {
            (self.mask, self.split) = (self.mask << 1 | 1, 0);
        }
        Ok(())
    }
}
