//! The buckets of a table: runs of records, each the length, the packed id and the packed request.

use std::ops::{Deref, DerefMut, Range};

use crate::request_ids::{hash, packed_length};

/// A run of records, and a bit or two for the hash of each id that is among them, or was: most ids that a
/// bucket does not have are known by a bit that is missing, so that nothing is searched.
#[derive(Clone, Default)]
pub struct Bucket {
    content: Vec<u8>,
    filter: u64,
}

impl Bucket {
    pub fn with_capacity(capacity: usize) -> Self {
        Bucket { content: Vec::with_capacity(capacity), filter: 0 }
    }

    /// A bucket of complete records.
    pub fn of_records(content: Vec<u8>) -> Self {
        let mut bucket = Bucket { content, filter: 0 };
        bucket.note_all();
        bucket
    }

    /// Note the hash of an id whose record is added.
    pub fn note(&mut self, hash: u32) {
        self.filter |= bits(hash);
    }

    /// Note the ids of the records anew, after some were dropped.
    pub fn note_all(&mut self) {
        let ids =
            records(&self.content).map(|(record, request)| record.start + LENGTH..request.start);
        self.filter = ids.fold(0, |filter, id| filter | bits(hash(&self.content[id])));
    }

    /// Whether an id with this hash can be among the records.
    pub fn can_have(&self, hash: u32) -> bool {
        self.filter & bits(hash) == bits(hash)
    }

    /// Have the CPU load what is needed of the records for an id: all if it can be among them or if they
    /// are about to move to larger memory, else the end, where a new record goes.
    pub fn prefetch(&self, hash: u32) {
        let is_full = self.content.capacity() - self.content.len() < LIKELY_RECORD;
        let searched = self.can_have(hash) || is_full;
        prefetch(if searched { &self.content } else { &self.content[self.content.len()..] });
    }
}

/// Two bits of a filter; the lowest bits of a hash are the same for all ids of a bucket.
fn bits(hash: u32) -> u64 {
    1 << (hash >> 26) | 1 << (hash >> 20 & 63)
}

impl Deref for Bucket {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.content
    }
}

impl DerefMut for Bucket {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.content
    }
}

/// Bytes of a record's length.
pub const LENGTH: usize = 2;
/// Bytes of a new record, most often.
const LIKELY_RECORD: usize = 64;

/// The records of a bucket: the range of each, and of the request in it.
pub struct Records<'a> {
    bucket: &'a [u8],
    at: usize,
}

impl Iterator for Records<'_> {
    type Item = (Range<usize>, Range<usize>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        let head = self.bucket.get(start..start + LENGTH + 1)?;
        let end = start + usize::from(u16::from_le_bytes([head[0], head[1]]));
        self.at = end;
        Some((start..end, start + LENGTH + packed_length(head[2])..end))
    }
}

pub fn records(bucket: &[u8]) -> Records<'_> {
    Records { bucket, at: 0 }
}

/// The record of a packed id, and the request in it.
pub fn find(bucket: &[u8], packed_id: &[u8]) -> Option<(Range<usize>, Range<usize>)> {
    let last = |id: &[u8]| id.last_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    let wanted = last(packed_id);
    let mut at = 0;
    while let Some(head) = bucket.get(at..at + LENGTH) {
        let end = at + usize::from(u16::from_le_bytes([head[0], head[1]]));
        let request = at + LENGTH + packed_id.len();
        let id = bucket.get(at + LENGTH..request)?;
        // The last bytes of most other ids differ: this is sooner than to compare all.
        if last(id) == wanted && id == packed_id {
            return Some((at..end, request..end));
        }
        at = end;
    }
    None
}

/// Make room for `more` bytes; less than a vector that doubles.
fn reserve(bucket: &mut Vec<u8>, more: usize) {
    if bucket.capacity() < bucket.len() + more {
        bucket.reserve_exact(more.max(bucket.len() / 4));
    }
}

/// Replace a part of a bucket.
pub fn splice(bucket: &mut Vec<u8>, range: Range<usize>, by: &[&[u8]]) {
    let (old, new) = (bucket.len(), by.iter().map(|part| part.len()).sum::<usize>());
    let length = old - range.len() + new;
    if range.start == old {
        reserve(bucket, new);
        by.iter().for_each(|part| bucket.extend_from_slice(part));
        return;
    }
    if length > old {
        reserve(bucket, length - old);
        bucket.resize(length, 0);
        bucket.copy_within(range.end..old, range.start + new);
    } else {
        bucket.copy_within(range.end..old, range.start + new);
        bucket.truncate(length);
    }
    let mut at = range.start;
    for part in by {
        bucket[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
}

/// Bytes that the CPU loads at a time, and how many of them are loaded in advance: more than most buckets
/// have.
const LINE: usize = 64;
const MAX_LINES: usize = 16;

/// Have the CPU load the memory of a slice: a search then does not wait for each part of it.
#[inline]
pub fn prefetch<T>(content: &[T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_prefetch, _MM_HINT_T0};
        let lines = std::mem::size_of_val(content).div_ceil(LINE).clamp(1, MAX_LINES);
        let start = content.as_ptr().cast::<i8>();
        for line in 0..lines {
            // SAFETY: a prefetch reads nothing, and the address is within the slice or its last line.
            unsafe { _mm_prefetch(start.wrapping_add(line * LINE), _MM_HINT_T0) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = content;
}
