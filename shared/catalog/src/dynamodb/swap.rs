//! The swap of a table's metadata location: one conditional `UpdateItem`.
//!
//! The condition is Java's, `v` unchanged, and the old location besides, since not every client renews `v`. All tries write
//! the same new `v`, so a row that has it is ours.

use std::time::Duration;

use async_trait::async_trait;
use icepress_model::{MetadataLocation, TimestampMs};

use super::rows::{Move, Row, Rows, metadata_location, version};
use crate::{
    CatalogError, LoadedTable,
    aws::AwsFailure,
    metadata::StagedMetadata,
    swap::{Pointer, Refusal, Trace},
};

/// How long one try may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);

/// One table's row, about to be pointed from `base` to `staged`.
#[derive(Debug)]
pub(super) struct RowPointer<'a> {
    pub(super) rows: &'a Rows,
    pub(super) base: &'a LoadedTable,
    pub(super) staged: &'a StagedMetadata,
    /// What `v` is to be.
    pub(super) new_version: String,
    pub(super) at: TimestampMs,
}

#[async_trait]
impl Pointer for RowPointer<'_> {
    type Entry = Row;

    async fn look(&self) -> Result<Row, CatalogError> {
        self.rows.get(&self.base.table).await
    }

    fn location(&self, row: &Row) -> Option<MetadataLocation> {
        metadata_location(row)
    }

    fn time_left(&self) -> Duration {
        ATTEMPT_TIMEOUT
    }

    async fn change(&self, seen: &Row) -> Result<(), Refusal<Row>> {
        let next = Move {
            from: &self.base.metadata_location,
            to: &self.staged.location,
            version: &self.new_version,
            at: self.at,
        };
        self.rows
            .move_to(&self.base.table, seen, &next, ATTEMPT_TIMEOUT)
            .await
    }

    fn trace(&self, _seen: &Row, now: &Row) -> Trace {
        if version(now) == Some(&self.new_version) {
            Trace::Ours
        } else {
            Trace::None
        }
    }

    fn failed(&self, failure: AwsFailure) -> CatalogError {
        self.rows.failed(failure)
    }
}
