//! Tasks in DynamoDB.

use async_trait::async_trait;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use icepress_model::{Attempt, ProcessId, RewriteFailure, TaskId, TimestampMs, WorkerId};

use super::{
    DynamoStore, Result,
    item::{Item, Key, TASK_PREFIX, item_of, number, process_rows},
    requests::{Stored, unreadable},
};
use crate::{
    ClaimOutcome, GivenBack, Payload, ReportOutcome, TaskRow, TaskStore, encoding, transition,
};

pub(super) fn encode(row: &TaskRow, ttl: Option<i64>) -> Result<Item> {
    let mut item = item_of(&Key::task(&row.task), &encoding::encode_task(row))?;
    if let Some(ttl) = ttl {
        item.insert("ttl".to_owned(), number(ttl));
    }
    Ok(item)
}

impl DynamoStore {
    async fn read_task(&self, task: &TaskId) -> Result<Stored<Option<TaskRow>>> {
        self.get_stored(&Key::task(task), encoding::decode_task)
            .await
    }

    async fn write_sent(&self, task: &TaskId, sent_at: Option<TimestampMs>) -> Result<()> {
        let update = self.client.update_item();
        let update = match sent_at {
            Some(sent_at) => update
                .update_expression("SET #sent = :sent, #rev = #rev + :one")
                .expression_attribute_values(":sent", number(sent_at.get())),
            None => update.update_expression("SET #rev = #rev + :one REMOVE #sent"),
        };
        let outcome = update
            .table_name(&self.table)
            .set_key(Some(Key::task(task).item()))
            .condition_expression("attribute_exists(#rev)")
            .expression_attribute_names("#sent", "sent_at")
            .expression_attribute_names("#rev", "rev")
            .expression_attribute_values(":one", number(1))
            .send()
            .await;
        match outcome {
            Ok(_) => Ok(()),
            // There is no such task (any more): nothing to note.
            Err(SdkError::ServiceError(refused))
                if matches!(
                    refused.err(),
                    UpdateItemError::ConditionalCheckFailedException(_)
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(self.failed("a task could not be written", error)),
        }
    }
}

#[async_trait]
impl TaskStore for DynamoStore {
    async fn tasks(&self, process: &ProcessId) -> Result<Vec<TaskRow>> {
        let rows = self.query(&process_rows(process), TASK_PREFIX).await?;
        let tasks = rows.iter().map(encoding::decode_task);
        let tasks: std::result::Result<_, _> = tasks.collect();
        tasks.map_err(|message| unreadable(&Key::process(process), message))
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
        let mut race = self.race(format!("task {task} could not be claimed"));
        loop {
            let before = self.read_task(task).await?;
            let Some(row) = &before.row else {
                return Ok(ClaimOutcome::Gone);
            };
            let process = self.read_process(&task.process).await?.row;
            let claim = transition::claim_task(row, process.as_ref(), worker, now, deadline);
            let claimed = match claim {
                transition::Claim::Free(claimed) => claimed,
                transition::Claim::Not(outcome) => return Ok(outcome),
            };
            if self.put(encode(&claimed, before.ttl)?, before.rev).await? {
                return Ok(ClaimOutcome::Claimed(claimed));
            }
            race.lost().await?;
        }
    }

    async fn extend_claim(
        &self,
        task: &TaskId,
        attempt: Attempt,
        deadline: TimestampMs,
    ) -> Result<()> {
        let mut race = self.race(format!("the claim on task {task} could not be extended"));
        loop {
            let before = self.read_task(task).await?;
            let Some(row) = &before.row else {
                return Err(transition::lost_task(task, attempt));
            };
            let extended = transition::extend_claim(row, attempt, deadline)?;
            if self.put(encode(&extended, before.ttl)?, before.rev).await? {
                return Ok(());
            }
            race.lost().await?;
        }
    }

    async fn report_task(
        &self,
        task: &TaskId,
        attempt: Attempt,
        result: std::result::Result<Payload, RewriteFailure>,
    ) -> Result<ReportOutcome> {
        let what = format!("the result of task {task} could not be written");
        let mut race = self.race(what.clone());
        loop {
            let before = self.read_task(task).await?;
            let Some(reported) = before
                .row
                .as_ref()
                .and_then(|row| transition::report(row, attempt, &result))
            else {
                return Ok(ReportOutcome::Stale);
            };
            let process = self.read_process(&task.process).await?.row;
            let Some(process) = process.filter(|process| !process.has_ended()) else {
                return Ok(ReportOutcome::Stale);
            };
            // Others count down at the same time. Only the step from one to zero has to be nobody else's: the others
            // need not wait for each other's turn.
            let last = process.open_tasks <= 1;
            let actions = vec![
                self.put_action(encode(&reported, before.ttl)?, before.rev),
                self.count_down_action(&Key::process(&task.process), last),
            ];
            if self.transact(&what, actions).await?.is_ok() {
                return Ok(ReportOutcome::Accepted {
                    open_tasks: transition::count_down(&process).open_tasks,
                });
            }
            race.lost().await?;
        }
    }

    async fn return_task(
        &self,
        task: &TaskId,
        attempt: Attempt,
        why: GivenBack,
    ) -> Result<ReportOutcome> {
        let mut race = self.race(format!("task {task} could not be given back"));
        loop {
            let before = self.read_task(task).await?;
            let process = self.read_process(&task.process).await?.row;
            let process = process.filter(|process| !process.has_ended());
            let (Some(row), Some(process)) = (&before.row, process) else {
                return Ok(ReportOutcome::Stale);
            };
            let accepted = ReportOutcome::Accepted {
                open_tasks: process.open_tasks,
            };
            match transition::return_task(row, attempt, why) {
                transition::Return::Stale => return Ok(ReportOutcome::Stale),
                transition::Return::Already => return Ok(accepted),
                transition::Return::Queued(returned) => {
                    if self.put(encode(&returned, before.ttl)?, before.rev).await? {
                        return Ok(accepted);
                    }
                }
            }
            race.lost().await?;
        }
    }
}
