//! The packed requests of one deployment: the counterpart of `requests/python_table.py`, which describes
//! the format.

use std::collections::BTreeMap;
use std::ops::Range;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use rustc_hash::FxHashMap;

use crate::join::requests::buckets::{find, prefetch, records, splice, Bucket, LENGTH};
use crate::join::requests::codec::{first_seen_hour, Request};
use crate::request_ids::{hash, Id};

/// Average records of a bucket when the table splits the next one.
const RECORDS_PER_BUCKET: usize = 16;
/// A table of fewer bytes stays in the CPU's cache.
const SMALL: usize = 1 << 18;
/// The largest record and the largest bucket, in bytes.
const MAX_RECORD: usize = 1024;
const MAX_BUCKET: usize = 1 << 15;

/// Buckets as they were when a copy began. Those from `start` on are still to be copied.
struct Copying {
    start: usize,
    stop: usize,
    preserved: FxHashMap<usize, Bucket>,
}

pub struct Table {
    buckets: Vec<Bucket>,
    /// The records in the buckets.
    count: usize,
    /// Their bytes, and those of the requests beside them.
    bytes: usize,
    /// Requests that no bucket has room for, by id.
    others: BTreeMap<Box<[u8]>, Vec<u8>>,
    copying: Option<Copying>,
    /// The latest hour in which a request was first seen.
    latest_hour: u32,
}

/// A request that was found: in a bucket, the record and the request in it; or beside the buckets.
pub enum Found {
    Record { number: usize, record: Range<usize>, request: Range<usize> },
    Other,
}

/// A request that was dropped.
#[derive(Default)]
pub struct Dropped {
    pub count: usize,
    /// Of these, those with predictions alone, and those with feedback alone.
    pub waiting: usize,
    pub unmatched: usize,
}

impl Dropped {
    fn add(&mut self, request: &[u8]) -> PyResult<()> {
        let request = Request::new(request)?;
        self.count += 1;
        self.waiting += usize::from(request.feedbacks == 0);
        self.unmatched += usize::from(request.predictions == 0);
        Ok(())
    }
}

impl Table {
    pub fn new(buckets: usize) -> Self {
        Table {
            buckets: vec![Bucket::default(); buckets.max(1)],
            count: 0,
            bytes: 0,
            others: BTreeMap::new(),
            copying: None,
            latest_hour: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.count + self.others.len()
    }

    pub fn buckets(&self) -> usize {
        self.buckets.len()
    }

    pub fn others(&self) -> &BTreeMap<Box<[u8]>, Vec<u8>> {
        &self.others
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The bits of a hash that give a bucket, and how many buckets use one bit more.
    fn mask(&self) -> (usize, usize) {
        let bit = 1 << self.buckets.len().ilog2();
        (bit - 1, self.buckets.len() - bit)
    }

    fn number(&self, id: &Id) -> usize {
        let (mask, split) = self.mask();
        let code = id.hash() as usize;
        let number = code & mask;
        if number < split {
            code & (mask << 1 | 1)
        } else {
            number
        }
    }

    /// Have the CPU load where the bucket of an id is, unless the table is so small that it is in the
    /// CPU's cache anyway. Returns its number.
    pub fn prefetch(&self, id: &Id) -> Option<usize> {
        if self.bytes < SMALL {
            return None;
        }
        let number = self.number(id);
        prefetch(std::slice::from_ref(&self.buckets[number]));
        Some(number)
    }

    /// Have the CPU load the content of a bucket, in which the id with this hash is looked for soon.
    pub fn prefetch_content(&self, number: usize, hash: u32) {
        self.buckets[number].prefetch(hash);
    }

    pub fn find(&self, id: &Id) -> Option<Found> {
        if let Some(packed) = id.packed() {
            let number = self.number(id);
            let bucket = &self.buckets[number];
            if bucket.can_have(id.hash()) {
                if let Some((record, request)) = find(bucket, packed) {
                    return Some(Found::Record { number, record, request });
                }
            }
        }
        let is_other = !self.others.is_empty() && self.others.contains_key(id.text);
        is_other.then_some(Found::Other)
    }

    /// The packed request that was found.
    pub fn request(&self, id: &Id, found: &Found) -> &[u8] {
        match found {
            Found::Record { number, request, .. } => &self.buckets[*number][request.clone()],
            Found::Other => &self.others[id.text],
        }
    }

    /// Add a request that the table does not have.
    pub fn insert(&mut self, id: &Id, request: &[u8]) {
        let hour = first_seen_hour(request);
        let packed = id.packed().filter(|packed| packed.len() + request.len() < MAX_RECORD);
        let place = packed.map(|packed| (packed, self.number(id)));
        let place = place.filter(|&(packed, number)| {
            let length = LENGTH + packed.len() + request.len();
            self.buckets[number].len() + length <= MAX_BUCKET
        });
        let Some((packed, number)) = place else {
            self.bytes += request.len();
            self.others.insert(id.text.into(), request.to_vec());
            return;
        };
        self.preserve(number);
        let bucket = &mut self.buckets[number];
        let mut at = bucket.len();
        // The records of a bucket are in the order of their hours.
        if hour < self.latest_hour {
            let later = records(bucket)
                .find(|(_, request)| first_seen_hour(&bucket[request.clone()]) > hour);
            at = later.map_or(at, |(record, _)| record.start);
        }
        self.latest_hour = self.latest_hour.max(hour);
        let length = LENGTH + packed.len() + request.len();
        splice(bucket, at..at, &[&(length as u16).to_le_bytes(), packed, request]);
        bucket.note(id.hash());
        self.bytes += length;
        self.count += 1;
        if self.count > RECORDS_PER_BUCKET * self.buckets.len() {
            self.grow();
        }
    }

    /// Replace a request that was found; its hour stays.
    pub fn replace(&mut self, id: &Id, found: &Found, request: &[u8]) {
        if let (Found::Record { number, record, request: old }, Some(packed)) = (found, id.packed())
        {
            let length = LENGTH + packed.len() + request.len();
            if packed.len() + request.len() < MAX_RECORD
                && self.buckets[*number].len() - record.len() + length <= MAX_BUCKET
            {
                self.preserve(*number);
                let bucket = &mut self.buckets[*number];
                splice(bucket, old.clone(), &[request]);
                bucket[record.start..record.start + LENGTH]
                    .copy_from_slice(&(length as u16).to_le_bytes());
                self.bytes = self.bytes - record.len() + length;
                return;
            }
        }
        self.remove(id, found);
        self.insert(id, request);
    }

    /// Remove a request that was found.
    pub fn remove(&mut self, id: &Id, found: &Found) {
        match found {
            Found::Record { number, record, .. } => {
                self.preserve(*number);
                splice(&mut self.buckets[*number], record.clone(), &[]);
                self.bytes -= record.len();
                self.count -= 1;
            }
            Found::Other => {
                self.bytes -= self.others.remove(id.text).map_or(0, |request| request.len());
            }
        }
    }

    /// Split the next bucket: some of its records move to a new one.
    fn grow(&mut self) {
        let (mask, split) = self.mask();
        self.preserve(split);
        let old = std::mem::take(&mut self.buckets[split]);
        let hashes: Vec<_> = records(&old)
            .map(|(record, request)| hash(&old[record.start + LENGTH..request.start]))
            .collect();
        let is_moving = |hash: u32| hash as usize & (mask + 1) != 0;
        let moving = records(&old).zip(&hashes).filter(|(_, &hash)| is_moving(hash));
        let size: usize = moving.map(|((record, _), _)| record.len()).sum();
        let mut parts = [old.len() - size, size].map(Bucket::with_capacity);
        for ((record, _), &hash) in records(&old).zip(&hashes) {
            let part = &mut parts[usize::from(is_moving(hash))];
            part.extend_from_slice(&old[record]);
            part.note(hash);
        }
        let [staying, moving] = parts;
        self.buckets[split] = staying;
        self.buckets.push(moving);
    }

    /// The requests of a bucket, with their packed ids.
    pub fn bucket(&self, number: usize) -> impl Iterator<Item = (&[u8], &[u8])> {
        let bucket = &self.buckets[number];
        records(bucket).map(move |(record, request)| {
            (&bucket[record.start + LENGTH..request.start], &bucket[request])
        })
    }

    /// All packed requests.
    pub fn requests(&self) -> impl Iterator<Item = &[u8]> {
        let records = (0..self.buckets.len()).flat_map(move |number| self.bucket(number));
        records.map(|(_, request)| request).chain(self.others.values().map(Vec::as_slice))
    }

    /// The hour of the first record of a bucket, which is the oldest one.
    fn oldest_in(bucket: &Bucket) -> Option<u32> {
        let (_, request) = records(bucket).next()?;
        Some(first_seen_hour(&bucket[request]))
    }

    pub fn oldest(&self) -> Option<u32> {
        let buckets = self.buckets.iter().filter_map(Self::oldest_in).min();
        let others = self.others.values().map(|request| first_seen_hour(request)).min();
        buckets.into_iter().chain(others).min()
    }

    /// Drop the requests first seen before an hour.
    pub fn expire(&mut self, before: i64, dropped: &mut Dropped) -> PyResult<()> {
        for number in 0..self.buckets.len() {
            if Self::oldest_in(&self.buckets[number]).is_none_or(|hour| i64::from(hour) >= before) {
                continue;
            }
            let mut end = 0;
            for (record, request) in records(&self.buckets[number]) {
                let request = &self.buckets[number][request];
                if i64::from(first_seen_hour(request)) >= before {
                    break;
                }
                dropped.add(request)?;
                self.count -= 1;
                end = record.end;
            }
            self.preserve(number);
            let bucket = &mut self.buckets[number];
            bucket.drain(..end);
            let room = bucket.len() + bucket.len() / 8;
            bucket.shrink_to(room);
            bucket.note_all();
            self.bytes -= end;
        }
        let is_old = |request: &[u8]| i64::from(first_seen_hour(request)) < before;
        for request in self.others.values().filter(|request| is_old(request)) {
            dropped.add(request)?;
            self.bytes -= request.len();
        }
        self.others.retain(|_, request| !is_old(request));
        Ok(())
    }

    /// Replace all requests by what `change` writes for them. A copy in progress becomes void.
    pub fn rewrite(
        &mut self,
        mut change: impl FnMut(Request, &mut Vec<u8>) -> PyResult<()>,
    ) -> PyResult<()> {
        let mut to = Vec::new();
        self.copying = None;
        self.bytes = 0;
        for bucket in &mut self.buckets {
            let old = std::mem::take(bucket);
            for (record, request) in records(&old) {
                change(Request::new(&old[request.clone()])?, &mut to)?;
                let id = &old[record.start + LENGTH..request.start];
                let length = LENGTH + id.len() + to.len();
                bucket.extend_from_slice(&(length as u16).to_le_bytes());
                bucket.extend_from_slice(id);
                bucket.extend_from_slice(&to);
            }
            bucket.shrink_to_fit();
            bucket.note_all();
            self.bytes += bucket.len();
        }
        for request in self.others.values_mut() {
            change(Request::new(request)?, &mut to)?;
            request.clone_from(&to);
            self.bytes += request.len();
        }
        Ok(())
    }

    /// Put a request beside the buckets of a table that is being read.
    pub fn add_other(&mut self, id: &[u8], request: Vec<u8>) -> PyResult<()> {
        Request::new(&request)?.check()?;
        self.bytes += request.len();
        self.others.insert(id.into(), request);
        Ok(())
    }

    /// Set the content of a bucket of a table that is being read.
    pub fn fill(&mut self, number: usize, content: &[u8]) -> PyResult<()> {
        let malformed = || PyValueError::new_err(format!("a malformed bucket {number}"));
        let mut end = 0;
        for (record, request) in records(content) {
            if record.end > content.len() || request.start > request.end {
                return Err(malformed());
            }
            let request = Request::new(&content[request])?;
            request.check()?;
            self.latest_hour = self.latest_hour.max(request.first_seen_hour());
            self.count += 1;
            end = record.end;
        }
        if end != content.len() {
            return Err(malformed());
        }
        self.buckets[number] = Bucket::of_records(content.to_vec());
        self.bytes += content.len();
        Ok(())
    }

    pub fn begin_copy(&mut self) {
        let stop = self.buckets.len();
        self.copying = Some(Copying { start: 0, stop, preserved: FxHashMap::default() });
    }

    /// Copy up to `count` further buckets as they were; None if there are no more.
    pub fn copy(&mut self, count: usize) -> Option<(Vec<u8>, Vec<usize>)> {
        let copying = self.copying.as_mut()?;
        let numbers = copying.start..copying.stop.min(copying.start + count);
        if numbers.is_empty() {
            self.copying = None;
            return None;
        }
        copying.start = numbers.end;
        let (mut content, mut sizes) = (Vec::new(), Vec::with_capacity(numbers.len()));
        for number in numbers {
            let preserved = copying.preserved.remove(&number);
            let bucket = preserved.as_ref().unwrap_or(&self.buckets[number]);
            content.extend_from_slice(bucket);
            sizes.push(bucket.len());
        }
        Some((content, sizes))
    }

    pub fn end_copy(&mut self) {
        self.copying = None;
    }

    /// How many buckets were copied, and how many are kept because they changed.
    pub fn copy_progress(&self) -> Option<(usize, usize)> {
        self.copying.as_ref().map(|copying| (copying.start, copying.preserved.len()))
    }

    /// Keep a bucket that is about to change, if it is still to be copied.
    fn preserve(&mut self, number: usize) {
        if let Some(Copying { start, stop, preserved }) = &mut self.copying {
            if (*start..*stop).contains(&number) {
                preserved.entry(number).or_insert_with(|| self.buckets[number].clone());
            }
        }
    }
}
