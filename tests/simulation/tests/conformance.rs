//! The simulated services pass the suites that the real adapters pass.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use icepress_coordination::{
    DynamoStore, SqsQueue, StateStore, TaskQueue,
    conformance::{MAX_RECEIVES, QUEUE_RULES, QueueWorld, STORE_RULES, StoreWorld},
    create_state_table,
};
use icepress_model::{
    BucketId, TableId, TimestampMs,
    ambient::{Ambient, ManualClock},
};
use icepress_simulation::{
    connector::Aws,
    dynamo::Dynamo,
    network::Network,
    sqs::Sqs,
    storage::{MachineStorage, Objects},
};
use serde_json::json;

const START: TimestampMs = TimestampMs(1_760_000_000_000);
const TABLE: &str = "state";

#[derive(Debug)]
struct World {
    ambient: Ambient,
    clock: Arc<ManualClock>,
    dynamo: Arc<Dynamo>,
    aws: Aws,
}

impl World {
    async fn new() -> Arc<Self> {
        let (ambient, clock) = Ambient::repeatable(1, START);
        let network = Network::direct();
        let dynamo = Dynamo::new(Arc::clone(&ambient.clock), Arc::clone(&network));
        let sqs = Sqs::new(Arc::clone(&ambient.clock), Arc::clone(&network));
        for bucket in [1, 2] {
            sqs.create(&format!("tasks-{bucket}"), MAX_RECEIVES);
        }
        let aws = Aws::new(&dynamo, &sqs, &network, "test");
        let client = aws.dynamodb_client(&ambient.clock);
        for _ in 0..2 {
            // The second time it is there already.
            create_state_table(&client, TABLE, &ambient).await.unwrap();
        }
        Arc::new(Self {
            ambient,
            clock,
            dynamo,
            aws,
        })
    }

    fn damage(&self, pk: &str, sk: &str, attribute: &str) {
        let key = (pk.to_owned(), sk.to_owned());
        assert!(self.dynamo.items(TABLE).contains_key(&key), "{key:?}");
        self.dynamo
            .tamper(TABLE, &key, attribute, json!({ "S": "many" }));
    }
}

#[async_trait]
impl StoreWorld for World {
    async fn store(&self) -> Arc<dyn StateStore> {
        let client = self.aws.dynamodb_client(&self.ambient.clock);
        Arc::new(DynamoStore::new(client, TABLE, self.ambient.clone()))
    }

    async fn damage_table(&self, table: &TableId) {
        let mut parts = vec![table.catalog.as_str()];
        parts.extend(table.namespace.0.iter().map(String::as_str));
        parts.push(&table.name);
        let sk = parts.join("/");
        let share = xxhash_rust::xxh3::xxh3_64(sk.as_bytes()) % 16;
        self.damage(&format!("share#{share}"), &sk, "failures");
    }

    async fn damage_bucket(&self, bucket: BucketId) {
        let pk = format!("buckets#{}", bucket.0 / 64);
        self.damage(&pk, &format!("{:010}", bucket.0), "epoch");
    }
}

#[async_trait]
impl QueueWorld for World {
    async fn queue(&self) -> Arc<dyn TaskQueue> {
        let client = self.aws.sqs_client(&self.ambient.clock);
        Arc::new(SqsQueue::new(client, Sqs::url_template("tasks-")))
    }

    async fn pass(&self, time: Duration) {
        self.clock.advance(time);
    }
}

#[tokio::test]
async fn every_rule_for_stores_holds_on_the_simulated_dynamodb() {
    for (name, rule) in STORE_RULES {
        let checked = tokio::spawn(rule(World::new().await));
        checked
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn every_rule_for_queues_holds_on_the_simulated_sqs() {
    for (name, rule) in QUEUE_RULES {
        let checked = tokio::spawn(rule(World::new().await));
        checked
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[tokio::test]
async fn the_suite_for_storage_holds_on_the_simulated_s3() {
    let (ambient, _) = Ambient::repeatable(1, START);
    let objects = Objects::new(Arc::clone(&ambient.clock));
    let storage = MachineStorage::new(&objects, &Network::direct(), "test");
    icepress_storage::conformance::check_all(Arc::new(storage), "s3://bucket/folder/").await;
}
