//! The notes of `notes.py`: which events belong to which requests, before they are in the archive's index,
//! and filters that say of most requests that the index does not have them.

use std::collections::BTreeMap;

use pyo3::prelude::*;
use rustc_hash::FxHashMap;

/// A filter has blocks of 512 bits, each a line of the cache; a request sets five bits of one block.
const BLOCKS: usize = 1 << 16;
const WORDS: usize = 8;
const BITS: u32 = 5;

/// A set of requests that may say that it has one that it does not have.
struct Filter(Vec<u64>);

impl Filter {
    fn new() -> Self {
        Filter(vec![0; BLOCKS * WORDS])
    }

    fn bits(request: i64) -> impl Iterator<Item = (usize, u64)> {
        // Requests are digests, so all of their bits are random.
        let request = request as u64;
        let block = (request as usize % BLOCKS) * WORDS;
        (0..BITS).map(move |number| {
            let bit = request >> (16 + 9 * number) & 511;
            (block + (bit >> 6) as usize, 1 << (bit & 63))
        })
    }

    fn add(&mut self, request: i64) {
        for (word, bit) in Filter::bits(request) {
            self.0[word] |= bit;
        }
    }

    fn may_have(&self, request: i64) -> bool {
        Filter::bits(request).all(|(word, bit)| self.0[word] & bit != 0)
    }
}

/// Notes in the order in which they came, and chains of those of each request.
#[derive(Default)]
struct Buffer {
    notes: Vec<(i64, i64, Option<u32>)>,
    newest: FxHashMap<i64, u32>,
}

impl Buffer {
    fn add(&mut self, request: i64, seq: i64) {
        let before = self.newest.insert(request, self.notes.len() as u32);
        self.notes.push((request, seq, before));
    }

    fn find(&self, request: i64, to: &mut Vec<i64>) {
        let mut next = self.newest.get(&request).copied();
        while let Some(at) = next {
            let (_, seq, before) = self.notes[at as usize];
            to.push(seq);
            next = before;
        }
    }
}

#[pyclass]
pub struct Notes {
    segment_bits: u32,
    max_filters: usize,
    /// Notes that wait, and those that are being written.
    waiting: Buffer,
    writing: Buffer,
    /// The rows of the index that are being written, sorted.
    rows: Vec<(i64, i64, i64)>,
    /// By segment: of requests that have notes in the index, or here.
    filters: BTreeMap<i64, Filter>,
    /// The last segment of the index that may have notes which no filter knows.
    unknown: i64,
}

#[pymethods]
impl Notes {
    #[new]
    fn new(segment_bits: u32, max_filters: usize, unknown: i64) -> Self {
        let (waiting, writing) = Default::default();
        let rows = Vec::new();
        let filters = BTreeMap::new();
        Notes { segment_bits, max_filters, waiting, writing, rows, filters, unknown }
    }

    fn __len__(&self) -> usize {
        self.waiting.notes.len()
    }

    fn add(&mut self, notes: Vec<(i64, i64)>) {
        for (request, seq) in notes {
            let segment = seq >> self.segment_bits;
            if segment > self.unknown && !self.filters.contains_key(&segment) {
                self.begin(segment);
            }
            if let Some(filter) = self.filters.get_mut(&segment) {
                filter.add(request);
            }
            self.waiting.add(request, seq);
        }
    }

    fn places(&self, requests: Vec<i64>, first: i64, last: i64) -> Vec<(i64, i64)> {
        let mut found = Vec::new();
        for segment in first..=last {
            let filter = self.filters.get(&segment);
            let may_have = |request| filter.is_none_or(|filter| filter.may_have(request));
            let some = requests.iter().filter(|&&request| may_have(request));
            found.extend(some.map(|&request| (segment, request)));
        }
        found
    }

    fn find(&self, requests: Vec<i64>) -> Vec<i64> {
        let mut found = Vec::new();
        for request in requests {
            self.waiting.find(request, &mut found);
            self.writing.find(request, &mut found);
        }
        found
    }

    fn begin_write(&mut self) -> usize {
        let more = std::mem::take(&mut self.waiting);
        if self.writing.notes.is_empty() {
            self.writing = more;
        } else {
            more.notes.iter().for_each(|&(request, seq, _)| self.writing.add(request, seq));
        }
        let of = |&(request, seq, _): &(i64, i64, _)| (seq >> self.segment_bits, request, seq);
        self.rows = self.writing.notes.iter().map(of).collect();
        self.rows.sort_unstable();
        self.rows.len()
    }

    fn rows(&self, start: usize, count: usize) -> Vec<(i64, i64, i64)> {
        self.rows.iter().skip(start).take(count).copied().collect()
    }

    fn end_write(&mut self) {
        self.writing = Buffer::default();
        self.rows = Vec::new();
    }
}

impl Notes {
    /// Begin the filter of a segment that has no notes yet.
    fn begin(&mut self, segment: i64) {
        self.filters.insert(segment, Filter::new());
        while self.filters.len() > self.max_filters {
            self.filters.pop_first();
        }
        // A segment that was forgotten must not get a filter again that lacks its notes.
        if self.filters.len() == self.max_filters {
            let first = self.filters.keys().next().map_or(0, |first| *first);
            self.unknown = self.unknown.max(first - 1);
        }
    }
}
