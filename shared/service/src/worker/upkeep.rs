//! A task of upkeep, done by whoever may, with its commit and its deletions; and the end of its process.
//!
//! The crate `upkeep` knows how; here stand the claim on the task, the deadline, blockers and pins around it. Every commit is
//! made under the claim, which is prolonged just before; and whatever is begun twice, or dies in between, goes on from what
//! `upkeep` has written down.

mod kinds;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use icepress_catalog::CatalogError;
use icepress_coordination::{CommitClaim, CoordinationError, TaskRow, TaskState};
use icepress_model::{
    Lessons, MetadataLocation, ProcessKind, ProcessOutcome, RewriteFailure, RewriteFailureKind,
    TableId,
};
use icepress_storage::StorageErrorKind;
use icepress_table::{CommitContext, Gatekeeper, TableError};
use icepress_upkeep::{Limits, UpkeepError};
use serde::{Deserialize, Serialize};

use self::kinds::Work;
use super::{
    finish::{self, Ending, Next},
    patience::{Patience, PatientStorage},
    payload,
    settle::{Claimed, Worked, has_all_time, keep_claim},
};
use crate::{
    Context, Deadline,
    scheduler::{
        limits,
        upkeep::{UpkeepHeader, UpkeepTask},
    },
};

/// What came of a task: its result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Done {
    /// The state that it made; `None` where the table stayed as it was.
    location: Option<MetadataLocation>,
    /// One line for people.
    did: String,
    /// Whether it ended at a limit.
    unfinished: bool,
}

/// Does a task while its claim is prolonged.
pub(super) async fn work(
    claimed: &Claimed<'_>,
    work_until: Deadline,
) -> Result<Worked, CoordinationError> {
    let Claimed {
        context,
        row,
        patience,
        ..
    } = claimed;
    let fetched = patience.ask(|| payload::fetch(context, &row.payload)).await;
    let task: UpkeepTask = match fetched {
        Ok(task) => task,
        Err(error) => {
            let failure = claimed.transient(&error, "what it is to do can't be read");
            return claimed.fail(failure).await;
        }
    };
    let has_all = has_all_time(context, work_until);
    let doing = do_task(context, &task, row, patience, work_until);
    tokio::pin!(doing);
    let too_late = work_until.passed(&context.ambient);
    tokio::pin!(too_late);
    let fenced = keep_claim(context, &row.task, row.attempt);
    tokio::pin!(fenced);
    let done = tokio::select! {
        biased;
        done = &mut doing => done,
        error = &mut fenced => return Err(error),
        // As a death would: what was written down is gone on from.
        () = &mut too_late => {
            let is_last = row.tries() >= context.settings.task_attempts;
            Err(RewriteFailure {
                kind: match has_all || is_last {
                    true => RewriteFailureKind::OverTime,
                    false => RewriteFailureKind::Transient,
                },
                message: format!(
                    "table {}: {} was not done when the time was up; the next run goes on: give the function more time, or \
                     run `icepress maintain` where no time limit holds",
                    task.maintain, row.kind
                ),
            })
        }
    };
    match done {
        Ok(done) => {
            let name = format!("results/{}-{}-{}", row.task.process, row.kind, row.attempt);
            match claimed.keep(&name, &done).await? {
                Ok(kept) => Ok(Worked::Reported(claimed.report(Ok(kept)).await?)),
                Err(failure) => claimed.fail(failure).await,
            }
        }
        Err(failure) => claimed.fail(failure).await,
    }
}

async fn do_task(
    context: &Context,
    task: &UpkeepTask,
    row: &TaskRow,
    patience: &Arc<Patience>,
    work_until: Deadline,
) -> Result<Done, RewriteFailure> {
    let table = &task.maintain;
    let open = context.catalog_of(table).map_err(of_catalog)?;
    let storage = patience
        .ask(|| open.storage_of(table))
        .await
        .map_err(of_catalog)?;
    let commit = CommitContext {
        catalog: Arc::clone(&open.catalog),
        storage: PatientStorage::around(storage, patience),
        ambient: context.ambient.clone(),
        policy: context.settings.commit,
    };
    let work = Work {
        context,
        commit,
        task,
        row,
        work_until,
    };
    let done = match row.kind {
        ProcessKind::Expire => work.expire().await,
        ProcessKind::Tags => work.tag().await,
        ProcessKind::AgeOut => work.age_out().await,
        ProcessKind::Manifests => work.rewrite_manifests().await,
        ProcessKind::Statistics => work.count_partitions().await,
        ProcessKind::Orphans => work.remove_orphans().await,
        kind @ ProcessKind::Rewrite => Err(UpkeepError::Refused {
            table: table.clone(),
            message: format!("a {kind} is no upkeep: its task can't be understood"),
        }),
    };
    match done {
        Ok(done) => Ok(done),
        // Nobody's failure: it goes on at the blocker's end.
        Err(error @ UpkeepError::HeldBack { .. }) => Ok(Done {
            location: None,
            did: error.to_string(),
            unfinished: true,
        }),
        Err(error) => Err(failure_of(&error)),
    }
}

/// What one run may do at most: what is left over is written down, and the next process goes on.
fn limits_of_a_run(context: &Context, work_until: Deadline) -> Limits {
    const FILES: u64 = 1_000_000;
    /// With this much of its time left a run begins nothing new: what is under way has to end.
    const SHARE: f64 = 0.8;
    let left = work_until.left(&context.ambient);
    let longest = context.settings.longest_upkeep;
    Limits {
        files: Some(FILES),
        bytes: None,
        time: Some(left.map_or(longest, |left| left.mul_f64(SHARE).min(longest))),
    }
}

fn of_catalog(error: CatalogError) -> RewriteFailure {
    RewriteFailure {
        kind: match error.is_throttling() {
            true => RewriteFailureKind::Throttled,
            false => RewriteFailureKind::Transient,
        },
        message: error.to_string(),
    }
}

/// What to do about upkeep that was not done.
fn failure_of(error: &UpkeepError) -> RewriteFailure {
    let of_storage = |kind: StorageErrorKind| match kind {
        StorageErrorKind::PermissionDenied => RewriteFailureKind::PermissionDenied,
        StorageErrorKind::Throttled => RewriteFailureKind::Throttled,
        _ => RewriteFailureKind::Transient,
    };
    let kind = match error {
        UpkeepError::Unread(failure) => return failure.clone(),
        UpkeepError::Refused { .. } => RewriteFailureKind::Unsupported,
        UpkeepError::Ledger { source, .. }
        | UpkeepError::NotDeleted { source, .. }
        | UpkeepError::Table(TableError::Storage { source, .. }) => of_storage(source.kind),
        UpkeepError::Table(TableError::Unsupported { .. }) => RewriteFailureKind::Unsupported,
        UpkeepError::Catalog(CatalogError::NoSuchTable(_)) => RewriteFailureKind::FileVanished,
        UpkeepError::Catalog(error) if error.is_throttling() => RewriteFailureKind::Throttled,
        _ => RewriteFailureKind::Transient,
    };
    RewriteFailure {
        kind,
        message: error.to_string(),
    }
}

/// Ends a process of upkeep: what its task did stands, and the table is looked at again at once, for whatever it wants next.
pub(super) async fn end(
    context: &Context,
    claim: &CommitClaim,
) -> Result<Option<icepress_model::TimestampMs>, CoordinationError> {
    let header: Option<UpkeepHeader> = serde_json::from_str(&claim.process.header).ok();
    let failures = match &header {
        Some(header) => header.failures,
        None => {
            let row = context.store.table(&claim.process.table).await?;
            row.map_or(0, |row| row.failures)
        }
    };
    let failed = |reason: String, lessons: Lessons| Ending {
        outcome: ProcessOutcome::Failed {
            failures: vec![reason],
            lessons,
        },
        committed: None,
        next: Next::Now,
        failures,
        removed_delete_files: 0,
    };
    let tasks = context.store.tasks(&claim.process.process).await?;
    let ending = match tasks.into_iter().next().map(|task| task.state) {
        Some(TaskState::Done(result)) => match payload::fetch::<Done>(context, &result).await {
            Ok(Done {
                location,
                did,
                unfinished,
            }) => Ending {
                committed: location.clone(),
                outcome: ProcessOutcome::Maintained {
                    location,
                    did,
                    unfinished,
                },
                next: Next::Now,
                failures,
                removed_delete_files: 0,
            },
            Err(error) => failed(
                format!("what it did can't be read: {error}"),
                Lessons::default(),
            ),
        },
        Some(TaskState::Failed(failure)) => {
            let mut lessons = Lessons::default();
            lessons.count(failure.kind.into(), 1);
            failed(failure.message, lessons)
        }
        // Its claim can't have been had; the next look decides.
        Some(TaskState::Queued | TaskState::Running { .. }) => return Ok(None),
        None => failed("its task's row is gone".to_owned(), Lessons::default()),
    };
    finish::end(context, claim, ending).await
}

/// Lets a task commit only while its claim holds and nobody blocks its table.
#[derive(Debug)]
struct TaskDoor<'a> {
    context: &'a Context,
    table: &'a TableId,
    row: &'a TaskRow,
    /// When the claim ends, on the monotonic clock.
    claimed_until: Mutex<Duration>,
}

impl<'a> TaskDoor<'a> {
    fn new(context: &'a Context, table: &'a TableId, row: &'a TaskRow) -> Self {
        Self {
            context,
            table,
            row,
            claimed_until: Mutex::default(),
        }
    }

    async fn obstacle(&self) -> Result<Option<String>, CoordinationError> {
        let (ambient, ttl) = (&self.context.ambient, self.context.settings.claim_ttl);
        let (until, end) = (ambient.now() + ttl, ambient.clock.monotonic() + ttl);
        let (task, attempt) = (&self.row.task, self.row.attempt);
        self.context
            .store
            .extend_claim(task, attempt, until)
            .await?;
        *self
            .claimed_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = end;
        let blocked = limits::blocked(self.context, self.table).await?;
        Ok(blocked.map(|obstacle| obstacle.reason))
    }
}

#[async_trait]
impl Gatekeeper for TaskDoor<'_> {
    /// The claim is written first and the blockers are read then; a blocker is written first and claims are read then. So
    /// one sees the other.
    async fn objection(&self) -> Option<String> {
        match self.obstacle().await {
            Ok(obstacle) => obstacle,
            Err(error) => Some(error.to_string()),
        }
    }

    /// As long as the claim lasts: whoever blocks is told of it until then, and not longer.
    fn sent_until(&self) -> Option<Duration> {
        let end = self.claimed_until.lock();
        Some(*end.unwrap_or_else(PoisonError::into_inner))
    }
}
