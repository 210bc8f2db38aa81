//! Data files that go whole, by one commit that writes manifests alone (`delete`, as `DeleteFiles` of Iceberg's Java library
//! does it), with the delete files that nothing needs then.
//!
//! Which files go is asked anew on each state of the table that is met, so what others committed meanwhile is judged as
//! everything else is.

use std::{collections::HashSet, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use iceberg::spec::{Operation, Summary};
use icepress_catalog::LoadedTable;
use icepress_model::{ProcessId, TableId};

use super::{
    CommitContext, CommitFailure, CommitOutcome, Gatekeeper,
    accepted::Accepted,
    cleanup::unneeded_deletes,
    committer::{Committer, Proposal, Proposed},
    find::committed_before,
    interest::Interest,
    live::{EntryRef, Reader},
    produce::take_out,
    snapshot::{Draft, Parts, Prepared},
    summary::Changes,
};
use crate::{TableError, manifests::Specs};

/// Whoever decides which data files go.
#[async_trait]
pub trait Chooser: Send + Sync + Debug {
    /// The paths of the data files of the current snapshot that are to go; none for that nothing is.
    async fn choose(&self, loaded: &LoadedTable) -> Result<HashSet<String>, TableError>;
}

/// Commits a snapshot without the data files that `chooser` names. Fails with `NothingLeft` where it names none. `more` are
/// properties for the snapshot's summary.
///
/// Safe to call again for the same process: what it committed is found and returned.
pub async fn remove_data_files(
    gatekeeper: &dyn Gatekeeper,
    context: &CommitContext,
    table: &TableId,
    process: &ProcessId,
    chooser: &dyn Chooser,
    more: &[(&str, String)],
) -> Result<CommitOutcome, CommitFailure> {
    let committer = Committer {
        context,
        gatekeeper,
        table,
    };
    let mut removal = Removal {
        context,
        process,
        chooser,
        more,
    };
    committer.run(&mut removal).await
}

#[derive(Debug)]
struct Removal<'a> {
    context: &'a CommitContext,
    process: &'a ProcessId,
    chooser: &'a dyn Chooser,
    more: &'a [(&'a str, String)],
}

#[async_trait]
impl Proposal for Removal<'_> {
    fn found_in(&self, loaded: &LoadedTable) -> Option<CommitOutcome> {
        committed_before(loaded, self.process, &[])
    }

    async fn prepare(
        &mut self,
        loaded: &LoadedTable,
        attempt: u32,
    ) -> Result<Proposed, CommitFailure> {
        let chosen = self.chooser.choose(loaded).await?;
        if chosen.is_empty() {
            return Err(CommitFailure::NothingLeft {
                table: loaded.table.clone(),
                dropped: Vec::new(),
                unused_files: Vec::new(),
            });
        }
        let prepared = self.without(loaded, chosen, attempt).await?;
        Ok(Proposed {
            prepared,
            committed: Vec::new(),
            dropped: Vec::new(),
            unused_files: Vec::new(),
            rebased: false,
        })
    }
}

impl Removal<'_> {
    async fn without(
        &self,
        loaded: &LoadedTable,
        chosen: HashSet<String>,
        attempt: u32,
    ) -> Result<Prepared, TableError> {
        let storage = &self.context.storage;
        let metadata = &loaded.metadata;
        let mut reader = Reader::new(Arc::clone(storage), Interest::in_files(chosen));
        let live = reader.read(loaded).await?;
        // A file that is listed twice goes twice.
        let mut places: Vec<EntryRef> = live.inputs.values().flatten().copied().collect();
        places.sort_unstable();
        let gone: HashSet<EntryRef> = places.iter().copied().collect();
        // What the rules for delete files ask is what is replaced, and by what: here by nothing.
        let first = places.first().map(|place| &live.entry(*place).file);
        let replaced: Vec<Accepted> = first
            .map(|file| Accepted {
                index: 0,
                outputs: Vec::new(),
                partition: file.partition.clone(),
                inputs: places.clone(),
                light: None,
            })
            .into_iter()
            .collect();
        let survivors = live.survivors(&gone);
        let unneeded = unneeded_deletes(storage, &live, &replaced, &survivors).await;
        let draft = Draft {
            storage,
            ambient: &self.context.ambient,
            loaded,
            attempt,
        };
        let specs = Specs::of(metadata, live.manifests.iter().map(|live| &live.file))
            .map_err(|error| draft.unwritable(error))?;
        let mut parts = Parts::new(&draft, &specs);
        let taken_out = places.iter().chain(&unneeded);
        let untouched = take_out(&mut parts, &draft, &specs, &live, taken_out)?;
        let mut changes = Changes::default();
        for place in places.iter().chain(&unneeded) {
            changes.remove(&live.entry(*place).file);
        }
        let parent = metadata.current_snapshot();
        let before = parent.map(|parent| &parent.summary().additional_properties);
        let mut properties = changes.properties(live.totals(), before, self.process, &[]);
        let more = self.more.iter();
        properties.extend(more.map(|(key, value)| ((*key).to_owned(), value.clone())));
        let summary = Summary {
            operation: Operation::Delete,
            additional_properties: properties,
        };
        let untouched = untouched.into_iter().cloned().collect();
        let parts = parts.into_parts();
        Ok(Prepared {
            removed_delete_files: changes.removed_delete_files(),
            ..draft.prepare(&parts, untouched, summary).await?
        })
    }
}
