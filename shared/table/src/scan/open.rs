//! Reading a snapshot: its manifest list, then its manifests, several at a time.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, stream};
use iceberg::spec::Snapshot;
use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, RowId, Rows, SequenceNumber, SnapshotId, SpecId, TableId};
use icepress_storage::Storage;

use super::{
    DeleteKind, NewDataFile, NewDeleteFile, PartitionEntry, ScanBuilder, ScannedSnapshot,
    SnapshotScan,
};
use crate::{
    ManifestLayout, TableError,
    avro::AvroError,
    manifests::{
        FileContent, LiveFile, ManifestFile, PartitionTable, Spec, Specs, check_readable, defect,
        fetch, manifests_of, read_entries, spec_of, unsupported,
    },
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
    metadata: &Metadata,
) -> Result<SnapshotScan, TableError> {
    list_snapshot(storage, table, metadata)
        .await?
        .open(storage)
        .await
}

/// A snapshot whose manifests are listed and not read yet: how much there is to read can be told.
#[derive(Debug)]
pub struct ListedSnapshot<'a> {
    table: &'a TableId,
    metadata: &'a Metadata,
    /// `None` of a table without a snapshot.
    listed: Option<(&'a Snapshot, Vec<ManifestFile>)>,
}

/// Lists the manifests of the current snapshot of `metadata`. Fails as [`open_snapshot`] does.
pub async fn list_snapshot<'a>(
    storage: &dyn Storage,
    table: &'a TableId,
    metadata: &'a Metadata,
) -> Result<ListedSnapshot<'a>, TableError> {
    let listed = match metadata.current_snapshot() {
        Some(snapshot) => {
            let manifests = manifests_of(storage, table, metadata, snapshot).await?;
            Some((&**snapshot, manifests))
        }
        None => None,
    };
    Ok(ListedSnapshot {
        table,
        metadata,
        listed,
    })
}

impl ListedSnapshot<'_> {
    /// The bytes of the manifests that are to be read, as their list has them: 0 where it does not say.
    pub fn manifest_bytes(&self) -> Bytes {
        let manifests = self.listed.iter().flat_map(|(_, manifests)| manifests);
        manifests
            .filter(|manifest| manifest.may_have_live_files())
            .map(|manifest| Bytes(u64::try_from(manifest.length).unwrap_or(0)))
            .sum()
    }

    /// How many manifests are to be read.
    pub fn manifests(&self) -> u64 {
        let manifests = self.listed.iter().flat_map(|(_, manifests)| manifests);
        let live = manifests.filter(|manifest| manifest.may_have_live_files());
        live.count() as u64
    }

    /// Reads its files.
    pub async fn open(self, storage: &dyn Storage) -> Result<SnapshotScan, TableError> {
        match self.listed {
            Some((snapshot, manifests)) => {
                open(
                    storage,
                    self.table,
                    self.metadata,
                    snapshot,
                    &manifests,
                    None,
                )
                .await
            }
            None => Ok(SnapshotScan::empty(self.table.clone())),
        }
    }

    /// The same, and how they lie in the manifests, which nothing is read again for.
    pub async fn open_in_layout(
        self,
        storage: &dyn Storage,
    ) -> Result<(SnapshotScan, ManifestLayout), TableError> {
        let (table, metadata) = (self.table, self.metadata);
        let mut layout = ManifestLayout::of_table(metadata.properties());
        let scan = match self.listed {
            Some((snapshot, manifests)) => {
                let layout = Some(&mut layout);
                open(storage, table, metadata, snapshot, &manifests, layout).await?
            }
            None => SnapshotScan::empty(table.clone()),
        };
        Ok((scan, layout))
    }
}

/// Reads the files of a snapshot of `metadata`, as [`open_snapshot`] does those of the current one.
pub async fn open_snapshot_at(
    storage: &dyn Storage,
    table: &TableId,
    metadata: &Metadata,
    snapshot: &Snapshot,
) -> Result<SnapshotScan, TableError> {
    let manifests = manifests_of(storage, table, metadata, snapshot).await?;
    open(storage, table, metadata, snapshot, &manifests, None).await
}

async fn open(
    storage: &dyn Storage,
    table: &TableId,
    metadata: &Metadata,
    snapshot: &Snapshot,
    manifests: &[ManifestFile],
    mut layout: Option<&mut ManifestLayout>,
) -> Result<SnapshotScan, TableError> {
    for manifest in manifests {
        check_readable(table, manifest)?;
    }
    let specs =
        Specs::of(metadata, manifests).map_err(|error| unsupported(table, error.to_string()))?;
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
    let live: Vec<&ManifestFile> = manifests
        .iter()
        .filter(|manifest| manifest.may_have_live_files())
        .collect();
    let largest = live.iter().map(|manifest| manifest.length).max();
    let largest = largest.and_then(|length| u64::try_from(length).ok());
    let in_flight = (BYTES_IN_FLIGHT / largest.unwrap_or(0).max(1)).clamp(1, MOST_IN_FLIGHT);
    let requests: Vec<_> = live
        .iter()
        .map(|manifest| fetch(storage, table, &manifest.path))
        .collect();
    let mut files = stream::iter(requests).buffered(in_flight as usize);
    for manifest in live {
        let Some(file) = files.next().await else {
            break;
        };
        let (content, spec) = (file?, spec_of(table, &specs, manifest)?);
        let held = assembly
            .add_manifest(&content, manifest, spec, layout.is_some())
            .map_err(|error| defect(table, &manifest.path, error))?;
        if let Some(layout) = layout.as_deref_mut().filter(|_| !held.is_empty()) {
            let removed = manifest.deleted.files.unwrap_or(0).unsigned_abs();
            layout.add(manifest, Bytes(content.len() as u64), removed, held);
        }
    }
    if let Some(layout) = layout {
        layout.order_partitions(&assembly.partitions.partitions);
    }
    assembly
        .finish()
        .map_err(|error| defect(table, snapshot.manifest_list(), error))
}

/// A scan that grows manifest by manifest.
pub(crate) struct Assembly {
    pub(crate) builder: ScanBuilder,
    pub(crate) partitions: PartitionTable,
}

impl Assembly {
    /// Adds the files of a manifest. Where `counts`, says how many are in which partition.
    pub(crate) fn add_manifest(
        &mut self,
        content: &[u8],
        listed: &ManifestFile,
        spec: &Spec,
        counts: bool,
    ) -> Result<BTreeMap<u32, u32>, AvroError> {
        let builder = &mut self.builder;
        let mut held = BTreeMap::new();
        read_entries(content, listed, spec, &mut self.partitions, |entry, _| {
            if counts {
                *held.entry(entry.file.partition).or_default() += 1;
            }
            let number = SequenceNumber(entry.sequence_number);
            match entry.file.content {
                FileContent::Data => add_data_file(builder, &entry.file, number),
                _ => add_delete_file(builder, &entry.file, number, spec.is_unpartitioned),
            }
        })?;
        Ok(held)
    }

    pub(crate) fn finish(mut self) -> Result<SnapshotScan, AvroError> {
        let partitions = std::mem::take(&mut self.partitions).partitions;
        let entries = partitions.into_iter().map(|partition| PartitionEntry {
            spec_id: SpecId(partition.spec_id),
            value: Arc::unwrap_or_clone(partition.value),
        });
        self.builder.set_partitions(entries.collect());
        self.builder
            .finish()
            .map_err(|defect| AvroError::corrupt(defect.to_string()))
    }
}

fn add_data_file(
    builder: &mut ScanBuilder,
    file: &LiveFile<'_>,
    sequence_number: SequenceNumber,
) -> Result<(), AvroError> {
    let added = builder.add_data_file(&NewDataFile {
        path: file.path,
        size: Bytes(file.size),
        rows: Rows(file.rows),
        sequence_number,
        first_row_id: file.first_row_id.map(RowId),
        partition: file.partition,
        row_groups: u32::try_from(file.split_offsets).unwrap_or(u32::MAX),
        format: file.format,
        encrypted: file.encrypted,
    });
    added.map_err(|defect| AvroError::corrupt(defect.to_string()))
}

fn add_delete_file(
    builder: &mut ScanBuilder,
    file: &LiveFile<'_>,
    sequence_number: SequenceNumber,
    global: bool,
) -> Result<(), AvroError> {
    let kind = match (file.content, file.blob) {
        (FileContent::EqualityDeletes, _) => DeleteKind::Equality {
            field_ids: builder.equality_key(file.equality_ids.clone()),
            global,
        },
        (_, Some((offset, length))) => DeleteKind::Vector { offset, length },
        (_, None) => DeleteKind::Position,
    };
    let added = builder.add_delete_file(NewDeleteFile {
        path: file.path,
        kind,
        size: Bytes(file.size),
        rows: Rows(file.rows),
        sequence_number,
        partition: file.partition,
        referenced_data_file: file.referenced_data_file,
        path_bounds: file.path_bounds,
        format: file.format,
        encrypted: file.encrypted,
    });
    added.map_err(|defect| AvroError::corrupt(defect.to_string()))
}
