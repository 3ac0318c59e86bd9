//! Reads the records of a Kafka record batch (version 2, not compressed).

use smallvec::SmallVec;

/// Reads the records of a batch, one after another.
pub struct RecordBatch<'a> {
    bytes: Bytes<'a>,
    remaining: i64,
    base_offset: i64,
    first_timestamp: i64,
    /// The greatest timestamp of its records (ms).
    pub latest: i64,
    /// The timestamp of all records (ms), if the broker has set it.
    appended: Option<i64>,
}

impl<'a> RecordBatch<'a> {
    /// Parse the head of a batch; None if it is too short.
    pub fn new(batch: &'a [u8]) -> Option<Self> {
        let long = |at: usize| Some(i64::from_be_bytes(batch.get(at..at + 8)?.try_into().ok()?));
        let word = |at: usize| Some(i32::from_be_bytes(batch.get(at..at + 4)?.try_into().ok()?));
        let attributes = u16::from_be_bytes(batch.get(21..23)?.try_into().ok()?);
        let latest = long(35)?;
        Some(RecordBatch {
            base_offset: long(0)?,
            first_timestamp: long(27)?,
            latest,
            appended: (attributes & 8 != 0).then_some(latest),
            remaining: i64::from(word(57)?),
            bytes: Bytes { data: batch, at: 61 },
        })
    }

    /// The next record: None at the end, `Some(None)` if it is malformed.
    pub fn next(&mut self) -> Option<Option<Record<'a>>> {
        if self.remaining <= 0 {
            return None;
        }
        self.remaining -= 1;
        Some(self.record())
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let bytes = &mut self.bytes;
        bytes.varint()?;
        bytes.at += 1;
        let timestamp = self.first_timestamp.wrapping_add(bytes.varint()?);
        let offset = self.base_offset.wrapping_add(bytes.varint()?);
        let (key, value) = (bytes.sized()?, bytes.sized()?);
        let count = bytes.varint()?;
        let mut headers = SmallVec::new();
        for _ in 0..count {
            headers.push((bytes.sized()??, bytes.sized()?));
        }
        Some(Record { offset, timestamp: self.appended.unwrap_or(timestamp), key, value, headers })
    }
}

struct Bytes<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bytes<'a> {
    /// An integer in Kafka's encoding: zigzag, seven bits in a byte.
    fn varint(&mut self) -> Option<i64> {
        let mut number: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self.data.get(self.at)?;
            self.at += 1;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        None
    }

    /// Bytes with their length in front: `Some(None)` for null.
    fn sized(&mut self) -> Option<Option<&'a [u8]>> {
        let length = self.varint()?;
        if length < 0 {
            return Some(None);
        }
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        let found = self.data.get(self.at..end)?;
        self.at = end;
        Some(Some(found))
    }
}

/// The name and the value of a header.
type Header<'a> = (&'a [u8], Option<&'a [u8]>);

/// One record of a batch.
pub struct Record<'a> {
    pub offset: i64,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: SmallVec<[Header<'a>; 12]>,
}
