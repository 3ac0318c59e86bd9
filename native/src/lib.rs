//! The native extension: decoding and joining of the common case. Every part has a counterpart in Python
//! that decides what is right; whatever is not the common case is handed back to it.
//!
//! Without the feature `python` there are the readers of events alone, and `checks` of them.

#![cfg_attr(not(feature = "python"), allow(dead_code))]

mod collections;
mod digests;
#[cfg(feature = "python")]
mod errors;
mod events;
#[cfg(feature = "python")]
mod ids;
#[cfg(feature = "python")]
mod join;
#[cfg(feature = "python")]
mod kept;
#[cfg(feature = "python")]
mod notes;
mod pack;
mod quantities;
#[cfg(feature = "python")]
mod request_ids;
#[cfg(feature = "python")]
mod rows;
#[cfg(feature = "python")]
mod savepoint;
#[cfg(feature = "python")]
mod tally;
mod times;
#[cfg(feature = "python")]
mod wide;

#[cfg(feature = "python")]
use pyo3::prelude::*;

#[cfg(not(feature = "python"))]
pub use events::checks;

#[cfg(feature = "python")]
#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<join::fast_path::FastPath>()?;
    module.add_class::<join::deltas::accumulator::DeltaAccumulator>()?;
    module.add_class::<join::requests::id_set::IdSet>()?;
    module.add_class::<join::requests::request_table::RequestTable>()?;
    module.add_class::<savepoint::sorter::RequestSorter>()?;
    module.add_class::<savepoint::rows::RowWriter>()?;
    module.add_function(wrap_pyfunction!(savepoint::sorter::count_slots, module)?)?;
    module.add_class::<events::reader::Reader>()?;
    module.add_class::<tally::labels::Labels>()?;
    module.add_class::<tally::bucket::BucketCounts>()?;
    module.add_class::<tally::walk::Slide>()?;
    module.add_class::<tally::walk::Walk>()?;
    module.add_class::<tally::deltas::Fresh>()?;
    module.add_class::<tally::deltas::DeltaReader>()?;
    module.add_class::<notes::Notes>()?;
    module.add_function(wrap_pyfunction!(kept::kept, module)?)?;
    module.add_function(wrap_pyfunction!(events::archived::decode_archived, module)?)?;
    module.add_function(wrap_pyfunction!(join::lookups::digests, module)?)
}
