//! The join: from rows to packed requests and deltas.

pub mod accumulator;
pub mod completed;
pub mod fast_path;
pub mod id_set;
pub mod judgements;
pub mod plans;
pub mod sums;
pub mod table;
