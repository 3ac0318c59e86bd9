//! The counts of the tally: the counterpart of `bucket_counts.py` and `walk.py`.

mod blocks;
pub mod bucket;
mod content;
pub mod deltas;
pub mod labels;
mod packed_sums;
mod sums;
mod unpack;
pub mod walk;
