//! Coordination: bucket leases, what is known of tables, processes, tasks, and the queues that carry them.
//!
//! Two ports, each with an AWS and an embedded adapter: [`StateStore`] (DynamoDB; one SQLite file) and [`TaskQueue`]
//! (SQS; the same SQLite file). Knows nothing of Iceberg: plans and results are opaque text here.
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod dynamo;
#[cfg(test)]
mod emulator;
mod encoding;
mod error;
#[cfg(test)]
mod interleavings;
pub mod invariants;
mod key;
mod queue;
mod rows;
mod sqlite;
mod sqs;
mod store;
mod transition;

pub use dynamo::{
    DEFAULT_RETENTION, DynamoRequest, DynamoRequests, DynamoStore, create_state_table,
};
pub use error::CoordinationError;
pub use queue::{Received, TaskMessage, TaskQueue};
pub use rows::{
    BucketRow, Conclusion, Digest, Lease, NewProcess, NewTask, Payload, ProcessRow, ProcessState,
    TableRow, TaskRow, TaskState,
};
pub use sqlite::{SqliteFile, SqliteOptions, SqliteQueue, SqliteStore};
pub use sqs::SqsQueue;
pub use store::{ClaimOutcome, CommitClaim, MarkOutcome, ReportOutcome, StartOutcome, StateStore};
