//! The two databases behind one catalog: their pools, and how each tells what tables it has.
//!
//! The statements are the same for both (SQLite reads PostgreSQL's `$1`), so they stand once, in the catalog.

use std::{io, path::Path, time::Duration};

use icepress_model::CatalogName;
use icepress_storage::TimeLimits;
use sqlx::{
    PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::errors::Failure;
use crate::CatalogError;

/// Connections at a time. A catalog is asked seldom.
const CONNECTIONS: u32 = 4;

/// An open database.
#[derive(Debug, Clone)]
pub(super) struct Database {
    pub(super) pool: Pool,
    /// How long a statement may take, with all its waits.
    pub(super) limit: Duration,
}

/// Connections to it.
#[derive(Debug, Clone)]
pub(super) enum Pool {
    /// A file.
    Sqlite(SqlitePool),
    /// A server.
    Postgres(PgPool),
}

/// Runs a query on whichever database it is, in the time that it may take: `$pool` is its pool, of the one type or the other.
macro_rules! on_pool {
    ($database:expr, $pool:ident => $query:expr) => {{
        let database = $database;
        let query = async {
            match &database.pool {
                $crate::sql::database::Pool::Sqlite($pool) => $query,
                $crate::sql::database::Pool::Postgres($pool) => $query,
            }
        };
        $crate::sql::database::in_time(database.limit, query).await
    }};
}
pub(super) use on_pool;

/// The outcome of a statement, unless it takes longer than it may: whether it was carried out is unknown then.
pub(super) async fn in_time<T, E: From<sqlx::Error>>(
    limit: Duration,
    query: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let answer = TimeLimits::within(limit, query).await;
    answer.unwrap_or_else(|| {
        let message = format!("no answer within {} s", limit.as_secs());
        let error = io::Error::new(io::ErrorKind::TimedOut, message);
        Err(sqlx::Error::Io(error).into())
    })
}

/// What the database has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    /// The column `iceberg_type` of `iceberg_tables`.
    pub(super) has_types: bool,
    /// The table `iceberg_namespace_properties`, which the oldest Java catalogs lack.
    pub(super) has_namespaces: bool,
}

impl Database {
    pub(super) async fn sqlite(
        name: &CatalogName,
        file: &Path,
        create: bool,
        busy_timeout: Duration,
    ) -> Result<Self, CatalogError> {
        let options = SqliteConnectOptions::new()
            .filename(file)
            .create_if_missing(create)
            .busy_timeout(busy_timeout);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(options)
            .await
            .map_err(|source| Failure::new(source).into_catalog_error(name.as_str()))?;
        Ok(Self {
            pool: Pool::Sqlite(pool),
            limit: TimeLimits::default().whole,
        })
    }

    pub(super) async fn postgres(
        name: &CatalogName,
        options: PgConnectOptions,
        limits: &TimeLimits,
    ) -> Result<Self, CatalogError> {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            // To be let in takes a few questions and answers.
            .acquire_timeout(limits.connect * 2)
            .connect_with(options)
            .await
            .map_err(|source| Failure::new(source).into_catalog_error(name.as_str()))?;
        Ok(Self {
            pool: Pool::Postgres(pool),
            limit: limits.whole,
        })
    }

    pub(super) async fn close(&self) {
        match &self.pool {
            Pool::Sqlite(pool) => pool.close().await,
            Pool::Postgres(pool) => pool.close().await,
        }
    }

    /// `None` where there is no catalog in the database.
    pub(super) async fn layout(&self) -> Result<Option<Layout>, sqlx::Error> {
        let columns = self.columns("iceberg_tables").await?;
        let namespaces = self.columns("iceberg_namespace_properties").await?;
        Ok((!columns.is_empty()).then(|| Layout {
            has_types: columns
                .iter()
                .any(|column| column.eq_ignore_ascii_case("iceberg_type")),
            has_namespaces: !namespaces.is_empty(),
        }))
    }

    /// The names of a table's columns; none where there is no such table.
    async fn columns(&self, table: &str) -> Result<Vec<String>, sqlx::Error> {
        let columns = async {
            match &self.pool {
                Pool::Sqlite(pool) => {
                    sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
                        .bind(table)
                        .fetch_all(pool)
                        .await
                }
                // Found as a statement finds it, by the search path.
                Pool::Postgres(pool) => {
                    sqlx::query_scalar(
                        "SELECT attname::text FROM pg_attribute \
                     WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
                    )
                    .bind(table)
                    .fetch_all(pool)
                    .await
                }
            }
        };
        in_time(self.limit, columns).await
    }
}
