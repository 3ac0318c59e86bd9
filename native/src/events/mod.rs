//! Decoding of events: from bytes to the rows of the log.

pub mod body;
pub mod document;
pub mod event;
pub mod json;
pub mod partition;
pub mod payloads;
pub mod reader;
pub mod record_batch;
pub mod templates;
