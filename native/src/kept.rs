//! How much the caches of this process keep, for its metrics.

use std::sync::atomic::{AtomicUsize, Ordering};

pub const TEMPLATES: usize = 0;
pub const PLANS: usize = 1;

static COUNTS: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// The part of one cache in the count of its kind.
#[derive(Default)]
pub struct Kept<const KIND: usize>(usize);

impl<const KIND: usize> Kept<KIND> {
    /// Set how many entries the cache has.
    pub fn set(&mut self, count: usize) {
        COUNTS[KIND].fetch_add(count, Ordering::Relaxed);
        COUNTS[KIND].fetch_sub(self.0, Ordering::Relaxed);
        self.0 = count;
    }
}

impl<const KIND: usize> Drop for Kept<KIND> {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// The templates and the plans that all objects of this process keep.
#[pyo3::pyfunction]
pub fn kept() -> (usize, usize) {
    (COUNTS[TEMPLATES].load(Ordering::Relaxed), COUNTS[PLANS].load(Ordering::Relaxed))
}
