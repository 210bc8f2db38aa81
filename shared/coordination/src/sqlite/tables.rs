//! Table state in the state file.

use async_trait::async_trait;
use futures::TryStreamExt as _;
use icepress_model::{BucketId, DatabaseId, MetadataLocation, TableId, TimestampMs};
use sqlx::{SqliteConnection, sqlite::SqliteRow};

use super::{Result, SqliteStore};
use crate::{
    Conclusion, CoordinationError, Home, KeyRange, Lease, ListedRow, MarkOutcome, PartPage, Search,
    TableKey, TableRow, TableStore, TablesPage,
    encoding::{self, Fields as _},
    key, transition,
};

/// Tables of a page.
const PAGE: i64 = 1_000;

impl SqliteStore {
    /// The table's row, without a process whose own row is gone.
    pub(super) async fn read_table_to_plan(
        &self,
        on: &mut SqliteConnection,
        table: &TableId,
    ) -> Result<Option<TableRow>> {
        let Some(row) = self.read_table(on, table).await? else {
            return Ok(None);
        };
        if let Some(process) = &row.active_process
            && self.read_process(on, process).await?.is_none()
        {
            return Ok(Some(transition::without_lost_process(&row)));
        }
        Ok(Some(row))
    }

    async fn mark(
        &self,
        home: Home,
        table: &TableId,
        location: Option<&MetadataLocation>,
        due_at: TimestampMs,
    ) -> Result<MarkOutcome> {
        let mut transaction = self.file.begin().await?;
        let row = self.read_table(&mut transaction, table).await?;
        let Some(marked) = transition::mark(row.as_ref(), home, table, location, due_at) else {
            return Ok(MarkOutcome::AlreadyKnown);
        };
        self.write_table(&mut transaction, &marked).await?;
        self.file.commit(transaction).await?;
        Ok(MarkOutcome::Marked)
    }

    fn decode_tables(row: &SqliteRow) -> Result<TableRow> {
        encoding::decode_table(row).map_err(|message| CoordinationError::UnreadableRow {
            row: format!(
                "table {}",
                row.text("table_id").ok().flatten().unwrap_or_default()
            ),
            message,
        })
    }
}

fn ended_at(page: &str) -> Option<(i64, i64)> {
    let (due_at, number) = page.split_once('#')?;
    Some((due_at.parse().ok()?, number.parse().ok()?))
}

#[async_trait]
impl TableStore for SqliteStore {
    async fn mark_due(
        &self,
        home: Home,
        table: &TableId,
        location: &MetadataLocation,
        due_at: TimestampMs,
    ) -> Result<MarkOutcome> {
        self.mark(home, table, Some(location), due_at).await
    }

    async fn force_due(&self, home: Home, table: &TableId, due_at: TimestampMs) -> Result<()> {
        self.mark(home, table, None, due_at).await?;
        Ok(())
    }

    async fn due_tables(
        &self,
        bucket: BucketId,
        now: TimestampMs,
        limit: usize,
    ) -> Result<Vec<Result<TableRow>>> {
        let mut rows = sqlx::query(
            "SELECT * FROM table_state WHERE bucket = ? AND due_at <= ? ORDER BY due_at, table_id",
        )
        .bind(bucket.0)
        .bind(now.get())
        .fetch(&self.file.readers);
        let mut tables = Vec::new();
        let mut readable = 0;
        while readable < limit {
            let row = rows
                .try_next()
                .await
                .map_err(|error| self.file.failed("due tables could not be read", error))?;
            let Some(row) = row else { break };
            let table = Self::decode_tables(&row);
            readable += usize::from(table.is_ok());
            tables.push(table);
        }
        Ok(tables)
    }

    // Where a page ended says when its last table is due, and the number of its row.
    async fn watched_page(&self, bucket: BucketId, from: Option<&str>) -> Result<TablesPage> {
        let (due_at, number) = match from {
            None => (i64::MIN, i64::MIN),
            Some(from) => ended_at(from).ok_or_else(|| CoordinationError::Configuration {
                store: self.file.path.display().to_string(),
                message: format!("no page of tables begins at '{from}'"),
            })?,
        };
        let rows: Vec<SqliteRow> = sqlx::query(
            "SELECT *, rowid AS number FROM table_state
             WHERE bucket = ? AND due_at IS NOT NULL AND (due_at, rowid) > (?, ?)
             ORDER BY due_at, rowid LIMIT ?",
        )
        .bind(bucket.0)
        .bind(due_at)
        .bind(number)
        .bind(PAGE)
        .fetch_all(&self.file.readers)
        .await
        .map_err(|error| self.file.failed("due tables could not be read", error))?;
        let is_full = i64::try_from(rows.len()) == Ok(PAGE);
        let next = rows.last().filter(|_| is_full).and_then(|row| {
            let number = |name| row.number(name).ok().flatten();
            Some(format!("{}#{}", number("due_at")?, number("number")?))
        });
        Ok(TablesPage {
            next,
            rows: rows.iter().map(Self::decode_tables).collect(),
        })
    }

    async fn next_due(&self, bucket: BucketId) -> Result<Option<TimestampMs>> {
        let due_at: Option<i64> =
            sqlx::query_scalar("SELECT min(due_at) FROM table_state WHERE bucket = ?")
                .bind(bucket.0)
                .fetch_one(&self.file.readers)
                .await
                .map_err(|error| self.file.failed("due tables could not be read", error))?;
        Ok(due_at.map(TimestampMs))
    }

    async fn table(&self, table: &TableId) -> Result<Option<TableRow>> {
        let mut reader = self.reader().await?;
        self.read_table(&mut reader, table).await
    }

    // The names are the rows' own keys: there are none without.
    async fn tables_by_hash(
        &self,
        database: &DatabaseId,
        hashes: &[u64],
        _search: Search,
    ) -> Result<Vec<TableId>> {
        let database_key = key::of_database(database);
        // '0' follows '/', which ends the database's part of a key.
        let keys: Vec<String> = sqlx::query_scalar(
            "SELECT table_id FROM table_state WHERE table_id > ? || '/' AND table_id < ? || '0'",
        )
        .bind(&database_key)
        .bind(&database_key)
        .fetch_all(&self.file.readers)
        .await
        .map_err(|error| self.file.failed("tables could not be read", error))?;
        Ok(key::tables_by_hash(&keys, database, hashes))
    }

    async fn tables_page(&self, from: Option<&str>) -> Result<TablesPage> {
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

    fn parts_of_tables(&self) -> u32 {
        1
    }

    async fn tables_of_part(&self, _: u32, range: &KeyRange, limit: usize) -> Result<PartPage> {
        let rows: Vec<SqliteRow> = sqlx::query(
            "SELECT * FROM table_state WHERE table_id >= ? AND table_id < ? ORDER BY table_id LIMIT ?",
        )
        .bind(&range.from)
        .bind(&range.before)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(&self.file.readers)
        .await
        .map_err(|error| self.file.failed("tables could not be read", error))?;
        let listed = rows.iter().filter_map(|row| {
            let key = row.text("table_id").ok().flatten()?;
            Some(ListedRow {
                key: TableKey::stored(key),
                row: Self::decode_tables(row),
            })
        });
        let listed: Vec<ListedRow> = listed.collect();
        // Behind a full page there may be more.
        let last = listed.last().filter(|_| rows.len() == limit);
        Ok(PartPage {
            rest: last.map(|last| range.behind(last.key.as_str())),
            rows: listed,
        })
    }

    async fn note_begun(&self, lease: &Lease, seen: &TableRow) -> Result<()> {
        let mut transaction = self.file.begin().await?;
        self.leased(&mut transaction, lease).await?;
        let row = self.read_table(&mut transaction, &seen.table).await?;
        if let Some(begun) = transition::begin(row.as_ref(), lease, seen)? {
            self.write_table(&mut transaction, &begun).await?;
            self.file.commit(transaction).await?;
        }
        Ok(())
    }

    async fn conclude(
        &self,
        lease: &Lease,
        seen: &TableRow,
        conclusion: &Conclusion,
    ) -> Result<()> {
        let mut transaction = self.file.begin().await?;
        self.leased(&mut transaction, lease).await?;
        let row = self
            .read_table_to_plan(&mut transaction, &seen.table)
            .await?;
        let concluded = transition::conclude(row.as_ref(), lease, seen, conclusion)?;
        self.write_table(&mut transaction, &concluded).await?;
        self.file.commit(transaction).await
    }

    async fn forget_table(&self, lease: &Lease, seen: &TableRow) -> Result<bool> {
        let table = &seen.table;
        let mut transaction = self.file.begin().await?;
        self.leased(&mut transaction, lease).await?;
        let row = self.read_table_to_plan(&mut transaction, table).await?;
        let Some(row) = row else { return Ok(true) };
        if !transition::may_forget(&row, lease, seen)? {
            return Ok(false);
        }
        sqlx::query("DELETE FROM table_state WHERE table_id = ?")
            .bind(key::of_table(table))
            .execute(&mut *transaction)
            .await
            .map_err(|error| {
                self.file
                    .failed("a table's state could not be removed", error)
            })?;
        self.file.commit(transaction).await?;
        Ok(true)
    }
}
