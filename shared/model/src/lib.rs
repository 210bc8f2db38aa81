//! The words of Icepress as types: identifiers, amounts, plans, tasks and their outcomes.
//!
//! Nothing here does I/O. What several crates talk about stands here once, in types that keep epochs, sequence
//! numbers, bytes and rows from being mixed up.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod ambient;
mod bucket;
mod causes;
mod ids;
mod kind;
mod outcome;
mod plan;
mod scope;
pub mod text;
mod units;
mod ways;

pub use bucket::{
    BucketCount, BucketId, Generation, bucket_of_database, bucket_of_table, listing_of_database,
};
pub use causes::{with_causes, without_login};
pub use ids::{
    Attempt, CatalogName, DatabaseId, Epoch, InvalidDatabase, InvalidName, MetadataLocation,
    Namespace, ProcessId, RowId, SchemaId, SequenceNumber, SnapshotId, SpecId, TableId, TaskId,
    WorkerId,
};
pub use kind::{ProcessKind, UnknownKind};
pub use outcome::{
    ColumnValues, FailureCause, GroupResult, GroupSize, Inspection, Lessons, Pace, ProcessOutcome,
    RewriteFailure, RewriteFailureKind, Ways,
};
pub use plan::{
    BaseState, DeleteContent, DeleteFile, Group, GroupReason, GroupTask, Health, InputFile,
    KEY_COLUMNS_DIVISOR, LeftAlone, LeftAloneReason, OldRows, PlanSetting, PlanTotals, TablePlan,
    Tier,
};
pub use scope::Scope;
pub use units::{Bytes, NanoDollars, Rows, TimestampMs};
pub use ways::MergePages;
