//! The packed requests of a state: the counterpart of `PythonRequestTable`.

use std::collections::{HashMap, HashSet};

use pyo3::exceptions::{PyIndexError, PyKeyError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::ids::DeploymentId;
use crate::join::requests::codec::{self, Request};
use crate::join::requests::table::{Dropped, Found, Table};
use crate::request_ids::{self, Id};

/// Approximate bytes of memory of a bucket, and of a request beside the buckets.
const BUCKET_BYTES: usize = 80;
const OTHER_BYTES: usize = 160;

/// A table without the content of its buckets: how many it has, and the requests beside them by id.
type Outline = (usize, Vec<(String, Vec<u8>)>);
/// The outline of a table, for Python.
type OutlineOf<'py> = (usize, Vec<(String, Bound<'py, PyBytes>)>);

/// Packed requests by deployment and request id; see `RequestTable` in `requests/table.py`.
#[pyclass]
pub struct RequestTable {
    tables: Vec<Table>,
    /// The table and the bucket that `fill` has reached.
    filled: (usize, usize),
}

impl RequestTable {
    pub fn table(&mut self, deployment: DeploymentId) -> PyResult<&mut Table> {
        self.tables.get_mut(deployment.index()).ok_or_else(unknown)
    }

    fn find(&self, deployment: usize, id: &Id) -> PyResult<(&Table, Option<Found>)> {
        let table = self.tables.get(deployment).ok_or_else(unknown)?;
        Ok((table, table.find(id)))
    }
}

fn unknown() -> PyErr {
    PyIndexError::new_err("a deployment that the table does not have")
}

#[pymethods]
impl RequestTable {
    #[new]
    fn new(outline: Vec<Outline>) -> PyResult<Self> {
        let mut tables = Vec::new();
        for (buckets, others) in outline {
            let mut table = Table::new(buckets);
            for (id, request) in others {
                table.add_other(id.as_bytes(), request)?;
            }
            tables.push(table);
        }
        Ok(RequestTable { tables, filled: (0, 0) })
    }

    fn __len__(&self) -> usize {
        self.tables.iter().map(Table::len).sum()
    }

    fn add_deployment(&mut self) {
        self.tables.push(Table::new(1));
    }

    fn get<'py>(
        &self,
        py: Python<'py>,
        deployment: usize,
        request_id: &str,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let id = Id::new(request_id.as_bytes());
        let (table, found) = self.find(deployment, &id)?;
        Ok(found.map(|found| PyBytes::new(py, table.request(&id, &found))))
    }

    fn put(&mut self, deployment: usize, request_id: &str, request: &[u8]) -> PyResult<()> {
        Request::new(request)?.check()?;
        let id = Id::new(request_id.as_bytes());
        let table = self.tables.get_mut(deployment).ok_or_else(unknown)?;
        match table.find(&id) {
            Some(found) => table.replace(&id, &found, request),
            None => table.insert(&id, request),
        }
        Ok(())
    }

    fn remove(&mut self, deployment: usize, request_id: &str) -> PyResult<()> {
        let id = Id::new(request_id.as_bytes());
        let table = self.tables.get_mut(deployment).ok_or_else(unknown)?;
        let found = table.find(&id).ok_or_else(|| PyKeyError::new_err(request_id.to_string()))?;
        table.remove(&id, &found);
        Ok(())
    }

    fn parts(&self, deployment: usize) -> PyResult<usize> {
        Ok(1 + self.tables.get(deployment).ok_or_else(unknown)?.buckets())
    }

    fn part<'py>(
        &self,
        py: Python<'py>,
        deployment: usize,
        number: usize,
    ) -> PyResult<Vec<(String, Bound<'py, PyBytes>)>> {
        let table = self.tables.get(deployment).ok_or_else(unknown)?;
        if number == 0 {
            return others(py, table);
        }
        if number > table.buckets() {
            return Err(PyIndexError::new_err("a part that the table does not have"));
        }
        table
            .bucket(number - 1)
            .map(|(id, request)| Ok((unpacked(id)?, PyBytes::new(py, request))))
            .collect()
    }

    fn unmatched(&self) -> PyResult<Vec<(usize, String)>> {
        let mut found = Vec::new();
        for (deployment, table) in self.tables.iter().enumerate() {
            for number in 0..table.buckets() {
                for (id, request) in table.bucket(number) {
                    if Request::new(request)?.predictions == 0 {
                        found.push((deployment, unpacked(id)?));
                    }
                }
            }
            for (id, request) in table.others() {
                if Request::new(request)?.predictions == 0 {
                    found.push((deployment, text(id)?));
                }
            }
        }
        Ok(found)
    }

    fn oldest(&self) -> Option<u32> {
        self.tables.iter().filter_map(Table::oldest).min()
    }

    fn expire(&mut self, before: i64) -> PyResult<(usize, usize, usize)> {
        let mut dropped = Dropped::default();
        for table in &mut self.tables {
            table.expire(before, &mut dropped)?;
        }
        Ok((dropped.count, dropped.waiting, dropped.unmatched))
    }

    fn approx_bytes(&self) -> usize {
        self.tables
            .iter()
            .map(|table| {
                // A bucket has some room for further records.
                table.bytes()
                    + table.bytes() / 8
                    + table.buckets() * BUCKET_BYTES
                    + table.others().len() * OTHER_BYTES
            })
            .sum()
    }

    #[allow(clippy::type_complexity)]
    fn used(&self) -> PyResult<(HashSet<u32>, HashSet<u32>, HashSet<u32>, HashSet<usize>)> {
        use codec::Table::{Answers, Models, Truths};
        let (mut models, mut answers, mut truths) =
            <(HashSet<_>, HashSet<_>, HashSet<_>)>::default();
        let mut to = Vec::new();
        let mut deployments = HashSet::new();
        for (deployment, table) in self.tables.iter().enumerate() {
            if table.len() != 0 {
                deployments.insert(deployment);
            }
            for request in table.requests() {
                let note = |table, position| {
                    match table {
                        Models => models.insert(position),
                        Answers => answers.insert(position),
                        Truths => truths.insert(position),
                    };
                    Ok(position)
                };
                Request::new(request)?.renumbered(note, &mut to)?;
            }
        }
        Ok((models, answers, truths, deployments))
    }

    fn renumber(
        &mut self,
        models: HashMap<u32, u32>,
        answers: HashMap<u32, u32>,
        truths: HashMap<u32, u32>,
        deployments: HashMap<usize, usize>,
    ) -> PyResult<()> {
        use codec::Table::{Answers, Models, Truths};
        for table in &mut self.tables {
            table.rewrite(|request, to| {
                let of = |table, position| {
                    let positions = match table {
                        Models => &models,
                        Answers => &answers,
                        Truths => &truths,
                    };
                    let found = positions.get(&position).copied();
                    found.ok_or_else(|| PyValueError::new_err("a position without a new one"))
                };
                request.renumbered(of, to)
            })?;
        }
        let tables = std::mem::take(&mut self.tables);
        let kept = tables.into_iter().enumerate();
        let kept = kept.filter(|(number, _)| deployments.contains_key(number));
        self.tables = kept.map(|(_, table)| table).collect();
        Ok(())
    }

    fn outline<'py>(&self, py: Python<'py>) -> PyResult<Vec<OutlineOf<'py>>> {
        self.tables.iter().map(|table| Ok((table.buckets(), others(py, table)?))).collect()
    }

    fn fill(&mut self, content: &[u8], sizes: Vec<usize>) -> PyResult<()> {
        let mut at = 0;
        for size in sizes {
            let (mut deployment, mut number) = self.filled;
            while self.tables.get(deployment).is_some_and(|table| number >= table.buckets()) {
                (deployment, number) = (deployment + 1, 0);
            }
            let table = self.tables.get_mut(deployment).ok_or_else(unknown)?;
            let bucket = content.get(at..at + size);
            table.fill(number, bucket.ok_or_else(codec::malformed)?)?;
            self.filled = (deployment, number + 1);
            at += size;
        }
        Ok(())
    }

    fn begin_copy(&mut self) {
        self.tables.iter_mut().for_each(Table::begin_copy);
    }

    #[allow(clippy::type_complexity)]
    fn copy<'py>(
        &mut self,
        py: Python<'py>,
        count: usize,
    ) -> Option<(Bound<'py, PyBytes>, Vec<usize>)> {
        let (content, sizes) = self.tables.iter_mut().find_map(|table| table.copy(count))?;
        Some((PyBytes::new(py, &content), sizes))
    }

    fn end_copy(&mut self) {
        self.tables.iter_mut().for_each(Table::end_copy);
    }

    fn copy_progress(&self) -> Option<(usize, usize)> {
        let progress: Vec<_> = self.tables.iter().filter_map(Table::copy_progress).collect();
        let kept = progress.iter().map(|one| one.1).sum();
        progress.first().map(|first| (first.0, kept))
    }
}

fn others<'py>(py: Python<'py>, table: &Table) -> PyResult<Vec<(String, Bound<'py, PyBytes>)>> {
    let others = table.others().iter();
    others.map(|(id, request)| Ok((text(id)?, PyBytes::new(py, request)))).collect()
}

fn unpacked(id: &[u8]) -> PyResult<String> {
    request_ids::unpack(id).ok_or_else(codec::malformed)
}

fn text(id: &[u8]) -> PyResult<String> {
    String::from_utf8(id.to_vec()).map_err(|_| codec::malformed())
}
