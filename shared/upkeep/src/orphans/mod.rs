//! Files in a table's folders that nothing refers to: what failed writers left, and whoever expired without deleting.
//!
//! Two looks are needed before one of them goes. A run lists the folders, and writes down whatever is not needed and not new.
//! A later run lists anew, and deletes what it finds unneeded again, that was written down before, and is old enough. So a
//! file that somebody is about to commit, and a table that once read wrongly, have had days to come right.
//!
//! The exception are files whose names say that one of our own attempts wrote them, once it is known that nothing of that
//! attempt can come into the table any more ([`crate::Attempts`]).

mod chain;
mod inventory;
pub(crate) mod listing;
pub(crate) mod live;
mod names;
mod run;
mod source;
mod survey;

use std::time::Duration;

use icepress_catalog::metadata::metadata_folder;
use icepress_model::TableId;
use icepress_storage::{Storage, StorageError};
use icepress_table::CommitContext;
use serde::Serialize;

use self::run::{Run, Step};
pub use self::source::InventorySeen;
use crate::{
    Attempts, Counted, Counts, DeadFile, Limits, Neighbours, UpkeepError, expire::Progress,
    ledger::Ledger,
};

/// What is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OrphanScope {
    /// Everything in the table's folders.
    #[default]
    All,
    /// Its metadata files alone.
    OldMetadata,
}

impl OrphanScope {
    fn ledger(self) -> Ledger {
        match self {
            Self::All => Ledger::Orphans,
            Self::OldMetadata => Ledger::OldMetadata,
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrphanRequest {
    /// What to look at.
    pub scope: OrphanScope,
    /// Older files go; `None` for what the table says. At least [`crate::ORPHAN_FLOOR`].
    pub older_than: Option<Duration>,
    /// UUIDs of tables that lay here and are dropped: what they left may go. Metadata files of any other table are a
    /// reason to refuse.
    pub dropped: Vec<String>,
    /// How much may be deleted.
    pub limits: Limits,
    /// Where S3 writes an inventory of the bucket, by which it is told what there is, instead of listing the table's folders;
    /// what the table says goes before.
    pub inventory: Option<String>,
    /// Whether files are marked by a tag for as long again before they go; what the table says goes before.
    pub quarantine: bool,
    /// Whether nobody reads who could not be asked where their tables lie: any such is a reason to refuse then.
    pub unattended: bool,
}

/// Whom a search asks.
#[derive(Debug, Clone, Copy)]
pub struct Others<'a> {
    /// Where other tables lie.
    pub neighbours: &'a dyn Neighbours,
    /// What became of processes.
    pub attempts: &'a dyn Attempts,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OrphanSurvey {
    /// The folders that were listed.
    pub folders: Vec<String>,
    /// Everything that lies there.
    pub listed: Counts,
    /// Requests for that.
    pub listing_requests: u64,
    /// The inventory that told of it; `None` where it was listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inventory: Option<InventorySeen>,
    /// Files that the table needs, wherever they lie.
    pub needed: u64,
    /// What nothing refers to, by what it was; not what is counted below.
    pub unreferenced: Counted,
    /// The first of it.
    pub examples: Vec<String>,
    /// What nothing refers to and may yet be committed, being so young.
    pub young: Counts,
    /// What a process that is under way wrote.
    pub in_use: Counts,
    /// What is named so that no engine takes it for a table's.
    pub hidden: Counts,
    /// Metadata files that left the table's log and stay, for the table does not want them deleted
    /// (`write.metadata.delete-after-commit.enabled`).
    pub old_metadata: Counts,
    /// How old a file must be to go, in milliseconds.
    pub age_ms: u64,
    /// Other tables that were asked where they lie.
    pub tables_asked: u64,
    /// Catalogs, databases and tables that could not be asked, and why.
    pub unasked: Vec<String>,
}

/// What would be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OrphanPlan {
    /// What was found.
    #[serde(flatten)]
    pub survey: OrphanSurvey,
    /// What would be deleted now: what an earlier run found too, and is old enough.
    pub files: Counted,
    /// What would be marked (`icepress-quarantine`), to be deleted by a later run.
    pub quarantined: Counted,
    /// What would be written down, or is marked, to be deleted by a later run.
    pub waiting: Counted,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct OrphanReport {
    /// What was found.
    #[serde(flatten)]
    pub survey: OrphanSurvey,
    /// What was deleted.
    pub files: Counted,
    /// What was marked (`icepress-quarantine`), to be deleted by a later run.
    pub quarantined: Counted,
    /// What was marked and is needed again: it is marked no longer.
    pub released: u64,
    /// What is written down, or was marked before, to be deleted by a later run.
    pub waiting: Counted,
    /// What came into the table while the folders were listed, and stays.
    pub revived: Counts,
    /// Whether a limit was reached before everything was deleted that may go.
    pub unfinished: bool,
}

/// How much lies in a folder, whosever it is.
pub async fn weigh_folder(storage: &dyn Storage, folder: &str) -> Result<Counts, StorageError> {
    let mut listing = listing::Listing::of(storage, &[folder.to_owned()]);
    let mut counts = Counts::default();
    while let Some(objects) = listing.next().await? {
        for object in objects {
            counts.add_all(Counts {
                files: 1,
                bytes: object.size,
            });
        }
    }
    Ok(counts)
}

/// Says what [`remove_orphans`] would do. Writes nothing.
pub async fn plan_orphans(
    context: &CommitContext,
    table: &TableId,
    others: Others<'_>,
    request: &OrphanRequest,
) -> Result<OrphanPlan, UpkeepError> {
    let run = Run::begin(context, table, others, request).await?;
    let mut plan = OrphanPlan::default();
    let mut tell = |file: &DeadFile, step| {
        let counted = match step {
            Step::Goes => &mut plan.files,
            Step::IsMarked => &mut plan.quarantined,
            Step::Waits => &mut plan.waiting,
        };
        counted.entry(file.kind).or_default().add(file);
    };
    let survey = run.look(None, &mut tell).await?.survey;
    plan.survey = survey;
    Ok(plan)
}

/// Looks for files that nothing refers to, deletes those that an earlier run found too and that are old enough, and writes
/// down the others.
///
/// Safe to call again after any failure or crash, and beside other runs on the same table. What can't be read, of the table
/// or of what lies in its folders, stops it before anything is deleted.
pub async fn remove_orphans(
    context: &CommitContext,
    table: &TableId,
    others: Others<'_>,
    request: &OrphanRequest,
    progress: Progress<'_>,
) -> Result<OrphanReport, UpkeepError> {
    if !context.storage.may_delete() {
        return Err(UpkeepError::refused(
            table,
            "nothing may be deleted here: a search for files that nothing refers to would be for nothing",
        ));
    }
    let run = Run::begin(context, table, others, request).await?;
    let folder = metadata_folder(&run.loaded.metadata);
    run.remove(&folder, progress).await
}
