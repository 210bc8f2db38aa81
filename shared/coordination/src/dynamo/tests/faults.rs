//! What networks and busy services do to the store: answers lost after the write took effect, throttling, conflicts,
//! batches done in part, an index that lags.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU32, Ordering},
};

use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition};
use icepress_model::ambient::{Randomness as _, SeededRandomness};
use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use serde_json::json;

use super::{
    proxy::{Fate, Proxy, Request},
    *,
};
use crate::{
    ClaimOutcome, StartOutcome,
    conformance::{StoreRule, check_store},
    interleavings,
};

static PARTITIONS: AtomicU32 = AtomicU32::new(0);

/// A client that tries again soon and often, through the proxy.
fn through(proxy: &Proxy, direct: &Client) -> Client {
    let retries = RetryConfig::standard()
        .with_max_attempts(12)
        .with_initial_backoff(Duration::from_millis(2));
    // Each client's retries are counted apart, as those of machines are.
    let partition = PARTITIONS.fetch_add(1, Ordering::Relaxed);
    let config = direct
        .config()
        .to_builder()
        .endpoint_url(proxy.endpoint())
        .retry_config(retries)
        .retry_partition(RetryPartition::new(format!("test-{partition}")))
        .build();
    Client::from_conf(config)
}

/// The store of a world behind a proxy, which the world itself isn't.
async fn behind(
    emulator: &Emulator,
    rule: impl FnMut(&Request) -> Fate + Send + 'static,
) -> (Arc<World>, Proxy) {
    let direct = World::new(emulator).await;
    let proxy = Proxy::start(emulator.endpoint(), rule);
    let store = DynamoStore::new(
        through(&proxy, &direct.store.client),
        direct.store.table.clone(),
        Ambient::system(),
    )
    .with_retention(CENTURY);
    let world = World {
        store,
        ledger: direct.ledger.clone(),
        loses_answers: true,
    };
    (Arc::new(world), proxy)
}

fn conflict(request: &Request) -> Fate {
    let actions = request.body["TransactItems"].as_array().map_or(0, Vec::len);
    let mut reasons = vec![json!({"Code": "None"}); actions];
    reasons[actions - 1] = json!({"Code": "TransactionConflict", "Message": "ongoing"});
    Fate::Refuse(json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled, please refer cancellation reasons for specific reasons",
        "CancellationReasons": reasons,
    }))
}

fn throttled() -> Fate {
    Fate::Refuse(json!({
        "__type": "com.amazonaws.dynamodb.v20120810#ThrottlingException",
        "message": "Throughput exceeds the current capacity of your table or index",
    }))
}

/// Of a hundred requests, a dozen or so meet something.
fn weather(seed: u64) -> impl FnMut(&Request) -> Fate + Send + 'static {
    let chance = SeededRandomness::new(seed);
    move |request| match (chance.next_u64() % 100, request.operation.as_str()) {
        (0..4, _) => Fate::LoseAnswer,
        (4..7, _) => throttled(),
        (7..15, "TransactWriteItems") => conflict(request),
        (7..40, "BatchGetItem" | "BatchWriteItem") => Fate::DoHalf,
        _ => Fate::Pass,
    }
}

/// Every rule of the suite in bad weather.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_holds_in_bad_weather() {
    let Some(emulator) = Emulator::start(EmulatorKind::MiniStack) else {
        return;
    };
    let mut failures = Vec::new();
    for (seed, (name, _)) in (0..).zip(STORE_RULES as &[StoreRule]) {
        let (world, _proxy) = behind(&emulator, weather(seed)).await;
        let rule = tokio::spawn(check_store(name, world));
        match rule.await {
            Ok(()) => println!("{name}: ok"),
            Err(error) => failures.push(format!("{name} (seed {seed}): {error}")),
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

/// What SQLite is tried with, a few times, in bad weather.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_interleaving_breaks_an_invariant_in_bad_weather() {
    let Some(emulator) = Emulator::start(EmulatorKind::MiniStack) else {
        return;
    };
    let mut chance = TestRunner::deterministic();
    for seed in 0..6 {
        let steps = interleavings::steps()
            .new_tree(&mut chance)
            .unwrap()
            .current();
        println!("seed {seed}: {} steps", steps.len());
        let (world, _proxy) = behind(&emulator, weather(1_000 + seed)).await;
        interleavings::run(world.store().await, steps).await;
    }
}

/// Lets the first request of each of these operations take effect and loses its answer.
fn lose_first(operations: &'static [&'static str]) -> impl FnMut(&Request) -> Fate + Send {
    let mut lost = Vec::new();
    move |request| {
        let operation = operations.iter().find(|name| **name == request.operation);
        match operation {
            Some(operation) if !lost.contains(operation) => {
                lost.push(*operation);
                Fate::LoseAnswer
            }
            _ => Fate::Pass,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_answer_was_lost_is_known_as_our_own() {
    for kind in [EmulatorKind::MiniStack, EmulatorKind::Moto] {
        let Some(emulator) = Emulator::start(kind) else {
            return;
        };
        let worker = WorkerId::from("w");
        let (world, _proxy) = behind(&emulator, lose_first(&["PutItem"])).await;
        let lease = world
            .store
            .take_lease(BUCKET, &worker, NOW, MINUTE, MINUTE)
            .await
            .unwrap()
            .expect("the lease is ours, although we were not told");
        assert_eq!(lease.epoch.get(), 1, "it was taken once");

        let (world, _proxy) = behind(&emulator, lose_first(&["TransactWriteItems"])).await;
        started(&world.store, "p1", 3).await;
        let process = world.store.process(&"p1".into()).await.unwrap().unwrap();
        assert_eq!(process.open_tasks, 3);

        let once = Arc::new(AtomicBool::new(false));
        let armed = Arc::clone(&once);
        let (world, _proxy) = behind(&emulator, move |request| {
            let writes = ["PutItem", "TransactWriteItems"].contains(&request.operation.as_str());
            if writes && armed.swap(false, Ordering::SeqCst) {
                Fate::LoseAnswer
            } else {
                Fate::Pass
            }
        })
        .await;
        started(&world.store, "p1", 1).await;
        let task = icepress_model::TaskId {
            process: "p1".into(),
            index: 0,
        };
        once.store(true, Ordering::SeqCst);
        let claim = world
            .store
            .claim_task(&task, &worker, NOW, NOW + MINUTE)
            .await
            .unwrap();
        let ClaimOutcome::Claimed(row) = claim else {
            panic!("{claim:?}");
        };
        assert_eq!(row.attempt.get(), 1);
        once.store(true, Ordering::SeqCst);
        let report = world
            .store
            .report_task(&task, row.attempt, Ok(Payload::Inline("{}".to_owned())))
            .await
            .unwrap();
        assert_eq!(report, crate::ReportOutcome::Accepted { open_tasks: 0 });
        once.store(true, Ordering::SeqCst);
        let claim = world
            .store
            .claim_commit(&"p1".into(), &worker, NOW, NOW + MINUTE)
            .await
            .unwrap()
            .expect("the claim is ours");
        assert_eq!(claim.claim, 1);
        assert!(!once.load(Ordering::SeqCst), "an answer was lost each time");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_lags_makes_nothing_due() {
    let Some(emulator) = Emulator::start(EmulatorKind::MiniStack) else {
        return;
    };
    let stale: Arc<std::sync::Mutex<Option<String>>> = Arc::default();
    let replayed = Arc::clone(&stale);
    let (world, proxy) = behind(&emulator, move |request| {
        let of_index = request.body["IndexName"] == "due";
        match replayed.lock().unwrap().clone() {
            Some(answer) if of_index => Fate::Answer(answer),
            _ => Fate::Pass,
        }
    })
    .await;
    let store = &world.store;
    for name in ["a", "b", "c"] {
        let location = MetadataLocation::from("m1");
        store
            .mark_due(HOME, &table(name), &location, NOW)
            .await
            .unwrap();
    }
    let due = async || {
        let due = store.due_tables(BUCKET, NOW, 10).await.unwrap();
        let names = due.into_iter().map(|row| row.unwrap().table.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(due().await.len(), 3);
    *stale.lock().unwrap() = proxy.answers("Query").pop();

    let worker = WorkerId::from("w");
    let lease = store
        .take_lease(BUCKET, &worker, NOW, MINUTE, MINUTE)
        .await
        .unwrap()
        .unwrap();
    let later = Conclusion {
        evaluated_location: Some(MetadataLocation::from("m1")),
        text: "{}".to_owned(),
        next_due_at: Some(NOW + MINUTE),
        failures: 0,
    };
    let seen = store.table(&table("a")).await.unwrap().unwrap();
    store.conclude(&lease, &seen, &later).await.unwrap();
    let seen = store.table(&table("b")).await.unwrap().unwrap();
    assert!(store.forget_table(&lease, &seen).await.unwrap());
    assert_eq!(due().await, ["c"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_left_of_a_start_is_no_process() {
    let Some(emulator) = Emulator::start(EmulatorKind::MiniStack) else {
        return;
    };
    // Everything but the transaction that makes it count gets through.
    let crashed = Arc::new(AtomicBool::new(true));
    let crash = Arc::clone(&crashed);
    let (world, _proxy) = behind(&emulator, move |request| {
        if request.operation == "TransactWriteItems" && crash.load(Ordering::SeqCst) {
            return Fate::Refuse(json!({
                "__type": "com.amazonaws.dynamodb.v20120810#AccessDeniedException",
                "Message": "not authorized to perform: dynamodb:ConditionCheckItem",
            }));
        }
        Fate::Pass
    })
    .await;
    let store = &world.store;
    let worker = WorkerId::from("w");
    let lease = store
        .take_lease(BUCKET, &worker, NOW, MINUTE, MINUTE)
        .await
        .unwrap()
        .unwrap();
    store.force_due(HOME, &table("t"), NOW).await.unwrap();
    let seen = store.table(&table("t")).await.unwrap().unwrap();
    let start = async |id: &str| {
        let (process, task) = (new_process(id, "t"), new_task(1));
        store
            .start_process(&lease, &seen, &process, &[task.clone(), task])
            .await
    };
    let error = start("p1").await.unwrap_err();
    assert!(
        matches!(&error, CoordinationError::Configuration { message, .. } if message.contains("no permission")),
        "{error:?}"
    );
    let task = icepress_model::TaskId {
        process: "p1".into(),
        index: 1,
    };
    assert_eq!(store.tasks(&task.process).await.unwrap().len(), 2);
    let claim = store
        .claim_task(&task, &worker, NOW, NOW + MINUTE)
        .await
        .unwrap();
    assert_eq!(claim, ClaimOutcome::Gone);
    crashed.store(false, Ordering::SeqCst);
    assert_eq!(start("p2").await.unwrap(), StartOutcome::Started);
}

/// Parts of a listing are read at the same time: where one read fails, the others are let go in their midst, and none of them is
/// lost for whoever asks once more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_of_which_one_part_failed_lacks_nothing_when_it_goes_on() {
    const TABLES: usize = 80;
    let Some(emulator) = Emulator::start(EmulatorKind::MiniStack) else {
        return;
    };
    let mut refused = 0;
    let (world, _proxy) = behind(&emulator, move |request| {
        let is_listing = request.body["ExpressionAttributeValues"][":before"].is_object();
        if request.operation != "Query" || !is_listing || refused > 2 {
            return Fate::Pass;
        }
        refused += 1;
        // The first of them, while the others are under way, and two of those that ask again.
        Fate::Refuse(json!({
            "__type": "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException",
            "message": "not now",
        }))
    })
    .await;
    let store = world.store().await;
    let home = crate::Home {
        bucket: icepress_model::BucketId(0),
        layout: icepress_model::Generation(1),
    };
    let mut expected = std::collections::BTreeSet::new();
    for number in 0..TABLES {
        let table: icepress_model::TableId = format!("lake.sales.t{number:03}").parse().unwrap();
        let marked = store.mark_due(home, &table, &"m".into(), NOW).await;
        marked.unwrap();
        expected.insert(table);
    }
    let mut listing = crate::Listing::of_all(&store);
    let (mut listed, mut failures) = (Vec::new(), 0);
    loop {
        match listing.next().await {
            Ok(Some(row)) => listed.push(row.row.unwrap().table),
            Ok(None) => break,
            Err(_) => failures += 1,
        }
    }
    assert!(failures > 0, "one was to be refused");
    assert_eq!(listed.len(), TABLES, "each once");
    let listed: std::collections::BTreeSet<_> = listed.into_iter().collect();
    assert_eq!(listed, expected);
}
