//! What can go wrong when a table's own metadata is read.

use icepress_model::TableId;
use icepress_storage::StorageError;
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
