//! What each partition of a table holds (specification, *Partition Statistics*): counted from manifests alone, of one snapshot as
//! a whole, or of what came since an earlier one.
//!
//! The same as Iceberg's Java library counts (`PartitionStatsHandler`), rows of partitions that are empty now and of which
//! some manifest still has tombstones included.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use futures::{FutureExt as _, StreamExt as _, stream};
use iceberg::spec::{Literal, Snapshot, Struct, StructType, TableMetadata, Transform};
use icepress_catalog::LoadedTable;
use icepress_model::{SnapshotId, SpecId};
use icepress_storage::Storage;

use crate::{
    PartitionError, TableError,
    manifests::{
        FileContent, LiveEntry, ManifestFile, OpenManifest, PartitionKey, PartitionTable, Specs,
        Standing, check_readable, compare_values, defect, fetch, manifests_of, spec_of,
        unsupported,
    },
    partition_type,
};

/// Manifests that are fetched ahead.
const AHEAD: usize = 4;

/// What a partition's files come to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartitionCounts {
    /// Rows in data files.
    pub data_records: i64,
    /// Data files.
    pub data_files: i64,
    /// Their bytes.
    pub data_bytes: i64,
    /// Rows that position delete files and vectors name.
    pub position_records: i64,
    /// Position delete files; vectors are not among them.
    pub position_files: i64,
    /// Rows of equality delete files.
    pub equality_records: i64,
    /// Equality delete files.
    pub equality_files: i64,
    /// Deletion vectors.
    pub vectors: i64,
    /// When a snapshot that the table still has last added or removed a file: milliseconds since 1970, and the snapshot.
    pub updated: Option<(i64, SnapshotId)>,
}

/// The statistics of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStats {
    /// The spec of its files.
    pub spec_id: SpecId,
    /// Its values, as the fields of [`unified_partition_type`] are.
    pub partition: Vec<Option<Literal>>,
    /// What is in it.
    pub counts: PartitionCounts,
}

impl PartitionCounts {
    fn change(&mut self, entry: &LiveEntry<'_>, sign: i64) {
        let file = &entry.file;
        let rows = sign.saturating_mul(i64::try_from(file.rows).unwrap_or(i64::MAX));
        let bytes = sign.saturating_mul(i64::try_from(file.size).unwrap_or(i64::MAX));
        match file.content {
            FileContent::Data => {
                self.data_records = self.data_records.saturating_add(rows);
                self.data_files += sign;
                self.data_bytes = self.data_bytes.saturating_add(bytes);
            }
            FileContent::PositionDeletes => {
                self.position_records = self.position_records.saturating_add(rows);
                match file.blob {
                    Some(_) => self.vectors += sign,
                    None => self.position_files += sign,
                }
            }
            FileContent::EqualityDeletes => {
                self.equality_records = self.equality_records.saturating_add(rows);
                self.equality_files += sign;
            }
        }
    }

    fn touch(&mut self, snapshot: &Snapshot) {
        let at = snapshot.timestamp_ms();
        if self.updated.is_none_or(|(before, _)| before < at) {
            self.updated = Some((at, SnapshotId(snapshot.snapshot_id())));
        }
    }

    fn is_possible(&self) -> bool {
        let all = [
            self.data_records,
            self.data_files,
            self.data_bytes,
            self.position_records,
            self.position_files,
            self.equality_records,
            self.equality_files,
            self.vectors,
        ];
        all.iter().all(|count| *count >= 0)
    }
}

/// The fields of all partition specs of a table, by field id, each once and optional, under the name that the newest spec has for
/// it; without those whose column is gone. No fields where the table never was partitioned.
///
/// So has it Iceberg's Java library (`Partitioning.partitionType`).
pub fn unified_partition_type(metadata: &TableMetadata) -> Result<StructType, PartitionError> {
    let schema = metadata.current_schema();
    let mut specs: Vec<_> = metadata.partition_specs_iter().collect();
    specs.sort_by_key(|spec| std::cmp::Reverse(spec.spec_id()));
    let mut fields = BTreeMap::new();
    for spec in specs {
        let types = partition_type(metadata, SpecId(spec.spec_id()))?;
        for (field, with_type) in spec.fields().iter().zip(types.fields()) {
            if schema.field_by_id(field.source_id).is_none() {
                continue;
            }
            let is_void = field.transform == Transform::Void;
            match fields.get_mut(&field.field_id) {
                None => {
                    fields.insert(field.field_id, (Arc::clone(with_type), is_void));
                }
                // A field that version 1 dropped keeps its name, and has no type of its own any more.
                Some((known, true)) if !is_void => {
                    let mut typed = known.as_ref().clone();
                    typed.field_type = with_type.field_type.clone();
                    *known = Arc::new(typed);
                }
                Some(_) => {}
            }
        }
    }
    let fields = fields.into_values().map(|(field, _)| field);
    Ok(StructType::new(fields.collect()))
}

/// Counts what the partitions of `snapshot` hold; where there is one, from `previous` on, the statistics of an ancestor of it.
/// `None` where these can't be gone on from: then without them it can still be counted.
///
/// Rows are in the order of partitions. Fails where a manifest can't be read.
pub async fn partition_stats(
    storage: &Arc<dyn Storage>,
    loaded: &LoadedTable,
    snapshot: &Snapshot,
    previous: Option<(SnapshotId, &[PartitionStats])>,
) -> Result<Option<Vec<PartitionStats>>, TableError> {
    let unified = unified_partition_type(&loaded.metadata)
        .map_err(|error| unsupported(&loaded.table, error.to_string()))?;
    let mut count = Count {
        storage,
        loaded,
        unified: &unified,
        partitions: PartitionTable::default(),
        counts: HashMap::new(),
    };
    match previous {
        None => {
            let manifests = count.manifests_of(snapshot).await?;
            count.add(&manifests, Changes::All).await?;
        }
        Some((id, stats)) => {
            let Some(since) = since(loaded, snapshot, id) else {
                return Ok(None);
            };
            if !count.begin_with(stats)? {
                return Ok(None);
            }
            for snapshot in since {
                let mut manifests = count.manifests_of(&snapshot).await?;
                manifests.retain(|file| file.added_snapshot_id == snapshot.snapshot_id());
                count.add(&manifests, Changes::OfOwn).await?;
            }
        }
    }
    Ok(count.finish())
}

/// The snapshots after `from` up to `to`, where the table still has all of them.
fn since(loaded: &LoadedTable, to: &Snapshot, from: SnapshotId) -> Option<Vec<Arc<Snapshot>>> {
    let metadata = &loaded.metadata;
    let mut snapshots = Vec::new();
    let mut id = to.snapshot_id();
    while id != from.get() {
        let snapshot = metadata.snapshot_by_id(id)?;
        snapshots.push(Arc::clone(snapshot));
        id = snapshot.parent_snapshot_id()?;
    }
    snapshots.reverse();
    Some(snapshots)
}

/// Which entries count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Changes {
    /// Everything that is live.
    All,
    /// What the manifest's own snapshot added and removed.
    OfOwn,
}

struct Count<'a> {
    storage: &'a Arc<dyn Storage>,
    loaded: &'a LoadedTable,
    unified: &'a StructType,
    partitions: PartitionTable,
    counts: HashMap<PartitionKey, PartitionCounts>,
}

impl Count<'_> {
    async fn manifests_of(&self, snapshot: &Snapshot) -> Result<Vec<ManifestFile>, TableError> {
        let (table, metadata) = (&self.loaded.table, &self.loaded.metadata);
        manifests_of(self.storage.as_ref(), table, metadata, snapshot).await
    }

    /// Takes up earlier statistics; whether they say of each row which partition of its spec it is about.
    fn begin_with(&mut self, stats: &[PartitionStats]) -> Result<bool, TableError> {
        let metadata = &self.loaded.metadata;
        let failed = |error: PartitionError| unsupported(&self.loaded.table, error.to_string());
        for row in stats {
            let spec = metadata.partition_spec_by_id(row.spec_id.get());
            let Some(spec) = spec else {
                return Ok(false);
            };
            let place = |id: i32| self.unified.fields().iter().position(|it| it.id == id);
            let places: Option<Vec<usize>> = spec
                .fields()
                .iter()
                .map(|field| place(field.field_id))
                .collect();
            let Some(places) = places else {
                return Ok(false);
            };
            let values = places
                .into_iter()
                .map(|place| row.partition.get(place).cloned().flatten());
            let types = partition_type(metadata, row.spec_id).map_err(failed)?;
            let value = Struct::from_iter(values);
            let Ok(key) = PartitionKey::new(row.spec_id.get(), value, &types) else {
                return Ok(false);
            };
            if self.counts.insert(key, row.counts).is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn add(
        &mut self,
        manifests: &[ManifestFile],
        changes: Changes,
    ) -> Result<(), TableError> {
        let (table, metadata) = (&self.loaded.table, &self.loaded.metadata);
        let specs = Specs::of(metadata, manifests)
            .map_err(|error| unsupported(table, error.to_string()))?;
        let storage = self.storage;
        // Boxed one by one: else the compiler can't tell that the whole may move between threads.
        let mut reads = Vec::with_capacity(manifests.len());
        for file in manifests {
            let read = async move {
                check_readable(table, file)?;
                fetch(storage.as_ref(), table, &file.path).await
            };
            reads.push(read.map(move |content| (file, content)).boxed());
        }
        let mut contents = stream::iter(reads).buffered(AHEAD);
        while let Some((file, content)) = contents.next().await {
            let content = content?;
            let spec = spec_of(table, &specs, file)?;
            let counts = &mut self.counts;
            OpenManifest::new(&content, file, spec)
                .and_then(|manifest| {
                    manifest.for_each_change(&mut self.partitions, |standing, entry, partition| {
                        let is_own = entry.snapshot_id == file.added_snapshot_id;
                        let sign = match (changes, standing) {
                            (Changes::All, Standing::Removed) => 0,
                            (Changes::All, _) => 1,
                            (Changes::OfOwn, Standing::Added) if is_own => 1,
                            (Changes::OfOwn, Standing::Removed) if is_own => -1,
                            (Changes::OfOwn, _) => return Ok(()),
                        };
                        let counts = counts.entry(partition.clone()).or_default();
                        counts.change(entry, sign);
                        if let Some(snapshot) = metadata.snapshot_by_id(entry.snapshot_id) {
                            counts.touch(snapshot);
                        }
                        Ok(())
                    })
                })
                .map_err(|error| defect(table, &file.path, error))?;
        }
        Ok(())
    }

    /// The rows; `None` where less than nothing is in a partition, since what was begun with was wrong.
    fn finish(self) -> Option<Vec<PartitionStats>> {
        let metadata = &self.loaded.metadata;
        let mut rows = Vec::with_capacity(self.counts.len());
        for (key, counts) in self.counts {
            if !counts.is_possible() {
                return None;
            }
            let spec = metadata.partition_spec_by_id(key.spec_id)?;
            let fields = self.unified.fields().iter().map(|field| {
                let place = spec
                    .fields()
                    .iter()
                    .position(|it| it.field_id == field.id)?;
                key.value.fields().get(place).cloned().flatten()
            });
            rows.push(PartitionStats {
                spec_id: SpecId(key.spec_id),
                partition: fields.collect(),
                counts,
            });
        }
        rows.sort_by(compare);
        Some(rows)
    }
}

fn compare(a: &PartitionStats, b: &PartitionStats) -> Ordering {
    let fields = a.partition.iter().zip(&b.partition);
    let mut fields = fields.map(|(a, b)| compare_values(a.as_ref(), b.as_ref()));
    let first = fields.find(|order| order.is_ne());
    first.unwrap_or_else(|| a.spec_id.cmp(&b.spec_id))
}
