//! Tasks in the state file.

use async_trait::async_trait;
use icepress_model::{Attempt, ProcessId, RewriteFailure, TaskId, TimestampMs, WorkerId};

use super::{Result, SqliteStore};
use crate::{
    ClaimOutcome, GivenBack, Payload, ReportOutcome, TaskRow, TaskStore, encoding, transition,
};

impl SqliteStore {
    async fn write_sent(&self, task: &TaskId, sent_at: Option<TimestampMs>) -> Result<()> {
        sqlx::query("UPDATE task SET sent_at = ? WHERE process = ? AND task_index = ?")
            .bind(sent_at.map(TimestampMs::get))
            .bind(task.process.as_str())
            .bind(task.index)
            .execute(&self.file.writer)
            .await
            .map_err(|error| self.file.failed("a task could not be written", error))?;
        Ok(())
    }
}

#[async_trait]
impl TaskStore for SqliteStore {
    async fn tasks(&self, process: &ProcessId) -> Result<Vec<TaskRow>> {
        let rows = sqlx::query("SELECT * FROM task WHERE process = ? ORDER BY task_index")
            .bind(process.as_str())
            .fetch_all(&self.file.readers)
            .await
            .map_err(|error| self.file.failed("tasks could not be read", error))?;
        rows.iter()
            .map(encoding::decode_task)
            .collect::<std::result::Result<_, _>>()
            .map_err(Self::unreadable(format!("a task of process {process}")))
    }

    async fn note_sent(&self, task: &TaskId, now: TimestampMs) -> Result<()> {
        self.write_sent(task, Some(now)).await
    }

    async fn note_acknowledged(&self, task: &TaskId) -> Result<()> {
        self.write_sent(task, None).await
    }

    async fn claim_task(
        &self,
        task: &TaskId,
        worker: &WorkerId,
        now: TimestampMs,
        deadline: TimestampMs,
    ) -> Result<ClaimOutcome> {
        let mut transaction = self.file.begin().await?;
        let Some(row) = self.read_task(&mut transaction, task).await? else {
            return Ok(ClaimOutcome::Gone);
        };
        let process = self.read_process(&mut transaction, &task.process).await?;
        match transition::claim_task(&row, process.as_ref(), worker, now, deadline) {
            transition::Claim::Free(claimed) => {
                self.write_task(&mut transaction, &claimed).await?;
                self.file.commit(transaction).await?;
                Ok(ClaimOutcome::Claimed(claimed))
            }
            transition::Claim::Not(outcome) => Ok(outcome),
        }
    }

    async fn extend_claim(
        &self,
        task: &TaskId,
        attempt: Attempt,
        deadline: TimestampMs,
    ) -> Result<()> {
        let mut transaction = self.file.begin().await?;
        let row = self.read_task(&mut transaction, task).await?;
        let Some(row) = row else {
            return Err(transition::lost_task(task, attempt));
        };
        let extended = transition::extend_claim(&row, attempt, deadline)?;
        self.write_task(&mut transaction, &extended).await?;
        self.file.commit(transaction).await
    }

    async fn report_task(
        &self,
        task: &TaskId,
        attempt: Attempt,
        result: std::result::Result<Payload, RewriteFailure>,
    ) -> Result<ReportOutcome> {
        let mut transaction = self.file.begin().await?;
        let Some(row) = self.read_task(&mut transaction, task).await? else {
            return Ok(ReportOutcome::Stale);
        };
        let process = self.read_process(&mut transaction, &task.process).await?;
        let Some(process) = process.filter(|process| !process.has_ended()) else {
            return Ok(ReportOutcome::Stale);
        };
        let Some(reported) = transition::report(&row, attempt, &result) else {
            return Ok(ReportOutcome::Stale);
        };
        let counted = transition::count_down(&process);
        self.write_task(&mut transaction, &reported).await?;
        self.write_process(&mut transaction, &counted).await?;
        self.file.commit(transaction).await?;
        Ok(ReportOutcome::Accepted {
            open_tasks: counted.open_tasks,
        })
    }

    async fn return_task(
        &self,
        task: &TaskId,
        attempt: Attempt,
        why: GivenBack,
    ) -> Result<ReportOutcome> {
        let mut transaction = self.file.begin().await?;
        let row = self.read_task(&mut transaction, task).await?;
        let process = self.read_process(&mut transaction, &task.process).await?;
        let (Some(row), Some(process)) = (row, process.filter(|process| !process.has_ended()))
        else {
            return Ok(ReportOutcome::Stale);
        };
        match transition::return_task(&row, attempt, why) {
            transition::Return::Stale => return Ok(ReportOutcome::Stale),
            transition::Return::Already => {}
            transition::Return::Queued(returned) => {
                self.write_task(&mut transaction, &returned).await?;
                self.file.commit(transaction).await?;
            }
        }
        Ok(ReportOutcome::Accepted {
            open_tasks: process.open_tasks,
        })
    }
}
