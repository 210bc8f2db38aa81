//! The end of a commit by pointer: what became of a swap, and of the file that it was to make current.

use icepress_model::MetadataLocation;
use icepress_storage::Storage;

use super::{StagedMetadata, delete_what_left_the_log, read_metadata};
use crate::{CatalogError, CommitError, CommitToken, LoadedTable};

impl StagedMetadata {
    /// The outcome of a commit whose swap from `base` came to `swapped`: the table as it is now, or why it is not. The file
    /// is removed where the swap certainly failed; where nobody knows, a table may need it. Old ones go where it certainly
    /// succeeded and the table wants it.
    pub async fn settle(
        self,
        storage: &dyn Storage,
        base: &LoadedTable,
        swapped: Result<(), CommitError>,
    ) -> Result<LoadedTable, CommitError> {
        match swapped {
            Ok(()) => {
                let now = LoadedTable {
                    table: base.table.clone(),
                    metadata_location: self.location,
                    metadata: self.metadata,
                    token: CommitToken::default(),
                };
                delete_what_left_the_log(storage, base, &now).await;
                Ok(now)
            }
            Err(error) => {
                if !matches!(error, CommitError::OutcomeUnknown { .. }) {
                    discard_staged(storage, &self).await;
                }
                Err(error)
            }
        }
    }
}

/// Removes a staged file whose commit certainly failed, if we may: an optimizer's role may not delete, and orphan
/// removal finds the file later.
pub async fn discard_staged(storage: &dyn Storage, staged: &StagedMetadata) {
    for outcome in storage.delete(&[staged.location.to_string()]).await {
        if let Err(error) = outcome.result {
            tracing::debug!(%error, "a metadata file that was not committed stays behind");
        }
    }
}

/// Looks into what became of the swap from `base` to `staged`, of which nobody knows for the reason `why`. `now` is what the
/// catalog says of the table since.
///
/// Each metadata file lists those before it: a table whose past knows `staged` took it, and one whose past knows only
/// `base` took another. A table that is gone tells nothing: it may have got another name, and `staged` with it.
pub async fn outcome_by_looking(
    storage: &dyn Storage,
    base: &LoadedTable,
    staged: &StagedMetadata,
    now: Result<MetadataLocation, CatalogError>,
    why: &str,
) -> Result<(), CommitError> {
    let unknown = |what: &str| CommitError::OutcomeUnknown {
        table: base.table.clone(),
        message: format!("{why}; {what}"),
    };
    let now = now.map_err(|error| unknown(&format!("and then: {error}")))?;
    if now == staged.location {
        return Ok(());
    }
    if now == base.metadata_location {
        // A request that is still on its way may be carried out yet.
        return Err(unknown("the table is unchanged so far"));
    }
    let metadata = read_metadata(storage, &base.table, &now).await;
    let metadata = metadata.map_err(|error| unknown(&error.to_string()))?;
    let is_in_its_past = |location: &MetadataLocation| {
        let mut past = metadata.metadata_log().iter();
        past.any(|entry| entry.metadata_file == location.as_str())
    };
    if is_in_its_past(&staged.location) {
        Ok(())
    } else if is_in_its_past(&base.metadata_location) {
        Err(CommitError::Conflict(base.table.clone()))
    } else {
        Err(unknown(&format!("{now} tells nothing about it")))
    }
}
