//! Metadata files: reading one, and writing the next one of a table before its catalog is told.
//!
//! What is written is a function of the base, the change, the clock and the random numbers that were passed in: the order
//! of the `iceberg` crate's hash maps and the system's clock, which it takes where a change adds no snapshot, are replaced.

use std::{collections::HashSet, io::Write as _, sync::Arc};

use bytes::Bytes as Buffer;
use flate2::{Compression, write::GzEncoder};
use iceberg::{
    TableCreation, TableUpdate,
    spec::{TableMetadata, TableMetadataBuilder},
};
use icepress_model::{MetadataLocation, TableId, TimestampMs, ambient::Ambient};
use icepress_storage::{PutMode, Storage, StorageError, StorageErrorKind, WriteOptions};
use serde_json::Value;

use crate::{CatalogError, CommitError, CommitToken, LoadedTable, TableChange};

mod change;
mod check;
mod glimpse;
mod json;
mod keep;
mod old;
mod readable;
mod refs;
mod settle;
mod snapshots;
mod spelled;
mod thin;
mod whole;

pub use glimpse::{Glimpse, glimpse};
pub use old::delete_what_a_found_commit_left;
pub(crate) use old::delete_what_left_the_log;
pub use old::wants_deletion;
use readable::Unreadable;
pub use settle::{discard_staged, outcome_by_looking};
pub use whole::{Metadata, schema_to_json};

/// Compresses metadata files: `none` (the default) or `gzip`.
const COMPRESSION: &str = "write.metadata.compression-codec";
/// Where metadata files lie, instead of `metadata` in the table's location.
const PATH: &str = "write.metadata.path";
/// The storage class of what is written for the table.
const STORAGE_CLASS: &str = "s3.write.storage-class";

/// A metadata file that is written, but that no catalog points to yet.
#[derive(Debug, Clone)]
pub struct StagedMetadata {
    /// Where it lies.
    pub location: MetadataLocation,
    /// Its content, as a reader will see it.
    pub metadata: Arc<Metadata>,
}

/// Reads a metadata file, gzip or not.
pub async fn read_metadata(
    storage: &dyn Storage,
    table: &TableId,
    location: &MetadataLocation,
) -> Result<Metadata, CatalogError> {
    let content = read(storage, table, location).await?;
    parse_metadata(table, location, &content)
}

/// The table as the metadata file at `location` has it, for catalogs that keep that pointer and nothing else.
pub async fn load_at(
    storage: &dyn Storage,
    table: &TableId,
    location: MetadataLocation,
) -> Result<LoadedTable, CatalogError> {
    let metadata = read_metadata(storage, table, &location).await?;
    Ok(LoadedTable {
        table: table.clone(),
        metadata_location: location,
        metadata: Arc::new(metadata),
        token: CommitToken::default(),
    })
}

/// The metadata that `json`, a metadata file's content, describes. `location` is for errors.
///
/// Fails with `Unsupported` where the table is valid and has what can't be maintained, such as a column of a type that is
/// not known here.
pub fn parse_metadata(
    table: &TableId,
    location: &MetadataLocation,
    json: &[u8],
) -> Result<Metadata, CatalogError> {
    json::parse(json).map_err(|unreadable| match unreadable {
        Unreadable::Invalid(message) => CatalogError::MetadataInvalid {
            table: table.clone(),
            location: location.to_string(),
            message,
        },
        Unreadable::Unsupported(message) => CatalogError::Unsupported {
            table: table.clone(),
            message,
        },
    })
}

async fn read(
    storage: &dyn Storage,
    table: &TableId,
    location: &MetadataLocation,
) -> Result<Buffer, CatalogError> {
    let content = storage.read(location.as_str()).await;
    content.map_err(|source| match source.kind {
        StorageErrorKind::NotAllowed => not_allowed(table, &source),
        _ => CatalogError::MetadataUnreadable {
            table: table.clone(),
            source,
        },
    })
}

/// A table whose files lie where its catalog allows none: trying again would not help.
fn not_allowed(table: &TableId, source: &StorageError) -> CatalogError {
    CatalogError::Unsupported {
        table: table.clone(),
        message: source.to_string(),
    }
}

/// The next metadata of a table, not written yet.
#[derive(Debug, Clone)]
pub struct PreparedMetadata {
    /// The file's content, compressed where the table says so.
    pub content: Buffer,
    /// What the file's name ends with, by its compression.
    pub extension: &'static str,
    /// What a reader will see.
    pub metadata: Arc<Metadata>,
}

impl PreparedMetadata {
    /// How the file is written.
    pub fn options(&self) -> WriteOptions {
        WriteOptions {
            storage_class: self.metadata.properties().get(STORAGE_CLASS).cloned(),
            ..WriteOptions::default()
        }
    }
}

/// Applies `change` to `base` and writes the outcome as a new metadata file beside the old ones.
///
/// A requirement that does not hold for `base` is a `Conflict`; a change that makes no valid table, or a file that can't
/// be written, is `Refused`. In each case the table is as it was.
pub async fn stage_metadata(
    storage: &dyn Storage,
    ambient: &Ambient,
    base: &LoadedTable,
    change: TableChange,
) -> Result<StagedMetadata, CommitError> {
    let prepared = prepare_metadata(storage, ambient, base, change).await?;
    let version = next_version(&base.metadata_location);
    write(storage, ambient, &base.table, prepared, version)
        .await
        .map_err(CommitError::Refused)
}

/// Applies `change` to `base` and writes nothing, for catalogs that name their files themselves. Fails as
/// [`stage_metadata`] does.
pub async fn prepare_metadata(
    storage: &dyn Storage,
    ambient: &Ambient,
    base: &LoadedTable,
    change: TableChange,
) -> Result<PreparedMetadata, CommitError> {
    let invalid = |message: String| CatalogError::MetadataInvalid {
        table: base.table.clone(),
        location: base.metadata_location.to_string(),
        message,
    };
    for requirement in &change.requirements {
        if requirement.check(Some(&base.metadata)).is_err() {
            return Err(CommitError::Conflict(base.table.clone()));
        }
    }
    let adds_a_snapshot = change
        .updates
        .iter()
        .any(|update| matches!(update, TableUpdate::AddSnapshot { .. }));
    let location = base.metadata_location.as_str();
    let updates = change.updates.clone();
    let mut json = change::apply(&base.metadata, location, change.updates)
        .map_err(|message| invalid(format!("the change does not fit the table: {message}")))?;
    if !storage.may_delete() {
        old::keep_in_the_log(&mut json, &base.metadata);
    }
    let old = file_of(storage, base, &snapshots_of(&json)).await?;
    if base.metadata.is_thin() {
        if old.is_null() {
            return Err(CommitError::Conflict(base.table.clone()));
        }
        // What was not read must come from the file, and only one of the same version has it in the same form.
        if old.get("format-version") != json.get("format-version") {
            let message = "it has too many snapshots for its format version to change: expire some";
            return Err(CommitError::Refused(invalid(message.to_owned())));
        }
    }
    keep::keep(&mut json, old, &updates);
    // A snapshot's own time is the time of the change that adds it.
    if !adds_a_snapshot {
        let time = ambient.now().get().max(base.metadata.last_updated_ms());
        json::set_time(&mut json, TimestampMs(time));
    }
    prepare(&base.table, &json).map_err(CommitError::Refused)
}

fn snapshots_of(json: &Value) -> HashSet<i64> {
    let snapshots = json.get("snapshots").and_then(Value::as_array);
    let ids = snapshots.into_iter().flatten();
    ids.filter_map(|it| it.get("snapshot-id")?.as_i64())
        .collect()
}

/// The metadata file of `base`, which has more than the parsed metadata knows, with these of its snapshots; null where it is gone. Then it is not the
/// table's any more, and the swap will say why: the table was dropped, or somebody else committed and cleaned up.
async fn file_of(
    storage: &dyn Storage,
    base: &LoadedTable,
    snapshots: &HashSet<i64>,
) -> Result<Value, CommitError> {
    let content = match read(storage, &base.table, &base.metadata_location).await {
        Err(CatalogError::MetadataUnreadable { source, .. })
            if source.kind == StorageErrorKind::NotFound =>
        {
            return Ok(Value::Null);
        }
        Err(CatalogError::MetadataUnreadable { source, .. })
            if source.kind == StorageErrorKind::PermissionDenied =>
        {
            return Err(CommitError::Refused(CatalogError::PermissionDenied {
                catalog: base.table.catalog.to_string(),
                message: format!("table {}: {source}", base.table),
            }));
        }
        content => content.map_err(CommitError::Refused)?,
    };
    json::decompressed(&content)
        .and_then(|json| {
            let read = thin::with_snapshots(&json, snapshots);
            read.map_err(|error| error.to_string())
        })
        .map_err(|message| {
            CommitError::Refused(CatalogError::MetadataInvalid {
                table: base.table.clone(),
                location: base.metadata_location.to_string(),
                message,
            })
        })
}

/// Writes the first metadata file of a table that no catalog knows yet.
///
/// The creation's location must be set. Register the outcome in a catalog to make it a table.
pub async fn stage_new_table(
    storage: &dyn Storage,
    ambient: &Ambient,
    table: &TableId,
    creation: TableCreation,
) -> Result<StagedMetadata, CatalogError> {
    let location = creation.location.clone().unwrap_or_default();
    let built = TableMetadataBuilder::from_table_creation(creation)
        .map(|builder| builder.assign_uuid(ambient.uuid()))
        .and_then(TableMetadataBuilder::build)
        .map_err(|error| CatalogError::MetadataInvalid {
            table: table.clone(),
            location,
            message: error.to_string(),
        })?
        .metadata;
    let mut json = json::ordered(&built).map_err(|error| CatalogError::MetadataInvalid {
        table: table.clone(),
        location: built.location().to_owned(),
        message: error.to_string(),
    })?;
    json::set_time(&mut json, ambient.now());
    write(storage, ambient, table, prepare(table, &json)?, 0).await
}

fn prepare(table: &TableId, json: &Value) -> Result<PreparedMetadata, CatalogError> {
    let invalid = |message: String| CatalogError::MetadataInvalid {
        table: table.clone(),
        location: "(new)".to_owned(),
        message,
    };
    let json = serde_json::to_vec(json).map_err(|error| invalid(error.to_string()))?;
    // What readers will see; it also proves that they can.
    let metadata = json::parse(&json).map_err(|unreadable| invalid(unreadable.message()))?;
    let codec = metadata.properties().get(COMPRESSION).map(String::as_str);
    let (content, extension) = match codec.unwrap_or("none") {
        codec if codec.eq_ignore_ascii_case("none") => (json, ".metadata.json"),
        codec if codec.eq_ignore_ascii_case("gzip") => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            let compressed = encoder.write_all(&json).and_then(|()| encoder.finish());
            (
                compressed.map_err(|error| invalid(error.to_string()))?,
                ".gz.metadata.json",
            )
        }
        codec => {
            return Err(invalid(format!(
                "{COMPRESSION} is '{codec}': known are none and gzip"
            )));
        }
    };
    Ok(PreparedMetadata {
        content: Buffer::from(content),
        extension,
        metadata: Arc::new(metadata),
    })
}

async fn write(
    storage: &dyn Storage,
    ambient: &Ambient,
    table: &TableId,
    prepared: PreparedMetadata,
    version: u32,
) -> Result<StagedMetadata, CatalogError> {
    let options = prepared.options();
    let location = format!(
        "{}/{version:05}-{}{}",
        metadata_folder(&prepared.metadata),
        ambient.uuid(),
        prepared.extension
    );
    storage
        .put(&location, prepared.content, PutMode::CreateOnly, &options)
        .await
        .map_err(|source| match source.kind {
            StorageErrorKind::NotAllowed => not_allowed(table, &source),
            StorageErrorKind::Throttled => CatalogError::Throttled {
                catalog: table.catalog.to_string(),
                message: format!(
                    "table {table}: its new metadata file could not be written: {source}"
                ),
            },
            _ => CatalogError::Unavailable {
                catalog: table.catalog.to_string(),
                message: format!(
                    "table {table}: its new metadata file could not be written: {source}"
                ),
                source: Some(Box::new(source)),
            },
        })?;
    Ok(StagedMetadata {
        location: MetadataLocation(location),
        metadata: prepared.metadata,
    })
}

/// The folder of a table's metadata files, without a slash at its end.
pub fn metadata_folder(metadata: &TableMetadata) -> String {
    match metadata.properties().get(PATH) {
        Some(path) => path.trim_end_matches('/').to_owned(),
        None => format!("{}/metadata", metadata.location().trim_end_matches('/')),
    }
}

/// The number in front of the next file's name. Where the old name has none (`v3.metadata.json` of a Hadoop table)
/// counting begins at 0, as Java does.
fn next_version(location: &MetadataLocation) -> u32 {
    let name = location.as_str().rsplit('/').next().unwrap_or_default();
    name.split_once('-')
        .and_then(|(version, _)| version.parse::<u32>().ok())
        .map_or(0, |version| version.saturating_add(1))
}

#[cfg(test)]
mod tests;
