//! Mending what a table's manifests say of sound files: asked for by a person, as a commit of its own.

use std::sync::Arc;

use async_trait::async_trait;
use icepress_catalog::CatalogError;
use icepress_coordination::CoordinationError;
use icepress_model::{ProcessId, SnapshotId, TableId};
use icepress_table::{
    CommitContext, CommitFailure, Examination, Gatekeeper, Repairs, examine_manifests,
    repair_manifests,
};
use thiserror::Error;

use crate::{Context, scheduler::limits};

/// Why a table was not examined or repaired.
#[derive(Debug, Error)]
pub enum RepairError {
    /// It can't be loaded, or its manifests can't be read or written.
    #[error(transparent)]
    Table(#[from] CommitFailure),
    /// The state store failed.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
}

impl From<CatalogError> for RepairError {
    fn from(error: CatalogError) -> Self {
        Self::Table(CommitFailure::Catalog(error))
    }
}

/// What a repair did.
#[derive(Debug)]
pub struct Repaired {
    /// The snapshot that it added; `None` where somebody had mended everything in between.
    pub snapshot_id: Option<SnapshotId>,
    /// What it mended, and what is left.
    pub repairs: Repairs,
}

/// Asks for every live file of a table and says what is wrong with its manifests; `progress` is told how many of how many were
/// asked for. Writes nothing.
pub async fn examine(
    context: &Context,
    table: &TableId,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Examination, RepairError> {
    let commit = commit_context(context, table).await?;
    Ok(examine_manifests(&commit, table, progress).await?)
}

/// Commits what can be mended of what `examination` found. With `drop_duplicates` files that are listed more than once are listed
/// once, so that readers see their rows once. Afterwards the table is due.
pub async fn repair(
    context: &Context,
    table: &TableId,
    examination: &Examination,
    drop_duplicates: bool,
) -> Result<Repaired, RepairError> {
    let commit = commit_context(context, table).await?;
    let process = ProcessId::from_uuid(context.ambient.uuid());
    let unless_blocked = UnlessBlocked { context, table };
    // A signal waits for a commit that is in the middle.
    let _inside = context.commits.enter().await;
    let repaired = repair_manifests(
        &unless_blocked,
        &commit,
        table,
        &process,
        examination,
        drop_duplicates,
    );
    let repaired = match repaired.await {
        Ok((outcome, repairs)) => Repaired {
            snapshot_id: Some(outcome.snapshot_id),
            repairs,
        },
        Err(CommitFailure::NothingLeft { .. }) => Repaired {
            snapshot_id: None,
            repairs: Repairs::default(),
        },
        Err(error) => return Err(error.into()),
    };
    // It may have failed for what was wrong, and be waiting.
    let home = context.layout().await?.home_of(table);
    let now = context.ambient.now();
    context.store.force_due(home, table, now).await?;
    Ok(repaired)
}

async fn commit_context(context: &Context, table: &TableId) -> Result<CommitContext, RepairError> {
    let open = context.catalog_of(table)?;
    Ok(CommitContext {
        catalog: Arc::clone(&open.catalog),
        storage: open.storage_of(table).await?,
        ambient: context.ambient.clone(),
        policy: context.settings.commit,
    })
}

/// Lets nothing be committed to a table that somebody blocks.
#[derive(Debug)]
pub(super) struct UnlessBlocked<'a> {
    pub(super) context: &'a Context,
    pub(super) table: &'a TableId,
}

#[async_trait]
impl Gatekeeper for UnlessBlocked<'_> {
    async fn objection(&self) -> Option<String> {
        match limits::blocked(self.context, self.table).await {
            Ok(obstacle) => obstacle.map(|obstacle| obstacle.reason),
            Err(error) => Some(error.to_string()),
        }
    }
}
