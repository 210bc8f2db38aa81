//! What a metadata file says of the table that it is of, and of those before it: as much as whoever cleans up needs to know of
//! one that may be anybody's.

use icepress_model::MetadataLocation;
use icepress_storage::{Storage, StorageError};
use serde::Deserialize;

use super::json;

/// A look at a metadata file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Glimpse {
    /// Whose it is; `None` in old ones of version 1.
    pub table_uuid: Option<String>,
    /// Where that table lies.
    pub location: Option<String>,
    #[serde(default)]
    metadata_log: Vec<LogEntry>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct LogEntry {
    metadata_file: String,
}

impl Glimpse {
    /// The metadata files before it, the oldest first.
    pub fn log(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.metadata_log
            .iter()
            .map(|entry| entry.metadata_file.as_str())
    }
}

/// Looks at a metadata file; `None` where it is none. Takes the memory of its text.
pub async fn glimpse(
    storage: &dyn Storage,
    location: &MetadataLocation,
) -> Result<Option<Glimpse>, StorageError> {
    let content = storage.read(location.as_str()).await?;
    let Ok(json) = json::decompressed(&content) else {
        return Ok(None);
    };
    let found: Result<Glimpse, _> = serde_json::from_slice(&json);
    Ok(found
        .ok()
        .filter(|it| it.table_uuid.is_some() || it.location.is_some()))
}
