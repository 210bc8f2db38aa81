//! The layout in the state file.

use icepress_model::{BucketCount, Generation, TableId, TimestampMs};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{Result, SqliteStore};
use crate::{Home, Layout, TablesPage, encoding, encoding::Fields as _, layout, transition};

/// Tables of a page.
const PAGE: i64 = 1_000;

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

    pub(super) async fn found(&self, buckets: BucketCount) -> Result<Layout> {
        let mut transaction = self.file.begin().await?;
        if let Some(stands) = self.read_layout(&mut transaction).await? {
            return Ok(stands);
        }
        let first = Layout::first(buckets);
        self.write_layout(&mut transaction, &first).await?;
        self.file.commit(transaction).await?;
        Ok(first)
    }

    pub(super) async fn lay_out_anew(
        &self,
        buckets: BucketCount,
        now: TimestampMs,
    ) -> Result<Layout> {
        let mut transaction = self.file.begin().await?;
        let Some(before) = self.read_layout(&mut transaction).await? else {
            drop(transaction);
            return self.found(buckets).await;
        };
        let Some(after) = layout::resize(&before, buckets) else {
            return Ok(before);
        };
        let after = after.noted(now);
        self.write_layout(&mut transaction, &after).await?;
        self.file.commit(transaction).await?;
        Ok(after)
    }

    pub(super) async fn settle(&self, generation: Generation) -> Result<bool> {
        let mut transaction = self.file.begin().await?;
        let stands = self.read_layout(&mut transaction).await?;
        let Some(after) = stands.and_then(|stands| layout::settle(&stands, generation)) else {
            return Ok(false);
        };
        self.write_layout(&mut transaction, &after).await?;
        self.file.commit(transaction).await?;
        Ok(true)
    }

    pub(super) async fn move_table(&self, table: &TableId, home: Home) -> Result<bool> {
        let mut transaction = self.file.begin().await?;
        let row = self.read_table(&mut transaction, table).await?;
        let Some(moved) = row.and_then(|row| transition::rehome(&row, home)) else {
            return Ok(false);
        };
        self.write_table(&mut transaction, &moved).await?;
        self.file.commit(transaction).await?;
        Ok(true)
    }

    pub(super) async fn page_of_tables(&self, from: Option<&str>) -> Result<TablesPage> {
        let rows: Vec<SqliteRow> =
            sqlx::query("SELECT * FROM table_state WHERE table_id > ? ORDER BY table_id LIMIT ?")
                .bind(from.unwrap_or_default())
                .bind(PAGE)
                .fetch_all(&self.file.readers)
                .await
                .map_err(|error| self.file.failed("tables could not be read", error))?;
        let is_full = i64::try_from(rows.len()) == Ok(PAGE);
        let last = rows.last().filter(|_| is_full);
        Ok(TablesPage {
            next: last.and_then(|row| row.text("table_id").ok().flatten()),
            rows: rows.iter().map(Self::decode_tables).collect(),
        })
    }
}
