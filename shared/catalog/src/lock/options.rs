//! How the lock is taken, and for which tables: Iceberg's properties under Iceberg's names, and one of our own.

use std::{collections::BTreeMap, time::Duration};

use icepress_model::TableId;

use crate::{
    CatalogError, LoadedTable,
    config::{CatalogProperties, ConfigurationError},
};

/// Java's class of this lock, the value of `lock-impl`.
pub(super) const JAVA_CLASS: &str = "org.apache.iceberg.aws.dynamodb.DynamoDbLockManager";
/// Whether tables are written under the lock: of a catalog, of one table in the catalog's configuration (followed by a
/// dot and the table's name), and as a property of the table itself.
pub const COMMIT_LOCK: &str = "icepress.commit-lock";
/// The lease that we write, unless a shorter one is configured: a Java waiter sleeps it in full.
const LEASE: Duration = Duration::from_secs(4);
/// The shortest lease: half of it must suffice for a commit.
const SHORTEST_LEASE: Duration = Duration::from_secs(3);
/// The longest.
const LONGEST_LEASE: Duration = Duration::from_secs(5);
/// Waits between looks at a lock that is held. Java's default is 5 s, but Java also sleeps the holder's whole lease before
/// each try; a look of ours is one read.
const INTERVAL: Duration = Duration::from_secs(1);
/// The shortest such wait.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

/// How the lock is taken. The properties are Iceberg's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockOptions {
    /// The DynamoDB table (`lock.table`).
    pub table: String,
    /// The longest wait between two looks at a lock that is held (`lock.acquire-interval-ms`; 1 s if it's not set).
    pub acquire_interval: Duration,
    /// How long to try (`lock.acquire-timeout-ms`).
    pub acquire_timeout: Duration,
    /// What is written as the lease (`lock.heartbeat-timeout-ms`, kept between 3 and 5 s).
    pub lease: Duration,
}

impl LockOptions {
    /// The lock of a catalog, `None` where it has none. A lock manager that we can't be compatible with is an error: going
    /// on without it would be unsafe.
    ///
    /// `lock.heartbeat-interval-ms` and `lock.heartbeat-threads` are read for their form alone: the lock is held for less
    /// than half of its lease, and needs no heartbeat.
    pub fn from_properties(
        properties: &CatalogProperties,
    ) -> Result<Option<Self>, ConfigurationError> {
        match properties.get("lock-impl") {
            None => return Ok(None),
            Some(JAVA_CLASS) => {}
            Some(other) => {
                let message = format!("is '{other}': only {JAVA_CLASS} is known");
                return Err(properties.wrong("lock-impl", message));
            }
        }
        let lease = properties
            .milliseconds("lock.heartbeat-timeout-ms")?
            .unwrap_or(LEASE);
        properties.milliseconds("lock.heartbeat-interval-ms")?;
        if let Some(threads) = properties.get("lock.heartbeat-threads")
            && threads.parse::<u32>().is_err()
        {
            let message = format!("is '{threads}': it should be a number, like 4");
            return Err(properties.wrong("lock.heartbeat-threads", message));
        }
        Ok(Some(Self {
            table: properties
                .required("lock.table", "a DynamoDB table's name")?
                .to_owned(),
            acquire_interval: properties
                .milliseconds("lock.acquire-interval-ms")?
                .map_or(INTERVAL, |interval| interval.max(SHORTEST_INTERVAL)),
            acquire_timeout: properties
                .milliseconds("lock.acquire-timeout-ms")?
                .unwrap_or(Duration::from_secs(180)),
            lease: lease.clamp(SHORTEST_LEASE, LONGEST_LEASE),
        }))
    }
}

/// Which tables are written under the lock.
///
/// What the catalog's configuration says of the table by name comes first, then the table's own property, then what the
/// catalog says of all: with a `lock-impl` every table is locked, unless `icepress.commit-lock` is `false`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LockedTables {
    all: bool,
    by_name: BTreeMap<String, bool>,
}

impl LockedTables {
    pub(super) fn from_properties(
        properties: &CatalogProperties,
        has_lock: bool,
    ) -> Result<Self, ConfigurationError> {
        let all = properties.boolean(COMMIT_LOCK)?;
        let mut by_name = BTreeMap::new();
        for key in properties.keys() {
            let name = key
                .strip_prefix(COMMIT_LOCK)
                .and_then(|rest| rest.strip_prefix('.'));
            if let Some(name) = name
                && let Some(locked) = properties.boolean(key)?
            {
                by_name.insert(name.to_lowercase(), locked);
            }
        }
        let wanted = all == Some(true) || by_name.values().any(|locked| *locked);
        if wanted && !has_lock {
            let message = format!(
                "is set, but the catalog has no lock: set lock-impl to {JAVA_CLASS} and lock.table"
            );
            return Err(properties.wrong(COMMIT_LOCK, message));
        }
        Ok(Self {
            all: all.unwrap_or(has_lock),
            by_name,
        })
    }

    /// Whether `base` is written under the lock.
    pub(super) fn includes(&self, base: &LoadedTable) -> Result<bool, CatalogError> {
        let name = name_in_configuration(&base.table);
        if let Some(locked) = self.by_name.get(&name) {
            return Ok(*locked);
        }
        match base.metadata.properties().get(COMMIT_LOCK) {
            None => Ok(self.all),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(CatalogError::Configuration {
                catalog: base.table.catalog.to_string(),
                message: format!(
                    "table {}: its property {COMMIT_LOCK} is '{value}': it should be true or false",
                    base.table
                ),
            }),
        }
    }
}

/// A table's name as it stands in a key of the configuration, where case may be lost (PyIceberg's variables).
fn name_in_configuration(table: &TableId) -> String {
    table.name_in_catalog().to_lowercase()
}
