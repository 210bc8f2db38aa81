//! Parquet in: files over our own storage, by ranged reads, as columns of the table's schema.

mod batches;
mod content;
mod open;
mod scan;

use std::sync::Arc;

use iceberg::spec::{NameMapping, NestedFieldRef};
use icepress_storage::Storage;

pub(crate) use batches::{Batch, Batches};
pub(crate) use open::SourceFile;
pub(crate) use scan::Scan;

use crate::project::Constants;

/// What is the same for all files of one pass.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Where the files lie.
    pub(crate) storage: Arc<dyn Storage>,
    /// Names for files that carry no field ids.
    pub(crate) mapping: Option<NameMapping>,
    /// The columns asked for.
    pub(crate) targets: Vec<NestedFieldRef>,
    /// Columns that files may leave out because their partition says them.
    pub(crate) constants: Constants,
}

#[cfg(test)]
mod tests;
