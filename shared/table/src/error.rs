//! What can go wrong when a table's own metadata is read.

use icepress_model::TableId;
use icepress_storage::{StorageError, StorageErrorKind};
use thiserror::Error;

/// A table whose manifests can't be read or don't fit together.
#[derive(Debug, Error)]
pub enum TableError {
    /// A manifest or manifest list could not be fetched.
    #[error("table {table}: {source}")]
    Storage {
        /// The table.
        table: TableId,
        /// What happened, on which file.
        #[source]
        source: StorageError,
    },
    /// A manifest or manifest list is not what the specification says.
    #[error("table {table}: {file} is corrupt: {message}")]
    Corrupt {
        /// The table.
        table: TableId,
        /// The file.
        file: String,
        /// What is wrong with it.
        message: String,
    },
    /// The table uses something that we don't maintain; it is left alone.
    #[error("table {table}: {message}")]
    Unsupported {
        /// The table.
        table: TableId,
        /// What, and why.
        message: String,
    },
}

impl TableError {
    /// Whether storage asked for fewer requests: to be asked again later, and no failure of the table.
    pub fn is_throttling(&self) -> bool {
        matches!(self, Self::Storage { source, .. } if source.kind == StorageErrorKind::Throttled)
    }

    /// Of a request to storage that failed. A table whose files lie where its catalog allows none is one that we don't
    /// maintain: trying again would not help.
    pub(crate) fn of_storage(table: &TableId, source: StorageError) -> Self {
        let table = table.clone();
        match source.kind {
            StorageErrorKind::NotAllowed => Self::Unsupported {
                table,
                message: source.to_string(),
            },
            _ => Self::Storage { table, source },
        }
    }
}
