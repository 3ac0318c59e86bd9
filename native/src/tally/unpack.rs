//! Reads the MessagePack of deltas and of packed sums.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

pub struct Unpacker<'a> {
    bytes: &'a [u8],
}

/// An integer, or a text that is one which is too long for MessagePack.
pub enum Amount<'a> {
    Integer(i64),
    Text(&'a str),
}

impl<'a> Unpacker<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Unpacker { bytes }
    }

    /// The number of bytes that are left.
    pub fn rest(&self) -> usize {
        self.bytes.len()
    }

    pub fn list(&mut self) -> Result<usize, Malformed> {
        match self.byte()? {
            tag @ 0x90..=0x9f => Ok(usize::from(tag & 0x0f)),
            0xdc => Ok(self.unsigned(2)? as usize),
            0xdd => Ok(self.unsigned(4)? as usize),
            _ => Err(Malformed),
        }
    }

    pub fn text(&mut self) -> Result<&'a str, Malformed> {
        match self.amount()? {
            Amount::Text(text) => Ok(text),
            Amount::Integer(_) => Err(Malformed),
        }
    }

    /// Pass over a list of texts, and return it as it is encoded.
    pub fn texts(&mut self) -> Result<&'a [u8], Malformed> {
        let all = self.bytes;
        for _ in 0..self.list()? {
            let length = match self.byte()? {
                tag @ 0xa0..=0xbf => usize::from(tag & 0x1f),
                tag @ 0xd9..=0xdb => self.unsigned(1 << (tag - 0xd9))? as usize,
                _ => return Err(Malformed),
            };
            self.take(length)?;
        }
        Ok(&all[..all.len() - self.bytes.len()])
    }

    #[inline]
    pub fn integer(&mut self) -> Result<i64, Malformed> {
        // Most numbers of deltas are small.
        if let [number @ 0..=0x7f, rest @ ..] = self.bytes {
            self.bytes = rest;
            return Ok(i64::from(*number));
        }
        match self.amount()? {
            Amount::Integer(number) => Ok(number),
            Amount::Text(_) => Err(Malformed),
        }
    }

    /// A number that is a position.
    pub fn position(&mut self) -> Result<usize, Malformed> {
        usize::try_from(self.integer()?).map_err(|_| Malformed)
    }

    pub fn amount(&mut self) -> Result<Amount<'a>, Malformed> {
        let integer = match self.byte()? {
            number @ 0..=0x7f => i64::from(number),
            number @ 0xe0..=0xff => i64::from(number as i8),
            0xcc => self.unsigned(1)? as i64,
            0xcd => self.unsigned(2)? as i64,
            0xce => self.unsigned(4)? as i64,
            0xcf => i64::try_from(self.unsigned(8)?).map_err(|_| Malformed)?,
            0xd0 => i64::from(self.unsigned(1)? as i8),
            0xd1 => i64::from(self.unsigned(2)? as i16),
            0xd2 => i64::from(self.unsigned(4)? as i32),
            0xd3 => self.unsigned(8)? as i64,
            tag @ 0xa0..=0xbf => return self.characters(usize::from(tag & 0x1f)),
            tag @ 0xd9..=0xdb => {
                let length = self.unsigned(1 << (tag - 0xd9))? as usize;
                return self.characters(length);
            }
            _ => return Err(Malformed),
        };
        Ok(Amount::Integer(integer))
    }

    fn characters(&mut self, length: usize) -> Result<Amount<'a>, Malformed> {
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(Amount::Text).map_err(|_| Malformed)
    }

    #[inline(always)] // so the length is a constant
    fn unsigned(&mut self, length: usize) -> Result<u64, Malformed> {
        let mut number = [0; 8];
        number[8 - length..].copy_from_slice(self.take(length)?);
        Ok(u64::from_be_bytes(number))
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Malformed> {
        if length > self.bytes.len() {
            return Err(Malformed);
        }
        let (taken, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        Ok(taken)
    }
}

/// MessagePack of another form than Python writes. It is smaller than an error of Python, which would be
/// moved about at each number.
#[derive(Debug)]
pub struct Malformed;

impl From<Malformed> for PyErr {
    fn from(_: Malformed) -> Self {
        PyValueError::new_err("malformed MessagePack of deltas or sums")
    }
}
