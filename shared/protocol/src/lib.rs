//! The protocols of leases, buckets, change, processes and tasks, without any I/O: the rows that are kept, what each operation
//! makes of a row, and what always holds (protocols.md, sections 1 to 3, and 5).
//!
//! A store is these functions in atomic steps of its own kind; `icepress-coordination` has two. The model, under
//! `model`, is these functions with everything that can go wrong around them.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod error;
pub mod invariants;
pub mod layout;
pub mod limits;
pub mod lock;
#[cfg(test)]
mod model;
mod outcomes;
mod rows;
pub mod transition;

pub use error::CoordinationError;
pub use layout::{Home, Layout};
pub use outcomes::{
    CancelOutcome, ClaimOutcome, CommitClaim, GivenBack, MarkOutcome, ReportOutcome, StartOutcome,
};
pub use rows::{
    BucketRow, Conclusion, Digest, Lease, NewProcess, NewTask, Payload, ProcessRow, ProcessState,
    TableRow, TaskRow, TaskState,
};
