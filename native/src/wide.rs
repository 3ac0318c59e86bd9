//! Integers of more than 128 bits.

use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::pack;

/// A sum of this size or more is packed as text: MessagePack has no longer integers.
const LARGE: i64 = 1 << 62;

/// An integer: `low + carry * 2^128`. Squares of numbers are up to 4 * 10^36 each, so that a few dozen of
/// them exceed 128 bits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Wide {
    pub low: i128,
    pub carry: i64,
}

impl Wide {
    pub fn plus(self, other: Wide) -> Wide {
        let (low, overflows) = self.low.overflowing_add(other.low);
        let overflow = if !overflows { 0 } else { 1 - 2 * i64::from(other.low < 0) };
        Wide { low, carry: self.carry + other.carry + overflow }
    }

    pub fn negated(self) -> Wide {
        let overflow = i64::from(self.low == i128::MIN);
        Wide { low: self.low.wrapping_neg(), carry: overflow - self.carry }
    }

    pub fn from_python(number: &Bound<'_, PyAny>) -> PyResult<Wide> {
        if let Ok(low) = number.extract() {
            return Ok(Wide { low, carry: 0 });
        }
        let half = 1i128.into_pyobject(number.py())?.lshift(127)?;
        let carry = number.add(half)?.rshift(128)?;
        let low = number.sub(carry.lshift(128)?)?.extract()?;
        // With more bits the sum of many would not fit any more.
        let carry: i32 = carry.extract().map_err(|_| {
            PyOverflowError::new_err("a number of a statistic that does not fit into 160 bits")
        })?;
        Ok(Wide { low, carry: carry.into() })
    }

    pub fn to_python(self, py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
        let low = self.low.into_pyobject(py)?.into_any();
        if self.carry == 0 {
            return Ok(low);
        }
        self.carry.into_pyobject(py)?.lshift(128)?.add(low)
    }

    pub fn parse(py: Python<'_>, text: &str) -> PyResult<Wide> {
        match text.parse() {
            Ok(low) => Ok(Wide { low, carry: 0 }),
            Err(_) => Wide::from_python(&py.get_type::<PyInt>().call1((text,))?),
        }
    }

    fn text(self, py: Python<'_>) -> PyResult<String> {
        if self.carry == 0 {
            return Ok(self.low.to_string());
        }
        Ok(self.to_python(py)?.str()?.to_str()?.to_owned())
    }

    /// Append the number in MessagePack.
    pub fn pack(self, py: Python<'_>, to: &mut Vec<u8>) -> PyResult<()> {
        match i64::try_from(self.low) {
            Ok(n) if self.carry == 0 && -LARGE < n && n < LARGE => pack::integer(to, n),
            _ => pack::text(to, &self.text(py)?),
        }
        Ok(())
    }
}

impl From<i64> for Wide {
    fn from(low: i64) -> Self {
        Wide::from(i128::from(low))
    }
}

impl From<i128> for Wide {
    fn from(low: i128) -> Self {
        Wide { low, carry: 0 }
    }
}
