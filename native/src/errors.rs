//! Errors that several modules raise, and the look-up that raises one of them.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The rows of a batch are malformed, or point outside of its dictionaries.
pub fn malformed_rows() -> PyErr {
    PyValueError::new_err("malformed MessagePack rows")
}

/// The entry of a batch's dictionary that a row points at.
pub fn resolve<T: Copy>(dictionary: &[T], position: usize) -> PyResult<T> {
    dictionary.get(position).copied().ok_or_else(malformed_rows)
}
