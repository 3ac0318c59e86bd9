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

    pub fn list(&mut self) -> PyResult<usize> {
        match self.byte()? {
            tag @ 0x90..=0x9f => Ok(usize::from(tag & 0x0f)),
            0xdc => Ok(self.unsigned(2)? as usize),
            0xdd => Ok(self.unsigned(4)? as usize),
            _ => Err(malformed()),
        }
    }

    pub fn text(&mut self) -> PyResult<&'a str> {
        match self.amount()? {
            Amount::Text(text) => Ok(text),
            Amount::Integer(_) => Err(malformed()),
        }
    }

    pub fn integer(&mut self) -> PyResult<i64> {
        match self.amount()? {
            Amount::Integer(number) => Ok(number),
            Amount::Text(_) => Err(malformed()),
        }
    }

    /// A number that is a position.
    pub fn position(&mut self) -> PyResult<usize> {
        usize::try_from(self.integer()?).map_err(|_| malformed())
    }

    pub fn amount(&mut self) -> PyResult<Amount<'a>> {
        let integer = match self.byte()? {
            number @ 0..=0x7f => i64::from(number),
            number @ 0xe0..=0xff => i64::from(number as i8),
            0xcc => self.unsigned(1)? as i64,
            0xcd => self.unsigned(2)? as i64,
            0xce => self.unsigned(4)? as i64,
            0xcf => i64::try_from(self.unsigned(8)?).map_err(|_| malformed())?,
            0xd0 => i64::from(self.unsigned(1)? as i8),
            0xd1 => i64::from(self.unsigned(2)? as i16),
            0xd2 => i64::from(self.unsigned(4)? as i32),
            0xd3 => self.unsigned(8)? as i64,
            tag @ 0xa0..=0xbf => return self.characters(usize::from(tag & 0x1f)),
            tag @ 0xd9..=0xdb => {
                let length = self.unsigned(1 << (tag - 0xd9))? as usize;
                return self.characters(length);
            }
            _ => return Err(malformed()),
        };
        Ok(Amount::Integer(integer))
    }

    fn characters(&mut self, length: usize) -> PyResult<Amount<'a>> {
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map(Amount::Text).map_err(|_| malformed())
    }

    fn unsigned(&mut self, length: usize) -> PyResult<u64> {
        Ok(self.take(length)?.iter().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn byte(&mut self) -> PyResult<u8> {
        Ok(self.take(1)?[0])
    }

    fn take(&mut self, length: usize) -> PyResult<&'a [u8]> {
        if length > self.bytes.len() {
            return Err(malformed());
        }
        let (taken, rest) = self.bytes.split_at(length);
        self.bytes = rest;
        Ok(taken)
    }
}

pub fn malformed() -> PyErr {
    PyValueError::new_err("malformed MessagePack of deltas or sums")
}
