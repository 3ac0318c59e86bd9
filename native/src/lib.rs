//! The native extension: decoding and joining of the common case. Every part has a counterpart in Python
//! that decides what is right; whatever is not the common case is handed back to it.

mod accumulator;
mod body;
mod collections;
mod completed;
mod document;
mod errors;
mod event;
mod fast_path;
mod id_set;
mod ids;
mod json;
mod judgements;
mod pack;
mod partition;
mod reader;
mod record_batch;
mod request_ids;
mod rows;
mod table;
mod times;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<fast_path::FastPath>()?;
    module.add_class::<accumulator::DeltaAccumulator>()?;
    module.add_class::<reader::Reader>()?;
    module.add_function(wrap_pyfunction!(table::expire, module)?)
}
