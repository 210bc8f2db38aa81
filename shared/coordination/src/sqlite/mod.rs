//! The embedded adapters: state and queues in one SQLite file that any number of processes may share.
//!
//! Every operation is one transaction that takes SQLite's write lock at its start, so two writers wait for each other
//! instead of failing. The file is in WAL mode: readers never wait.

mod access;
mod digests;
mod examine;
mod layout;
mod leases;
mod limits;
mod processes;
mod queue;
mod store;
mod tables;
mod tasks;
mod versions;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use icepress_model::ambient::Ambient;
use sqlx::{
    Row, Sqlite, SqlitePool, Transaction,
    sqlite::{
        SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
    },
};

pub use queue::SqliteQueue;
pub use store::SqliteStore;

use crate::{CoordinationError, encoding::Fields};

type Result<T> = std::result::Result<T, CoordinationError>;

/// The version of schema.sql, as `PRAGMA user_version` has it.
const SCHEMA_VERSION: i64 = 5;
const NOTE_VERSION: &str = "PRAGMA user_version = 5";

/// What makes of a file of one version one of the next, the oldest first.
const STEPS: [&str; 4] = [
    include_str!("from_1_to_2.sql"),
    include_str!("from_2_to_3.sql"),
    include_str!("from_3_to_4.sql"),
    include_str!("from_4_to_5.sql"),
];

/// How long a writer waits for another process's transaction. Ours take milliseconds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// SQLite's code for a file that is no database.
const NOT_A_DATABASE: &str = "26";

/// How the embedded store and queue behave.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// How often a message is received before it goes to the dead letters.
    pub max_receives: u32,
    /// How long ended processes and their tasks are kept, counted from their start.
    pub retention: Duration,
    /// How long `receive` waits between two looks at an empty queue.
    pub poll_interval: Duration,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            max_receives: 5,
            retention: Duration::from_secs(30 * 24 * 60 * 60),
            poll_interval: Duration::from_millis(200),
        }
    }
}

/// An open state file: makes the store and the queue that lie in it.
#[derive(Debug, Clone)]
pub struct SqliteFile {
    path: PathBuf,
    /// One connection: writers of this process queue up here, in order, rather than at SQLite's lock.
    writer: SqlitePool,
    readers: SqlitePool,
    options: SqliteOptions,
    ambient: Ambient,
}

impl SqliteFile {
    /// Opens the file, making it and its parent folders where they are missing. `Configuration` for a file that is no
    /// database, of a newer version, or not writable.
    pub async fn open(path: &Path, options: SqliteOptions, ambient: Ambient) -> Result<Self> {
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            tokio::fs::create_dir_all(parent).await.map_err(|error| {
                configuration(
                    path,
                    format!("its folder can't be made ({error}); choose another file with --state"),
                )
            })?;
        }
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true);
        let writer = connect_writer(path, &connect, &ambient).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(4)
            .min_connections(0)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_lazy_with(connect);
        let file = Self {
            path: path.to_owned(),
            writer,
            readers,
            options,
            ambient,
        };
        file.prepare().await?;
        Ok(file)
    }

    /// The state store in this file.
    pub fn store(&self) -> SqliteStore {
        SqliteStore::new(self.clone())
    }

    /// The queues in this file.
    pub fn queue(&self) -> SqliteQueue {
        SqliteQueue::new(self.clone())
    }

    /// Closes the connections of this process; what is under way ends first.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Makes the tables of an empty file, or brings those of an older version up to this one; refuses a file of a newer
    /// program.
    async fn prepare(&self) -> Result<()> {
        let mut transaction = self
            .writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(|error| opening_failed(&self.path, error))?;
        let version: i64 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(&mut *transaction)
            .await
            .map_err(|error| opening_failed(&self.path, error))?;
        let mut statements: Vec<&str> = match version {
            0 => {
                self.refuse_foreign_database(&mut transaction).await?;
                vec![include_str!("schema.sql")]
            }
            SCHEMA_VERSION => return Ok(()),
            1..SCHEMA_VERSION => {
                let done = usize::try_from(version - 1).unwrap_or(0);
                STEPS[done..].to_vec()
            }
            newer => {
                return Err(configuration(
                    &self.path,
                    format!(
                        "it has version {newer} of the state, this program knows {SCHEMA_VERSION}: \
                         use a newer icepress, or another file with --state"
                    ),
                ));
            }
        };
        statements.push(NOTE_VERSION);
        for statements in statements {
            sqlx::raw_sql(statements)
                .execute(&mut *transaction)
                .await
                .map_err(|error| opening_failed(&self.path, error))?;
        }
        transaction
            .commit()
            .await
            .map_err(|error| opening_failed(&self.path, error))
    }

    /// A database with tables and no version is somebody else's.
    async fn refuse_foreign_database(
        &self,
        transaction: &mut Transaction<'static, Sqlite>,
    ) -> Result<()> {
        let tables: i64 = sqlx::query_scalar("SELECT count(*) FROM sqlite_schema")
            .fetch_one(&mut **transaction)
            .await
            .map_err(|error| opening_failed(&self.path, error))?;
        if tables > 0 {
            return Err(configuration(
                &self.path,
                "it is a database of another program (a catalog?): choose another file with --state"
                    .to_owned(),
            ));
        }
        Ok(())
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        self.writer
            .begin_with("BEGIN IMMEDIATE")
            .await
            .map_err(|error| self.failed("no write lock", error))
    }

    async fn commit(&self, transaction: Transaction<'static, Sqlite>) -> Result<()> {
        transaction
            .commit()
            .await
            .map_err(|error| self.failed("a write could not be committed", error))
    }

    fn failed(&self, what: &str, error: sqlx::Error) -> CoordinationError {
        CoordinationError::Unavailable {
            store: self.path.display().to_string(),
            message: format!("{what}: {error}"),
            source: Some(Box::new(error)),
        }
    }
}

fn configuration(path: &Path, message: String) -> CoordinationError {
    CoordinationError::Configuration {
        store: path.display().to_string(),
        message,
    }
}

/// Opens the connection that writes. SQLite does not wait for others, whatever the time-out, where a new file is being
/// switched to its write-ahead log: it says "locked" at once, so waiting is up to us.
async fn connect_writer(
    path: &Path,
    connect: &SqliteConnectOptions,
    ambient: &Ambient,
) -> Result<SqlitePool> {
    const PAUSE: Duration = Duration::from_millis(50);
    let give_up = ambient.clock.monotonic() + BUSY_TIMEOUT;
    loop {
        let opened = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(BUSY_TIMEOUT)
            .connect_with(connect.clone())
            .await;
        match opened {
            Ok(pool) => return Ok(pool),
            Err(error) if is_locked(&error) && ambient.clock.monotonic() < give_up => {
                ambient.clock.sleep(PAUSE + ambient.jitter(PAUSE)).await;
            }
            Err(error) => return Err(opening_failed(path, error)),
        }
    }
}

/// Whether SQLite says that somebody else has the file locked: `SQLITE_BUSY`, with or without details above its lowest
/// byte.
fn is_locked(error: &sqlx::Error) -> bool {
    const SQLITE_BUSY: u32 = 5;
    let code = error
        .as_database_error()
        .and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == SQLITE_BUSY)
}

fn opening_failed(path: &Path, error: sqlx::Error) -> CoordinationError {
    let code = error
        .as_database_error()
        .and_then(|error| error.code().map(|code| code.into_owned()));
    let message = if code.as_deref() == Some(NOT_A_DATABASE) {
        "it is no SQLite database: choose another file with --state".to_owned()
    } else {
        format!("it can't be opened as the state file ({error}); choose another one with --state")
    };
    configuration(path, message)
}

impl Fields for SqliteRow {
    fn text(&self, name: &'static str) -> std::result::Result<Option<String>, String> {
        self.try_get(name).map_err(|error| error.to_string())
    }

    fn number(&self, name: &'static str) -> std::result::Result<Option<i64>, String> {
        self.try_get(name).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests;
