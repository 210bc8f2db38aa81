//! Rows as somebody sees them who watches the table from outside: the simulation holds each write to the invariants.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use icepress_model::{BucketId, Epoch, Generation};

use super::item::{Key, LAYOUT, TABLES, TASK_PREFIX};
use crate::{
    BucketRow, Layout, ProcessRow, TableRow, TaskRow,
    encoding::{self, Fields as _},
    limits::QuotaRow,
};

/// A row, by what its key says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InspectedRow {
    /// The layout.
    Layout(Layout),
    /// A bucket.
    Bucket(BucketRow),
    /// A table.
    Table(TableRow),
    /// A process.
    Process(ProcessRow),
    /// A task.
    Task(TaskRow),
    /// The head of a database's digest, with what wrote it.
    DigestHead {
        /// The database's key: `catalog/namespace`.
        database: String,
        /// The layout that it was written under, and the epoch.
        written: (Generation, Epoch),
    },
    /// What was taken of a quota.
    Quota(QuotaRow),
    /// A chunk of a digest, a line of a table's history, or a blocker.
    Other,
}

/// Reads a row; the error says what is wrong with it.
pub fn inspect_row(item: &HashMap<String, AttributeValue>) -> Result<InspectedRow, String> {
    let key = Key::of(item).ok_or("the key is missing")?;
    let (kind, rest) = key.pk.split_once('#').unwrap_or((&key.pk, ""));
    Ok(match kind {
        "buckets" if key.sk == LAYOUT => InspectedRow::Layout(encoding::decode_layout(item)?),
        "buckets" => {
            let number = key
                .sk
                .parse()
                .map_err(|_| format!("'{}' is no bucket", key.sk))?;
            InspectedRow::Bucket(encoding::decode_bucket(BucketId(number), item)?)
        }
        TABLES => InspectedRow::Table(encoding::decode_table(item)?),
        "process" if key.sk == "process" => InspectedRow::Process(encoding::decode_process(item)?),
        "process" if key.sk.starts_with(TASK_PREFIX) => {
            InspectedRow::Task(encoding::decode_task(item)?)
        }
        "digest" if key.sk == "head" => {
            let number = |name| -> Result<u64, String> {
                let value = item.number(name)?.unwrap_or(-1);
                u64::try_from(value).map_err(|_| format!("'{name}' is missing or negative"))
            };
            InspectedRow::DigestHead {
                database: rest.to_owned(),
                written: (Generation(number("layout")?), Epoch(number("epoch")?)),
            }
        }
        "quota" => InspectedRow::Quota(encoding::decode_quota(item)?),
        _ => InspectedRow::Other,
    })
}
