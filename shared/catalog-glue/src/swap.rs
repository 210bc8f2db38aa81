//! The swap of a table's metadata location: one `UpdateTable`, and finding out what became of it.
//!
//! The SDK must not try `UpdateTable` again by itself: a second try after a lost answer finds a newer version and looks
//! like a lost race, while the commit is in. Tried again here, with the same version and the same new location, it can take
//! effect once at most; and where the version is gone by then, looking at the table tells who took it.

use std::time::Duration;

use aws_sdk_glue::{
    config::{Builder, retry::RetryConfig, timeout::TimeoutConfig},
    types::TableInput,
};
use icepress_catalog::{
    CatalogError, CommitError, LoadedTable,
    lock::HeldLock,
    metadata::{StagedMetadata, outcome_by_looking},
};

use crate::{
    entry::{metadata_location, moved},
    errors::{Failure, FailureKind},
    glue::{GlueCatalog, database_name},
};

/// Tries of `UpdateTable`.
const ATTEMPTS: u32 = 4;
/// How long one try may take where no lock says less.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest wait before the second try; doubles from try to try.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// One swap.
#[derive(Debug)]
pub(crate) struct Swap<'a> {
    pub(crate) catalog: &'a GlueCatalog,
    pub(crate) base: &'a LoadedTable,
    pub(crate) staged: &'a StagedMetadata,
}

impl Swap<'_> {
    /// Points the entry to the staged metadata if it still points to the base's.
    pub(crate) async fn run(&self, lock: Option<&HeldLock<'_>>) -> Result<(), CommitError> {
        let table = &self.base.table;
        let entry = self.catalog.entry(table).await.map_err(gone_or_refused)?;
        match metadata_location(&entry) {
            Some(location) if location == self.base.metadata_location => {}
            Some(_) => return Err(CommitError::Conflict(table.clone())),
            None => {
                return Err(CommitError::Refused(CatalogError::NotIceberg(
                    table.clone(),
                )));
            }
        }
        let version = entry.version_id.clone().ok_or_else(|| {
            self.refused("Glue gave no VersionId for the table, so a commit could not be compared")
        })?;
        let input = moved(entry, &self.base.metadata_location, &self.staged.location)
            .map_err(|error| self.refused(&error.to_string()))?;

        let mut may_be_in = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let timeout = lock.map_or(ATTEMPT_TIMEOUT, HeldLock::time_left);
            let failure = if timeout.is_zero() {
                Failure {
                    kind: FailureKind::Invalid,
                    message:
                        "half of the commit lock's lease passed before the table could be changed"
                            .to_owned(),
                }
            } else {
                match self.update(&version, input.clone(), timeout).await {
                    Ok(()) => return Ok(()),
                    Err(failure) => failure,
                }
            };
            may_be_in |= failure.kind == FailureKind::Unknown;
            let is_worth_it = matches!(failure.kind, FailureKind::Unknown | FailureKind::Busy);
            if is_worth_it && attempt < ATTEMPTS {
                let longest = FIRST_BACKOFF.saturating_mul(1 << attempt);
                let ambient = &self.catalog.ambient;
                ambient.clock.sleep(ambient.jitter(longest)).await;
                continue;
            }
            if may_be_in {
                return self.look(&version, &failure.message).await;
            }
            return Err(match failure.kind {
                FailureKind::Stale => CommitError::Conflict(table.clone()),
                FailureKind::NotFound => CommitError::NoSuchTable(table.clone()),
                _ => CommitError::Refused(failure.into_catalog_error(&table.catalog)),
            });
        }
    }

    async fn update(
        &self,
        version: &str,
        input: TableInput,
        timeout: Duration,
    ) -> Result<(), Failure> {
        let once = Builder::new()
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::builder().operation_timeout(timeout).build());
        self.catalog
            .client
            .update_table()
            .set_catalog_id(self.catalog.catalog_id.clone())
            .set_database_name(database_name(&self.base.table.namespace).map(str::to_owned))
            .table_input(input)
            .version_id(version)
            .skip_archive(true)
            .customize()
            .config_override(once)
            .send()
            .await
            .map(drop)
            .map_err(|error| Failure::of(&error))
    }

    /// Whether our commit is in, after a try of which nobody knows.
    async fn look(&self, version: &str, message: &str) -> Result<(), CommitError> {
        let entry = self.catalog.entry(&self.base.table).await;
        let is_overtaken = entry
            .as_ref()
            .is_ok_and(|entry| entry.version_id.as_deref() != Some(version));
        let now = entry.and_then(|entry| {
            let not_iceberg = || CatalogError::NotIceberg(self.base.table.clone());
            metadata_location(&entry).ok_or_else(not_iceberg)
        });
        let is_unmoved = now
            .as_ref()
            .is_ok_and(|now| *now == self.base.metadata_location);
        if is_unmoved && is_overtaken {
            // Somebody changed something else; with our version the swap can't happen any more.
            return Err(CommitError::Conflict(self.base.table.clone()));
        }
        outcome_by_looking(&*self.catalog.storage, self.base, self.staged, now, message).await
    }

    fn refused(&self, message: &str) -> CommitError {
        CommitError::Refused(CatalogError::Unavailable {
            catalog: self.base.table.catalog.to_string(),
            message: format!("table {}: {message}", self.base.table),
            source: None,
        })
    }
}

fn gone_or_refused(error: CatalogError) -> CommitError {
    match error {
        CatalogError::NoSuchTable(table) => CommitError::NoSuchTable(table),
        error => CommitError::Refused(error),
    }
}
