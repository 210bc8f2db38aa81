//! The swap of a table's metadata location: `UpdateTable` with the version that was seen, which Glue compares.

use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_glue::types::Table;
use icepress_catalog::{
    CatalogError, LoadedTable,
    aws::AwsFailure,
    lock::HeldLock,
    metadata::StagedMetadata,
    swap::{Pointer, Refusal, Trace},
};
use icepress_model::MetadataLocation;

use crate::{entries::Entries, entry::metadata_location, errors::into_catalog_error};

/// How long one try may take where no lock says less.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// One table's entry, about to be pointed from `base` to `staged`.
#[derive(Debug)]
pub(crate) struct EntryPointer<'a> {
    pub(crate) entries: &'a Entries,
    pub(crate) base: &'a LoadedTable,
    pub(crate) staged: &'a StagedMetadata,
    pub(crate) lock: Option<&'a HeldLock<'a>>,
}

#[async_trait]
impl Pointer for EntryPointer<'_> {
    type Entry = Table;

    async fn look(&self) -> Result<Table, CatalogError> {
        self.entries.get(&self.base.table).await
    }

    fn location(&self, entry: &Table) -> Option<MetadataLocation> {
        metadata_location(entry)
    }

    fn time_left(&self) -> Duration {
        self.lock.map_or(ATTEMPT_TIMEOUT, HeldLock::time_left)
    }

    async fn change(&self, seen: &Table) -> Result<(), Refusal<Table>> {
        let (from, to) = (&self.base.metadata_location, &self.staged.location);
        let moved = self
            .entries
            .move_to(&self.base.table, seen, from, to, self.time_left())
            .await;
        Ok(moved?)
    }

    /// Nobody knows whose a version is, but with an older one the swap can't happen any more.
    fn trace(&self, seen: &Table, now: &Table) -> Trace {
        if now.version_id == seen.version_id {
            Trace::None
        } else {
            Trace::Overtaken
        }
    }

    fn failed(&self, failure: AwsFailure) -> CatalogError {
        into_catalog_error(failure, &self.entries.name, None)
    }
}
