//! The commit that has a table's metadata name a statistics file. It says something of one snapshot and changes none, so it goes
//! with whatever others commit, as long as that snapshot is there.

use iceberg::{TableRequirement, TableUpdate, spec::PartitionStatisticsFile};
use icepress_catalog::{CatalogError, CommitError, LoadedTable, TableChange};
use icepress_model::TableId;
use icepress_table::{CommitContext, Gatekeeper, Retries};

use crate::UpkeepError;

/// How often the table is looked at after an unknown outcome before we say so.
const LOOKS_AFTER_UNKNOWN_OUTCOME: u32 = 5;

/// What a commit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Set {
    Done,
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
        Ok(Set::Done) | Err(UpkeepError::OutcomeUnknown { .. })
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
            return Ok(Set::Done);
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
        match context.catalog.commit(&loaded, change).await {
            Ok(_) => return Ok(Set::Done),
            Err(CommitError::Conflict(_)) => {}
            Err(CommitError::NoSuchTable(table)) => {
                return Err(CatalogError::NoSuchTable(table).into());
            }
            Err(CommitError::Refused(error)) => return Err(error.into()),
            Err(CommitError::OutcomeUnknown { message, .. }) => {
                if find(context, &loaded, statistics, &retries, message).await? {
                    return Ok(Set::Done);
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

/// After an unknown outcome: whether the commit is in. It never will be where the table has moved away from the state that it
/// was compared with.
async fn find(
    context: &CommitContext,
    tried_on: &LoadedTable,
    statistics: &PartitionStatisticsFile,
    retries: &Retries,
    message: String,
) -> Result<bool, UpkeepError> {
    let ambient = &context.ambient;
    let mut last = message;
    for look in 0..LOOKS_AFTER_UNKNOWN_OUTCOME {
        if look > 0 {
            let wait = retries.backoff(look);
            ambient.clock.sleep(wait + ambient.jitter(wait)).await;
        }
        match context.catalog.load(&tried_on.table).await {
            Ok(now) if names(&now, statistics) => return Ok(true),
            Ok(now) if context.catalog.is_overtaken(tried_on, &now) => return Ok(false),
            Ok(_) => {}
            Err(error @ CatalogError::NoSuchTable(_)) => return Err(error.into()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(UpkeepError::OutcomeUnknown {
        table: tried_on.table.clone(),
        message: last,
    })
}
