//! Coordination: bucket leases, what is known of tables, processes, tasks, and the queues that carry them.
//!
//! Two ports, each with an AWS and an embedded adapter: [`StateStore`] (DynamoDB; one SQLite file) and [`TaskQueue`]
//! (SQS; the same SQLite file). Knows nothing of Iceberg: plans and results are opaque text here.
#![cfg_attr(test, allow(clippy::unwrap_used))]

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod dynamo;
mod encoding;
mod errands;
mod finding;
#[cfg(test)]
mod interleavings;
mod key;
mod listing;
mod queue;
mod sqlite;
mod sqs;
mod store;
mod versions;
mod watched;

pub use dynamo::{DEFAULT_RETENTION, DynamoStore, create_state_table};
#[cfg(any(test, feature = "conformance"))]
pub use dynamo::{InspectedRow, inspect_row};
pub use errands::{Errand, Errands, SqsErrands};
pub use finding::{Finding, Severity};
use icepress_protocol::transition;
pub use icepress_protocol::{
    BucketRow, CancelOutcome, ClaimOutcome, CommitClaim, Conclusion, CoordinationError, Digest,
    GivenBack, Home, Layout, Lease, MarkOutcome, NewProcess, NewTask, Payload, ProcessRow,
    ProcessState, ReportOutcome, StartOutcome, TableRow, TaskRow, TaskState, invariants, layout,
    limits,
};
pub use key::hash_of_name;
pub use listing::{KeyRange, ListedRow, Listing, PartPage, TableKey};
pub use queue::{QueueDepth, Received, TaskMessage, TaskQueue};
pub use sqlite::{SqliteFile, SqliteOptions, SqliteQueue, SqliteStore};
pub use sqs::SqsQueue;
pub use store::{
    Buckets, CensusNote, CensusRecord, DigestStore, Examine, LayoutStore, LeaseStore, LimitStore,
    ProcessStore, Search, StateStore, TableStore, TablesPage, TaskStore, VersionStore,
};
pub use versions::{Component, RunningVersion};
pub use watched::Watched;

/// All parts of [`StateStore`], to be imported with `*` by who calls a store by its own type.
pub mod ports {
    pub use crate::store::{
        DigestStore as _, Examine as _, LayoutStore as _, LeaseStore as _, LimitStore as _,
        ProcessStore as _, TableStore as _, TaskStore as _, VersionStore as _,
    };
}
