//! The join: from rows to packed requests and deltas.

pub mod accumulator;
pub mod buckets;
pub mod changes;
pub mod completed;
pub mod fast_path;
pub mod id_set;
pub mod judgements;
mod label_plans;
pub mod lookups;
pub mod plans;
pub mod request_codec;
pub mod request_table;
pub mod request_updater;
pub mod scores;
pub mod sums;
pub mod table;
