//! Which groups may be committed on the table as it is now: the rules of protocols.md, section 4.
//!
//! A group that fails costs nothing but itself. Every reason is one line for people.

mod late;
mod outputs;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use iceberg::spec::TableMetadata;
use icepress_catalog::LoadedTable;
use icepress_model::{BaseState, RowId, Tier};
use icepress_storage::Storage;

use super::{
    DroppedGroup, FinishedGroup,
    accepted::{Accepted, Conversion, Refusal, Taken, identity},
    gate::Gate,
    light::{LiveDeletes, conversion, live_deletes},
    live::{EntryRef, LiveTable, Survivors},
};
use crate::{
    TableError,
    delete_index::DataFiles as _,
    manifests::{Entry, Version},
};

/// How many requests for sizes, or reads of delete files, are under way at a time.
const CONCURRENT_CHECKS: usize = 16;

/// The format version from which on rows have ids, and numbers of their last changes.
const LINEAGE_VERSION: u8 = 3;

/// How the plan's base relates to the table as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BaseFate {
    /// It is the current snapshot or an ancestor: everything since was added on top.
    Ancestor,
    /// It was expired, so history does not tell.
    Expired,
    /// It is there, but no ancestor any more: somebody went back behind it.
    RolledBack,
}

fn fate_of_base(metadata: &TableMetadata, base: &BaseState) -> BaseFate {
    let mut next = metadata.current_snapshot_id();
    // A damaged chain could be a ring.
    let mut visited = HashSet::new();
    while let Some(id) = next {
        if id == base.snapshot_id.get() {
            return BaseFate::Ancestor;
        }
        match metadata.snapshot_by_id(id) {
            Some(snapshot) if visited.insert(id) => next = snapshot.parent_snapshot_id(),
            _ => return BaseFate::Expired,
        }
    }
    BaseFate::RolledBack
}

/// What one try works on.
#[derive(Debug)]
pub(super) struct Validation<'a> {
    pub(super) storage: &'a Arc<dyn Storage>,
    pub(super) loaded: &'a LoadedTable,
    pub(super) base: &'a BaseState,
    pub(super) live: &'a LiveTable,
}

/// Groups that may be committed, and those that may not.
pub(super) type Sorted = (Vec<Accepted>, Vec<DroppedGroup>);

impl Validation<'_> {
    /// Sorts the groups. `checked` remembers outputs that were found in storage, from one attempt to the next.
    ///
    /// Fails only where the table or storage can't be read, not where a group is wrong.
    pub(super) async fn sort(
        &self,
        groups: &[FinishedGroup],
        checked: &mut HashSet<String>,
    ) -> Result<Sorted, TableError> {
        let fate = fate_of_base(&self.loaded.metadata, self.base);
        let gate = Gate::new(self.loaded, self.base, self.live);
        let before = self.live.survivors(&HashSet::new());
        let all_full = groups.iter().all(|group| group.group.tier == Tier::Full);
        let deletes = if !all_full {
            live_deletes(self.live)
        } else {
            LiveDeletes::default()
        };
        let mut taken = Taken::default();
        let mut accepted = Vec::new();
        let mut dropped = Vec::new();
        for group in groups {
            match self.check(group, fate, &gate, (&before, &deletes), &mut taken) {
                Ok(group) => accepted.push(group),
                Err(refusal) => dropped.push(refusal.of(group)),
            }
        }
        let by_index: HashMap<u32, &FinishedGroup> =
            groups.iter().map(|group| (group.index, group)).collect();
        let wrong = self.wrong_outputs(&by_index, &accepted, checked).await?;
        let late = self.late_deletes(&by_index, &accepted).await;
        let mut kept = Vec::with_capacity(accepted.len());
        for group in accepted {
            let late = late.get(&group.index).cloned().map(Refusal::from);
            let wrong = wrong.get(&group.index).cloned().map(Refusal::gate);
            match late.or(wrong) {
                Some(refusal) => dropped.push(refusal.of(by_index[&group.index])),
                None => kept.push(group),
            }
        }
        dropped.sort_by_key(|group| group.index);
        Ok((kept, dropped))
    }

    /// All that can be said of one group without asking storage.
    fn check(
        &self,
        finished: &FinishedGroup,
        fate: BaseFate,
        gate: &Result<Gate<'_>, String>,
        (before, live_deletes): (&Survivors<'_>, &LiveDeletes<'_>),
        taken: &mut Taken,
    ) -> Result<Accepted, Refusal> {
        let group = &finished.group;
        if group.tier == Tier::Dangling {
            return self.dangling(finished, live_deletes);
        }
        if fate == BaseFate::RolledBack {
            return Err("the table was rolled back or replaced: it does not build on the planned snapshot any more".into());
        }
        if fate == BaseFate::Expired && !self.deletes_are_live(finished) {
            return Err(format!(
                "snapshot {} that was planned on has expired, and a delete file that was applied is gone: \
                 what became of it can't be told",
                self.base.snapshot_id
            )
            .into());
        }
        let metadata = &self.loaded.metadata;
        if group.tier == Tier::Full
            && Version::of(metadata) >= Version::V3
            && self.base.format_version < LINEAGE_VERSION
        {
            return Err("the table was upgraded to format version 3 after the plan: when its rows last changed was not \
                        written down"
                .into());
        }
        if metadata.partition_spec_by_id(group.spec_id.get()).is_none() {
            return Err(
                format!("the table has no partition spec {} any more", group.spec_id).into(),
            );
        }
        let gate = gate.as_ref().map_err(Clone::clone)?;
        let inputs = self.inputs(finished, before, taken)?;
        let Some(first) = inputs.first().copied() else {
            return Err("it has no inputs".into());
        };
        let entry = self.live.entry(first);
        let partition = entry.file.partition.clone();
        for place in &inputs {
            if self.live.entry(*place).file.partition != partition {
                return Err("its inputs lie in several partitions".into());
            }
        }
        let (outputs, light) = if group.tier == Tier::Light {
            let (loaded, live) = (self.loaded, self.live);
            let light = conversion(loaded, live, live_deletes, finished, &inputs, taken)?;
            gate.check_partition(finished, light.deletes.iter().map(|delete| &delete.file))
                .map_err(Refusal::gate)?;
            (Vec::new(), Some(light))
        } else {
            let outputs = outputs::described(finished, before, taken).map_err(Refusal::gate)?;
            gate.check(finished, &inputs, &outputs)
                .map_err(Refusal::gate)?;
            (outputs, None)
        };
        taken
            .inputs
            .extend(group.inputs.iter().map(|input| input.path.clone()));
        let accepted = Accepted {
            index: finished.index,
            outputs,
            inputs,
            partition,
            light,
        };
        taken
            .outputs
            .extend(accepted.new_files().map(|output| output.file_path.clone()));
        Ok(accepted)
    }

    /// A group of delete files that nothing needs: one of them at least must be in the table still. Whether they may go is
    /// found out for all delete files alike, on the table as it is now, so that the plan's base means nothing here.
    fn dangling(
        &self,
        finished: &FinishedGroup,
        live_deletes: &LiveDeletes<'_>,
    ) -> Result<Accepted, Refusal> {
        let named = finished.group.deletes.iter();
        let left: HashSet<EntryRef> = named
            .filter_map(|delete| live_deletes.get(&identity(delete)).copied().flatten())
            .collect();
        let Some(first) = left.iter().min().copied() else {
            return Err("another writer removed its delete files".into());
        };
        let file = &self.live.entry(first).file;
        Ok(Accepted {
            index: finished.index,
            outputs: Vec::new(),
            inputs: Vec::new(),
            partition: file.partition.clone(),
            light: Some(Conversion {
                rewritten: vec![left],
                ..Conversion::default()
            }),
        })
    }

    fn deletes_are_live(&self, finished: &FinishedGroup) -> bool {
        let live: HashSet<_> = self
            .live
            .deletes
            .iter()
            .map(|place| self.live.entry(*place).file.identity())
            .collect();
        applied(finished).all(|identity| live.contains(&identity))
    }

    /// The live entries of a group's inputs: each where the plan saw it, unchanged.
    fn inputs(
        &self,
        finished: &FinishedGroup,
        before: &Survivors<'_>,
        taken: &Taken,
    ) -> Result<Vec<EntryRef>, String> {
        let group = &finished.group;
        let mut places = Vec::with_capacity(group.inputs.len());
        let mut own = HashSet::new();
        for input in &group.inputs {
            let path = &input.path;
            if !own.insert(path) || taken.inputs.contains(path) {
                return Err(format!("{path} is to be replaced twice"));
            }
            let place = match self.live.inputs.get(path).map(Vec::as_slice) {
                Some([place]) => *place,
                Some(_) => return Err(format!("the table lists {path} more than once")),
                None => {
                    let outputs = &finished.result.data_files;
                    let is_in = outputs.iter().any(|file| {
                        let path = file.get("file_path").and_then(serde_json::Value::as_str);
                        path.is_some_and(|path| before.has_path(path))
                    });
                    return Err(if is_in {
                        format!("{path} is replaced already, by this group")
                    } else {
                        format!("{path} is not in the table any more: another writer removed it")
                    });
                }
            };
            let Entry {
                sequence_number,
                file,
                ..
            } = self.live.entry(place);
            if file.partition.spec_id != group.spec_id.get() {
                return Err(format!("{path} has another partition spec than planned"));
            }
            let seen = (*sequence_number, file.rows, file.size);
            if seen
                != (
                    input.sequence_number.get(),
                    input.rows.get(),
                    input.size.get(),
                )
            {
                return Err(format!(
                    "{path} is another file now than the one that was read"
                ));
            }
            // What was written keeps the ids that the rows had when they were read. The first commit after an upgrade
            // to format version 3 gives ids to rows that had none. A light group touches no row.
            if group.tier == Tier::Full && file.first_row_id != input.first_row_id.map(RowId::get) {
                return Err(format!(
                    "the rows of {path} have other ids now than when they were read"
                ));
            }
            places.push(place);
        }
        Ok(places)
    }
}

/// The delete files that were applied to a group: path, and offset for vectors.
fn applied(finished: &FinishedGroup) -> impl Iterator<Item = (&str, Option<u64>)> {
    let used: BTreeSet<u32> = finished
        .group
        .inputs
        .iter()
        .flat_map(|input| input.deletes.iter().copied())
        .collect();
    let deletes = finished.group.deletes.iter().zip(0u32..);
    deletes
        .filter(move |(_, index)| used.contains(index))
        .map(|(delete, _)| identity(delete))
}
