//! The counts of a bucket or a window: the counterpart of `BucketCounts` in `bucket_counts.py`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};

use crate::pack;
use crate::tally::content::{read, Content, Totals, ALL, DELAYS, LABELS, SUMS};
use crate::tally::labels::{Label, Labels};
use crate::tally::sums::{self, Sums};
use crate::tally::unpack::Malformed;

/// Counts as in a checkpoint: totals, cells, packed sums and packed delays.
type Packed<'py> = ([i64; 7], Bound<'py, PyList>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

fn pack_labels(
    totals: impl ExactSizeIterator<Item = i64>,
    cells: impl ExactSizeIterator<Item = (Label, Label, i64)>,
    position: &mut impl FnMut(Label) -> usize,
    to: &mut Vec<u8>,
) {
    pack::list(to, totals.len());
    totals.for_each(|total| pack::integer(to, total));
    pack::list(to, 3 * cells.len());
    for (actual, predicted, n) in cells {
        pack::integer(to, position(actual) as i64);
        pack::integer(to, position(predicted) as i64);
        pack::integer(to, n);
    }
}

enum State {
    Open(Box<Content>),
    Closed(Box<[u8]>),
}

/// Counts that are open, with their content, or closed, with bytes. All counts that are added to each
/// other must have the same labels.
#[pyclass]
pub struct BucketCounts {
    labels: Py<Labels>,
    state: State,
    /// Whether the counts changed since `close_unchanged`.
    #[pyo3(get)]
    changed: bool,
}

impl BucketCounts {
    pub fn with(labels: Py<Labels>, content: Content) -> Self {
        BucketCounts { labels, state: State::Open(Box::new(content)), changed: true }
    }

    /// Whether the counts changed since `close_unchanged`.
    pub fn changed(&self) -> bool {
        self.changed
    }

    /// The content, after which the counts are open.
    pub fn content(&mut self, py: Python<'_>) -> PyResult<&mut Content> {
        if let State::Closed(bytes) = &self.state {
            let (mut content, sums, delays) = Content::open(bytes);
            let labels = &mut self.labels.borrow_mut(py);
            content.sums = Sums::from_packed(py, sums, labels)?;
            content.delays = Sums::from_packed(py, delays, labels)?;
            self.state = State::Open(Box::new(content));
        }
        match &mut self.state {
            State::Open(content) => Ok(content),
            State::Closed(_) => unreachable!(),
        }
    }

    /// Add a part of other counts, or with `sign` -1 subtract it.
    pub fn add(&mut self, py: Python<'_>, other: &Self, sign: i64, part: u8) -> PyResult<()> {
        other.read(py, part, |other| self.add_content(py, other, sign, part))
    }

    /// Add a part of some content, or with `sign` -1 subtract it.
    pub fn add_content(
        &mut self,
        py: Python<'_>,
        other: &Content,
        sign: i64,
        part: u8,
    ) -> PyResult<()> {
        self.changed = true;
        self.content(py)?.add(other, sign, part)
    }

    /// Forget a part of the counts.
    pub fn forget(&mut self, py: Python<'_>, part: u8) -> PyResult<()> {
        self.changed = true;
        let content = self.content(py)?;
        if part & LABELS != 0 {
            content.totals = [0; 7];
            content.cells.clear();
        }
        if part & SUMS != 0 {
            content.sums = Sums::default();
        }
        if part & DELAYS != 0 {
            content.delays = Sums::default();
        }
        Ok(())
    }

    /// Call a function with a part of the content, and maybe more of it; closed counts stay so.
    pub fn read<T>(
        &self,
        py: Python<'_>,
        part: u8,
        function: impl FnOnce(&Content) -> PyResult<T>,
    ) -> PyResult<T> {
        match &self.state {
            State::Open(content) => function(content),
            State::Closed(bytes) => {
                let (mut content, sums, delays) = Content::open(bytes);
                let unpack =
                    |packed| Sums::from_packed(py, packed, &mut self.labels.borrow_mut(py));
                if part & SUMS != 0 {
                    content.sums = unpack(sums)?;
                }
                if part & DELAYS != 0 {
                    content.delays = unpack(delays)?;
                }
                function(&content)
            }
        }
    }

    fn to_dict<'py>(&self, py: Python<'py>, sums: &Sums) -> PyResult<Bound<'py, PyDict>> {
        let labels = self.labels.borrow(py);
        let found = PyDict::new(py);
        let mut text = LastText::default();
        for ((kind, label, bin), amount) in sums.iter() {
            let label = text.of(py, &labels, label);
            let key = PyTuple::new(
                py,
                [kind.into_pyobject(py)?.into_any(), label, bin.into_pyobject(py)?.into_any()],
            )?;
            found.set_item(key, amount.to_python(py)?)?;
        }
        Ok(found)
    }

    /// Append the totals, cells, packed sums and packed delays, as in a checkpoint. `position` gives the
    /// labels of cells positions. False if all are zero: then what was appended is worth nothing.
    pub fn pack_into(
        &self,
        py: Python<'_>,
        labels: &Labels,
        position: &mut impl FnMut(Label) -> usize,
        to: &mut Vec<u8>,
    ) -> PyResult<bool> {
        match &self.state {
            State::Open(content) => {
                if content.is_empty() {
                    return Ok(false);
                }
                let (totals, cells) = (content.totals.into_iter(), content.cells.iter());
                pack_labels(totals, cells.map(|(&(a, p), &n)| (a, p, n)), position, to);
                pack::binary_of_any_length(to, &content.sums.packed(py, labels)?);
                pack::binary_of_any_length(to, &content.delays.packed(py, labels)?);
            }
            State::Closed(bytes) => {
                let mut bytes = &bytes[..];
                let totals: Totals = std::array::from_fn(|_| read(&mut bytes));
                let count = read(&mut bytes) as usize;
                let cells = (0..count).map(|_| {
                    let (actual, predicted) = (read(&mut bytes), read(&mut bytes));
                    (actual as Label, predicted as Label, read(&mut bytes))
                });
                pack_labels(totals.into_iter(), cells, position, to);
                let length = read(&mut bytes) as usize;
                if bytes.is_empty() && count == 0 && totals == [0; 7] {
                    return Ok(false);
                }
                pack::binary_of_any_length(to, &bytes[..length]);
                pack::binary_of_any_length(to, &bytes[length..]);
            }
        }
        Ok(true)
    }

    fn total(&self, index: usize) -> i64 {
        match &self.state {
            State::Open(content) => content.totals[index],
            State::Closed(bytes) => {
                let mut bytes = &bytes[..];
                for _ in 0..index {
                    read(&mut bytes);
                }
                read(&mut bytes)
            }
        }
    }
}

#[pymethods]
impl BucketCounts {
    #[new]
    fn new(labels: Py<Labels>) -> Self {
        BucketCounts::with(labels, Content::default())
    }

    /// Add other counts, or with `sign` -1 subtract them; `part` is what of them.
    #[pyo3(signature = (other, sign = 1, part = ALL))]
    fn change(
        &mut self,
        py: Python<'_>,
        other: PyRef<'_, BucketCounts>,
        sign: i64,
        part: u8,
    ) -> PyResult<()> {
        self.add(py, &other, sign, part)
    }

    /// Add plain counts.
    fn change_by(&mut self, py: Python<'_>, counts: &Bound<'_, PyAny>) -> PyResult<()> {
        self.changed = true;
        let labels = self.labels.clone_ref(py);
        let content = self.content(py)?;
        let labels = &mut labels.borrow_mut(py);
        content.add_totals(&counts.call_method0("totals")?.extract()?, 1)?;
        for item in counts.getattr("cells")?.call_method0("items")?.try_iter()? {
            let ((actual, predicted), n): ((String, String), i64) = item?.extract()?;
            content.add_cell((labels.number(&actual), labels.number(&predicted)), n, 1)?;
        }
        let pairs: PyResult<Vec<_>> = counts
            .getattr("sums")?
            .call_method0("items")?
            .try_iter()?
            .map(|item| sums::pair(&item?, labels))
            .collect();
        let (sums, delays) = Sums::from_pairs(pairs?).split();
        content.sums.add(&sums, false);
        content.delays.add(&delays, false);
        Ok(())
    }

    /// Forget a part of the counts.
    #[pyo3(signature = (part = ALL))]
    fn reset(&mut self, py: Python<'_>, part: u8) -> PyResult<()> {
        self.forget(py, part)
    }

    /// Take the sums out. Returns counts with these alone, or None if there are none.
    fn take_sums(&mut self, py: Python<'_>) -> PyResult<Option<BucketCounts>> {
        if !self.has_sums() {
            return Ok(None);
        }
        self.changed = true;
        let state = match &mut self.state {
            State::Open(content) => {
                let sums = std::mem::take(&mut content.sums);
                State::Open(Box::new(Content { sums, ..Content::default() }))
            }
            // Closed counts stay so: it takes long to unpack sums that hardly ever are read again.
            State::Closed(bytes) => {
                let (content, sums, delays) = Content::open(bytes);
                let taken = Content::default().close(sums, &[]);
                *bytes = content.close(&[], delays);
                State::Closed(taken)
            }
        };
        Ok(Some(BucketCounts { labels: self.labels.clone_ref(py), state, changed: true }))
    }

    /// Set all from a checkpoint, whose cells have positions in `texts`; the counts are closed.
    fn load(
        &mut self,
        py: Python<'_>,
        totals: Totals,
        cells: Vec<i64>,
        texts: &Bound<'_, PyList>,
        sums: &[u8],
        delays: &[u8],
    ) -> PyResult<()> {
        let mut content = Content { totals, ..Content::default() };
        for cell in cells.chunks_exact(3) {
            let mut labels = self.labels.borrow_mut(py);
            let mut number = |position: i64| -> PyResult<Label> {
                let position = usize::try_from(position).map_err(|_| Malformed)?;
                Ok(labels.number(texts.get_item(position)?.extract()?))
            };
            content.cells.insert((number(cell[0])?, number(cell[1])?), cell[2]);
        }
        self.state = State::Closed(content.close(sums, delays));
        self.changed = false;
        Ok(())
    }

    /// The packed sums, empty if there are none.
    fn packed<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(match &self.state {
            State::Open(content) => {
                PyBytes::new(py, &content.sums.packed(py, &self.labels.borrow(py))?)
            }
            State::Closed(bytes) => PyBytes::new(py, Content::open(bytes).1),
        })
    }

    /// Totals, cells, packed sums and packed delays as in a checkpoint, or None if all are zero. The cells are a flat
    /// list: actual, predicted, n, actual, ... Labels are positions in `positions`, to which new ones are
    /// added.
    fn pack<'py>(
        &self,
        py: Python<'py>,
        positions: &Bound<'py, PyDict>,
    ) -> PyResult<Option<Packed<'py>>> {
        let labels = self.labels.borrow(py);
        let opened;
        let (content, sums, delays) = match &self.state {
            State::Open(content) => {
                let packed = |sums: &Sums| sums.packed(py, &labels);
                (&**content, packed(&content.sums)?, packed(&content.delays)?)
            }
            State::Closed(bytes) => {
                let (content, sums, delays) = Content::open(bytes);
                opened = content;
                (&opened, sums.to_vec(), delays.to_vec())
            }
        };
        if sums.is_empty() && delays.is_empty() && content.is_empty() {
            return Ok(None);
        }
        let mut last: Option<(Label, Bound<'py, PyAny>)> = None;
        let mut position = |label: Label| -> PyResult<Bound<'py, PyAny>> {
            if let Some((_, position)) = last.as_ref().filter(|last| last.0 == label) {
                return Ok(position.clone());
            }
            let text = labels.text(label);
            let position = match positions.get_item(text)? {
                Some(position) => position,
                None => {
                    positions.set_item(text, positions.len())?;
                    (positions.len() - 1).into_pyobject(py)?.into_any()
                }
            };
            last = Some((label, position.clone()));
            Ok(position)
        };
        let mut flat = Vec::with_capacity(3 * content.cells.len());
        for (&(actual, predicted), &n) in &content.cells {
            flat.push(position(actual)?);
            flat.push(position(predicted)?);
            flat.push(n.into_pyobject(py)?.into_any());
        }
        let [sums, delays] = [sums, delays].map(|packed| PyBytes::new(py, &packed));
        Ok(Some((content.totals, PyList::new(py, flat)?, sums, delays)))
    }

    /// Close the counts if they did not change since the last call. Returns whether they are closed.
    pub fn close_unchanged(&mut self, py: Python<'_>) -> PyResult<bool> {
        if self.changed {
            self.changed = false;
            return Ok(false);
        }
        if let State::Open(content) = &self.state {
            let labels = self.labels.borrow(py);
            let (sums, delays) =
                (content.sums.packed(py, &labels)?, content.delays.packed(py, &labels)?);
            let closed = content.close(&sums, &delays);
            drop(labels);
            self.state = State::Closed(closed);
        }
        Ok(true)
    }

    fn is_empty(&self) -> bool {
        match &self.state {
            State::Open(content) => content.is_empty(),
            State::Closed(bytes) => {
                let (content, sums, delays) = Content::open(bytes);
                sums.is_empty() && delays.is_empty() && content.is_empty()
            }
        }
    }

    /// The sums of delays as a new dict.
    #[getter]
    fn delays<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.read(py, DELAYS, |content| self.to_dict(py, &content.delays))
    }

    /// The sum of delays of a kind and a label in bin 0.
    fn delay_sum<'py>(
        &self,
        py: Python<'py>,
        kind: u32,
        label: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let number = self.labels.borrow_mut(py).number(label);
        self.read(py, DELAYS, |content| content.delays.get((kind, number, 0)).to_python(py))
    }

    /// Whether there are sums.
    #[getter]
    fn has_sums(&self) -> bool {
        match &self.state {
            State::Open(content) => !content.sums.is_empty(),
            State::Closed(bytes) => !Content::open(bytes).1.is_empty(),
        }
    }

    fn totals(&self) -> (i64, i64, i64, i64, i64, i64, i64) {
        let [a, b, c, d, e, f, g] = match &self.state {
            State::Open(content) => content.totals,
            State::Closed(bytes) => Content::open(bytes).0.totals,
        };
        (a, b, c, d, e, f, g)
    }

    #[getter]
    fn predictions(&self) -> i64 {
        self.total(0)
    }

    #[getter]
    fn judged(&self) -> i64 {
        self.total(1)
    }

    #[getter]
    fn correct(&self) -> i64 {
        self.total(2)
    }

    #[getter]
    fn unknown_actual(&self) -> i64 {
        self.total(3)
    }

    #[getter]
    fn rewards(&self) -> i64 {
        self.total(4)
    }

    #[getter]
    fn reward_sum(&self) -> i64 {
        self.total(5)
    }

    #[getter]
    fn disagreements(&self) -> i64 {
        self.total(6)
    }

    /// The cells as a new dict.
    #[getter]
    fn cells<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let labels = self.labels.borrow(py);
        self.read(py, LABELS, |content| {
            let cells = PyDict::new(py);
            for (&(actual, predicted), n) in &content.cells {
                cells.set_item((labels.text(actual), labels.text(predicted)), n)?;
            }
            Ok(cells)
        })
    }

    /// The sums as a new dict.
    #[getter]
    fn sums<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.read(py, SUMS, |content| self.to_dict(py, &content.sums))
    }

    /// The sums of every kind by label and bin, as new dicts.
    fn sums_by_kind<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.read(py, SUMS, |content| {
            let labels = self.labels.borrow(py);
            let kinds = PyDict::new(py);
            let mut group: Option<(u32, Bound<'py, PyDict>)> = None;
            let mut text = LastText::default();
            for ((kind, label, bin), amount) in content.sums.iter() {
                if group.as_ref().is_none_or(|(last, _)| *last != kind) {
                    let new = PyDict::new(py);
                    kinds.set_item(kind, &new)?;
                    group = Some((kind, new));
                }
                let label = text.of(py, &labels, label);
                let key = PyTuple::new(py, [label, bin.into_pyobject(py)?.into_any()])?;
                if let Some((_, group)) = &group {
                    group.set_item(key, amount.to_python(py)?)?;
                }
            }
            Ok(kinds)
        })
    }

    fn __eq__(&self, py: Python<'_>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
        if !other.hasattr("sums")? {
            return Ok(false);
        }
        Ok(other.call_method0("totals")?.eq(self.totals())?
            && other.getattr("cells")?.eq(self.cells(py)?)?
            && other.getattr("sums")?.eq(self.sums(py)?)?)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        Ok(format!("BucketCounts{:?}{}{}", self.totals(), self.cells(py)?, self.sums(py)?))
    }

    /// A plain copy.
    fn copy<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let counts = py.import("processor.domain.statistics.counts")?.getattr("Counts")?;
        let (a, b, c, d, e, f, g) = self.totals();
        counts.call1((a, b, c, d, e, f, g, self.cells(py)?, self.sums(py)?))
    }
}

/// The Python text of the last label: sums of one label lie together.
#[derive(Default)]
struct LastText<'py>(Option<(Label, Bound<'py, PyAny>)>);

impl<'py> LastText<'py> {
    fn of(&mut self, py: Python<'py>, labels: &Labels, label: Label) -> Bound<'py, PyAny> {
        match &self.0 {
            Some((last, text)) if *last == label => text.clone(),
            _ => {
                let text = pyo3::types::PyString::new(py, labels.text(label)).into_any();
                self.0 = Some((label, text.clone()));
                text
            }
        }
    }
}

/// Deltas that are no bucket's.
pub fn unknown() -> PyErr {
    PyValueError::new_err("a delta of a model that its batch does not have")
}
