//! Data files that go whole, by one commit that writes manifests alone (`delete`, as `DeleteFiles` of Iceberg's Java library
//! does it), with the delete files that nothing needs then. Beside them, in the same commit (`overwrite` then), files that were
//! rewritten without some of their rows, validated as every rewrite is.
//!
//! Which files go is asked anew on each state of the table that is met, so what others committed meanwhile is judged as
//! everything else is.

use std::{collections::HashSet, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use iceberg::spec::{Operation, Summary};
use icepress_catalog::LoadedTable;
use icepress_model::{BaseState, ProcessId, TableId};

use super::{
    CommitContext, CommitFailure, CommitOutcome, DroppedGroup, FinishedGroup, Gatekeeper,
    accepted::Accepted,
    cleanup::unneeded_deletes,
    committer::{Committer, Proposal, Proposed},
    find::committed_before,
    interest::Interest,
    live::{EntryRef, LiveTable, Reader},
    produce::{Ingredients, LettingGo, take_out},
    snapshot::{Draft, Parts, Prepared},
    summary::Changes,
    validate::Validation,
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
    remove_rows(gatekeeper, context, table, process, chooser, None, more).await
}

/// Data files that were rewritten without some of their rows, on one state of a table.
#[derive(Debug)]
pub struct Rewritten {
    /// The state.
    pub base: BaseState,
    /// They, and what came of them.
    pub groups: Vec<FinishedGroup>,
}

/// The same, with `rewritten` in the place of the files that it was made of, all of it or nothing: fails with `NothingLeft` and
/// names the groups where any can't be committed on the table as it is.
pub async fn remove_rows(
    gatekeeper: &dyn Gatekeeper,
    context: &CommitContext,
    table: &TableId,
    process: &ProcessId,
    chooser: &dyn Chooser,
    rewritten: Option<&Rewritten>,
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
        rewritten,
        more,
    };
    committer.run(&mut removal).await
}

#[derive(Debug)]
struct Removal<'a> {
    context: &'a CommitContext,
    process: &'a ProcessId,
    chooser: &'a dyn Chooser,
    rewritten: Option<&'a Rewritten>,
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
        let nothing_left = |dropped| CommitFailure::NothingLeft {
            table: loaded.table.clone(),
            dropped,
            unused_files: Vec::new(),
        };
        let prepared = match self.rewritten {
            Some(rewritten) => {
                let prepared = self.rewritten(rewritten, loaded, chosen, attempt).await?;
                prepared.map_err(nothing_left)?
            }
            None if chosen.is_empty() => return Err(nothing_left(Vec::new())),
            None => self.without(loaded, chosen, attempt).await?,
        };
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
    /// Groups that can't be committed are told instead.
    async fn rewritten(
        &self,
        rewritten: &Rewritten,
        loaded: &LoadedTable,
        mut chosen: HashSet<String>,
        attempt: u32,
    ) -> Result<Result<Prepared, Vec<DroppedGroup>>, TableError> {
        let storage = &self.context.storage;
        let Rewritten { base, groups } = rewritten;
        let inputs = groups.iter().flat_map(|group| &group.group.inputs);
        let inputs: HashSet<&str> = inputs.map(|input| input.path.as_str()).collect();
        chosen.retain(|path| !inputs.contains(path.as_str()));
        let paths = inputs.iter().map(|path| (*path).to_owned());
        let paths = chosen.iter().cloned().chain(paths).collect();
        let mut reader = Reader::new(Arc::clone(storage), Interest::in_files(paths));
        let live = reader.read(loaded).await?;
        let validation = Validation {
            storage,
            loaded,
            base,
            live: &live,
        };
        let (accepted, dropped) = validation.sort(groups, &mut HashSet::new()).await?;
        if !dropped.is_empty() {
            return Ok(Err(dropped));
        }
        let whole = live
            .inputs
            .iter()
            .filter(|(path, _)| chosen.contains(*path));
        let mut whole: Vec<EntryRef> = whole.flat_map(|(_, places)| places).copied().collect();
        whole.sort_unstable();
        let replaced = accepted.iter().flat_map(Accepted::replaced);
        let gone: HashSet<EntryRef> = replaced.chain(&whole).copied().collect();
        let mut survivors = live.survivors(&gone);
        for group in &accepted {
            for output in &group.outputs {
                let number = base.starting_sequence_number.get();
                survivors.add(&output.file_path, &group.partition, number);
            }
        }
        let without: Vec<Accepted> = replaced_by_nothing(&live, &whole).into_iter().collect();
        let mut unneeded = unneeded_deletes(storage, &live, &accepted, &survivors).await;
        unneeded.extend(unneeded_deletes(storage, &live, &without, &survivors).await);
        let prepared = Ingredients {
            storage,
            ambient: &self.context.ambient,
            loaded,
            base,
            process: self.process,
            attempt,
            live: &live,
            accepted: &accepted,
            unneeded: &unneeded,
            letting_go: Some(LettingGo {
                whole: &whole,
                more: self.more,
            }),
        };
        Ok(Ok(prepared.prepare().await?))
    }

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
        let replaced: Vec<Accepted> = replaced_by_nothing(&live, &places).into_iter().collect();
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

/// What the rules for delete files ask is what is replaced, and by what: here by nothing.
fn replaced_by_nothing(live: &LiveTable, places: &[EntryRef]) -> Option<Accepted> {
    let first = places.first().map(|place| &live.entry(*place).file);
    first.map(|file| Accepted {
        index: 0,
        outputs: Vec::new(),
        partition: file.partition.clone(),
        inputs: places.to_vec(),
        light: None,
    })
}
