//! The decision and the commit: what goes is decided anew on each state of the table that is met, and written down before
//! the catalog is told.

use std::time::Duration;

use iceberg::TableUpdate;
use icepress_catalog::{
    CatalogError, CommitError, LoadedTable, TableChange, metadata::metadata_folder,
};
use icepress_model::{TableId, TimestampMs};
use icepress_table::{CommitContext, Gatekeeper, Retries, tracked::SnapshotFiles, until};

use super::{Committed, ExpireRequest};
use crate::{
    ExpirePolicy, Pins, UpkeepError,
    ledger::{Ledger, Record, Statistics},
    retain::{Rules, Verdict, decide},
    swap, tags,
};

/// What is to go from one state of a table.
#[derive(Debug)]
pub(super) struct Decision {
    pub(super) verdict: Verdict,
    pub(super) letting: Letting,
    change: TableChange,
}

/// What is left of snapshots once they are gone.
#[derive(Debug, Default)]
pub(super) struct Letting {
    pub(super) snapshots: Vec<SnapshotFiles>,
    pub(super) statistics: Vec<Statistics>,
}

/// What a commit let go of.
#[derive(Debug)]
pub(super) struct LetGo {
    pub(super) verdict: Verdict,
    /// `None` where nothing was to go, or it is not known which state was made.
    pub(super) committed: Option<Committed>,
}

/// Decides what is to go from `loaded`, asking for pins first.
pub(super) async fn decide_on(
    context: &CommitContext,
    loaded: &LoadedTable,
    pins: &dyn Pins,
    request: &ExpireRequest,
) -> Result<Decision, UpkeepError> {
    let (table, metadata) = (&loaded.table, &loaded.metadata);
    let refused = |message| UpkeepError::refused(table, message);
    let policy = ExpirePolicy::of(metadata.properties()).map_err(refused)?;
    let refs = metadata.refs().map_err(refused)?;
    let mut pins = pins
        .of(table)
        .await
        .map_err(|message| UpkeepError::PinsUnknown {
            table: table.clone(),
            message,
        })?;
    let now = context.ambient.now();
    pins.extend(tags::due(metadata, now).map_err(refused)?);
    let before = |age: Duration| {
        let age = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        TimestampMs(now.get().saturating_sub(age))
    };
    let rules = Rules {
        cut: before(request.older_than.unwrap_or(policy.max_snapshot_age)),
        floor: before(request.floor),
        policy: &policy,
        now,
        pins: &pins,
    };
    let verdict = decide(metadata, &refs, &rules);
    let letting = letting(loaded, &verdict)?;
    let ids: Vec<i64> = verdict
        .snapshots
        .iter()
        .map(|it| it.snapshot_id.get())
        .collect();
    let mut requirements = vec![swap::same_table(metadata)];
    // A branch that moved, or a tag that came back, may need what we let go of.
    requirements.extend(refs.iter().filter_map(|(name, reference)| {
        swap::ref_is_at(metadata, name, Some(reference.snapshot_id))
    }));
    let mut updates: Vec<TableUpdate> = verdict
        .refs
        .iter()
        .map(|name| TableUpdate::RemoveSnapshotRef {
            ref_name: name.clone(),
        })
        .collect();
    for id in &ids {
        if metadata.statistics_for_snapshot(*id).is_some() {
            updates.push(TableUpdate::RemoveStatistics { snapshot_id: *id });
        }
        if metadata.partition_statistics_for_snapshot(*id).is_some() {
            updates.push(TableUpdate::RemovePartitionStatistics { snapshot_id: *id });
        }
    }
    if !ids.is_empty() {
        updates.push(TableUpdate::RemoveSnapshots { snapshot_ids: ids });
    }
    Ok(Decision {
        verdict,
        letting,
        change: TableChange {
            requirements,
            updates,
        },
    })
}

fn letting(loaded: &LoadedTable, verdict: &Verdict) -> Result<Letting, UpkeepError> {
    let metadata = &loaded.metadata;
    let mut letting = Letting::default();
    for expiring in &verdict.snapshots {
        let id = expiring.snapshot_id.get();
        let Some(snapshot) = metadata.snapshot_by_id(id) else {
            continue;
        };
        let files = SnapshotFiles::of(&loaded.table, metadata, snapshot)?;
        letting.snapshots.push(files);
        let of_table = metadata.statistics_for_snapshot(id);
        let of_table = of_table.map(|it| (&it.statistics_path, it.file_size_in_bytes));
        let of_partitions = metadata.partition_statistics_for_snapshot(id);
        let of_partitions = of_partitions.map(|it| (&it.statistics_path, it.file_size_in_bytes));
        for (path, bytes) in of_table.into_iter().chain(of_partitions) {
            letting.statistics.push(Statistics {
                snapshot_id: id,
                path: path.clone(),
                bytes: icepress_model::Bytes(u64::try_from(bytes).unwrap_or(0)),
            });
        }
    }
    Ok(letting)
}

/// Commits what is to go; a lost race is tried again on the table as it is then. Commits nothing where nothing is to go.
pub(super) async fn let_go(
    context: &CommitContext,
    table: &TableId,
    pins: &dyn Pins,
    gatekeeper: &dyn Gatekeeper,
    request: &ExpireRequest,
) -> Result<LetGo, UpkeepError> {
    let (storage, ambient) = (context.storage.as_ref(), &context.ambient);
    let began = ambient.clock.monotonic();
    let mut record: Option<Record<'_>> = None;
    let mut attempt = 0;
    loop {
        let loaded = context.catalog.load(table).await?;
        let decision = decide_on(context, &loaded, pins, request).await?;
        let retries = Retries::new(context, loaded.metadata.properties());
        if decision.change.updates.is_empty() {
            if let Some(record) = &record {
                record.remove().await?;
            }
            let verdict = decision.verdict;
            return Ok(LetGo {
                verdict,
                committed: None,
            });
        }
        let elapsed = ambient.clock.monotonic().saturating_sub(began);
        if attempt >= retries.attempts || (attempt > 0 && elapsed >= retries.total) {
            if let Some(record) = &record {
                record.remove().await?;
            }
            return Err(UpkeepError::RaceLost {
                table: table.clone(),
                attempts: attempt,
            });
        }
        let folder = metadata_folder(&loaded.metadata);
        let record = record
            .get_or_insert_with(|| Record::new(storage, table, &folder, Ledger::Expiry, ambient));
        let intent = decision.letting.intent(&loaded, ambient.now());
        record.write_intent(&intent).await?;
        if let Some(reason) = gatekeeper.objection().await {
            record.remove().await?;
            return Err(UpkeepError::HeldBack {
                table: table.clone(),
                reason,
            });
        }
        let verdict = decision.verdict;
        let commit = context.catalog.commit(&loaded, decision.change);
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
                let committed = Some(Committed {
                    base: loaded.metadata_location,
                    location: made.metadata_location,
                });
                return Ok(LetGo { verdict, committed });
            }
            Err(CommitError::Conflict(_)) => {}
            Err(CommitError::NoSuchTable(table)) => {
                return Err(CatalogError::NoSuchTable(table).into());
            }
            Err(CommitError::Refused(error)) => {
                record.remove().await?;
                return Err(error.into());
            }
            Err(CommitError::OutcomeUnknown { message, .. }) => {
                let is_in = |now: &LoadedTable| is_in(now, &verdict);
                let found = swap::find(context, &loaded, &is_in, &retries, message);
                // The record stays in any case.
                if found.await?.is_some() {
                    return Ok(LetGo {
                        verdict,
                        committed: None,
                    });
                }
            }
        }
        attempt += 1;
        tracing::info!(%table, attempt, "another writer committed first");
        let wait = ambient.jitter(retries.backoff(attempt));
        ambient.clock.sleep(wait).await;
    }
}

/// Whether everything is gone that was to go.
fn is_in(now: &LoadedTable, verdict: &Verdict) -> bool {
    let metadata = &now.metadata;
    let has = |id: i64| metadata.snapshot_by_id(id).is_some();
    let refs = metadata.refs().unwrap_or_default();
    !verdict.snapshots.iter().any(|it| has(it.snapshot_id.get()))
        && !verdict.refs.iter().any(|name| refs.contains_key(name))
}
