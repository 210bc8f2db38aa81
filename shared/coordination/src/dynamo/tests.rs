use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use icepress_model::{
    BucketCount, BucketId, CatalogName, DatabaseId, Generation, MetadataLocation, Namespace,
    TableId, TimestampMs, WorkerId,
};
use icepress_storage::{
    AwsEnvironment, RequestLedger, RequestTotals,
    conformance::emulator::{Emulator, EmulatorKind},
};

use super::{item::Key, *};
use crate::{
    Conclusion, Digest, Home, NewProcess, NewTask, Payload, StateStore, Watched,
    conformance::{STORE_RULES, StoreWorld},
    ports::*,
};

mod faults;
mod proxy;

/// A state table of its own.
#[derive(Debug)]
struct World {
    store: DynamoStore,
    ledger: RequestLedger,
    loses_answers: bool,
}

async fn client(aws: &AwsEnvironment) -> Client {
    let config = aws_sdk_dynamodb::config::Builder::from(aws.config().await)
        .interceptor(aws.ledger().clone())
        .build();
    Client::from_conf(config)
}

static WORLDS: AtomicU32 = AtomicU32::new(0);

impl World {
    async fn new(emulator: &Emulator) -> Arc<Self> {
        let aws = emulator.environment().await;
        let client = client(&aws).await;
        let name = format!("state-{}", WORLDS.fetch_add(1, Ordering::Relaxed));
        let ambient = Ambient::system();
        for _ in 0..2 {
            // The second time it is there already.
            create_state_table(&client, &name, &ambient).await.unwrap();
        }
        Arc::new(Self {
            // The suite's times are past: an emulator that removes what has outlived its time, once a minute, would
            // take rows away under a rule.
            store: DynamoStore::new(client, name, ambient).with_retention(CENTURY),
            ledger: aws.ledger().clone(),
            loses_answers: false,
        })
    }
}

impl World {
    async fn damage(&self, key: Key, number: &str) {
        self.store
            .client
            .update_item()
            .table_name(&self.store.table)
            .set_key(Some(key.item()))
            .update_expression("SET #number = :text")
            .expression_attribute_names("#number", number)
            .expression_attribute_values(":text", item::text("many"))
            .send()
            .await
            .unwrap();
    }
}

#[async_trait]
impl StoreWorld for World {
    async fn store(&self) -> Arc<dyn StateStore> {
        Arc::new(self.store.clone())
    }

    async fn damage_table(&self, table: &TableId) {
        self.damage(Key::table(table), "failures").await;
    }

    async fn damage_bucket(&self, bucket: BucketId) {
        self.damage(Key::bucket(bucket), "epoch").await;
    }

    fn loses_answers(&self) -> bool {
        self.loses_answers
    }
}

async fn check_all(kind: EmulatorKind) {
    let Some(emulator) = Emulator::start(kind) else {
        return;
    };
    let mut failures = Vec::new();
    for (name, rule) in STORE_RULES {
        let world = World::new(&emulator).await;
        match tokio::spawn(rule(Arc::clone(&world) as Arc<dyn StoreWorld>)).await {
            Ok(()) => println!("{kind:?} {name}: ok"),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{kind:?}: {failures:#?}");
    idle_costs_a_query_for_each_64_buckets(&emulator).await;
    watched_tables_cost_no_request_for_those_at_rest(&emulator).await;
    a_missing_table_is_named(&emulator).await;
    rows_that_may_go_say_when(&emulator).await;
    rows_of_a_batch_that_were_left_out_are_asked_for_again(&emulator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_holds_on_moto() {
    check_all(EmulatorKind::Moto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_holds_on_ministack() {
    check_all(EmulatorKind::MiniStack).await;
}

const NOW: TimestampMs = TimestampMs(1_760_000_000_000);
const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
const BUCKET: BucketId = BucketId(5);
const HOME: Home = Home {
    bucket: BUCKET,
    layout: Generation(0),
};
const MINUTE: Duration = Duration::from_secs(60);

fn table(name: &str) -> TableId {
    format!("lake.sales.{name}").parse().unwrap()
}

fn database() -> DatabaseId {
    DatabaseId {
        catalog: CatalogName::from("lake"),
        namespace: Namespace::from_dotted("sales"),
    }
}

async fn idle_costs_a_query_for_each_64_buckets(emulator: &Emulator) {
    let world = World::new(emulator).await;
    let store = &world.store;
    let sent = |kind: &str, count| RequestTotals::from([(format!("DynamoDB.{kind}"), count)]);
    let before = world.ledger.totals();
    let count = BucketCount(NonZeroU32::new(256).unwrap());
    store.buckets(count).await.unwrap();
    assert_eq!(world.ledger.since(&before), sent("Query", 4));
    // What the census finds unchanged reads one digest and writes nothing.
    let lease = store
        .take_lease(BUCKET, &WorkerId::from("w"), NOW, MINUTE, MINUTE)
        .await
        .unwrap()
        .unwrap();
    let digest = Digest(vec![7; 16 * 1_000]);
    store
        .put_digest(&lease, HOME.layout, &database(), &digest)
        .await
        .unwrap();
    let before = world.ledger.totals();
    assert_eq!(store.digest(&database()).await.unwrap(), digest);
    assert_eq!(world.ledger.since(&before), sent("Query", 1));
    // A mark for what we know is a read.
    let location = MetadataLocation::from("m1");
    store
        .mark_due(HOME, &table("t"), &location, NOW)
        .await
        .unwrap();
    let before = world.ledger.totals();
    store
        .mark_due(HOME, &table("t"), &location, NOW)
        .await
        .unwrap();
    assert_eq!(world.ledger.since(&before), sent("GetItem", 1));
}

async fn watched_tables_cost_no_request_for_those_at_rest(emulator: &Emulator) {
    let world = World::new(emulator).await;
    let store = world.store().await;
    let lease = store
        .take_lease(BUCKET, &WorkerId::from("w"), NOW, MINUTE, MINUTE)
        .await
        .unwrap()
        .unwrap();
    let at_rest = new_process("none", "none").conclusion;
    for number in 0..25 {
        let table = table(&format!("t{number}"));
        store.force_due(HOME, &table, NOW).await.unwrap();
        if number >= 3 {
            let row = store.table(&table).await.unwrap().unwrap();
            store.conclude(&lease, &row, &at_rest).await.unwrap();
        }
    }
    let before = world.ledger.totals();
    let mut watched = Watched::new(&store, [BucketId(4), BUCKET].into_iter());
    let mut found = 0;
    while let Some(row) = watched.next().await.unwrap() {
        assert!(row.unwrap().due_at.is_some());
        found += 1;
    }
    assert_eq!(found, 3);
    let sent = RequestTotals::from([
        ("DynamoDB.BatchGetItem".to_owned(), 1),
        ("DynamoDB.Query".to_owned(), 2),
    ]);
    assert_eq!(world.ledger.since(&before), sent);
}

async fn a_missing_table_is_named(emulator: &Emulator) {
    let client = client(&emulator.environment().await).await;
    let store = DynamoStore::new(client, "no-such-table", Ambient::system());
    let error = store.next_due(BUCKET).await.unwrap_err();
    assert!(
        matches!(&error, CoordinationError::Configuration { message, .. } if message.contains("no-such-table")),
        "{error:?}"
    );
}

fn new_process(id: &str, of: &str) -> NewProcess {
    NewProcess {
        kind: icepress_model::ProcessKind::Rewrite,
        process: id.into(),
        table: table(of),
        created_at: NOW,
        header: "{}".to_owned(),
        check_at: NOW + MINUTE,
        reservation: None,
        conclusion: Conclusion {
            evaluated_location: None,
            text: "{}".to_owned(),
            next_due_at: None,
            failures: 0,
        },
    }
}

fn new_task(bytes: usize) -> NewTask {
    NewTask {
        payload: Payload::Inline("x".repeat(bytes)),
    }
}

async fn started(store: &DynamoStore, name: &str, tasks: usize) {
    let lease = store
        .take_lease(BUCKET, &WorkerId::from("w"), NOW, MINUTE, MINUTE)
        .await
        .unwrap()
        .unwrap();
    store.force_due(HOME, &table(name), NOW).await.unwrap();
    let seen = store.table(&table(name)).await.unwrap().unwrap();
    let (process, task) = (new_process(name, name), new_task(60 * 1_024));
    store
        .start_process(&lease, &seen, &process, &vec![task; tasks])
        .await
        .unwrap();
}

async fn rows_that_may_go_say_when(emulator: &Emulator) {
    use crate::encoding::Fields as _;
    let world = World::new(emulator).await;
    let store = world.store.clone().with_retention(MINUTE);
    started(&store, "p1", 1).await;
    let rows = store
        .query(&item::process_rows(&"p1".into()), "")
        .await
        .unwrap();
    assert_eq!(rows.len(), 2);
    let planned = (NOW + MINUTE).get() / 1_000;
    for row in rows {
        assert_eq!(row.number("ttl").unwrap(), Some(planned));
    }
    let task = icepress_model::TaskId {
        process: "p1".into(),
        index: 0,
    };
    let worker = WorkerId::from("w");
    store
        .claim_task(&task, &worker, NOW, NOW + MINUTE)
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
        .claim_commit(&"p1".into(), &worker, NOW, NOW + MINUTE)
        .await
        .unwrap()
        .unwrap();
    let outcome = icepress_model::ProcessOutcome::Failed {
        failures: vec![],
        lessons: icepress_model::Lessons::default(),
    };
    store
        .end_process(&claim, &outcome, None, None, 1)
        .await
        .unwrap();
    let ended = store.get(&Key::process(&"p1".into())).await.unwrap();
    let ended = ended.unwrap().number("ttl").unwrap().unwrap();
    assert!(ended > planned, "kept for a minute from now on: {ended}");
    // Once the row is gone, the table is free whatever it says.
    started_again_after_its_process_was_lost(&store).await;
}

async fn started_again_after_its_process_was_lost(store: &DynamoStore) {
    let held = store
        .take_lease(
            BUCKET,
            &WorkerId::from("v"),
            NOW + 9 * MINUTE,
            MINUTE,
            MINUTE,
        )
        .await
        .unwrap()
        .unwrap();
    let seen = store.table(&table("p1")).await.unwrap().unwrap();
    let start = async |id: &str| {
        store
            .start_process(&held, &seen, &new_process(id, "p1"), &[])
            .await
            .unwrap()
    };
    use crate::StartOutcome::{AlreadyActive, Started};
    assert_eq!(start("p2").await, Started);
    assert_eq!(start("p3").await, AlreadyActive("p2".into()));
    store
        .client
        .delete_item()
        .table_name(&store.table)
        .set_key(Some(Key::process(&"p2".into()).item()))
        .send()
        .await
        .unwrap();
    assert_eq!(start("p3").await, Started);
}

async fn rows_of_a_batch_that_were_left_out_are_asked_for_again(emulator: &Emulator) {
    // 300 tasks of 60 KiB are 18 MB: several pages of a query, and writes that are cut into batches.
    let world = World::new(emulator).await;
    let store = &world.store;
    started(store, "large", 300).await;
    assert_eq!(store.tasks(&"large".into()).await.unwrap().len(), 300);
    assert!(world.ledger.totals()["DynamoDB.Query"] > 10);
}
