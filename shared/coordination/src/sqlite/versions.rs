//! What runs, in the SQLite file.

use async_trait::async_trait;
use icepress_model::TimestampMs;
use sqlx::sqlite::SqliteRow;

use super::{Result, SqliteStore};
use crate::{Component, RunningVersion, VersionStore, encoding, versions};

#[async_trait]
impl VersionStore for SqliteStore {
    async fn note_version(
        &self,
        component: Component,
        version: &str,
        now: TimestampMs,
    ) -> Result<()> {
        let mut transaction = self.file.begin().await?;
        let row: Option<SqliteRow> =
            sqlx::query("SELECT * FROM version WHERE component = ? AND version = ?")
                .bind(component.as_str())
                .bind(version)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(|error| self.file.failed("a version could not be read", error))?;
        let before = row.and_then(|row| encoding::decode_version(&row).ok());
        let Some(noted) = versions::noted(before.as_ref(), component, version, now) else {
            return Ok(());
        };
        sqlx::query(
            "INSERT OR REPLACE INTO version (component, version, first_at, last_at)
             VALUES (?, ?, ?, ?)",
        )
        .bind(noted.component.as_str())
        .bind(&noted.version)
        .bind(noted.first_at.get())
        .bind(noted.last_at.get())
        .execute(&mut *transaction)
        .await
        .map_err(|error| self.file.failed("a version could not be noted", error))?;
        sqlx::query("DELETE FROM version WHERE last_at < ?")
            .bind((now - self.file.options.retention).get())
            .execute(&mut *transaction)
            .await
            .map_err(|error| self.file.failed("old versions could not be removed", error))?;
        self.file.commit(transaction).await
    }

    async fn versions(&self, now: TimestampMs) -> Result<Vec<RunningVersion>> {
        let rows = sqlx::query("SELECT * FROM version")
            .fetch_all(&self.file.readers)
            .await
            .map_err(|error| self.file.failed("versions could not be read", error))?;
        let mut all = Vec::with_capacity(rows.len());
        for row in &rows {
            match encoding::decode_version(row) {
                Ok(row) => all.push(row),
                Err(error) => tracing::error!(%error, "left out an unreadable note of a version"),
            }
        }
        Ok(versions::newest_first(
            all,
            now,
            self.file.options.retention,
        ))
    }
}
