//! What can go wrong between us and a catalog, as decisions for the caller.

use icepress_model::{Bytes, TableId};
use icepress_storage::{StorageError, StorageErrorKind};
use thiserror::Error;

/// Boxed cause.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;

/// A request to a catalog that failed, other than a commit.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// There is no such table (any more).
    #[error("there is no table {0} in its catalog")]
    NoSuchTable(TableId),
    /// The catalog has an entry of that name, which is no Iceberg table.
    #[error("{0} is not an Iceberg table")]
    NotIceberg(TableId),
    /// There is an entry of that name already.
    #[error("there is a table {0} already")]
    AlreadyExists(TableId),
    /// Access was refused.
    #[error("catalog {catalog}: access refused: {message}: check the role's permissions")]
    PermissionDenied {
        /// The catalog.
        catalog: String,
        /// What was refused.
        message: String,
    },
    /// The catalog, or the storage of its metadata, asked for fewer requests, and went on asking after our retries: nothing was
    /// done, and no table is to blame.
    #[error("catalog {catalog} asks for fewer requests: {message}")]
    Throttled {
        /// The catalog.
        catalog: String,
        /// What it said.
        message: String,
    },
    /// The catalog could not be reached, or failed; trying again may help.
    #[error("catalog {catalog}: {message}")]
    Unavailable {
        /// The catalog.
        catalog: String,
        /// What happened.
        message: String,
        /// What the client said.
        #[source]
        source: Option<Source>,
    },
    /// The configuration of the catalog is wrong.
    #[error("catalog {catalog}: {message}")]
    Configuration {
        /// The catalog.
        catalog: String,
        /// What is wrong, and what it should look like.
        message: String,
    },
    /// The table's metadata file could not be read.
    #[error("table {table}: its metadata file can't be read: {source}")]
    MetadataUnreadable {
        /// The table.
        table: TableId,
        /// Why.
        #[source]
        source: StorageError,
    },
    /// The table is valid, and has what can't be maintained: a column of a type that is not known here, say.
    #[error("table {table}: {message}")]
    Unsupported {
        /// The table.
        table: TableId,
        /// What it has.
        message: String,
    },
    /// The table's state is larger than whoever asked can take.
    #[error(
        "table {table}: its metadata is more than {most}, which is the most that there is memory for here"
    )]
    TooLarge {
        /// The table.
        table: TableId,
        /// The most that was to be read.
        most: Bytes,
    },
    /// The table's metadata file is not valid, or of a version that we don't know.
    #[error("table {table}: metadata file {location}: {message}")]
    MetadataInvalid {
        /// The table.
        table: TableId,
        /// The metadata file.
        location: String,
        /// What is wrong.
        message: String,
    },
}

impl CatalogError {
    /// Whether somebody asked for fewer requests: to be asked again later, and no failure of a table.
    pub fn is_throttling(&self) -> bool {
        match self {
            Self::Throttled { .. } => true,
            Self::MetadataUnreadable { source, .. } => source.kind == StorageErrorKind::Throttled,
            _ => false,
        }
    }
}

/// A commit that did not succeed. The variants decide what may be deleted and what is tried again.
#[derive(Debug, Error)]
pub enum CommitError {
    /// Somebody else committed first: certainly not applied. Reload, validate, try again.
    #[error("table {0}: another writer committed first")]
    Conflict(TableId),
    /// Nobody knows whether it was applied: a time-out, a 5xx, a lost answer. Delete nothing; reload and look.
    #[error("table {table}: it is unknown whether the commit took effect: {message}")]
    OutcomeUnknown {
        /// The table.
        table: TableId,
        /// What happened.
        message: String,
    },
    /// The table is gone: certainly not applied.
    #[error("table {0} was dropped")]
    NoSuchTable(TableId),
    /// Certainly not applied, and trying again would not help by itself.
    #[error(transparent)]
    Refused(#[from] CatalogError),
}
