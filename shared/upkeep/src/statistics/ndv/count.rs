//! Making the sketches: from those of earlier snapshots on where that is planned, else of all live rows.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use iceberg::{puffin::Blob, spec::Snapshot};
use icepress_catalog::LoadedTable;
use icepress_model::{
    Bytes, Group, GroupReason, InputFile, MergePages, RewriteFailureKind, SchemaId, SnapshotId,
    Tier,
};
use icepress_planner::group_all;
use icepress_rewrite::{RewriteContext, Sketch, sketch_columns};
use icepress_table::{
    AddedDataFile, CommitContext, TableError, added_data_files, open_snapshot_at, scan::FileFormat,
};

use super::{
    NdvColumn, NdvPlan, Summary, file,
    file::{SketchFile, blob_of, column_of},
    schema_at,
};
use crate::{UpkeepError, statistics::Effort};

/// What is stored, and which file of the snapshot it takes the place of.
#[derive(Debug)]
pub(in crate::statistics) struct Counted {
    pub(in crate::statistics) file: SketchFile,
    /// The file that the metadata names for the snapshot until now, of which all other blobs were taken over.
    pub(in crate::statistics) instead_of: Option<String>,
    pub(in crate::statistics) snapshot_id: i64,
    /// Columns that were counted from earlier sketches on.
    pub(in crate::statistics) continued: u64,
}

/// Counts as `plan` says for `snapshot`.
pub(in crate::statistics) async fn count(
    context: &CommitContext,
    loaded: &LoadedTable,
    snapshot: &Arc<Snapshot>,
    plan: &NdvPlan,
    effort: Effort,
) -> Result<Counted, UpkeepError> {
    let end = effort
        .time
        .map(|time| context.ambient.clock.monotonic() + time);
    let counting = Counting {
        context,
        loaded,
        snapshot,
        engine: RewriteContext {
            storage: Arc::clone(&context.storage),
            ambient: context.ambient.clone(),
            memory_cap: effort.memory_cap,
            merge_pages: MergePages::default(),
            progress: Arc::default(),
        },
        is_late: &|| end.is_some_and(|end| context.ambient.clock.monotonic() >= end),
    };
    let mut blobs = Vec::new();
    let named = (loaded.metadata).statistics_for_snapshot(snapshot.snapshot_id());
    let instead_of = named.map(|named| named.statistics_path.clone());
    if let Some(path) = &instead_of {
        let is_asked = |id| plan.columns.iter().any(|column| column.field_id == id);
        let there = counting.blobs(path).await.map_err(|message| {
            let message = format!(
                "the statistics file {path} of its current snapshot can't be read, and what it says of other columns would \
                 be lost: {message}"
            );
            UpkeepError::refused(&loaded.table, message)
        })?;
        blobs.extend(
            there
                .into_iter()
                .filter(|blob| !column_of(blob).is_some_and(is_asked)),
        );
    }
    let mut by_base: BTreeMap<Option<SnapshotId>, Vec<NdvColumn>> = BTreeMap::new();
    for column in &plan.columns {
        by_base
            .entry(column.since)
            .or_default()
            .push(column.clone());
    }
    let mut whole = by_base.remove(&None).unwrap_or_default();
    let mut sketches: HashMap<i32, (NdvColumn, Sketch)> = HashMap::new();
    let mut keep = |columns: Vec<NdvColumn>, made: Vec<Sketch>| {
        for (column, sketch) in columns.into_iter().zip(made) {
            sketches.insert(column.field_id, (column, sketch));
        }
    };
    let mut continued = 0;
    for (since, columns) in by_base {
        let Some(since) = since else { continue };
        match counting.from(since, &columns).await? {
            Some(made) => {
                continued += columns.len() as u64;
                keep(columns, made);
            }
            None => whole.extend(columns.into_iter().map(|column| NdvColumn {
                since: None,
                removed_rows: 0,
                ..column
            })),
        }
    }
    if !whole.is_empty() {
        let made = counting.all(&whole).await?;
        keep(whole, made);
    }
    for column in &plan.columns {
        if let Some((column, sketch)) = sketches.get(&column.field_id) {
            blobs.push(blob_of(column, sketch, snapshot));
        }
    }
    let file = file::encode(blobs).await;
    let file = file.map_err(|message| UpkeepError::refused(&loaded.table, message))?;
    Ok(Counted {
        file,
        instead_of,
        snapshot_id: snapshot.snapshot_id(),
        continued,
    })
}

struct Counting<'a> {
    context: &'a CommitContext,
    loaded: &'a LoadedTable,
    snapshot: &'a Arc<Snapshot>,
    engine: RewriteContext,
    is_late: &'a (dyn Fn() -> bool + Sync),
}

impl Counting<'_> {
    /// The blobs of a statistics file.
    async fn blobs(&self, path: &str) -> Result<Vec<Blob>, String> {
        let content = self.context.storage.read(path).await;
        file::decode(content.map_err(|error| error.to_string())?).await
    }

    /// Sketches of `columns` from those of the snapshot `since` on; `None` where these, or files that were added since, can't
    /// be had any more.
    async fn from(
        &self,
        since: SnapshotId,
        columns: &[NdvColumn],
    ) -> Result<Option<Vec<Sketch>>, UpkeepError> {
        let table = &self.loaded.table;
        let mut sketches = match self.sketches_at(since, columns).await {
            Ok(sketches) => sketches,
            Err(error) => {
                tracing::info!(%table, %error, "earlier sketches can't be read");
                return Ok(None);
            }
        };
        for snapshot in self.after(since) {
            if !Summary::of(&snapshot).may_add() {
                continue;
            }
            let storage = &self.context.storage;
            let added = match added_data_files(storage, self.loaded, &snapshot).await {
                Ok(added) => added,
                Err(error) => {
                    // An older snapshot's manifests may be gone.
                    tracing::info!(%table, %error, "all is read anew");
                    return Ok(None);
                }
            };
            let groups = self.groups_of(added)?;
            let made = match self.sketch(columns, &groups).await {
                Ok(made) => made,
                Err(UpkeepError::Unread(error))
                    if error.kind == RewriteFailureKind::FileVanished =>
                {
                    tracing::info!(%table, %error, "all is read anew");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            for (sketch, made) in sketches.iter_mut().zip(&made) {
                let both = Sketch::union([&*sketch, made]);
                *sketch = both.map_err(|error| UpkeepError::refused(table, error))?;
            }
        }
        Ok(Some(sketches))
    }

    /// What the metadata's files have of `columns` at a snapshot. The error is a message for people.
    async fn sketches_at(
        &self,
        since: SnapshotId,
        columns: &[NdvColumn],
    ) -> Result<Vec<Sketch>, String> {
        let mut found: HashMap<i32, Sketch> = HashMap::new();
        let files = self.loaded.metadata.statistics_iter();
        for named in files.filter(|named| {
            let mut blobs = named.blob_metadata.iter();
            blobs.any(|blob| blob.snapshot_id == since.get())
        }) {
            for blob in self.blobs(&named.statistics_path).await? {
                let id = column_of(&blob).filter(|_| blob.snapshot_id() == since.get());
                if let Some(id) = id.filter(|id| columns.iter().any(|it| it.field_id == *id)) {
                    found.insert(id, Sketch::from_bytes(blob.data())?);
                }
            }
        }
        let sketch = |column: &NdvColumn| {
            let sketch = found.remove(&column.field_id);
            sketch.ok_or_else(|| format!("there is none of column {}", column.name))
        };
        columns.iter().map(sketch).collect()
    }

    /// The snapshots after `since` up to the one that is counted, the oldest first.
    fn after(&self, since: SnapshotId) -> Vec<Arc<Snapshot>> {
        let mut snapshots = Vec::new();
        let mut next = Some(self.snapshot);
        while let Some(snapshot) = next.filter(|it| it.snapshot_id() != since.get()) {
            snapshots.push(Arc::clone(snapshot));
            let parent = snapshot.parent_snapshot_id();
            next = parent.and_then(|id| self.loaded.metadata.snapshot_by_id(id));
        }
        snapshots.reverse();
        snapshots
    }

    /// Files to read together, without deletes: rows that were deleted since are counted as removed ones.
    fn groups_of(&self, added: Vec<AddedDataFile>) -> Result<Vec<Group>, UpkeepError> {
        let mut groups: Vec<Group> = Vec::new();
        let mut by_partition: HashMap<(i32, String), usize> = HashMap::new();
        for file in added {
            if file.format != FileFormat::Parquet || file.encrypted {
                let message = format!(
                    "distinct values can't be counted: {} is {}",
                    file.path,
                    match file.encrypted {
                        true => "encrypted",
                        false => "no Parquet file",
                    }
                );
                return Err(UpkeepError::refused(&self.loaded.table, message));
            }
            let key = (file.spec_id.get(), file.partition.to_string());
            let place = *by_partition.entry(key).or_insert(groups.len());
            if place == groups.len() {
                groups.push(Group {
                    spec_id: file.spec_id,
                    partition: file.partition,
                    partition_name: String::new(),
                    reason: GroupReason::Forced,
                    tier: Tier::Full,
                    inputs: Vec::new(),
                    deletes: Vec::new(),
                    target_file_size: Bytes::ZERO,
                    shares_deletes: false,
                    without: None,
                });
            }
            groups[place].inputs.push(InputFile {
                path: file.path,
                size: file.size,
                rows: file.rows,
                sequence_number: file.sequence_number,
                first_row_id: file.first_row_id,
                deletes: Vec::new(),
            });
        }
        Ok(groups)
    }

    /// Sketches of `columns` over all live rows of the snapshot.
    async fn all(&self, columns: &[NdvColumn]) -> Result<Vec<Sketch>, UpkeepError> {
        let LoadedTable {
            table, metadata, ..
        } = self.loaded;
        let storage = self.context.storage.as_ref();
        let scan = open_snapshot_at(storage, table, metadata, self.snapshot).await?;
        let (groups, left_alone) = group_all(&scan, metadata)
            .map_err(|error| UpkeepError::refused(table, error.to_string()))?;
        if let Some(left) = left_alone.first() {
            return Err(UpkeepError::Table(TableError::Unsupported {
                table: table.clone(),
                message: format!(
                    "distinct values can't be counted: {} files of partition '{}' can't be read: {}",
                    left.files, left.partition_name, left.reason
                ),
            }));
        }
        self.sketch(columns, &groups).await
    }

    async fn sketch(
        &self,
        columns: &[NdvColumn],
        groups: &[Group],
    ) -> Result<Vec<Sketch>, UpkeepError> {
        let LoadedTable {
            table, metadata, ..
        } = self.loaded;
        let schema = SchemaId(schema_at(metadata, self.snapshot).schema_id());
        let ids: Vec<i32> = columns.iter().map(|column| column.field_id).collect();
        let asked = (schema, &ids[..]);
        let made = sketch_columns(&self.engine, metadata, table, asked, groups, self.is_late).await;
        made.map_err(UpkeepError::Unread)
    }
}
