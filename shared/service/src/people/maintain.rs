//! Upkeep of one table by hand, beside rewrites: recovery points and the way back to one; rows that are too old; expiring its
//! snapshots; writing its manifests anew; counting what its partitions hold.

use std::sync::Arc;

use async_trait::async_trait;
use icepress_catalog::CatalogError;
use icepress_coordination::CoordinationError;
use icepress_model::{Attempt, MergePages, ProcessId, ProcessKind, SnapshotId, TableId};
use icepress_rewrite::RewriteContext;
use icepress_table::CommitContext;
use icepress_upkeep::{
    ExpirePlan, ExpireReport, ExpireRequest, Pin, Pins, Progress, UpkeepError,
    ages::{self, AgePlan},
    expire,
    manifests::{self, ManifestPlan, ManifestReport},
    plan_expire,
    restore::{self, RestorePlan, RestoreRequest},
    statistics::{self, Effort, StatisticsPlan, StatisticsReport},
    tags::{self, TagPlan, TagReport},
};

use super::repair::UnlessBlocked;
use crate::{
    Context,
    scheduler::{handover::EvaluationHeader, header::ProcessHeader, upkeep::UpkeepHeader},
};

/// Says what [`maintain`] would do to a table. Writes nothing.
pub async fn plan(
    context: &Context,
    table: &TableId,
    request: &ExpireRequest,
) -> Result<ExpirePlan, UpkeepError> {
    let commit = commit_context(context, table).await?;
    plan_expire(&commit, table, &BasesOfProcesses { context }, request).await
}

/// Expires a table's snapshots and deletes the files that nobody needs then, unless somebody blocks the table.
pub async fn maintain(
    context: &Context,
    table: &TableId,
    request: &ExpireRequest,
    progress: Progress<'_>,
) -> Result<ExpireReport, UpkeepError> {
    let commit = commit_context(context, table).await?;
    let pins = BasesOfProcesses { context };
    let unless_blocked = UnlessBlocked { context, table };
    expire(&commit, table, &pins, &unless_blocked, request, progress).await
}

/// Says which tags are due, and which are over. Writes nothing.
pub async fn plan_tags(context: &Context, table: &TableId) -> Result<TagPlan, UpkeepError> {
    let commit = commit_context(context, table).await?;
    tags::plan(&commit, table).await
}

/// Makes the tags that are due and takes those away that are over, unless somebody blocks the table.
pub async fn tag(context: &Context, table: &TableId) -> Result<TagReport, UpkeepError> {
    let commit = commit_context(context, table).await?;
    // A signal waits for a commit that is in the middle.
    let _inside = context.commits.enter().await;
    tags::apply(&commit, table, &UnlessBlocked { context, table }).await
}

/// Says which rows are too old. Writes nothing.
pub async fn plan_age_out(context: &Context, table: &TableId) -> Result<AgePlan, UpkeepError> {
    let commit = commit_context(context, table).await?;
    ages::plan(&commit, table).await
}

/// Lets go of files whose rows are all too old, unless somebody blocks the table.
pub async fn age_out(context: &Context, table: &TableId) -> Result<AgePlan, UpkeepError> {
    let commit = commit_context(context, table).await?;
    let process = ProcessId::from_uuid(context.ambient.uuid());
    // A signal waits for a commit that is in the middle.
    let _inside = context.commits.enter().await;
    let engine = engine_of(context, &commit);
    let unless_blocked = UnlessBlocked { context, table };
    let work = (&engine, Attempt(1));
    ages::apply(&commit, table, &process, &unless_blocked, work).await
}

/// What rewrites files of a table beside a commit of upkeep.
pub(crate) fn engine_of(context: &Context, commit: &CommitContext) -> RewriteContext {
    RewriteContext {
        storage: Arc::clone(&commit.storage),
        ambient: context.ambient.clone(),
        memory_cap: context.settings.memory_cap,
        merge_pages: MergePages::default(),
        progress: Arc::default(),
    }
}

/// Says what [`restore`] would do to a table. Writes nothing.
pub async fn plan_restore(
    context: &Context,
    table: &TableId,
    request: &RestoreRequest,
    progress: Progress<'_>,
) -> Result<RestorePlan, UpkeepError> {
    let commit = commit_context(context, table).await?;
    restore::plan(&commit, table, request, progress).await
}

/// Sets a table back, unless somebody blocks it, or it is at `seen` no longer. Afterwards it is due: what was rewritten since
/// is as it was.
pub async fn restore(
    context: &Context,
    table: &TableId,
    request: &RestoreRequest,
    seen: Option<SnapshotId>,
    progress: Progress<'_>,
) -> Result<RestorePlan, RestoreError> {
    let commit = commit_context(context, table)
        .await
        .map_err(UpkeepError::from)?;
    let _inside = context.commits.enter().await;
    let unless_blocked = UnlessBlocked { context, table };
    let done = restore::apply(&commit, table, request, seen, &unless_blocked, progress).await?;
    if !done.is_empty() {
        let home = context.layout().await?.home_of(table);
        let now = context.ambient.now();
        context.store.force_due(home, table, now).await?;
    }
    Ok(done)
}

/// Why a table was not set back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It can't be, or somebody holds it up.
    #[error(transparent)]
    Upkeep(#[from] UpkeepError),
    /// It is set back, and the state store does not know.
    #[error("it is set back, but that it is due could not be noted: {0}")]
    Coordination(#[from] CoordinationError),
}

/// Says what [`maintain_manifests`] would do to a table. Writes nothing.
pub async fn plan_manifests(
    context: &Context,
    table: &TableId,
) -> Result<ManifestPlan, UpkeepError> {
    let commit = commit_context(context, table).await?;
    manifests::plan(&commit, table).await
}

/// Writes a table's manifests anew where planning pays for it, unless somebody blocks the table.
pub async fn maintain_manifests(
    context: &Context,
    table: &TableId,
) -> Result<ManifestReport, UpkeepError> {
    let commit = commit_context(context, table).await?;
    let process = ProcessId::from_uuid(context.ambient.uuid());
    let unless_blocked = UnlessBlocked { context, table };
    // A signal waits for a commit that is in the middle.
    let _inside = context.commits.enter().await;
    manifests::rewrite(&commit, table, &process, &unless_blocked).await
}

/// Says what [`maintain_statistics`] would do to a table. Writes nothing.
pub async fn plan_statistics(
    context: &Context,
    table: &TableId,
) -> Result<StatisticsPlan, UpkeepError> {
    let commit = commit_context(context, table).await?;
    statistics::plan(&commit, table).await
}

/// Writes statistics of a table's partitions, and of columns that it asks for, where the current snapshot has none, unless
/// somebody blocks the table.
pub async fn maintain_statistics(
    context: &Context,
    table: &TableId,
) -> Result<StatisticsReport, UpkeepError> {
    let commit = commit_context(context, table).await?;
    let effort = Effort {
        memory_cap: context.settings.memory_cap,
        time: None,
    };
    let made = statistics::make(&commit, table, effort).await?;
    // A signal waits for a commit that is in the middle.
    let _inside = context.commits.enter().await;
    made.set(&commit, table, &UnlessBlocked { context, table })
        .await
}

pub(super) async fn commit_context(
    context: &Context,
    table: &TableId,
) -> Result<CommitContext, CatalogError> {
    let open = context.catalog_of(table)?;
    Ok(CommitContext {
        catalog: Arc::clone(&open.catalog),
        storage: open.storage_of(table).await?,
        ambient: context.ambient.clone(),
        policy: context.settings.commit,
    })
}

/// The snapshot that a process under way was planned on: it is read and validated against until the commit.
#[derive(Debug)]
pub(crate) struct BasesOfProcesses<'a> {
    pub(crate) context: &'a Context,
}

#[async_trait]
impl Pins for BasesOfProcesses<'_> {
    async fn of(&self, table: &TableId) -> Result<Vec<Pin>, String> {
        let store = &self.context.store;
        let row = store
            .table(table)
            .await
            .map_err(|error| error.to_string())?;
        let Some(process) = row.and_then(|row| row.active_process) else {
            return Ok(Vec::new());
        };
        let row = store.process(&process).await;
        let Some(row) = row.map_err(|error| error.to_string())? else {
            return Ok(Vec::new());
        };
        // One that only looks has no base yet.
        if row.has_ended() || EvaluationHeader::of(&row).is_some() {
            return Ok(Vec::new());
        }
        let unreadable =
            |error: serde_json::Error| format!("process {process} can't be read: {error}");
        let base = match row.kind {
            ProcessKind::Rewrite => {
                let header: ProcessHeader =
                    serde_json::from_str(&row.header).map_err(unreadable)?;
                Some(header.base.snapshot_id)
            }
            _ => {
                let header: UpkeepHeader = serde_json::from_str(&row.header).map_err(unreadable)?;
                header.snapshot_id
            }
        };
        Ok(base
            .map(|snapshot_id| Pin {
                snapshot_id,
                by: format!("process {process}"),
            })
            .into_iter()
            .collect())
    }
}
