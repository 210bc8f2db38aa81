use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
        ScalarAttributeType,
    },
};
use icepress_model::{CatalogName, ambient::Ambient};
use icepress_storage::conformance::{
    emulator::{Emulator, EmulatorKind},
    proxy::{Mishap, Proxy},
};

use super::{CommitLock, ENTITY, JAVA_CLASS, LEASE_MS, LockError, LockOptions, OWNER, VERSION};
use crate::config::CatalogProperties;

struct LockBench {
    emulator: Emulator,
    client: Client,
}

impl LockBench {
    async fn start(kind: EmulatorKind) -> Option<Self> {
        let emulator = Emulator::start(kind)?;
        let client = Client::new(&emulator.config().await);
        let key = KeySchemaElement::builder()
            .attribute_name(ENTITY)
            .key_type(KeyType::Hash);
        let kind = AttributeDefinition::builder()
            .attribute_name(ENTITY)
            .attribute_type(ScalarAttributeType::S);
        client
            .create_table()
            .table_name("locks")
            .billing_mode(BillingMode::PayPerRequest)
            .key_schema(key.build().unwrap())
            .attribute_definitions(kind.build().unwrap())
            .send()
            .await
            .unwrap();
        Some(Self { emulator, client })
    }

    async fn lock(&self, timeout: Duration) -> CommitLock {
        self.lock_at(timeout, self.emulator.endpoint()).await
    }

    async fn lock_at(&self, timeout: Duration, endpoint: &str) -> CommitLock {
        let options = LockOptions {
            table: "locks".to_owned(),
            acquire_timeout: timeout,
            lease: Duration::from_secs(4),
        };
        let endpoint = ("dynamodb.endpoint".to_owned(), endpoint.to_owned());
        let properties = CatalogProperties::of(CatalogName::from("c"), [endpoint]);
        CommitLock::connect(
            options,
            &properties,
            &self.emulator.environment().await,
            Ambient::system(),
        )
        .await
    }

    async fn row(&self) -> Option<HashMap<String, AttributeValue>> {
        let key = AttributeValue::S("db.t".to_owned());
        self.client
            .get_item()
            .table_name("locks")
            .key(ENTITY, key)
            .send()
            .await
            .unwrap()
            .item
    }

    /// Writes a row as Java would.
    async fn put_row(&self, version: &str, lease_ms: u32) {
        self.client
            .put_item()
            .table_name("locks")
            .item(ENTITY, AttributeValue::S("db.t".to_owned()))
            .item(
                OWNER,
                AttributeValue::S("s3://java/00001.metadata.json".to_owned()),
            )
            .item(VERSION, AttributeValue::S(version.to_owned()))
            .item(LEASE_MS, AttributeValue::N(lease_ms.to_string()))
            .send()
            .await
            .unwrap();
    }
}

const LONG: Duration = Duration::from_secs(60);

async fn excludes(kind: EmulatorKind) {
    let Some(bench) = LockBench::start(kind).await else {
        return;
    };
    let inside = Arc::new(AtomicU32::new(0));
    let mut turns = Vec::new();
    for worker in 0..4 {
        let (lock, inside) = (bench.lock(LONG).await, Arc::clone(&inside));
        turns.push(tokio::spawn(async move {
            for turn in 0..3 {
                let held = lock
                    .acquire("db.t", &format!("{worker}-{turn}"))
                    .await
                    .unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                assert!(held.time_left() <= Duration::from_secs(2));
                tokio::task::yield_now().await;
                inside.fetch_sub(1, Ordering::SeqCst);
                held.release().await;
            }
        }));
    }
    for turn in turns {
        turn.await.unwrap();
    }
    assert_eq!(bench.row().await, None, "no tombstone is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_excludes_on_moto() {
    excludes(EmulatorKind::Moto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_excludes_on_ministack() {
    excludes(EmulatorKind::MiniStack).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_row_is_java_s_and_a_dead_holder_is_succeeded() {
    let Some(bench) = LockBench::start(EmulatorKind::Moto).await else {
        return;
    };
    let lock = bench.lock(LONG).await;
    bench.put_row("dead", 1000).await;
    let held = lock.acquire("db.t", "s3://ours").await.unwrap();
    let row = bench.row().await.unwrap();
    let mut names: Vec<&str> = row.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, [ENTITY, LEASE_MS, OWNER, VERSION]);
    assert_eq!(row[OWNER], AttributeValue::S("s3://ours".to_owned()));
    assert_eq!(row[LEASE_MS], AttributeValue::N("4000".to_owned()));
    let version = row[VERSION].as_s().unwrap();
    assert!(version.len() == 36 && version != "dead", "{version}");
    held.release().await;
    assert_eq!(bench.row().await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_whose_version_moves_is_never_overtaken() {
    let Some(bench) = LockBench::start(EmulatorKind::Moto).await else {
        return;
    };
    // Long enough for a dead holder to be overtaken in.
    let lock = bench.lock(Duration::from_secs(7)).await;
    bench.put_row("beat-0", 4000).await;
    let waiter = tokio::spawn(async move { lock.acquire("db.t", "s3://ours").await.map(drop) });
    let mut beat = 0;
    while !waiter.is_finished() {
        beat += 1;
        bench.put_row(&format!("beat-{beat}"), 4000).await;
        Ambient::system()
            .clock
            .sleep(Duration::from_millis(100))
            .await;
    }
    let error = waiter.await.unwrap().unwrap_err();
    assert!(matches!(error, LockError::TimedOut { .. }), "{error}");
    assert!(error.to_string().contains("db.t"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_whose_answer_was_lost_is_ours_and_one_that_was_taken_is_left_alone() {
    let Some(bench) = LockBench::start(EmulatorKind::Moto).await else {
        return;
    };
    let proxy = Proxy::start(bench.emulator.endpoint()).await;
    let lock = bench.lock_at(LONG, proxy.endpoint()).await;
    proxy.plan("PutItem", 1, Mishap::AnswerLost);
    let held = lock.acquire("db.t", "s3://ours").await.unwrap();
    assert!(held.time_left() > Duration::ZERO);
    // The lease ran out and somebody else holds it now.
    bench.put_row("theirs", 1000).await;
    held.release().await;
    assert_eq!(
        bench.row().await.unwrap()[VERSION],
        AttributeValue::S("theirs".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_no_lock_table_is_told() {
    let Some(bench) = LockBench::start(EmulatorKind::Moto).await else {
        return;
    };
    let mut lock = bench.lock(LONG).await;
    bench
        .client
        .put_item()
        .table_name("locks")
        .item(ENTITY, AttributeValue::S("db.t".to_owned()))
        .send()
        .await
        .unwrap();
    let error = lock.acquire("db.t", "o").await.unwrap_err().to_string();
    assert!(
        error.contains("locks") && error.contains("no lock"),
        "{error}"
    );
    lock.options.table = "missing".to_owned();
    let error = lock.acquire("db.t", "o").await.unwrap_err().to_string();
    assert!(
        error.contains("missing") && error.contains("entityId"),
        "{error}"
    );
}

#[test]
fn options_come_from_iceberg_s_properties() {
    let options = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        LockOptions::from_properties(&CatalogProperties::of(CatalogName::from("c"), pairs))
    };
    assert_eq!(options(&[("lock.table", "unused")]).unwrap(), None);
    assert_eq!(
        options(&[
            ("lock-impl", JAVA_CLASS),
            ("lock.table", "t"),
            ("lock.heartbeat-timeout-ms", "15000")
        ])
        .unwrap(),
        Some(LockOptions {
            table: "t".to_owned(),
            acquire_timeout: Duration::from_secs(180),
            lease: Duration::from_secs(5),
        })
    );
    let missing = options(&[("lock-impl", JAVA_CLASS)])
        .unwrap_err()
        .to_string();
    assert!(missing.contains("lock.table"), "{missing}");
    let unknown = options(&[("lock-impl", "com.example.Lock")])
        .unwrap_err()
        .to_string();
    assert!(
        unknown.contains("com.example.Lock") && unknown.contains(JAVA_CLASS),
        "{unknown}"
    );
}
