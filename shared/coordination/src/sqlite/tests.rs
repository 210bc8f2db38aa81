use std::{collections::BTreeSet, ffi::OsString, process::Command, sync::Arc};

use async_trait::async_trait;
use icepress_model::{
    BucketCount, BucketId, Epoch, Generation, MetadataLocation, ProcessKind, ProcessOutcome,
    TableId, TaskId, TimestampMs, WorkerId, ambient::ManualClock,
};
use proptest::{prelude::*, test_runner::Config};
use tempfile::TempDir;

use super::*;
use crate::{
    Component, Conclusion, Home, Layout, NewProcess, NewTask, Payload, StateStore, TaskMessage,
    TaskQueue,
    conformance::{self, MAX_RECEIVES, QueueWorld, StoreWorld},
    interleavings, invariants, key,
    ports::*,
};

const NOW: TimestampMs = TimestampMs(1_760_000_000_000);
const HOME: Home = Home {
    bucket: BucketId(0),
    layout: Generation(0),
};

/// A state file in a folder of its own, and a clock that is moved by hand.
#[derive(Debug)]
struct World {
    folder: TempDir,
    ambient: Ambient,
    clock: Arc<ManualClock>,
    queue: SqliteFile,
}

impl World {
    async fn new() -> Arc<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (ambient, clock) = Ambient::repeatable(7, NOW);
        let queue = open(&folder.path().join("state.db"), &ambient)
            .await
            .unwrap();
        Arc::new(Self {
            folder,
            ambient,
            clock,
            queue,
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("state.db")
    }

    async fn file(&self) -> SqliteFile {
        open(&self.path(), &self.ambient).await.unwrap()
    }
}

async fn open(path: &Path, ambient: &Ambient) -> Result<SqliteFile> {
    let options = SqliteOptions {
        max_receives: MAX_RECEIVES,
        ..SqliteOptions::default()
    };
    SqliteFile::open(path, options, ambient.clone()).await
}

#[async_trait]
impl StoreWorld for World {
    async fn store(&self) -> Arc<dyn StateStore> {
        Arc::new(self.file().await.store())
    }

    async fn damage_table(&self, table: &TableId) {
        let damaged = sqlx::query("UPDATE table_state SET failures = -1 WHERE table_id = ?")
            .bind(key::of_table(table))
            .execute(&self.file().await.writer)
            .await
            .unwrap();
        assert_eq!(damaged.rows_affected(), 1);
    }

    async fn damage_bucket(&self, bucket: BucketId) {
        let damaged = sqlx::query("UPDATE bucket SET epoch = -1 WHERE bucket = ?")
            .bind(bucket.0)
            .execute(&self.file().await.writer)
            .await
            .unwrap();
        assert_eq!(damaged.rows_affected(), 1);
    }
}

#[async_trait]
impl QueueWorld for World {
    async fn queue(&self) -> Arc<dyn TaskQueue> {
        Arc::new(self.queue.queue())
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

macro_rules! store_tests {
    ($($module:ident::$rule:ident),* $(,)?) => {
        mod store_rules {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                let world = super::World::new().await;
                super::conformance::check_store(stringify!($rule), world).await;
            })*
        }
    };
}
conformance::store_rules!(store_tests);

macro_rules! queue_tests {
    ($($module:ident::$rule:ident),* $(,)?) => {
        mod queue_rules {
            $(#[tokio::test]
            async fn $rule() {
                let world = super::World::new().await;
                super::conformance::check_queue(stringify!($rule), world).await;
            })*
        }
    };
}
conformance::queue_rules!(queue_tests);

proptest! {
    #![proptest_config(Config { cases: 40, failure_persistence: None, ..Config::default() })]

    #[test]
    fn no_interleaving_breaks_an_invariant(steps in interleavings::steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let world = World::new().await;
            interleavings::run(Arc::new(world.queue.store()), steps).await;
        });
    }
}

// --- the file ---

async fn refusal(path: &Path) -> String {
    match open(path, &Ambient::system()).await {
        Err(CoordinationError::Configuration { store, message }) => {
            assert_eq!(store, path.display().to_string());
            message
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn missing_folders_are_made_and_the_file_can_be_opened_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a/b/state.db");
    for _ in 0..2 {
        let file = open(&path, &Ambient::system()).await.unwrap();
        assert_eq!(file.store().next_due(BucketId(0)).await.unwrap(), None);
        file.close().await;
    }
}

#[tokio::test]
async fn what_is_no_state_file_is_refused_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    let content =
        "these are notes, and long enough to be looked at as a database's header\n".repeat(20);
    std::fs::write(&text, &content).unwrap();
    assert!(refusal(&text).await.contains("no SQLite database"));
    assert_eq!(std::fs::read_to_string(&text).unwrap(), content);

    let inside_a_file = text.join("state.db");
    assert!(
        refusal(&inside_a_file)
            .await
            .contains("folder can't be made")
    );
    assert!(refusal(folder.path()).await.contains("can't be opened"));

    let foreign = folder.path().join("catalog.db");
    let file = SqlitePoolOptions::new()
        .connect_with(
            SqliteConnectOptions::new()
                .filename(&foreign)
                .create_if_missing(true),
        )
        .await
        .unwrap();
    sqlx::raw_sql("CREATE TABLE iceberg_tables (catalog_name TEXT)")
        .execute(&file)
        .await
        .unwrap();
    file.close().await;
    assert!(refusal(&foreign).await.contains("another program"));
}

#[tokio::test]
async fn a_newer_version_is_refused_with_what_to_do() {
    let world = World::new().await;
    sqlx::raw_sql("PRAGMA user_version = 6")
        .execute(&world.queue.writer)
        .await
        .unwrap();
    let message = refusal(&world.path()).await;
    assert!(message.contains("version 6"), "{message}");
    assert!(message.contains("newer icepress"), "{message}");
}

/// A file as an old version had it, once the statements of that version are run.
async fn bare_file(path: &Path) -> SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    SqlitePool::connect_with(options).await.unwrap()
}

#[tokio::test]
async fn a_file_of_version_1_goes_on_with_all_that_it_knew() {
    let (ambient, _) = Ambient::repeatable(7, NOW);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let old = bare_file(&path).await;
    sqlx::raw_sql(include_str!("tests/schema_1.sql"))
        .execute(&old)
        .await
        .unwrap();
    sqlx::raw_sql(
        "PRAGMA user_version = 1;
         INSERT INTO bucket VALUES (5, NULL, 17, 0, 0);
         INSERT INTO digest VALUES ('lake/sales', 17, x'00112233445566778899aabbccddeeff');
         INSERT INTO table_state (bucket, table_id, epoch, due_location, due_at, marks, seen_marks, failures)
         VALUES (5, 'lake/sales/orders', 17, 'm1', 40, 3, 2, 1);
         INSERT INTO table_state VALUES
             (3, 'lake/sales/news', 2, NULL, NULL, NULL, 1, 1, 'm7', NULL, 'planned', 0, 'p');
         INSERT INTO process VALUES
             ('p', 'lake/sales/news', 3, 2, 40, 'running', NULL, NULL, NULL, 0, 1, 1, '{}');
         INSERT INTO task VALUES ('p', 0, 3, 0, 'queued', NULL, NULL, NULL, '{\"inline\":\"{}\"}', NULL);",
    )
    .execute(&old)
    .await
    .unwrap();
    old.close().await;

    let file = open(&path, &ambient).await.unwrap();
    let world = World::new().await;
    assert_eq!(schema(&file).await, schema(&world.file().await).await);
    let store = file.store();
    let eight = Layout::first(BucketCount(8.try_into().unwrap()));
    assert_eq!(store.layout().await.unwrap(), Some(eight));
    let table: TableId = "lake.sales.orders".parse().unwrap();
    let row = store.table(&table).await.unwrap().unwrap();
    assert_eq!((row.bucket, row.layout), (BucketId(5), Generation(1)));
    assert_eq!((row.epoch, row.marks, row.failures), (Epoch(17), 3, 1));
    let due = store.due_tables(BucketId(5), NOW, 9).await.unwrap();
    assert_eq!(due.len(), 1);
    let minute = Duration::from_secs(60);
    let lease = store
        .take_lease(BucketId(5), &WorkerId::from("w"), NOW, minute, minute)
        .await
        .unwrap()
        .unwrap();
    let database = table.database();
    let digest = store.digest(&database).await.unwrap();
    assert_eq!(digest.0.len(), 16);
    store
        .put_digest(&lease, Generation(1), &database, &digest)
        .await
        .unwrap();
    let news = store.table(&"lake.sales.news".parse().unwrap()).await;
    let process = news.unwrap().unwrap().active_process.unwrap();
    let rewrite = store.process(&process).await.unwrap().unwrap();
    assert_eq!(rewrite.kind, ProcessKind::Rewrite, "there was no other");
    let tasks = store.tasks(&process).await.unwrap();
    assert_eq!(tasks.len(), 1);
    assert_eq!(tasks[0].kind, ProcessKind::Rewrite);
    assert_eq!(store.blockers(&table.catalog).await.unwrap(), []);
}

#[tokio::test]
async fn a_kind_of_process_that_is_not_known_is_not_guessed_at() {
    let world = World::new().await;
    let store = world.queue.store();
    sqlx::raw_sql(
        "INSERT INTO process VALUES
             ('p', 'vacuum', 'lake/sales/news', 3, 2, 40, 'running', NULL, NULL, NULL, 0, 1, 1, '{}', NULL, 0)",
    )
    .execute(&world.queue.writer)
    .await
    .unwrap();
    let error = store.process(&"p".into()).await.unwrap_err();
    assert!(
        matches!(&error, CoordinationError::UnreadableRow { message, .. }
            if message.contains("'vacuum'") && message.contains("newer")),
        "{error}"
    );
}

#[tokio::test]
async fn a_file_of_version_2_goes_on_with_tables_that_move() {
    let (ambient, _) = Ambient::repeatable(7, NOW);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let old = bare_file(&path).await;
    for statements in [
        include_str!("tests/schema_1.sql"),
        include_str!("from_1_to_2.sql"),
        "UPDATE layout SET generation = 2, buckets = 2, former = 8; PRAGMA user_version = 2",
    ] {
        sqlx::raw_sql(statements).execute(&old).await.unwrap();
    }
    old.close().await;

    let file = open(&path, &ambient).await.unwrap();
    let world = World::new().await;
    assert_eq!(schema(&file).await, schema(&world.file().await).await);
    let store = file.store();
    let moving = store.layout().await.unwrap().unwrap();
    assert_eq!(
        (moving.generation, moving.swept().0.get()),
        (Generation(2), 8)
    );
    assert_eq!(moving.moving_since, None, "nobody noted when it began");
    let run = Component::Run;
    store.note_version(run, "0.1.0", NOW).await.unwrap();
    assert_eq!(store.versions(NOW).await.unwrap().len(), 1);
    assert!(store.settle_layout(Generation(2)).await.unwrap());
    file.close().await;
    // Once it is of this version nothing is done to it again.
    open(&path, &ambient).await.unwrap();
}

#[tokio::test]
async fn more_tables_than_a_page_has_are_listed_once() {
    let world = World::new().await;
    let store = world.queue.store();
    sqlx::raw_sql(
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 2499)
         INSERT INTO table_state (table_id, bucket, layout, epoch, marks, seen_marks, failures)
         SELECT 'lake/sales/t' || i, i % 8, 1, 0, 0, 0, 0 FROM n",
    )
    .execute(&world.queue.writer)
    .await
    .unwrap();
    let tables = store.tables().await.unwrap().into_iter();
    let tables: BTreeSet<TableId> = tables.map(|row| row.unwrap().table).collect();
    assert_eq!(tables.len(), 2500);
    let first = store.tables_page(None).await.unwrap();
    assert!(first.rows.len() < 2500 && first.next.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_file_opened_by_many_at_once_is_laid_out_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let openers = (0..8).map(|_| {
        let path = path.clone();
        tokio::spawn(async move { open(&path, &Ambient::system()).await.map(|_| ()) })
    });
    for opened in futures::future::join_all(openers).await {
        opened.unwrap().unwrap();
    }
}

/// Where the state file of [`a_process_of_its_own`] lies; set by [`two_processes_share_one_file`] alone.
const CHILD_STATE: &str = "ICEPRESS_TEST_CHILD_STATE";
const ROUNDS: i64 = 100;

/// What the children of the next test run. By itself it does nothing.
#[tokio::test]
async fn a_process_of_its_own() {
    let Some(path) = std::env::var_os(CHILD_STATE) else {
        return;
    };
    let file = open(Path::new(&path), &Ambient::system()).await.unwrap();
    let owner = WorkerId(format!("process {}", std::process::id()));
    for round in 0..ROUNDS {
        // A lease of no length, which the other process may take over at once.
        let now = TimestampMs(NOW.get() + round);
        let none = Duration::ZERO;
        let lease = file
            .store()
            .take_lease(BucketId(0), &owner, now, none, none)
            .await
            .unwrap();
        if let Some(lease) = lease {
            println!("epoch {}", lease.epoch);
            // The one that let go meanwhile is told so, and nobody else's lease is touched.
            match file.store().release_lease(&lease, None).await {
                Ok(()) | Err(CoordinationError::Fenced(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[tokio::test]
async fn two_processes_share_one_file() {
    let world = World::new().await;
    let state: OsString = world.path().into();
    let children: Vec<_> = (0..2)
        .map(|_| {
            Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "sqlite::tests::a_process_of_its_own"])
                .args(["--nocapture", "--test-threads", "1"])
                .env(CHILD_STATE, &state)
                .stdout(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let mut epochs = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let text = String::from_utf8(output.stdout).unwrap();
        epochs.extend(text.lines().filter_map(|line| {
            let (_, epoch) = line.split_once("epoch ")?;
            epoch.trim().parse::<u64>().ok()
        }));
    }
    let distinct: BTreeSet<u64> = epochs.iter().copied().collect();
    assert_eq!(distinct.len(), epochs.len(), "an epoch was given twice");
    let last = world
        .queue
        .store()
        .take_lease(
            BucketId(0),
            &WorkerId::from("last"),
            TimestampMs(i64::MAX / 2),
            Duration::ZERO,
            Duration::ZERO,
        )
        .await
        .unwrap()
        .unwrap();
    assert_eq!(last.epoch, Epoch(epochs.len() as u64 + 1));
    assert!(
        epochs.len() >= ROUNDS as usize,
        "only {} leases",
        epochs.len()
    );
}

/// What the child of the next test runs, until it is killed. By itself it does nothing.
#[tokio::test]
async fn a_process_that_is_killed() {
    let Some(path) = std::env::var_os(KILLED_STATE) else {
        return;
    };
    let file = open(Path::new(&path), &Ambient::system()).await.unwrap();
    let (store, none) = (file.store(), Duration::ZERO);
    let owner = WorkerId::from("killed");
    for round in 0.. {
        // The lease of the one killed before ends by itself, within a millisecond.
        let lease = loop {
            let now = file.ambient.now();
            let taken = store.take_lease(BucketId(0), &owner, now, none, none);
            if let Some(lease) = taken.await.unwrap() {
                break lease;
            }
        };
        let table: TableId = format!("lake.sales.t{round}").parse().unwrap();
        store.force_due(HOME, &table, NOW).await.unwrap();
        let seen = store.table(&table).await.unwrap().unwrap();
        let process = new_process(&format!("p{round}"), &table, NOW);
        let tasks = vec![new_task(); 40];
        store
            .start_process(&lease, &seen, &process, &tasks)
            .await
            .unwrap();
        println!("round {round}");
    }
}

const KILLED_STATE: &str = "ICEPRESS_TEST_KILLED_STATE";

#[tokio::test]
async fn a_killed_process_leaves_whole_rows() {
    use std::io::{BufRead as _, BufReader};
    let world = World::new().await;
    let mut told = 0;
    for kill_after in [1, 2, 5] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "sqlite::tests::a_process_that_is_killed"])
            .args(["--nocapture", "--test-threads", "1"])
            .env(KILLED_STATE, world.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Each child begins where the table names begin: what stands already is started again, or met as active.
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        told += lines
            .map(|line| line.unwrap())
            .filter(|line| line.contains("round "))
            .take(kill_after)
            .count();
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(told, 8);
    let store = world.file().await.store();
    let mut started = 0;
    for row in store.tables().await.unwrap() {
        let row = row.unwrap();
        assert_eq!(invariants::table_row(&row), Ok(()));
        let processes = store.processes_of(&row.table, 10).await.unwrap();
        assert_eq!(invariants::one_process(Some(&row), &processes), Ok(()));
        for process in processes {
            let tasks = store.tasks(&process.process).await.unwrap();
            assert_eq!(invariants::open_tasks(&process, &tasks), Ok(()));
            started += 1;
        }
    }
    assert!(started >= 5, "what was told stands: {started}");
    let intact: String = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_one(&world.queue.writer)
        .await
        .unwrap();
    assert_eq!(intact, "ok");
}

fn new_process(id: &str, table: &TableId, created_at: TimestampMs) -> NewProcess {
    NewProcess {
        process: id.into(),
        kind: icepress_model::ProcessKind::Rewrite,
        table: table.clone(),
        created_at,
        header: "{}".to_owned(),
        check_at: NOW,
        reservation: None,
        conclusion: Conclusion {
            evaluated_location: Some(MetadataLocation::from("m")),
            text: "{}".to_owned(),
            next_due_at: None,
            failures: 0,
        },
    }
}

fn new_task() -> NewTask {
    NewTask {
        payload: Payload::Inline("{}".to_owned()),
    }
}

// --- what only this adapter does ---

fn message(table: &str, index: u32) -> TaskMessage {
    TaskMessage {
        task: TaskId {
            process: table.into(),
            index,
        },
        table: format!("lake.sales.{table}").parse().unwrap(),
        epoch: Epoch(1),
    }
}

#[tokio::test]
async fn a_table_with_many_messages_does_not_starve_the_others() {
    let world = World::new().await;
    let queue = world.queue().await;
    let bucket = BucketId(0);
    let visibility = Duration::from_secs(60);
    let big: Vec<TaskMessage> = (0..50).map(|index| message("big", index)).collect();
    queue.send(bucket, &big).await.unwrap();
    for _ in 0..3 {
        queue
            .receive(bucket, 1, Duration::ZERO, visibility)
            .await
            .unwrap();
    }
    queue.send(bucket, &[message("small", 0)]).await.unwrap();
    let next = queue
        .receive(bucket, 1, Duration::ZERO, visibility)
        .await
        .unwrap();
    assert_eq!(next[0].message, message("small", 0));
    let next = queue
        .receive(bucket, 1, Duration::ZERO, visibility)
        .await
        .unwrap();
    assert_eq!(next[0].message, message("big", 3));
}

#[tokio::test]
async fn an_unreadable_message_does_not_stop_the_others() {
    let world = World::new().await;
    sqlx::raw_sql(
        "INSERT INTO message (bucket, message_group, body, visible_at, receive_count)
         VALUES (0, 'g', 'no JSON', 0, 0)",
    )
    .execute(&world.queue.writer)
    .await
    .unwrap();
    let queue = world.queue().await;
    queue
        .send(BucketId(0), &[message("orders", 0)])
        .await
        .unwrap();
    for expected in [1, 0, 0] {
        let received = queue
            .receive(BucketId(0), 10, Duration::ZERO, Duration::from_secs(60))
            .await
            .unwrap();
        assert_eq!(received.len(), expected);
        for received in received {
            queue.delete(&received).await.unwrap();
        }
        world.clock.advance(Duration::from_secs(61));
    }
    assert_eq!(queue.dead_letters(BucketId(0)).await.unwrap(), 1);
}

#[tokio::test]
async fn ended_processes_go_after_the_retention_and_no_others() {
    let world = World::new().await;
    let store = world.queue.store();
    let bucket = BucketId(0);
    let worker = WorkerId::from("w");
    let minute = Duration::from_secs(60);
    let lease = store
        .take_lease(bucket, &worker, NOW, minute, minute)
        .await
        .unwrap()
        .unwrap();
    let start = async |name: &str, table: &str, created_at: TimestampMs| {
        let table: TableId = format!("lake.sales.{table}").parse().unwrap();
        store.force_due(HOME, &table, NOW).await.unwrap();
        let seen = store.table(&table).await.unwrap().unwrap();
        let process = new_process(name, &table, created_at);
        store
            .start_process(&lease, &seen, &process, &[new_task()])
            .await
            .unwrap();
    };
    start("ended", "a", NOW).await;
    start("running", "b", NOW).await;
    let task = TaskId {
        process: "ended".into(),
        index: 0,
    };
    store
        .claim_task(&task, &worker, NOW, NOW + minute)
        .await
        .unwrap();
    store
        .report_task(
            &task,
            icepress_model::Attempt(1),
            Ok(Payload::Inline("{}".into())),
        )
        .await
        .unwrap();
    let claim = store
        .claim_commit(&task.process, &worker, NOW, NOW + minute)
        .await
        .unwrap()
        .unwrap();
    let outcome = ProcessOutcome::Abandoned {
        reason: "tested".to_owned(),
    };
    store
        .end_process(&claim, &outcome, None, None, 0)
        .await
        .unwrap();

    let retention = SqliteOptions::default().retention;
    start("later", "c", NOW + retention).await;
    assert!(store.process(&"ended".into()).await.unwrap().is_some());
    start("latest", "d", NOW + retention + minute).await;
    assert_eq!(store.process(&"ended".into()).await.unwrap(), None);
    assert_eq!(store.tasks(&"ended".into()).await.unwrap(), []);
    assert_eq!(store.tasks(&"running".into()).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_holds_that_is_gone_is_let_go() {
    use crate::limits::{Quota, Reservation, Usage};
    let world = World::new().await;
    let file = world.file().await;
    let store = file.store();
    let minute = Duration::from_secs(60);
    let lease = store
        .take_lease(BucketId(0), &"w".into(), NOW, minute, minute)
        .await
        .unwrap()
        .unwrap();
    let table = "lake.sales.orders".parse::<TableId>().unwrap();
    store
        .mark_due(HOME, &table, &"m1".into(), NOW)
        .await
        .unwrap();
    let seen = store.table(&table).await.unwrap().unwrap();
    let scope = icepress_model::Scope::Table(table.clone());
    let process = NewProcess {
        reservation: Some(Reservation {
            of: vec![(scope.clone(), Quota::default())],
            usage: Usage {
                tasks: 7,
                ..Usage::default()
            },
        }),
        ..new_process("p", &table, NOW)
    };
    store
        .start_process(&lease, &seen, &process, &[new_task()])
        .await
        .unwrap();
    assert!(!store.free_reservation(&scope, &"p".into()).await.unwrap());
    sqlx::query("DELETE FROM process")
        .execute(&file.writer)
        .await
        .unwrap();
    assert!(store.free_reservation(&scope, &"p".into()).await.unwrap());
    assert!(!store.free_reservation(&scope, &"p".into()).await.unwrap());
    let rows = store.quotas(&[scope]).await.unwrap();
    assert_eq!(rows[0].tasks(), 0);
}

/// Every column of every table, with its type.
async fn schema(file: &SqliteFile) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT t.name || '.' || c.name || ' ' || c.type || c.\"notnull\" || c.pk
         FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table' ORDER BY 1",
    )
    .fetch_all(&file.writer)
    .await
    .unwrap()
}
