//! The state store in one DynamoDB table. Each port stands in the file that is about it.
//!
//! | row | `pk` | `sk` |
//! |---|---|---|
//! | layout | `buckets#0` | `layout` |
//! | bucket | `buckets#` number / 64 | its number, ten digits |
//! | table | `share#` hash of the name mod 16 | `catalog/namespace/table` |
//! | digest, its head and its chunks | `digest#catalog/namespace` | `head`, `chunk#` layout `.` epoch `#` version `#` number |
//! | how far a listing got, what the catalog calls the states | `listing#catalog/namespace`, `tags#catalog/namespace` | the same |
//! | a table's name by its hash | `names#` hash mod 64 | `catalog/namespace#` hash |
//! | process | `process#` id | `process` |
//! | task | `process#` id | `task#` index, ten digits |
//! | blocker | `blockers#catalog` | scope `#` owner |
//! | quota | `quota#` scope | `quota` |
//! | version of what runs | `versions` | component `#` version |
//! | which processes a table had | `history#catalog/namespace/table` | time, twenty digits, `#` id |
//!
//! Tables that fall due carry `due_bucket` and `due_at`, the keys of the index `due`; no other row does, so that asking
//! what is due reads nothing else. The index lags behind: what it says is read again from the table before it counts.
//!
//! Every row has a number `rev` that each write raises and compares, so that a write is `transition`'s function of the
//! very row that was read, or does not happen. A write that was sent twice because its answer got lost is recognised
//! by its `token`, or by DynamoDB itself in transactions.
//!
//! A scope is `catalog/NAME`, `database/catalog/namespace` or `table/catalog/namespace/table`. An engine may write a
//! blocker itself, and delete it: the texts `scope` and `owner` as in the key, `reason`, the numbers `created_at` and
//! `expires_at` (milliseconds since 1970), `ttl` (seconds, later than that) and `rev`, 1. Then it has to look itself for a
//! process of its tables in the state `committing` (its `deadline` says until when).
//!
//! Rows carry `ttl` where they may go: digest chunks never, versions a retention after their last note, processes and
//! tasks a retention after their start, or for a process after its end. So tasks of a process that never came to be go too.

mod digests;
mod examine;
#[cfg(any(test, feature = "conformance"))]
mod inspect;
mod item;
mod layout;
mod leases;
mod limits;
mod processes;
mod requests;
mod setup;
mod tables;
mod tasks;
mod versions;

use std::time::Duration;

use aws_sdk_dynamodb::Client;
use icepress_model::ambient::Ambient;

#[cfg(any(test, feature = "conformance"))]
pub use inspect::{InspectedRow, inspect_row};
pub use setup::create_state_table;

use crate::CoordinationError;

type Result<T> = std::result::Result<T, CoordinationError>;

/// How long ended processes and their tasks are kept by default.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Leases, digests, tables, processes and tasks, in one DynamoDB table.
#[derive(Debug, Clone)]
pub struct DynamoStore {
    client: Client,
    table: String,
    ambient: Ambient,
    retention: Duration,
}

impl DynamoStore {
    /// The store in the table of that name, which [`create_state_table`] or `infra/` made. The client's own retries
    /// answer throttling; nothing is sent before the first operation.
    pub fn new(client: Client, table: impl Into<String>, ambient: Ambient) -> Self {
        Self {
            client,
            table: table.into(),
            ambient,
            retention: DEFAULT_RETENTION,
        }
    }

    /// The same with another retention than [`DEFAULT_RETENTION`].
    pub fn with_retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }
}

#[cfg(test)]
mod tests;
