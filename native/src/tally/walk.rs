//! The way of changes into the buckets of a model and its windows: the counterpart of `walk.py`.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PySet};

use crate::tally::blocks::Block;
use crate::tally::bucket::BucketCounts;
use crate::tally::content::{Content, ALL, LABELS};
use crate::tally::deltas::Fresh;
use crate::tally::labels::Labels;

/// Buckets by number, by basis.
type Bases = (Py<PyDict>, Py<PyDict>);

/// The lowest bucket that is kept, by tier, and the lowest minute that keeps the sums of statistics.
type Floors = (Vec<i64>, i64);

/// The position of the tier of minutes, which drops the sums of statistics early.
const MINUTES: usize = 0;

fn of_basis<T>(pair: &(T, T), basis: usize) -> &T {
    match basis {
        0 => &pair.0,
        _ => &pair.1,
    }
}

/// Buckets of a window in one tier; see `Slide` in Python.
#[pyclass]
pub struct Slide {
    tier: usize,
    size: i64,
    part: u8,
    totals: (Py<BucketCounts>, Py<BucketCounts>),
    start: i64,
    end: i64,
}

impl Slide {
    fn total(&self, basis: usize) -> &Py<BucketCounts> {
        of_basis(&self.totals, basis)
    }

    /// Whether a part of a bucket belongs to the window.
    fn has(&self, bucket: i64, part: u8) -> bool {
        self.start < bucket && bucket <= self.end && part & self.part != 0
    }

    fn move_to(&mut self, py: Python<'_>, seconds: i64, bases: &Bases) -> PyResult<()> {
        let end = seconds.div_euclid(self.size);
        if end == self.end {
            return Ok(());
        }
        let start = self.start + end - self.end;
        for basis in 0..2 {
            let buckets = of_basis(bases, basis).bind(py);
            let mut total = self.total(basis).borrow_mut(py);
            if self.end < end && start < self.end {
                for (numbers, sign) in [(self.end + 1..=end, 1), (self.start + 1..=start, -1)] {
                    for bucket in numbers {
                        if let Some(counts) = buckets.get_item(bucket)? {
                            total.add(py, &counts.cast_into()?.borrow(), sign, self.part)?;
                        }
                    }
                }
            } else {
                total.forget(py, self.part)?;
                for (bucket, counts) in buckets {
                    let bucket: i64 = bucket.extract()?;
                    if start < bucket && bucket <= end {
                        total.add(py, &counts.cast_into()?.borrow(), 1, self.part)?;
                    }
                }
            }
        }
        (self.start, self.end) = (start, end);
        Ok(())
    }
}

#[pymethods]
impl Slide {
    #[new]
    fn new(
        tier: usize,
        size: i64,
        length: i64,
        part: u8,
        totals: (Py<BucketCounts>, Py<BucketCounts>),
    ) -> Self {
        Slide { tier, size, part, totals, start: -length, end: 0 }
    }
}

/// A tier of a model: see `Tier` in `walk.py`.
#[derive(FromPyObject)]
struct Tier {
    size: i64,
    block: i64,
    part: u8,
    buckets: Bases,
    slides: Vec<Py<Slide>>,
}

/// Adds changes to the tiers of one model.
#[pyclass]
pub struct Walk {
    labels: Py<Labels>,
    tiers: Vec<Tier>,
    open: Py<PyDict>,
    dirty: Py<PySet>,
}

#[pymethods]
impl Walk {
    #[new]
    fn new(labels: Py<Labels>, tiers: Vec<Tier>, open: Py<PyDict>, dirty: Py<PySet>) -> Self {
        Walk { labels, tiers, open, dirty }
    }

    /// Take the fresh changes, and add them to every tier that still keeps their bucket.
    fn apply(
        &self,
        py: Python<'_>,
        mut fresh: PyRefMut<'_, Fresh>,
        floors: Floors,
    ) -> PyResult<()> {
        let taken = fresh.take()?;
        for (basis, changes) in taken.iter().enumerate() {
            for (&minute, content) in changes {
                for (number, tier) in self.tiers.iter().enumerate() {
                    let bucket = match tier.size {
                        0 => 0,
                        size => (i128::from(minute) * 60).div_euclid(size.into()) as i64,
                    };
                    let floor = floors.0.get(number).copied().unwrap_or(0);
                    if tier.size == 0 || bucket >= floor {
                        self.add(py, number, basis, bucket, content, floors.1)?;
                    }
                }
            }
        }
        fresh.keep(taken);
        Ok(())
    }

    /// Add a change to a bucket and to the windows that have it.
    fn change(
        &self,
        py: Python<'_>,
        tier: usize,
        basis: usize,
        bucket: i64,
        counts: PyRef<'_, BucketCounts>,
        floors: Floors,
    ) -> PyResult<()> {
        counts.read(py, ALL, |content| self.add(py, tier, basis, bucket, content, floors.1))
    }

    /// Add a part of a bucket's change, or subtract it, to the windows that have the bucket.
    #[allow(clippy::too_many_arguments)]
    fn slide(
        &self,
        py: Python<'_>,
        tier: usize,
        basis: usize,
        bucket: i64,
        counts: PyRef<'_, BucketCounts>,
        sign: i64,
        part: u8,
    ) -> PyResult<()> {
        let tier = &self.tiers[tier];
        // To read closed counts for no window would take long.
        if !tier.slides.iter().any(|slide| slide.borrow(py).has(bucket, part)) {
            return Ok(());
        }
        counts.read(py, part, |content| {
            self.add_to_windows(py, tier, basis, bucket, content, sign, part)
        })
    }

    /// The labels and the buckets of a block, encoded.
    fn pack_block<'py>(
        &self,
        py: Python<'py>,
        tier: usize,
        block: i64,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
        let (labels, tier) = (self.labels.borrow(py), &self.tiers[tier]);
        let first = block.saturating_mul(tier.block);
        let range = (first, first.saturating_add(tier.block));
        let mut packed = Block::default();
        for basis in 0..2 {
            packed.add(py, &labels, basis, of_basis(&tier.buckets, basis).bind(py), range)?;
        }
        packed.encoded(py, &labels)
    }

    /// Close the buckets that did not change since the last call.
    fn close_buckets(&self, py: Python<'_>) -> PyResult<()> {
        let open = self.open.bind(py);
        for (number, counts) in open.copy()? {
            if counts.cast_into::<BucketCounts>()?.borrow_mut().close_unchanged(py)? {
                open.del_item(number)?;
            }
        }
        Ok(())
    }

    /// Move windows to a time in seconds since 1970.
    fn advance(&self, py: Python<'_>, slides: &Bound<'_, PyList>, seconds: i64) -> PyResult<()> {
        for slide in slides {
            let mut slide = slide.cast_into::<Slide>()?.borrow_mut();
            let tier = slide.tier;
            slide.move_to(py, seconds, &self.tiers[tier].buckets)?;
        }
        Ok(())
    }
}

impl Walk {
    fn add(
        &self,
        py: Python<'_>,
        number: usize,
        basis: usize,
        bucket: i64,
        content: &Content,
        sums_floor: i64,
    ) -> PyResult<()> {
        let tier = &self.tiers[number];
        let part = if number == MINUTES && bucket < sums_floor { LABELS } else { tier.part };
        let buckets = of_basis(&tier.buckets, basis).bind(py);
        let (total, is_open) = match buckets.get_item(bucket)? {
            Some(total) => {
                let total = total.cast_into::<BucketCounts>()?;
                let is_open = total.borrow().changed();
                (total, is_open)
            }
            None => {
                let new = BucketCounts::with(self.labels.clone_ref(py), Default::default());
                let new = Bound::new(py, new)?;
                buckets.set_item(bucket, &new)?;
                (new, false)
            }
        };
        total.borrow_mut().add_content(py, content, 1, part)?;
        // Counts that changed since buckets were closed last are there already.
        if !is_open {
            self.open.bind(py).set_item(total.as_ptr() as usize, &total)?;
        }
        self.dirty.bind(py).add((number, bucket.div_euclid(tier.block)))?;
        self.add_to_windows(py, tier, basis, bucket, content, 1, part)
    }

    #[allow(clippy::too_many_arguments)]
    fn add_to_windows(
        &self,
        py: Python<'_>,
        tier: &Tier,
        basis: usize,
        bucket: i64,
        content: &Content,
        sign: i64,
        part: u8,
    ) -> PyResult<()> {
        for slide in &tier.slides {
            let slide = slide.borrow(py);
            if slide.has(bucket, part) {
                let mut total = slide.total(basis).borrow_mut(py);
                total.add_content(py, content, sign, part & slide.part)?;
            }
        }
        Ok(())
    }
}
