//! Decoding of events: from bytes to the rows of the log.

pub mod archived;
pub mod body;
pub mod compression;
pub mod counts;
pub mod document;
pub mod event;
#[cfg(test)]
mod fuzz;
pub mod headers;
pub mod json;
pub mod names;
pub mod partition;
pub mod payloads;
pub mod reader;
pub mod record_batch;
pub mod strings;
pub mod structured;
pub mod templates;
