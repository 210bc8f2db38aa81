//! Back to an earlier state: a table that was spoilt is set to a snapshot that it had, by one commit that changes where the
//! branch points, and writes and deletes no file.
//!
//! Before that everything that the snapshot needs is asked for: what an expiry or somebody else removed is not restored by
//! half. The state that is left gets a tag with an age of its own, so the way back is open both ways.

mod change;
mod diff;
mod target;
mod whole;

use std::time::Duration;

use iceberg::spec::{MAIN_BRANCH, Snapshot, SnapshotRetention};
use icepress_catalog::{LoadedTable, metadata::Metadata};
use icepress_model::{SnapshotId, TableId, TimestampMs};
use icepress_storage::StorageErrorKind;
use icepress_table::{CommitContext, Gatekeeper, TableError};
use serde::Serialize;

use self::change::{Restoration, Restorer};
pub use self::{
    diff::{Amount, Difference},
    whole::Missing,
};
use crate::{Progress, UpkeepError, past, swap};

/// How long the state that is left behind is kept where nobody says.
pub const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// Which schema the table is to have afterwards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SchemaChoice {
    /// The one that it has: rows are read by it, wherever they were written.
    #[default]
    Keep,
    /// The one that the snapshot was written with.
    OfSnapshot,
    /// The one with this id.
    Id(i32),
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreRequest {
    /// A tag or branch, a snapshot's number, or a moment: `2026-11-30`, `2026-11-30T12:00`, `…+01:00`; in UTC without a zone.
    pub to: String,
    /// The branch that is set back.
    pub branch: String,
    /// How long the state that is left behind is kept.
    pub keep: Duration,
    /// Which schema the table is to have.
    pub schema: SchemaChoice,
}

impl RestoreRequest {
    /// Sets the main branch back to `to`.
    pub fn to(to: impl Into<String>) -> Self {
        Self {
            to: to.into(),
            branch: MAIN_BRANCH.to_owned(),
            keep: KEPT,
            schema: SchemaChoice::Keep,
        }
    }
}

/// A commit that a restore undoes, or brings back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CommitSeen {
    /// Its snapshot.
    pub snapshot_id: SnapshotId,
    /// When it was made.
    pub timestamp_ms: i64,
    /// `append`, `replace`, `overwrite` or `delete`.
    pub operation: String,
    /// Who made it, as far as its summary says: `spark 3.5.1, application local-17`.
    pub by: Option<String>,
    /// Rows that it added, and took out with whole files, as its summary says.
    pub added_rows: Option<u64>,
    /// As above.
    pub deleted_rows: Option<u64>,
}

/// A schema that a restore leaves, or sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaSeen {
    /// The one that the table has.
    pub current_id: i32,
    /// The one that the snapshot was written with.
    pub snapshot_id: i32,
    /// Columns of the snapshot's that the current one lacks.
    pub lacking: Vec<String>,
    /// Columns that came since.
    pub added: Vec<String>,
    /// The one that the table is to have.
    pub restored_id: i32,
}

/// What would be done, or was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestorePlan {
    /// The branch.
    pub branch: String,
    /// What it is now.
    pub from: CommitSeen,
    /// What it is to be.
    pub to: CommitSeen,
    /// How that was found, for people: `tag before-merge`, `as it was at 2026-11-30T00:00:00Z`.
    pub found: String,
    /// Commits that are undone, the newest first.
    pub undone: Vec<CommitSeen>,
    /// Commits that come back, the newest first: of a snapshot that is no ancestor of the branch.
    pub returned: Vec<CommitSeen>,
    /// Whether there were more, whose snapshots are expired.
    pub more_expired: bool,
    /// Files and rows that come and go; `None` where that can't be told, since manifests are gone.
    pub difference: Option<Difference>,
    /// Where the schema has changed in between.
    pub schema: Option<SchemaSeen>,
    /// What the snapshot needs and is not there: with any of it nothing is restored.
    pub missing: Missing,
    /// The tag that keeps what is left behind; `None` where the branch is there already, and nothing is done.
    pub kept_as: Option<String>,
    /// Until when (milliseconds since 1970).
    pub kept_until_ms: Option<i64>,
}

impl RestorePlan {
    /// Whether the branch is there already.
    pub fn is_empty(&self) -> bool {
        self.kept_as.is_none()
    }
}

/// Says what [`apply`] would do. Writes nothing. `progress` is told how many of how many files were asked for.
pub async fn plan(
    context: &CommitContext,
    table: &TableId,
    request: &RestoreRequest,
    progress: Progress<'_>,
) -> Result<RestorePlan, UpkeepError> {
    let loaded = context.catalog.load(table).await?;
    let restoration = Restoration::of(&loaded, request, context.ambient.now())?;
    describe(context, &loaded, restoration, progress).await
}

/// Sets the branch back. Refused with `Refused` where files are missing, or where `seen`, the snapshot that somebody was
/// shown as the current one, is it no longer.
///
/// One commit, on a freshly loaded table; safe to call again after any failure.
pub async fn apply(
    context: &CommitContext,
    table: &TableId,
    request: &RestoreRequest,
    seen: Option<SnapshotId>,
    gatekeeper: &dyn Gatekeeper,
    progress: Progress<'_>,
) -> Result<RestorePlan, UpkeepError> {
    let restorer = Restorer {
        context,
        request,
        seen,
        progress,
    };
    let (done, _) = swap::commit(context, table, gatekeeper, &restorer).await?;
    Ok(done.plan)
}

async fn describe(
    context: &CommitContext,
    loaded: &LoadedTable,
    restoration: Restoration,
    progress: Progress<'_>,
) -> Result<RestorePlan, UpkeepError> {
    let metadata = &loaded.metadata;
    let refused = |message: String| UpkeepError::refused(&loaded.table, message);
    let snapshot = |id: i64| {
        metadata
            .snapshot_by_id(id)
            .ok_or_else(|| refused(format!("its snapshot {id} is not there")))
    };
    let (from, to) = (snapshot(restoration.from)?, snapshot(restoration.to)?);
    let [undone, returned] = between(metadata, restoration.from, restoration.to);
    let storage = &context.storage;
    let missing = match from.snapshot_id() == to.snapshot_id() {
        true => Missing::default(),
        false => whole::missing(storage, loaded, to, progress).await?,
    };
    // What is left may be spoilt to the point that its manifests are gone: that is no reason to stay there.
    let difference = match diff::between(storage, loaded, from, to).await {
        Err(UpkeepError::Table(TableError::Storage { source, .. }))
            if source.kind == StorageErrorKind::NotFound =>
        {
            None
        }
        difference => Some(difference?),
    };
    // Without a common ancestor the ends of both lines are told, and what came before them nobody knows.
    let is_joined = undone.joined || returned.joined;
    Ok(RestorePlan {
        branch: restoration.branch,
        from: seen(from),
        to: seen(to),
        found: restoration.found,
        undone: undone.commits,
        returned: returned.commits,
        more_expired: !is_joined,
        difference,
        schema: restoration.schema,
        missing,
        kept_as: restoration.tag.as_ref().map(|tag| tag.name.clone()),
        kept_until_ms: restoration.tag.map(|tag| tag.until.get()),
    })
}

/// One side of the way from a snapshot to another.
struct Side {
    commits: Vec<CommitSeen>,
    /// Whether it ends at what both have in common.
    joined: bool,
}

/// What is undone and what comes back on the way between two snapshots.
fn between(metadata: &Metadata, from: i64, to: i64) -> [Side; 2] {
    let line = |id| -> Vec<&Snapshot> { past::ancestors(metadata, Some(id)).collect() };
    let (old, new) = (line(from), line(to));
    let ids = |line: &[&Snapshot]| -> std::collections::HashSet<i64> {
        line.iter().map(|snapshot| snapshot.snapshot_id()).collect()
    };
    let side = |line: &[&Snapshot], other: &std::collections::HashSet<i64>| {
        let own = line
            .iter()
            .take_while(|it| !other.contains(&it.snapshot_id()));
        let commits: Vec<CommitSeen> = own.map(|snapshot| seen(snapshot)).collect();
        Side {
            joined: commits.len() < line.len(),
            commits,
        }
    };
    [side(&old, &ids(&new)), side(&new, &ids(&old))]
}

fn seen(snapshot: &Snapshot) -> CommitSeen {
    let summary = &snapshot.summary().additional_properties;
    let number = |key: &str| summary.get(key).and_then(|text| text.parse().ok());
    CommitSeen {
        snapshot_id: SnapshotId(snapshot.snapshot_id()),
        timestamp_ms: snapshot.timestamp_ms(),
        operation: snapshot.summary().operation.as_str().to_owned(),
        by: by_whom(summary),
        added_rows: number("added-records"),
        deleted_rows: number("deleted-records"),
    }
}

/// What a summary says of who made the snapshot: each engine has its own words.
fn by_whom(summary: &std::collections::HashMap<String, String>) -> Option<String> {
    const NAMES: [(&str, &str); 9] = [
        ("icepress.process-id", "icepress, process "),
        ("spark.app.id", "application "),
        ("app-id", "application "),
        ("flink.job-id", "flink, job "),
        ("trino_query_id", "trino, query "),
        ("trino_user", "user "),
        ("snapshot.producer", "amoro, "),
        ("wap.id", "staged as "),
        ("pyiceberg-version", "pyiceberg "),
    ];
    let engine = summary.get("engine-name").map(|name| {
        let version = summary
            .get("engine-version")
            .map(|version| format!(" {version}"));
        format!("{name}{}", version.unwrap_or_default())
    });
    let rest = NAMES.iter().filter_map(|(key, before)| {
        let value = summary.get(*key)?;
        Some(format!("{before}{value}"))
    });
    let mut words: Vec<String> = engine.into_iter().chain(rest).collect();
    words.dedup();
    if words.is_empty() {
        words.extend(summary.get("iceberg-version").cloned());
    }
    (!words.is_empty()).then(|| words.join(", "))
}

/// The tag for what is left behind.
#[derive(Debug, Clone)]
struct KeptAs {
    name: String,
    until: TimestampMs,
    retention: SnapshotRetention,
}
