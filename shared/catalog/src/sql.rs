//! The SQL catalog, on SQLite and PostgreSQL: the tables that PyIceberg's `SqlCatalog` and Java's `JdbcCatalog` share, as they are.
//!
//! Both know two layouts of `iceberg_tables`, with the column `iceberg_type` (where views live too) and without. Nothing
//! is migrated and no setting is changed: whoever else uses the database goes on as before. A commit is one `UPDATE`
//! that names the old metadata location in its condition.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use icepress_model::{
    CatalogName, DatabaseId, MetadataLocation, Namespace, TableId, ambient::Ambient,
};
use icepress_storage::{Storage, TimeLimits};

use crate::{
    Catalog, CatalogError, CommitError, ListedTable, LoadedTable, TableChange, TablePage,
    config::CatalogProperties,
    metadata::{StagedMetadata, load_at, outcome_by_looking, stage_metadata},
};

mod address;
mod database;
mod errors;

use address::{Address, Login};
use database::{Database, Layout, on_pool};
use errors::Failure;

/// How long what is waited for.
#[derive(Debug, Clone, Copy)]
struct Waits {
    /// Another process's lock on the file.
    lock: Duration,
    /// A server.
    requests: TimeLimits,
}

impl Default for Waits {
    fn default() -> Self {
        Self {
            lock: Duration::from_secs(10),
            requests: TimeLimits::default(),
        }
    }
}

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

/// A SQL catalog in a SQLite file or a PostgreSQL database.
#[derive(Debug)]
pub struct SqlCatalog {
    name: CatalogName,
    /// The value of `catalog_name` in the rows.
    name_in_rows: String,
    database: Database,
    layout: Layout,
    storage: Arc<dyn Storage>,
    ambient: Ambient,
}

impl SqlCatalog {
    /// Opens the catalog that the properties name (`uri`, `catalog-name`, `jdbc.user`, `jdbc.password`), which somebody made.
    pub async fn connect(
        properties: &CatalogProperties,
        storage: Arc<dyn Storage>,
        limits: &TimeLimits,
        ambient: Ambient,
    ) -> Result<Self, CatalogError> {
        let name = properties.name().clone();
        let configuration = |message| CatalogError::Configuration {
            catalog: name.to_string(),
            message,
        };
        let uri = properties
            .required("uri", "sqlite:////data/catalog.db")
            .map_err(|error| configuration(error.to_string()))?;
        let login = Login {
            user: properties.get("jdbc.user"),
            password: properties.get("jdbc.password"),
        };
        let address = Address::parse(uri, login).map_err(configuration)?;
        let name_in_rows = properties.get("catalog-name");
        let waits = Waits {
            requests: *limits,
            ..Waits::default()
        };
        Self::open_at(name, address, name_in_rows, storage, ambient, waits).await
    }

    /// Opens the catalog in the database that `uri` names, which somebody made.
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
        let address = Address::parse(uri, Login::default()).map_err(|message| {
            CatalogError::Configuration {
                catalog: name.to_string(),
                message,
            }
        })?;
        Self::open_at(
            name,
            address,
            name_in_rows,
            storage,
            ambient,
            Waits::default(),
        )
        .await
    }

    async fn open_at(
        name: CatalogName,
        address: Address,
        name_in_rows: Option<&str>,
        storage: Arc<dyn Storage>,
        ambient: Ambient,
        waits: Waits,
    ) -> Result<Self, CatalogError> {
        let configuration = |message| CatalogError::Configuration {
            catalog: name.to_string(),
            message,
        };
        let (database, place) = match address {
            Address::Sqlite(file) => {
                let place = file.display().to_string();
                if !file.is_file() {
                    return Err(configuration(format!(
                        "there is no file {place}, which its uri names"
                    )));
                }
                let opened = Database::sqlite(&name, &file, false, waits.lock).await?;
                (opened, place)
            }
            Address::Postgres(options) => {
                let place = format!("the database at {}", options.get_host());
                (
                    Database::postgres(&name, *options, &waits.requests).await?,
                    place,
                )
            }
        };
        let failed = |source| Failure::new(source).into_catalog_error(name.as_str());
        let layout = database.layout().await.map_err(failed)?.ok_or_else(|| {
            configuration(format!(
                "{place} holds no Iceberg catalog: it has no table iceberg_tables"
            ))
        })?;
        let name_in_rows = match name_in_rows {
            Some(given) => given.to_owned(),
            None => find_name_in_rows(&database, layout, &name).await?,
        };
        Ok(Self {
            name,
            name_in_rows,
            database,
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
        let Address::Sqlite(file) = Address::parse(uri, Login::default()).map_err(configuration)?
        else {
            return Err(configuration(
                "only a SQLite catalog can be made; PyIceberg and Java make the others".to_owned(),
            ));
        };
        if let Some(folder) = file.parent() {
            tokio::fs::create_dir_all(folder).await.map_err(|error| {
                configuration(format!(
                    "the folder {} can't be made: {error}",
                    folder.display()
                ))
            })?;
        }
        let database = Database::sqlite(&name, &file, true, Waits::default().lock).await?;
        for statement in NEW_TABLES {
            on_pool!(&database, pool => sqlx::query(statement).execute(pool).await.map(drop))
                .map_err(|source| Failure::new(source).into_catalog_error(name.as_str()))?;
        }
        database.close().await;
        let name_in_rows = name.to_string();
        let address = Address::Sqlite(file);
        let name_in_rows = Some(name_in_rows.as_str());
        Self::open_at(
            name,
            address,
            name_in_rows,
            storage,
            ambient,
            Waits::default(),
        )
        .await
    }

    /// Makes a namespace, unless it is there.
    pub async fn create_namespace(&self, namespace: &Namespace) -> Result<(), CatalogError> {
        let statement = "INSERT INTO iceberg_namespace_properties (catalog_name, namespace, property_key, property_value) \
                         VALUES ($1, $2, 'exists', 'true') ON CONFLICT DO NOTHING";
        on_pool!(&self.database, pool => sqlx::query(statement)
            .bind(&self.name_in_rows)
            .bind(namespace.to_string())
            .execute(pool)
            .await
            .map(drop))
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
            "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type) \
             VALUES ($1, $2, $3, $4, 'TABLE') ON CONFLICT DO NOTHING"
        } else {
            "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) \
             VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING"
        };
        let inserted = on_pool!(&self.database, pool => sqlx::query(statement)
            .bind(&self.name_in_rows)
            .bind(table.namespace.to_string())
            .bind(&table.name)
            .bind(location.as_str())
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))
        .map_err(|source| self.failed(source))?;
        if inserted == 0 {
            return Err(CatalogError::AlreadyExists(table.clone()));
        }
        Ok(())
    }

    /// Takes a table out of the catalog; its files stay.
    pub async fn unregister(&self, table: &TableId) -> Result<(), CatalogError> {
        let statement = "DELETE FROM iceberg_tables WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3";
        let deleted = on_pool!(&self.database, pool => sqlx::query(statement)
            .bind(&self.name_in_rows)
            .bind(table.namespace.to_string())
            .bind(&table.name)
            .execute(pool)
            .await
            .map(|done| done.rows_affected()))
        .map_err(|source| self.failed(source))?;
        if deleted == 0 {
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
             WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3"
        } else {
            "SELECT metadata_location, CAST(NULL AS VARCHAR(5)) FROM iceberg_tables \
             WHERE catalog_name = $1 AND table_namespace = $2 AND table_name = $3"
        };
        let row: Option<(Option<String>, Option<String>)> =
            on_pool!(&self.database, pool => sqlx::query_as(statement)
            .bind(&self.name_in_rows)
            .bind(table.namespace.to_string())
            .bind(&table.name)
            .fetch_optional(pool)
            .await)
            .map_err(|source| self.failed(source))?;
        let (location, kind) = row.ok_or_else(|| CatalogError::NoSuchTable(table.clone()))?;
        match (location, kind.as_deref()) {
            (Some(location), None | Some("TABLE")) => Ok(MetadataLocation(location)),
            _ => Err(CatalogError::NotIceberg(table.clone())),
        }
    }

    /// The swap: one statement, on a connection that was there before.
    async fn swap(&self, base: &LoadedTable, staged: &StagedMetadata) -> Result<u64, SwapFailure> {
        let statement = "UPDATE iceberg_tables SET metadata_location = $1, previous_metadata_location = $2 \
                         WHERE catalog_name = $3 AND table_namespace = $4 AND table_name = $5 AND metadata_location = $2";
        on_pool!(&self.database, pool => {
            // A connection first, so that a failure to get one is known to have changed nothing.
            let mut connection = pool.acquire().await.map_err(SwapFailure::NotSent)?;
            sqlx::query(statement)
                .bind(staged.location.as_str())
                .bind(base.metadata_location.as_str())
                .bind(&self.name_in_rows)
                .bind(base.table.namespace.to_string())
                .bind(&base.table.name)
                .execute(&mut *connection)
                .await
                .map(|done| done.rows_affected())
                .map_err(SwapFailure::Sent)
        })
    }

    /// What became of a swap that ended in an error. The database undoes a statement that it refuses, and who may not look
    /// either need not; after a lost connection looking tells where the table has moved on since.
    async fn outcome_of_failed_swap(
        &self,
        base: &LoadedTable,
        staged: &StagedMetadata,
        failure: Failure,
    ) -> Result<(), CommitError> {
        if failure.is_lost_race() {
            // Outside a transaction a statement that ends so changed nothing. Another writer was at work: the same as a
            // lost race, but for its end.
            return Err(CommitError::Conflict(base.table.clone()));
        }
        let now = self.current_location(&base.table).await;
        if failure.is_certain() {
            match &now {
                Err(CatalogError::NoSuchTable(table)) => {
                    return Err(CommitError::NoSuchTable(table.clone()));
                }
                // Not where it was: then the truth is in the table's past.
                Ok(now) if *now != base.metadata_location => {}
                Ok(_) | Err(_) => {
                    return Err(CommitError::Refused(
                        failure.into_catalog_error(self.name.as_str()),
                    ));
                }
            }
        }
        // A server may carry the statement out yet that a client gave up.
        outcome_by_looking(&*self.storage, base, staged, now, &failure.to_string()).await
    }
}

/// A swap that ended in an error.
enum SwapFailure {
    /// It was never sent.
    NotSent(sqlx::Error),
    /// It was sent.
    Sent(sqlx::Error),
}

/// What took too long may be carried out yet.
impl From<sqlx::Error> for SwapFailure {
    fn from(source: sqlx::Error) -> Self {
        Self::Sent(source)
    }
}

#[async_trait]
impl Catalog for SqlCatalog {
    fn name(&self) -> &CatalogName {
        &self.name
    }

    async fn list_namespaces(&self) -> Result<Vec<Namespace>, CatalogError> {
        let statement = if self.layout.has_namespaces {
            "SELECT table_namespace FROM iceberg_tables WHERE catalog_name = $1 \
             UNION SELECT namespace FROM iceberg_namespace_properties WHERE catalog_name = $1 ORDER BY 1"
        } else {
            "SELECT DISTINCT table_namespace FROM iceberg_tables WHERE catalog_name = $1 ORDER BY 1"
        };
        let names: Vec<String> = on_pool!(&self.database, pool => sqlx::query_scalar(statement)
            .bind(&self.name_in_rows)
            .fetch_all(pool)
            .await)
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
             WHERE catalog_name = $1 AND table_namespace = $2 AND table_name > $3 AND metadata_location IS NOT NULL \
             AND (iceberg_type = 'TABLE' OR iceberg_type IS NULL) ORDER BY table_name LIMIT $4"
        } else {
            "SELECT table_name, metadata_location FROM iceberg_tables \
             WHERE catalog_name = $1 AND table_namespace = $2 AND table_name > $3 AND metadata_location IS NOT NULL \
             ORDER BY table_name LIMIT $4"
        };
        let rows: Vec<(String, String)> =
            on_pool!(&self.database, pool => sqlx::query_as(statement)
            .bind(&self.name_in_rows)
            .bind(database.namespace.to_string())
            .bind(next.unwrap_or_default())
            .bind(PAGE)
            .fetch_all(pool)
            .await)
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
        load_at(&*self.storage, table, metadata_location).await
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        let staged = stage_metadata(&*self.storage, &self.ambient, base, change).await?;
        let swapped = match self.swap(base, &staged).await {
            Ok(1) => Ok(()),
            Ok(_) => Err(match self.current_location(&base.table).await {
                Err(CatalogError::NoSuchTable(table)) => CommitError::NoSuchTable(table),
                _ => CommitError::Conflict(base.table.clone()),
            }),
            Err(SwapFailure::NotSent(source)) => Err(CommitError::Refused(self.failed(source))),
            Err(SwapFailure::Sent(source)) => {
                self.outcome_of_failed_swap(base, &staged, Failure::new(source))
                    .await
            }
        };
        staged.settle(&*self.storage, base, swapped).await
    }
}

/// The catalog's name as the rows have it: PyIceberg takes names from configuration without regard to case, and keeps
/// them as the program that made the catalog wrote them.
async fn find_name_in_rows(
    database: &Database,
    layout: Layout,
    name: &CatalogName,
) -> Result<String, CatalogError> {
    let statement = if layout.has_namespaces {
        "SELECT catalog_name FROM iceberg_tables UNION SELECT catalog_name FROM iceberg_namespace_properties"
    } else {
        "SELECT DISTINCT catalog_name FROM iceberg_tables"
    };
    let names: Vec<String> =
        on_pool!(database, pool => sqlx::query_scalar(statement).fetch_all(pool).await)
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
mod tests;
