//! The commit lock as Iceberg's Java `DynamoDbLockManager` takes it: a waiter sleeps the lease that it found and writes
//! over the version that it saw, and a holder writes the row anew again and again.
//!
//! Java's holder never asks whether its lease is over. One that was kept from its heartbeats for a whole lease could be
//! overtaken and overwrite what came after it; no other writer can help that, so this one gives up where that may be.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::AttributeValue,
};
use icepress_model::ambient::Ambient;

use crate::engine::Engine;

/// What is left of a lease when the table is changed, at the least: far more than a prompt request takes.
const MARGIN: Duration = Duration::from_secs(1);

/// How a world's Java writers take the lock: `lock.*` of their configuration.
#[derive(Debug, Clone)]
pub struct JavaOptions {
    /// The DynamoDB table.
    pub table: &'static str,
    /// `lock.heartbeat-timeout-ms`.
    pub lease: Duration,
    /// `lock.heartbeat-interval-ms`.
    pub heartbeat: Duration,
    /// `lock.acquire-interval-ms`.
    pub interval: Duration,
    /// `lock.acquire-timeout-ms`.
    pub timeout: Duration,
}

/// A lock manager of one writer.
#[derive(Clone)]
pub struct JavaLock {
    /// Chance.
    pub engine: Arc<Engine>,
    /// The writer's way to the lock table.
    pub client: Client,
    /// Its clock.
    pub ambient: Ambient,
    /// How it takes the lock.
    pub options: JavaOptions,
}

impl fmt::Debug for JavaLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JavaLock").finish_non_exhaustive()
    }
}

/// A lock that is held.
#[derive(Debug)]
pub struct JavaHeld {
    entity: String,
    owner: String,
    /// Before the row was written last.
    written: Duration,
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn is_condition<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    error.code() == Some("ConditionalCheckFailedException")
}

impl JavaLock {
    /// Tries until its time is over.
    pub async fn acquire(&self, entity: &str, owner: &str) -> Result<JavaHeld, String> {
        let started = self.ambient.clock.monotonic();
        loop {
            if let Some(written) = self.acquire_once(entity, owner).await? {
                return Ok(JavaHeld {
                    entity: entity.to_owned(),
                    owner: owner.to_owned(),
                    written,
                });
            }
            if self.ambient.clock.monotonic() - started >= self.options.timeout {
                return Err(format!("the lock of {entity} was held by others"));
            }
            self.ambient.clock.sleep(self.options.interval).await;
        }
    }

    async fn acquire_once(&self, entity: &str, owner: &str) -> Result<Option<Duration>, String> {
        let answer = self
            .client
            .get_item()
            .table_name(self.options.table)
            .key("entityId", text(entity))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| format!("{:?}", error.code()))?;
        let condition = match &answer.item {
            None => None,
            Some(row) => {
                let lease = row
                    .get("leaseDurationMs")
                    .and_then(|lease| lease.as_n().ok());
                let lease = lease.and_then(|lease| lease.parse().ok()).unwrap_or(0);
                self.ambient.clock.sleep(Duration::from_millis(lease)).await;
                Some(row["version"].clone())
            }
        };
        let written = self.ambient.clock.monotonic();
        let put = self.client.put_item().table_name(self.options.table);
        let put = put.set_item(Some(self.row(entity, owner)));
        let put = match condition {
            None => put.condition_expression("attribute_not_exists(entityId)"),
            Some(version) => put
                .condition_expression("entityId = :e AND version = :v")
                .expression_attribute_values(":e", text(entity))
                .expression_attribute_values(":v", version),
        };
        match put.send().await {
            Ok(_) => Ok(Some(written)),
            Err(error) if is_condition(&error) => Ok(None),
            Err(error) => Err(format!("{:?}", error.code())),
        }
    }

    fn row(&self, entity: &str, owner: &str) -> HashMap<String, AttributeValue> {
        let lease = self.options.lease.as_millis().to_string();
        HashMap::from([
            ("entityId".to_owned(), text(entity)),
            ("ownerId".to_owned(), text(owner)),
            ("version".to_owned(), text(&self.ambient.uuid().to_string())),
            ("leaseDurationMs".to_owned(), AttributeValue::N(lease)),
        ])
    }

    /// Now and then it takes its time, for longer than a lease, and writes the row anew all the while.
    pub async fn dawdle(&self, held: &mut JavaHeld) {
        if self.engine.below(2) == 0 {
            return;
        }
        let until = self.engine.now() + self.engine.duration_up_to(self.options.lease * 3);
        while self.engine.now() < until {
            let left = until - self.engine.now();
            self.ambient
                .clock
                .sleep(self.options.heartbeat.min(left))
                .await;
            self.write_anew(held).await;
        }
    }

    async fn write_anew(&self, held: &mut JavaHeld) {
        let now = self.ambient.clock.monotonic();
        let put = self
            .client
            .put_item()
            .table_name(self.options.table)
            .set_item(Some(self.row(&held.entity, &held.owner)))
            .condition_expression("entityId = :e AND ownerId = :o")
            .expression_attribute_values(":e", text(&held.entity))
            .expression_attribute_values(":o", text(&held.owner));
        // A heartbeat that fails is logged, and that is all.
        if put.send().await.is_ok() {
            held.written = now;
        }
    }

    /// Whether nobody can have taken the lock yet.
    pub fn is_safe(&self, held: &JavaHeld) -> bool {
        self.ambient.clock.monotonic() + MARGIN < held.written + self.options.lease
    }

    /// Gives it back, or tries to.
    pub async fn release(&self, held: JavaHeld) {
        let delete = self
            .client
            .delete_item()
            .table_name(self.options.table)
            .key("entityId", text(&held.entity))
            .condition_expression("entityId = :e AND ownerId = :o")
            .expression_attribute_values(":e", text(&held.entity))
            .expression_attribute_values(":o", text(&held.owner));
        // Others wait for the rest of the lease then.
        let _ = delete.send().await;
    }
}
