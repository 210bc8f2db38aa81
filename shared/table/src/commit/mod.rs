//! The commit of rewritten groups (protocols.md, section 4): validation against what came since, a snapshot that
//! replaces, a swap that is compared with exactly what was loaded.

mod accepted;
mod arrange;
mod cleanup;
mod committer;
mod converted;
mod find;
mod gate;
mod gatekeeper;
mod groups;
mod interest;
mod light;
mod live;
mod named_paths;
mod produce;
mod remove;
mod repair;
mod snapshot;
mod summary;
mod unused;
mod validate;

use std::{sync::Arc, time::Duration};

use icepress_catalog::{Catalog, CatalogError};
use icepress_model::{
    BaseState, Group, GroupResult, MetadataLocation, ProcessId, SnapshotId, TableId,
    ambient::Ambient,
};
use icepress_storage::Storage;
use thiserror::Error;

pub use self::arrange::{
    ChooseManifests, Held, ListedManifest, ManifestContent, ManifestLayout, PartitionPlace,
    RewrittenManifests, rewrite_manifests, survey_manifests,
};
pub use self::committer::Retries;
pub use self::find::find_commit;
pub use self::gatekeeper::{Gatekeeper, NoObjection, until};
pub use self::remove::{Chooser, Rewritten, remove_data_files, remove_rows};
pub use self::repair::{
    Correction, Duplicate, Examination, FileRepair, ManifestRepair, Repairs, Unrepairable,
    examine_manifests, repair_manifests,
};
pub use self::summary::{IS_REPAIR, PROCESS_ID};
use self::{committer::Committer, groups::Groups};
use crate::TableError;

/// What a commit works with.
#[derive(Debug, Clone)]
pub struct CommitContext {
    /// The table's catalog.
    pub catalog: Arc<dyn Catalog>,
    /// Where its files lie.
    pub storage: Arc<dyn Storage>,
    /// Clock, randomness, identifiers.
    pub ambient: Ambient,
    /// How hard to try.
    pub policy: CommitPolicy,
}

/// How hard to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitPolicy {
    /// Tries after a lost race, each on a freshly loaded and validated table.
    pub attempts: u32,
    /// The longest wait before the second try; doubles from try to try, with jitter.
    pub first_backoff: Duration,
}

impl Default for CommitPolicy {
    fn default() -> Self {
        Self {
            attempts: 20,
            first_backoff: Duration::from_millis(200),
        }
    }
}

/// A group whose files are written.
#[derive(Debug, Clone)]
pub struct FinishedGroup {
    /// Its index in the plan.
    pub index: u32,
    /// What was to be rewritten.
    pub group: Group,
    /// What came of it.
    pub result: GroupResult,
}

impl FinishedGroup {
    /// How people know it: its index, and its partition where there is one.
    pub fn name(&self) -> String {
        match self.group.partition_name.as_str() {
            "" => format!("group {}", self.index),
            partition => format!("group {} ({partition})", self.index),
        }
    }
}

/// What a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitOutcome {
    /// The state that the commit made.
    pub location: MetadataLocation,
    /// The snapshot that it added.
    pub snapshot_id: SnapshotId,
    /// Indices of the groups that are in.
    pub committed: Vec<u32>,
    /// The groups that are not.
    pub dropped: Vec<DroppedGroup>,
    /// New files of groups that are not in, which certainly no snapshot refers to: they may be deleted. What the last
    /// gate refused is not among them: it is kept as evidence.
    pub unused_files: Vec<String>,
    /// Delete files that were removed because nothing needs them any more.
    pub removed_delete_files: u64,
    /// Whether foreign commits came in between base and this commit, so that the table deserves another look.
    pub rebased: bool,
}

/// A group that a commit left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DroppedGroup {
    /// Its index in the plan.
    pub index: u32,
    /// What kind of reason it is, which decides what happens next.
    pub cause: DropCause,
    /// One line for people, with the group's name.
    pub reason: String,
}

/// Why a group was left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropCause {
    /// Another writer changed what it replaces: another plan, with smaller groups, may win.
    Conflict,
    /// What was written is not what should have been. The same plan would end the same way, so it is no use to hurry;
    /// the files are kept.
    Gate,
    /// An earlier commit of the process went without it.
    LeftBefore,
}

/// A commit that added nothing, or may have.
#[derive(Debug, Error)]
pub enum CommitFailure {
    /// Every group failed validation; the table is as others left it.
    #[error("table {table}: no group could be committed: {}", reasons(.dropped))]
    NothingLeft {
        /// The table.
        table: TableId,
        /// The groups.
        dropped: Vec<DroppedGroup>,
        /// New files that certainly no snapshot refers to: they may be deleted. Others may be in the table already.
        unused_files: Vec<String>,
    },
    /// Others committed first, each time.
    #[error("table {table}: lost the race against other writers {attempts} times")]
    RaceLost {
        /// The table.
        table: TableId,
        /// How often it was tried.
        attempts: u32,
        /// Whether the table has left the state that it was in at first, so that no swap that was compared with that one, or
        /// with an earlier, can act any more, whoever sent it.
        is_overtaken: bool,
    },
    /// It is unknown whether the commit took effect, and looking did not tell. Nothing was deleted.
    #[error("table {table}: it is unknown whether the commit took effect: {message}")]
    OutcomeUnknown {
        /// The table.
        table: TableId,
        /// What happened.
        message: String,
    },
    /// The gatekeeper objected; certainly not applied.
    #[error("table {table}: the commit is held back: {reason}")]
    HeldBack {
        /// The table.
        table: TableId,
        /// Its objection.
        reason: String,
    },
    /// The table was dropped, and this is certainly not in what was dropped.
    #[error("table {0} was dropped")]
    TableGone(TableId),
    /// The catalog refused or can't be reached; certainly not applied.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The table's metadata can't be read.
    #[error(transparent)]
    Table(#[from] TableError),
}

fn reasons(dropped: &[DroppedGroup]) -> String {
    let reasons: Vec<&str> = dropped.iter().map(|group| group.reason.as_str()).collect();
    reasons.join("; ")
}

/// Commits `groups` of one process in one snapshot, leaving out those that fail validation.
///
/// Safe to call again for the same process after any failure or crash: a snapshot whose summary names the process is
/// found and returned instead of committing twice.
pub fn commit_groups<'a>(
    context: &'a CommitContext,
    table: &'a TableId,
    process: &'a ProcessId,
    base: &'a BaseState,
    groups: Vec<FinishedGroup>,
) -> impl Future<Output = Result<CommitOutcome, CommitFailure>> + Send + 'a {
    commit_groups_unless(&NoObjection, context, table, process, base, groups)
}

/// The same, with somebody who may hold it back right before a swap. A commit that an earlier call made is found and
/// returned without asking.
#[allow(
    clippy::manual_async_fn,
    reason = "so the compiler sees here that a commit may move between threads"
)]
pub fn commit_groups_unless<'a>(
    gatekeeper: &'a dyn Gatekeeper,
    context: &'a CommitContext,
    table: &'a TableId,
    process: &'a ProcessId,
    base: &'a BaseState,
    groups: Vec<FinishedGroup>,
) -> impl Future<Output = Result<CommitOutcome, CommitFailure>> + Send + 'a {
    async move {
        let committer = Committer {
            context,
            gatekeeper,
            table,
        };
        let mut proposal = Groups::new(context, table, process, base, &groups);
        committer.run(&mut proposal).await
    }
}

/// The manifests that a commit would carry over, as its list would have them.
#[cfg(test)]
pub(crate) async fn listed_manifests(
    storage: &Arc<dyn Storage>,
    loaded: &icepress_catalog::LoadedTable,
) -> Result<Vec<crate::manifests::ManifestFile>, TableError> {
    let everything = interest::Interest::in_everything();
    let mut reader = live::Reader::new(Arc::clone(storage), everything);
    let manifests = reader.read(loaded).await?.manifests.into_iter();
    Ok(manifests.map(|manifest| manifest.file).collect())
}

#[cfg(test)]
mod tests;
