//! Metadata files that left a table's log and are there still.
//!
//! Each metadata file names up to `write.metadata.previous-versions-max` (100) of those before it, so the oldest one in a log
//! names a hundred more. Iceberg's Java library follows them (`ReachableFileUtil.metadataFileLocations`) and takes none
//! of these for an orphan.

use std::collections::HashSet;

use icepress_catalog::{LoadedTable, metadata::glimpse};
use icepress_model::MetadataLocation;
use icepress_storage::{Storage, StorageErrorKind};

use crate::{UpkeepError, dead::mark_of};

/// Marks of all of them that can be told from those that are there.
pub(super) async fn older_than_the_log(
    storage: &dyn Storage,
    loaded: &LoadedTable,
) -> Result<HashSet<u64>, UpkeepError> {
    let log = loaded.metadata.metadata_log().iter();
    let mut names: Vec<String> = log.map(|entry| entry.metadata_file.clone()).collect();
    let mut seen: HashSet<u64> = names.iter().map(|name| mark_of(name)).collect();
    let in_log = seen.clone();
    // The oldest that is there knows those before it.
    while let Some(found) = first_there(storage, loaded, &names).await? {
        names = found
            .into_iter()
            .filter(|name| seen.insert(mark_of(name)))
            .collect();
    }
    Ok(seen.difference(&in_log).copied().collect())
}

/// The log of the first of `names` that is there; `None` where none is.
async fn first_there(
    storage: &dyn Storage,
    loaded: &LoadedTable,
    names: &[String],
) -> Result<Option<Vec<String>>, UpkeepError> {
    for name in names {
        let location = MetadataLocation::from(name.as_str());
        match glimpse(storage, &location).await {
            Ok(found) => {
                let log = found.iter().flat_map(|it| it.log()).map(str::to_owned);
                return Ok(Some(log.collect()));
            }
            Err(error) if error.kind == StorageErrorKind::NotFound => {}
            Err(source) => return Err(UpkeepError::unreadable(&loaded.table, source)),
        }
    }
    Ok(None)
}
