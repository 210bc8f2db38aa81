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
use icepress_model::{CatalogName, MetadataLocation, Namespace, TableId, ambient::Ambient};
use icepress_storage::conformance::{
    emulator::{Emulator, EmulatorKind},
    proxy::{Mishap, Proxy},
};

use super::{
    CommitLock, ENTITY, LEASE_MS, LockError, LockOptions, OWNER, TableLocks, VERSION,
    options::JAVA_CLASS,
};
use crate::{CommitToken, LoadedTable, config::CatalogProperties};

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
            acquire_interval: Duration::from_secs(1),
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
            acquire_interval: Duration::from_secs(1),
            acquire_timeout: Duration::from_secs(180),
            lease: Duration::from_secs(5),
        })
    );
    let given = options(&[
        ("lock-impl", JAVA_CLASS),
        ("lock.table", "t"),
        ("lock.acquire-interval-ms", "300"),
        ("lock.acquire-timeout-ms", "9000"),
        ("lock.heartbeat-interval-ms", "100"),
        ("lock.heartbeat-timeout-ms", "3500"),
        ("lock.heartbeat-threads", "2"),
    ]);
    assert_eq!(
        given.unwrap(),
        Some(LockOptions {
            table: "t".to_owned(),
            acquire_interval: Duration::from_millis(300),
            acquire_timeout: Duration::from_secs(9),
            lease: Duration::from_millis(3500),
        })
    );
    for (key, value) in [
        ("lock.acquire-interval-ms", "soon"),
        ("lock.heartbeat-interval-ms", "3s"),
        ("lock.heartbeat-threads", "many"),
    ] {
        let wrong = options(&[("lock-impl", JAVA_CLASS), ("lock.table", "t"), (key, value)]);
        let message = wrong.unwrap_err().to_string();
        assert!(
            message.contains(key) && message.contains(value),
            "{message}"
        );
    }
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

/// A table `db.T` with these properties.
fn table(name: &str, properties: &[(&str, &str)]) -> LoadedTable {
    let properties = properties
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let creation = iceberg::TableCreation::builder()
        .name(name.to_owned())
        .location("/nowhere".to_owned())
        .schema(iceberg::spec::Schema::builder().build().unwrap())
        .properties(properties.collect::<HashMap<_, _>>())
        .build();
    let built = iceberg::spec::TableMetadataBuilder::from_table_creation(creation).unwrap();
    LoadedTable {
        table: TableId {
            catalog: CatalogName::from("c"),
            namespace: Namespace::from_dotted("db"),
            name: name.to_owned(),
        },
        metadata_location: MetadataLocation::from("/nowhere/metadata/1.json"),
        metadata: Arc::new(built.build().unwrap().metadata.into()),
        token: CommitToken::default(),
    }
}

/// Whether `of` locks tables: by their own property unset, true, false; and one that the configuration names.
async fn locked(catalog: &[(&str, &str)]) -> Result<[bool; 4], String> {
    let pairs = catalog
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let properties = CatalogProperties::of(CatalogName::from("c"), pairs);
    let aws = icepress_storage::AwsEnvironment::from_config(
        aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .build(),
    );
    let locks = TableLocks::connect(&properties, &aws, Ambient::system())
        .await
        .map_err(|error| error.to_string())?;
    let of = |table: LoadedTable| match locks.of(&table) {
        Ok(lock) => Ok(lock.is_some()),
        Err(error) => Err(error.to_string()),
    };
    Ok([
        of(table("a", &[]))?,
        of(table("b", &[("icepress.commit-lock", "true")]))?,
        of(table("c", &[("icepress.commit-lock", "false")]))?,
        of(table("Named", &[]))?,
    ])
}

#[tokio::test]
async fn the_lock_is_chosen_by_catalog_and_by_table() {
    const LOCK: [(&str, &str); 2] = [("lock-impl", JAVA_CLASS), ("lock.table", "t")];
    let with = |more: &[(&'static str, &'static str)]| [&LOCK, more].concat();
    // The catalog says it for all; a table's own property may say otherwise.
    assert_eq!(locked(&LOCK).await, Ok([true, true, false, true]));
    assert_eq!(
        locked(&with(&[("icepress.commit-lock", "false")])).await,
        Ok([false, true, false, false])
    );
    // The configuration's word on one table is the last.
    let named = with(&[
        ("icepress.commit-lock", "false"),
        ("icepress.commit-lock.db.named", "true"),
        ("icepress.commit-lock.db.b", "false"),
    ]);
    assert_eq!(locked(&named).await, Ok([false, false, false, true]));

    // A table that asks for a lock where there is none is not written at all.
    let message = locked(&[]).await.unwrap_err();
    assert!(
        message.contains("c.db.b") && message.contains("lock-impl"),
        "{message}"
    );
    for key in ["icepress.commit-lock", "icepress.commit-lock.db.b"] {
        let message = locked(&[(key, "true")]).await.unwrap_err();
        assert!(
            message.contains("lock-impl") && message.contains("lock.table"),
            "{message}"
        );
    }
    let message = locked(&[("icepress.commit-lock", "perhaps")])
        .await
        .unwrap_err();
    assert!(message.contains("perhaps"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_was_held_is_left_to_others_for_a_while() {
    let Some(bench) = LockBench::start(EmulatorKind::Moto).await else {
        return;
    };
    let lock = bench.lock(LONG).await;
    let clock = Ambient::system().clock;
    let held = lock.acquire("db.t", "first").await.unwrap();
    clock.sleep(Duration::from_millis(300)).await;
    held.release().await;
    let released = clock.monotonic();
    // Another entity is not held up by it.
    lock.acquire("db.other", "o").await.unwrap().release().await;
    assert!(bench.row().await.is_none());
    let again = lock.acquire("db.t", "second").await.unwrap();
    assert!(clock.monotonic() - released >= Duration::from_millis(600));
    again.release().await;
}
