//! Blockers and quotas in DynamoDB.

use async_trait::async_trait;
use aws_sdk_dynamodb::types::TransactWriteItem;
use icepress_model::{CatalogName, ProcessId, Scope};

use super::{
    DynamoStore, Result,
    item::{Item, Key, blockers_of, item_of, number},
    requests::Stored,
};
use crate::{
    CoordinationError, LimitStore, NewProcess, ProcessRow,
    encoding::{self, Fields as _},
    limits::{Blocker, QuotaRow, Shortage, Usage},
};

fn encode(row: &QuotaRow) -> Result<Item> {
    item_of(&Key::quota(&row.scope), &encoding::encode_quota(row))
}

impl DynamoStore {
    /// What a write of a row has to compare, whatever else is in it; 0 where there is none.
    async fn rev_of(&self, key: &Key) -> Result<i64> {
        let item = self.get(key).await?;
        Ok(item.map_or(0, |item| item.number("rev").ok().flatten().unwrap_or(1)))
    }

    pub(super) async fn read_quota(&self, scope: &Scope) -> Result<Stored<QuotaRow>> {
        let stored = self
            .get_stored(&Key::quota(scope), encoding::decode_quota)
            .await?;
        Ok(Stored {
            row: stored
                .row
                .unwrap_or_else(|| QuotaRow::unused(scope.clone())),
            rev: stored.rev,
            ttl: stored.ttl,
        })
    }

    /// The writes that reserve what a process to be wants of its quotas; or which of them does not allow it.
    pub(super) async fn reserve_actions(
        &self,
        process: &NewProcess,
    ) -> Result<std::result::Result<Vec<TransactWriteItem>, Shortage>> {
        let mut actions = Vec::new();
        let Some(reservation) = &process.reservation else {
            return Ok(Ok(actions));
        };
        for (scope, quota) in &reservation.of {
            let before = self.read_quota(scope).await?;
            let id = &process.process;
            let reserved = before
                .row
                .reserve(quota, id, reservation.usage, process.created_at);
            match reserved {
                Ok(reserved) => actions.push(self.put_action(encode(&reserved)?, before.rev)),
                Err(shortage) => return Ok(Err(shortage)),
            }
        }
        Ok(Ok(actions))
    }

    /// The writes that book and let go of what an ended process held.
    pub(super) async fn release_actions(
        &self,
        process: &ProcessRow,
    ) -> Result<Vec<TransactWriteItem>> {
        let mut actions = Vec::new();
        for scope in &process.quotas {
            match self.read_quota(scope).await {
                Ok(before) => {
                    if let Some(released) = before.row.release(&process.process) {
                        actions.push(self.put_action(encode(&released)?, before.rev));
                    }
                }
                // A process must be able to end.
                Err(error @ CoordinationError::UnreadableRow { .. }) => {
                    tracing::error!(%scope, %error, "left an unreadable quota as it is");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(actions)
    }
}

#[async_trait]
impl LimitStore for DynamoStore {
    async fn block(&self, blocker: &Blocker) -> Result<()> {
        let key = Key::blocker(&blocker.scope, &blocker.owner);
        let mut item = item_of(&key, &encoding::encode_blocker(blocker))?;
        let ttl = blocker.expires_at + self.retention;
        item.insert("ttl".to_owned(), number(ttl.get() / 1_000));
        let mut race = self.race(format!("{} could not be blocked", blocker.scope));
        loop {
            if self.put(item.clone(), self.rev_of(&key).await?).await? {
                return Ok(());
            }
            race.lost().await?;
        }
    }

    async fn unblock(&self, scope: &Scope, owner: &str) -> Result<bool> {
        let key = Key::blocker(scope, owner);
        let what = format!("the blocker of {scope} could not be removed");
        let mut race = self.race(what.clone());
        loop {
            let rev = self.rev_of(&key).await?;
            if rev == 0 {
                return Ok(false);
            }
            let actions = vec![self.delete_action(&key, rev)];
            if self.transact(&what, actions).await?.is_ok() {
                return Ok(true);
            }
            race.lost().await?;
        }
    }

    async fn blockers(&self, catalog: &CatalogName) -> Result<Vec<Blocker>> {
        let rows = self.query(&blockers_of(catalog), "").await?;
        let decoded = rows
            .iter()
            .map(|row| encoding::decode_blocker(catalog, row));
        Ok(decoded.collect())
    }

    async fn quotas(&self, scopes: &[Scope]) -> Result<Vec<QuotaRow>> {
        let mut rows = Vec::with_capacity(scopes.len());
        for scope in scopes {
            rows.push(self.read_quota(scope).await?.row);
        }
        Ok(rows)
    }

    async fn correct_usage(&self, process: &ProcessId, usage: Usage) -> Result<()> {
        let Some(row) = self.read_process(process).await?.row else {
            return Ok(());
        };
        for scope in &row.quotas {
            let mut race = self.race(format!("what {process} took could not be booked"));
            loop {
                let before = self.read_quota(scope).await?;
                let Some(corrected) = before.row.correct(process, usage) else {
                    break;
                };
                if self.put(encode(&corrected)?, before.rev).await? {
                    break;
                }
                race.lost().await?;
            }
        }
        Ok(())
    }

    async fn free_reservation(&self, scope: &Scope, process: &ProcessId) -> Result<bool> {
        let mut race = self.race(format!("what {process} held could not be let go"));
        loop {
            let before = self.read_quota(scope).await?;
            let Some(freed) = before.row.release(process) else {
                return Ok(false);
            };
            // One that needs nothing any more never comes to need it again.
            let row = self.read_process(process).await?.row;
            if row.is_some_and(|row| !row.needs_no_quota()) {
                return Ok(false);
            }
            if self.put(encode(&freed)?, before.rev).await? {
                return Ok(true);
            }
            race.lost().await?;
        }
    }
}
