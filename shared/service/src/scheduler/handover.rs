//! What the task and the row of an evaluation say that an optimizer makes in the place of a scheduler.

use icepress_coordination::{Payload, ProcessRow};
use icepress_model::{ProcessId, ProcessKind, TableId};
use serde::{Deserialize, Serialize};

use super::upkeep::UpkeepHeader;
use crate::Context;

/// Processes of a table that are looked through for the last one that rewrote anything.
pub(super) const LOOKED_THROUGH: usize = 8;

/// What the one task of an evaluation carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EvaluateTask {
    /// The table.
    pub(crate) evaluate: TableId,
    /// See [`super::evaluate::Outlook::new`].
    pub(crate) turn: u64,
}

impl EvaluateTask {
    /// Reads a task's payload; `None` where it is a group. It is always small enough for the row.
    pub(crate) fn of(payload: &Payload) -> Option<Self> {
        match payload {
            Payload::Inline(text) => serde_json::from_str(text).ok(),
            Payload::Stored(_) => None,
        }
    }
}

/// What stands in the row of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EvaluationHeader {
    /// Why it is made elsewhere.
    pub(crate) evaluation: Cause,
    /// The table's failures in a row when it began.
    pub(crate) failures: u32,
    /// So many of the next evaluations are handed over at once.
    #[serde(default)]
    pub(crate) turns: u32,
    /// The table's marks then: what is marked since may be of a state that was not looked at.
    #[serde(default)]
    pub(crate) marks: u64,
}

impl EvaluationHeader {
    /// Of a process; `None` where it rewrites.
    pub(crate) fn of(process: &ProcessRow) -> Option<Self> {
        serde_json::from_str(&process.header).ok()
    }
}

/// Why an evaluation is handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Cause {
    /// Nobody here got to its end.
    NeverEnded,
    /// Its metadata file or manifests are too much.
    TooLarge,
}

/// The table's last process that was to rewrite anything, and is not `but`. What can't be read teaches nothing.
pub(crate) async fn last_rewrite(
    context: &Context,
    table: &TableId,
    but: Option<&ProcessId>,
) -> Option<ProcessRow> {
    let processes = context.store.processes_of(table, LOOKED_THROUGH).await;
    let mut processes = processes.ok()?;
    processes.retain(|row| Some(&row.process) != but);
    rewrite_among(context, &processes).await
}

/// The last rewrite: one of these, or the one that upkeep since hands on. There may be any number of runs of that between two
/// rewrites, and what the last taught must not be forgotten for it.
pub(super) async fn rewrite_among(
    context: &Context,
    processes: &[ProcessRow],
) -> Option<ProcessRow> {
    if let Some(row) = processes.iter().find(|row| rewrites(row)) {
        return Some(row.clone());
    }
    let header = |row: &ProcessRow| serde_json::from_str::<UpkeepHeader>(&row.header).ok();
    let handed_on = processes.iter().find_map(header)?.last_rewrite?;
    context.store.process(&handed_on).await.ok()?
}

/// Whether a process is one that was to rewrite anything, and not only to look.
pub(super) fn rewrites(process: &ProcessRow) -> bool {
    process.kind == ProcessKind::Rewrite && EvaluationHeader::of(process).is_none()
}
