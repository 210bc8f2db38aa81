//! Expiring snapshots: the commit that lets go of them, and the files that nobody needs then.

mod commit;
mod outlook;

pub use outlook::{ExpireOutlook, expire_outlook};

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use icepress_catalog::{LoadedTable, metadata::metadata_folder};
use icepress_model::{Bytes, MetadataLocation, SnapshotId, TableId, TimestampMs};
use icepress_table::{CommitContext, Gatekeeper, tracked::SnapshotFiles};
use serde::Serialize;

use self::commit::{Decision, Letting, decide_on};
use crate::{
    DeadFile, FLOOR, FileKind, Limits, Pins, Spared, UpkeepError,
    dead::{Dead, Marks, Staying, mark_of},
    delete::{Judged, Sweep, Swept},
    ledger::{Intent, Ledger, PartWriter, Planned, Record},
    limits::Meter,
    places::places_of,
    retain::Expiring,
};

/// After so long a record whose commit never came is for nothing: no request is under way for an hour.
const FORSAKEN: Duration = Duration::from_secs(3600);

/// Old versions of its entry in the catalog that a run takes away at most.
const VERSIONS: u64 = 300;

/// What is told of how far it came: files done, of so many.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpireRequest {
    /// Snapshots older than this go, unless their branch has an age of its own; `None` for what the table says.
    pub older_than: Option<Duration>,
    /// Younger ones stay whatever is asked for, and those that were the newest of a branch less than this ago.
    pub floor: Duration,
    /// How much may be deleted.
    pub limits: Limits,
}

impl Default for ExpireRequest {
    fn default() -> Self {
        Self {
            older_than: None,
            floor: FLOOR,
            limits: Limits::default(),
        }
    }
}

/// Files and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// How many.
    pub files: u64,
    /// Their sizes, as far as the table says: of manifest lists nobody does.
    pub bytes: Bytes,
}

impl Counts {
    pub(crate) fn add(&mut self, file: &DeadFile) {
        self.files += 1;
        self.bytes = Bytes(self.bytes.get().saturating_add(file.bytes.get()));
    }

    pub(crate) fn add_all(&mut self, other: Self) {
        self.files += other.files;
        self.bytes = Bytes(self.bytes.get().saturating_add(other.bytes.get()));
    }
}

/// Files by what they are.
pub type Counted = BTreeMap<FileKind, Counts>;

/// What would be done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExpirePlan {
    /// Snapshots that would go, the newest first.
    pub snapshots: Vec<Expiring>,
    /// Branches and tags that would go.
    pub refs: Vec<String>,
    /// Snapshots that would go by age and number, and stay.
    pub spared: Vec<Spared>,
    /// Snapshots that stay, these among them.
    pub snapshots_kept: u64,
    /// Files that would go.
    pub files: Counted,
    /// Files that nobody would need, and that lie outside the table's places: they stay.
    pub outside: Counts,
    /// Whether an earlier run left files to delete, which come first and are not counted here.
    pub unfinished: bool,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ExpireReport {
    /// Snapshots that this run let go of, the newest first.
    pub snapshots: Vec<Expiring>,
    /// Branches and tags that this run took away.
    pub refs: Vec<String>,
    /// Snapshots that would have gone by age and number, and stayed.
    pub spared: Vec<Spared>,
    /// The commit that let go of them; `None` where nothing was to go, or it is not known which state it made.
    pub committed: Option<Committed>,
    /// Snapshots that the table has now.
    pub snapshots_kept: u64,
    /// Files that were deleted, those of earlier runs among them.
    pub files: Counted,
    /// Dead files outside the table's places: they stay.
    pub outside: Counts,
    /// Files that were written down as dead by an earlier run and are needed again: they stay.
    pub revived: Counts,
    /// Versions of the table's entry that the catalog forgot: those whose metadata files the table knows no longer.
    pub versions: u64,
    /// Whether files are left for the next run, since a limit was reached.
    pub unfinished: bool,
}

/// A commit of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Committed {
    /// The state that it was made on.
    pub base: MetadataLocation,
    /// The state that it made.
    pub location: MetadataLocation,
}

/// Says what [`expire`] would do. Writes nothing.
pub async fn plan_expire(
    context: &CommitContext,
    table: &TableId,
    pins: &dyn Pins,
    request: &ExpireRequest,
) -> Result<ExpirePlan, UpkeepError> {
    let loaded = context.catalog.load(table).await?;
    let Decision {
        verdict, letting, ..
    } = decide_on(context, &loaded, pins, request).await?;
    let metadata = &loaded.metadata;
    let folder = metadata_folder(metadata);
    let pending = Record::pending(context.storage.as_ref(), table, &folder, Ledger::Expiry).await?;
    let going: Vec<SnapshotId> = verdict.snapshots.iter().map(|it| it.snapshot_id).collect();
    let staying = Staying::of(&context.storage, &loaded, &going)?;
    let mut dead = Dead::find(&staying, &letting.snapshots, &letting.statistics).await?;
    let places = places_of(table, metadata)?;
    let (mut files, mut outside) = (Counted::new(), Counts::default());
    while let Some(more) = dead.next().await? {
        for file in &more {
            match places.holds(&file.path) {
                true => files.entry(file.kind).or_default().add(file),
                false => outside.add(file),
            }
        }
    }
    Ok(ExpirePlan {
        snapshots_kept: staying.snapshots.len() as u64,
        snapshots: verdict.snapshots,
        refs: verdict.refs,
        spared: verdict.spared,
        files,
        outside,
        unfinished: !pending.is_empty(),
    })
}

/// Lets go of the snapshots that the table wants no longer, and deletes the files that nobody needs then; first whatever an
/// earlier run left.
///
/// Safe to call again after any failure or crash, and beside other runs on the same table.
///
/// Boxed: the compiler can't see through so deep a future whether it may move between threads.
pub fn expire<'a>(
    context: &'a CommitContext,
    table: &'a TableId,
    pins: &'a dyn Pins,
    gatekeeper: &'a dyn Gatekeeper,
    request: &'a ExpireRequest,
    progress: Progress<'a>,
) -> BoxFuture<'a, Result<ExpireReport, UpkeepError>> {
    expire_and_delete(context, table, pins, gatekeeper, request, progress).boxed()
}

async fn expire_and_delete(
    context: &CommitContext,
    table: &TableId,
    pins: &dyn Pins,
    gatekeeper: &dyn Gatekeeper,
    request: &ExpireRequest,
    progress: Progress<'_>,
) -> Result<ExpireReport, UpkeepError> {
    let storage = context.storage.as_ref();
    if !storage.may_delete() {
        return Err(UpkeepError::refused(
            table,
            "nothing may be deleted here: expiring its snapshots would only hide their files",
        ));
    }
    let mut meter = Meter::start(request.limits, &context.ambient);
    let let_go = commit::let_go(context, table, pins, gatekeeper, request).await?;
    let loaded = context.catalog.load(table).await?;
    let mut report = ExpireReport {
        snapshots: let_go.verdict.snapshots,
        refs: let_go.verdict.refs,
        spared: let_go.verdict.spared,
        committed: let_go.committed,
        snapshots_kept: loaded.metadata.snapshots().len() as u64,
        ..ExpireReport::default()
    };
    let folder = metadata_folder(&loaded.metadata);
    for record in Record::pending(storage, table, &folder, Ledger::Expiry).await? {
        let settling = Settling {
            context,
            table,
            progress,
        };
        let settled = settling.settle(&record, &mut meter, &mut report).await;
        // Another run may have brought it to its end meanwhile, and taken it away.
        if settled.is_err() && record.intent().await?.is_none() {
            continue;
        }
        settled?;
    }
    let forgotten = context.catalog.forget_versions(&loaded, VERSIONS).await;
    report.versions = forgotten.unwrap_or_else(|error| {
        // Nothing depends on them.
        tracing::warn!(%table, %error, "the catalog could not be had to forget old versions of the table's entry");
        0
    });
    Ok(report)
}

/// Brings what a run wrote down to its end.
struct Settling<'a> {
    context: &'a CommitContext,
    table: &'a TableId,
    progress: Progress<'a>,
}

impl Settling<'_> {
    async fn settle(
        &self,
        record: &Record<'_>,
        meter: &mut Meter<'_>,
        report: &mut ExpireReport,
    ) -> Result<(), UpkeepError> {
        let now = self.context.ambient.now();
        let Some(intent) = record.intent().await? else {
            // Another run is through with it, and was killed while it cleaned up.
            return record.remove().await;
        };
        // Looked at after that was read, and not before: what is written down there was in the table then, so that what is not in
        // it now is gone. By an older look, what came since would be taken for gone, with the files that it added.
        let loaded = self.context.catalog.load(self.table).await?;
        let (table, metadata) = (self.table, &loaded.metadata);
        if intent.version != Intent::VERSION {
            return Err(UpkeepError::refused(
                table,
                "another version of Icepress wrote down what is to be deleted: let that one finish",
            ));
        }
        if intent.table_uuid != metadata.uuid().to_string() {
            // Written for a table that was here before this one.
            return record.remove().await;
        }
        let gone: Vec<SnapshotFiles> = intent
            .snapshots
            .iter()
            .filter(|it| metadata.snapshot_by_id(it.snapshot_id.get()).is_none())
            .cloned()
            .collect();
        if gone.is_empty() {
            let is_forsaken = intent.made_at + FORSAKEN < now;
            return match is_forsaken || intent.snapshots.is_empty() {
                true => record.remove().await,
                false => Ok(()),
            };
        }
        let staying = Staying::of(&self.context.storage, &loaded, &[])?;
        let planned_before = record.planned().await?;
        let (planned, alive) = match planned_before {
            Some(planned) => {
                let mut alive = self.marks_of(record, &planned).await?;
                staying.look_for(&mut alive).await?;
                (planned, alive)
            }
            None => {
                let planned = self.plan(record, &intent, &gone, &staying, now).await?;
                (planned, Marks::default())
            }
        };
        let places = places_of(table, metadata)?;
        let judge = |file: &DeadFile| {
            if alive.is_alive(mark_of(&file.path)) {
                Judged::Alive
            } else if !places.holds(&file.path) {
                Judged::Outside
            } else {
                Judged::Dead
            }
        };
        let sweep = Sweep {
            storage: self.context.storage.as_ref(),
            ambient: &self.context.ambient,
            table,
            judge: &judge,
            // Written down from the table's own metadata, and needed by nobody who comes later.
            asks_again: false,
            quarantine: None,
            progress: self.progress,
        };
        let swept = sweep.run(record, &planned, meter).await?;
        let is_whole = swept.is_whole;
        report.add(swept);
        match is_whole {
            true => record.remove().await,
            false => {
                report.unfinished = true;
                Ok(())
            }
        }
    }

    /// Writes down everything that is dead.
    async fn plan(
        &self,
        record: &Record<'_>,
        intent: &Intent,
        gone: &[SnapshotFiles],
        staying: &Staying<'_>,
        now: TimestampMs,
    ) -> Result<Planned, UpkeepError> {
        let gone_ids: HashSet<i64> = gone.iter().map(|it| it.snapshot_id.get()).collect();
        let mut statistics = intent.statistics.clone();
        statistics.retain(|file| gone_ids.contains(&file.snapshot_id));
        let mut dead = Dead::find(staying, gone, &statistics).await?;
        let mut parts = PartWriter::new(record);
        while let Some(files) = dead.next().await? {
            parts.add(&files).await?;
        }
        let why = format!(
            "{} snapshots of {} are expired, and no other refers to these files",
            gone.len(),
            self.table
        );
        parts.finish(why, now).await
    }

    /// Marks of all that is written down: only what is dead on the table as it is now may go.
    async fn marks_of(&self, record: &Record<'_>, planned: &Planned) -> Result<Marks, UpkeepError> {
        let mut marks = Vec::new();
        for part in 0..planned.parts {
            let files = record.part(part).await?;
            marks.extend(files.iter().map(|file| mark_of(&file.path)));
        }
        Ok(Marks::new(marks))
    }
}

impl ExpireReport {
    fn add(&mut self, swept: Swept) {
        for (kind, counts) in swept.deleted {
            self.files.entry(kind).or_default().add_all(counts);
        }
        self.outside.add_all(swept.outside);
        self.revived.add_all(swept.revived);
    }
}

/// What a decision lets go of, as a record has it.
impl Letting {
    fn intent(&self, loaded: &LoadedTable, made_at: TimestampMs) -> Intent {
        Intent {
            version: Intent::VERSION,
            table: loaded.table.clone(),
            table_uuid: loaded.metadata.uuid().to_string(),
            base: loaded.metadata_location.clone(),
            made_at,
            snapshots: self.snapshots.clone(),
            statistics: self.statistics.clone(),
        }
    }
}
