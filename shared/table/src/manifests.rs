//! Manifest lists and manifests, read and written whole, through our own storage.
//!
//! What a commit needs and a plan does not: every live entry with its numbers inherited (specification, *Sequence
//! Number Inheritance*), carried from manifest to manifest without loss, and files compressed and of the size that the
//! table's properties ask for.

mod avro;
mod container;
mod decode;
mod encode;
mod partition;
mod row_ids;
mod schema;

use std::sync::Arc;

use bytes::Bytes as Buffer;
use futures::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use iceberg::spec::{FormatVersion, TableMetadata};
use icepress_model::TableId;
use icepress_storage::Storage;
use serde_json::Value;

pub(crate) use avro::{AvroError, Cursor, Scalar, Shape};
pub(crate) use container::{Compression, Container};
pub(crate) use decode::{bounds, null_value_counts};
pub(crate) use encode::{
    ManifestPart, ManifestSettings, Metric, NewEntry, OutputFile, partition_of,
    write_manifest_list, write_manifests,
};
pub(crate) use partition::PartitionKey;
pub(crate) use row_ids::assign_first_row_ids;

use crate::TableError;

/// How many manifests are fetched and decoded at a time.
pub(crate) const CONCURRENT_READS: usize = 24;

/// The format version that manifests are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Version {
    V1,
    V2,
    V3,
}

impl Version {
    /// The version of a table.
    pub(crate) fn of(metadata: &TableMetadata) -> Self {
        match metadata.format_version() {
            FormatVersion::V1 => Self::V1,
            FormatVersion::V2 => Self::V2,
            FormatVersion::V3 => Self::V3,
        }
    }

    /// As the headers of manifests and manifest lists have it.
    fn text(self) -> &'static str {
        match self {
            Self::V1 => "1",
            Self::V2 => "2",
            Self::V3 => "3",
        }
    }
}

/// What a manifest tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Content {
    Data,
    Deletes,
}

/// What a tracked file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum FileContent {
    Data,
    PositionDeletes,
    EqualityDeletes,
}

/// Bounds and more of one partition field over a manifest's files (specification, `field_summary`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FieldSummary {
    pub(crate) contains_null: bool,
    pub(crate) contains_nan: Option<bool>,
    pub(crate) lower_bound: Option<Vec<u8>>,
    pub(crate) upper_bound: Option<Vec<u8>>,
}

/// Files and rows of one status; `None` where the manifest list does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Count {
    pub(crate) files: Option<i64>,
    pub(crate) rows: Option<i64>,
}

/// An entry of a manifest list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ManifestFile {
    pub(crate) path: String,
    pub(crate) length: i64,
    pub(crate) spec_id: i32,
    pub(crate) content: Content,
    pub(crate) sequence_number: i64,
    pub(crate) min_sequence_number: i64,
    pub(crate) added_snapshot_id: i64,
    pub(crate) added: Count,
    pub(crate) existing: Count,
    pub(crate) deleted: Count,
    pub(crate) partitions: Option<Vec<FieldSummary>>,
    pub(crate) key_metadata: Option<Vec<u8>>,
    /// What its data files without a first row id of their own count on from; `None` before format version 3.
    pub(crate) first_row_id: Option<i64>,
}

impl ManifestFile {
    /// Whether it may have live entries. One that has none is history, and not carried on.
    pub(crate) fn may_have_live_files(&self) -> bool {
        self.added.files != Some(0) || self.existing.files != Some(0)
    }
}

/// What all entries of a manifest share, kept as it was written.
#[derive(Debug, Clone)]
pub(crate) struct ManifestHeader {
    pub(crate) content: Content,
    pub(crate) spec_id: i32,
    /// The header entries that say what schema and spec the manifest was written under.
    pub(crate) schema: Vec<u8>,
    pub(crate) schema_id: Option<Vec<u8>>,
    pub(crate) partition_spec: Vec<u8>,
    /// The Avro type of the partition, as JSON and taken apart.
    pub(crate) partition_json: Value,
    pub(crate) partition_shape: Shape,
    /// The Avro type of an entry's file.
    pub(crate) file_shape: Shape,
}

/// A live entry of a manifest, with what it inherits filled in.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) snapshot_id: i64,
    pub(crate) sequence_number: i64,
    pub(crate) file_sequence_number: i64,
    pub(crate) file: TrackedFile,
}

/// A data or delete file, as far as a commit looks at it. The rest stays in `raw`.
#[derive(Debug, Clone)]
pub(crate) struct TrackedFile {
    pub(crate) content: FileContent,
    pub(crate) path: String,
    pub(crate) format: String,
    pub(crate) partition: PartitionKey,
    pub(crate) rows: u64,
    pub(crate) size: u64,
    /// The id of a data file's first row, inherited where its entry has none.
    pub(crate) first_row_id: Option<i64>,
    /// The one data file that a delete file is about, where it says so.
    pub(crate) referenced_data_file: Option<String>,
    /// Where a vector lies in its file: offset and length. Together with the path that is what tells vectors apart.
    pub(crate) blob: Option<(i64, i64)>,
    /// The whole record, as its manifest has it.
    pub(crate) raw: Buffer,
}

impl TrackedFile {
    /// What tells one delete file from another: several vectors share a Puffin file.
    pub(crate) fn identity(&self) -> (&str, Option<i64>) {
        (&self.path, self.blob.map(|(offset, _)| offset))
    }

    /// The bytes that are its own: of a file with many vectors, each has a part.
    pub(crate) fn own_bytes(&self) -> u64 {
        let part = self.blob.and_then(|(_, length)| u64::try_from(length).ok());
        part.filter(|_| self.is_vector()).unwrap_or(self.size)
    }

    /// Whether this is a vector, and not a file of position deletes.
    pub(crate) fn is_vector(&self) -> bool {
        self.content == FileContent::PositionDeletes && self.format.eq_ignore_ascii_case("puffin")
    }
}

/// A manifest's live entries.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) header: ManifestHeader,
    pub(crate) entries: Vec<Entry>,
    /// Added, existing and deleted entries and their rows, counted.
    pub(crate) counted: [Count; 3],
}

/// Reads the manifest list at `location`.
///
/// Fails where it can't be fetched, or is no manifest list.
pub(crate) async fn read_manifest_list(
    storage: &dyn Storage,
    table: &TableId,
    location: &str,
) -> Result<Vec<ManifestFile>, TableError> {
    let content = fetch(storage, table, location).await?;
    decode::manifest_list(&content).map_err(|error| corrupt(table, location, error))
}

/// Reads one manifest.
pub(crate) async fn read_manifest(
    storage: &dyn Storage,
    table: &TableId,
    file: &ManifestFile,
) -> Result<Manifest, TableError> {
    if file.key_metadata.is_some() {
        return Err(TableError::Unsupported {
            table: table.clone(),
            message: format!(
                "its manifest {} is encrypted, which we can't read",
                file.path
            ),
        });
    }
    let content = fetch(storage, table, &file.path).await?;
    decode::manifest(&content, file).map_err(|error| corrupt(table, &file.path, error))
}

/// Reads manifests, several at a time, and hands each to `digest` as soon as it is there, with its place in `files`;
/// returns what came of them in the order of `files`.
pub(crate) async fn read_manifests<T>(
    storage: &Arc<dyn Storage>,
    table: &TableId,
    files: &[ManifestFile],
    digest: impl Fn(usize, Manifest) -> T,
) -> Result<Vec<T>, TableError> {
    // Boxed one by one: else the compiler can't tell that the whole may move between threads.
    let mut requests = Vec::with_capacity(files.len());
    for (place, file) in files.iter().enumerate() {
        let read = read_manifest(storage.as_ref(), table, file);
        requests.push(read.map_ok(move |manifest| (place, manifest)).boxed());
    }
    futures::stream::iter(requests)
        .buffered(CONCURRENT_READS)
        .map_ok(|(place, manifest)| digest(place, manifest))
        .try_collect()
        .await
}

async fn fetch(
    storage: &dyn Storage,
    table: &TableId,
    location: &str,
) -> Result<Buffer, TableError> {
    storage
        .read(location)
        .await
        .map_err(|source| TableError::of_storage(table, source))
}

fn corrupt(table: &TableId, file: &str, error: AvroError) -> TableError {
    TableError::Corrupt {
        table: table.clone(),
        file: file.to_owned(),
        message: error.0,
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
