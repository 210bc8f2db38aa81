//! The commit that has a table's metadata name a statistics file. It says something of one snapshot and changes none, so it goes
//! with whatever others commit, as long as that snapshot is there.

use iceberg::{TableRequirement, TableUpdate, spec::PartitionStatisticsFile};
use icepress_catalog::{CatalogError, CommitError, LoadedTable, TableChange};
use icepress_model::TableId;
use icepress_table::{CommitContext, Gatekeeper, Retries, until};

use crate::{Committed, UpkeepError, swap};

/// What a commit came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Set {
    /// The commit; `None` where it is not known which state it made.
    Done(Option<Committed>),
    /// The snapshot was expired meanwhile; the file is deleted again.
    SnapshotGone,
}

/// Sets `statistics`. Where that certainly failed the file is deleted again, as far as that is allowed.
pub(crate) async fn set(
    context: &CommitContext,
    table: &TableId,
    gatekeeper: &dyn Gatekeeper,
    statistics: &PartitionStatisticsFile,
) -> Result<Set, UpkeepError> {
    let outcome = try_to_set(context, table, gatekeeper, statistics).await;
    let is_certain = !matches!(
        outcome,
        Ok(Set::Done(_)) | Err(UpkeepError::OutcomeUnknown { .. })
    );
    if is_certain {
        let path = [statistics.statistics_path.clone()];
        for deleted in context.storage.delete(&path).await {
            if let Err(error) = deleted.result {
                tracing::warn!(%table, %error, "an unused statistics file is left behind");
            }
        }
    }
    outcome
}

async fn try_to_set(
    context: &CommitContext,
    table: &TableId,
    gatekeeper: &dyn Gatekeeper,
    statistics: &PartitionStatisticsFile,
) -> Result<Set, UpkeepError> {
    let ambient = &context.ambient;
    let began = ambient.clock.monotonic();
    let mut attempt = 0;
    loop {
        let loaded = context.catalog.load(table).await?;
        if names(&loaded, statistics) {
            return Ok(Set::Done(None));
        }
        let id = statistics.snapshot_id;
        if loaded.metadata.snapshot_by_id(id).is_none() {
            return Ok(Set::SnapshotGone);
        }
        let retries = Retries::new(context, loaded.metadata.properties());
        let elapsed = ambient.clock.monotonic().saturating_sub(began);
        if attempt >= retries.attempts || (attempt > 0 && elapsed >= retries.total) {
            return Err(UpkeepError::RaceLost {
                table: table.clone(),
                attempts: attempt,
            });
        }
        if let Some(reason) = gatekeeper.objection().await {
            return Err(UpkeepError::HeldBack {
                table: table.clone(),
                reason,
            });
        }
        let change = TableChange {
            requirements: vec![TableRequirement::UuidMatch {
                uuid: loaded.metadata.uuid(),
            }],
            updates: vec![TableUpdate::SetPartitionStatistics {
                partition_statistics: statistics.clone(),
            }],
        };
        let commit = context.catalog.commit(&loaded, change);
        let answer = until(gatekeeper.sent_until(), ambient.clock.as_ref(), commit).await;
        // It may be on its way.
        let answer = answer.unwrap_or_else(|| {
            Err(CommitError::OutcomeUnknown {
                table: table.clone(),
                message: "it took longer than it may".to_owned(),
            })
        });
        match answer {
            Ok(made) => {
                return Ok(Set::Done(Some(Committed {
                    base: loaded.metadata_location,
                    location: made.metadata_location,
                })));
            }
            Err(CommitError::Conflict(_)) => {}
            Err(CommitError::NoSuchTable(table)) => {
                return Err(CatalogError::NoSuchTable(table).into());
            }
            Err(CommitError::Refused(error)) => return Err(error.into()),
            Err(CommitError::OutcomeUnknown { message, .. }) => {
                let is_in = |now: &LoadedTable| names(now, statistics);
                let found = swap::find(context, &loaded, &is_in, &retries, message);
                if found.await?.is_some() {
                    return Ok(Set::Done(None));
                }
            }
        }
        attempt += 1;
        tracing::info!(%table, attempt, "another writer committed first");
        let wait = ambient.jitter(retries.backoff(attempt));
        ambient.clock.sleep(wait).await;
    }
}

fn names(loaded: &LoadedTable, statistics: &PartitionStatisticsFile) -> bool {
    let metadata = &loaded.metadata;
    let known = metadata.partition_statistics_for_snapshot(statistics.snapshot_id);
    known.is_some_and(|known| known.statistics_path == statistics.statistics_path)
}
