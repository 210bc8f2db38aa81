//! Adds files to a table as a writer would, and takes files out: data files, position deletes and equality deletes, one
//! snapshot a call.
//!
//! Icepress itself never adds rows. This is for the demo and for tests, which need tables with a history; it is a
//! real writer all the same: manifests and summaries are what the specification asks for, and the catalog decides.
//! Nothing is validated but what can be seen without reading the table's files.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod removal;
mod snapshot;
mod summary;

#[cfg(test)]
mod tests;

use std::time::Duration;

use iceberg::spec::{DataContentType, DataFile, FormatVersion, TableMetadata};
use icepress_catalog::{CatalogError, CommitError, LoadedTable};
use icepress_model::{SpecId, TableId};
use thiserror::Error;

use icepress_table::{CommitContext, TableError};

/// A file to add, already written.
#[derive(Debug, Clone)]
pub struct AddedFile {
    /// The partition spec that its partition values belong to.
    pub spec_id: SpecId,
    /// The file: rows, position deletes or equality deletes, as its content type says.
    pub file: DataFile,
}

/// A file to take out. Vectors share files, and are told apart by where they lie in them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RemovedFile {
    /// Its location, letter for letter.
    pub path: String,
    /// Where a vector lies in its file, in bytes; `None` for whole files.
    pub content_offset: Option<i64>,
}

impl RemovedFile {
    /// The file of an entry.
    pub fn of(file: &DataFile) -> Self {
        Self {
            path: file.file_path().to_owned(),
            content_offset: file.content_offset(),
        }
    }
}

/// Files that were not added.
#[derive(Debug, Error)]
pub enum AppendFailure {
    /// The files can't be added to this table, whatever others do.
    #[error("table {table}: {message}")]
    Invalid {
        /// The table.
        table: TableId,
        /// What is wrong with which file.
        message: String,
    },
    /// Others committed first: each time, or, for [`add_delete_files`], once.
    #[error("table {table}: lost the race against other writers {attempts} times")]
    RaceLost {
        /// The table.
        table: TableId,
        /// How often it was tried.
        attempts: u32,
    },
    /// The table's manifests can't be read or written.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The table can't be loaded.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The catalog refused, or its answer was lost.
    #[error(transparent)]
    Commit(CommitError),
}

/// Adds data files in one snapshot (operation `append`); returns the table with them.
///
/// A lost race is tried again on the table as it is then, as often as the context's policy says: what others did
/// can't make an append wrong.
pub async fn append_files(
    context: &CommitContext,
    table: &TableId,
    files: &[AddedFile],
) -> Result<LoadedTable, AppendFailure> {
    if let Some(added) = files
        .iter()
        .find(|added| added.file.content_type() != DataContentType::Data)
    {
        return Err(AppendFailure::Invalid {
            table: table.clone(),
            message: format!(
                "{} is a delete file: add it with add_delete_files",
                added.file.file_path()
            ),
        });
    }
    let mut backoff = context.policy.first_backoff;
    for attempt in 1..=context.policy.attempts {
        let base = context.catalog.load(table).await?;
        match change(context, &base, files, &[]).await {
            Err(AppendFailure::RaceLost { .. }) if attempt < context.policy.attempts => {
                context
                    .ambient
                    .clock
                    .sleep(context.ambient.jitter(backoff))
                    .await;
                backoff = (backoff * 2).min(LONGEST_BACKOFF);
            }
            result => return result,
        }
    }
    Err(AppendFailure::RaceLost {
        table: table.clone(),
        attempts: context.policy.attempts,
    })
}

/// Adds delete files, and data files with them, in one snapshot on exactly `base`; returns the table with them. The
/// operation is `delete` for delete files alone and `overwrite` for both.
///
/// A lost race is not tried again: position deletes name the files that the caller saw, and a rewrite may have
/// replaced them since.
pub async fn add_delete_files(
    context: &CommitContext,
    base: &LoadedTable,
    files: &[AddedFile],
) -> Result<LoadedTable, AppendFailure> {
    change(context, base, files, &[]).await
}

/// Takes files out and adds others, in one snapshot on exactly `base`; returns the table as it is then. The operation is
/// `delete` where no data file is added, and `overwrite` else.
///
/// What is taken out must be live in `base`. A lost race is not tried again, as with [`add_delete_files`].
pub async fn overwrite_files(
    context: &CommitContext,
    base: &LoadedTable,
    added: &[AddedFile],
    removed: &[RemovedFile],
) -> Result<LoadedTable, AppendFailure> {
    change(context, base, added, removed).await
}

const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

async fn change(
    context: &CommitContext,
    base: &LoadedTable,
    files: &[AddedFile],
    removed: &[RemovedFile],
) -> Result<LoadedTable, AppendFailure> {
    for added in files {
        check(&base.metadata, added).map_err(|message| AppendFailure::Invalid {
            table: base.table.clone(),
            message,
        })?;
    }
    let change = snapshot::produce(context, base, files, removed).await?;
    match context.catalog.commit(base, change).await {
        Ok(table) => Ok(table),
        Err(CommitError::Conflict(table)) => Err(AppendFailure::RaceLost { table, attempts: 1 }),
        Err(other) => Err(AppendFailure::Commit(other)),
    }
}

/// Whether the file can be in this table, as far as its own entry tells.
fn check(metadata: &TableMetadata, added: &AddedFile) -> Result<(), String> {
    let path = added.file.file_path();
    let content = added.file.content_type();
    if metadata.format_version() == FormatVersion::V1 && content != DataContentType::Data {
        return Err(format!(
            "{path} is a delete file, and format version 1 has none"
        ));
    }
    let spec = metadata
        .partition_spec_by_id(added.spec_id.get())
        .ok_or_else(|| {
            format!(
                "{path} is of partition spec {}, which the table does not have",
                added.spec_id
            )
        })?;
    let values = added.file.partition().fields().len();
    if spec.fields().len() != values {
        return Err(format!(
            "{path} has {values} partition values where spec {} has {} fields",
            added.spec_id,
            spec.fields().len()
        ));
    }
    let keys = added.file.equality_ids().unwrap_or_default();
    if (content == DataContentType::EqualityDeletes) == keys.is_empty() {
        return Err(format!(
            "{path} has {} equality field ids, which does not fit its content",
            keys.len()
        ));
    }
    Ok(())
}
