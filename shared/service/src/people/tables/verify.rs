//! Are the rows the same? Two snapshots of a table compared by count and an order-free hash, and by a second reader, which
//! shares nothing with the one that rewrites, by the values of each column.

use iceberg::spec::{SnapshotRef, TableMetadata};
use icepress_catalog::LoadedTable;
use icepress_model::{Group, MergePages, Rows, SchemaId, SnapshotId, TableId};
use icepress_rewrite::{Look, Opinion, RewriteContext, RowsHash, hash_rows, second_opinion};
use icepress_table::{IS_REPAIR, PROCESS_ID};
use std::sync::Arc;
use thiserror::Error;

use crate::{Context, EvaluateError, scheduler::evaluate};

/// What failed.
#[derive(Debug, Error)]
pub enum VerifyError {
    /// The table could not be looked at.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// There is no rewrite of ours to verify.
    #[error(
        "table {0}: no snapshot in its history was made by Icepress; name two with --snapshot and --against"
    )]
    NoRewrite(TableId),
    /// A snapshot is not there (any more).
    #[error("table {table}: there is no snapshot {snapshot}: it may have been expired")]
    NoSuchSnapshot {
        /// The table.
        table: TableId,
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// Rows could not be read.
    #[error(transparent)]
    Unreadable(#[from] icepress_model::RewriteFailure),
}

/// The rows of one snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotRows {
    /// The snapshot.
    pub snapshot: SnapshotId,
    /// How many rows a reader sees.
    pub rows: Rows,
    /// The sum of their hashes: the same for the same rows in any order.
    pub hash: u128,
    /// How many of them have a row id (format version 3).
    pub identified: Rows,
    /// The sum of their hashes with row id and last updated sequence number.
    pub lineage: u128,
}

impl SnapshotRows {
    fn hashed(&self) -> RowsHash {
        RowsHash {
            rows: self.rows,
            hash: self.hash,
            identified: self.identified,
            lineage: self.lineage,
        }
    }
}

/// Two snapshots side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// The later: by default the last rewrite's.
    pub snapshot: SnapshotRows,
    /// The earlier: by default its parent's.
    pub against: SnapshotRows,
    /// What their columns come to when they are counted by what the files themselves say, apart from what reads the rows.
    pub opinion: Opinion,
}

impl Verification {
    /// Whether the rows are the same, and where the earlier ones had row ids, these too.
    pub fn same(&self) -> bool {
        self.snapshot.hashed().is_same_as(&self.against.hashed()) && self.opinion.faults.is_empty()
    }

    /// Whether the rows have the same values, whatever their ids.
    pub fn same_values(&self) -> bool {
        self.snapshot.rows == self.against.rows
            && self.snapshot.hash == self.against.hash
            && self.opinion.faults.is_empty()
    }
}

/// Compares the rows of `snapshot` (by default the last rewrite's) and `against` (by default its parent's), both read
/// under the table's current schema with all deletes applied.
pub async fn verify(
    context: &Context,
    table: &TableId,
    snapshot: Option<SnapshotId>,
    against: Option<SnapshotId>,
) -> Result<Verification, VerifyError> {
    let open = context.catalog_of(table).map_err(EvaluateError::Catalog)?;
    let loaded = open
        .catalog
        .load(table)
        .await
        .map_err(EvaluateError::Catalog)?;
    let later = match snapshot {
        Some(snapshot) => find(table, &loaded.metadata, snapshot)?,
        None => {
            last_rewrite(&loaded.metadata).ok_or_else(|| VerifyError::NoRewrite(table.clone()))?
        }
    };
    let earlier = match against.or(later.parent_snapshot_id().map(SnapshotId)) {
        Some(against) => find(table, &loaded.metadata, against)?,
        None => return Err(VerifyError::NoRewrite(table.clone())),
    };
    let engine = engine(context, &loaded.table).await?;
    let new = evaluate::all_files(context, table, &loaded.metadata, &later).await?;
    let old = evaluate::all_files(context, table, &loaded.metadata, &earlier).await?;
    let schema = SchemaId(loaded.metadata.current_schema_id());
    let snapshot = rows_of(&engine, &loaded, &later, &new).await?;
    let against = rows_of(&engine, &loaded, &earlier, &old).await?;
    let opinion = second_opinion(
        &engine,
        &loaded.metadata,
        table,
        schema,
        (&old, &new),
        Look::Pages,
    )
    .await?;
    Ok(Verification {
        snapshot,
        against,
        opinion,
    })
}

fn find(
    table: &TableId,
    metadata: &TableMetadata,
    snapshot: SnapshotId,
) -> Result<SnapshotRef, VerifyError> {
    metadata
        .snapshot_by_id(snapshot.get())
        .cloned()
        .ok_or_else(|| VerifyError::NoSuchSnapshot {
            table: table.clone(),
            snapshot,
        })
}

/// The newest snapshot in the current one's history that a rewrite of ours made. What a repair makes reads other rows on
/// purpose, or the same where its parent can't be read.
fn last_rewrite(metadata: &TableMetadata) -> Option<SnapshotRef> {
    let mut next = metadata.current_snapshot().cloned();
    while let Some(snapshot) = next {
        let summary = snapshot.summary();
        let has = |key| summary.additional_properties.contains_key(key);
        if has(PROCESS_ID) && !has(IS_REPAIR) {
            return Some(snapshot);
        }
        next = snapshot
            .parent_snapshot_id()
            .and_then(|parent| metadata.snapshot_by_id(parent))
            .cloned();
    }
    None
}

async fn engine(context: &Context, table: &TableId) -> Result<RewriteContext, VerifyError> {
    let open = context.catalog_of(table).map_err(EvaluateError::Catalog)?;
    let storage = open
        .storage_of(table)
        .await
        .map_err(EvaluateError::Catalog)?;
    Ok(RewriteContext {
        storage,
        ambient: context.ambient.clone(),
        memory_cap: context.settings.memory_cap,
        merge_pages: MergePages::default(),
        progress: Arc::default(),
    })
}

async fn rows_of(
    engine: &RewriteContext,
    loaded: &LoadedTable,
    snapshot: &SnapshotRef,
    groups: &[Group],
) -> Result<SnapshotRows, VerifyError> {
    let LoadedTable {
        table, metadata, ..
    } = loaded;
    let schema = SchemaId(metadata.current_schema_id());
    let total = hash_rows(engine, metadata, table, schema, groups).await?;
    Ok(SnapshotRows {
        snapshot: SnapshotId(snapshot.snapshot_id()),
        rows: total.rows,
        hash: total.hash,
        identified: total.identified,
        lineage: total.lineage,
    })
}
