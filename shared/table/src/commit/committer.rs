//! The loop around a commit: load, look, validate, write, swap; and what to do when the swap does not go through.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use icepress_catalog::{CatalogError, CommitError, LoadedTable};
use icepress_model::{BaseState, ProcessId, TableId, Tier};

use super::{
    CommitContext, CommitFailure, CommitOutcome, DropCause, DroppedGroup, FinishedGroup,
    Gatekeeper,
    accepted::Accepted,
    cleanup::unneeded_deletes,
    find::committed_before,
    gatekeeper::until,
    live::{EntryRef, LiveTable, Reader},
    produce::{Ingredients, Prepared, discard},
    unused::unused_outputs,
    validate::Validation,
};

/// The longest wait between two tries where the table does not say. Iceberg's own default is a minute; but against a writer
/// that commits each second waiting longer wins no more races, and each lost one is cheap.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How often the table is looked at after an unknown outcome before we say so.
const LOOKS_AFTER_UNKNOWN_OUTCOME: u32 = 5;

/// How hard to try, with the table's own wishes (`commit.retry.*`) in it.
#[derive(Debug, Clone, Copy)]
struct Retries {
    attempts: u32,
    first_backoff: Duration,
    longest_backoff: Duration,
    total: Duration,
}

impl Retries {
    fn new(context: &CommitContext, properties: &HashMap<String, String>) -> Self {
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
    fn backoff(&self, attempt: u32) -> Duration {
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

/// What a try does not commit.
struct LeftOut {
    dropped: Vec<DroppedGroup>,
    unused_files: Vec<String>,
}

/// One call of [`super::commit_groups`].
#[derive(Debug)]
pub(super) struct Committer<'a> {
    pub(super) context: &'a CommitContext,
    pub(super) gatekeeper: &'a dyn Gatekeeper,
    pub(super) table: &'a TableId,
    pub(super) process: &'a ProcessId,
    pub(super) base: &'a BaseState,
    pub(super) groups: &'a [FinishedGroup],
}

impl Committer<'_> {
    pub(super) async fn run(&self) -> Result<CommitOutcome, CommitFailure> {
        let ambient = &self.context.ambient;
        let inputs = self.groups.iter().flat_map(|group| &group.group.inputs);
        let inputs: HashSet<String> = inputs.map(|input| input.path.clone()).collect();
        let storage = Arc::clone(&self.context.storage);
        let mut reader = Reader::new(storage, inputs);
        let mut checked = HashSet::new();
        let began = ambient.clock.monotonic();
        let mut attempt = 0;
        let mut garbage = Vec::new();
        loop {
            let loaded = self.load().await?;
            if let Some(outcome) = committed_before(&loaded, self.process, self.groups) {
                return Ok(outcome);
            }
            // Only now: a catalog that sent the swap twice could have lost the race against itself.
            discard(self.context.storage.as_ref(), &garbage).await;
            let retries = Retries::new(self.context, loaded.metadata.properties());
            let elapsed = ambient.clock.monotonic().saturating_sub(began);
            if attempt >= retries.attempts || (attempt > 0 && elapsed >= retries.total) {
                return Err(CommitFailure::RaceLost {
                    table: self.table.clone(),
                    attempts: attempt,
                });
            }
            let tried = self.attempt(&loaded, attempt, &mut reader, &mut checked);
            match tried.await? {
                Tried::Committed(outcome) => return Ok(outcome),
                Tried::Lost { garbage: more } => garbage = more,
            }
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

    async fn attempt(
        &self,
        loaded: &LoadedTable,
        attempt: u32,
        reader: &mut Reader,
        checked: &mut HashSet<String>,
    ) -> Result<Tried, CommitFailure> {
        let storage = &self.context.storage;
        let live = reader.read(loaded).await?;
        let validation = Validation {
            storage,
            loaded,
            base: self.base,
            live: &live,
        };
        let (mut accepted, mut dropped) = validation.sort(self.groups, checked).await?;
        let unneeded = self
            .unneeded(loaded, &live, &mut accepted, &mut dropped)
            .await;
        let kept: HashSet<&str> = accepted
            .iter()
            .flat_map(Accepted::new_files)
            .map(|output| output.file_path.as_str())
            .collect();
        // What the last gate refused is evidence, and stays.
        let lost: HashSet<u32> = dropped
            .iter()
            .filter(|group| group.cause == DropCause::Conflict)
            .map(|group| group.index)
            .collect();
        let others = self
            .groups
            .iter()
            .filter(|group| lost.contains(&group.index));
        let unused_files = unused_outputs(loaded, self.base, &live, others, &kept);
        if accepted.is_empty() {
            return Err(CommitFailure::NothingLeft {
                table: self.table.clone(),
                dropped,
                unused_files,
            });
        }
        let prepared = Ingredients {
            storage,
            ambient: &self.context.ambient,
            loaded,
            base: self.base,
            process: self.process,
            attempt,
            live: &live,
            accepted: &accepted,
            unneeded: &unneeded,
        }
        .prepare()
        .await?;
        let committed = accepted.iter().map(|group| group.index).collect();
        let left_out = LeftOut {
            dropped,
            unused_files,
        };
        self.swap(loaded, prepared, committed, left_out).await
    }

    /// The delete entries that nothing needs once `accepted` is committed.
    ///
    /// A light group for which no delete file can go, or one of dangling delete files of which none can, is taken out and named in `dropped`: it would only add files, and the
    /// next plan would find the same work again.
    async fn unneeded(
        &self,
        loaded: &LoadedTable,
        live: &LiveTable,
        accepted: &mut Vec<Accepted>,
        dropped: &mut Vec<DroppedGroup>,
    ) -> HashSet<EntryRef> {
        loop {
            // The inputs of light groups stay, but the deletes that were rewritten for them they need no more: they are looked at
            // apart.
            let gone: HashSet<EntryRef> = accepted
                .iter()
                .flat_map(|group| group.inputs.iter().copied())
                .collect();
            let mut survivors = live.survivors(&gone);
            for group in accepted.iter() {
                for output in &group.outputs {
                    let number = self.base.starting_sequence_number.get();
                    survivors.add(&output.file_path, &group.partition, number);
                }
            }
            let storage = &self.context.storage;
            let unneeded = unneeded_deletes(storage, live, accepted, &survivors).await;
            let is_idle = |group: &Accepted| {
                let rewritten = group.light.iter().flat_map(|light| &light.rewritten);
                group.light.is_some() && !rewritten.flatten().any(|place| unneeded.contains(place))
            };
            let idle: HashSet<u32> = accepted
                .iter()
                .filter(|group| is_idle(group))
                .map(|group| group.index)
                .collect();
            if idle.is_empty() {
                return unneeded;
            }
            let groups = self.groups.iter();
            dropped.extend(
                groups
                    .filter(|group| idle.contains(&group.index))
                    .map(|group| {
                        let reason = "other data files need each of its delete files still";
                        // On the table that was planned on the same plan would come to the same end.
                        let has_moved = loaded.metadata_location != self.base.metadata_location;
                        let is_wrong = group.group.tier == Tier::Dangling && !has_moved;
                        DroppedGroup {
                            index: group.index,
                            cause: if is_wrong {
                                DropCause::Gate
                            } else {
                                DropCause::Conflict
                            },
                            reason: format!("{}: {reason}", group.name()),
                        }
                    }),
            );
            dropped.sort_by_key(|group| group.index);
            accepted.retain(|group| !idle.contains(&group.index));
        }
    }

    async fn swap(
        &self,
        loaded: &LoadedTable,
        prepared: Prepared,
        committed: Vec<u32>,
        left_out: LeftOut,
    ) -> Result<Tried, CommitFailure> {
        let storage = self.context.storage.as_ref();
        if let Some(reason) = self.gatekeeper.objection().await {
            discard(storage, &prepared.written).await;
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
                dropped: left_out.dropped,
                unused_files: left_out.unused_files,
                removed_delete_files: prepared.removed_delete_files,
                rebased: loaded.metadata_location != self.base.metadata_location,
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
                Err(CommitFailure::Catalog(error))
            }
            Err(CommitError::OutcomeUnknown { message, .. }) => {
                let found = self.find_outcome(loaded, message).await?;
                let exact = |outcome: CommitOutcome| CommitOutcome {
                    dropped: left_out.dropped,
                    unused_files: left_out.unused_files,
                    rebased: loaded.metadata_location != self.base.metadata_location,
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
                    if let Some(outcome) = committed_before(&now, self.process, self.groups) {
                        return Ok(Some(outcome));
                    }
                    if self.context.catalog.is_overtaken(tried_on, &now) {
                        return Ok(None);
                    }
                }
                Err(CatalogError::NoSuchTable(table)) => {
                    return Err(CommitFailure::TableGone(table));
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
