//! Kinds of requests: their numbers and registers without digests and values; see `columns.py`.

use crate::join::requests::codec::{
    Reader, Register, DIGEST, RANK_SHIFT, REWARD, SEVERAL, TRUTH, VALUES,
};

/// What a register begins with.
pub struct Head {
    pub source_rank: u64,
    /// None if it follows from the content.
    pub digest: Option<u64>,
    /// Whether there is a list of items, and values beside them.
    pub several: bool,
    pub valued: bool,
}

impl Head {
    pub fn of(register: &Register) -> Option<Self> {
        let mut reader = Reader { bytes: register.bytes, at: 0 };
        let head = reader.number()?;
        reader.number()?;
        let mut digest = None;
        if head & DIGEST != 0 {
            digest = Some(u64::from_le_bytes(reader.take(8)?.try_into().ok()?));
        }
        Some(Head {
            source_rank: head >> RANK_SHIFT,
            digest,
            several: head & SEVERAL != 0,
            valued: head & VALUES != 0,
        })
    }
}

/// Divide numbers and registers into the kind and what is cut out.
pub fn cut(shape: &[u8], kind: &mut Vec<u8>, rest: &mut Vec<u8>) -> Option<()> {
    kind.clear();
    let mut end = 0;
    holes(shape, false, |at, length| {
        kind.extend_from_slice(&shape[end..at]);
        rest.extend_from_slice(&shape[at..at + length]);
        end = at + length;
    })?;
    kind.extend_from_slice(&shape[end..]);
    Some(())
}

/// A kind of a block that is read.
pub struct Kind<'a> {
    bytes: &'a [u8],
    /// The position and the length of what was cut out.
    holes: Vec<(usize, usize)>,
    /// Where the registers begin.
    registers: usize,
    /// The number of times, and the bytes that were cut out.
    pub times: usize,
    pub length: usize,
}

impl<'a> Kind<'a> {
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        let mut found = Vec::new();
        let (registers, times) = holes(bytes, true, |at, length| found.push((at, length)))?;
        let length = found.iter().try_fold(0usize, |sum, hole| sum.checked_add(hole.1))?;
        Some(Kind { bytes, holes: found, registers, times, length })
    }

    /// Write a packed request of this kind, but for its hour.
    pub fn write(&self, times: &[i64], rest: &[u8], to: &mut Vec<u8>) {
        to.extend_from_slice(&self.bytes[..self.registers]);
        for time in times {
            to.extend_from_slice(&time.to_le_bytes());
        }
        let (mut start, mut used) = (self.registers, 0);
        for &(at, length) in &self.holes {
            to.extend_from_slice(&self.bytes[start..at]);
            to.extend_from_slice(&rest[used..used + length]);
            (start, used) = (at, used + length);
        }
        to.extend_from_slice(&self.bytes[start..]);
    }
}

/// Find each digest and each item's values in the numbers and registers of a request, or where they go if
/// they are cut out: their positions and lengths. Returns where the registers begin, and the number of
/// times; None if the bytes are malformed.
fn holes(shape: &[u8], is_cut: bool, mut hole: impl FnMut(usize, usize)) -> Option<(usize, usize)> {
    let mut reader = Reader { bytes: shape, at: 0 };
    let predictions = reader.number()? as usize;
    let times = predictions.checked_add(reader.number()? as usize)?;
    let registers = reader.at;
    let mut found = |reader: &mut Reader, length: usize| {
        let at = reader.at;
        if !is_cut {
            reader.take(length)?;
        }
        hole(at, length);
        Some(())
    };
    for number in 0..times {
        let head = reader.number()?;
        reader.number()?;
        if head & DIGEST != 0 {
            found(&mut reader, 8)?;
        }
        if number >= predictions {
            if head & REWARD != 0 {
                reader.number()?;
            }
            if head & TRUTH == 0 {
                continue;
            }
        }
        for _ in 0..if head & SEVERAL != 0 { reader.number()? } else { 1 } {
            reader.number()?;
            if head & VALUES != 0 {
                let length = usize::try_from(reader.number()?).ok()?;
                found(&mut reader, length)?;
            }
        }
    }
    (reader.at == shape.len()).then_some((registers, times))
}
