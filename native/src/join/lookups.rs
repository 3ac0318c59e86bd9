//! The requests of the rows of a batch, and whether they are in memory.

use pyo3::prelude::*;

use crate::errors::{malformed_rows, resolve};
use crate::ids::DeploymentId;
use crate::join::requests::id_set::identity;
use crate::join::requests::request_table::RequestTable;
use crate::request_ids::Id;
use crate::rows::{head, Rows};

/// The digests (`request_digest`) of the requests of some rows, in their order, and of those that the table does not
/// have. `deployments` has for each model of the batch the deployment in the table, None if it has none,
/// and the beginning of the text that `identity` hashes.
#[pyfunction]
pub fn digests(
    mut table: PyRefMut<'_, RequestTable>,
    rows: &[u8],
    deployments: Vec<(Option<DeploymentId>, Vec<u8>)>,
) -> PyResult<(Vec<i64>, Vec<i64>)> {
    let deployments: Vec<_> = deployments.iter().map(|(id, text)| (*id, &text[..])).collect();
    let mut rows = Rows::new(rows).ok_or_else(malformed_rows)?;
    // As `request_digest` has it.
    let signed = |number: u64| (number ^ 1 << 63) as i64;
    let (mut all, mut missing) = (Vec::with_capacity(rows.len().min(1 << 16)), Vec::new());
    while let Some((row, _)) = rows.next(|_| None::<()>) {
        let (id, model) = head(row).ok_or_else(malformed_rows)?;
        let (deployment, prefix) = resolve(&deployments, model)?;
        let number = signed(identity(prefix, id));
        all.push(number);
        let is_known = match deployment {
            None => false,
            Some(deployment) => table.table(deployment)?.find(&Id::new(id)).is_some(),
        };
        if !is_known {
            missing.push(number);
        }
    }
    if rows.is_complete() {
        Ok((all, missing))
    } else {
        Err(malformed_rows())
    }
}
