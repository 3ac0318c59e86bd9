//! The changes of the counts: summed while a batch is folded, and packed for the log.

pub mod accumulator;
pub mod changes;
mod drained;
mod judged;
pub mod scores;
pub mod sums;
