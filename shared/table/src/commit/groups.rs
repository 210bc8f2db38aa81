//! Rewritten groups as what is to be committed: those that pass validation on the table as it is, with the delete files
//! that nothing needs any more.

use std::{collections::HashSet, sync::Arc};

use async_trait::async_trait;
use icepress_catalog::LoadedTable;
use icepress_model::{BaseState, ProcessId, TableId, Tier};

use super::{
    CommitContext, CommitFailure, CommitOutcome, DropCause, DroppedGroup, FinishedGroup,
    accepted::Accepted,
    cleanup::unneeded_deletes,
    committer::{Proposal, Proposed},
    find::committed_before,
    interest::Interest,
    live::{EntryRef, LiveTable, Reader},
    produce::Ingredients,
    unused::unused_outputs,
    validate::Validation,
};

/// The groups of one process.
#[derive(Debug)]
pub(super) struct Groups<'a> {
    context: &'a CommitContext,
    table: &'a TableId,
    process: &'a ProcessId,
    base: &'a BaseState,
    groups: &'a [FinishedGroup],
    reader: Reader,
    /// Outputs that storage was asked about already.
    checked: HashSet<String>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(
        context: &'a CommitContext,
        table: &'a TableId,
        process: &'a ProcessId,
        base: &'a BaseState,
        groups: &'a [FinishedGroup],
    ) -> Self {
        Self {
            context,
            table,
            process,
            base,
            groups,
            reader: Reader::new(Arc::clone(&context.storage), Interest::of(groups, base)),
            checked: HashSet::new(),
        }
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
}

#[async_trait]
impl Proposal for Groups<'_> {
    fn found_in(&self, loaded: &LoadedTable) -> Option<CommitOutcome> {
        committed_before(loaded, self.process, self.groups)
    }

    async fn prepare(
        &mut self,
        loaded: &LoadedTable,
        attempt: u32,
    ) -> Result<Proposed, CommitFailure> {
        let storage = &self.context.storage;
        let live = self.reader.read(loaded).await?;
        let validation = Validation {
            storage,
            loaded,
            base: self.base,
            live: &live,
        };
        let (mut accepted, mut dropped) = validation.sort(self.groups, &mut self.checked).await?;
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
            letting_go: None,
        }
        .prepare()
        .await?;
        Ok(Proposed {
            prepared,
            committed: accepted.iter().map(|group| group.index).collect(),
            dropped,
            unused_files,
            rebased: loaded.metadata_location != self.base.metadata_location,
        })
    }
}
