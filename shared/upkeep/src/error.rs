//! What can go wrong with upkeep, as decisions for the caller.

use icepress_catalog::CatalogError;
use icepress_model::{RewriteFailure, TableId};
use icepress_storage::StorageError;
use icepress_table::TableError;
use thiserror::Error;

/// Upkeep that was not done, or not all of it. What was written down before stays, and the next run goes on from it.
#[derive(Debug, Error)]
pub enum UpkeepError {
    /// The table, or where it lies, forbids it. Nothing was done.
    #[error("table {table}: {message}")]
    Refused {
        /// The table.
        table: TableId,
        /// Why, and what to do.
        message: String,
    },
    /// Somebody objected to the commit; certainly not applied.
    #[error("table {table}: the commit is held back: {reason}")]
    HeldBack {
        /// The table.
        table: TableId,
        /// The objection.
        reason: String,
    },
    /// Others committed first, each time.
    #[error("table {table}: lost the race against other writers {attempts} times")]
    RaceLost {
        /// The table.
        table: TableId,
        /// How often it was tried.
        attempts: u32,
    },
    /// It is unknown whether the commit took effect. No file was deleted; the next run finds out and goes on.
    #[error(
        "table {table}: it is unknown whether the commit took effect, and nothing was deleted: {message}"
    )]
    OutcomeUnknown {
        /// The table.
        table: TableId,
        /// What happened.
        message: String,
    },
    /// Who works on the table's snapshots could not be found out. Nothing was done.
    #[error("table {table}: which snapshots are in use can't be told: {message}")]
    PinsUnknown {
        /// The table.
        table: TableId,
        /// Why.
        message: String,
    },
    /// What was written down, or is to be, can't be read or written.
    #[error("table {table}: the list of what is to be deleted: {source}")]
    Ledger {
        /// The table.
        table: TableId,
        /// What happened, on which file.
        #[source]
        source: StorageError,
    },
    /// What lies in the table's folders, or a metadata file there, can't be read. Nothing was deleted.
    #[error(
        "table {table}: what lies in its folders can't be told, and nothing was deleted: {source}"
    )]
    Unreadable {
        /// The table.
        table: TableId,
        /// What happened, on which file.
        #[source]
        source: StorageError,
    },
    /// What became of a process that wrote files can't be found out. Nothing was deleted.
    #[error(
        "table {table}: what became of a process can't be told, and nothing was deleted: {message}"
    )]
    AttemptsUnknown {
        /// The table.
        table: TableId,
        /// Why.
        message: String,
    },
    /// Some files could not be deleted. They are written down, and the next run tries again.
    #[error(
        "table {table}: {files} files could not be deleted, and are tried again by the next run; the first: {source}"
    )]
    NotDeleted {
        /// The table.
        table: TableId,
        /// How many.
        files: u64,
        /// The first of the refusals.
        #[source]
        source: StorageError,
    },
    /// Files could not be written anew. Nothing was committed.
    #[error("{message}")]
    NotWritten {
        /// What happened, on which table and file.
        message: String,
    },
    /// A file is needed again, and is marked still.
    #[error(
        "table {table}: a file that it needs again keeps the tag icepress-quarantine, and a lifecycle rule that goes by the tag \
         would delete it: {source}"
    )]
    StillMarked {
        /// The table.
        table: TableId,
        /// What happened, on which file.
        #[source]
        source: StorageError,
    },
    /// The catalog refused or can't be reached.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Data files can't be read that something is to be counted of.
    #[error(transparent)]
    Unread(RewriteFailure),
    /// A manifest or manifest list can't be read, so what is live can't be told. No file was deleted.
    #[error(transparent)]
    Table(#[from] TableError),
}

impl UpkeepError {
    pub(crate) fn refused(table: &TableId, message: impl Into<String>) -> Self {
        Self::Refused {
            table: table.clone(),
            message: message.into(),
        }
    }

    pub(crate) fn unreadable(table: &TableId, source: StorageError) -> Self {
        Self::Unreadable {
            table: table.clone(),
            source,
        }
    }

    pub(crate) fn still_marked(table: &TableId, source: StorageError) -> Self {
        Self::StillMarked {
            table: table.clone(),
            source,
        }
    }

    pub(crate) fn ledger(table: &TableId, source: StorageError) -> Self {
        Self::Ledger {
            table: table.clone(),
            source,
        }
    }
}
