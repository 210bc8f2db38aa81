//! Metadata files: reading one, and writing the next one of a table before its catalog is told.
//!
//! What is written is a function of the base, the change, the clock and the random numbers that were passed in: the
//! `iceberg` crate keeps a table's maps in hash maps, whose order differs from run to run, so everything is put in order
//! here; and it takes the system's clock where a change adds no snapshot, so that time is replaced.

mod disguise;

use std::{
    io::{Read as _, Write as _},
    sync::Arc,
};

use bytes::Bytes as Buffer;
use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use iceberg::{
    TableCreation, TableUpdate,
    spec::{TableMetadata, TableMetadataBuilder},
};
use icepress_model::{MetadataLocation, TableId, TimestampMs, ambient::Ambient};
use icepress_storage::{PutMode, Storage, WriteOptions};
use serde_json::Value;

use self::disguise::{disguise, reveal};
use crate::{CatalogError, CommitError, LoadedTable, TableChange};

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
    pub metadata: Arc<TableMetadata>,
}

/// Reads a metadata file, gzip or not.
pub async fn read_metadata(
    storage: &dyn Storage,
    table: &TableId,
    location: &MetadataLocation,
) -> Result<TableMetadata, CatalogError> {
    let content = storage.read(location.as_str()).await.map_err(|source| {
        CatalogError::MetadataUnreadable {
            table: table.clone(),
            source,
        }
    })?;
    parse(&content).map_err(|message| CatalogError::MetadataInvalid {
        table: table.clone(),
        location: location.to_string(),
        message,
    })
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
    let (start, disguised) =
        disguise(&base.metadata).map_err(|error| invalid(error.to_string()))?;
    let builder =
        TableMetadataBuilder::new_from_metadata(start, Some(base.metadata_location.to_string()));
    let built = change
        .updates
        .into_iter()
        .try_fold(builder, |builder, update| update.apply(builder))
        .and_then(TableMetadataBuilder::build)
        .map_err(|error| invalid(format!("the change does not fit the table: {error}")))?
        .metadata;
    let built = reveal(built, &disguised).map_err(|error| invalid(error.to_string()))?;

    // A snapshot's own time is the time of the change that adds it.
    let time = (!adds_a_snapshot)
        .then(|| TimestampMs(ambient.now().get().max(base.metadata.last_updated_ms())));
    let folder = metadata_folder(&built);
    let version = next_version(&base.metadata_location);
    write(
        storage,
        ambient,
        &base.table,
        &built,
        time,
        &folder,
        version,
    )
    .await
    .map_err(CommitError::Refused)
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
    let folder = metadata_folder(&built);
    write(
        storage,
        ambient,
        table,
        &built,
        Some(ambient.now()),
        &folder,
        0,
    )
    .await
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

async fn write(
    storage: &dyn Storage,
    ambient: &Ambient,
    table: &TableId,
    metadata: &TableMetadata,
    time: Option<TimestampMs>,
    folder: &str,
    version: u32,
) -> Result<StagedMetadata, CatalogError> {
    let invalid = |message: String| CatalogError::MetadataInvalid {
        table: table.clone(),
        location: folder.to_owned(),
        message,
    };
    let json = to_json(metadata, time).map_err(|error| invalid(error.to_string()))?;
    // What readers will see; it also proves that they can.
    let metadata = parse(&json).map_err(invalid)?;
    let codec = metadata.properties().get(COMPRESSION).map(String::as_str);
    let (content, extension) = match codec.unwrap_or("none") {
        codec if codec.eq_ignore_ascii_case("none") => (json, ""),
        codec if codec.eq_ignore_ascii_case("gzip") => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            let compressed = encoder.write_all(&json).and_then(|()| encoder.finish());
            (
                compressed.map_err(|error| invalid(error.to_string()))?,
                ".gz",
            )
        }
        codec => {
            return Err(invalid(format!(
                "{COMPRESSION} is '{codec}': known are none and gzip"
            )));
        }
    };
    let location = format!(
        "{folder}/{version:05}-{}{extension}.metadata.json",
        ambient.uuid()
    );
    let options = WriteOptions {
        storage_class: metadata.properties().get(STORAGE_CLASS).cloned(),
    };
    storage
        .put(
            &location,
            Buffer::from(content),
            PutMode::CreateOnly,
            &options,
        )
        .await
        .map_err(|source| CatalogError::Unavailable {
            catalog: table.catalog.to_string(),
            message: format!("table {table}: its new metadata file could not be written: {source}"),
            source: Some(Box::new(source)),
        })?;
    Ok(StagedMetadata {
        location: MetadataLocation(location),
        metadata: Arc::new(metadata),
    })
}

/// The folder of a table's metadata files, without a slash at its end.
fn metadata_folder(metadata: &TableMetadata) -> String {
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

/// Reads a metadata file's content; the error is a message for people.
fn parse(content: &[u8]) -> Result<TableMetadata, String> {
    let mut decompressed = Vec::new();
    let json = if content.starts_with(&[0x1f, 0x8b]) {
        MultiGzDecoder::new(content)
            .read_to_end(&mut decompressed)
            .map_err(|error| format!("it is not a whole gzip file: {error}"))?;
        &decompressed
    } else {
        content
    };
    serde_json::from_slice(json).map_err(|error| {
        // The error of the whole says only that no version's form fits.
        match serde_json::from_slice::<Value>(json) {
            Err(error) => format!("it is not valid JSON: {error}"),
            Ok(value) => match value.get("format-version") {
                Some(version) if !matches!(version.as_u64(), Some(1..=3)) => {
                    format!("its format version is {version}: only 1, 2 and 3 are known")
                }
                Some(version) => {
                    format!("it is not valid metadata of format version {version}: {error}")
                }
                None => "it has no format-version".to_owned(),
            },
        }
    })
}

/// The metadata as JSON, always the same for the same metadata; with `time` as the time of the last update.
fn to_json(metadata: &TableMetadata, time: Option<TimestampMs>) -> serde_json::Result<Vec<u8>> {
    let mut json = serde_json::to_value(metadata)?;
    let by_number = |key: &'static str| move |item: &Value| item.get(key).and_then(Value::as_i64);
    sort(&mut json, "schemas", by_number("schema-id"));
    sort(&mut json, "partition-specs", by_number("spec-id"));
    sort(&mut json, "sort-orders", by_number("order-id"));
    sort(&mut json, "statistics", by_number("snapshot-id"));
    sort(&mut json, "partition-statistics", by_number("snapshot-id"));
    sort(&mut json, "encryption-keys", |key| {
        key.get("key-id").and_then(Value::as_str).map(str::to_owned)
    });
    sort(&mut json, "snapshots", |snapshot| {
        ["sequence-number", "timestamp-ms", "snapshot-id"]
            .map(|key| snapshot.get(key).and_then(Value::as_i64).unwrap_or(0))
    });
    for key in ["properties", "refs", "snapshots", "encryption-keys"] {
        if let Some(value) = json.get_mut(key) {
            value.sort_all_objects();
        }
    }
    if let Some(time) = time {
        let taken_from_the_air = Value::from(metadata.last_updated_ms());
        json["last-updated-ms"] = Value::from(time.get());
        let last_entry = json
            .get_mut("snapshot-log")
            .and_then(Value::as_array_mut)
            .and_then(|log| log.last_mut());
        if let Some(entry) = last_entry
            && entry.get("timestamp-ms") == Some(&taken_from_the_air)
        {
            entry["timestamp-ms"] = Value::from(time.get());
        }
    }
    serde_json::to_vec(&json)
}

fn sort<K: Ord>(json: &mut Value, key: &str, by: impl Fn(&Value) -> K) {
    if let Some(items) = json.get_mut(key).and_then(Value::as_array_mut) {
        items.sort_by_key(|item| by(item));
    }
}

#[cfg(test)]
mod tests;
