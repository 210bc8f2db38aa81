//! The two databases behind one catalog: their pools, and how each tells what tables it has.
//!
//! The statements are the same for both (SQLite reads PostgreSQL's `$1`), so they stand once, in the catalog.

use std::{path::Path, time::Duration};

use icepress_model::CatalogName;
use sqlx::{
    PgPool, SqlitePool,
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqlitePoolOptions},
};

use super::errors::Failure;
use crate::CatalogError;

/// Connections at a time. A catalog is asked seldom.
const CONNECTIONS: u32 = 4;
/// How long to wait for a connection to a server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An open database.
#[derive(Debug, Clone)]
pub(super) enum Database {
    /// A file.
    Sqlite(SqlitePool),
    /// A server.
    Postgres(PgPool),
}

/// Runs a query on whichever database it is: `$pool` is its pool, of the one type or the other.
macro_rules! on_pool {
    ($database:expr, $pool:ident => $query:expr) => {
        match $database {
            $crate::sql::database::Database::Sqlite($pool) => $query,
            $crate::sql::database::Database::Postgres($pool) => $query,
        }
    };
}
pub(super) use on_pool;

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
        SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .connect_with(options)
            .await
            .map(Self::Sqlite)
            .map_err(|source| Failure::new(source).into_catalog_error(name.as_str()))
    }

    pub(super) async fn postgres(
        name: &CatalogName,
        options: PgConnectOptions,
    ) -> Result<Self, CatalogError> {
        PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_with(options)
            .await
            .map(Self::Postgres)
            .map_err(|source| Failure::new(source).into_catalog_error(name.as_str()))
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
        match self {
            Self::Sqlite(pool) => {
                sqlx::query_scalar("SELECT name FROM pragma_table_info($1)")
                    .bind(table)
                    .fetch_all(pool)
                    .await
            }
            // Found as a statement finds it, by the search path.
            Self::Postgres(pool) => {
                sqlx::query_scalar(
                    "SELECT attname::text FROM pg_attribute \
                     WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped",
                )
                .bind(table)
                .fetch_all(pool)
                .await
            }
        }
    }
}
