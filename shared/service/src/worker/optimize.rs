//! What an optimizer does with one message: claim the task, rewrite the group, report, and commit the process where
//! this was its last open task.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use iceberg::spec::TableMetadata;
use icepress_catalog::{
    CatalogError,
    metadata::{Metadata, read_metadata},
};
use icepress_coordination::{
    ClaimOutcome, CoordinationError, GivenBack, ReportOutcome, TaskMessage, TaskRow,
};
use icepress_model::{
    Attempt, Group, GroupResult, GroupTask, MergePages, NanoDollars, ProcessKind, RewriteFailure,
    RewriteFailureKind, Tier,
};
use icepress_planner::{PlanOptions, VerifyRows};
use icepress_rewrite::{Progress, RewriteContext, rewrite_group};
use icepress_storage::Storage;

use crate::{
    About, Context, Deadline, Event, GroupRead,
    scheduler::handover::EvaluateTask,
    worker::{
        evaluate, finish, inspect,
        leftovers::{self, Footprints},
        patience::{Patience, PatientStorage, Throttling as _},
        payload,
        settle::{Claimed, Worked, has_all_time, keep_claim},
        upkeep,
    },
};

/// What to do with the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handled {
    /// Acknowledge it.
    Done,
    /// Leave it in the queue; it should come back after so long.
    Again(Duration),
}

/// How long a message rests whose task met a passing failure.
pub(super) const REST_AFTER_FAILURE: Duration = Duration::from_secs(20);

/// Handles one message. Safe to call for a message that comes twice, late, or out of order.
///
/// Boxed: the compiler can't see through so deep a future whether it may move between threads.
pub fn handle<'a>(
    context: &'a Context,
    message: &'a TaskMessage,
    deadline: Deadline,
) -> BoxFuture<'a, Result<Handled, CoordinationError>> {
    handle_message(context, message, deadline).boxed()
}

async fn handle_message(
    context: &Context,
    message: &TaskMessage,
    deadline: Deadline,
) -> Result<Handled, CoordinationError> {
    let now = context.ambient.now();
    let claim_end = now + deadline.claim(&context.ambient, context.settings.claim_ttl);
    let claimed = context
        .store
        .claim_task(&message.task, &context.settings.worker, now, claim_end)
        .await?;
    let row = match claimed {
        ClaimOutcome::Claimed(row) => row,
        // Whoever finds it without a holder later sends another message: this one would only be received again and
        // again, until it is taken for one that nobody can answer.
        ClaimOutcome::Held { .. } => {
            context.store.note_acknowledged(&message.task).await?;
            return Ok(Handled::Done);
        }
        ClaimOutcome::Finished => {
            // Its reporter may have died between report and commit.
            finish::commit_process(context, &message.table, &message.task.process, deadline)
                .await?;
            return Ok(Handled::Done);
        }
        ClaimOutcome::Gone => return Ok(Handled::Done),
    };
    if row.kind.deletes() && !context.settings.may_delete {
        return give_away(context, &row).await;
    }
    let work_until = deadline.earlier_by(context.settings.deadline_margin);
    let claimed = Claimed {
        context,
        table: &message.table,
        row: &row,
        patience: Patience::new(context, &message.table, work_until),
    };
    let worked = if row.tries() > context.settings.claims_of_task {
        give_up(&claimed).await?
    } else {
        match EvaluateTask::of(&row.payload) {
            _ if row.kind != ProcessKind::Rewrite => upkeep::work(&claimed, work_until).await?,
            Some(task) => evaluate::evaluate(&claimed, &task, work_until).await?,
            None => work(&claimed, work_until).await?,
        }
    };
    match worked {
        Worked::Reported(ReportOutcome::Accepted { open_tasks: 0 }) => {
            finish::commit_process(context, &message.table, &message.task.process, deadline)
                .await?;
            Ok(Handled::Done)
        }
        Worked::Reported(_) | Worked::Waits => Ok(Handled::Done),
        Worked::GivenBack(rest) => Ok(Handled::Again(rest)),
    }
}

/// Gives back a task that is for those who may delete: whoever looks after the process sends it to them. It was not tried.
async fn give_away(context: &Context, row: &TaskRow) -> Result<Handled, CoordinationError> {
    context
        .store
        .return_task(&row.task, row.attempt, GivenBack::Waits)
        .await?;
    context.tell(Event::Notice {
        about: About::task(&row.task),
        message: format!(
            "task {} deletes files, which this function may not: it is left to the cleaner",
            row.task
        ),
    });
    Ok(Handled::Done)
}

async fn work(claimed: &Claimed<'_>, work_until: Deadline) -> Result<Worked, CoordinationError> {
    let Claimed {
        context,
        row,
        patience,
        ..
    } = claimed;
    let fetched = patience.ask(|| payload::fetch(context, &row.payload)).await;
    let task: GroupTask = match fetched {
        Ok(task) => task,
        Err(error) => {
            let failure = claimed.transient(&error, "its plan can't be read");
            return claimed.fail(failure).await;
        }
    };

    let (storage, metadata) = match base(context, &task, patience).await {
        Ok(base) => base,
        Err(failure) => return settle_failure(claimed, &task, failure).await,
    };
    let bytes = task.group.bytes_to_read();
    let mut needed = context.settings.time_at(task.pace, bytes);
    let options = options(context, &task, &metadata);
    let mode = options.verify_rows;
    let mut is_verified = inspect::is_picked(mode, &row.task);
    if is_verified {
        // To compare the rows takes no longer than to write them.
        let with_check = context.settings.time_at(task.pace, bytes + bytes);
        if mode == VerifyRows::All || work_until.allows(&context.ambient, with_check) {
            needed = with_check;
        } else {
            is_verified = false;
        }
    }
    if !work_until.allows(&context.ambient, needed) {
        let never_fits = context
            .settings
            .invocation_limit
            .is_some_and(|limit| needed + context.settings.deadline_margin > limit);
        if never_fits {
            let failure = RewriteFailure {
                kind: RewriteFailureKind::OverTime,
                message: format!(
                    "table {}: a group of {} needs about {} s, more than one invocation lasts",
                    task.table,
                    task.group.bytes_to_read(),
                    needed.as_secs()
                ),
            };
            return settle_failure(claimed, &task, failure).await;
        }
        context
            .store
            .return_task(&row.task, row.attempt, GivenBack::Tried)
            .await?;
        return Ok(Worked::GivenBack(Duration::ZERO));
    }

    let footprints = Footprints::on(storage);
    let work = Work {
        task: &task,
        storage: &(Arc::clone(&footprints) as Arc<dyn Storage>),
        metadata: &metadata,
        is_verified,
        merge_pages: options.merge_pages,
    };
    let has_all = has_all_time(context, work_until);
    let began = context.ambient.clock.monotonic();
    let rewritten = rewrite_in_time(context, row, &work, work_until).await;
    // None of these attempts reports what it wrote.
    let is_over = match &rewritten {
        Ok(Some(Ok(_))) => false,
        Ok(Some(Err(failure))) => !leftovers::is_evidence(failure),
        Ok(None) | Err(_) => true,
    };
    if is_over {
        footprints.wipe(context).await;
    }
    match rewritten? {
        Some(Ok(result)) => settle_success(claimed, &task, result, &footprints).await,
        Some(Err(failure)) => settle_failure(claimed, &task, failure).await,
        None => {
            let took = context.ambient.clock.monotonic().saturating_sub(began);
            // With as much time it would end in the same way; with more it may not.
            let is_last = row.tries() >= context.settings.task_attempts;
            let waited = patience.waited();
            let is_others_fault = waited > took / WAITED_TOO_LONG;
            let mut message = format!(
                "table {}: a group of {} was not done when the invocation had to end",
                task.table,
                task.group.input_bytes()
            );
            if is_others_fault {
                let seconds = waited.as_secs();
                message.push_str(&format!(
                    ": {seconds} s of its time it waited for services that asked for fewer requests"
                ));
            }
            let kind = match is_others_fault {
                true => RewriteFailureKind::Throttled,
                false if has_all || is_last => RewriteFailureKind::OverTime,
                false => RewriteFailureKind::Transient,
            };
            settle_failure(claimed, &task, RewriteFailure { kind, message }).await
        }
    }
}

/// A group for which the time did not do says nothing of its size where a larger part than this of it was waited.
const WAITED_TOO_LONG: u32 = 4;

/// What would help a group that was too much for its worker.
fn help(files: usize) -> &'static str {
    match files {
        0 | 1 => {
            "nothing smaller can be made of it, and it is left alone from now on: give optimizers more memory or time \
             (optimizer_memory_mb, optimizer_timeout_seconds; --memory), or work through the table where no time limit \
             holds, with icepress --deployed run on a machine or in a container"
        }
        _ => "the next plan makes smaller groups of it",
    }
}

/// What is to be done.
struct Work<'a> {
    task: &'a GroupTask,
    /// Where the table's files lie.
    storage: &'a Arc<dyn Storage>,
    /// The table at the task's base state.
    metadata: &'a Metadata,
    /// Whether the rows are compared after the rewrite.
    is_verified: bool,
    merge_pages: MergePages,
}

/// Rewrites while prolonging the claim. `None` where the deadline came first.
async fn rewrite_in_time(
    context: &Context,
    row: &TaskRow,
    work: &Work<'_>,
    work_until: Deadline,
) -> Result<Option<Result<GroupResult, RewriteFailure>>, CoordinationError> {
    let task = work.task;
    let progress = Arc::new(Progress::default());
    context.tell(Event::GroupStarted {
        table: task.table.clone(),
        process: task.process.clone(),
        index: task.index,
        rows: task.group.input_rows(),
        bytes: match task.group.tier {
            Tier::Full => task.group.input_bytes(),
            Tier::Light | Tier::Dangling => task.group.bytes_to_read(),
        },
        progress: Arc::clone(&progress),
    });
    let rewriting = rewrite(context, work, row.attempt, progress);
    tokio::pin!(rewriting);
    let too_late = work_until.passed(&context.ambient);
    tokio::pin!(too_late);
    let fenced = keep_claim(context, &row.task, row.attempt);
    tokio::pin!(fenced);
    tokio::select! {
        biased;
        result = &mut rewriting => Ok(Some(result)),
        error = &mut fenced => Err(error),
        () = &mut too_late => Ok(None),
    }
}

/// The table as it was planned on, and where its files lie.
async fn base(
    context: &Context,
    task: &GroupTask,
    patience: &Arc<Patience>,
) -> Result<(Arc<dyn Storage>, Metadata), RewriteFailure> {
    let failed = |error: CatalogError| RewriteFailure {
        kind: match error.is_throttling() {
            true => RewriteFailureKind::Throttled,
            false => RewriteFailureKind::Transient,
        },
        message: error.to_string(),
    };
    let open = context.catalog_of(&task.table).map_err(failed)?;
    let storage = patience
        .ask(|| open.storage_of(&task.table))
        .await
        .map_err(failed)?;
    let storage = PatientStorage::around(storage, patience) as Arc<dyn Storage>;
    let metadata = read_metadata(&*storage, &task.table, &task.base.metadata_location)
        .await
        .map_err(failed)?;
    Ok((storage, metadata))
}

/// How the table is to be treated: by its own wishes, else by the settings'. Wishes that can't be understood have kept the
/// plan from being made.
fn options(context: &Context, task: &GroupTask, metadata: &TableMetadata) -> PlanOptions {
    let settings = &context.settings;
    let configured = settings.plan_of(&task.table);
    configured
        .and_then(|options| options.for_table(&task.table, metadata.properties()))
        .unwrap_or_else(|_| settings.plan.clone())
}

async fn rewrite(
    context: &Context,
    work: &Work<'_>,
    attempt: Attempt,
    progress: Arc<Progress>,
) -> Result<GroupResult, RewriteFailure> {
    let task = work.task;
    let engine = RewriteContext {
        storage: Arc::clone(work.storage),
        ambient: context.ambient.clone(),
        memory_cap: context.settings.memory_cap,
        merge_pages: work.merge_pages,
        progress,
    };
    let began = context.ambient.clock.monotonic();
    let mut result = rewrite_group(&engine, work.metadata, task, attempt).await?;
    inspect::inspect(&engine, work.metadata, task, &mut result, work.is_verified).await?;
    let took = context.ambient.clock.monotonic().saturating_sub(began);
    result.seen.took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    Ok(result)
}

/// What a group reads; what that costs is known when it was read.
fn read_of(task: &GroupTask) -> GroupRead {
    let Group {
        inputs, deletes, ..
    } = &task.group;
    GroupRead {
        files: (inputs.len() + deletes.len()) as u64,
        bytes: task.group.bytes_to_read(),
        price: NanoDollars::default(),
    }
}

async fn settle_success(
    claimed: &Claimed<'_>,
    task: &GroupTask,
    result: GroupResult,
    footprints: &Footprints,
) -> Result<Worked, CoordinationError> {
    let Claimed { context, row, .. } = claimed;
    let name = format!(
        "results/{}-{:05}-{}",
        row.task.process, row.task.index, row.attempt
    );
    let kept = match claimed.keep(&name, &result).await? {
        Ok(kept) => kept,
        Err(failure) => {
            footprints.wipe(context).await;
            return settle_failure(claimed, task, failure).await;
        }
    };
    let settings = &context.settings;
    let took = Duration::from_millis(result.seen.took_ms);
    let read = GroupRead {
        price: settings
            .prices
            .of_group(&task.group, took, settings.billed_memory),
        ..read_of(task)
    };
    context.tell(Event::GroupFinished {
        table: task.table.clone(),
        process: task.process.clone(),
        index: task.index,
        read,
        result: Ok(result),
    });
    let outcome = match claimed.report(Ok(kept)).await {
        Ok(outcome) => outcome,
        Err(error) => {
            // What was refused was not written.
            if error.is_throttling() {
                footprints.wipe(context).await;
            }
            return Err(error);
        }
    };
    if outcome == ReportOutcome::Stale
        && let Ok(tasks) = context.store.tasks(&row.task.process).await
        && let Some(now) = tasks.iter().find(|now| now.task == row.task)
        && leftovers::is_unreported(row, now)
    {
        footprints.wipe(context).await;
    }
    Ok(Worked::Reported(outcome))
}

async fn settle_failure(
    claimed: &Claimed<'_>,
    task: &GroupTask,
    mut failure: RewriteFailure,
) -> Result<Worked, CoordinationError> {
    if failure.kind.is_too_much() {
        let help = help(task.group.inputs.len());
        failure.message = format!("{}: {help}", failure.message);
    }
    claimed.context.tell(Event::GroupFinished {
        table: task.table.clone(),
        process: task.process.clone(),
        index: task.index,
        read: read_of(task),
        result: Err(failure.message.clone()),
    });
    claimed.fail(failure).await
}

/// Ends a task that was claimed too often: it took its worker's memory or time with it, again and again.
async fn give_up(claimed: &Claimed<'_>) -> Result<Worked, CoordinationError> {
    let row = claimed.row;
    let task: Option<GroupTask> = payload::fetch(claimed.context, &row.payload).await.ok();
    let failure = RewriteFailure {
        kind: RewriteFailureKind::OverMemory,
        message: format!(
            "task {} was begun {} times and never ended: its workers seem to run out of memory or time{}",
            row.task,
            row.tries() - 1,
            task.map_or_else(String::new, |task| format!(
                ": {}",
                help(task.group.inputs.len())
            )),
        ),
    };
    claimed.end_as_failed(failure).await
}
