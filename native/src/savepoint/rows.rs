//! Blocks of requests as the rows of records: the counterpart of `rows.py`.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rustc_hash::FxHashMap;

use crate::digests::mix;
use crate::join::requests::codec::{Register, Request};
use crate::pack;
use crate::request_ids::{packed_length, unpack_into};
use crate::savepoint::kinds::{Head, Kind};
use crate::savepoint::planes::PlaneReader;

const LONG: u8 = 255;

fn malformed() -> PyErr {
    PyValueError::new_err("a malformed block of requests")
}

/// The positions of a batch's dictionary by those in the tables, and about its size.
#[derive(Default)]
struct Positions {
    known: FxHashMap<u32, u32>,
    order: Vec<u32>,
}

impl Positions {
    /// The new position of an entry; adds its bytes if it is new.
    fn of(&mut self, position: u32, sizes: &[usize], bytes: &mut usize) -> PyResult<i64> {
        if let Some(&known) = self.known.get(&position) {
            return Ok(i64::from(known));
        }
        *bytes += sizes.get(position as usize).ok_or_else(malformed)?;
        let new = self.order.len() as u32;
        self.known.insert(position, new);
        self.order.push(position);
        Ok(i64::from(new))
    }
}

/// The rows of a record so far.
#[derive(Default)]
struct Record {
    models: Positions,
    answers: Positions,
    truths: Positions,
    predictions: (usize, Vec<u8>),
    feedbacks: (usize, Vec<u8>),
    /// Items, and about how many bytes the dictionaries and the values take.
    count: usize,
    bytes: usize,
}

/// The fields of `Rows`.
type Rows<'py> = (usize, Vec<u32>, Vec<u32>, Vec<u32>, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

impl Record {
    fn finished<'py>(&mut self, py: Python<'py>, partition: usize) -> Rows<'py> {
        let record = std::mem::take(self);
        let list = |(count, rows): (usize, Vec<u8>)| {
            let mut list = Vec::with_capacity(rows.len() + 5);
            pack::list(&mut list, count);
            list.extend_from_slice(&rows);
            PyBytes::new(py, &list)
        };
        (
            partition,
            record.models.order,
            record.answers.order,
            record.truths.order,
            list(record.predictions),
            list(record.feedbacks),
        )
    }
}

/// See `RequestReader` in `rows.py`.
#[pyclass]
pub struct RowWriter {
    partitions: usize,
    max_rows: usize,
    max_bytes: usize,
    /// The bytes of each model, answer and truth in a dictionary.
    sizes: (Vec<usize>, Vec<usize>, Vec<usize>),
    /// The digests of the answers, and those of truths and rewards so far.
    answers: Vec<u64>,
    truths: FxHashMap<(Option<u32>, Option<i64>), u64>,
    base_of_feedback: Py<PyAny>,
}

impl RowWriter {
    fn add(
        &mut self,
        py: Python<'_>,
        record: &mut Record,
        id: &str,
        request: &Request,
    ) -> PyResult<()> {
        for (number, register) in request.registers().enumerate() {
            let register = register?;
            let head = Head::of(&register).ok_or_else(malformed)?;
            let is_feedback = number >= request.predictions;
            let (truths, items) = (is_feedback, register.items.as_ref());
            let items: Vec<_> =
                items.iter().flat_map(|items| items.iter()).collect::<PyResult<_>>()?;
            record.count += if head.several { items.len() } else { 1 };
            record.bytes += items.iter().map(|item| item.values.len()).sum::<usize>();
            let sizes = &self.sizes;
            let bytes = &mut record.bytes;
            let model = record.models.of(register.model.0, &sizes.0, bytes)?;
            let mut positions = Vec::with_capacity(items.len());
            for item in &items {
                positions.push(match truths {
                    true => record.truths.of(item.position, &sizes.2, bytes)?,
                    false => record.answers.of(item.position, &sizes.1, bytes)?,
                });
            }
            let digest = match head.digest {
                Some(digest) => digest,
                None if head.several => return Err(malformed()),
                None => {
                    let item = items.first();
                    let base =
                        self.base(py, is_feedback, item.map(|item| item.position), &register)?;
                    mix(base, item.map_or(&[], |item| item.values))
                }
            };
            let rows = if is_feedback { &mut record.feedbacks } else { &mut record.predictions };
            rows.0 += 1;
            let to = &mut rows.1;
            to.push(0x98);
            pack::text(to, id);
            pack::integer(to, model);
            pack::integer(to, register.time);
            pack::natural(to, head.source_rank);
            pack::natural(to, digest);
            match positions[..] {
                [position] if !head.several => pack::integer(to, position),
                [] if register.items.is_none() => pack::nil(to),
                _ => {
                    pack::list(to, positions.len());
                    positions.iter().for_each(|&position| pack::integer(to, position));
                }
            }
            if is_feedback {
                pack::optional(to, register.reward);
            } else {
                to.push(if register.provisional { 0xc3 } else { 0xc2 });
            }
            if !head.valued || register.items.is_none() {
                pack::nil(to);
            } else if head.several {
                pack::list(to, items.len());
                items.iter().for_each(|item| pack::binary_of_any_length(to, item.values));
            } else {
                items.iter().for_each(|item| pack::binary_of_any_length(to, item.values));
            }
        }
        Ok(())
    }

    /// The digest of a single item, or of a feedback without a truth, but for its values.
    fn base(
        &mut self,
        py: Python<'_>,
        is_feedback: bool,
        position: Option<u32>,
        register: &Register,
    ) -> PyResult<u64> {
        if !is_feedback {
            let position = position.ok_or_else(malformed)?;
            return self.answers.get(position as usize).copied().ok_or_else(malformed);
        }
        let key = (position, register.reward);
        if let Some(&known) = self.truths.get(&key) {
            return Ok(known);
        }
        let base = self.base_of_feedback.call1(py, key)?.extract(py)?;
        self.truths.insert(key, base);
        Ok(base)
    }
}

#[pymethods]
impl RowWriter {
    #[new]
    fn new(
        limits: (usize, usize, usize),
        sizes: (Vec<usize>, Vec<usize>, Vec<usize>),
        answers: Vec<u64>,
        base_of_feedback: Py<PyAny>,
    ) -> Self {
        let (partitions, max_rows, max_bytes) = limits;
        let truths = FxHashMap::default();
        RowWriter { partitions, max_rows, max_bytes, sizes, answers, truths, base_of_feedback }
    }

    /// The rows of the records of a block, whose fields are those of `Requests`, by partition.
    #[allow(clippy::too_many_arguments)]
    fn write<'py>(
        &mut self,
        py: Python<'py>,
        hour: u32,
        _restored: bool,
        count: usize,
        start: i64,
        unit: i64,
        widths: (usize, usize, usize),
        kinds: Vec<Bound<'py, PyBytes>>,
        long_ids: Vec<String>,
        planes: Vec<Bound<'py, PyBytes>>,
    ) -> PyResult<Vec<Rows<'py>>> {
        let kinds: Option<Vec<_>> = kinds.iter().map(|kind| Kind::new(kind.as_bytes())).collect();
        let planes: Vec<_> = planes.iter().map(|plane| plane.as_bytes()).collect();
        let mut reader = PlaneReader { planes: planes.iter() };
        let columns = Columns::read(&mut reader, kinds.ok_or_else(malformed)?, count, widths);
        let columns = columns.filter(|_| reader.planes.next().is_none()).ok_or_else(malformed)?;
        let mut open: Vec<_> = (0..self.partitions).map(|_| Record::default()).collect();
        let mut written: Vec<Vec<Rows>> = open.iter().map(|_| Vec::new()).collect();
        let mut cursor = Cursor { time: start, ..Cursor::default() };
        let (mut text, mut packed) = (Vec::new(), Vec::new());
        for number in 0..count {
            packed.clear();
            packed.extend_from_slice(&hour.to_le_bytes());
            cursor
                .next(&columns, number, unit, &long_ids, &mut text, &mut packed)
                .ok_or_else(malformed)?;
            let id = std::str::from_utf8(&text).map_err(|_| malformed())?;
            let partition = crc32fast::hash(&text) as usize % self.partitions;
            let record = &mut open[partition];
            self.add(py, record, id, &Request::new(&packed)?)?;
            if record.count >= self.max_rows || record.bytes >= self.max_bytes {
                written[partition].push(record.finished(py, partition));
            }
        }
        for (partition, mut record) in open.into_iter().enumerate() {
            if record.count != 0 {
                written[partition].push(record.finished(py, partition));
            }
        }
        Ok(written.into_iter().flatten().collect())
    }
}

/// The columns of a block.
struct Columns<'a> {
    forms: &'a [u8],
    rests: Vec<u8>,
    kinds: Vec<Kind<'a>>,
    positions: Vec<u64>,
    steps: Vec<u64>,
    others: Vec<u64>,
    contents: Vec<u8>,
}

impl<'a> Columns<'a> {
    fn read(
        reader: &mut PlaneReader<'a>,
        kinds: Vec<Kind<'a>>,
        count: usize,
        widths: (usize, usize, usize),
    ) -> Option<Self> {
        let forms = reader.bytes(count)?;
        let short = forms.iter().filter(|&&form| form != LONG);
        let lengths: Vec<_> = short.map(|&form| packed_length(form) - 1).collect();
        let rests = reader.strings(&lengths)?;
        let positions = reader.numbers(count, widths.0)?;
        let of: Option<Vec<_>> =
            positions.iter().map(|&position| kinds.get(position as usize)).collect();
        let of = of?;
        let steps = reader.numbers(count, widths.1)?;
        let times =
            of.iter().try_fold(0usize, |sum, kind| sum.checked_add(kind.times.checked_sub(1)?))?;
        let left = reader.planes.as_slice().first().map_or(0, |plane| plane.len());
        if times > left && widths.2 > 0 || times > count << 20 {
            return None; // before so much memory is taken
        }
        let others = reader.numbers(times, widths.2)?;
        let lengths: Vec<_> = of.iter().map(|kind| kind.length).collect();
        let contents = reader.strings(&lengths)?;
        Some(Columns { forms, rests, kinds, positions, steps, others, contents })
    }
}

/// How far the columns were read.
#[derive(Default)]
struct Cursor {
    time: i64,
    rest: usize,
    long: usize,
    other: usize,
    content: usize,
    times: Vec<i64>,
}

impl Cursor {
    /// Write the next request's id, and append its packed request.
    fn next(
        &mut self,
        columns: &Columns,
        number: usize,
        unit: i64,
        long_ids: &[String],
        text: &mut Vec<u8>,
        packed: &mut Vec<u8>,
    ) -> Option<()> {
        let form = columns.forms[number];
        text.clear();
        if form == LONG {
            text.extend_from_slice(long_ids.get(self.long)?.as_bytes());
            self.long += 1;
        } else {
            let end = self.rest + packed_length(form) - 1;
            unpack_into(form, &columns.rests[self.rest..end], text);
            self.rest = end;
        }
        let kind = &columns.kinds[columns.positions[number] as usize];
        self.time = self.time.wrapping_add((columns.steps[number] as i64).wrapping_mul(unit));
        self.times.clear();
        self.times.push(self.time);
        for &other in &columns.others[self.other..self.other + kind.times - 1] {
            let difference = (other >> 1) as i64 ^ -((other & 1) as i64);
            self.times.push(self.time.wrapping_add(difference.wrapping_mul(unit)));
        }
        self.other += kind.times - 1;
        let end = self.content + kind.length;
        kind.write(&self.times, &columns.contents[self.content..end], packed);
        self.content = end;
        Some(())
    }
}
