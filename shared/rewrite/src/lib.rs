//! The engine: a file group in, data files out. Knows nothing of commits.
//!
//! Row groups are joined page by page where that is sound (`merge`), else by rows.
//!
//! Reading (`read`, `project`, `convert`, `constants`), deletes (`deletes`) and writing (`write`) are apart; `group` puts
//! the first two together, `rewrite`, `hash` and `distinct` do something with the rows. `opinion` judges what was written, and
//! shares nothing of how rows are read and written. Everything streams: what is held at a time
//! is bounded by [`RewriteContext::memory_cap`], and what can't be done within it is refused with a reason.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod constants;
mod convert;
mod deletes;
mod distinct;
mod failure;
mod group;
mod hash;
mod light;
mod lineage;
mod memory;
mod merge;
mod opinion;
mod project;
mod read;
mod rewrite;
mod schema;
mod steps;
#[cfg(test)]
mod tests;
mod write;

pub use distinct::Sketch;
pub use hash::RowsHash;
pub use opinion::{Look, Opinion};
pub use schema::parquet_schema;
pub use write::data_folder;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use icepress_catalog::metadata::Metadata;
use icepress_model::{
    Attempt, Bytes, Group, GroupResult, GroupTask, MergePages, RewriteFailure, Rows, SchemaId,
    TableId, Tier, ambient::Ambient,
};
use icepress_storage::Storage;

/// What the engine works with.
#[derive(Debug, Clone)]
pub struct RewriteContext {
    /// Where the files lie.
    pub storage: Arc<dyn Storage>,
    /// Clock, randomness, identifiers.
    pub ambient: Ambient,
    /// How much memory one group may take.
    pub memory_cap: Bytes,
    /// How row groups are joined.
    pub merge_pages: MergePages,
    /// Rows and bytes read so far, for progress bars.
    pub progress: Arc<Progress>,
}

/// How far a rewrite is. Only ever grows.
#[derive(Debug, Default)]
pub struct Progress {
    rows: AtomicU64,
    bytes: AtomicU64,
}

impl Progress {
    /// Counts a part of an input as read.
    pub fn add(&self, rows: Rows, bytes: Bytes) {
        self.rows.fetch_add(rows.get(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes.get(), Ordering::Relaxed);
    }

    /// Rows and input bytes read so far.
    pub fn read(&self) -> (Rows, Bytes) {
        (
            Rows(self.rows.load(Ordering::Relaxed)),
            Bytes(self.bytes.load(Ordering::Relaxed)),
        )
    }
}

/// Rewrites one group. In the full tier: reads its inputs by field id under the table's current schema, leaves out deleted
/// rows, and writes files of the group's target size. In the light tier: finds the deleted rows, reading no more than key
/// columns, and writes them as position deletes, or from format version 3 on as deletion vectors. For dangling delete files
/// there is nothing to read and nothing to write.
///
/// `metadata` is the table at the task's base state. On failure the files written so far are aborted where they were
/// not finished; finished ones carry process, task and attempt in their names and count for nothing.
pub async fn rewrite_group(
    context: &RewriteContext,
    metadata: &Metadata,
    task: &GroupTask,
    attempt: Attempt,
) -> Result<GroupResult, RewriteFailure> {
    let result = match task.group.tier {
        Tier::Full => rewrite::rewrite(context, metadata, task, attempt).await,
        Tier::Light => light::rewrite_deletes(context, metadata, task, attempt).await,
        Tier::Dangling => Ok(GroupResult::default()),
    };
    result.map_err(|failure| of_table(&task.table, failure))
}

/// Reads all live rows of `groups` under the schema `schema_id`, through the same reader as a rewrite and with the same
/// deletes applied, and returns their number and an order-free hash. Two snapshots that hold the same rows, in whatever
/// files, have the same hash under the same schema.
///
/// Of each group only spec, partition, inputs and deletes are looked at.
pub async fn hash_rows(
    context: &RewriteContext,
    metadata: &Metadata,
    table: &TableId,
    schema_id: SchemaId,
    groups: &[Group],
) -> Result<RowsHash, RewriteFailure> {
    hash::hash(context, metadata, schema_id, groups)
        .await
        .map_err(|failure| of_table(table, failure))
}

/// Sketches the distinct values of `columns`, fields at the top of the schema `schema_id` by their ids, over the live rows of
/// `groups`: a sketch for each column, in their order. Only these columns are read, and keys of equality deletes. Ends with
/// [`icepress_model::RewriteFailureKind::OverTime`] once `is_late`.
///
/// Of each group only spec, partition, inputs and deletes are looked at.
pub async fn sketch_columns(
    context: &RewriteContext,
    metadata: &Metadata,
    table: &TableId,
    (schema_id, columns): (SchemaId, &[i32]),
    groups: &[Group],
    is_late: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Sketch>, RewriteFailure> {
    distinct::sketch(context, metadata, schema_id, columns, groups, is_late)
        .await
        .map_err(|failure| of_table(table, failure))
}

/// Compares the live rows of the groups `before` and `after` column by column, from the files themselves and without what a
/// rewrite reads through. Of each group only spec, partition, inputs and deletes are looked at.
pub async fn second_opinion(
    context: &RewriteContext,
    metadata: &Metadata,
    table: &TableId,
    schema_id: SchemaId,
    (before, after): (&[Group], &[Group]),
    look: Look,
) -> Result<Opinion, RewriteFailure> {
    opinion::second_opinion(context, metadata, schema_id, (before, after), look)
        .await
        .map_err(|failure| of_table(table, failure))
}

fn of_table(table: &TableId, failure: RewriteFailure) -> RewriteFailure {
    RewriteFailure {
        kind: failure.kind,
        message: format!("table {table}: {}", failure.message),
    }
}
