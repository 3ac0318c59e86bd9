//! Bodies of messages: from JSON or protobuf to a key, and rows of a class and values each.
//!
//! Python decides what a message means whose key, or a row whose class under that key, is new. Messages
//! with equal keys and rows of equal classes mean the same but for the values of their rows.

pub mod columns;
pub mod content;
pub mod format;
pub mod infer_response;
pub mod inference;
pub mod output;
pub mod predict_response;
pub mod protobuf;
pub mod raw;
pub mod rewards;
pub mod row;
pub mod rows;
pub mod seldon;
pub mod tensors;
