//! The catalog on a real PostgreSQL, a process that the test starts and ends.

use std::{
    net::TcpListener,
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use icepress_model::{CatalogName, MetadataLocation, Namespace, TableId, ambient::Ambient};
use icepress_storage::{LocalStorage, Storage, TimeLimits};
use sqlx::{Connection as _, PgConnection, Row as _};
use tempfile::TempDir;

use super::{JAVA_V0, NAMESPACES, TYPE, no_change};
use crate::{
    Catalog, CatalogError, CommitError, LoadedTable,
    config::CatalogProperties,
    conformance::{self, Bench as _, Forbidden, Lost, Meaningless},
    metadata::stage_new_table,
    sql::SqlCatalog,
};

mod wire;

use wire::{Cut, Wire};

/// PostgreSQL's user `nobody`, whom it runs as where the test is root: it refuses to be root.
const NOBODY: u32 = 65534;

/// A running server with one database, `lake`; ends when dropped.
struct Server {
    process: Child,
    port: u16,
    _folder: TempDir,
}

/// The folder of PostgreSQL's programs. `None`, with a line printed, where there is none; where `CI` is set that fails.
#[allow(
    clippy::disallowed_methods,
    reason = "a test harness has no configuration of its own"
)]
fn programs() -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    folders.sort();
    let path = std::env::var("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    let found = folders
        .into_iter()
        .rev()
        .find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    if found.is_none() {
        assert!(
            std::env::var("CI").is_err(),
            "there is no PostgreSQL (Debian: apt-get install postgresql)"
        );
        println!("skipped: there is no PostgreSQL (Debian: apt-get install postgresql)");
    }
    found
}

impl Server {
    async fn start() -> Option<Self> {
        let programs = programs()?;
        let folder = tempfile::tempdir().unwrap();
        let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
        if is_root {
            chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let command = |program: &str| {
            let program = programs.join(program);
            let mut command = if is_root {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
                command.arg(program);
                command
            } else {
                Command::new(program)
            };
            command
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            command
        };
        let data = folder.path().join("data");
        let made = command("initdb")
            .arg("-D")
            .arg(&data)
            .args(["-U", "ice", "-A", "trust", "--no-sync", "-E", "UTF8"])
            .args(["--locale=C"])
            .status();
        assert!(made.unwrap().success(), "initdb failed");
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .unwrap()
            .port();
        let process = command("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-h", "127.0.0.1", "-p", &port.to_string(), "-k"])
            .arg(folder.path())
            .args(["-c", "fsync=off", "-c", "max_connections=40"])
            .spawn()
            .unwrap();
        let mut server = Self {
            process,
            port,
            _folder: folder,
        };
        server.wait_until_it_answers().await;
        Some(server)
    }

    async fn wait_until_it_answers(&mut self) {
        let clock = Ambient::system().clock;
        let uri = format!("postgresql://ice@127.0.0.1:{}/postgres", self.port);
        for _ in 0..600 {
            if let Ok(mut connection) = PgConnection::connect(&uri).await {
                sqlx::query("CREATE DATABASE lake")
                    .execute(&mut connection)
                    .await
                    .unwrap();
                return;
            }
            assert!(
                self.process.try_wait().unwrap().is_none(),
                "PostgreSQL ended"
            );
            clock.sleep(Duration::from_millis(50)).await;
        }
        panic!("PostgreSQL does not answer");
    }

    async fn connection(&self) -> PgConnection {
        let uri = format!("postgresql://ice@127.0.0.1:{}/lake", self.port);
        PgConnection::connect(&uri).await.unwrap()
    }

    /// A schema of its own with these tables in it.
    async fn make(&self, schema: &str, statements: &[&'static str]) {
        let mut connection = self.connection().await;
        for statement in [
            format!("CREATE SCHEMA {schema}"),
            format!("SET search_path = {schema}"),
        ] {
            execute(&mut connection, statement).await;
        }
        for statement in statements {
            sqlx::query(*statement)
                .execute(&mut connection)
                .await
                .unwrap();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // At once, without checkpoints: nothing of it is kept. Its children end with it.
        let asked = Command::new("kill")
            .args(["-QUIT", &self.process.id().to_string()])
            .status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.process.kill();
        }
        let _ = self.process.wait();
    }
}

async fn open(
    uri: &str,
    more: &[(&str, &str)],
    storage: Arc<dyn Storage>,
) -> Result<SqlCatalog, CatalogError> {
    let properties = [("uri", uri)]
        .iter()
        .chain(more)
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect::<Vec<_>>();
    let properties = CatalogProperties::of(CatalogName::from("c"), properties);
    SqlCatalog::connect(
        &properties,
        storage,
        &TimeLimits::default(),
        Ambient::system(),
    )
    .await
}

/// One schema of a server, and hands of its own on it. The catalog reaches it over a wire that can be cut, others don't.
struct PostgresBench<'a> {
    server: &'a Server,
    wire: Wire,
    schema: &'static str,
    catalog: Arc<SqlCatalog>,
    has_types: bool,
    folder: TempDir,
}

impl<'a> PostgresBench<'a> {
    async fn new(
        server: &'a Server,
        schema: &'static str,
        statements: &[&'static str],
        uri: impl FnOnce(u16) -> String,
    ) -> Self {
        server.make(schema, statements).await;
        let login = [("jdbc.user", "ice")];
        let wire = Wire::to(server.port).await;
        let uri = uri(wire.port());
        Self {
            catalog: Arc::new(
                open(&uri, &login, Arc::new(LocalStorage::new()))
                    .await
                    .unwrap(),
            ),
            server,
            wire,
            schema,
            has_types: statements.contains(&TYPE),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    async fn database(&self) -> PgConnection {
        let mut connection = self.server.connection().await;
        let statement = format!("SET search_path = {}", self.schema);
        execute(&mut connection, statement).await;
        connection
    }

    async fn execute(&self, statement: &'static str, values: &[&str]) {
        let mut query = sqlx::query(statement);
        for value in values {
            query = query.bind((*value).to_owned());
        }
        query.execute(&mut self.database().await).await.unwrap();
    }

    /// The address of the same schema for a user.
    fn uri_of(&self, user: &str) -> String {
        format!(
            "postgresql://{user}@127.0.0.1:{}/lake?options=-csearch_path%3D{}",
            self.server.port, self.schema
        )
    }

    /// A table that is loaded, for commits to go wrong on.
    async fn new_table(&self, name: &str) -> LoadedTable {
        let table = TableId {
            catalog: CatalogName::from("c"),
            namespace: Namespace::from_dotted("ns"),
            name: name.to_owned(),
        };
        let creation = iceberg::TableCreation::builder()
            .name(name.to_owned())
            .location(format!("{}/{name}", self.warehouse()))
            .schema(iceberg::spec::Schema::builder().build().unwrap())
            .build();
        let staged = stage_new_table(&LocalStorage::new(), &Ambient::system(), &table, creation)
            .await
            .unwrap();
        self.register(&table, &staged.location).await;
        self.catalog.load(&table).await.unwrap()
    }

    fn metadata_files(&self, name: &str) -> usize {
        let folder = Path::new(&self.warehouse()).join(name).join("metadata");
        std::fs::read_dir(folder).unwrap().count()
    }
}

#[async_trait]
impl conformance::Bench for PostgresBench<'_> {
    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog) as Arc<dyn Catalog>
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(LocalStorage::new())
    }

    fn warehouse(&self) -> String {
        self.folder.path().display().to_string()
    }

    async fn register(&self, table: &TableId, location: &MetadataLocation) {
        // The same name in another catalog of the database is another table.
        for (catalog, location) in [("c", location.as_str()), ("another", "/not/ours")] {
            let namespace = table.namespace.to_string();
            self.execute(
                "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) \
                 VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
                &[catalog, &namespace, &table.name, location],
            )
            .await;
        }
    }

    async fn point_to(&self, table: &TableId, location: &MetadataLocation) {
        self.execute(
            "UPDATE iceberg_tables SET metadata_location = $1 WHERE catalog_name = 'c' AND table_name = $2",
            &[location.as_str(), &table.name],
        )
        .await;
    }

    async fn drop_table(&self, table: &TableId) {
        self.execute(
            "DELETE FROM iceberg_tables WHERE catalog_name = 'c' AND table_name = $1",
            &[&table.name],
        )
        .await;
    }

    async fn add_others(&self, namespace: &Namespace) -> Vec<String> {
        if !self.has_types {
            return Vec::new();
        }
        self.execute(
            "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location, iceberg_type) \
             VALUES ('c', $1, 'a_view', '/nowhere', 'VIEW')",
            &[&namespace.to_string()],
        )
        .await;
        vec!["a_view".to_owned()]
    }

    async fn entry(&self, table: &TableId) -> (String, Option<String>) {
        let rows =
            sqlx::query("SELECT * FROM iceberg_tables WHERE table_name = $1 ORDER BY catalog_name")
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
        // A role of its own, that had its rights when it came and loses them then.
        let user = format!("{}_{what:?}", self.schema).to_lowercase();
        let taken = match what {
            Forbidden::Commits => "UPDATE",
            Forbidden::Everything => "SELECT, UPDATE",
        };
        let mut database = self.database().await;
        for statement in [
            format!("CREATE ROLE {user} LOGIN"),
            format!("GRANT USAGE ON SCHEMA {} TO {user}", self.schema),
            format!(
                "GRANT SELECT, UPDATE ON ALL TABLES IN SCHEMA {} TO {user}",
                self.schema
            ),
        ] {
            execute(&mut database, statement).await;
        }
        let catalog = open(&self.uri_of(&user), &[], self.storage()).await;
        execute(
            &mut database,
            format!("REVOKE {taken} ON iceberg_tables FROM {user}"),
        )
        .await;
        Ok(Arc::new(catalog.unwrap()))
    }

    async fn lose(&self, what: Lost) -> Result<(), Meaningless> {
        self.wire.cut(match what {
            Lost::Request => Cut::BeforeItArrives,
            Lost::Answer => Cut::BeforeTheAnswer,
        });
        Ok(())
    }
}

async fn execute(database: &mut PgConnection, statement: String) {
    let query = sqlx::query(sqlx::AssertSqlSafe(statement));
    query.execute(database).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sql_catalog_conforms_on_postgresql() {
    let Some(server) = Server::start().await else {
        return;
    };
    // Each layout, each client's way of writing the address, and transactions that give way to each other.
    let v0 = |port| format!("jdbc:postgresql://127.0.0.1:{port}/lake?currentSchema=v0");
    let v1 = |port| {
        format!("postgresql+psycopg2://ice@127.0.0.1:{port}/lake?options=-csearch_path%3Dv1")
    };
    let strict = |port| {
        format!(
            "jdbc:postgresql://127.0.0.1:{port}/lake?currentSchema=strict&options=-c%20default_transaction_isolation%3Dserializable"
        )
    };
    let bench = PostgresBench::new(&server, "v0", &[JAVA_V0, NAMESPACES], v0).await;
    conformance::check_all(&bench).await;
    let bench = PostgresBench::new(&server, "v1", &[JAVA_V0, NAMESPACES, TYPE], v1).await;
    conformance::check_all(&bench).await;
    let bench = PostgresBench::new(&server, "strict", &[JAVA_V0], strict).await;
    conformance::check_all(&bench).await;
}

/// It never arrived, and before we look somebody else has committed on the same base: then it can't be in any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c25_a_swap_that_was_lost_and_overtaken_is_a_lost_race() {
    let Some(server) = Server::start().await else {
        return;
    };
    let uri = |port| format!("jdbc:postgresql://127.0.0.1:{port}/lake?currentSchema=lost");
    let bench = PostgresBench::new(&server, "lost", &[JAVA_V0], uri).await;
    let base = bench.new_table("t").await;
    bench.wire.cut_and_hold(Cut::BeforeItArrives);
    let ours = {
        let (catalog, base) = (Arc::clone(&bench.catalog), base.clone());
        tokio::spawn(async move { catalog.commit(&base, no_change()).await })
    };
    bench.wire.wait_until_held().await;
    let other = open(&bench.uri_of("ice"), &[], bench.storage()).await;
    other.unwrap().commit(&base, no_change()).await.unwrap();
    bench.wire.go_on();
    let error = ours.await.unwrap().unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error}");
    assert_eq!(bench.metadata_files("t"), 2, "ours is taken away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_postgresql_refuses_is_told() {
    let Some(server) = Server::start().await else {
        return;
    };
    let storage = || Arc::new(LocalStorage::new()) as Arc<dyn Storage>;
    let uri = |rest: &str| format!("postgresql://ice@127.0.0.1:{}/{rest}", server.port);
    let empty = open(&uri("lake"), &[], storage()).await.unwrap_err();
    assert!(
        empty.to_string().contains("iceberg_tables") && empty.to_string().contains("127.0.0.1"),
        "{empty}"
    );
    let missing = open(&uri("nowhere"), &[], storage()).await.unwrap_err();
    assert!(
        matches!(missing, CatalogError::Configuration { .. })
            && missing.to_string().contains("nowhere"),
        "{missing}"
    );
}

/// A writer that holds the row too long: a lost race.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_stays_locked_is_a_lost_race() {
    let Some(server) = Server::start().await else {
        return;
    };
    let uri = |port| {
        format!(
            "postgresql://ice@127.0.0.1:{port}/lake?options=-csearch_path%3Dheld%20-clock_timeout%3D200ms"
        )
    };
    let bench = PostgresBench::new(&server, "held", &[JAVA_V0], uri).await;
    let base = bench.new_table("t").await;
    let mut holder = bench.database().await;
    let mut transaction = holder.begin().await.unwrap();
    sqlx::query("SELECT * FROM iceberg_tables FOR UPDATE")
        .execute(&mut *transaction)
        .await
        .unwrap();
    let error = bench.catalog.commit(&base, no_change()).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error}");
    assert_eq!(bench.metadata_files("t"), 1);
    transaction.rollback().await.unwrap();
    bench.catalog.commit(&base, no_change()).await.unwrap();
}
