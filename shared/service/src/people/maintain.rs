//! Upkeep of one table by hand, beside rewrites: so far, expiring its snapshots.

use std::sync::Arc;

use async_trait::async_trait;
use icepress_catalog::CatalogError;
use icepress_model::{ProcessKind, TableId};
use icepress_table::CommitContext;
use icepress_upkeep::{
    ExpirePlan, ExpireReport, ExpireRequest, Pin, Pins, Progress, UpkeepError, expire, plan_expire,
};

use super::repair::UnlessBlocked;
use crate::{
    Context,
    scheduler::{elsewhere::EvaluationHeader, header::ProcessHeader, upkeep::UpkeepHeader},
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
