//! The layout in the state file.

use async_trait::async_trait;
use icepress_model::{BucketCount, Generation, TableId, TimestampMs};
use sqlx::SqliteConnection;

use super::{Result, SqliteStore};
use crate::{Home, Layout, LayoutStore, encoding, layout, transition};

impl SqliteStore {
    pub(super) async fn read_layout(&self, on: &mut SqliteConnection) -> Result<Option<Layout>> {
        sqlx::query("SELECT * FROM layout")
            .fetch_optional(on)
            .await
            .map_err(|error| self.file.failed("the layout could not be read", error))?
            .map(|row| encoding::decode_layout(&row))
            .transpose()
            .map_err(Self::unreadable("the layout".to_owned()))
    }

    async fn write_layout(&self, on: &mut SqliteConnection, layout: &Layout) -> Result<()> {
        let columns = encoding::encode_layout(layout);
        sqlx::query(
            "INSERT OR REPLACE INTO layout (id, generation, buckets, former, moving_since)
             VALUES (1, ?, ?, ?, ?)",
        )
        .bind(columns.get_number("generation"))
        .bind(columns.get_number("buckets"))
        .bind(columns.get_number("former"))
        .bind(columns.get_number("moving_since"))
        .execute(on)
        .await
        .map_err(|error| self.file.failed("the layout could not be written", error))?;
        Ok(())
    }
}

#[async_trait]
impl LayoutStore for SqliteStore {
    async fn layout(&self) -> Result<Option<Layout>> {
        let mut reader = self.reader().await?;
        self.read_layout(&mut reader).await
    }

    async fn found_layout(&self, buckets: BucketCount) -> Result<Layout> {
        let mut transaction = self.file.begin().await?;
        if let Some(stands) = self.read_layout(&mut transaction).await? {
            return Ok(stands);
        }
        let first = Layout::first(buckets);
        self.write_layout(&mut transaction, &first).await?;
        self.file.commit(transaction).await?;
        Ok(first)
    }

    async fn resize(&self, buckets: BucketCount, now: TimestampMs) -> Result<Layout> {
        let mut transaction = self.file.begin().await?;
        let Some(before) = self.read_layout(&mut transaction).await? else {
            drop(transaction);
            return self.found_layout(buckets).await;
        };
        let Some(after) = layout::resize(&before, buckets) else {
            return Ok(before);
        };
        let after = after.noted(now);
        self.write_layout(&mut transaction, &after).await?;
        self.file.commit(transaction).await?;
        Ok(after)
    }

    async fn settle_layout(&self, generation: Generation) -> Result<bool> {
        let mut transaction = self.file.begin().await?;
        let stands = self.read_layout(&mut transaction).await?;
        let Some(after) = stands.and_then(|stands| layout::settle(&stands, generation)) else {
            return Ok(false);
        };
        self.write_layout(&mut transaction, &after).await?;
        self.file.commit(transaction).await?;
        Ok(true)
    }

    async fn rehome(&self, table: &TableId, home: Home) -> Result<bool> {
        let mut transaction = self.file.begin().await?;
        let row = self.read_table(&mut transaction, table).await?;
        let Some(moved) = row.and_then(|row| transition::rehome(&row, home)) else {
            return Ok(false);
        };
        self.write_table(&mut transaction, &moved).await?;
        self.file.commit(transaction).await?;
        Ok(true)
    }
}
