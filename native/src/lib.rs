//! The compiled part: what is usual, at speed. Everything here has a twin in Python that decides what
//! is right; whatever is not usual is handed back to it.

mod batch;
mod body;
mod document;
mod event;
mod ids;
mod join;
mod json;
mod ledger;
mod pack;
mod partition;
mod reader;
mod rows;
mod settle;
mod table;
mod times;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<join::FastPath>()?;
    module.add_class::<ledger::DeltaAccumulator>()?;
    module.add_class::<reader::Reader>()?;
    module.add_function(wrap_pyfunction!(table::expire, module)?)
}
