//! Reading a snapshot: its manifest list, then its manifests, several at a time.

use std::collections::HashMap;

use bytes::Bytes as Buffer;
use futures::{StreamExt as _, stream};
use iceberg::spec::{ManifestContentType, Snapshot, StructType, TableMetadata};
use icepress_model::{Bytes, RowId, Rows, SequenceNumber, SnapshotId, SpecId, TableId};
use icepress_storage::Storage;

use crate::{
    TableError,
    avro::{AvroError, Container},
    partition::partition_type,
};

use super::{
    DeleteKind, FileFormat, NewDataFile, NewDeleteFile, ScanBuilder, ScannedSnapshot, SnapshotScan,
    entry::{EntryReader, RawEntry},
    list::{ListedManifest, read_manifest_list},
    partitions::{PartitionReader, PartitionTable},
};

/// How many bytes of manifests are held in memory at most, unless one alone is larger.
const BYTES_IN_FLIGHT: u64 = 64 << 20;
/// How many manifests are fetched at a time at most.
const MOST_IN_FLIGHT: u64 = 16;

/// Reads the files of the current snapshot of `metadata`, the main branch's.
///
/// Deleted entries are left out and sequence numbers inherited as the specification says, in every combination of
/// format versions of table, list and manifest. Fails with `Corrupt` where list or manifests are damaged or contradict
/// each other, also where a file is listed twice, and with `Unsupported` where they are encrypted.
pub async fn open_snapshot(
    storage: &dyn Storage,
    table: &TableId,
    metadata: &TableMetadata,
) -> Result<SnapshotScan, TableError> {
    match metadata.current_snapshot() {
        Some(snapshot) => open_snapshot_at(storage, table, metadata, snapshot).await,
        None => Ok(SnapshotScan::empty(table.clone())),
    }
}

/// Reads the files of a snapshot of `metadata`, as [`open_snapshot`] does those of the current one.
pub async fn open_snapshot_at(
    storage: &dyn Storage,
    table: &TableId,
    metadata: &TableMetadata,
    snapshot: &Snapshot,
) -> Result<SnapshotScan, TableError> {
    let unsupported = |message: String| TableError::Unsupported {
        table: table.clone(),
        message,
    };
    if snapshot.encryption_key_id().is_some() {
        return Err(unsupported(
            "its manifest list is encrypted, which Icepress can't read".to_owned(),
        ));
    }
    let list_location = snapshot.manifest_list();
    if list_location.is_empty() {
        return Err(unsupported(
            "its snapshot has no manifest list (a form of format version 1 that writers gave up in 2019); \
             any commit by a current writer makes one"
                .to_owned(),
        ));
    }
    let list_file = read(storage, table, list_location).await?;
    let manifests =
        read_manifest_list(&list_file).map_err(|error| defect(table, list_location, error))?;
    drop(list_file);
    if let Some(encrypted) = manifests.iter().find(|manifest| manifest.encrypted) {
        return Err(unsupported(format!(
            "its manifest {} is encrypted, which Icepress can't read",
            encrypted.path
        )));
    }

    let mut types = HashMap::new();
    for manifest in &manifests {
        if let std::collections::hash_map::Entry::Vacant(vacant) = types.entry(manifest.spec_id) {
            let found = partition_type(metadata, SpecId(manifest.spec_id));
            vacant.insert(found.map_err(|error| unsupported(error.to_string()))?);
        }
    }
    let unpartitioned = |spec_id: i32| {
        metadata
            .partition_spec_by_id(spec_id)
            .is_some_and(|spec| spec.is_unpartitioned())
    };

    let mut assembly = Assembly {
        builder: ScanBuilder::new(
            table.clone(),
            Some(ScannedSnapshot {
                snapshot_id: SnapshotId(snapshot.snapshot_id()),
                sequence_number: SequenceNumber(snapshot.sequence_number()),
            }),
        ),
        partitions: PartitionTable::default(),
    };
    let live: Vec<&ListedManifest> = manifests
        .iter()
        .filter(|manifest| manifest.has_live_files)
        .collect();
    let largest = live.iter().map(|manifest| manifest.length).max();
    let in_flight = (BYTES_IN_FLIGHT / largest.unwrap_or(0).max(1)).clamp(1, MOST_IN_FLIGHT);
    let requests: Vec<_> = live
        .iter()
        .map(|manifest| read(storage, table, &manifest.path))
        .collect();
    let mut files = stream::iter(requests).buffered(in_flight as usize);
    for manifest in live {
        let Some(file) = files.next().await else {
            break;
        };
        let source = ManifestSource {
            listed: manifest,
            partition_type: &types[&manifest.spec_id],
            global: unpartitioned(manifest.spec_id),
        };
        assembly
            .add_manifest(&file?, &source)
            .map_err(|error| defect(table, &manifest.path, error))?;
    }
    assembly
        .finish()
        .map_err(|error| defect(table, list_location, error))
}

async fn read(
    storage: &dyn Storage,
    table: &TableId,
    location: &str,
) -> Result<Buffer, TableError> {
    let content = storage.read(location).await;
    content.map_err(|source| TableError::of_storage(table, source))
}

fn defect(table: &TableId, file: &str, error: AvroError) -> TableError {
    match error {
        AvroError::Corrupt(message) => TableError::Corrupt {
            table: table.clone(),
            file: file.to_owned(),
            message,
        },
        AvroError::Unsupported(message) => TableError::Unsupported {
            table: table.clone(),
            message: format!("{file}: {message}"),
        },
    }
}

/// What else is known of a manifest that is read.
pub(super) struct ManifestSource<'a> {
    pub(super) listed: &'a ListedManifest,
    pub(super) partition_type: &'a StructType,
    /// Whether its spec has no partitions, so that its equality deletes apply everywhere.
    pub(super) global: bool,
}

/// A scan that grows manifest by manifest.
pub(super) struct Assembly {
    pub(super) builder: ScanBuilder,
    pub(super) partitions: PartitionTable,
}

impl Assembly {
    pub(super) fn add_manifest(
        &mut self,
        file: &[u8],
        source: &ManifestSource<'_>,
    ) -> Result<(), AvroError> {
        let container = Container::open(file)?;
        let content = source.listed.content;
        let written_as = container.metadata("content").unwrap_or("data");
        if written_as != content.to_string() {
            return Err(AvroError::corrupt(format!(
                "its list says that it holds {content}, and it says that it holds {written_as}"
            )));
        }
        let entries = EntryReader::new(container.schema(), content)?;
        let mut partitions = PartitionReader::new(
            source.listed.spec_id,
            source.partition_type,
            container.schema(),
        )?;
        let mut row_ids = RowIds::new(source.listed);
        container.for_each(|cursor| {
            let entry = entries.read(cursor)?;
            match entry.status {
                Some(0 | 1) => {}
                // What was removed is written down once more, for those who ask what a snapshot changed.
                Some(2) => return Ok(()),
                status => return Err(AvroError::corrupt(format!("an entry of status {status:?}"))),
            }
            let partition = partitions.number(entry.partition, &mut self.partitions)?;
            let file = LiveFile::new(&entry, source.listed)?;
            match content {
                ManifestContentType::Data => {
                    let first_row_id = row_ids.first_of(&entry, &file)?;
                    self.add_data_file(&entry, &file, partition, first_row_id)
                }
                ManifestContentType::Deletes => {
                    self.add_delete_file(&entry, &file, partition, source.global)
                }
            }
        })
    }

    fn add_data_file(
        &mut self,
        entry: &RawEntry<'_>,
        file: &LiveFile<'_>,
        partition: u32,
        first_row_id: Option<RowId>,
    ) -> Result<(), AvroError> {
        if entry.content.unwrap_or(0) != 0 {
            return Err(file.defect("is a delete file in a manifest of data files"));
        }
        let added = self.builder.add_data_file(&NewDataFile {
            path: file.path,
            size: file.size,
            rows: file.rows,
            sequence_number: file.sequence_number,
            first_row_id,
            partition,
            row_groups: u32::try_from(entry.split_offsets).unwrap_or(u32::MAX),
            format: file.format,
            encrypted: entry.encrypted,
        });
        added.map_err(|defect| AvroError::corrupt(defect.to_string()))
    }

    fn add_delete_file(
        &mut self,
        entry: &RawEntry<'_>,
        file: &LiveFile<'_>,
        partition: u32,
        global: bool,
    ) -> Result<(), AvroError> {
        let text = |bytes| std::str::from_utf8(bytes).ok();
        let kind = match (entry.content, file.format) {
            (Some(1), FileFormat::Puffin) => {
                let number = |value: Option<i64>| value.and_then(|value| u64::try_from(value).ok());
                match (number(entry.content_offset), number(entry.content_size)) {
                    (Some(offset), Some(length)) => DeleteKind::Vector { offset, length },
                    _ => return Err(file.defect("is a deletion vector without offset or size")),
                }
            }
            (Some(1), _) => DeleteKind::Position,
            (Some(2), _) => {
                let ids = entry.equality_ids.iter().map(|id| i32::try_from(*id).ok());
                let field_ids = ids
                    .collect::<Option<Vec<i32>>>()
                    .filter(|ids| !ids.is_empty())
                    .ok_or_else(|| file.defect("is an equality delete file without field ids"))?;
                DeleteKind::Equality {
                    field_ids: self.builder.equality_key(field_ids),
                    global,
                }
            }
            (content, _) => {
                return Err(file.defect(&format!(
                    "has content {content:?} in a manifest of delete files"
                )));
            }
        };
        let referenced_data_file = match entry.referenced_data_file {
            None => None,
            Some(bytes) => Some(
                text(bytes)
                    .ok_or_else(|| file.defect("names a data file by a path that is not UTF-8"))?,
            ),
        };
        if matches!(kind, DeleteKind::Vector { .. }) && referenced_data_file.is_none() {
            return Err(file.defect("is a deletion vector that names no data file"));
        }
        // A bound that is no text, as when a writer cut it inside a character, is as if it were not there.
        let path_bounds = match entry.path_bounds {
            [Some(lower), Some(upper)] => text(lower).zip(text(upper)),
            _ => None,
        };
        let added = self.builder.add_delete_file(NewDeleteFile {
            path: file.path,
            kind,
            size: file.size,
            rows: file.rows,
            sequence_number: file.sequence_number,
            partition,
            referenced_data_file,
            path_bounds,
            format: file.format,
            encrypted: entry.encrypted,
        });
        added.map_err(|defect| AvroError::corrupt(defect.to_string()))
    }

    pub(super) fn finish(mut self) -> Result<SnapshotScan, AvroError> {
        self.builder.set_partitions(self.partitions.partitions);
        self.builder
            .finish()
            .map_err(|defect| AvroError::corrupt(defect.to_string()))
    }
}

/// The ids of the first rows of a manifest's data files, given out in the order of its live entries (specification,
/// *First Row ID Inheritance*).
struct RowIds {
    /// What the next file without an id of its own gets; `None` where the list gives the manifest none: then its files
    /// have none either, as Iceberg's Java reader has it.
    next: Option<i64>,
}

impl RowIds {
    fn new(manifest: &ListedManifest) -> Self {
        Self {
            next: manifest.first_row_id,
        }
    }

    fn first_of(
        &mut self,
        entry: &RawEntry<'_>,
        file: &LiveFile<'_>,
    ) -> Result<Option<RowId>, AvroError> {
        let Some(next) = self.next else {
            return Ok(None);
        };
        let own = entry.first_row_id;
        let first = own.unwrap_or(next);
        let after = i64::try_from(file.rows.get())
            .ok()
            .and_then(|rows| first.checked_add(rows));
        let Some(after) = after.filter(|_| first >= 0) else {
            return Err(file.defect(&format!(
                "has rows from the id {first} on, which is no row id"
            )));
        };
        if own.is_none() {
            self.next = Some(after);
        }
        Ok(Some(RowId(first)))
    }
}

/// What data files and delete files have in common, checked.
struct LiveFile<'a> {
    path: &'a str,
    size: Bytes,
    rows: Rows,
    sequence_number: SequenceNumber,
    format: FileFormat,
}

impl<'a> LiveFile<'a> {
    fn new(entry: &RawEntry<'a>, manifest: &ListedManifest) -> Result<Self, AvroError> {
        let path = entry
            .path
            .and_then(|path| std::str::from_utf8(path).ok())
            .ok_or_else(|| AvroError::corrupt("a file without a path that is UTF-8"))?;
        let defect = |what: &str| AvroError::corrupt(format!("file {path} {what}"));
        let amount = |value: Option<i64>, what: &str| {
            value
                .and_then(|value| u64::try_from(value).ok())
                .ok_or_else(|| defect(&format!("has no {what}, or a negative one")))
        };
        // Specification, *Sequence Number Inheritance*: added files inherit, and in manifests of version 1, which
        // have sequence number 0, all do.
        let inherits = entry.status == Some(1) || manifest.sequence_number == 0;
        let sequence_number = match entry.sequence_number {
            Some(number) => number,
            None if inherits => manifest.sequence_number,
            None => return Err(defect("has no sequence number and may not inherit one")),
        };
        let format = entry.format.unwrap_or_default();
        Ok(Self {
            path,
            size: Bytes(amount(entry.size, "size")?),
            rows: Rows(amount(entry.rows, "record count")?),
            sequence_number: SequenceNumber(sequence_number),
            format: FileFormat::parse(format).ok_or_else(|| {
                let name = String::from_utf8_lossy(format);
                defect(&format!("is of the unknown format '{name}'"))
            })?,
        })
    }

    fn defect(&self, what: &str) -> AvroError {
        AvroError::corrupt(format!("file {} {what}", self.path))
    }
}
