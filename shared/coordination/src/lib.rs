//! Coordination: bucket leases, what is known of tables, processes, tasks, and the queues that carry them.
//!
//! Two ports, each with an AWS and an embedded adapter: [`StateStore`] (DynamoDB; one SQLite file) and [`TaskQueue`]
//! (SQS; the same SQLite file). Knows nothing of Iceberg: plans and results are opaque text here.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
mod queue;
mod rows;
mod store;

pub use error::CoordinationError;
pub use queue::{Received, TaskMessage, TaskQueue};
pub use rows::{
    BucketRow, Conclusion, Digest, Lease, NewProcess, NewTask, Payload, ProcessRow, ProcessState,
    TableRow, TaskRow, TaskState,
};
pub use store::{ClaimOutcome, CommitClaim, MarkOutcome, ReportOutcome, StartOutcome, StateStore};
