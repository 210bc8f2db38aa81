//! Files in a table's folders that nothing refers to, by hand: what is asked of state and catalogs for the search.

use async_trait::async_trait;
use icepress_coordination::{ProcessState, TaskState};
use icepress_model::{Attempt, ProcessId, ProcessOutcome, TableId};
use icepress_upkeep::{
    Attempts, Fate, OrphanPlan, OrphanReport, OrphanRequest, Others, Progress, UpkeepError,
    plan_orphans, remove_orphans,
};

use super::{maintain::commit_context, neighbours::AllTables};
use crate::{Context, scheduler::limits, worker::leftovers};

/// The request, with what settings say of the table where it does not say anything.
pub(crate) fn with_settings(
    context: &Context,
    table: &TableId,
    request: &OrphanRequest,
) -> OrphanRequest {
    let maintain = &context.settings.maintain;
    let mut request = request.clone();
    request.inventory = request
        .inventory
        .or_else(|| maintain.orphans_inventory(table));
    request.quarantine |= maintain.orphans_quarantine(table);
    request
}

/// Says what [`remove`] would do to a table. Writes nothing.
pub async fn plan(
    context: &Context,
    table: &TableId,
    request: &OrphanRequest,
) -> Result<OrphanPlan, UpkeepError> {
    let commit = commit_context(context, table).await?;
    let (neighbours, attempts) = (AllTables { context }, Books { context });
    let others = Others {
        neighbours: &neighbours,
        attempts: &attempts,
    };
    let request = with_settings(context, table, request);
    plan_orphans(&commit, table, others, &request).await
}

/// Looks for files that nothing refers to and deletes those that may go, unless somebody blocks the table.
pub async fn remove(
    context: &Context,
    table: &TableId,
    request: &OrphanRequest,
    progress: Progress<'_>,
) -> Result<OrphanReport, UpkeepError> {
    let commit = commit_context(context, table).await?;
    let held_back = |reason: String| UpkeepError::HeldBack {
        table: table.clone(),
        reason,
    };
    match limits::blocked(context, table).await {
        Ok(None) => {}
        Ok(Some(obstacle)) => return Err(held_back(obstacle.reason)),
        Err(error) => return Err(held_back(error.to_string())),
    }
    let (neighbours, attempts) = (AllTables { context }, Books { context });
    let others = Others {
        neighbours: &neighbours,
        attempts: &attempts,
    };
    let request = with_settings(context, table, request);
    remove_orphans(&commit, table, others, &request, progress).await
}

/// What the state says of processes.
#[derive(Debug)]
pub(crate) struct Books<'a> {
    pub(crate) context: &'a Context,
}

#[async_trait]
impl Attempts for Books<'_> {
    async fn fate(&self, table: &TableId, process: &ProcessId) -> Result<Fate, String> {
        let store = &self.context.store;
        let row = store.process(process).await;
        let row = row.map_err(|error| error.to_string())?;
        // A table of the same name in another catalog's entry is another's affair.
        let Some(row) = row.filter(|row| row.table == *table) else {
            return Ok(Fate::Unknown);
        };
        let tasks = store.tasks(process).await;
        let tasks = tasks.map_err(|error| error.to_string())?;
        let ProcessState::Ended(outcome) = &row.state else {
            let last = tasks.iter().map(|task| task.task.index as usize + 1).max();
            let mut newest = vec![Attempt(0); last.unwrap_or(0)];
            for task in &tasks {
                newest[task.task.index as usize] = task.attempt;
            }
            return Ok(Fate::UnderWay(newest));
        };
        let has_evidence = tasks.iter().any(|task| match &task.state {
            TaskState::Failed(failure) => leftovers::is_evidence(failure),
            _ => false,
        });
        let is_over = match outcome {
            // A swap of the same process that is still under way is compared with a state that has passed.
            ProcessOutcome::Committed { .. } | ProcessOutcome::PartlyCommitted { .. } => true,
            ProcessOutcome::Evaluated => true,
            // Where a commit was begun, one may be under way of which nobody knows.
            ProcessOutcome::Maintained { .. }
            | ProcessOutcome::Failed { .. }
            | ProcessOutcome::Abandoned { .. } => row.commit_claims == 0,
        };
        Ok(match is_over && !has_evidence {
            true => Fate::Over,
            false => Fate::Unknown,
        })
    }
}
