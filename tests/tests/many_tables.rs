//! What people ask of a state that holds 100,000 tables: answered from the rows as they are read, a page at a time.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{collections::BTreeSet, sync::Arc};

use icepress_coordination::{Severity, StateStore, TableKey};
use icepress_model::{CatalogName, DatabaseId, Namespace, Scope};
use icepress_service::{
    Context, doctor,
    embedded::{Stop, run_once},
    processes::under_way,
    tables::{KnownTables, Wanted},
};
use icepress_tests::{DyingStore, Lab, settings_for_tests};
use peak_alloc::PeakAlloc;
use sqlx::{SqlitePool, sqlite::SqliteConnectOptions};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const TABLES: u64 = 100_000;
/// What an answer may take: a few pages, and a tenth of what all rows would.
const MOST_MEMORY: f32 = 12.0;

/// Of so many tables one fails; the others are at rest.
const ONE_OF: u64 = 100;

/// A lab whose state knows 100,000 tables in ten databases, each with some text about it: of a hundred one fails, one has
/// a process under way whose row is gone, and the others are at rest. The worker's store counts what is listed.
async fn lab_of_many() -> (Lab, Context, Arc<DyingStore>) {
    let lab = Lab::new(91).await;
    let worker = lab.worker(settings_for_tests("w"));
    worker.layout().await.unwrap();
    let options = SqliteConnectOptions::new().filename(lab.folder.path().join("state.db"));
    let state = SqlitePool::connect_with(options).await.unwrap();
    let now = lab.ambient.now().get();
    let padding = "x".repeat(400);
    let fill = format!(
        "WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n < {TABLES} - 1)
         INSERT INTO table_state (table_id, bucket, layout, epoch, due_at, marks, seen_marks, evaluated_location,
                                  conclusion, failures, active_process)
         SELECT printf('lab/db%d/t%06d', n % 10, n), n / {ONE_OF} % 8, 1, 0,
                CASE WHEN n % {ONE_OF} = 9 OR n = 5 THEN {now} + 1000000 END, 1, 1, 's3://lake/' || n,
                '{{\"health\":{{\"score\":50}},\"failure\":\"{padding}\"}}',
                CASE WHEN n % {ONE_OF} = 9 THEN 1 ELSE 0 END, CASE WHEN n = 5 THEN 'gone' END
         FROM number"
    );
    sqlx::query(sqlx::AssertSqlSafe(fill))
        .execute(&state)
        .await
        .unwrap();
    state.close().await;
    let store = DyingStore::watching(Arc::clone(&worker.store));
    let worker = Context {
        store: Arc::clone(&store) as Arc<dyn StateStore>,
        ..worker
    };
    (lab, worker, store)
}

fn wanted(scope: Scope) -> Wanted {
    Wanted {
        scope,
        after: None,
        first: None,
        with_unseen: true,
    }
}

/// Megabytes that `work` takes at its peak beyond what there was before.
async fn peak_of<T>(work: impl Future<Output = T>) -> (T, f32) {
    let before = MEMORY.current_usage_as_mb();
    MEMORY.reset_peak_usage();
    let done = work.await;
    (done, MEMORY.peak_usage_as_mb() - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_tables_are_answered_for_in_little_memory() {
    let (lab, worker, store) = lab_of_many().await;
    let unseen = lab.create_table("never_looked_at", &[]).await;
    let catalog = Scope::Catalog(CatalogName::from("lab"));

    // All of them, in order, with the one that no run has seen yet.
    let listing = async {
        let mut tables = KnownTables::open(&worker, &wanted(catalog.clone()))
            .await
            .unwrap();
        let (mut number, mut new, mut last) = (0, BTreeSet::new(), None::<TableKey>);
        while let Some(known) = tables.next().await.unwrap() {
            assert!(last.is_none_or(|last| last < known.key), "in order");
            last = Some(known.key);
            number += 1;
            if known.row.is_none() {
                new.insert(known.table);
            }
        }
        assert_eq!(tables.left_out(), None);
        (number, new)
    };
    let ((number, new), memory) = peak_of(listing).await;
    assert_eq!(number, TABLES + 1);
    assert_eq!(new, BTreeSet::from([unseen]));
    println!("list peak_mb={memory:.1}");
    assert!(memory < MOST_MEMORY, "{memory} MB");

    // A page of one database, from a table on.
    let database = Scope::Database(DatabaseId {
        catalog: CatalogName::from("lab"),
        namespace: Namespace::from_dotted("db3"),
    });
    let mut tables = KnownTables::open(&worker, &wanted(database.clone()))
        .await
        .unwrap();
    let mut after = None;
    for _ in 0..5_000 {
        after = tables.next().await.unwrap().map(|known| known.key);
    }
    let page = Wanted {
        after,
        first: Some(3),
        ..wanted(database)
    };
    store.rows_listed();
    let mut tables = KnownTables::open(&worker, &page).await.unwrap();
    for number in [50_003, 50_013, 50_023] {
        let known = tables.next().await.unwrap().unwrap();
        assert_eq!(known.table.to_string(), format!("lab.db3.t{number:06}"));
    }

    let listed = store.rows_listed();
    assert!(listed < 10, "{listed} rows for a page of three");

    let watched = TABLES / ONE_OF + 1;
    let (findings, memory) = peak_of(doctor::examine(&worker)).await;
    assert_eq!(
        store.rows_listed(),
        watched,
        "those that fail, or are worked on"
    );
    println!("doctor peak_mb={memory:.1}");
    assert!(memory < MOST_MEMORY, "{memory} MB");
    let failing = findings
        .iter()
        .filter(|finding| finding.seen.starts_with("failed 1 times"));
    assert_eq!(failing.count(), 20);
    let more = findings
        .iter()
        .find(|finding| finding.subject == "tables")
        .unwrap();
    assert_eq!(
        (more.severity, more.seen.as_str()),
        (Severity::Doubt, "980 more fail or wait")
    );

    let (processes, memory) = peak_of(under_way(&worker, None, 100)).await;
    assert_eq!(processes.unwrap().work.len(), 0, "its row is gone");
    assert_eq!(store.rows_listed(), watched);
    assert!(memory < MOST_MEMORY, "{memory} MB");

    let options = SqliteConnectOptions::new().filename(lab.folder.path().join("state.db"));
    let state = SqlitePool::connect_with(options).await.unwrap();
    let free =
        "UPDATE table_state SET active_process = NULL, due_at = NULL WHERE active_process = 'gone'";
    sqlx::raw_sql(free).execute(&state).await.unwrap();
    state.close().await;
    // One round, once nothing waits for a process that is gone: what is due, and whether anything is still under way.
    let (round, memory) = peak_of(run_once(&worker, 1, &Stop::default())).await;
    assert_eq!(round.unwrap().failed, 0);
    println!("run peak_mb={memory:.1}");
    let listed = store.rows_listed();
    assert!(listed < 5 * watched, "{listed} rows for a round");
    assert!(memory < MOST_MEMORY, "{memory} MB");
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_nobody_looked_at_stand_in_their_order_and_behind_a_page() {
    let lab = Lab::new(92).await;
    let worker = lab.worker(settings_for_tests("w"));
    let (first, last) = (
        lab.create_table("a", &[]).await,
        lab.create_table("b", &[]).await,
    );
    let all = wanted(Scope::Catalog(CatalogName::from("lab")));
    let mut tables = KnownTables::open(&worker, &all).await.unwrap();
    for table in [&first, &last] {
        let known = tables.next().await.unwrap().unwrap();
        assert_eq!((&known.table, known.row.is_none()), (table, true));
    }
    assert!(tables.next().await.unwrap().is_none());
    assert_eq!(tables.left_out(), None);
    // Behind the first.
    let after = Some(TableKey::of(&first));
    let mut tables = KnownTables::open(&worker, &Wanted { after, ..all })
        .await
        .unwrap();
    let known = tables.next().await.unwrap().unwrap();
    assert_eq!(known.table, last);
    assert!(tables.next().await.unwrap().is_none());
}
