//! Decodes events as the SQLite archive holds them: headers in MessagePack, and a body.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::events::counts::{Counts, Decoded};
use crate::events::event::{record, Found, Reason};
use crate::events::reader::Reader;
use crate::rows::pairs;

/// Positions of the remaining events, the numbers of the events of each prediction and of each feedback
/// that were decoded, and the counts.
type DecodedRows = (Vec<usize>, Vec<i64>, Vec<i64>, Counts);

/// Decode rows of the archive (sequence number, time of acceptance in ns, headers and value) into the
/// reader's first partition, which must not become full meanwhile. `check` raises an
/// error if the headers of a row are damaged; it is asked about odd ones before anything is decoded.
#[pyfunction]
pub fn decode_archived(
    py: Python<'_>,
    mut reader: PyRefMut<'_, Reader>,
    rows: Vec<Bound<'_, PyTuple>>,
    check: &Bound<'_, PyAny>,
) -> PyResult<DecodedRows> {
    let reader = &mut *reader;
    let mut headers = Vec::with_capacity(rows.len());
    for row in &rows {
        headers.push(row.get_item(2)?.cast_into::<PyBytes>()?);
    }
    let headers: Vec<_> = headers.iter().map(|one| pairs(one.as_bytes())).collect();
    for (row, _) in rows.iter().zip(&headers).filter(|(_, found)| found.is_none()) {
        check.call1((row,))?;
    }
    let (mut remaining, mut decoded) = (Vec::new(), Decoded::default());
    let (mut predictions, mut feedbacks) = (Vec::new(), Vec::new());
    let mut before = reader.counts();
    for (position, (row, headers)) in rows.iter().zip(headers).enumerate() {
        let timestamp: i64 = row.get_borrowed_item(1)?.extract()?;
        let value = row.get_item(3)?;
        let value = if value.is_none() { None } else { Some(value.cast::<PyBytes>()?) };
        let value = value.map(|value| value.as_bytes());
        let event = match headers {
            None => Err(Reason::Envelope),
            Some(headers) => {
                match record(headers.into_iter(), value, timestamp, reader.content()) {
                    Ok(Found::Event(event)) => Ok(event),
                    Ok(Found::Batch(_)) => Err(Reason::Envelope),
                    Err(reason) => Err(reason),
                }
            }
        };
        if !reader.add_event(py, event, timestamp, &mut decoded)? {
            remaining.push(position);
            continue;
        }
        let after = reader.counts();
        if after != before {
            let numbers = if after.0 > before.0 { &mut predictions } else { &mut feedbacks };
            numbers.push(row.get_borrowed_item(0)?.extract()?);
            before = after;
        }
    }
    Ok((remaining, predictions, feedbacks, decoded.counts()))
}
