//! The SQL catalog on SQLite: the tables that PyIceberg's `SqlCatalog` and Java's `JdbcCatalog` share, as they are.
//!
//! Both know two layouts of `iceberg_tables`, with the column `iceberg_type` (where views live too) and without. Nothing
//! is migrated and no pragma is changed: whoever else has the file open goes on as before. A commit is one `UPDATE`
//! that names the old metadata location in its condition.

use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use icepress_model::{
    CatalogName, DatabaseId, MetadataLocation, Namespace, TableId, ambient::Ambient,
};
use icepress_storage::Storage;
use sqlx::{
    Row as _,
    sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions},
};

use crate::{
    Catalog, CatalogError, CommitError, CommitToken, ListedTable, LoadedTable, TableChange,
    TablePage,
    metadata::{StagedMetadata, discard_staged, read_metadata, stage_metadata},
};

mod errors;
mod uri;

use errors::Failure;

/// How long to wait for another process's lock on the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Tables in a page of a listing.
const PAGE: i64 = 1000;

/// As PyIceberg makes them.
const NEW_TABLES: [&str; 2] = [
    "CREATE TABLE IF NOT EXISTS iceberg_tables (
        catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL, table_name VARCHAR(255) NOT NULL,
        metadata_location VARCHAR(1000), previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5),
        PRIMARY KEY (catalog_name, table_namespace, table_name))",
    "CREATE TABLE IF NOT EXISTS iceberg_namespace_properties (
        catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL, property_key VARCHAR(255) NOT NULL,
        property_value VARCHAR(1000) NOT NULL, PRIMARY KEY (catalog_name, namespace, property_key))",
];

/// A SQL catalog in one SQLite file.
#[derive(Debug)]
pub struct SqlCatalog {
    name: CatalogName,
    /// The value of `catalog_name` in the rows.
    name_in_rows: String,
    pool: SqlitePool,
    layout: Layout,
    storage: Arc<dyn Storage>,
    ambient: Ambient,
}

/// What the database has.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// The column `iceberg_type` of `iceberg_tables`.
    has_types: bool,
    /// The table `iceberg_namespace_properties`, which the oldest Java catalogs lack.
    has_namespaces: bool,
}

impl SqlCatalog {
    /// Opens the catalog in the file that `uri` names, which somebody made.
    ///
    /// Its rows are those of `name`; or of `name_in_rows` (property `catalog-name`), for a catalog that is known by
    /// another name to those who made it.
    pub async fn open(
        name: CatalogName,
        uri: &str,
        name_in_rows: Option<&str>,
        storage: Arc<dyn Storage>,
        ambient: Ambient,
    ) -> Result<Self, CatalogError> {
        Self::open_waiting(name, uri, name_in_rows, storage, ambient, BUSY_TIMEOUT).await
    }

    async fn open_waiting(
        name: CatalogName,
        uri: &str,
        name_in_rows: Option<&str>,
        storage: Arc<dyn Storage>,
        ambient: Ambient,
        busy_timeout: Duration,
    ) -> Result<Self, CatalogError> {
        let configuration = |message| CatalogError::Configuration {
            catalog: name.to_string(),
            message,
        };
        let file = uri::sqlite_file(uri).map_err(configuration)?;
        if !file.is_file() {
            let file = file.display();
            return Err(configuration(format!(
                "there is no file {file}, which uri '{uri}' names"
            )));
        }
        let pool = connect(&name, &file, false, busy_timeout).await?;
        let failed = |source| Failure::new(source).into_catalog_error(name.as_str());
        let layout = layout(&pool).await.map_err(failed)?.ok_or_else(|| {
            configuration(format!(
                "{} holds no Iceberg catalog: it has no table iceberg_tables",
                file.display()
            ))
        })?;
        let name_in_rows = match name_in_rows {
            Some(given) => given.to_owned(),
            None => find_name_in_rows(&pool, layout, &name).await?,
        };
        Ok(Self {
            name,
            name_in_rows,
            pool,
            layout,
            storage,
            ambient,
        })
    }

    /// Opens the catalog in the file that `uri` names, and makes file and tables where they are not there.
    pub async fn create(
        name: CatalogName,
        uri: &str,
        storage: Arc<dyn Storage>,
        ambient: Ambient,
    ) -> Result<Self, CatalogError> {
        let configuration = |message| CatalogError::Configuration {
            catalog: name.to_string(),
            message,
        };
        let file = uri::sqlite_file(uri).map_err(configuration)?;
        if let Some(folder) = file.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(|error| {
                configuration(format!(
                    "the folder {} can't be made: {error}",
                    folder.display()
                ))
            })?;
        }
        let pool = connect(&name, &file, true, BUSY_TIMEOUT).await?;
        for statement in NEW_TABLES {
            sqlx::query(statement)
                .execute(&pool)
                .await
                .map_err(|source| Failure::new(source).into_catalog_error(name.as_str()))?;
        }
        pool.close().await;
        let name_in_rows = name.to_string();
        Self::open(name, uri, Some(&name_in_rows), storage, ambient).await
    }

    /// Makes a namespace, unless it is there.
    pub async fn create_namespace(&self, namespace: &Namespace) -> Result<(), CatalogError> {
        sqlx::query(
            "INSERT OR IGNORE INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value) \
             VALUES (?, ?, 'exists', 'true')",
        )
        .bind(&self.name_in_rows)
        .bind(namespace.to_string())
        .execute(&self.pool)
        .await
        .map(drop)
        .map_err(|source| self.failed(source))
    }

    /// Makes a table of a metadata file that lies at `location`, and the namespace where it's missing.
    pub async fn register(
        &self,
        table: &TableId,
        location: &MetadataLocation,
    ) -> Result<(), CatalogError> {
        self.create_namespace(&table.namespace).await?;
        let statement = if self.layout.has_types {
            "INSERT OR IGNORE INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, \
             iceberg_type) VALUES (?, ?, ?, ?, 'TABLE')"
        } else {
            "INSERT OR IGNORE INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) \
             VALUES (?, ?, ?, ?)"
        };
        let inserted = sqlx::query(statement)
            .bind(&self.name_in_rows)
            .bind(table.namespace.to_string())
            .bind(&table.name)
            .bind(location.as_str())
            .execute(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        if inserted.rows_affected() == 0 {
            return Err(CatalogError::AlreadyExists(table.clone()));
        }
        Ok(())
    }

    /// Takes a table out of the catalog; its files stay.
    pub async fn unregister(&self, table: &TableId) -> Result<(), CatalogError> {
        let deleted = sqlx::query(
            "DELETE FROM iceberg_tables WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?",
        )
        .bind(&self.name_in_rows)
        .bind(table.namespace.to_string())
        .bind(&table.name)
        .execute(&self.pool)
        .await
        .map_err(|source| self.failed(source))?;
        if deleted.rows_affected() == 0 {
            return Err(CatalogError::NoSuchTable(table.clone()));
        }
        Ok(())
    }

    fn failed(&self, source: sqlx::Error) -> CatalogError {
        Failure::new(source).into_catalog_error(self.name.as_str())
    }

    /// Where the catalog points to now.
    async fn current_location(&self, table: &TableId) -> Result<MetadataLocation, CatalogError> {
        let statement = if self.layout.has_types {
            "SELECT metadata_location, iceberg_type FROM iceberg_tables \
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?"
        } else {
            "SELECT metadata_location, NULL AS iceberg_type FROM iceberg_tables \
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ?"
        };
        let row = sqlx::query(statement)
            .bind(&self.name_in_rows)
            .bind(table.namespace.to_string())
            .bind(&table.name)
            .fetch_optional(&self.pool)
            .await
            .map_err(|source| self.failed(source))?
            .ok_or_else(|| CatalogError::NoSuchTable(table.clone()))?;
        let location: Option<String> = row.try_get(0).map_err(|source| self.failed(source))?;
        let kind: Option<String> = row.try_get(1).map_err(|source| self.failed(source))?;
        match (location, kind.as_deref()) {
            (Some(location), None | Some("TABLE")) => Ok(MetadataLocation(location)),
            _ => Err(CatalogError::NotIceberg(table.clone())),
        }
    }

    /// What became of a swap that ended in an error: SQLite undoes a statement that fails, so looking tells.
    async fn outcome_of_failed_swap(
        &self,
        base: &LoadedTable,
        staged: &StagedMetadata,
        failure: Failure,
    ) -> Result<(), CommitError> {
        let unknown = |message: String| CommitError::OutcomeUnknown {
            table: base.table.clone(),
            message,
        };
        if failure.is_lock() {
            // Outside a transaction a statement that ends so changed nothing. Another writer was at work: the same as a
            // lost race, but for its end.
            discard_staged(&*self.storage, staged).await;
            return Err(CommitError::Conflict(base.table.clone()));
        }
        let now = match self.current_location(&base.table).await {
            Ok(location) => location,
            Err(CatalogError::NoSuchTable(table)) => return Err(CommitError::NoSuchTable(table)),
            Err(error) => return Err(unknown(format!("{failure}; and then: {error}"))),
        };
        if now == staged.location {
            return Ok(());
        }
        if now != base.metadata_location || !failure.is_certain() {
            return Err(unknown(failure.to_string()));
        }
        discard_staged(&*self.storage, staged).await;
        Err(CommitError::Refused(
            failure.into_catalog_error(self.name.as_str()),
        ))
    }
}

#[async_trait]
impl Catalog for SqlCatalog {
    fn name(&self) -> &CatalogName {
        &self.name
    }

    async fn list_namespaces(&self) -> Result<Vec<Namespace>, CatalogError> {
        let statement = if self.layout.has_namespaces {
            "SELECT table_namespace FROM iceberg_tables WHERE catalog_name = ?1 \
             UNION SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = ?1 ORDER BY 1"
        } else {
            "SELECT DISTINCT table_namespace FROM iceberg_tables WHERE catalog_name = ?1 ORDER BY 1"
        };
        let names: Vec<String> = sqlx::query_scalar(statement)
            .bind(&self.name_in_rows)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        // Java can keep tables in no namespace at all; a table's name has one here.
        Ok(names
            .iter()
            .filter(|name| !name.is_empty())
            .map(|name| Namespace::from_dotted(name))
            .collect())
    }

    async fn list_tables(
        &self,
        database: &DatabaseId,
        next: Option<&str>,
    ) -> Result<TablePage, CatalogError> {
        let statement = if self.layout.has_types {
            "SELECT table_name, metadata_location FROM iceberg_tables \
             WHERE catalog_name = ? AND table_namespace = ? AND table_name > ? AND metadata_location IS NOT NULL \
             AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL) ORDER BY table_name LIMIT ?"
        } else {
            "SELECT table_name, metadata_location FROM iceberg_tables \
             WHERE catalog_name = ? AND table_namespace = ? AND table_name > ? AND metadata_location IS NOT NULL \
             ORDER BY table_name LIMIT ?"
        };
        let rows: Vec<(String, String)> = sqlx::query_as(statement)
            .bind(&self.name_in_rows)
            .bind(database.namespace.to_string())
            .bind(next.unwrap_or_default())
            .bind(PAGE)
            .fetch_all(&self.pool)
            .await
            .map_err(|source| self.failed(source))?;
        let is_full = rows.len() as i64 == PAGE;
        Ok(TablePage {
            next: rows
                .last()
                .filter(|_| is_full)
                .map(|(name, _)| name.clone()),
            tables: rows
                .into_iter()
                .map(|(name, location)| ListedTable {
                    table: TableId {
                        catalog: self.name.clone(),
                        namespace: database.namespace.clone(),
                        name,
                    },
                    metadata_location: Some(MetadataLocation(location)),
                })
                .collect(),
        })
    }

    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        let metadata_location = self.current_location(table).await?;
        let metadata = read_metadata(&*self.storage, table, &metadata_location).await?;
        Ok(LoadedTable {
            table: table.clone(),
            metadata_location,
            metadata: Arc::new(metadata),
            token: CommitToken::default(),
        })
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        let staged = stage_metadata(&*self.storage, &self.ambient, base, change).await?;
        // A connection first, so that a failure to get one is known to have changed nothing.
        let mut connection = match self.pool.acquire().await {
            Ok(connection) => connection,
            Err(source) => {
                discard_staged(&*self.storage, &staged).await;
                return Err(CommitError::Refused(self.failed(source)));
            }
        };
        let swapped = sqlx::query(
            "UPDATE iceberg_tables SET metadata_location = ?, previous_metadata_location = ? \
             WHERE catalog_name = ? AND table_namespace = ? AND table_name = ? AND metadata_location = ?",
        )
        .bind(staged.location.as_str())
        .bind(base.metadata_location.as_str())
        .bind(&self.name_in_rows)
        .bind(base.table.namespace.to_string())
        .bind(&base.table.name)
        .bind(base.metadata_location.as_str())
        .execute(&mut *connection)
        .await;
        drop(connection);
        match swapped {
            Ok(done) if done.rows_affected() == 1 => {}
            Ok(_) => {
                discard_staged(&*self.storage, &staged).await;
                return Err(match self.current_location(&base.table).await {
                    Err(CatalogError::NoSuchTable(table)) => CommitError::NoSuchTable(table),
                    _ => CommitError::Conflict(base.table.clone()),
                });
            }
            Err(source) => {
                self.outcome_of_failed_swap(base, &staged, Failure::new(source))
                    .await?;
            }
        }
        Ok(LoadedTable {
            table: base.table.clone(),
            metadata_location: staged.location,
            metadata: staged.metadata,
            token: CommitToken::default(),
        })
    }
}

async fn connect(
    name: &CatalogName,
    file: &Path,
    create: bool,
    busy_timeout: Duration,
) -> Result<SqlitePool, CatalogError> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(create)
        .busy_timeout(busy_timeout);
    SqlitePoolOptions::new()
        .max_connections(4)
        .connect_with(options)
        .await
        .map_err(|source| Failure::new(source).into_catalog_error(name.as_str()))
}

/// `None` where there is no catalog in the database.
async fn layout(pool: &SqlitePool) -> Result<Option<Layout>, sqlx::Error> {
    let columns: Vec<String> =
        sqlx::query_scalar("SELECT name FROM pragma_table_info('iceberg_tables')")
            .fetch_all(pool)
            .await?;
    let namespaces: Vec<String> =
        sqlx::query_scalar("SELECT name FROM pragma_table_info('iceberg_namespace_properties')")
            .fetch_all(pool)
            .await?;
    Ok((!columns.is_empty()).then(|| Layout {
        has_types: columns
            .iter()
            .any(|column| column.eq_ignore_ascii_case("iceberg_type")),
        has_namespaces: !namespaces.is_empty(),
    }))
}

/// The catalog's name as the rows have it: PyIceberg takes names from configuration without regard to case, and keeps
/// them as the program that made the catalog wrote them.
async fn find_name_in_rows(
    pool: &SqlitePool,
    layout: Layout,
    name: &CatalogName,
) -> Result<String, CatalogError> {
    let statement = if layout.has_namespaces {
        "SELECT catalog_name FROM iceberg_tables UNION SELECT catalog_name FROM iceberg_namespace_properties"
    } else {
        "SELECT DISTINCT catalog_name FROM iceberg_tables"
    };
    let names: Vec<String> = sqlx::query_scalar(statement)
        .fetch_all(pool)
        .await
        .map_err(|source| Failure::new(source).into_catalog_error(name.as_str()))?;
    if names.is_empty() || names.iter().any(|found| found == name.as_str()) {
        return Ok(name.to_string());
    }
    let mut alike = names
        .iter()
        .filter(|found| found.to_lowercase() == name.as_str().to_lowercase());
    match (alike.next(), alike.next()) {
        (Some(found), None) => Ok(found.clone()),
        _ => Err(CatalogError::Configuration {
            catalog: name.to_string(),
            message: format!(
                "the database has no catalog of that name, but: {}; say which with the property catalog-name",
                names.join(", ")
            ),
        }),
    }
}

#[cfg(test)]
#[cfg(test)]
mod tests;
