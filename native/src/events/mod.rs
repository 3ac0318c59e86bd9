//! Decoding of events: from bytes to the rows of the log.

#[cfg(feature = "python")]
pub mod archived;
pub mod body;
#[cfg(any(test, not(feature = "python")))]
pub mod checks;
pub mod compression;
pub mod counts;
pub mod document;
pub mod event;
pub mod headers;
pub mod json;
#[cfg(feature = "python")]
mod labels;
pub mod names;
#[cfg(feature = "python")]
pub mod partition;
pub mod payloads;
#[cfg(feature = "python")]
pub mod reader;
pub mod record_batch;
pub mod strings;
pub mod structured;
#[cfg(feature = "python")]
pub mod templates;
