//! The set of `id_set.py`: a table of slots, 0 where a slot is free.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A request as a number, computed as in `id_set.py`.
pub fn identity(prefix: &[u8], request_id: &[u8]) -> u64 {
    let mut state = blake2b_simd::Params::new().hash_length(8).to_state();
    let hash = state.update(prefix).update(request_id).finalize();
    u64::from_le_bytes(hash.as_bytes().try_into().unwrap()).max(1)
}

#[pyclass]
pub struct IdSet {
    slots: Vec<u64>,
    count: usize,
}

#[pymethods]
impl IdSet {
    #[new]
    fn new(content: &[u8]) -> PyResult<Self> {
        let slots =
            content.chunks_exact(8).map(|slot| u64::from_ne_bytes(slot.try_into().unwrap()));
        let slots: Vec<_> = slots.collect();
        if !content.len().is_multiple_of(8) || slots.len().count_ones() > 1 {
            return Err(PyValueError::new_err(format!("a set of {} bytes", content.len())));
        }
        let count = slots.iter().filter(|&&slot| slot != 0).count();
        Ok(IdSet { slots, count })
    }

    fn __len__(&self) -> usize {
        self.count
    }

    fn __contains__(&self, number: u64) -> bool {
        self.count != 0 && self.find(number).1
    }

    /// Add a number. Returns whether it is new.
    pub fn add(&mut self, number: u64) -> bool {
        // Five of eight slots may be used.
        if self.count * 8 >= self.slots.len() * 5 {
            let slots = vec![0; (self.slots.len() * 2).max(128)];
            let old = std::mem::replace(&mut self.slots, slots);
            for number in old.into_iter().filter(|&number| number != 0) {
                let (position, _) = self.find(number);
                self.slots[position] = number;
            }
        }
        let (position, known) = self.find(number);
        if !known {
            self.slots[position] = number;
            self.count += 1;
        }
        !known
    }

    fn content<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        PyBytes::new_with(py, self.slots.len() * 8, |bytes| {
            for (slot, bytes) in self.slots.iter().zip(bytes.chunks_exact_mut(8)) {
                bytes.copy_from_slice(&slot.to_ne_bytes());
            }
            Ok(())
        })
    }
}

impl IdSet {
    /// The slot of a number, or the free slot where it belongs, and whether the set has it.
    fn find(&self, number: u64) -> (usize, bool) {
        let mask = self.slots.len() - 1;
        let mut position = number as usize & mask;
        loop {
            match self.slots[position] {
                0 => return (position, false),
                current if current == number => return (position, true),
                _ => position = (position + 1) & mask,
            }
        }
    }
}
