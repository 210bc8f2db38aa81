//! What people ask of a DynamoDB that holds 100,000 rows, by requests; and what they are told of a row that it refuses.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{collections::BTreeMap, sync::Arc};

use aws_sdk_dynamodb::Client;
use icepress_coordination::{
    DynamoStore, Finding, Severity, TableKey, create_state_table, hash_of_name,
};
use icepress_model::{BucketCount, CatalogName, DatabaseId, Namespace, Scope, TableId};
use icepress_service::{
    Context, Deadline, Settings, doctor,
    processes::{cancel, under_way},
    tables::{KnownTables, Wanted},
    tick,
};
use icepress_simulation::{
    connector::Aws,
    dynamo::{Dynamo, Item},
    network::Network,
    sqs::Sqs,
};
use icepress_storage::RequestLedger;
use icepress_tests::{Lab, settings_for_tests};
use serde_json::json;

const STATE: &str = "state";
const ROWS: usize = 100_000;
const BUCKETS: usize = 64;
/// Of so many tables one fails; the others are at rest.
const ONE_OF: usize = 100;
/// Rows of tables lie in so many shares.
const SHARES: usize = 16;

/// A lab whose workers keep their state in a DynamoDB, and what is asked of that.
struct World {
    lab: Lab,
    dynamo: Arc<Dynamo>,
    asked: RequestLedger,
    worker: Context,
}

impl World {
    async fn new(seed: u64) -> Self {
        let lab = Lab::new(seed).await;
        let (network, clock) = (Network::direct(), Arc::clone(&lab.ambient.clock));
        let dynamo = Dynamo::new(Arc::clone(&clock), Arc::clone(&network));
        let sqs = Sqs::new(Arc::clone(&clock), Arc::clone(&network));
        let client = Aws::new(&dynamo, &sqs, &network, "test").dynamodb_client(&clock);
        create_state_table(&client, STATE, &lab.ambient)
            .await
            .unwrap();
        let asked = RequestLedger::default();
        let counted = client.config().to_builder().interceptor(asked.clone());
        let client = Client::from_conf(counted.build());
        let buckets = u32::try_from(BUCKETS).unwrap();
        let settings = Settings {
            buckets: BucketCount(buckets.try_into().unwrap()),
            ..settings_for_tests("w")
        };
        let worker = Context {
            store: Arc::new(DynamoStore::new(client, STATE, lab.ambient.clone())),
            ..lab.worker(settings)
        };
        worker.layout().await.unwrap();
        Self {
            lab,
            dynamo,
            asked,
            worker,
        }
    }

    /// What `work` asks of DynamoDB, by kinds of requests.
    async fn requests<T>(&self, work: impl Future<Output = T>) -> (T, BTreeMap<String, u64>) {
        let before = self.asked.totals();
        let done = work.await;
        let totals = self.asked.totals().into_iter().map(|(kind, count)| {
            let count = count - before.get(&kind).copied().unwrap_or(0);
            (kind.trim_start_matches("DynamoDB.").to_owned(), count)
        });
        (done, totals.filter(|(_, count)| *count > 0).collect())
    }

    /// Copies the row of a table that was looked at: of a hundred one fails, and the others are at rest.
    async fn fill(&self, template: &TableId) {
        let key = TableKey::of(template);
        let rows = self.dynamo.items(STATE);
        let row = rows.into_iter().find(|((_, sk), _)| sk == key.as_str());
        let (_, mut row) = row.unwrap();
        for of_its_own in ["due_at", "due_bucket", "active_process"] {
            row.remove(of_its_own);
        }
        let later = (self.lab.ambient.now().get() + 1_000_000).to_string();
        for number in 0..ROWS {
            let key = format!("lab/db{}/t{number:06}", number % 10);
            let share = hash_of_name(&key) % SHARES as u64;
            let mut copy: Item = row.clone();
            let mut put = |name: &str, value| copy.insert(name.to_owned(), value);
            put("pk", json!({ "S": format!("share#{share}") }));
            put("sk", json!({ "S": key }));
            put("table_id", json!({ "S": key }));
            put(
                "conclusion",
                json!({ "S": format!(r#"{{"failure":"{}"}}"#, "x".repeat(400)) }),
            );
            let bucket = number / ONE_OF % BUCKETS;
            put("bucket", json!({ "N": bucket.to_string() }));
            if number % ONE_OF == 9 {
                put("failures", json!({ "N": "1" }));
                put("due_at", json!({ "N": later }));
                put("due_bucket", json!({ "S": bucket.to_string() }));
            }
            self.dynamo.insert(STATE, copy);
        }
    }
}

fn whole_catalog() -> Scope {
    Scope::Catalog(CatalogName::from("lab"))
}

fn wanted(scope: Scope, first: Option<usize>) -> Wanted {
    Wanted {
        scope,
        after: None,
        first,
        with_unseen: true,
    }
}

fn count(asked: &BTreeMap<String, u64>, kind: &str) -> usize {
    usize::try_from(asked.get(kind).copied().unwrap_or(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_rows_of_a_dynamodb_are_answered_for_in_few_requests() {
    let world = World::new(93).await;
    let table = world.lab.create_table("orders", &[]).await;
    world.lab.append_numbered(&table, &["eu"], 8, 10, 0).await;
    let worker = &world.worker;
    tick(worker, Deadline::NONE).await.unwrap();
    let row = worker.store.table(&table).await.unwrap().unwrap();
    let process = row.active_process.unwrap();
    world.fill(&table).await;
    let failing = ROWS / ONE_OF;

    // A query of each bucket's index, and the rows that it names.
    let (findings, asked) = world.requests(doctor::examine(worker)).await;
    println!("doctor {asked:?}");
    let more = findings.iter().find(|finding| finding.subject == "tables");
    let told = format!("{} more fail or wait", failing - 20);
    assert_eq!(more.map(|more| more.seen.as_str()), Some(told.as_str()));
    assert!(count(&asked, "Query") <= BUCKETS + 16, "{asked:?}");
    assert!(count(&asked, "BatchGetItem") <= BUCKETS + 16, "{asked:?}");
    assert!(
        asked.values().sum::<u64>() <= 3 * BUCKETS as u64,
        "{asked:?}"
    );

    let (under_way, asked) = world.requests(under_way(worker, None, 100)).await;
    println!("processes {asked:?}");
    assert_eq!(under_way.unwrap().work.len(), 1);
    assert!(
        asked.values().sum::<u64>() <= 3 * BUCKETS as u64,
        "{asked:?}"
    );

    // One request of each share for a page; of a whole database one for so many rows.
    let database = Scope::Database(DatabaseId {
        catalog: CatalogName::from("lab"),
        namespace: Namespace::from_dotted("db3"),
    });
    let tables = ROWS / 10;
    for (scope, first, most) in [
        (whole_catalog(), Some(20), SHARES),
        (database, None, SHARES + tables / 400),
    ] {
        let listing = async {
            let wanted = wanted(scope, first);
            let mut tables = KnownTables::open(worker, &wanted).await.unwrap();
            let mut listed = 0;
            while listed < first.unwrap_or(usize::MAX) && tables.next().await.unwrap().is_some() {
                listed += 1;
            }
            listed
        };
        let (listed, asked) = world.requests(listing).await;
        println!("tables {first:?} {asked:?}");
        assert_eq!(listed, first.unwrap_or(tables));
        assert!(count(&asked, "Query") <= most + 8, "{asked:?}");
    }

    let (cancelled, asked) = world.requests(cancel(worker, &process, "enough")).await;
    cancelled.unwrap();
    println!("cancel {asked:?}");
    assert!(asked.values().sum::<u64>() <= 12, "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_table_is_forgotten_without_looking_through_the_rows_of_others() {
    let world = World::new(95).await;
    let (lab, worker) = (&world.lab, &world.worker);
    let (orders, clicks) = (
        lab.create_table("orders", &[]).await,
        lab.create_table("clicks", &[]).await,
    );
    let round = async || {
        let ticked = world.requests(tick(worker, Deadline::NONE)).await;
        count(&ticked.1, "Query")
    };
    for _ in 0..2 {
        round().await;
    }
    let idle = round().await;
    assert!(worker.store.table(&clicks).await.unwrap().is_some());

    lab.drop_table(&clicks).await;
    let mut asked = 0;
    for _ in 0..5 {
        asked += round().await;
    }
    assert_eq!(worker.store.table(&clicks).await.unwrap(), None);
    assert!(worker.store.table(&orders).await.unwrap().is_some());
    // To look through the rows of a database is a query of each share, whenever it is done.
    let more = asked - 5 * idle;
    assert!(more < SHARES, "{more} queries more than {idle} a round");
}

async fn one_about(context: &Context, subject: &str) -> Finding {
    let mut all = doctor::examine(context).await;
    all.retain(|finding| finding.subject == subject);
    assert_eq!(all.len(), 1, "{subject}: {all:?}");
    all.remove(0)
}

async fn listed(context: &Context) -> Vec<(TableId, bool)> {
    let mut tables = KnownTables::open(context, &wanted(whole_catalog(), None))
        .await
        .unwrap();
    let mut listed = Vec::new();
    while let Some(known) = tables.next().await.unwrap() {
        listed.push((known.table, known.row.is_some()));
    }
    listed
}

#[tokio::test(flavor = "multi_thread")]
async fn c56_a_row_that_dynamodb_refuses_for_ever_is_told_by_each_command_with_what_to_do() {
    let world = World::new(94).await;
    let (lab, worker) = (&world.lab, &world.worker);
    let orders = lab.create_table("orders", &[]).await;
    lab.append_numbered(&orders, &["eu"], 8, 10, 0).await;
    tick(worker, Deadline::NONE).await.unwrap();
    let row = worker.store.table(&orders).await.unwrap().unwrap();
    let process = row.active_process.unwrap();

    // One that has a row, and work under way.
    world
        .dynamo
        .refuse_writes_of(TableKey::of(&orders).as_str());
    let error = cancel(worker, &process, "enough").await.unwrap_err();
    let told = error.to_string();
    for words in [
        process.as_str(),
        "lab.tests.orders",
        "nothing was changed",
        "remove that row",
    ] {
        assert!(told.contains(words), "'{words}' in: {told}");
    }
    let found = under_way(worker, None, 100).await.unwrap();
    assert_eq!(found.work[0].process, process);
    assert_eq!(listed(worker).await, [(orders.clone(), true)]);

    // One whose first row is refused: its name is all that is known of it.
    let clicks = lab.create_table("clicks", &[]).await;
    world
        .dynamo
        .refuse_writes_of(TableKey::of(&clicks).as_str());
    for _ in 0..2 {
        tick(worker, Deadline::NONE).await.unwrap();
    }
    let finding = one_about(worker, "table lab.tests.clicks").await;
    assert_eq!(finding.severity, Severity::Wrong, "{finding:?}");
    assert!(finding.seen.contains("has no row"), "{finding:?}");
    let advice = finding.advice.unwrap();
    assert!(advice.contains("scheduler's log"), "{advice}");
    assert_eq!(
        listed(worker).await,
        [(clicks.clone(), false), (orders.clone(), true)]
    );

    // Once it is gone nobody tells of it any more.
    lab.drop_table(&clicks).await;
    for _ in 0..2 {
        tick(worker, Deadline::NONE).await.unwrap();
    }
    assert_eq!(listed(worker).await, [(orders, true)]);
    let all = doctor::examine(worker).await;
    assert!(
        all.iter()
            .all(|finding| !finding.subject.contains("clicks")),
        "{all:?}"
    );
}
