//! Iceberg proper: manifests, the delete index, snapshots that replace, validation.
//!
//! Knows what a table is, and not where work comes from. Stands on the public specification types of the `iceberg`
//! crate; its transactions can't express a rewrite, so the commit is ours.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod added;
mod avro;
mod commit;
pub mod delete_index;
mod error;
pub mod filter;
pub mod footer;
mod granularity;
mod manifests;
mod metrics_modes;
mod partition;
mod partition_stats;
pub mod reserved_ids;
pub mod scan;
pub mod survey;
pub mod tracked;
pub mod vectors;

pub use added::{AddedDataFile, added_data_files};
pub use commit::{
    ChooseManifests, Chooser, CommitContext, CommitFailure, CommitOutcome, CommitPolicy,
    Correction, DropCause, DroppedGroup, Duplicate, Examination, FileRepair, FinishedGroup,
    Gatekeeper, Held, IS_REPAIR, ListedManifest, ManifestContent, ManifestLayout, ManifestRepair,
    NoObjection, PROCESS_ID, PartitionPlace, Repairs, Retries, Rewritten, RewrittenManifests,
    Unrepairable, commit_groups, commit_groups_unless, examine_manifests, find_commit,
    remove_data_files, remove_rows, repair_manifests, rewrite_manifests, survey_manifests, until,
};
pub use error::TableError;
pub use granularity::DeleteGranularity;
pub use metrics_modes::{MetricsMode, MetricsModes};
pub use partition::{
    PartitionError, partition_from_json, partition_name, partition_path, partition_to_json,
    partition_type,
};
pub use partition_stats::{
    PartitionCounts, PartitionStats, partition_stats, unified_partition_type,
};
pub use scan::{ListedSnapshot, list_snapshot, open_snapshot, open_snapshot_at};
