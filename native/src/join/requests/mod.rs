//! Packed requests, in tables that are searched in place.

pub mod buckets;
pub mod codec;
pub mod id_set;
pub mod request_table;
pub mod table;
