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
/// reader's first partition, which must not become full meanwhile.
#[pyfunction]
pub fn decode_archived(
    py: Python<'_>,
    mut reader: PyRefMut<'_, Reader>,
    rows: Vec<Bound<'_, PyTuple>>,
) -> PyResult<DecodedRows> {
    let reader = &mut *reader;
    let (mut remaining, mut decoded) = (Vec::new(), Decoded::default());
    let (mut predictions, mut feedbacks) = (Vec::new(), Vec::new());
    let mut before = reader.counts();
    for (position, row) in rows.iter().enumerate() {
        let timestamp: i64 = row.get_borrowed_item(1)?.extract()?;
        let (headers, value) = (row.get_item(2)?, row.get_item(3)?);
        let headers = headers.cast::<PyBytes>()?;
        let value = if value.is_none() { None } else { Some(value.cast::<PyBytes>()?) };
        let value = value.map(|value| value.as_bytes());
        let event = match pairs(headers.as_bytes()) {
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
