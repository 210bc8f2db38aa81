//! The loop around a commit: load, look, validate, write, swap; and what to do when the swap does not go through.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use icepress_catalog::{
    CatalogError, CommitError, LoadedTable, metadata::delete_what_a_found_commit_left,
};
use icepress_model::TableId;

use super::{
    CommitContext, CommitFailure, CommitOutcome, DroppedGroup, Gatekeeper,
    gatekeeper::until,
    snapshot::{Prepared, discard},
};

/// The longest wait between two tries where the table does not say. Iceberg's own default is a minute; but against a writer
/// that commits each second waiting longer wins no more races, and each lost one is cheap.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How often the table is looked at after an unknown outcome before we say so.
const LOOKS_AFTER_UNKNOWN_OUTCOME: u32 = 5;

/// How hard to try, with the table's own wishes (`commit.retry.*`) in it.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// Tries in all.
    pub attempts: u32,
    first_backoff: Duration,
    longest_backoff: Duration,
    /// After how long nothing is tried again.
    pub total: Duration,
}

impl Retries {
    /// Those of a table with these properties.
    pub fn new(context: &CommitContext, properties: &HashMap<String, String>) -> Self {
        let number = |key: &str| {
            properties
                .get(key)
                .and_then(|value| value.parse::<u64>().ok())
        };
        let millis = |key: &str| number(key).map(Duration::from_millis);
        let policy = &context.policy;
        Self {
            attempts: number("commit.retry.num-retries")
                .map_or(policy.attempts, |retries| {
                    u32::try_from(retries).unwrap_or(u32::MAX).saturating_add(1)
                })
                .max(1),
            first_backoff: millis("commit.retry.min-wait-ms").unwrap_or(policy.first_backoff),
            longest_backoff: millis("commit.retry.max-wait-ms").unwrap_or(LONGEST_WAIT),
            total: millis("commit.retry.total-timeout-ms").unwrap_or(Duration::from_secs(30 * 60)),
        }
    }

    /// The longest wait before try number `attempt`, of which the first is 0.
    pub fn backoff(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(16);
        (self.first_backoff * (1 << doublings)).min(self.longest_backoff)
    }
}

/// What one try came to.
enum Tried {
    Committed(CommitOutcome),
    /// Somebody else was first. What was written for nothing may go, once a look at the table confirms it.
    Lost {
        garbage: Vec<String>,
    },
}

/// What is to be committed, made anew for each state of the table that is met.
#[async_trait]
pub(super) trait Proposal: Send + Sync {
    /// What an earlier call has committed already, if anything.
    fn found_in(&self, loaded: &LoadedTable) -> Option<CommitOutcome>;

    /// Files that a later try may do with, too: they go once it is certain that there is none, and that no snapshot has them.
    fn kept_for_later_tries(&self) -> &[String] {
        &[]
    }

    /// Looks at what is live now, validates, and writes what the swap would make current.
    async fn prepare(
        &mut self,
        loaded: &LoadedTable,
        attempt: u32,
    ) -> Result<Proposed, CommitFailure>;
}

/// A try that is ready to be swapped in.
#[derive(Debug)]
pub(super) struct Proposed {
    pub(super) prepared: Prepared,
    /// Groups that are in.
    pub(super) committed: Vec<u32>,
    /// Groups that are not.
    pub(super) dropped: Vec<DroppedGroup>,
    /// New files of those, which nothing refers to.
    pub(super) unused_files: Vec<String>,
    /// Whether others committed after what was planned or looked at.
    pub(super) rebased: bool,
}

/// Commits what a proposal makes.
#[derive(Debug)]
pub(super) struct Committer<'a> {
    pub(super) context: &'a CommitContext,
    pub(super) gatekeeper: &'a dyn Gatekeeper,
    pub(super) table: &'a TableId,
}

impl Committer<'_> {
    pub(super) async fn run(
        &self,
        proposal: &mut dyn Proposal,
    ) -> Result<CommitOutcome, CommitFailure> {
        let ambient = &self.context.ambient;
        let began = ambient.clock.monotonic();
        let mut attempt = 0;
        let mut garbage = Vec::new();
        let mut first = None;
        loop {
            let loaded = self.load().await?;
            if let Some(outcome) = proposal.found_in(&loaded) {
                return Ok(self.found(outcome).await);
            }
            // Only now: a catalog that sent the swap twice could have lost the race against itself.
            discard(self.context.storage.as_ref(), &garbage).await;
            let retries = Retries::new(self.context, loaded.metadata.properties());
            let elapsed = ambient.clock.monotonic().saturating_sub(began);
            if attempt >= retries.attempts || (attempt > 0 && elapsed >= retries.total) {
                let kept = proposal.kept_for_later_tries();
                discard(self.context.storage.as_ref(), kept).await;
                let catalog = &self.context.catalog;
                return Err(CommitFailure::RaceLost {
                    table: self.table.clone(),
                    attempts: attempt,
                    is_overtaken: first.is_some_and(|first| catalog.is_overtaken(&first, &loaded)),
                });
            }
            let proposed = proposal.prepare(&loaded, attempt).await?;
            match self.swap(&loaded, proposal, proposed).await? {
                Tried::Committed(outcome) => return Ok(outcome),
                Tried::Lost { garbage: more } => garbage = more,
            }
            first.get_or_insert(loaded);
            attempt += 1;
            tracing::info!(table = %self.table, attempt, "another writer committed first");
            let wait = ambient.jitter(retries.backoff(attempt));
            ambient.clock.sleep(wait).await;
        }
    }

    async fn load(&self) -> Result<LoadedTable, CommitFailure> {
        self.context
            .catalog
            .load(self.table)
            .await
            .map_err(|error| match error {
                CatalogError::NoSuchTable(table) => CommitFailure::TableGone(table),
                error => CommitFailure::Catalog(error),
            })
    }

    /// A commit whose end nobody saw: what it left behind goes now.
    async fn found(&self, outcome: CommitOutcome) -> CommitOutcome {
        let storage = self.context.storage.as_ref();
        delete_what_a_found_commit_left(storage, self.table, &outcome.location).await;
        outcome
    }

    async fn swap(
        &self,
        loaded: &LoadedTable,
        proposal: &dyn Proposal,
        proposed: Proposed,
    ) -> Result<Tried, CommitFailure> {
        let Proposed {
            prepared,
            committed,
            dropped,
            unused_files,
            rebased,
        } = proposed;
        let storage = self.context.storage.as_ref();
        if let Some(reason) = self.gatekeeper.objection().await {
            discard(storage, &prepared.written).await;
            discard(storage, proposal.kept_for_later_tries()).await;
            return Err(CommitFailure::HeldBack {
                table: self.table.clone(),
                reason,
            });
        }
        let commit = self.context.catalog.commit(loaded, prepared.change);
        let clock = self.context.ambient.clock.as_ref();
        let answer = until(self.gatekeeper.sent_until(), clock, commit).await;
        // It may be on its way.
        let out_of_time = || {
            Err(CommitError::OutcomeUnknown {
                table: self.table.clone(),
                message: "it took longer than it may".to_owned(),
            })
        };
        match answer.unwrap_or_else(out_of_time) {
            Ok(now) => Ok(Tried::Committed(CommitOutcome {
                location: now.metadata_location,
                snapshot_id: prepared.snapshot_id,
                committed,
                dropped,
                unused_files,
                removed_delete_files: prepared.removed_delete_files,
                rebased,
            })),
            Err(CommitError::Conflict(_)) => Ok(Tried::Lost {
                garbage: prepared.written,
            }),
            Err(CommitError::NoSuchTable(table)) => {
                discard(storage, &prepared.written).await;
                Err(CommitFailure::TableGone(table))
            }
            Err(CommitError::Refused(error)) => {
                discard(storage, &prepared.written).await;
                discard(storage, proposal.kept_for_later_tries()).await;
                Err(CommitFailure::Catalog(error))
            }
            Err(CommitError::OutcomeUnknown { message, .. }) => {
                let found = self.find_outcome(loaded, proposal, message).await?;
                let exact = |outcome: CommitOutcome| CommitOutcome {
                    dropped,
                    unused_files,
                    rebased,
                    ..outcome
                };
                Ok(match found {
                    Some(outcome) if outcome.snapshot_id == prepared.snapshot_id => {
                        Tried::Committed(exact(outcome))
                    }
                    Some(outcome) => Tried::Committed(outcome),
                    None => Tried::Lost {
                        garbage: Vec::new(),
                    },
                })
            }
        }
    }

    /// After an unknown outcome: looks for our snapshot until it is there, or can't come any more because the table has
    /// moved away from the state that the swap was compared with. Deletes nothing in any case.
    async fn find_outcome(
        &self,
        tried_on: &LoadedTable,
        proposal: &dyn Proposal,
        message: String,
    ) -> Result<Option<CommitOutcome>, CommitFailure> {
        let ambient = &self.context.ambient;
        let retries = Retries::new(self.context, tried_on.metadata.properties());
        let mut last = message;
        for look in 0..LOOKS_AFTER_UNKNOWN_OUTCOME {
            if look > 0 {
                // Not jittered down to nothing: a request under way needs time to arrive.
                let wait = retries.backoff(look);
                ambient.clock.sleep(wait + ambient.jitter(wait)).await;
            }
            match self.context.catalog.load(self.table).await {
                Ok(now) => {
                    if let Some(outcome) = proposal.found_in(&now) {
                        return Ok(Some(self.found(outcome).await));
                    }
                    if self.context.catalog.is_overtaken(tried_on, &now) {
                        return Ok(None);
                    }
                }
                // With our snapshot or without it: who registers it again will see.
                Err(error @ CatalogError::NoSuchTable(_)) => {
                    last = error.to_string();
                    break;
                }
                Err(error) => last = error.to_string(),
            }
        }
        Err(CommitFailure::OutcomeUnknown {
            table: self.table.clone(),
            message: last,
        })
    }
}
