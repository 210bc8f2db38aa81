//! Reading and writing single rows of the state file, within whatever transaction the caller has open.

use icepress_model::{BucketId, ProcessId, TableId, TaskId, WorkerId};
use sqlx::{Sqlite, SqliteConnection, query::Query, sqlite::SqliteArguments};

use super::{Result, SqliteStore};
use crate::{
    BucketRow, CoordinationError, Lease, ProcessRow, TableRow, TaskRow,
    encoding::{self, Columns},
    key, transition,
};

const PUT_TABLE: &str = "
    INSERT OR REPLACE INTO table_state (table_id, bucket, layout, epoch, due_location, due_at, marked_at, marks,
        seen_marks, evaluated_location, committed_location, conclusion, failures, begun, active_process)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

const PUT_PROCESS: &str = "
    INSERT INTO process (process, table_id, bucket, epoch, created_at, state, worker, deadline, outcome,
        commit_claims, tasks, open_tasks, header, quotas, kind, waits)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)
    ON CONFLICT (process) DO UPDATE SET state = ?6, worker = ?7, deadline = ?8, outcome = ?9,
        commit_claims = ?10, open_tasks = ?12, waits = ?16";

const PUT_TASK: &str = "
    INSERT OR REPLACE INTO task (process, task_index, bucket, attempt, state, worker, deadline, result, payload,
        sent_at, kind, waits)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

/// The parameters of a statement, from the columns of a row.
struct Bind<'q> {
    query: Query<'q, Sqlite, SqliteArguments>,
    columns: &'q Columns,
}

impl<'q> Bind<'q> {
    fn new(statement: &'static str, columns: &'q Columns) -> Self {
        Self {
            query: sqlx::query(statement),
            columns,
        }
    }

    fn text(mut self, name: &str) -> Self {
        self.query = self.query.bind(self.columns.get_text(name));
        self
    }

    fn number(mut self, name: &str) -> Self {
        self.query = self.query.bind(self.columns.get_number(name));
        self
    }
}

impl SqliteStore {
    pub(super) fn unreadable(row: String) -> impl FnOnce(String) -> CoordinationError {
        move |message| CoordinationError::UnreadableRow { row, message }
    }

    pub(super) async fn read_bucket(
        &self,
        on: &mut SqliteConnection,
        bucket: BucketId,
    ) -> Result<Option<BucketRow>> {
        sqlx::query("SELECT * FROM bucket WHERE bucket = ?")
            .bind(bucket.0)
            .fetch_optional(on)
            .await
            .map_err(|error| self.file.failed("a bucket could not be read", error))?
            .map(|row| encoding::decode_bucket(bucket, &row))
            .transpose()
            .map_err(Self::unreadable(format!("bucket {bucket}")))
    }

    pub(super) async fn write_bucket(
        &self,
        on: &mut SqliteConnection,
        row: &BucketRow,
    ) -> Result<()> {
        sqlx::query(
            "INSERT OR REPLACE INTO bucket (bucket, owner, epoch, expires_at, last_swept_at, last_begun_at)
             VALUES (?, ?, ?, ?, ?, ?)",
        )
        .bind(row.bucket.0)
        .bind(row.owner.as_ref().map(WorkerId::as_str))
        .bind(encoding::signed(row.epoch.get()))
        .bind(row.expires_at.get())
        .bind(row.last_swept_at.get())
        .bind(row.last_begun_at.get())
        .execute(on)
        .await
        .map_err(|error| self.file.failed("a lease could not be written", error))?;
        Ok(())
    }

    /// The bucket's row if the lease is its newest.
    pub(super) async fn leased(
        &self,
        on: &mut SqliteConnection,
        lease: &Lease,
    ) -> Result<BucketRow> {
        match self.read_bucket(on, lease.bucket).await? {
            Some(row) if transition::is_newest(&row, lease) => Ok(row),
            _ => Err(transition::lost_lease(lease)),
        }
    }

    pub(super) async fn read_table(
        &self,
        on: &mut SqliteConnection,
        table: &TableId,
    ) -> Result<Option<TableRow>> {
        sqlx::query("SELECT * FROM table_state WHERE table_id = ?")
            .bind(key::of_table(table))
            .fetch_optional(on)
            .await
            .map_err(|error| self.file.failed("a table's state could not be read", error))?
            .map(|row| encoding::decode_table(&row))
            .transpose()
            .map_err(Self::unreadable(format!("table {table}")))
    }

    pub(super) async fn write_table(
        &self,
        on: &mut SqliteConnection,
        row: &TableRow,
    ) -> Result<()> {
        let columns = encoding::encode_table(row);
        encoding::check_size(&key::of_table(&row.table), &columns, &[])?;
        Bind::new(PUT_TABLE, &columns)
            .text("table_id")
            .number("bucket")
            .number("layout")
            .number("epoch")
            .text("due_location")
            .number("due_at")
            .number("marked_at")
            .number("marks")
            .number("seen_marks")
            .text("evaluated_location")
            .text("committed_location")
            .text("conclusion")
            .number("failures")
            .number("begun")
            .text("active_process")
            .query
            .execute(on)
            .await
            .map_err(|error| {
                self.file
                    .failed("a table's state could not be written", error)
            })?;
        Ok(())
    }

    pub(super) async fn read_process(
        &self,
        on: &mut SqliteConnection,
        process: &ProcessId,
    ) -> Result<Option<ProcessRow>> {
        sqlx::query("SELECT * FROM process WHERE process = ?")
            .bind(process.as_str())
            .fetch_optional(on)
            .await
            .map_err(|error| self.file.failed("a process could not be read", error))?
            .map(|row| encoding::decode_process(&row))
            .transpose()
            .map_err(Self::unreadable(format!("process {process}")))
    }

    pub(super) async fn write_process(
        &self,
        on: &mut SqliteConnection,
        row: &ProcessRow,
    ) -> Result<()> {
        let columns = encoding::encode_process(row);
        encoding::check_size(row.process.as_str(), &columns, &[])?;
        Bind::new(PUT_PROCESS, &columns)
            .text("process")
            .text("table_id")
            .number("bucket")
            .number("epoch")
            .number("created_at")
            .text("state")
            .text("worker")
            .number("deadline")
            .text("outcome")
            .number("commit_claims")
            .number("tasks")
            .number("open_tasks")
            .text("header")
            .text("quotas")
            .text("kind")
            .number("waits")
            .query
            .execute(on)
            .await
            .map_err(|error| self.file.failed("a process could not be written", error))?;
        Ok(())
    }

    pub(super) async fn read_task(
        &self,
        on: &mut SqliteConnection,
        task: &TaskId,
    ) -> Result<Option<TaskRow>> {
        sqlx::query("SELECT * FROM task WHERE process = ? AND task_index = ?")
            .bind(task.process.as_str())
            .bind(task.index)
            .fetch_optional(on)
            .await
            .map_err(|error| self.file.failed("a task could not be read", error))?
            .map(|row| encoding::decode_task(&row))
            .transpose()
            .map_err(Self::unreadable(format!("task {task}")))
    }

    pub(super) async fn write_task(&self, on: &mut SqliteConnection, row: &TaskRow) -> Result<()> {
        let columns = encoding::encode_task(row);
        // Plans and results have nowhere else to lie on a laptop: the file keeps them whole.
        encoding::check_size(&row.task.to_string(), &columns, &["payload", "result"])?;
        Bind::new(PUT_TASK, &columns)
            .text("process")
            .number("task_index")
            .number("bucket")
            .number("attempt")
            .text("state")
            .text("worker")
            .number("deadline")
            .text("result")
            .text("payload")
            .number("sent_at")
            .text("kind")
            .number("waits")
            .query
            .execute(on)
            .await
            .map_err(|error| self.file.failed("a task could not be written", error))?;
        Ok(())
    }
}
