//! Blocking: an engine or a person keeps Icepress from tables for a time, and is told whether a commit is under way.

use std::time::Duration;

use icepress_coordination::{
    CoordinationError, KeyRange, Listing, ProcessRow, ProcessState, TableRow, TaskState,
    limits::Blocker,
};
use icepress_model::{ProcessId, ProcessKind, Scope, TableId, TimestampMs, WorkerId};

use crate::{Context, Waiting, WaitsFor};

/// What became of a wish to block.
#[derive(Debug, Clone)]
pub struct Blocked {
    /// The blocker: it stands.
    pub blocker: Blocker,
    /// Commits that had begun before. Where there is none, none of ours comes before the blocker's end.
    pub under_way: Vec<CommitUnderWay>,
}

/// A commit that a blocker can't stop any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitUnderWay {
    /// Of which table.
    pub table: TableId,
    /// Of which process.
    pub process: ProcessId,
    /// Who commits.
    pub worker: WorkerId,
    /// When it is over at the latest.
    pub until: TimestampMs,
}

/// Blocks a scope for a time, in the place of what the same owner set for it before. Processes are not started any more;
/// tasks that are in the queue may be worked on, and their process waits with its commit.
pub async fn block(
    context: &Context,
    scope: Scope,
    owner: &str,
    reason: &str,
    time: Duration,
) -> Result<Blocked, CoordinationError> {
    let now = context.ambient.now();
    let blocker = Blocker {
        scope,
        owner: owner.to_owned(),
        reason: reason.to_owned(),
        created_at: now,
        expires_at: now + time,
    };
    // First this and then the look: see `limits::Blocker`.
    context.store.block(&blocker).await?;
    let under_way = commits_under_way(context, &blocker.scope).await?;
    Ok(Blocked { blocker, under_way })
}

/// Commits of tables of a scope that have begun.
pub async fn commits_under_way(
    context: &Context,
    scope: &Scope,
) -> Result<Vec<CommitUnderWay>, CoordinationError> {
    let guard = context.settings.lease_guard;
    let mut under_way = Vec::new();
    let mut rows = RowsIn::new(context, scope);
    while let Some(row) = rows.next().await? {
        let Some(process) = &row.active_process else {
            continue;
        };
        let Some(process) = context.store.process(process).await? else {
            continue;
        };
        for (worker, deadline) in committers(context, &process).await? {
            let until = deadline + guard;
            if until >= context.ambient.now() {
                under_way.push(CommitUnderWay {
                    table: row.table.clone(),
                    process: process.process.clone(),
                    worker,
                    until,
                });
            }
        }
    }
    Ok(under_way)
}

/// Who may be committing for a process, and until when its claim lasts: whoever claimed its commit; of upkeep, which commits
/// within its tasks, whoever claimed one of these.
async fn committers(
    context: &Context,
    process: &ProcessRow,
) -> Result<Vec<(WorkerId, TimestampMs)>, CoordinationError> {
    if process.kind == ProcessKind::Rewrite {
        return Ok(match &process.state {
            ProcessState::Committing { worker, deadline } => vec![(worker.clone(), *deadline)],
            ProcessState::Running | ProcessState::Ended(_) => Vec::new(),
        });
    }
    let tasks = context.store.tasks(&process.process).await?;
    let claims = tasks.into_iter().filter_map(|task| match task.state {
        TaskState::Running { worker, deadline } => Some((worker, deadline)),
        TaskState::Queued | TaskState::Done(_) | TaskState::Failed(_) => None,
    });
    Ok(claims.collect())
}

/// Takes a blocker away; whether there was one. What waited for its end falls due.
pub async fn unblock(
    context: &Context,
    scope: &Scope,
    owner: &str,
) -> Result<bool, CoordinationError> {
    let was_there = context.store.unblock(scope, owner).await?;
    if was_there {
        let now = context.ambient.now();
        let layout = context.layout().await?;
        let mut rows = RowsIn::new(context, scope);
        while let Some(row) = rows.next().await? {
            let waits = Waiting::of(&row);
            if waits.is_some_and(|waits| waits.waits_for == WaitsFor::Blocker) {
                let home = layout.home_of(&row.table);
                context.store.force_due(home, &row.table, now).await?;
            }
        }
    }
    Ok(was_there)
}

/// The blockers of all catalogs at hand that are in force, those that end first first.
pub async fn blockers(context: &Context) -> Result<Vec<Blocker>, CoordinationError> {
    let (now, guard) = (context.ambient.now(), context.settings.lease_guard);
    let mut all = Vec::new();
    for open in context.catalogs.iter() {
        let of_catalog = context.store.blockers(open.catalog.name()).await?;
        all.extend(
            of_catalog
                .into_iter()
                .filter(|blocker| blocker.is_in_force(now, guard)),
        );
    }
    all.sort_by_key(|blocker| blocker.expires_at);
    Ok(all)
}

/// The rows of a scope's tables, one after another. One that can't be read is an error: nothing can be said of its table.
struct RowsIn(Listing);

impl RowsIn {
    fn new(context: &Context, scope: &Scope) -> Self {
        let range = KeyRange::new(Some(scope), None);
        Self(Listing::new(&context.store, &range, None))
    }

    async fn next(&mut self) -> Result<Option<TableRow>, CoordinationError> {
        self.0.next().await?.map(|listed| listed.row).transpose()
    }
}
