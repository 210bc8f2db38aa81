//! The commit lock: the row that Iceberg's Java `DynamoDbLockManager` keeps, so that its users and we exclude each other.
//!
//! Where a Java writer has a lock manager it sends Glue's `UpdateTable` *without* a version, so only this lock keeps it
//! from overwriting us. It is taken in addition to the comparison in the catalog, never instead.
//!
//! The row: `entityId` (the key; `database.table`), `ownerId` (the new metadata location), `version` (a new UUID at every
//! write) and `leaseDurationMs`. Nothing else may stand in it, since Java's writes replace it whole; and no wall clock is
//! involved: a holder is dead when its `version` stood still for its own lease, by the waiter's clock. A Java waiter
//! sleeps the lease that it finds, even if the lock is released a moment later, so ours is short. We hold the lock for less
//! than half of it, stop where that has passed, and so need no heartbeat.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    config::{Builder, Region},
    error::{ProvideErrorMetadata, SdkError},
    types::AttributeValue,
};
use icepress_model::{CatalogName, ambient::Ambient};
use icepress_protocol::lock::{self, Condition, Holder, Move, Waiting};
use icepress_storage::AwsEnvironment;
use thiserror::Error;

use crate::{
    CatalogError, LoadedTable,
    config::{CatalogProperties, ConfigurationError},
};

mod options;
mod pace;

use options::LockedTables;
pub use options::{COMMIT_LOCK, LockOptions};
use pace::Pace;

const ENTITY: &str = "entityId";
const OWNER: &str = "ownerId";
const VERSION: &str = "version";
const LEASE_MS: &str = "leaseDurationMs";

/// A lock that could not be taken. Nothing was changed.
#[derive(Debug, Error)]
pub enum LockError {
    /// Others held it all the time.
    #[error("the commit lock of {entity} was held by others for {} s", .waited.as_secs())]
    TimedOut {
        /// What was to be locked.
        entity: String,
        /// For how long it was tried.
        waited: Duration,
    },
    /// Access was refused.
    #[error("the lock table {table} can't be used: {message}")]
    Refused {
        /// The DynamoDB table.
        table: String,
        /// What DynamoDB said, and what to do.
        message: String,
    },
    /// DynamoDB failed or could not be reached.
    #[error("the lock table {table}: {message}")]
    Unavailable {
        /// The DynamoDB table.
        table: String,
        /// What happened.
        message: String,
    },
}

impl LockError {
    /// As a failure of the catalog `name`.
    pub fn into_catalog_error(self, name: &CatalogName) -> CatalogError {
        let catalog = name.to_string();
        let message = self.to_string();
        match self {
            Self::Refused { .. } => CatalogError::PermissionDenied { catalog, message },
            Self::TimedOut { .. } | Self::Unavailable { .. } => CatalogError::Unavailable {
                catalog,
                message,
                source: None,
            },
        }
    }
}

/// The lock of a catalog, where it has one, and which of its tables are written under it.
#[derive(Debug, Clone)]
pub struct TableLocks {
    lock: Option<CommitLock>,
    tables: LockedTables,
}

impl TableLocks {
    /// As the catalog's properties say (`lock-impl`, `lock.*`, `icepress.commit-lock`). Sends nothing.
    pub async fn connect(
        properties: &CatalogProperties,
        aws: &AwsEnvironment,
        ambient: Ambient,
    ) -> Result<Self, ConfigurationError> {
        let lock = match LockOptions::from_properties(properties)? {
            None => None,
            Some(options) => Some(CommitLock::connect(options, properties, aws, ambient).await),
        };
        Ok(Self {
            tables: LockedTables::from_properties(properties, lock.is_some())?,
            lock,
        })
    }

    /// The lock that has to be held while `base` is changed; `None` where the catalog's comparison is all.
    ///
    /// A table that asks for a lock in a catalog that has none is an error: to go on without one could lose a commit.
    pub fn of(&self, base: &LoadedTable) -> Result<Option<&CommitLock>, CatalogError> {
        if !self.tables.includes(base)? {
            return Ok(None);
        }
        self.lock
            .as_ref()
            .map(Some)
            .ok_or_else(|| CatalogError::Configuration {
                catalog: base.table.catalog.to_string(),
                message: format!(
                    "table {}: its property {COMMIT_LOCK} is true, but the catalog has no lock: set lock-impl and \
                     lock.table",
                    base.table
                ),
            })
    }
}

/// A lock table.
#[derive(Debug, Clone)]
pub struct CommitLock {
    client: Client,
    options: LockOptions,
    ambient: Ambient,
    /// Until when an entity that we held is left to others, on the monotonic clock.
    resting: Arc<Mutex<HashMap<String, Duration>>>,
}

/// A lock that is held. It must be released; one that isn't is free for others after its lease.
#[derive(Debug)]
#[must_use = "a lock that is not released keeps others waiting"]
pub struct HeldLock<'a> {
    lock: &'a CommitLock,
    entity: String,
    owner: String,
    /// On the monotonic clock, before the row was written.
    since: Duration,
}

impl CommitLock {
    /// The lock table of a catalog, at the endpoint and region that its properties name, else where `aws` says.
    pub async fn connect(
        options: LockOptions,
        properties: &CatalogProperties,
        aws: &AwsEnvironment,
        ambient: Ambient,
    ) -> Self {
        let mut builder = Builder::from(aws.config().await).interceptor(aws.ledger().clone());
        if let Some(endpoint) = properties.get("dynamodb.endpoint") {
            builder = builder.endpoint_url(endpoint);
        }
        if let Some(region) = properties.first(&["dynamodb.region", "client.region"]) {
            builder = builder.region(Region::new(region));
        }
        Self::with_client(Client::from_conf(builder.build()), options, ambient)
    }

    /// The lock table as `client` reaches it.
    pub fn with_client(client: Client, options: LockOptions, ambient: Ambient) -> Self {
        Self {
            client,
            options,
            ambient,
            resting: Arc::default(),
        }
    }

    /// Takes the lock of `entity` for `owner`, a name that is used for one commit only. Waits while others hold it.
    ///
    /// A lock that this process held itself is left alone for twice as long as it was held: a Java waiter makes one try,
    /// a lease after it saw our row, and finds it free more often than not.
    pub async fn acquire(&self, entity: &str, owner: &str) -> Result<HeldLock<'_>, LockError> {
        self.rest(entity).await;
        let started = self.ambient.clock.monotonic();
        let mut waiting = Waiting::default();
        let mut pace = Pace::default();
        // When we wrote last.
        let mut written = started;
        loop {
            let asked = self.ambient.clock.monotonic();
            let holder = self.holder(entity).await?;
            let answered = self.ambient.clock.monotonic();
            match waiting.next(holder.as_ref(), owner, asked, answered) {
                Move::Held => return Ok(self.held(entity, owner, written)),
                Move::Wait => {}
                Move::Write(condition) => {
                    written = self.ambient.clock.monotonic();
                    if self.put(entity, owner, &condition).await? {
                        return Ok(self.held(entity, owner, written));
                    }
                }
            }
            let waited = self.ambient.clock.monotonic().saturating_sub(started);
            if waited >= self.options.acquire_timeout {
                return Err(LockError::TimedOut {
                    entity: entity.to_owned(),
                    waited,
                });
            }
            let left = self.options.acquire_timeout.saturating_sub(waited);
            if let Some(holder) = &holder {
                pace.saw(&holder.owner, answered);
            }
            let longest = pace.wait(self.options.acquire_interval, answered).min(left);
            self.ambient
                .clock
                .sleep(longest / 4 + self.ambient.jitter(longest * 3 / 4))
                .await;
        }
    }

    async fn rest(&self, entity: &str) {
        let until = self
            .resting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(entity)
            .unwrap_or_default();
        let left = until.saturating_sub(self.ambient.clock.monotonic());
        if !left.is_zero() {
            self.ambient.clock.sleep(left).await;
        }
    }

    fn held(&self, entity: &str, owner: &str, since: Duration) -> HeldLock<'_> {
        HeldLock {
            lock: self,
            entity: entity.to_owned(),
            owner: owner.to_owned(),
            since,
        }
    }

    async fn holder(&self, entity: &str) -> Result<Option<Holder>, LockError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.options.table)
            .key(ENTITY, AttributeValue::S(entity.to_owned()))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| self.failed(&error))?;
        let Some(row) = answer.item else {
            return Ok(None);
        };
        let text = |name: &str| row.get(name).and_then(|value| value.as_s().ok()).cloned();
        let lease = row
            .get(LEASE_MS)
            .and_then(|value| value.as_n().ok())
            .and_then(|digits| digits.parse().ok())
            .map(Duration::from_millis);
        match (text(OWNER), text(VERSION), lease) {
            (Some(owner), Some(version), Some(lease)) => Ok(Some(Holder {
                owner,
                version,
                lease,
            })),
            _ => Err(LockError::Refused {
                table: self.options.table.clone(),
                message: format!("the row of {entity} is no lock: is it the right table?"),
            }),
        }
    }

    /// Writes the row under a condition. `false` where somebody else was faster.
    async fn put(
        &self,
        entity: &str,
        owner: &str,
        condition: &Condition,
    ) -> Result<bool, LockError> {
        let lease = self.options.lease.as_millis().to_string();
        let row = HashMap::from([
            (ENTITY.to_owned(), AttributeValue::S(entity.to_owned())),
            (OWNER.to_owned(), AttributeValue::S(owner.to_owned())),
            (
                VERSION.to_owned(),
                AttributeValue::S(self.ambient.uuid().to_string()),
            ),
            (LEASE_MS.to_owned(), AttributeValue::N(lease)),
        ]);
        let mut put = self
            .client
            .put_item()
            .table_name(&self.options.table)
            .set_item(Some(row));
        put = match condition {
            Condition::Free => put.condition_expression("attribute_not_exists(entityId)"),
            Condition::Version(version) => put
                .condition_expression("entityId = :e AND version = :v")
                .expression_attribute_values(":e", AttributeValue::S(entity.to_owned()))
                .expression_attribute_values(":v", AttributeValue::S(version.clone())),
        };
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) if is_condition(&error) => Ok(false),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed<E, R>(&self, error: &SdkError<E, R>) -> LockError
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        R: std::fmt::Debug,
    {
        let table = self.options.table.clone();
        let said = error
            .message()
            .map_or_else(|| error.to_string(), str::to_owned);
        match error.code() {
            Some("ResourceNotFoundException") => LockError::Refused {
                table,
                message: "there is no such table: make it with the hash key entityId (a string)"
                    .to_owned(),
            },
            Some("AccessDeniedException") => LockError::Refused {
                table,
                message: format!(
                    "access was refused ({said}): GetItem, PutItem and DeleteItem are needed"
                ),
            },
            _ => LockError::Unavailable {
                table,
                message: said,
            },
        }
    }
}

fn is_condition<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    error.code() == Some("ConditionalCheckFailedException")
}

impl HeldLock<'_> {
    /// How much longer the table may be changed: half of the lease, from before it was written. The rest is for an
    /// answer that is slow to come.
    pub fn time_left(&self) -> Duration {
        let held = self
            .lock
            .ambient
            .clock
            .monotonic()
            .saturating_sub(self.since);
        lock::time_left(self.lock.options.lease, held)
    }

    fn leave_to_others(&self) {
        let now = self.lock.ambient.clock.monotonic();
        let rest = now.saturating_sub(self.since).min(self.lock.options.lease) * 2;
        let mut resting = self
            .lock
            .resting
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        resting.retain(|_, until| *until > now);
        resting.insert(self.entity.clone(), now + rest);
    }

    /// Gives the lock back. Failing to only costs others the rest of the lease.
    pub async fn release(self) {
        let deleted = self
            .lock
            .client
            .delete_item()
            .table_name(&self.lock.options.table)
            .key(ENTITY, AttributeValue::S(self.entity.clone()))
            .condition_expression("entityId = :e AND ownerId = :o")
            .expression_attribute_values(":e", AttributeValue::S(self.entity.clone()))
            .expression_attribute_values(":o", AttributeValue::S(self.owner.clone()))
            .send()
            .await;
        self.leave_to_others();
        match deleted {
            Ok(_) => {}
            // The second try after a lost answer, or the lease was over and somebody took the lock.
            Err(error) if is_condition(&error) => {
                tracing::debug!(
                    entity = self.entity,
                    "the commit lock was gone before it was released"
                );
            }
            Err(error) => {
                let error = self.lock.failed(&error);
                tracing::warn!(entity = self.entity, %error, "the commit lock could not be released");
            }
        }
    }
}

#[cfg(test)]
mod tests;
