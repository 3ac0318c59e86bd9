//! The join: from rows to packed requests and deltas.

pub mod completed;
mod content_digests;
mod corrections;
pub mod deltas;
pub mod fast_path;
pub mod judgements;
pub mod lookups;
pub mod plans;
pub mod request_updater;
pub mod requests;
mod verdicts;
