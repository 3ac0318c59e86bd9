//! What is counted in a bucket or a window, and its closed form: few bytes that are not read often.

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;

use crate::collections::OrderedMap;
use crate::tally::labels::Label;
use crate::tally::sums::Sums;

/// Predictions, judged, correct, unknown actual, rewards, their sum in millionths, disagreements.
pub type Totals = [i64; 7];

/// The place of the judged items among the totals.
pub const JUDGED: usize = 1;

/// The parts of counts that a change adds, as in Python.
pub const LABELS: u8 = 1;
pub const SUMS: u8 = 2;
pub const DELAYS: u8 = 4;
pub const ALL: u8 = LABELS | SUMS | DELAYS;

/// Totals, cells in the order of insertion, and sums; what is zero is in neither. The sums of delays are
/// apart from the others.
#[derive(Clone, Default)]
pub struct Content {
    pub totals: Totals,
    pub cells: OrderedMap<(Label, Label), i64>,
    pub sums: Sums,
    pub delays: Sums,
}

impl Content {
    pub fn add_totals(&mut self, totals: &Totals, sign: i64) -> PyResult<()> {
        for (total, &number) in self.totals.iter_mut().zip(totals) {
            *total = checked(*total, number, sign)?;
        }
        Ok(())
    }

    pub fn add_cell(&mut self, cell: (Label, Label), n: i64, sign: i64) -> PyResult<()> {
        let total = self.cells.entry(cell).or_insert(0);
        *total = checked(*total, n, sign)?;
        if *total == 0 {
            self.cells.shift_remove(&cell);
        }
        Ok(())
    }

    pub fn add(&mut self, other: &Content, sign: i64, part: u8) -> PyResult<()> {
        if part & LABELS != 0 {
            self.add_totals(&other.totals, sign)?;
            for (&cell, &n) in &other.cells {
                self.add_cell(cell, n, sign)?;
            }
        }
        if part & SUMS != 0 {
            self.sums.add(&other.sums, sign < 0);
        }
        if part & DELAYS != 0 {
            self.delays.add(&other.delays, sign < 0);
        }
        Ok(())
    }

    /// Set all to zero, and keep the memory: the sums keep their rows, see `Sums::zero`.
    pub fn zero(&mut self) {
        self.totals = [0; 7];
        self.cells.clear();
        self.sums.zero();
        self.delays.zero();
    }

    pub fn is_empty(&self) -> bool {
        self.totals == [0; 7]
            && self.cells.is_empty()
            && self.sums.is_empty()
            && self.delays.is_empty()
    }

    /// Totals and cells as bytes of as few as possible, then the packed sums after their length, and the
    /// packed delays.
    pub fn close(&self, sums: &[u8], delays: &[u8]) -> Box<[u8]> {
        let length = 20 + 4 * self.cells.len() + sums.len() + delays.len();
        let mut bytes = Vec::with_capacity(length);
        self.totals.iter().for_each(|&total| write(&mut bytes, total));
        write(&mut bytes, self.cells.len() as i64);
        for (&(actual, predicted), &n) in &self.cells {
            write(&mut bytes, actual.into());
            write(&mut bytes, predicted.into());
            write(&mut bytes, n);
        }
        write(&mut bytes, sums.len() as i64);
        bytes.extend_from_slice(sums);
        bytes.extend_from_slice(delays);
        bytes.into_boxed_slice()
    }

    /// Read what `close` wrote; the packed sums and delays are returned.
    pub fn open(mut bytes: &[u8]) -> (Content, &[u8], &[u8]) {
        let mut content = Content::default();
        content.totals.iter_mut().for_each(|total| *total = read(&mut bytes));
        for _ in 0..read(&mut bytes) {
            let cell = (read(&mut bytes) as Label, read(&mut bytes) as Label);
            content.cells.insert(cell, read(&mut bytes));
        }
        let length = read(&mut bytes) as usize;
        (content, &bytes[..length], &bytes[length..])
    }
}

fn checked(sum: i64, number: i64, sign: i64) -> PyResult<i64> {
    let signed = number.checked_mul(sign);
    signed
        .and_then(|signed| sum.checked_add(signed))
        .ok_or_else(|| PyOverflowError::new_err("a count that does not fit into 64 bits"))
}

/// Seven bits in each byte, the lowest first, the sign in the lowest of all.
pub fn write(bytes: &mut Vec<u8>, number: i64) {
    let mut rest = (number << 1 ^ number >> 63) as u64;
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

pub fn read(bytes: &mut &[u8]) -> i64 {
    let (mut number, mut shift) = (0, 0);
    loop {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        number |= u64::from(byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return (number >> 1) as i64 ^ -((number & 1) as i64);
        }
    }
}
