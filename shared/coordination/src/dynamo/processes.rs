//! Processes in DynamoDB.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future, stream};
use icepress_model::{MetadataLocation, ProcessId, ProcessOutcome, TableId, TimestampMs, WorkerId};

use super::{
    DynamoStore, Result,
    item::{Item, Key, history_of, item_of, number, text},
    requests::{Stored, unreadable},
    tables, tasks,
};
use crate::{
    CancelOutcome, CommitClaim, GivenBack, Lease, NewProcess, NewTask, ProcessRow, ProcessStore,
    StartOutcome, TableRow,
    encoding::{self, Fields as _},
    transition,
};

/// Tasks of a new process written at once.
const TASKS_AT_ONCE: usize = 16;

fn encode(row: &ProcessRow, ttl: Option<i64>) -> Result<Item> {
    let mut item = item_of(&Key::process(&row.process), &encoding::encode_process(row))?;
    if let Some(ttl) = ttl {
        item.insert("ttl".to_owned(), number(ttl));
    }
    Ok(item)
}

impl DynamoStore {
    /// When a row may go that is kept for the retention from `since`, in seconds since 1970.
    fn ttl_after(&self, since: TimestampMs) -> i64 {
        (since + self.retention).get() / 1_000
    }

    pub(super) async fn read_process(
        &self,
        process: &ProcessId,
    ) -> Result<Stored<Option<ProcessRow>>> {
        self.get_stored(&Key::process(process), encoding::decode_process)
            .await
    }

    /// Each under its own condition: a request that a slow network brings after a later one did its work, or after a
    /// worker has claimed the task, must not make the task new again.
    async fn write_new_tasks(&self, row: &ProcessRow, tasks: &[NewTask], ttl: i64) -> Result<()> {
        // Boxed one by one: else the compiler can't tell that the whole may move between threads.
        let puts = transition::new_tasks(row, tasks)
            .into_iter()
            .map(|task| Ok(self.put(tasks::encode(&task, Some(ttl))?, 0).boxed()));
        let puts = puts.collect::<Result<Vec<_>>>()?;
        stream::iter(puts)
            .buffer_unordered(TASKS_AT_ONCE)
            // One that is there already was written by an earlier try at the same start.
            .try_for_each(|_| future::ready(Ok(())))
            .await
    }

    /// A line in the table's history, which says only that there was this process.
    fn history_action(&self, process: &NewProcess, ttl: i64) -> TransactWriteItem {
        let key = Key::history(&process.table, process.created_at, &process.process);
        let mut item = key.item();
        item.insert("process".to_owned(), text(process.process.as_str()));
        item.insert("ttl".to_owned(), number(ttl));
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .build()
            .expect("table and item are set");
        TransactWriteItem::builder().put(put).build()
    }
}

#[async_trait]
impl ProcessStore for DynamoStore {
    async fn start_process(
        &self,
        lease: &Lease,
        seen: &TableRow,
        process: &NewProcess,
        tasks: &[NewTask],
    ) -> Result<StartOutcome> {
        let what = format!("a process of {} could not be started", process.table);
        let mut race = self.race(what.clone());
        let ttl = self.ttl_after(process.created_at);
        let row = transition::new_process(lease, process, tasks);
        let mut tasks_written = false;
        loop {
            let table = self.read_table_to_plan(&process.table).await?;
            let active = table
                .row
                .as_ref()
                .and_then(|row| row.active_process.clone());
            if let Some(active) = active {
                let check = vec![self.check_lease(lease)];
                return match self.transact(&what, check).await? {
                    Err(_) => Err(transition::lost_lease(lease)),
                    Ok(()) if active == process.process => Ok(StartOutcome::Started),
                    Ok(()) => Ok(StartOutcome::AlreadyActive(active)),
                };
            }
            let started = transition::start(table.row.as_ref(), lease, seen, process)?;
            let reserved = match self.reserve_actions(process).await? {
                Ok(reserved) => reserved,
                Err(shortage) => return Ok(StartOutcome::OverQuota(shortage)),
            };
            if !tasks_written {
                self.write_new_tasks(&row, tasks, ttl).await?;
                tasks_written = true;
            }
            let mut actions = vec![
                self.check_lease(lease),
                self.put_action(tables::encode(&started)?, table.rev),
                self.put_action(encode(&row, Some(ttl))?, 0),
                self.history_action(process, ttl),
            ];
            actions.extend(reserved);
            match self.transact(&what, actions).await? {
                Ok(()) => return Ok(StartOutcome::Started),
                Err(cancelled) if cancelled.failed(0) => return Err(transition::lost_lease(lease)),
                Err(_) => race.lost().await?,
            }
        }
    }

    async fn process(&self, process: &ProcessId) -> Result<Option<ProcessRow>> {
        Ok(self.read_process(process).await?.row)
    }

    async fn processes_of(&self, table: &TableId, limit: usize) -> Result<Vec<ProcessRow>> {
        let mut processes = Vec::new();
        let mut from = None;
        while processes.len() < limit {
            let wanted = (limit - processes.len()).min(100);
            let page = self
                .query_of(&history_of(table))
                .scan_index_forward(false)
                .limit(i32::try_from(wanted).unwrap_or(100))
                .set_exclusive_start_key(from)
                .send()
                .await
                .map_err(|error| self.failed("processes could not be listed", error))?;
            let lines = page.items.unwrap_or_default();
            let ids = lines
                .iter()
                .filter_map(|line| line.text("process").ok().flatten());
            let keys: Vec<Key> = ids.map(|id| Key::process(&ProcessId(id))).collect();
            let mut rows = self.rows_of(&keys).await?;
            for key in keys {
                // Its time may be over although the line is still there.
                let Some(row) = rows.remove(&key) else {
                    continue;
                };
                let process = row.and_then(|row| {
                    encoding::decode_process(&row).map_err(|message| unreadable(&key, message))
                });
                match process {
                    Ok(process) => processes.push(process),
                    Err(error) => {
                        tracing::error!(%table, %error, "left out an unreadable process");
                    }
                }
            }
            from = page.last_evaluated_key.filter(|key| !key.is_empty());
            if from.is_none() {
                break;
            }
        }
        Ok(processes)
    }

    async fn claim_commit(
        &self,
        process: &ProcessId,
        worker: &WorkerId,
        now: TimestampMs,
        deadline: TimestampMs,
    ) -> Result<Option<CommitClaim>> {
        let mut race = self.race(format!("the commit of {process} could not be claimed"));
        loop {
            let before = self.read_process(process).await?;
            let claimed = before
                .row
                .as_ref()
                .and_then(|row| transition::claim_commit(row, worker, now, deadline));
            let Some(claimed) = claimed else {
                return Ok(None);
            };
            if self.put(encode(&claimed, before.ttl)?, before.rev).await? {
                return Ok(Some(CommitClaim {
                    claim: claimed.commit_claims,
                    process: claimed,
                }));
            }
            race.lost().await?;
        }
    }

    async fn extend_commit(&self, claim: &CommitClaim, deadline: TimestampMs) -> Result<()> {
        let id = &claim.process.process;
        let mut race = self.race(format!("the claim on the commit of {id} was not prolonged"));
        loop {
            let before = self.read_process(id).await?;
            let Some(row) = &before.row else {
                return Err(transition::lost_commit(id, claim.claim));
            };
            let extended = transition::extend_commit(row, claim.claim, deadline)?;
            if self.put(encode(&extended, before.ttl)?, before.rev).await? {
                return Ok(());
            }
            race.lost().await?;
        }
    }

    async fn give_back_commit(
        &self,
        claim: &CommitClaim,
        why: GivenBack,
        look_at: TimestampMs,
    ) -> Result<()> {
        let id = &claim.process.process;
        let what = format!("the claim on the commit of {id} was not given back");
        let mut race = self.race(what.clone());
        loop {
            let before = self.read_process(id).await?;
            let Some(row) = &before.row else {
                return Err(transition::lost_commit(id, claim.claim));
            };
            let Some(given_back) = transition::give_back_commit(row, claim.claim, why)? else {
                return Ok(());
            };
            let mut actions = vec![self.put_action(encode(&given_back, before.ttl)?, before.rev)];
            let table = self.read_table(&row.table).await?;
            let sooner = table
                .row
                .as_ref()
                .and_then(|row| transition::look_sooner(row, id, look_at));
            if let Some(sooner) = sooner {
                actions.push(self.put_action(tables::encode(&sooner)?, table.rev));
            }
            match self.transact(&what, actions).await? {
                Ok(()) => return Ok(()),
                Err(_) => race.lost().await?,
            }
        }
    }

    async fn end_process(
        &self,
        claim: &CommitClaim,
        outcome: &ProcessOutcome,
        committed_location: Option<&MetadataLocation>,
        next_due_at: Option<TimestampMs>,
        failures: u32,
    ) -> Result<()> {
        let id = &claim.process.process;
        let what = format!("process {id} could not be ended");
        let mut race = self.race(what.clone());
        loop {
            let before = self.read_process(id).await?;
            let ended = transition::end(before.row.as_ref(), id, claim.claim, outcome)?;
            let Some(ended) = ended else {
                return Ok(());
            };
            let ttl = self.ttl_after(self.ambient.now());
            let mut actions = vec![self.put_action(encode(&ended, Some(ttl))?, before.rev)];
            actions.extend(self.release_actions(&ended).await?);
            let table = self.read_table(&ended.table).await?;
            let freed = table.row.as_ref().and_then(|row| {
                transition::free(row, id, committed_location, next_due_at, failures)
            });
            let freed = freed.map(|row| transition::with_ending(row, outcome));
            if let Some(freed) = freed {
                actions.push(self.put_action(tables::encode(&freed)?, table.rev));
            }
            match self.transact(&what, actions).await? {
                Ok(()) => return Ok(()),
                Err(_) => race.lost().await?,
            }
        }
    }

    async fn cancel_process(&self, process: &ProcessId, reason: &str) -> Result<CancelOutcome> {
        let what = format!("process {process} could not be cancelled");
        let mut race = self.race(what.clone());
        loop {
            let before = self.read_process(process).await?;
            let Some(row) = &before.row else {
                return Ok(CancelOutcome::Unknown);
            };
            let ended = match transition::cancel(row, reason) {
                transition::Cancel::Not(outcome) => return Ok(outcome),
                transition::Cancel::Ended(ended) => ended,
            };
            let ttl = self.ttl_after(self.ambient.now());
            let mut actions = vec![self.put_action(encode(&ended, Some(ttl))?, before.rev)];
            actions.extend(self.release_actions(&ended).await?);
            let table = self.read_table(&ended.table).await?;
            let freed = table
                .row
                .as_ref()
                .and_then(|row| transition::free(row, process, None, None, row.failures));
            if let Some(freed) = freed {
                actions.push(self.put_action(tables::encode(&freed)?, table.rev));
            }
            match self.transact(&what, actions).await? {
                Ok(()) => return Ok(CancelOutcome::Cancelled),
                Err(_) => race.lost().await?,
            }
        }
    }
}
