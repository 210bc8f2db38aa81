//! The end of a process: its finished groups are committed, and its table is freed.

use std::{collections::HashMap, sync::Arc};

use icepress_catalog::CatalogError;
use icepress_coordination::{CommitClaim, CoordinationError, GivenBack, TaskRow, TaskState};
use icepress_model::{
    Bytes, FailureCause, Group, GroupResult, GroupTask, Lessons, MetadataLocation, Pace, ProcessId,
    ProcessKind, ProcessOutcome, TableId, Tier, TimestampMs,
};
use icepress_planner::path_hash;
use icepress_storage::StorageErrorKind;
use icepress_table::{
    CommitContext, CommitFailure, CommitOutcome, DropCause, DroppedGroup, FinishedGroup,
    TableError, commit_groups_unless,
};

use crate::{
    Context, Deadline, Event,
    scheduler::{
        elsewhere::EvaluationHeader,
        header::ProcessHeader,
        limits::{self, CommitDoor},
    },
    worker::{forsaken, leftovers, payload, upkeep},
};

/// Commits a process whose tasks are all done or failed, unless somebody else is at it or it has ended.
///
/// Called by the optimizer that reports the last task, and by every sweep that finds a process at zero: whoever gets
/// the claim does it, and [`commit_groups_unless`] finds a commit that an earlier claim made. Returns when the next try is
/// to be, where this one lost its races and gave its claim back.
pub(crate) async fn commit_process(
    context: &Context,
    table: &TableId,
    process: &ProcessId,
    deadline: Deadline,
) -> Result<Option<TimestampMs>, CoordinationError> {
    if !deadline.allows(&context.ambient, context.settings.deadline_margin / 2) {
        return Ok(None);
    }
    // A claim is not wasted on a table that is blocked: the sweep commits at the blocker's end. Whoever blocks from now on
    // is seen by the commit's last look.
    if limits::blocked(context, table).await?.is_some() {
        return Ok(None);
    }
    let now = context.ambient.now();
    let until = now + context.settings.commit_ttl;
    let claim = context
        .store
        .claim_commit(process, &context.settings.worker, now, until)
        .await?;
    let Some(claim) = claim else {
        return Ok(None);
    };
    if is_hopeless(context, &claim) {
        return give_up(context, &claim).await;
    }
    let committing = commit_claimed(context, &claim);
    tokio::pin!(committing);
    let cut = deadline.earlier_by(context.settings.deadline_margin / 4);
    let too_late = cut.passed(&context.ambient);
    tokio::pin!(too_late);
    tokio::select! {
        biased;
        committed = &mut committing => match committed {
            Err(error @ CoordinationError::Throttled { .. }) => {
                wait(context, &claim, &error.to_string()).await
            }
            committed => committed,
        },
        // As a death would: the claim ends by itself, and the next one finds what was done.
        () = &mut too_late => {
            context.tell(not_now(&claim, "the time was up in the midst of it"));
            Ok(None)
        }
    }
}

/// Whether the commit was begun far more often than one that fails is tried, and nobody came back from it to say that it
/// failed.
fn is_hopeless(context: &Context, claim: &CommitClaim) -> bool {
    claim.process.tries() > context.settings.commit_claims.saturating_mul(2)
        && is_last_try(context, claim)
}

/// Ends a process whose committers died, one after another.
async fn give_up(
    context: &Context,
    claim: &CommitClaim,
) -> Result<Option<TimestampMs>, CoordinationError> {
    let row = context.store.table(&claim.process.table).await?;
    let failures = row.map_or(0, |row| row.failures).saturating_add(1);
    let wait = context.settings.backoff(failures);
    let next = context.ambient.now() + wait + context.ambient.jitter(wait / 4);
    let failed = |unknown| ProcessOutcome::Failed {
        failures: vec![format!(
            "its commit was begun {} times and never ended: whoever was at it seems to run out of memory or time; lower \
             icepress.max-group-bytes for the table, or give the function more{unknown}",
            claim.process.tries() - 1
        )],
        lessons: Lessons::default(),
    };
    forsaken::end_forsaken(context, claim, failed, Some(next), failures).await?;
    Ok(None)
}

async fn commit_claimed(
    context: &Context,
    claim: &CommitClaim,
) -> Result<Option<TimestampMs>, CoordinationError> {
    if claim.process.kind != ProcessKind::Rewrite {
        return upkeep::end(context, claim).await;
    }
    if let Some(header) = EvaluationHeader::of(&claim.process) {
        return end_evaluation(context, claim, header).await;
    }
    let header: ProcessHeader = match serde_json::from_str(&claim.process.header) {
        Ok(header) => header,
        Err(error) => {
            let reason = format!("the process's row can't be understood: {error}");
            let ending = Ending::failed(vec![reason], 0, Lessons::default());
            return end_unapplied(context, claim, ending, leftovers::is_first(claim)).await;
        }
    };
    let tasks = context.store.tasks(&claim.process.process).await?;
    let gathered = gather(context, tasks.clone()).await;
    if !claim.process.quotas.is_empty() {
        let taken = limits::taken(context, header.reserved, &tasks, &gathered.finished);
        let process = &claim.process.process;
        context.store.correct_usage(process, taken).await?;
    }
    match gathered.unreadable {
        Some(Unreadable {
            message,
            is_throttling: true,
        }) => return wait(context, claim, &message).await,
        Some(unreadable) => return postpone(context, claim, &header, &unreadable.message).await,
        None => {}
    }
    let next_is_smaller = gathered.next_is_smaller();
    if gathered.finished.is_empty() {
        let ending = Ending::failed(gathered.failures, header.failures, gathered.lessons);
        let ending = match next_is_smaller {
            true => ending.tried_again_soon(header.failures),
            false => ending,
        };
        return end(context, claim, ending).await;
    }

    let open = match context.catalog_of(&claim.process.table) {
        Ok(open) => open.clone(),
        Err(error) => return postpone(context, claim, &header, &error.to_string()).await,
    };
    // A table that is gone is for the commit to find.
    let storage = match leftovers::storage_of(context, &claim.process.table).await {
        Ok(storage) => storage,
        Err(error) if error.is_throttling() => {
            return wait(context, claim, &error.to_string()).await;
        }
        Err(error) => return postpone(context, claim, &header, &error.to_string()).await,
    };
    let sizes = sizes(&gathered.finished);
    let told = Told {
        sizes: &sizes,
        lessons: gathered.lessons,
        failures: gathered.failures,
        next_is_smaller,
    };
    let commit = CommitContext {
        catalog: open.catalog,
        storage: Arc::clone(&storage),
        ambient: context.ambient.clone(),
        policy: context.settings.commit,
    };
    let door = CommitDoor::new(context, claim);
    let inside = context.commits.enter().await;
    let committed = commit_groups_unless(
        &door,
        &commit,
        &claim.process.table,
        &claim.process.process,
        &header.base,
        gathered.finished,
    )
    .await;
    drop(inside);
    match committed {
        Ok(outcome) => {
            leftovers::delete(context, &*storage, &outcome.unused_files).await;
            let lost = Lost::among(&outcome.dropped, &sizes);
            let ending = Ending::committed(outcome, told, &header, lost);
            end(context, claim, ending).await
        }
        // Not a try that failed: it is done as often as it takes.
        Err(failure @ CommitFailure::HeldBack { .. }) => match door.into_failure() {
            Some(error) => Err(error),
            None => {
                let message = failure.to_string();
                context.tell(Event::Notice { message });
                Ok(None)
            }
        },
        Err(failure) => {
            if let CommitFailure::NothingLeft { unused_files, .. } = &failure {
                leftovers::delete(context, &*storage, unused_files).await;
            }
            settle_failure(context, claim, &header, told, failure).await
        }
    }
}

/// Ends a process that looked at its table: there is nothing to commit, and the table falls due at once, for whoever makes
/// something of what was found out.
async fn end_evaluation(
    context: &Context,
    claim: &CommitClaim,
    header: EvaluationHeader,
) -> Result<Option<TimestampMs>, CoordinationError> {
    let tasks = context.store.tasks(&claim.process.process).await?;
    let ending = match tasks.into_iter().next().map(|task| task.state) {
        Some(TaskState::Done(_)) => Ending {
            outcome: ProcessOutcome::Evaluated,
            committed: None,
            next: Next::Now,
            failures: header.failures,
            removed_delete_files: 0,
        },
        Some(TaskState::Failed(failure)) => {
            let mut lessons = Lessons::default();
            lessons.count(failure.kind.into(), 1);
            Ending::failed(vec![failure.message], header.failures, lessons)
        }
        // Its claim can't have been had; the next look decides.
        Some(TaskState::Queued | TaskState::Running { .. }) => return Ok(None),
        None => {
            let reason = "its task's row is gone".to_owned();
            Ending::failed(vec![reason], header.failures, Lessons::default())
        }
    };
    end(context, claim, ending).await
}

/// What the tasks came to.
struct Gathered {
    finished: Vec<FinishedGroup>,
    failures: Vec<String>,
    /// What its tasks taught about the sizes of groups.
    lessons: Lessons,
    /// Whether a task failed for another reason than that it was too much.
    failed_otherwise: bool,
    /// A plan or result that could not be read now: nothing may be committed or given up yet.
    unreadable: Option<Unreadable>,
}

/// What could not be read, and whether that is nobody's fault.
struct Unreadable {
    message: String,
    is_throttling: bool,
}

async fn gather(context: &Context, tasks: Vec<TaskRow>) -> Gathered {
    let mut gathered = Gathered {
        finished: Vec::new(),
        failures: Vec::new(),
        lessons: Lessons::default(),
        failed_otherwise: false,
        unreadable: None,
    };
    let mut sized = 0;
    for task in tasks {
        let result = match &task.state {
            TaskState::Done(result) => result,
            TaskState::Failed(failure) => {
                gathered.failures.push(failure.message.clone());
                gathered.lessons.count(failure.kind.into(), 1);
                if !failure.kind.is_too_much() {
                    gathered.failed_otherwise = true;
                } else if sized < SIZED_FAILURES {
                    sized += 1;
                    let task: Result<GroupTask, _> = payload::fetch(context, &task.payload).await;
                    if let Ok(task) = task {
                        note_too_much(&mut gathered.lessons, &task.group);
                    }
                }
                continue;
            }
            TaskState::Queued | TaskState::Running { .. } => {
                gathered.unreadable = Some(Unreadable {
                    message: format!("task {} is still open", task.task),
                    is_throttling: false,
                });
                continue;
            }
        };
        let group: Result<GroupTask, _> = payload::fetch(context, &task.payload).await;
        let result: Result<GroupResult, _> = payload::fetch(context, result).await;
        match (group, result) {
            (Ok(group), Ok(result)) => gathered.finished.push(FinishedGroup {
                index: task.task.index,
                group: group.group,
                result,
            }),
            (Err(error), _) | (_, Err(error)) => {
                gathered.unreadable = Some(Unreadable {
                    is_throttling: error.is_throttling(),
                    message: format!("task {}: {error}", task.task),
                });
            }
        }
    }
    gathered.lessons.pace = pace_of(&gathered.finished);
    gathered
}

/// Of so many groups that were too much their sizes are looked up: the smallest of them tells what there is to know.
const SIZED_FAILURES: usize = 100;
/// Smaller groups don't tell how fast a worker is: opening files is most of what they do.
const TELLING: Bytes = Bytes::mebibytes(32);

/// How fast full groups were rewritten.
fn pace_of(finished: &[FinishedGroup]) -> Option<Pace> {
    let of_group = |group: &FinishedGroup| Pace {
        bytes: group.group.input_bytes(),
        took_ms: group.result.seen.took_ms,
    };
    finished
        .iter()
        .filter(|group| group.group.tier == Tier::Full && group.result.seen.took_ms > 0)
        .map(of_group)
        .filter(|pace| pace.bytes >= TELLING)
        .reduce(|all, pace| Pace {
            bytes: all.bytes + pace.bytes,
            took_ms: all.took_ms + pace.took_ms,
        })
}

/// How many files that are too much each alone a process tells of.
const TOLD_HOPELESS: usize = 50;

/// What a group that was too much for its worker teaches.
fn note_too_much(lessons: &mut Lessons, group: &Group) {
    match group.inputs.as_slice() {
        [] => {}
        [alone] => {
            if lessons.hopeless.len() < TOLD_HOPELESS {
                lessons.hopeless.push(path_hash(&alone.path));
            }
        }
        _ => {
            let size = group.size();
            let smallest = lessons.too_much.get_or_insert(size);
            smallest.files = smallest.files.min(size.files);
            smallest.bytes = smallest.bytes.min(size.bytes);
        }
    }
}

impl Gathered {
    /// Whether another plan will fare better: every task that failed was too much, and what that was is known, so that the
    /// next is smaller or goes without.
    fn next_is_smaller(&self) -> bool {
        let is_known = self.lessons.too_much.is_some() || !self.lessons.hopeless.is_empty();
        !self.failed_otherwise && is_known
    }
}

/// What the tasks came to, for whoever ends the process.
struct Told<'a> {
    /// How many data files each group has.
    sizes: &'a HashMap<u32, u64>,
    lessons: Lessons,
    failures: Vec<String>,
    /// See [`Gathered::next_is_smaller`].
    next_is_smaller: bool,
}

async fn settle_failure(
    context: &Context,
    claim: &CommitClaim,
    header: &ProcessHeader,
    told: Told<'_>,
    failure: CommitFailure,
) -> Result<Option<TimestampMs>, CoordinationError> {
    let message = failure.to_string();
    let Told {
        sizes,
        lessons,
        mut failures,
        ..
    } = told;
    match failure {
        CommitFailure::TableGone(_) => {
            let ending = Ending {
                outcome: ProcessOutcome::Abandoned { reason: message },
                committed: None,
                next: Next::WhenChanged,
                failures: 0,
                removed_delete_files: 0,
            };
            end_unapplied(context, claim, ending, leftovers::is_first(claim)).await
        }
        // Nothing was swapped, and the rewritten files are as good at the next try.
        CommitFailure::Catalog(ref error) if error.is_throttling() => {
            wait(context, claim, &message).await
        }
        CommitFailure::Table(ref error) if error.is_throttling() => {
            wait(context, claim, &message).await
        }
        // A lost race costs the commit, not the rewrite: its files are as good at the next try. Every swap that was tried
        // was compared with a state that the table has left, so that none of them can act any more.
        CommitFailure::RaceLost { .. } if !is_last_try(context, claim) => {
            give_back(context, claim, GivenBack::Tried, &message).await
        }
        CommitFailure::RaceLost { is_overtaken, .. } => {
            context.tell(not_now(claim, &message));
            failures.push(message);
            let ending = Ending::failed(failures, header.failures, lessons);
            let is_certain = is_overtaken || leftovers::is_first(claim);
            end_unapplied(context, claim, ending, is_certain).await
        }
        CommitFailure::OutcomeUnknown { .. }
        | CommitFailure::HeldBack { .. }
        | CommitFailure::Catalog(
            CatalogError::Unavailable { .. } | CatalogError::MetadataUnreadable { .. },
        ) => postpone(context, claim, header, &message).await,
        // Nothing was swapped, and the rewritten files are worth another try.
        CommitFailure::Table(TableError::Storage { ref source, .. })
            if source.kind == StorageErrorKind::Other =>
        {
            postpone(context, claim, header, &message).await
        }
        CommitFailure::NothingLeft { dropped, .. } => {
            let only_lost = failures.is_empty();
            let lost = Lost::among(&dropped, sizes);
            failures.extend(dropped.into_iter().map(|group| group.reason));
            let lessons = lost.and(lessons);
            let ending = if only_lost && lost.refused == 0 {
                let shrinks = lost.can_shrink(context);
                Ending::lost(failures, header.failures, lessons, shrinks)
            } else {
                Ending::failed(failures, header.failures, lessons)
            };
            end(context, claim, ending).await
        }
        CommitFailure::Catalog(_) | CommitFailure::Table(_) => {
            failures.push(message);
            let ending = Ending::failed(failures, header.failures, lessons);
            end_unapplied(context, claim, ending, leftovers::is_first(claim)).await
        }
    }
}

/// Gives the claim on a commit back whose races were all lost, and has the next try made soon: whoever comes next need
/// not wait until the claim is over (case C05).
async fn give_back(
    context: &Context,
    claim: &CommitClaim,
    why: GivenBack,
    message: &str,
) -> Result<Option<TimestampMs>, CoordinationError> {
    context.tell(not_now(claim, message));
    let settings = &context.settings;
    let wait = settings.backoff_after_loss(claim.claim);
    let wait = wait.min(settings.check_interval / 2);
    let next_try = context.ambient.now() + wait + context.ambient.jitter(wait);
    context.store.give_back_commit(claim, why, next_try).await?;
    Ok(Some(next_try))
}

/// The same where somebody asked for fewer requests: that is no try, however often it happens (case C56). No swap of this
/// claim's can act any more: what was refused was not done.
async fn wait(
    context: &Context,
    claim: &CommitClaim,
    message: &str,
) -> Result<Option<TimestampMs>, CoordinationError> {
    give_back(context, claim, GivenBack::Waits, message).await
}

/// Leaves the process as it is: the claim ends by itself, the next check tries again. After too many claims, in too long
/// a time, the process fails; its files stay, since it is not known that no snapshot refers to them.
async fn postpone(
    context: &Context,
    claim: &CommitClaim,
    header: &ProcessHeader,
    message: &str,
) -> Result<Option<TimestampMs>, CoordinationError> {
    context.tell(not_now(claim, message));
    if !is_last_try(context, claim) {
        return Ok(None);
    }
    let failures = vec![message.to_owned()];
    let ending = Ending::failed(failures, header.failures, Lessons::default());
    end(context, claim, ending).await
}

fn is_last_try(context: &Context, claim: &CommitClaim) -> bool {
    let age = context.ambient.now().since(claim.process.created_at);
    claim.process.tries() >= context.settings.commit_claims
        && age >= context.settings.commit_patience
}

fn not_now(claim: &CommitClaim, message: &str) -> Event {
    let (table, process) = (&claim.process.table, &claim.process.process);
    Event::Notice {
        message: format!(
            "table {table}: process {process} could not be committed now (try {}): {message}",
            claim.claim
        ),
    }
}

/// How many data files each group has.
fn sizes(groups: &[FinishedGroup]) -> HashMap<u32, u64> {
    groups
        .iter()
        .map(|group| (group.index, group.group.inputs.len() as u64))
        .collect()
}

/// What a commit left out, and why.
#[derive(Debug, Clone, Copy, Default)]
struct Lost {
    /// Data files in the largest group that lost against another writer.
    files: u64,
    /// How many groups lost, or were left out by an earlier commit.
    conflicts: u64,
    /// How many the last gate refused.
    refused: u64,
}

impl Lost {
    fn among(dropped: &[DroppedGroup], sizes: &HashMap<u32, u64>) -> Self {
        let conflicts = dropped
            .iter()
            .filter(|group| group.cause == DropCause::Conflict);
        let is_refused = |group: &&DroppedGroup| group.cause == DropCause::Gate;
        let refused = dropped.iter().filter(is_refused).count() as u64;
        let sizes = conflicts.map(|group| sizes.get(&group.index).copied().unwrap_or(1));
        Self {
            files: sizes.max().unwrap_or(0),
            conflicts: dropped.len() as u64 - refused,
            refused,
        }
    }

    /// What it teaches, beside `lessons`.
    fn and(self, mut lessons: Lessons) -> Lessons {
        lessons.lost_files = self.files;
        lessons.count(FailureCause::Conflict, self.conflicts);
        lessons.count(FailureCause::Gate, self.refused);
        lessons
    }

    /// Whether smaller groups can be made, which may win where these lost.
    fn can_shrink(self, context: &Context) -> bool {
        self.files > context.settings.plan.min_input_files
    }
}

/// When the table is looked at again.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next {
    /// When its state changes.
    WhenChanged,
    /// At once.
    Now,
    /// Then, or when its state changes.
    At(TimestampMs),
    /// After a wait that is short at first, and grows with the failures.
    AfterLoss,
    /// After a wait that grows with the failures.
    AfterBackoff,
}

pub(super) struct Ending {
    pub(super) outcome: ProcessOutcome,
    pub(super) committed: Option<MetadataLocation>,
    pub(super) next: Next,
    pub(super) failures: u32,
    pub(super) removed_delete_files: u64,
}

impl Ending {
    /// No group is in because each lost against another writer: they are tried again soon. Where the next are smaller this
    /// counts as no failure; where they are not, it does, so that work on a group that always loses gets rare.
    fn lost(failures: Vec<String>, failures_before: u32, lessons: Lessons, shrinks: bool) -> Self {
        let failed = Self::failed(failures, failures_before, lessons);
        let failures = match shrinks {
            true => failures_before,
            false => failed.failures,
        };
        failed.tried_again_soon(failures)
    }

    /// The next plan may well succeed where this one did not.
    fn tried_again_soon(self, failures: u32) -> Self {
        Self {
            next: Next::AfterLoss,
            failures,
            ..self
        }
    }

    fn failed(failures: Vec<String>, failures_before: u32, lessons: Lessons) -> Self {
        Self {
            outcome: ProcessOutcome::Failed { failures, lessons },
            committed: None,
            next: Next::AfterBackoff,
            failures: failures_before.saturating_add(1),
            removed_delete_files: 0,
        }
    }

    fn committed(
        outcome: CommitOutcome,
        told: Told<'_>,
        header: &ProcessHeader,
        lost: Lost,
    ) -> Self {
        let mut task_failures = told.failures;
        // A group whose files are unreadable, or were written wrong, would fail again at once; one that lost against a writer, or more work
        // that the plan left out, is worth another plan now.
        let unreadable = !(task_failures.is_empty() || told.next_is_smaller) || lost.refused > 0;
        let worth_another = header.follow_up
            || outcome.rebased
            || !outcome.dropped.is_empty()
            || told.next_is_smaller;
        task_failures.extend(outcome.dropped.into_iter().map(|group| group.reason));
        let next = match (unreadable, worth_another) {
            (true, _) => Next::AfterBackoff,
            (false, true) => Next::Now,
            (false, false) => header.tidied_at.map_or(Next::WhenChanged, Next::At),
        };
        let failures = if unreadable {
            header.failures.saturating_add(1)
        } else {
            0
        };
        let committed = outcome.location.clone();
        let ended = if task_failures.is_empty() {
            ProcessOutcome::Committed {
                location: outcome.location,
                snapshot_id: outcome.snapshot_id,
                lessons: lost.and(told.lessons),
            }
        } else {
            ProcessOutcome::PartlyCommitted {
                location: outcome.location,
                snapshot_id: outcome.snapshot_id,
                failures: task_failures,
                lessons: lost.and(told.lessons),
            }
        };
        Self {
            outcome: ended,
            committed: Some(committed),
            next,
            failures,
            removed_delete_files: outcome.removed_delete_files,
        }
    }

    fn next_due_at(&self, context: &Context) -> Option<TimestampMs> {
        let now = context.ambient.now();
        match self.next {
            Next::WhenChanged => None,
            Next::At(at) => Some(at.max(now)),
            Next::Now => Some(now),
            Next::AfterLoss => {
                let wait = context.settings.backoff_after_loss(self.failures);
                Some(now + wait + context.ambient.jitter(wait))
            }
            Next::AfterBackoff => {
                let wait = context.settings.backoff(self.failures);
                Some(now + wait + context.ambient.jitter(wait / 4))
            }
        }
    }
}

/// Ends a process of whose commit nothing took effect, and then deletes what its tasks wrote, if it is certain that nothing
/// of it can come into the table any more.
async fn end_unapplied(
    context: &Context,
    claim: &CommitClaim,
    ending: Ending,
    is_certain: bool,
) -> Result<Option<TimestampMs>, CoordinationError> {
    let next = end(context, claim, ending).await?;
    if is_certain {
        let process = &claim.process;
        leftovers::delete_reported(context, &process.table, &process.process).await;
    }
    Ok(next)
}

/// Writes the end down, and tells of it.
pub(super) async fn end(
    context: &Context,
    claim: &CommitClaim,
    ending: Ending,
) -> Result<Option<TimestampMs>, CoordinationError> {
    context
        .store
        .end_process(
            claim,
            &ending.outcome,
            ending.committed.as_ref(),
            ending.next_due_at(context),
            ending.failures,
        )
        .await?;
    context.tell(Event::ProcessEnded {
        table: claim.process.table.clone(),
        process: claim.process.process.clone(),
        outcome: ending.outcome,
        removed_delete_files: ending.removed_delete_files,
    });
    Ok(None)
}
