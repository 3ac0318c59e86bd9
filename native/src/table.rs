//! Requests of the usual kind in the buckets of `packed_table.py`, which keeps them.

use std::ops::Range;

use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict, PyList, PyString};

use crate::ids::Key;
use crate::join::torn;

/// Key, log hour of birth, what was predicted and when (ns), what was said of it and when.
pub const ROW: usize = 44;
const FIRST_SEEN: usize = 16;
const PREDICTION: usize = 20;
const FEEDBACK: usize = 32;

/// The table of one deployment; its numbers are written back by `close`.
pub struct Table<'py> {
    table: Bound<'py, PyAny>,
    others: Bound<'py, PyDict>,
    buckets: Bound<'py, PyList>,
    copying: bool,
    mask: u32,
    split: u32,
    grow_at: i64,
    count: i64,
    max_bucket_bytes: usize,
    rows_per_bucket: i64,
    changed: bool,
}

/// A request that is here: its bucket, where it starts, and what it holds.
pub struct Found<'py> {
    pub bucket: Bound<'py, PyByteArray>,
    number: u32,
    at: usize,
    pub prediction_id: u32,
    pub predicted_at: i64,
    pub feedback_id: u32,
}

/// Drop the rows of a table that were born before an hour; how many, and how many of them had no
/// feedback. The rows of a bucket are in the order of birth.
#[pyfunction]
pub fn expire(table: &Bound<'_, PyAny>, before: i64) -> PyResult<(i64, i64)> {
    let buckets = table.getattr("buckets")?.cast_into::<PyList>()?;
    let copying = !table.getattr("copy_on_write")?.is_none();
    let (mut dropped, mut waiting) = (0, 0);
    let mut old = Vec::with_capacity(LOOKED_AT);
    for start in (0..buckets.len()).step_by(LOOKED_AT) {
        let end = buckets.len().min(start + LOOKED_AT);
        has_old(&buckets, start..end, before, &mut old)?;
        for &number in &old {
            let bucket = buckets.get_item(number)?.cast_into::<PyByteArray>()?;
            let length = bucket.len();
            // SAFETY: nothing of Python runs while the slice is there.
            let rows = unsafe { bucket.as_bytes() };
            let gone =
                rows.chunks_exact(ROW).take_while(|row| i64::from(word(row, FIRST_SEEN)) < before);
            let (count, unjudged) = gone.fold((0, 0), |(count, unjudged), row| {
                (count + 1, unjudged + i64::from(word(row, FEEDBACK) == 0))
            });
            if copying {
                table.call_method1("preserve", (number,))?;
            }
            // SAFETY: as above; a copy of the bucket does not change it.
            unsafe { bucket.as_bytes_mut() }.copy_within(count * ROW.., 0);
            bucket.resize(length - count * ROW)?;
            dropped += count as i64;
            waiting += unjudged;
        }
    }
    let count: i64 = table.getattr("count")?.extract()?;
    table.setattr("count", count - dropped)?;
    Ok((dropped, waiting))
}

/// Buckets that `expire` looks at in one go: the processor then waits for the memory of many of them at a
/// time, since none of what it reads depends on another.
const LOOKED_AT: usize = 64;

/// Which of some buckets have a row that was born before an hour, the first of each being the oldest.
fn has_old(
    buckets: &Bound<'_, PyList>,
    numbers: Range<usize>,
    before: i64,
    old: &mut Vec<usize>,
) -> PyResult<()> {
    old.clear();
    let mut first: [(usize, *const u8); LOOKED_AT] = [(0, std::ptr::null()); LOOKED_AT];
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
        // SAFETY: the list keeps the bucket, it has a row, and nothing of Python runs.
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
    pub fn open(
        state: &Bound<'py, PyAny>,
        deployment: usize,
        max_bucket_bytes: usize,
        rows_per_bucket: i64,
    ) -> PyResult<Self> {
        let table = state.getattr("packed_requests")?.get_item(deployment)?;
        let others =
            state.getattr("object_requests")?.get_item(deployment)?.cast_into::<PyDict>()?;
        let number = |name: &str| table.getattr(name)?.extract::<u32>();
        Ok(Table {
            buckets: table.getattr("buckets")?.cast_into::<PyList>()?,
            copying: !table.getattr("copy_on_write")?.is_none(),
            mask: number("mask")?,
            split: number("split")?,
            grow_at: table.getattr("grow_at")?.extract()?,
            count: table.getattr("count")?.extract()?,
            table,
            others,
            max_bucket_bytes,
            rows_per_bucket,
            changed: false,
        })
    }

    pub fn close(self) -> PyResult<()> {
        if self.changed {
            self.table.setattr("mask", self.mask)?;
            self.table.setattr("split", self.split)?;
            self.table.setattr("grow_at", self.grow_at)?;
            self.table.setattr("count", self.count)?;
        }
        Ok(())
    }

    /// Whether a request is kept as an object.
    pub fn has_other(&self, id: &[u8]) -> PyResult<bool> {
        if self.others.is_empty() {
            return Ok(false);
        }
        let text = std::str::from_utf8(id).map_err(|_| torn())?;
        self.others.contains(PyString::new(self.others.py(), text))
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

    pub fn find(&self, key: &Key) -> PyResult<Option<Found<'py>>> {
        let number = self.number(key);
        let bucket = self.bucket(number)?;
        // SAFETY: nothing of Python runs while the slice is there.
        let rows = unsafe { bucket.as_bytes() };
        let found = rows.chunks_exact(ROW).position(|row| row[..16] == *key);
        Ok(found.map(|index| {
            let at = index * ROW;
            let row = &rows[at..at + ROW];
            let (prediction_id, predicted_at) = (word(row, PREDICTION), long(row, PREDICTION + 4));
            let feedback_id = word(row, FEEDBACK);
            Found { number, at, prediction_id, predicted_at, feedback_id, bucket: bucket.clone() }
        }))
    }

    /// Keep a copy of a bucket that is about to change, while a snapshot is made.
    fn preserve(&self, number: u32) -> PyResult<()> {
        if self.copying {
            self.table.call_method1("preserve", (number,))?;
        }
        Ok(())
    }

    /// Write what was said of a request, and when.
    pub fn judge(&self, place: &Found<'py>, feedback_id: u32, feedback_at: i64) -> PyResult<()> {
        self.preserve(place.number)?;
        // SAFETY: as in `find`; a copy of the bucket does not change it.
        let rows = unsafe { place.bucket.as_bytes_mut() };
        let row = &mut rows[place.at + FEEDBACK..place.at + ROW];
        row[..4].copy_from_slice(&feedback_id.to_le_bytes());
        row[4..].copy_from_slice(&feedback_at.to_le_bytes());
        Ok(())
    }

    /// Add a request, unless it is here or there is no room; whether it was added. `made` tells the
    /// number of what was predicted, if it can have one.
    pub fn add(
        &mut self,
        key: &Key,
        first_seen_hour: u32,
        predicted_at: i64,
        prediction_id: impl FnOnce() -> PyResult<Option<u32>>,
    ) -> PyResult<bool> {
        let number = self.number(key);
        let bucket = self.bucket(number)?;
        let length = bucket.len();
        // SAFETY: as in `find`.
        let here = unsafe { bucket.as_bytes() }.chunks_exact(ROW).any(|row| row[..16] == *key);
        if here || length >= self.max_bucket_bytes {
            return Ok(false);
        }
        let Some(prediction_id) = prediction_id()? else {
            return Ok(false);
        };
        self.preserve(number)?;
        bucket.resize(length + ROW)?;
        // SAFETY: as in `find`.
        let row = &mut unsafe { bucket.as_bytes_mut() }[length..];
        row[..16].copy_from_slice(key);
        row[16..20].copy_from_slice(&first_seen_hour.to_le_bytes());
        row[20..24].copy_from_slice(&prediction_id.to_le_bytes());
        row[24..32].copy_from_slice(&predicted_at.to_le_bytes());
        row[32..].fill(0);
        self.count += 1;
        self.changed = true;
        if self.count > self.grow_at {
            self.grow()?;
        }
        Ok(true)
    }

    /// Deal the rows of the next bucket out to it and to a new one.
    fn grow(&mut self) -> PyResult<()> {
        self.preserve(self.split)?;
        let old = self.bucket(self.split)?;
        let bit = self.mask + 1;
        let (mut stay, mut goes) = (Vec::new(), Vec::new());
        // SAFETY: as in `find`.
        for row in unsafe { old.as_bytes() }.chunks_exact(ROW) {
            let to = if crc32fast::hash(&row[..16]) & bit == 0 { &mut stay } else { &mut goes };
            to.extend_from_slice(row);
        }
        let py = old.py();
        self.buckets.set_item(self.split as usize, PyByteArray::new(py, &stay))?;
        self.buckets.append(PyByteArray::new(py, &goes))?;
        self.grow_at += self.rows_per_bucket;
        self.split += 1;
        if self.split == bit {
            (self.mask, self.split) = (self.mask << 1 | 1, 0);
        }
        Ok(())
    }
}
