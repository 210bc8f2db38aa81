//! Blockers and quotas in the SQLite file.

use async_trait::async_trait;
use icepress_model::{CatalogName, ProcessId, Scope};
use sqlx::SqliteConnection;

use super::{
    Result,
    store::{SqliteStore, Write},
};
use crate::{
    CoordinationError, LimitStore, NewProcess, ProcessRow, encoding, key,
    limits::{Blocker, QuotaRow, Shortage, Usage},
};

impl SqliteStore {
    pub(super) async fn read_quota(
        &self,
        on: &mut SqliteConnection,
        scope: &Scope,
    ) -> Result<QuotaRow> {
        let row = sqlx::query("SELECT * FROM quota WHERE scope = ?")
            .bind(key::of_scope(scope))
            .fetch_optional(on)
            .await
            .map_err(|error| self.file.failed("a quota could not be read", error))?;
        match row {
            None => Ok(QuotaRow::unused(scope.clone())),
            Some(row) => {
                encoding::decode_quota(&row).map_err(Self::unreadable(format!("quota of {scope}")))
            }
        }
    }

    async fn write_quota(&self, on: &mut SqliteConnection, row: &QuotaRow) -> Result<()> {
        let columns = encoding::encode_quota(row);
        encoding::check_size(&key::of_scope(&row.scope), &columns, &[])?;
        sqlx::query(
            "INSERT OR REPLACE INTO quota (scope, day, month, booked_bytes, booked_cost, held)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(columns.get_text("scope"))
        .bind(columns.get_number("day"))
        .bind(columns.get_number("month"))
        .bind(columns.get_number("booked_bytes"))
        .bind(columns.get_number("booked_cost"))
        .bind(columns.get_text("held"))
        .execute(on)
        .await
        .map_err(|error| self.file.failed("a quota could not be written", error))?;
        Ok(())
    }

    /// Reserves what a process to be wants of its quotas, or says which does not allow it.
    pub(super) async fn reserve(
        &self,
        on: &mut Write,
        process: &NewProcess,
    ) -> Result<Option<Shortage>> {
        let Some(reservation) = &process.reservation else {
            return Ok(None);
        };
        for (scope, quota) in &reservation.of {
            let row = self.read_quota(on, scope).await?;
            let id = &process.process;
            match row.reserve(quota, id, reservation.usage, process.created_at) {
                Ok(reserved) => self.write_quota(on, &reserved).await?,
                // The caller's transaction takes back what was written so far.
                Err(shortage) => return Ok(Some(shortage)),
            }
        }
        Ok(None)
    }

    /// Books and lets go of what an ended process held.
    pub(super) async fn release(&self, on: &mut Write, process: &ProcessRow) -> Result<()> {
        for scope in &process.quotas {
            match self.read_quota(on, scope).await {
                Ok(row) => {
                    if let Some(released) = row.release(&process.process) {
                        self.write_quota(on, &released).await?;
                    }
                }
                // A process must be able to end.
                Err(error @ CoordinationError::UnreadableRow { .. }) => {
                    tracing::error!(%scope, %error, "left an unreadable quota as it is");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl LimitStore for SqliteStore {
    async fn block(&self, blocker: &Blocker) -> Result<()> {
        let columns = encoding::encode_blocker(blocker);
        let key = format!("{}#{}", key::of_scope(&blocker.scope), blocker.owner);
        encoding::check_size(&key, &columns, &[])?;
        sqlx::query(
            "INSERT OR REPLACE INTO blocker (catalog, scope, owner, reason, created_at, expires_at)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(blocker.scope.catalog().as_str())
        .bind(key::of_scope(&blocker.scope))
        .bind(&blocker.owner)
        .bind(&blocker.reason)
        .bind(blocker.created_at.get())
        .bind(blocker.expires_at.get())
        .execute(&self.file.writer)
        .await
        .map_err(|error| self.file.failed("a blocker could not be written", error))?;
        // Those whose time is long over are nobody's concern.
        sqlx::query("DELETE FROM blocker WHERE expires_at < ?")
            .bind((blocker.created_at - self.file.options.retention).get())
            .execute(&self.file.writer)
            .await
            .map_err(|error| self.file.failed("old blockers could not be removed", error))?;
        Ok(())
    }

    async fn unblock(&self, scope: &Scope, owner: &str) -> Result<bool> {
        let removed =
            sqlx::query("DELETE FROM blocker WHERE catalog = ? AND scope = ? AND owner = ?")
                .bind(scope.catalog().as_str())
                .bind(key::of_scope(scope))
                .bind(owner)
                .execute(&self.file.writer)
                .await
                .map_err(|error| self.file.failed("a blocker could not be removed", error))?;
        Ok(removed.rows_affected() > 0)
    }

    async fn blockers(&self, catalog: &CatalogName) -> Result<Vec<Blocker>> {
        let rows = sqlx::query("SELECT * FROM blocker WHERE catalog = ? ORDER BY scope, owner")
            .bind(catalog.as_str())
            .fetch_all(&self.file.readers)
            .await
            .map_err(|error| self.file.failed("blockers could not be read", error))?;
        let decoded = rows
            .iter()
            .map(|row| encoding::decode_blocker(catalog, row));
        Ok(decoded.collect())
    }

    async fn quotas(&self, scopes: &[Scope]) -> Result<Vec<QuotaRow>> {
        let mut reader = self.reader().await?;
        let mut rows = Vec::with_capacity(scopes.len());
        for scope in scopes {
            rows.push(self.read_quota(&mut reader, scope).await?);
        }
        Ok(rows)
    }

    async fn correct_usage(&self, process: &ProcessId, usage: Usage) -> Result<()> {
        let mut transaction = self.file.begin().await?;
        let Some(row) = self.read_process(&mut transaction, process).await? else {
            return Ok(());
        };
        for scope in &row.quotas {
            let quota = self.read_quota(&mut transaction, scope).await?;
            if let Some(corrected) = quota.correct(process, usage) {
                self.write_quota(&mut transaction, &corrected).await?;
            }
        }
        self.file.commit(transaction).await
    }

    async fn free_reservation(&self, scope: &Scope, process: &ProcessId) -> Result<bool> {
        let mut transaction = self.file.begin().await?;
        let row = self.read_process(&mut transaction, process).await?;
        if row.is_some_and(|row| !row.needs_no_quota()) {
            return Ok(false);
        }
        let quota = self.read_quota(&mut transaction, scope).await?;
        let Some(freed) = quota.release(process) else {
            return Ok(false);
        };
        self.write_quota(&mut transaction, &freed).await?;
        self.file.commit(transaction).await?;
        Ok(true)
    }
}
