//! Evaluations that an optimizer makes: of tables at which schedulers die, and of tables whose metadata file or manifests are
//! more than the memory of a scheduler takes.
//!
//! Such an evaluation is a process of one task, which plans, rewrites nothing and commits nothing: its claims, deaths and
//! lost messages are those of any task. The plan is the task's result. At the process's end the table is due, and whoever
//! holds its bucket starts the rewrite from that plan under a lease of its own, as from one that it made itself: quotas and
//! windows are asked now, and the commit validates against whatever came since the plan's base.

use std::time::Duration;

use icepress_coordination::{
    Conclusion, CoordinationError, Lease, NewProcess, NewTask, Payload, ProcessRow, ProcessState,
    StartOutcome, TableRow, TaskState,
};
use icepress_model::{ProcessId, ProcessKind, ProcessOutcome, TableId, TaskId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    conclusion::{entry, with_entry, without_entry},
    evaluate::{self, EvaluateError, Outlook, Planned},
    failure::Failure,
    handover::{
        Cause, EvaluateTask, EvaluationHeader, LOOKED_THROUGH, last_rewrite, rewrite_among,
        rewrites,
    },
    header::header_of,
    send::send,
    waiting::no_longer_waiting,
};
use crate::{About, Context, Event, Mode, ground::plans::Sources, worker::payload};

/// After a table was handed over at which nobody here got to the end, so many of its next evaluations are handed over at once,
/// before it is tried here again: its files may have become fewer.
const TURNS: u32 = 10;
/// A plan that old is made anew: its base may have been expired.
const OLD: Duration = Duration::from_secs(3600);

/// The entry of a table's conclusion that says who looks at it, and why.
const ELSEWHERE: &str = "elsewhere";

/// What an optimizer concluded: the task's result.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Finding {
    /// A plan, empty where there is nothing to do.
    Plan(Box<Planned>),
    /// It could not be looked at.
    Failure(Failure),
}

/// Looks at a table as a scheduler would, for whoever does that in its place.
pub(crate) async fn look(
    context: &Context,
    task: &EvaluateTask,
    process: &ProcessId,
) -> Result<Planned, EvaluateError> {
    let table = &task.evaluate;
    let last = last_rewrite(context, table, Some(process)).await;
    let loaded = evaluate::load(context, table).await?;
    let mut outlook = Outlook::new(context, &loaded, last.as_ref(), task.turn)?;
    let limits = &context.settings.limits;
    // Under a quota there may be room for a part only, and nobody asks again whether the groups may be taken apart.
    let properties = loaded.metadata.properties();
    outlook.options.separable |= !limits.of(table, properties)?.quotas.is_empty();
    let metadata = evaluate::metadata_size(context, table, Some(&loaded.metadata_location)).await;
    let known = Sources {
        metadata: metadata.unwrap_or_default(),
        ..Sources::default()
    };
    outlook.plan(context, &loaded, known, None).await
}

/// The processes of a table that bear on its next evaluation.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The last one that was to rewrite.
    pub(super) last: Option<ProcessRow>,
    /// The last one that did anything, of whatever kind.
    pub(super) newest: Option<ProcessRow>,
    /// The last of all, where it was an evaluation.
    evaluation: Option<(ProcessRow, EvaluationHeader)>,
}

impl Past {
    /// Of the table of `row`.
    pub(super) async fn of(context: &Context, row: &TableRow) -> Result<Self, CoordinationError> {
        // A table that no process ever ended on costs no question.
        if row.committed_location.is_none() && row.conclusion.is_none() {
            return Ok(Self::default());
        }
        let mut newest = match context.store.processes_of(&row.table, 1).await {
            Ok(newest) => newest,
            Err(CoordinationError::UnreadableRow { .. }) => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let Some(newest) = newest.pop() else {
            return Ok(Self::default());
        };
        if rewrites(&newest) {
            return Ok(Self {
                last: Some(newest.clone()),
                newest: Some(newest),
                evaluation: None,
            });
        }
        let processes = context.store.processes_of(&row.table, LOOKED_THROUGH).await;
        let processes = processes.unwrap_or_default();
        let evaluates = |row: &ProcessRow| EvaluationHeader::of(row).is_some();
        Ok(Self {
            last: rewrite_among(context, &processes).await,
            newest: processes.iter().find(|row| !evaluates(row)).cloned(),
            evaluation: EvaluationHeader::of(&newest).map(|header| (newest, header)),
        })
    }

    /// Whether the last that was done for the table was a rewrite, and has ended: then it is upkeep's turn.
    pub(super) fn ends_with_a_rewrite(&self) -> bool {
        self.newest
            .as_ref()
            .is_some_and(|newest| rewrites(newest) && newest.has_ended())
    }

    /// How many evaluations are to be handed over at once.
    pub(super) fn turns(&self) -> u32 {
        match &self.evaluation {
            Some((_, header)) => header.turns,
            None => {
                let header = self.last.as_ref().and_then(header_of);
                header.map_or(0, |header| header.learned.elsewhere)
            }
        }
    }

    /// The table's row as whoever made a finding knew it: what was marked since for another state outlives all that is
    /// concluded from it.
    pub(super) fn as_found(&self, finding: Option<&Finding>, row: &TableRow) -> TableRow {
        let marks = match (finding, &self.evaluation) {
            (Some(Finding::Plan(planned)), Some((_, header)))
                if is_of_before(planned, header, row) =>
            {
                header.marks
            }
            _ => row.marks,
        };
        TableRow {
            marks,
            ..row.clone()
        }
    }

    /// What an optimizer concluded that nobody here has made anything of yet.
    pub(super) async fn finding(
        &self,
        context: &Context,
        row: &TableRow,
    ) -> Result<Option<Finding>, CoordinationError> {
        let Some((process, header)) = &self.evaluation else {
            return Ok(None);
        };
        let ended = ProcessState::Ended(ProcessOutcome::Evaluated);
        let is_old = context.ambient.now().since(process.created_at) > OLD;
        if process.state != ended || is_old || awaited(row) != Some(process.process.clone()) {
            return Ok(None);
        }
        let tasks = context.store.tasks(&process.process).await?;
        let Some(TaskState::Done(result)) = tasks.first().map(|task| &task.state) else {
            return Ok(None);
        };
        match payload::fetch(context, result).await {
            Ok(finding) => Ok(Some(finding).filter(|finding| !is_outdated(finding, header, row))),
            Err(error) => {
                context.tell(Event::Notice { about: About::table(&row.table),
                    message: format!(
                        "table {}: what an optimizer concluded can't be read, it is asked again: {error}",
                        row.table
                    ),
                });
                Ok(None)
            }
        }
    }
}

/// Whether nothing could or was to be done about a table that was marked since for another state. A plan for the former state is as
/// good as any that is carried out while others write.
fn is_outdated(finding: &Finding, header: &EvaluationHeader, row: &TableRow) -> bool {
    match finding {
        Finding::Plan(planned) => {
            planned.plan.groups.is_empty() && is_of_before(planned, header, row)
        }
        Finding::Failure(_) => is_marked_since(header, row),
    }
}

/// Whether a plan was made before the table was marked for another state.
fn is_of_before(planned: &Planned, header: &EvaluationHeader, row: &TableRow) -> bool {
    is_marked_since(header, row) && row.due_location.as_ref() != Some(&planned.location)
}

fn is_marked_since(header: &EvaluationHeader, row: &TableRow) -> bool {
    row.marks > header.marks
}

/// The process whose conclusion a table waits for: whatever else is concluded of it takes its place.
fn awaited(row: &TableRow) -> Option<ProcessId> {
    let told = entry(row, ELSEWHERE)?;
    Some(ProcessId::from(told.get("process")?.as_str()?))
}

/// The row of a table that waits for nobody's conclusion.
pub(super) fn no_longer_awaited(row: &TableRow) -> TableRow {
    let conclusion = row.conclusion.as_deref();
    TableRow {
        conclusion: conclusion.map(|text| without_entry(text, ELSEWHERE)),
        ..row.clone()
    }
}

/// Whether what was handed over is not made anything of yet: whoever dies now dies of that.
pub(super) fn is_awaited(row: &TableRow) -> bool {
    awaited(row).is_some()
}

/// Whether there are optimizers to hand an evaluation or a commit to that have a memory and a time of their own. A person who
/// asks for a table is not sent elsewhere.
pub(super) fn is_possible(context: &Context) -> bool {
    context.settings.hands_over && !context.settings.by_hand
}

/// Whether this table may be handed over. For one that is only observed no process is begun, not even one that looks: it is as it
/// is without optimizers.
pub(super) fn is_possible_for(context: &Context, table: &TableId) -> bool {
    is_possible(context) && context.settings.modes.of_name(table).mode == Mode::Maintain
}

/// Hands the evaluation over, since nobody here got to its end so many times.
pub(super) async fn hand_over_deadly(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
) -> Result<(), CoordinationError> {
    let reason = format!(
        "looking at it was begun {} times and never ended: the scheduler seems to run out of memory or time at it",
        row.begun
    );
    hand_over(context, lease, row, Cause::NeverEnded, TURNS, &reason).await
}

/// The same without another try here.
pub(super) async fn hand_over_again(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    turns: u32,
) -> Result<(), CoordinationError> {
    let reason = "looking at it never ended before in the scheduler";
    hand_over(context, lease, row, Cause::NeverEnded, turns, reason).await
}

/// Hands an evaluation over that is more than the memory of a scheduler takes.
pub(super) async fn hand_over_large(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    reason: &str,
) -> Result<(), CoordinationError> {
    hand_over(context, lease, row, Cause::TooLarge, 0, reason).await
}

async fn hand_over(
    context: &Context,
    lease: &Lease,
    row: &TableRow,
    cause: Cause,
    turns: u32,
    reason: &str,
) -> Result<(), CoordinationError> {
    let now = context.ambient.now();
    let process = ProcessId::from_uuid(context.ambient.uuid());
    let header = EvaluationHeader {
        evaluation: cause,
        failures: row.failures,
        turns,
        marks: row.marks,
    };
    let task = EvaluateTask {
        evaluate: row.table.clone(),
        turn: row.failures.into(),
    };
    let entry = json!({ "process": process, "cause": cause, "reason": reason });
    let new_process = NewProcess {
        process: process.clone(),
        kind: ProcessKind::Rewrite,
        table: row.table.clone(),
        created_at: now,
        header: serde_json::to_string(&header).expect("a header has string keys only"),
        check_at: now + context.settings.check_interval,
        reservation: None,
        conclusion: Conclusion {
            evaluated_location: None,
            text: with_entry(Some(&no_longer_waiting(row)), ELSEWHERE, entry),
            next_due_at: None,
            failures: row.failures,
        },
    };
    let task = NewTask {
        payload: Payload::Inline(
            serde_json::to_string(&task).expect("names and numbers always have a JSON form"),
        ),
    };
    let started = context
        .store
        .start_process(lease, row, &new_process, &[task])
        .await?;
    // Nothing is reserved for it, so that no quota can be short.
    if started != StartOutcome::Started {
        return Ok(());
    }
    context.tell(Event::HandedOver {
        table: row.table.clone(),
        process: process.clone(),
        reason: reason.to_owned(),
    });
    let task = TaskId { process, index: 0 };
    let what = (&row.table, ProcessKind::Rewrite);
    send(context, lease, what, lease.epoch, &[task]).await
}

/// Why a table is looked at elsewhere, where that is because nobody here got to the end of it; for people.
pub(crate) fn never_ends_here(row: &TableRow) -> Option<String> {
    let conclusion: Value = serde_json::from_str(row.conclusion.as_deref()?).ok()?;
    let entry = conclusion.get(ELSEWHERE)?;
    let cause: Cause = serde_json::from_value(entry.get("cause")?.clone()).ok()?;
    let reason = entry.get("reason")?.as_str()?;
    (cause == Cause::NeverEnded).then(|| reason.to_owned())
}
