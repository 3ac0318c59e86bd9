//! The set of `id_set.py`: its table is a bytearray of 8-byte slots, 0 where a slot is free.

use pyo3::prelude::*;
use pyo3::types::PyByteArray;

/// A request as a number, computed as in `id_set.py`.
pub fn identity(prefix: &[u8], request_id: &[u8]) -> u64 {
    let mut state = blake2b_simd::Params::new().hash_length(8).to_state();
    let hash = state.update(prefix).update(request_id).finalize();
    u64::from_le_bytes(hash.as_bytes().try_into().unwrap()).max(1)
}

/// A set that Python keeps; its count is written back by `close`.
pub struct IdSet<'py> {
    set: Bound<'py, PyAny>,
    table: Bound<'py, PyByteArray>,
    count: usize,
    grow_at: usize,
}

impl<'py> IdSet<'py> {
    pub fn open(set: Bound<'py, PyAny>) -> PyResult<Self> {
        let table = set.getattr("table")?.cast_into::<PyByteArray>()?;
        let count = set.getattr("count")?.extract()?;
        let grow_at = grow_at(&table);
        Ok(IdSet { set, table, count, grow_at })
    }

    pub fn close(&self) -> PyResult<()> {
        self.set.setattr("count", self.count)
    }

    /// Add a number. Returns whether it is new.
    pub fn add(&mut self, number: u64) -> PyResult<bool> {
        if self.count >= self.grow_at {
            self.close()?;
            self.set.call_method0("grow")?;
            self.table = self.set.getattr("table")?.cast_into::<PyByteArray>()?;
            self.grow_at = grow_at(&self.table);
        }
        // SAFETY: no Python code runs while the slice exists.
        let slots = unsafe { self.table.as_bytes_mut() };
        let mask = slots.len() / 8 - 1;
        let mut position = number as usize & mask;
        loop {
            let slot = &mut slots[position * 8..position * 8 + 8];
            let current = u64::from_ne_bytes((&*slot).try_into().unwrap());
            if current == number {
                return Ok(false);
            }
            if current == 0 {
                slot.copy_from_slice(&number.to_ne_bytes());
                self.count += 1;
                return Ok(true);
            }
            position = (position + 1) & mask;
        }
    }
}

/// Five of eight slots.
fn grow_at(table: &Bound<'_, PyByteArray>) -> usize {
    table.len() / 64 * 5
}
