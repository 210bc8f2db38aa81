//! Manifest lists and manifests, read and written whole, through our own storage.
//!
//! What a commit needs and a plan does not: every live entry with its numbers inherited (specification, *Sequence
//! Number Inheritance*), carried from manifest to manifest without loss, and files compressed and of the size that the
//! table's properties ask for.

mod encode;
mod encode_list;
mod entry;
mod header;
mod labels;
mod list;
mod names;
mod partition;
mod partition_reader;
mod raw;
mod read;
mod row_ids;
mod schema;
mod specs;
mod writer;

use std::sync::Arc;

use bytes::Bytes as Buffer;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use iceberg::spec::{FormatVersion, Snapshot, TableMetadata};
use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, TableId};
use icepress_storage::{Room, Storage};

pub(crate) use encode::{
    Amendment, Carried, ManifestPart, ManifestSettings, ManifestWriter, Metric, NewEntry,
    OutputFile, Put, WrittenManifest,
};
pub(crate) use encode_list::write_manifest_list;
pub(crate) use header::{HeaderSchema, ManifestHeader};
#[cfg(test)]
pub(crate) use list::manifest_list;
pub(crate) use partition::{PartitionKey, PartitionTable, compare_values};
pub(crate) use read::{
    LiveEntry, LiveFile, OpenManifest, RemovedEntry, Standing, read_entries, read_live_paths,
    read_removed, survey_entries,
};
pub(crate) use row_ids::assign_first_row_ids;
pub(crate) use specs::{Spec, Specs};
pub(crate) use writer::Compression;

use crate::{
    TableError,
    avro::AvroError,
    delete_index::{DataFileAt, DeleteScope, DeleteTraits},
};

/// How many manifests are fetched and decoded at a time.
pub(crate) const CONCURRENT_READS: usize = 24;
/// Bytes of manifests that a commit has in memory at a time to look into.
const READING: Bytes = Bytes::mebibytes(48);
/// What a manifest is reckoned at whose list does not say how large it is: Iceberg's own target.
const USUAL_MANIFEST: Bytes = Bytes::mebibytes(8);

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
    /// A manifest of version 1 that a metadata file names. All else is in it: as in Iceberg's Java library it is of the
    /// first partition spec, and came with the snapshot.
    pub(crate) fn named(path: &str, snapshot_id: i64) -> Self {
        Self {
            path: path.to_owned(),
            length: 0,
            spec_id: 0,
            content: Content::Data,
            sequence_number: 0,
            min_sequence_number: 0,
            added_snapshot_id: snapshot_id,
            added: Count::default(),
            existing: Count::default(),
            deleted: Count::default(),
            partitions: None,
            key_metadata: None,
            first_row_id: None,
        }
    }

    /// Fills in what its list does not say, and lists of later versions must, from the manifest itself.
    pub(crate) fn complete(&mut self, manifest: &Measured) {
        if self.length == 0 {
            self.length = manifest.length;
        }
        let counts = [&mut self.added, &mut self.existing, &mut self.deleted];
        for (listed, counted) in counts.into_iter().zip(manifest.counted) {
            listed.files = listed.files.or(counted.files);
            listed.rows = listed.rows.or(counted.rows);
        }
    }

    /// Whether its list says all that the lists of later versions must.
    pub(crate) fn is_complete(&self) -> bool {
        let counts = [self.added, self.existing, self.deleted];
        let is_known = |count: &Count| count.files.is_some() && count.rows.is_some();
        self.length > 0 && counts.iter().all(is_known)
    }

    /// What its content takes in memory.
    pub(crate) fn content_bytes(&self) -> Bytes {
        u64::try_from(self.length)
            .ok()
            .filter(|length| *length > 0)
            .map_or(USUAL_MANIFEST, Bytes)
    }

    /// Whether it may have live entries. One that has none is history, and not carried on.
    pub(crate) fn may_have_live_files(&self) -> bool {
        self.added.files != Some(0) || self.existing.files != Some(0)
    }
}

/// What a data file, or a delete file, is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FileFormat {
    /// Apache Parquet.
    Parquet,
    /// Apache Avro.
    Avro,
    /// Apache ORC.
    Orc,
    /// Puffin: deletion vectors.
    Puffin,
}

impl FileFormat {
    /// The name as the specification has it, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Avro => "avro",
            Self::Orc => "orc",
            Self::Puffin => "puffin",
        }
    }

    fn parse(text: &[u8]) -> Option<Self> {
        [Self::Parquet, Self::Avro, Self::Orc, Self::Puffin]
            .into_iter()
            .find(|format| format.name().as_bytes().eq_ignore_ascii_case(text))
    }
}

/// A live entry of a manifest, with what it inherits filled in.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) snapshot_id: i64,
    pub(crate) sequence_number: i64,
    /// `None` where the entry is not new and does not say.
    pub(crate) file_sequence_number: Option<i64>,
    pub(crate) file: TrackedFile,
}

/// A data or delete file, as far as a commit looks at it. The rest stays in `raw`.
#[derive(Debug, Clone)]
pub(crate) struct TrackedFile {
    pub(crate) content: FileContent,
    pub(crate) path: String,
    pub(crate) format: FileFormat,
    pub(crate) partition: PartitionKey,
    pub(crate) rows: u64,
    pub(crate) size: u64,
    /// The id of a data file's first row, inherited where its entry has none.
    pub(crate) first_row_id: Option<i64>,
    /// Where a delete file applies; `None` for data files.
    pub(crate) scope: Option<DeleteScope<PartitionKey>>,
    /// Where a vector lies in its file: offset and length. Together with the path that is what tells vectors apart.
    pub(crate) blob: Option<(u64, u64)>,
    /// The whole record, as its manifest has it.
    pub(crate) raw: Buffer,
}

impl Entry {
    /// Whether this, a delete file's entry, applies to the data file of another.
    pub(crate) fn applies_to(&self, data: &Entry) -> bool {
        let scope = self.file.scope.as_ref();
        scope.is_some_and(|scope| scope.applies(self.sequence_number, data.as_data_file()))
    }

    /// The same, where bounds may be cut short.
    pub(crate) fn may_apply_to(&self, data: &Entry) -> bool {
        let scope = self.file.scope.as_ref();
        scope.is_some_and(|scope| scope.may_apply(self.sequence_number, data.as_data_file()))
    }

    fn as_data_file(&self) -> DataFileAt<'_, PartitionKey> {
        DataFileAt {
            path: &self.file.path,
            partition: &self.file.partition,
            sequence_number: self.sequence_number,
        }
    }
}

impl TrackedFile {
    /// Whether only the paths in it tell which data files a delete file is about.
    pub(crate) fn is_unsure(&self) -> bool {
        self.scope.as_ref().is_some_and(DeleteScope::is_unsure)
    }

    /// What tells one delete file from another: several vectors share a Puffin file.
    pub(crate) fn identity(&self) -> (&str, Option<u64>) {
        (&self.path, self.blob.map(|(offset, _)| offset))
    }

    /// The bytes that are its own: of a file with many vectors, each has a part.
    pub(crate) fn own_bytes(&self) -> u64 {
        self.blob.map_or(self.size, |(_, length)| length)
    }

    /// Whether this is a vector, and not a file of position deletes.
    pub(crate) fn is_vector(&self) -> bool {
        self.content == FileContent::PositionDeletes && self.format == FileFormat::Puffin
    }
}

/// A manifest's live entries.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) header: ManifestHeader,
    pub(crate) entries: Vec<Entry>,
    pub(crate) measured: Measured,
}

/// What a manifest list says of a manifest, measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measured {
    /// Bytes of the file.
    pub(crate) length: i64,
    /// Added, existing and deleted entries and their rows.
    pub(crate) counted: [Count; 3],
}

/// The manifests of a snapshot of `metadata`: those of its manifest list, or those that the metadata file itself names, as
/// writers of version 1 had it until 2019.
///
/// Fails where the list can't be fetched, or is no manifest list, or is encrypted.
pub(crate) async fn manifests_of(
    storage: &dyn Storage,
    table: &TableId,
    metadata: &Metadata,
    snapshot: &Snapshot,
) -> Result<Vec<ManifestFile>, TableError> {
    if let Some(paths) = metadata.named_manifests(snapshot.snapshot_id()) {
        let named = paths.iter();
        return Ok(named
            .map(|path| ManifestFile::named(path, snapshot.snapshot_id()))
            .collect());
    }
    if snapshot.encryption_key_id().is_some() {
        let message = "its manifest list is encrypted, which Icepress can't read";
        return Err(unsupported(table, message.to_owned()));
    }
    listed_at(storage, table, snapshot.manifest_list()).await
}

/// The manifests that the manifest list at `location` names.
pub(crate) async fn listed_at(
    storage: &dyn Storage,
    table: &TableId,
    location: &str,
) -> Result<Vec<ManifestFile>, TableError> {
    let content = fetch(storage, table, location).await?;
    list::manifest_list(&content).map_err(|error| defect(table, location, error))
}

/// Reads one manifest whole, with all that a commit carries over.
pub(crate) async fn read_manifest(
    storage: &dyn Storage,
    table: &TableId,
    file: &ManifestFile,
    specs: &Specs,
) -> Result<Manifest, TableError> {
    check_readable(table, file)?;
    let spec = spec_of(table, specs, file)?;
    let content = fetch(storage, table, &file.path).await?;
    manifest(&content, file, spec).map_err(|error| defect(table, &file.path, error))
}

/// What the snapshot that added a manifest removed from it.
pub(crate) async fn removed_from(
    storage: &dyn Storage,
    table: &TableId,
    file: &ManifestFile,
) -> Result<Vec<RemovedEntry>, TableError> {
    check_readable(table, file)?;
    let content = fetch(storage, table, &file.path).await?;
    read_removed(&content, file).map_err(|error| defect(table, &file.path, error))
}

/// Reads one manifest, with what its header and its Avro schema lack or say wrongly, a line each: tolerated here, and not by every
/// reader.
pub(crate) async fn examine_manifest(
    storage: &dyn Storage,
    table: &TableId,
    file: &ManifestFile,
    specs: &Specs,
) -> Result<(Manifest, Vec<String>), TableError> {
    check_readable(table, file)?;
    let spec = spec_of(table, specs, file)?;
    let content = fetch(storage, table, &file.path).await?;
    let defect = |error| defect(table, &file.path, error);
    let manifest = manifest(&content, file, spec).map_err(defect)?;
    let labels = labels::faults(&content, file, &manifest.header).map_err(defect)?;
    Ok((manifest, labels))
}

/// A manifest's live entries, from its bytes.
fn manifest(content: &[u8], file: &ManifestFile, spec: &Spec) -> Result<Manifest, AvroError> {
    let mut partitions = PartitionTable::default();
    let mut entries = Vec::new();
    let read = read_entries(content, file, spec, &mut partitions, |entry, partition| {
        entries.push(Entry::of(entry, partition, spec));
        Ok(())
    })?;
    Ok(Manifest {
        entries,
        header: read.header,
        measured: read.measured,
    })
}

impl Entry {
    /// A live entry of a manifest of `spec`, to be kept.
    pub(crate) fn of(entry: &LiveEntry<'_>, partition: &PartitionKey, spec: &Spec) -> Self {
        let file = &entry.file;
        let traits = DeleteTraits {
            is_equality: file.content == FileContent::EqualityDeletes,
            is_unpartitioned: spec.is_unpartitioned,
            is_vector: file.blob.is_some(),
            referenced: file.referenced_data_file,
            bounds: file.path_bounds,
        };
        let is_data = file.content == FileContent::Data;
        Self {
            snapshot_id: entry.snapshot_id,
            sequence_number: entry.sequence_number,
            file_sequence_number: entry.file_sequence_number,
            file: TrackedFile {
                content: file.content,
                path: file.path.to_owned(),
                format: file.format,
                partition: partition.clone(),
                rows: file.rows,
                size: file.size,
                first_row_id: file.first_row_id,
                scope: (!is_data).then(|| DeleteScope::new(partition.clone(), traits)),
                blob: file.blob,
                raw: Buffer::copy_from_slice(file.raw),
            },
        }
    }
}

/// Reads manifests, several at a time as far as there is [`Room`] for their bytes, and hands the content of each to `digest`
/// once it is there; returns what came of them in the order of `files`. No content outlives its digest.
pub(crate) async fn read_manifests<T: Send>(
    storage: &Arc<dyn Storage>,
    table: &TableId,
    files: &[ManifestFile],
    specs: &Specs,
    digest: impl Fn(&[u8], &ManifestFile, &Spec) -> Result<T, AvroError> + Send + Sync,
) -> Result<Vec<T>, TableError> {
    let (room, digest) = (Room::new(READING), &digest);
    // Boxed one by one: else the compiler can't tell that the whole may move between threads.
    let mut requests = Vec::with_capacity(files.len());
    for file in files {
        let read = read_manifest_in(&room, storage.as_ref(), table, file, specs, digest);
        requests.push(read.boxed());
    }
    futures::stream::iter(requests)
        .buffered(CONCURRENT_READS)
        .try_collect()
        .await
}

async fn read_manifest_in<T>(
    room: &Room,
    storage: &dyn Storage,
    table: &TableId,
    file: &ManifestFile,
    specs: &Specs,
    digest: &(impl Fn(&[u8], &ManifestFile, &Spec) -> Result<T, AvroError> + Send + Sync),
) -> Result<T, TableError> {
    check_readable(table, file)?;
    let spec = spec_of(table, specs, file)?;
    let _place = room.enter(file.content_bytes()).await;
    let content = fetch(storage, table, &file.path).await?;
    digest(&content, file, spec).map_err(|error| defect(table, &file.path, error))
}

/// Fails where the manifest is encrypted.
pub(crate) fn check_readable(table: &TableId, file: &ManifestFile) -> Result<(), TableError> {
    match &file.key_metadata {
        None => Ok(()),
        Some(_) => Err(TableError::Unsupported {
            table: table.clone(),
            message: format!(
                "its manifest {} is encrypted, which Icepress can't read",
                file.path
            ),
        }),
    }
}

pub(crate) fn spec_of<'s>(
    table: &TableId,
    specs: &'s Specs,
    file: &ManifestFile,
) -> Result<&'s Spec, TableError> {
    specs
        .get(file.spec_id)
        .map_err(|error| unsupported(table, error.to_string()))
}

pub(crate) fn unsupported(table: &TableId, message: String) -> TableError {
    TableError::Unsupported {
        table: table.clone(),
        message,
    }
}

pub(crate) async fn fetch(
    storage: &dyn Storage,
    table: &TableId,
    location: &str,
) -> Result<Buffer, TableError> {
    storage
        .read(location)
        .await
        .map_err(|source| TableError::of_storage(table, source))
}

/// The error of a table whose file `file` can't be read.
pub(crate) fn defect(table: &TableId, file: &str, error: AvroError) -> TableError {
    match error {
        AvroError::Corrupt(message) => TableError::Corrupt {
            table: table.clone(),
            file: file.to_owned(),
            message,
        },
        AvroError::Unsupported(message) => unsupported(table, format!("{file}: {message}")),
    }
}

#[cfg(test)]
mod tests;
