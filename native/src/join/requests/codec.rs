//! Packed requests: the counterpart of `requests/codec.py`, which describes the format.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::ids::ModelId;

pub const VALUES: u64 = 4;
pub const DIGEST: u64 = 8;
pub const SEVERAL: u64 = 16;
const PROVISIONAL: u64 = 1;
const RESTORED: u64 = 2;
pub const TRUTH: u64 = 1;
pub const REWARD: u64 = 2;
pub const RANK_SHIFT: u32 = 5;
const HOUR: usize = 4;

/// A packed request is malformed.
pub fn malformed() -> PyErr {
    PyValueError::new_err("a malformed packed request")
}

/// An item of a register: its position in the table of answers or truths, and its packed values.
#[derive(Clone, Copy, PartialEq)]
pub struct Item<'a> {
    pub position: u32,
    pub values: &'a [u8],
}

/// The items of a register.
#[derive(Clone, Copy)]
pub struct Items<'a> {
    count: usize,
    valued: bool,
    bytes: &'a [u8],
}

impl<'a> Items<'a> {
    pub fn iter(&self) -> impl Iterator<Item = PyResult<Item<'a>>> {
        let mut reader = Reader { bytes: self.bytes, at: 0 };
        let valued = self.valued;
        (0..self.count).map(move |_| reader.item(valued).ok_or_else(malformed))
    }
}

/// The register of a prediction or a feedback; `model` is the scope of a feedback.
pub struct Register<'a> {
    pub model: ModelId,
    pub time: i64,
    pub provisional: bool,
    pub restored: bool,
    pub source_rank: u64,
    /// None if it follows from the content.
    pub digest: Option<u64>,
    pub reward: Option<i64>,
    /// None for a feedback without truth.
    pub items: Option<Items<'a>>,
    /// All of it but the time.
    pub bytes: &'a [u8],
}

/// A packed request. Malformed bytes make an error, never a panic.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    bytes: &'a [u8],
    pub predictions: usize,
    pub feedbacks: usize,
    /// Where the times and the registers begin.
    times: usize,
    registers: usize,
}

impl<'a> Request<'a> {
    pub fn new(bytes: &'a [u8]) -> PyResult<Self> {
        Self::parse(bytes).ok_or_else(malformed)
    }

    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: HOUR };
        let predictions = reader.number()? as usize;
        let feedbacks = reader.number()? as usize;
        let times = reader.at;
        let registers = predictions.checked_add(feedbacks)?.checked_mul(8)?.checked_add(times)?;
        (registers <= bytes.len()).then_some(Request {
            bytes,
            predictions,
            feedbacks,
            times,
            registers,
        })
    }

    /// The log hour in which the request was first seen.
    pub fn first_seen_hour(&self) -> u32 {
        first_seen_hour(self.bytes)
    }

    /// The time (ns) of a prediction or feedback; those of predictions come first.
    pub fn time(&self, number: usize) -> i64 {
        let at = self.times + number * 8;
        i64::from_le_bytes(self.bytes[at..at + 8].try_into().unwrap())
    }

    /// Whether the predictions were counted earlier and came back from the archive.
    pub fn is_restored(&self) -> bool {
        let head = Reader { bytes: self.bytes, at: self.registers }.number();
        self.predictions > 0 && head.is_some_and(|head| head & RESTORED != 0)
    }

    /// Write all but the hour and the times.
    pub fn shape(&self, to: &mut Vec<u8>) {
        to.clear();
        to.extend_from_slice(&self.bytes[HOUR..self.times]);
        to.extend_from_slice(&self.bytes[self.registers..]);
    }

    /// The registers, those of predictions first.
    pub fn registers(&self) -> RegisterIter<'a> {
        let reader = Reader { bytes: self.bytes, at: self.registers };
        RegisterIter { request: *self, reader, number: 0 }
    }

    /// Whether an equal register, with this time or a later one, is among the predictions or feedbacks.
    pub fn has(&self, is_feedback: bool, time: i64, register: &[u8]) -> PyResult<bool> {
        let (skipped, count) =
            if is_feedback { (self.predictions, self.feedbacks) } else { (0, self.predictions) };
        for known in self.registers().skip(skipped).take(count) {
            let known = known?;
            if known.bytes == register && time <= known.time {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Fail unless the whole request can be read.
    pub fn check(&self) -> PyResult<()> {
        let mut registers = self.registers();
        for register in registers.by_ref() {
            for item in register?.items.iter().flat_map(Items::iter) {
                item?;
            }
        }
        if registers.reader.at == self.bytes.len() {
            Ok(())
        } else {
            Err(malformed())
        }
    }

    /// Write the request with a further prediction.
    pub fn with_prediction(&self, time: i64, register: &[u8], to: &mut Vec<u8>) -> PyResult<()> {
        let mut registers = self.registers();
        registers.by_ref().take(self.predictions).try_for_each(|one| one.map(|_| ()))?;
        let (split, times) = (registers.reader.at, self.times + self.predictions * 8);
        self.write_head(self.predictions + 1, self.feedbacks, to);
        to.extend_from_slice(&self.bytes[self.times..times]);
        to.extend_from_slice(&time.to_le_bytes());
        to.extend_from_slice(&self.bytes[times..split]);
        to.extend_from_slice(register);
        to.extend_from_slice(&self.bytes[split..]);
        Ok(())
    }

    /// Write the request with a further feedback.
    pub fn with_feedback(&self, time: i64, register: &[u8], to: &mut Vec<u8>) {
        self.write_head(self.predictions, self.feedbacks + 1, to);
        to.extend_from_slice(&self.bytes[self.times..self.registers]);
        to.extend_from_slice(&time.to_le_bytes());
        to.extend_from_slice(&self.bytes[self.registers..]);
        to.extend_from_slice(register);
    }

    /// The feedback of a request that has one, beside predictions.
    pub fn only_feedback(&self) -> PyResult<Option<Register<'a>>> {
        if self.feedbacks != 1 || self.predictions == 0 {
            return Ok(None);
        }
        self.registers().last().transpose()
    }

    /// Write the request with another feedback in place of its only one.
    pub fn with_other_feedback(
        &self,
        known: &Register,
        time: i64,
        register: &[u8],
        to: &mut Vec<u8>,
    ) {
        let end = self.bytes.len() - known.bytes.len();
        to.clear();
        to.extend_from_slice(&self.bytes[..self.registers - 8]);
        to.extend_from_slice(&time.to_le_bytes());
        to.extend_from_slice(&self.bytes[self.registers..end]);
        to.extend_from_slice(register);
    }

    fn write_head(&self, predictions: usize, feedbacks: usize, to: &mut Vec<u8>) {
        to.clear();
        to.extend_from_slice(&self.bytes[..HOUR]);
        add(to, predictions as u64);
        add(to, feedbacks as u64);
    }

    /// Write the request with other positions.
    pub fn renumbered(
        &self,
        mut of: impl FnMut(Table, u32) -> PyResult<u32>,
        to: &mut Vec<u8>,
    ) -> PyResult<()> {
        to.clear();
        to.extend_from_slice(&self.bytes[..self.registers]);
        let mut reader = Reader { bytes: self.bytes, at: self.registers };
        let copy = |reader: &Reader, to: &mut Vec<u8>, start: usize| {
            to.extend_from_slice(&self.bytes[start..reader.at]);
        };
        for number in 0..self.predictions + self.feedbacks {
            let start = reader.at;
            let head = reader.number().ok_or_else(malformed)?;
            copy(&reader, to, start);
            let model = reader.position().ok_or_else(malformed)?;
            add(to, u64::from(of(Table::Models, model)?));
            let start = reader.at;
            let is_feedback = number >= self.predictions;
            let count = reader.items_head(head, is_feedback).ok_or_else(malformed)?;
            copy(&reader, to, start);
            let table = if is_feedback { Table::Truths } else { Table::Answers };
            for _ in 0..count.unwrap_or(0) {
                let item = reader.item(head & VALUES != 0).ok_or_else(malformed)?;
                add(to, u64::from(of(table, item.position)?));
                add_values(to, item.values, head & VALUES != 0);
            }
        }
        Ok(())
    }
}

/// The tables of a state that registers refer to.
#[derive(Clone, Copy, PartialEq)]
pub enum Table {
    Models,
    Answers,
    Truths,
}

/// The log hour in which a packed request was first seen.
pub fn first_seen_hour(request: &[u8]) -> u32 {
    u32::from_le_bytes(request[..HOUR].try_into().unwrap())
}

/// Reads the registers of a request.
pub struct RegisterIter<'a> {
    request: Request<'a>,
    reader: Reader<'a>,
    number: usize,
}

impl<'a> Iterator for RegisterIter<'a> {
    type Item = PyResult<Register<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let Request { predictions, feedbacks, .. } = self.request;
        if self.number >= predictions + feedbacks {
            return None;
        }
        let time = self.request.time(self.number);
        let is_feedback = self.number >= predictions;
        self.number += 1;
        Some(self.reader.register(time, is_feedback).ok_or_else(malformed))
    }
}

/// Reads numbers and bytes, one after another; None at the end.
pub struct Reader<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
}

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Some(number);
            }
        }
        None
    }

    fn position(&mut self) -> Option<u32> {
        u32::try_from(self.number()?).ok()
    }

    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(length)?;
        let found = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(found)
    }

    fn item(&mut self, valued: bool) -> Option<Item<'a>> {
        let position = self.position()?;
        let length = if valued { self.number()? as usize } else { 0 };
        Some(Item { position, values: self.take(length)? })
    }

    /// Skip what stands between the model and the items of a register. Returns the number of items.
    fn items_head(&mut self, head: u64, is_feedback: bool) -> Option<Option<usize>> {
        if head & DIGEST != 0 {
            self.take(8)?;
        }
        if is_feedback && head & REWARD != 0 {
            self.number()?;
        }
        if is_feedback && head & TRUTH == 0 {
            return Some(None);
        }
        let count = if head & SEVERAL != 0 { self.number()? as usize } else { 1 };
        Some(Some(count))
    }

    fn register(&mut self, time: i64, is_feedback: bool) -> Option<Register<'a>> {
        let first = self.at;
        let head = self.number()?;
        let model = ModelId(self.position()?);
        let start = self.at;
        let count = self.items_head(head, is_feedback)?;
        let mut fields = Reader { bytes: self.bytes, at: start };
        let mut digest = None;
        if head & DIGEST != 0 {
            digest = Some(u64::from_le_bytes(fields.take(8)?.try_into().ok()?));
        }
        let mut reward = None;
        if is_feedback && head & REWARD != 0 {
            let number = fields.number()?;
            reward = Some((number >> 1) as i64 ^ -((number & 1) as i64));
        }
        let mut items = None;
        if let Some(count) = count {
            let valued = head & VALUES != 0;
            let start = self.at;
            for _ in 0..count {
                self.item(valued)?;
            }
            let bytes = &self.bytes[start..self.at];
            items = Some(Items { count, valued, bytes });
        }
        Some(Register {
            model,
            time,
            provisional: !is_feedback && head & PROVISIONAL != 0,
            restored: !is_feedback && head & RESTORED != 0,
            source_rank: head >> RANK_SHIFT,
            digest,
            reward,
            items,
            bytes: &self.bytes[first..self.at],
        })
    }
}

fn add(to: &mut Vec<u8>, mut number: u64) {
    while number > 127 {
        to.push(number as u8 & 127 | 128);
        number >>= 7;
    }
    to.push(number as u8);
}

fn add_values(to: &mut Vec<u8>, values: &[u8], valued: bool) {
    if valued {
        add(to, values.len() as u64);
        to.extend_from_slice(values);
    }
}

/// A register to be written; `digest` unless it follows from the content.
pub struct NewRegister<'a> {
    pub model: ModelId,
    pub source_rank: u64,
    pub digest: Option<u64>,
    pub items: Option<NewItems<'a>>,
}

#[derive(Clone, Copy)]
pub struct NewItems<'a> {
    pub items: &'a [Item<'a>],
    pub several: bool,
    pub valued: bool,
}

impl NewRegister<'_> {
    /// Write the register of a prediction.
    pub fn write_prediction(&self, provisional: bool, to: &mut Vec<u8>) {
        self.write(if provisional { PROVISIONAL } else { 0 }, None, to);
    }

    /// Write the register of a feedback.
    pub fn write_feedback(&self, reward: Option<i64>, to: &mut Vec<u8>) {
        let truth = if self.items.is_some() { TRUTH } else { 0 };
        self.write(truth | if reward.is_some() { REWARD } else { 0 }, reward, to);
    }

    fn write(&self, mut head: u64, reward: Option<i64>, to: &mut Vec<u8>) {
        to.clear();
        let items = self.items.as_ref();
        head |= if items.is_some_and(|items| items.several) { SEVERAL } else { 0 };
        head |= if items.is_some_and(|items| items.valued) { VALUES } else { 0 };
        head |= if self.digest.is_some() { DIGEST } else { 0 };
        add(to, self.source_rank << RANK_SHIFT | head);
        add(to, u64::from(self.model.0));
        if let Some(digest) = self.digest {
            to.extend_from_slice(&digest.to_le_bytes());
        }
        if let Some(reward) = reward {
            add(to, (reward << 1 ^ reward >> 63) as u64);
        }
        let Some(items) = items else { return };
        if items.several {
            add(to, items.items.len() as u64);
        }
        for item in items.items {
            add(to, u64::from(item.position));
            add_values(to, item.values, items.valued);
        }
    }
}

/// Write a new request with one register.
pub fn write_new(hour: u32, is_feedback: bool, time: i64, register: &[u8], to: &mut Vec<u8>) {
    to.clear();
    to.extend_from_slice(&hour.to_le_bytes());
    to.extend_from_slice(if is_feedback { &[0, 1] } else { &[1, 0] });
    to.extend_from_slice(&time.to_le_bytes());
    to.extend_from_slice(register);
}
