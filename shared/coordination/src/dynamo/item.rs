//! Rows as DynamoDB has them: keys, and attributes by the names of `encoding`.

use std::{collections::HashMap, fmt};

use aws_sdk_dynamodb::types::AttributeValue;
use icepress_model::{
    BucketId, CatalogName, DatabaseId, ProcessId, Scope, TableId, TaskId, TimestampMs,
};

use crate::{
    CensusRecord, Component, CoordinationError,
    encoding::{self, Column, Columns, Fields},
    key,
};

pub(super) type Item = HashMap<String, AttributeValue>;

/// Buckets of one `pk`: few enough that a fleet's leases spread over several, many enough that one page has them all.
const BUCKETS_TOGETHER: u32 = 64;

/// Over so many `pk`s names are spread: a new database of many tables writes them as fast as it can.
const NAMES_APART: u64 = 64;

/// The primary key of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) pk: String,
    pub(super) sk: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.pk, self.sk)
    }
}

impl Key {
    pub(super) fn bucket(bucket: BucketId) -> Self {
        Self {
            pk: buckets_together(bucket.0 / BUCKETS_TOGETHER),
            sk: format!("{:010}", bucket.0),
        }
    }

    /// Beside the first buckets, which are read together with it.
    pub(super) fn layout() -> Self {
        Self {
            pk: buckets_together(0),
            sk: LAYOUT.to_owned(),
        }
    }

    pub(super) fn table(table: &TableId) -> Self {
        Self {
            pk: tables_of(key::share_of(table)),
            sk: key::of_table(table),
        }
    }

    /// Of a digest, or of a note beside one.
    pub(super) fn digest_head(pk: &str) -> Self {
        Self {
            pk: pk.to_owned(),
            sk: "head".to_owned(),
        }
    }

    /// Where a table's name is found by its hash.
    pub(super) fn name(database: &DatabaseId, hash: u64) -> Self {
        Self {
            pk: format!("names#{}", hash % NAMES_APART),
            sk: format!("{}#{hash:016x}", key::of_database(database)),
        }
    }

    pub(super) fn process(process: &ProcessId) -> Self {
        Self {
            pk: process_rows(process),
            sk: "process".to_owned(),
        }
    }

    pub(super) fn task(task: &TaskId) -> Self {
        Self {
            pk: process_rows(&task.process),
            sk: format!("{TASK_PREFIX}{:010}", task.index),
        }
    }

    pub(super) fn blocker(scope: &Scope, owner: &str) -> Self {
        Self {
            pk: blockers_of(scope.catalog()),
            sk: format!("{}#{owner}", key::of_scope(scope)),
        }
    }

    pub(super) fn quota(scope: &Scope) -> Self {
        Self {
            pk: format!("quota#{}", key::of_scope(scope)),
            sk: "quota".to_owned(),
        }
    }

    pub(super) fn version(component: Component, version: &str) -> Self {
        Self {
            pk: VERSIONS.to_owned(),
            sk: format!("{}#{version}", component.as_str()),
        }
    }

    pub(super) fn history(table: &TableId, created_at: TimestampMs, process: &ProcessId) -> Self {
        Self {
            pk: history_of(table),
            sk: format!("{:020}#{process}", created_at.get().max(0)),
        }
    }

    pub(super) fn item(&self) -> Item {
        HashMap::from([
            ("pk".to_owned(), text(&self.pk)),
            ("sk".to_owned(), text(&self.sk)),
        ])
    }

    pub(super) fn of(item: &Item) -> Option<Self> {
        Some(Self {
            pk: item.get("pk")?.as_s().ok()?.clone(),
            sk: item.get("sk")?.as_s().ok()?.clone(),
        })
    }
}

/// What the `pk` of a table's row begins with.
pub(super) const TABLES: &str = "share";
/// The `sk` of the layout.
pub(super) const LAYOUT: &str = "layout";
/// The `pk` of all versions.
pub(super) const VERSIONS: &str = "versions";
pub(super) const TASK_PREFIX: &str = "task#";
pub(super) const CHUNK_PREFIX: &str = "chunk#";

/// The `pk`s of the first `count` buckets.
pub(super) fn all_buckets(count: u32) -> impl Iterator<Item = String> {
    (0..count.div_ceil(BUCKETS_TOGETHER)).map(buckets_together)
}

pub(super) fn buckets_together(number: u32) -> String {
    format!("buckets#{number}")
}

pub(super) fn tables_of(share: u32) -> String {
    format!("{TABLES}#{share}")
}

/// The `pk` of what is kept of a database for its censuses.
pub(super) fn census_of(database: &DatabaseId, record: CensusRecord) -> String {
    format!("{}#{}", record.kind(), key::of_database(database))
}

pub(super) fn process_rows(process: &ProcessId) -> String {
    format!("process#{process}")
}

pub(super) fn history_of(table: &TableId) -> String {
    format!("history#{}", key::of_table(table))
}

pub(super) fn blockers_of(catalog: &CatalogName) -> String {
    format!("blockers#{}", key::of_catalog(catalog))
}

pub(super) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(super) fn number(value: impl Into<i64>) -> AttributeValue {
    AttributeValue::N(value.into().to_string())
}

/// The item of a row, key included; an error where DynamoDB would not keep it.
pub(super) fn item_of(key: &Key, columns: &Columns) -> Result<Item, CoordinationError> {
    encoding::check_size(&key.sk, columns, &[])?;
    let mut item = key.item();
    for (name, value) in &columns.0 {
        let value = match value {
            Column::Text(value) => text(value),
            Column::Number(value) => number(*value),
        };
        item.insert((*name).to_owned(), value);
    }
    Ok(item)
}

impl Fields for Item {
    fn text(&self, name: &'static str) -> Result<Option<String>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(AttributeValue::S(value)) => Ok(Some(value.clone())),
            Some(other) => Err(format!("'{name}' is {other:?}, which is no text")),
        }
    }

    fn number(&self, name: &'static str) -> Result<Option<i64>, String> {
        match self.get(name) {
            None => Ok(None),
            Some(AttributeValue::N(value)) => value
                .parse()
                .map(Some)
                .map_err(|_| format!("'{name}' is {value}, which is no whole number")),
            Some(other) => Err(format!("'{name}' is {other:?}, which is no number")),
        }
    }
}
