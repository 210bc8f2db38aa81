//! A commit that changes a table's metadata and adds no snapshot: decided anew on each state of the table that is met, tried
//! again after a lost race, and looked for after an unknown outcome.

use async_trait::async_trait;
use iceberg::{
    TableRequirement,
    spec::{FormatVersion, MAIN_BRANCH},
};
use icepress_catalog::{
    CatalogError, CommitError, LoadedTable, TableChange,
    metadata::{Metadata, delete_what_a_found_commit_left},
};
use icepress_model::TableId;
use icepress_table::{CommitContext, Gatekeeper, Retries, until};

use crate::{Committed, UpkeepError};

/// How often the table is looked at after an unknown outcome before we say so.
const LOOKS_AFTER_UNKNOWN_OUTCOME: u32 = 5;

/// What one state of a table is to become.
pub(crate) trait Decision: Send + Sync {
    /// The change; without updates there is nothing to do.
    fn change(&self) -> TableChange;

    /// Whether a state of the table has the change, whoever made it.
    fn is_in(&self, now: &LoadedTable) -> bool;
}

/// Whoever decides.
#[async_trait]
pub(crate) trait Decider: Send + Sync {
    type Decision: Decision;

    /// Decides on a state of the table that was just loaded. May write nothing.
    async fn decide(&self, loaded: &LoadedTable) -> Result<Self::Decision, UpkeepError>;
}

/// Commits what `decider` decides, and returns the decision that is in, with the commit: `None` where nothing was to be done,
/// or it is not known which state was made.
pub(crate) async fn commit<D: Decider>(
    context: &CommitContext,
    table: &TableId,
    gatekeeper: &dyn Gatekeeper,
    decider: &D,
) -> Result<(D::Decision, Option<Committed>), UpkeepError> {
    let ambient = &context.ambient;
    let began = ambient.clock.monotonic();
    let mut attempt = 0;
    loop {
        let loaded = context.catalog.load(table).await?;
        let decision = decider.decide(&loaded).await?;
        let change = decision.change();
        if change.updates.is_empty() {
            return Ok((decision, None));
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
                let committed = Committed {
                    base: loaded.metadata_location,
                    location: made.metadata_location,
                };
                return Ok((decision, Some(committed)));
            }
            Err(CommitError::Conflict(_)) => {}
            Err(CommitError::NoSuchTable(table)) => {
                return Err(CatalogError::NoSuchTable(table).into());
            }
            Err(CommitError::Refused(error)) => return Err(error.into()),
            Err(CommitError::OutcomeUnknown { message, .. }) => {
                let is_in = |now: &LoadedTable| decision.is_in(now);
                if let Some(now) = find(context, &loaded, &is_in, &retries, message).await? {
                    let storage = context.storage.as_ref();
                    delete_what_a_found_commit_left(storage, table, &now.metadata_location).await;
                    return Ok((decision, None));
                }
            }
        }
        attempt += 1;
        tracing::info!(%table, attempt, "another writer committed first");
        let wait = ambient.jitter(retries.backoff(attempt));
        ambient.clock.sleep(wait).await;
    }
}

/// After an unknown outcome: the state of the table that has the change. `None` where it never will have it, because the
/// table has moved away from the state that the commit was compared with.
pub(crate) async fn find(
    context: &CommitContext,
    tried_on: &LoadedTable,
    is_in: &(dyn Fn(&LoadedTable) -> bool + Sync),
    retries: &Retries,
    message: String,
) -> Result<Option<LoadedTable>, UpkeepError> {
    let (table, ambient) = (&tried_on.table, &context.ambient);
    let mut last = message;
    for look in 0..LOOKS_AFTER_UNKNOWN_OUTCOME {
        if look > 0 {
            let wait = retries.backoff(look);
            ambient.clock.sleep(wait + ambient.jitter(wait)).await;
        }
        match context.catalog.load(table).await {
            Ok(now) => {
                if is_in(&now) {
                    return Ok(Some(now));
                }
                if context.catalog.is_overtaken(tried_on, &now) {
                    return Ok(None);
                }
            }
            Err(error @ CatalogError::NoSuchTable(_)) => return Err(error.into()),
            Err(error) => last = error.to_string(),
        }
    }
    Err(UpkeepError::OutcomeUnknown {
        table: table.clone(),
        message: last,
    })
}

/// That the table is the one that was loaded.
pub(crate) fn same_table(metadata: &Metadata) -> TableRequirement {
    TableRequirement::UuidMatch {
        uuid: metadata.uuid(),
    }
}

/// That a branch or tag points where it did; `None` for that there is none of the name. Of version 1 the crate knows the main
/// branch alone: there the catalog compares the whole state, and nothing is required.
pub(crate) fn ref_is_at(
    metadata: &Metadata,
    name: &str,
    snapshot_id: Option<i64>,
) -> Option<TableRequirement> {
    let is_known = metadata.format_version() > FormatVersion::V1 || name == MAIN_BRANCH;
    is_known.then(|| TableRequirement::RefSnapshotIdMatch {
        r#ref: name.to_owned(),
        snapshot_id,
    })
}
