//! The end of a process: its finished groups are committed, and its table is freed.

mod ending;
pub(crate) mod forsaken;
mod gather;
mod later;

use std::sync::Arc;

use icepress_catalog::CatalogError;
use icepress_coordination::{CommitClaim, CoordinationError, GivenBack, TaskState};
use icepress_model::{Lessons, ProcessId, ProcessKind, ProcessOutcome, TableId, TimestampMs};
use icepress_storage::StorageErrorKind;
use icepress_table::{CommitContext, CommitFailure, TableError, commit_groups_unless};

use crate::{
    About, Context, Deadline, Event,
    scheduler::{
        handover::EvaluationHeader,
        header::ProcessHeader,
        limits::{self, CommitDoor},
    },
    worker::{leftovers, upkeep},
};
pub(super) use ending::{Ending, Next, end};
use ending::{Lost, TaskReports, end_unapplied, sizes};
use gather::{Unreadable, gather};
use later::{give_back, is_last_try, not_now, postpone, wait};

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
    let told = TaskReports {
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
                let about = About::process(&claim.process.process).of(&claim.process.table);
                context.tell(Event::Notice { about, message });
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

async fn settle_failure(
    context: &Context,
    claim: &CommitClaim,
    header: &ProcessHeader,
    told: TaskReports<'_>,
    failure: CommitFailure,
) -> Result<Option<TimestampMs>, CoordinationError> {
    let message = failure.to_string();
    let TaskReports {
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
