//! Parquet in: files over our own storage, by ranged reads, as columns of the table's schema.

mod batches;
mod content;
mod open;
mod pages;
mod scan;

use std::sync::Arc;

use icepress_storage::Storage;

pub(crate) use batches::{Batch, Batches};
pub(crate) use content::FileBytes;
pub(crate) use open::{OpenFile, SourceFile, open};
pub(crate) use scan::{Piece, Scan};

use crate::project::Wanted;

/// What is the same for all files of one pass.
#[derive(Debug)]
pub(crate) struct Reading {
    /// Where the files lie.
    pub(crate) storage: Arc<dyn Storage>,
    /// What is read of each.
    pub(crate) wanted: Wanted,
}

#[cfg(test)]
mod tests;
