//! The state store in the SQLite file: each port stands in the file that is about it. What an operation makes of a row
//! stands in `transition`.

use sqlx::{Sqlite, Transaction, pool::PoolConnection};

use super::{Result, SqliteFile};

/// Leases, digests, tables, processes and tasks, in the state file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pub(super) file: SqliteFile,
}

/// A transaction that holds the write lock.
pub(super) type Write = Transaction<'static, Sqlite>;

impl SqliteStore {
    pub(super) fn new(file: SqliteFile) -> Self {
        Self { file }
    }

    pub(super) async fn reader(&self) -> Result<PoolConnection<Sqlite>> {
        self.file
            .readers
            .acquire()
            .await
            .map_err(|error| self.file.failed("no connection", error))
    }
}
