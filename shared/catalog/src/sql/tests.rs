use std::{path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use icepress_model::{
    CatalogName, DatabaseId, MetadataLocation, Namespace, TableId, ambient::Ambient,
};
use icepress_storage::{LocalStorage, Storage, TimeLimits, conformance::emulator::python};
use sqlx::{
    Connection as _, Row as _,
    sqlite::{SqliteConnectOptions, SqliteConnection, SqlitePoolOptions},
};
use tempfile::TempDir;

use super::{
    SqlCatalog, Waits,
    address::Address,
    database::{Database, Pool},
};
use crate::{
    Catalog, CatalogError, CommitError, LoadedTable, TableChange,
    config::CatalogProperties,
    conformance::{self, Forbidden, Lost, Meaningless},
    metadata::stage_new_table,
};

mod postgres;

/// A database as one of the clients makes it, and hands of its own on it.
struct SqlBench {
    folder: TempDir,
    catalog: Arc<SqlCatalog>,
    has_types: bool,
}

/// The layouts that are out in the world. The first two tables are as Java's `JdbcUtil` makes them.
const JAVA_V0: &str = "CREATE TABLE iceberg_tables(catalog_name VARCHAR(255) NOT NULL,table_namespace VARCHAR(255) NOT \
    NULL,table_name VARCHAR(255) NOT NULL,metadata_location VARCHAR(1000),previous_metadata_location VARCHAR(1000), \
    PRIMARY KEY (catalog_name, table_namespace, table_name))";
const NAMESPACES: &str = "CREATE TABLE iceberg_namespace_properties(catalog_name VARCHAR(255) NOT NULL,namespace \
    VARCHAR(255) NOT NULL,property_key VARCHAR(255),property_value VARCHAR(1000),PRIMARY KEY (catalog_name, \
    namespace, property_key))";
const TYPE: &str = "ALTER TABLE iceberg_tables ADD COLUMN iceberg_type VARCHAR(5)";

async fn connection(file: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

async fn open(file: &Path, name: &str) -> Result<SqlCatalog, CatalogError> {
    SqlCatalog::open(
        CatalogName::from(name),
        &format!("sqlite:///{}", file.display()),
        None,
        Arc::new(LocalStorage::new()),
        Ambient::system(),
    )
    .await
}

impl SqlBench {
    async fn new(statements: &[&'static str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("catalog.db");
        let mut database = connection(&file).await;
        for statement in statements {
            sqlx::query(*statement)
                .execute(&mut database)
                .await
                .unwrap();
        }
        Self {
            catalog: Arc::new(open(&file, "c").await.unwrap()),
            folder,
            has_types: statements.contains(&TYPE),
        }
    }

    async fn database(&self) -> SqliteConnection {
        connection(&self.folder.path().join("catalog.db")).await
    }
}

#[async_trait]
impl conformance::Bench for SqlBench {
    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog) as Arc<dyn Catalog>
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(LocalStorage::new())
    }

    fn warehouse(&self) -> String {
        format!("file://{}/warehouse", self.folder.path().display())
    }

    async fn register(&self, table: &TableId, location: &MetadataLocation) {
        // The same name in another catalog of the database is another table.
        for (catalog, location) in [("c", location.as_str()), ("another", "/not/ours")] {
            sqlx::query(
                "INSERT OR REPLACE INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) \
                 VALUES (?, ?, ?, ?)",
            )
            .bind(catalog)
            .bind(table.namespace.to_string())
            .bind(&table.name)
            .bind(location)
            .execute(&mut self.database().await)
            .await
            .unwrap();
        }
    }

    async fn point_to(&self, table: &TableId, location: &MetadataLocation) {
        sqlx::query("UPDATE iceberg_tables SET metadata_location = ? WHERE catalog_name = 'c' AND table_name = ?")
            .bind(location.as_str())
            .bind(&table.name)
            .execute(&mut self.database().await)
            .await
            .unwrap();
    }

    async fn drop_table(&self, table: &TableId) {
        sqlx::query("DELETE FROM iceberg_tables WHERE catalog_name = 'c' AND table_name = ?")
            .bind(&table.name)
            .execute(&mut self.database().await)
            .await
            .unwrap();
    }

    async fn add_others(&self, namespace: &Namespace) -> Vec<String> {
        if !self.has_types {
            return Vec::new();
        }
        sqlx::query(
            "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type) \
             VALUES ('c', ?, 'a_view', '/nowhere', 'VIEW')",
        )
        .bind(namespace.to_string())
        .execute(&mut self.database().await)
        .await
        .unwrap();
        vec!["a_view".to_owned()]
    }

    async fn entry(&self, table: &TableId) -> (String, Option<String>) {
        let rows =
            sqlx::query("SELECT * FROM iceberg_tables WHERE table_name = ? ORDER BY catalog_name")
                .bind(&table.name)
                .fetch_all(&mut self.database().await)
                .await
                .unwrap();
        let (mut foreign, mut previous) = (String::new(), None);
        for row in &rows {
            let is_ours = row.get::<String, _>("catalog_name") == "c";
            if is_ours {
                previous = row.get("previous_metadata_location");
            }
            for column in 0..row.len() {
                if !(is_ours && (3..5).contains(&column)) {
                    foreign += &format!("{:?} ", row.get::<Option<String>, _>(column));
                }
            }
        }
        (foreign, previous)
    }

    async fn forbid(
        &self,
        _table: &TableId,
        what: Forbidden,
    ) -> Result<Arc<dyn Catalog>, Meaningless> {
        if what == Forbidden::Everything {
            return Err(Meaningless(
                "SQLite knows no users: who can open the file may read all of it",
            ));
        }
        // As SQLite opens a file by itself that is write-protected. No protection holds root off, so it is asked for.
        let options = SqliteConnectOptions::new()
            .filename(self.folder.path().join("catalog.db"))
            .read_only(true);
        let pool = SqlitePoolOptions::new().connect_with(options).await;
        let ours = &self.catalog;
        Ok(Arc::new(SqlCatalog {
            name: ours.name.clone(),
            name_in_rows: ours.name_in_rows.clone(),
            database: Database {
                pool: Pool::Sqlite(pool.unwrap()),
                limit: Duration::from_secs(60),
            },
            layout: ours.layout,
            storage: Arc::clone(&ours.storage),
            ambient: ours.ambient.clone(),
        }))
    }

    async fn lose(&self, _what: Lost) -> Result<(), Meaningless> {
        Err(Meaningless(
            "SQLite works within the process: nothing is on its way that could be lost",
        ))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_sql_catalog_conforms_on_each_layout() {
    for statements in [
        &[JAVA_V0, NAMESPACES, TYPE][..],
        &[JAVA_V0, NAMESPACES],
        &[JAVA_V0],
        &[super::NEW_TABLES[0], super::NEW_TABLES[1]],
    ] {
        conformance::check_all(&SqlBench::new(statements).await).await;
    }
}

#[tokio::test]
async fn a_made_catalog_takes_tables_and_pages_its_listing() {
    let folder = tempfile::tempdir().unwrap();
    let uri = format!("sqlite:///{}/new/catalog.db", folder.path().display());
    let name = CatalogName::from("demo");
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::new());
    let catalog = SqlCatalog::create(name.clone(), &uri, Arc::clone(&storage), Ambient::system())
        .await
        .unwrap();
    let namespace = Namespace::from_dotted("a.b");
    let location = MetadataLocation::from("/nowhere");
    let table = |index: usize| TableId {
        catalog: name.clone(),
        namespace: namespace.clone(),
        name: format!("t{index:04}"),
    };
    for index in 0..1001 {
        catalog.register(&table(index), &location).await.unwrap();
    }
    let error = catalog.register(&table(3), &location).await.unwrap_err();
    assert!(matches!(error, CatalogError::AlreadyExists(_)), "{error}");
    assert_eq!(
        catalog.list_namespaces().await.unwrap(),
        std::slice::from_ref(&namespace)
    );
    let database = DatabaseId {
        catalog: name.clone(),
        namespace: namespace.clone(),
    };
    let first = catalog.list_tables(&database, None).await.unwrap();
    assert_eq!(first.tables.len(), 1000);
    let second = catalog
        .list_tables(&database, first.next.as_deref())
        .await
        .unwrap();
    assert_eq!(second.tables.len(), 1);
    assert_eq!(second.tables[0].table, table(1000));
    assert_eq!(second.next, None);
    catalog.unregister(&table(3)).await.unwrap();
    let error = catalog.load(&table(3)).await.unwrap_err();
    assert!(matches!(error, CatalogError::NoSuchTable(_)), "{error}");

    // Making it again leaves it as it is.
    let again = SqlCatalog::create(name, &uri, storage, Ambient::system())
        .await
        .unwrap();
    assert_eq!(again.list_namespaces().await.unwrap(), [namespace]);
}

#[tokio::test]
async fn a_catalog_is_found_by_its_name_in_the_rows() {
    let bench = SqlBench::new(&[JAVA_V0, NAMESPACES]).await;
    sqlx::query("INSERT INTO iceberg_namespace_properties VALUES ('Prod', 'ns', 'exists', 'true')")
        .execute(&mut bench.database().await)
        .await
        .unwrap();
    let file = bench.folder.path().join("catalog.db");
    let catalog = open(&file, "prod").await.unwrap();
    assert_eq!(
        catalog.list_namespaces().await.unwrap(),
        [Namespace::from_dotted("ns")]
    );
    assert_eq!(catalog.name().as_str(), "prod");
    let message = open(&file, "default").await.unwrap_err().to_string();
    assert!(
        message.contains("Prod") && message.contains("catalog-name"),
        "{message}"
    );
}

#[tokio::test]
async fn what_is_no_catalog_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.db");
    let message = open(&missing, "c").await.unwrap_err().to_string();
    assert!(
        message.contains("missing.db") && message.contains("no file"),
        "{message}"
    );
    assert!(!missing.exists(), "looking makes nothing");

    let text = folder.path().join("text.db");
    std::fs::write(
        &text,
        "this is not a database, but is long enough to be read as one ".repeat(20),
    )
    .unwrap();
    let error = open(&text, "c").await.unwrap_err();
    assert!(
        matches!(error, CatalogError::Configuration { .. }),
        "{error}"
    );

    let other = folder.path().join("other.db");
    sqlx::query("CREATE TABLE x (y)")
        .execute(&mut connection(&other).await)
        .await
        .unwrap();
    let message = open(&other, "c").await.unwrap_err().to_string();
    assert!(message.contains("iceberg_tables"), "{message}");
}

/// A catalog with one table.
async fn with_table() -> (SqlBench, LoadedTable) {
    use conformance::Bench as _;
    let bench = SqlBench::new(&[JAVA_V0]).await;
    let table = TableId {
        catalog: CatalogName::from("c"),
        namespace: Namespace::from_dotted("ns"),
        name: "t".to_owned(),
    };
    let creation = iceberg::TableCreation::builder()
        .name("t".to_owned())
        .location(format!("{}/t", bench.warehouse()))
        .schema(iceberg::spec::Schema::builder().build().unwrap())
        .build();
    let staged = stage_new_table(&LocalStorage::new(), &Ambient::system(), &table, creation)
        .await
        .unwrap();
    bench.register(&table, &staged.location).await;
    let loaded = bench.catalog.load(&table).await.unwrap();
    (bench, loaded)
}

/// How many metadata files the table of [`with_table`] has.
fn metadata_files(bench: &SqlBench) -> usize {
    std::fs::read_dir(bench.folder.path().join("warehouse/t/metadata"))
        .unwrap()
        .count()
}

fn no_change() -> TableChange {
    TableChange {
        requirements: Vec::new(),
        updates: Vec::new(),
    }
}

#[tokio::test]
async fn a_catalog_that_stays_locked_is_a_lost_race() {
    let (bench, base) = with_table().await;
    let file = bench.folder.path().join("catalog.db");
    let impatient = SqlCatalog::open_at(
        CatalogName::from("c"),
        Address::Sqlite(file.clone()),
        None,
        Arc::new(LocalStorage::new()),
        Ambient::system(),
        Waits {
            lock: Duration::from_millis(50),
            ..Waits::default()
        },
    )
    .await
    .unwrap();
    let mut other = connection(&file).await;
    for lock in ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"] {
        sqlx::query(lock).execute(&mut other).await.unwrap();
        let error = impatient.commit(&base, no_change()).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict(_)), "{lock}: {error}");
        sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    }
    assert_eq!(metadata_files(&bench), 1);
    impatient.commit(&base, no_change()).await.unwrap();
}

#[tokio::test]
async fn a_catalog_that_cannot_be_written_refuses_the_commit_and_keeps_nothing() {
    let (bench, base) = with_table().await;
    // SQLite refuses every write of this trigger's table, as it does on a full disk, after the statement was sent.
    sqlx::query("CREATE TRIGGER no BEFORE UPDATE ON iceberg_tables BEGIN SELECT RAISE(ABORT, 'refused'); END")
        .execute(&mut bench.database().await)
        .await
        .unwrap();
    let error = bench.catalog.commit(&base, no_change()).await.unwrap_err();
    assert!(matches!(error, CommitError::Refused(_)), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert_eq!(
        metadata_files(&bench),
        1,
        "a refused commit's file is taken away"
    );
    let now = bench.catalog.load(&base.table).await.unwrap();
    assert_eq!(now.metadata_location, base.metadata_location);
}

/// What PyIceberg does to its catalog, as a program; prints what it sees at the end.
const PYICEBERG: &str = r#"
import sys
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField
folder, step = sys.argv[1:]
catalog = SqlCatalog("Mine", uri=f"sqlite:///{folder}/py.db", warehouse=f"file://{folder}/a b%20c")
if step == "make":
    catalog.create_namespace("outer.inner")
    catalog.create_namespace("empty")
    schema = Schema(NestedField(1, "id", LongType()))
    catalog.create_table("outer.inner.t", schema, properties={"write.metadata.previous-versions-max": "3"})
elif step == "commit":
    with catalog.load_table("outer.inner.t").transaction() as transaction:
        transaction.set_properties(by="pyiceberg")
table = catalog.load_table("outer.inner.t")
print(table.metadata_location, table.properties.get("by"), len(table.metadata.metadata_log))
"#;

fn pyiceberg(python: &Path, folder: &Path, step: &str) -> Vec<String> {
    let output = std::process::Command::new(python)
        .args(["-c", PYICEBERG])
        .arg(folder)
        .arg(step)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let seen = String::from_utf8(output.stdout).unwrap();
    // The location comes first and has blanks in it.
    let mut words: Vec<String> = seen.trim().rsplitn(3, ' ').map(str::to_owned).collect();
    words.reverse();
    words
}

#[tokio::test]
async fn a_catalog_that_pyiceberg_made_is_used_as_it_is() {
    let Some(python) = python() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let made = pyiceberg(&python, folder.path(), "make");
    let catalog = open(&folder.path().join("py.db"), "mine").await.unwrap();
    let inner = Namespace::from_dotted("outer.inner");
    assert_eq!(
        catalog.list_namespaces().await.unwrap(),
        [Namespace::from_dotted("empty"), inner.clone()]
    );
    let database = DatabaseId {
        catalog: catalog.name().clone(),
        namespace: inner,
    };
    let listed = catalog.list_tables(&database, None).await.unwrap().tables;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        listed[0].metadata_location.as_ref().unwrap().as_str(),
        made[0]
    );

    // In turns, each on what the other committed.
    let table = listed[0].table.clone();
    for turn in 0..2 {
        let base = catalog.load(&table).await.unwrap();
        let updates = vec![iceberg::TableUpdate::SetProperties {
            updates: [("by".to_owned(), format!("icepress-{turn}"))].into(),
        }];
        let change = TableChange {
            requirements: vec![iceberg::TableRequirement::UuidMatch {
                uuid: base.metadata.uuid(),
            }],
            updates,
        };
        let committed = catalog.commit(&base, change.clone()).await.unwrap();
        let seen = pyiceberg(&python, folder.path(), "look");
        let length = committed.metadata.metadata_log().len().to_string();
        assert_eq!(
            seen,
            [
                committed.metadata_location.to_string(),
                format!("icepress-{turn}"),
                length
            ]
        );

        let seen = pyiceberg(&python, folder.path(), "commit");
        let loaded = catalog.load(&table).await.unwrap();
        assert_eq!(
            seen[..2],
            [loaded.metadata_location.to_string(), "pyiceberg".to_owned()]
        );
        let error = catalog.commit(&committed, change).await.unwrap_err();
        assert!(matches!(error, CommitError::Conflict(_)), "{error}");
    }
}

#[tokio::test]
async fn a_database_server_that_is_silent_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("postgresql://me:hidden@{}/db", silent.local_addr().unwrap());
    let properties = CatalogProperties::of(CatalogName::from("c"), [("uri".to_owned(), uri)]);
    let limits = TimeLimits {
        connect: Duration::from_millis(50),
        ..TimeLimits::default()
    };
    let storage = Arc::new(LocalStorage::new());
    let opened = SqlCatalog::connect(&properties, storage, &limits, Ambient::system()).await;
    let error = opened.unwrap_err();
    assert!(matches!(error, CatalogError::Unavailable { .. }), "{error}");
    assert!(!error.to_string().contains("hidden"), "{error}");
}
