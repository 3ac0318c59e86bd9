//! Encodes blocks of buckets for a checkpoint: the counterpart of `Walk.pack_block` in `walk.py`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::collections::OrderedSet;
use crate::pack;
use crate::tally::bucket::BucketCounts;
use crate::tally::labels::{Label, Labels};

/// A block in MessagePack: its labels, and its buckets, whose cells have positions in them.
#[derive(Default)]
pub struct Block {
    labels: OrderedSet<Label>,
    buckets: Vec<u8>,
    count: usize,
}

impl Block {
    /// Append the buckets of a basis with the numbers from `first` to before `end`, without empty ones.
    pub fn add(
        &mut self,
        py: Python<'_>,
        labels: &Labels,
        basis: usize,
        buckets: &Bound<'_, PyDict>,
        (first, end): (i64, i64),
    ) -> PyResult<()> {
        for bucket in first..end {
            let Some(counts) = buckets.get_item(bucket)? else { continue };
            let start = self.buckets.len();
            pack::list(&mut self.buckets, 6);
            pack::integer(&mut self.buckets, basis as i64);
            pack::integer(&mut self.buckets, bucket);
            let counts = counts.cast_into::<BucketCounts>()?;
            let mut position = |label| self.labels.insert_full(label).0;
            if counts.borrow().pack_into(py, labels, &mut position, &mut self.buckets)? {
                self.count += 1;
            } else {
                self.buckets.truncate(start);
            }
        }
        Ok(())
    }

    /// The labels and the buckets.
    pub fn encoded<'py>(
        &self,
        py: Python<'py>,
        labels: &Labels,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let mut texts = Vec::new();
        pack::list(&mut texts, self.labels.len());
        self.labels.iter().for_each(|&label| pack::text(&mut texts, labels.text(label)));
        let mut head = Vec::new();
        pack::list(&mut head, self.count);
        let (length, rest) = (head.len() + self.buckets.len(), head.len());
        let buckets = PyBytes::new_with(py, length, |bytes| {
            bytes[..rest].copy_from_slice(&head);
            bytes[rest..].copy_from_slice(&self.buckets);
            Ok(())
        })?;
        Ok((PyBytes::new(py, &texts), buckets))
    }
}
