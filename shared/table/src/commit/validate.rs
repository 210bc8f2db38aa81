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
use icepress_model::{BaseState, DeleteContent, DeleteFile, RowId, Tier};
use icepress_storage::Storage;

use super::{
    DropCause, DroppedGroup, FinishedGroup,
    gate::Gate,
    light::{Conversion, LiveDeletes, NewDelete, conversion, live_deletes},
    live::{LiveTable, Place, Survivors},
};
use crate::{
    TableError,
    manifests::{AvroError, Entry, OutputFile, PartitionKey, Version, partition_of},
};

/// How many requests for sizes, or reads of delete files, are under way at a time.
const CONCURRENT_CHECKS: usize = 16;

/// The format version from which on rows have ids, and numbers of their last changes.
const LINEAGE_VERSION: u8 = 3;

/// A group that may be committed.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) index: u32,
    pub(super) outputs: Vec<OutputFile>,
    /// The entries to be replaced.
    pub(super) inputs: Vec<Place>,
    pub(super) partition: PartitionKey,
    /// The partition tuple as the first input's manifest has it.
    pub(super) partition_bytes: Vec<u8>,
    /// What a light group does: its inputs stay.
    pub(super) light: Option<Conversion>,
}

impl Accepted {
    /// The data entries that go.
    pub(super) fn replaced(&self) -> &[Place] {
        match self.light {
            None => &self.inputs,
            Some(_) => &[],
        }
    }

    /// New delete files.
    pub(super) fn new_deletes(&self) -> &[NewDelete] {
        self.light.as_ref().map_or(&[], |light| &light.deletes)
    }

    /// All new files.
    pub(super) fn new_files(&self) -> impl Iterator<Item = &OutputFile> {
        let deletes = self.new_deletes().iter().map(|delete| &delete.file);
        self.outputs.iter().chain(deletes)
    }
}

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

/// Why a group may not be committed.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    cause: DropCause,
    reason: String,
}

impl Refusal {
    pub(super) fn gate(reason: String) -> Self {
        Self {
            cause: DropCause::Gate,
            reason,
        }
    }

    fn of(self, finished: &FinishedGroup) -> DroppedGroup {
        let files = finished.result.file_paths().len();
        let evidence = match self.cause {
            DropCause::Gate if files > 0 => {
                format!(
                    "; its {files} new files are kept: {}",
                    sample(&finished.result.file_paths())
                )
            }
            _ => String::new(),
        };
        DroppedGroup {
            index: finished.index,
            cause: self.cause,
            reason: format!("{}: {}{evidence}", finished.name(), self.reason),
        }
    }
}

/// The first of many paths.
fn sample(paths: &[String]) -> String {
    const SHOWN: usize = 3;
    let more = if paths.len() > SHOWN { ", …" } else { "" };
    format!("{}{more}", paths[..paths.len().min(SHOWN)].join(", "))
}

/// Another writer's doing, unless it is said otherwise.
impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self {
            cause: DropCause::Conflict,
            reason,
        }
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        reason.to_owned().into()
    }
}

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
        (before, live_deletes): (&Survivors, &LiveDeletes<'_>),
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
        let header = &self.live.manifest(first.manifest).header;
        let partition_bytes = partition_of(header, &entry.file.raw)
            .map_err(|AvroError(message)| message)?
            .to_vec();
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
            partition_bytes,
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
        let left: HashSet<Place> = named
            .filter_map(|delete| live_deletes.get(&identity(delete)).copied().flatten())
            .collect();
        let Some(first) = left.iter().min().copied() else {
            return Err("another writer removed its delete files".into());
        };
        let file = &self.live.entry(first).file;
        let header = &self.live.manifest(first.manifest).header;
        Ok(Accepted {
            index: finished.index,
            outputs: Vec::new(),
            inputs: Vec::new(),
            partition: file.partition.clone(),
            partition_bytes: partition_of(header, &file.raw)
                .map_err(|AvroError(message)| message)?
                .to_vec(),
            light: Some(Conversion {
                told: vec![left],
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
        before: &Survivors,
        taken: &Taken,
    ) -> Result<Vec<Place>, String> {
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

/// Whether equality deletes of this spec apply to every partition (specification, *Scan Planning*).
pub(super) fn is_global(metadata: &TableMetadata, spec_id: i32) -> bool {
    metadata
        .partition_spec_by_id(spec_id)
        .is_some_and(|spec| spec.is_unpartitioned())
}

/// The delete files that were applied to a group: path, and offset for vectors.
fn applied(finished: &FinishedGroup) -> impl Iterator<Item = (&str, Option<i64>)> {
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

/// What tells a delete file from others: path, and offset for vectors.
pub(super) fn identity(delete: &DeleteFile) -> (&str, Option<i64>) {
    let offset = match delete.content {
        DeleteContent::Vector { offset, .. } => i64::try_from(offset).ok(),
        _ => None,
    };
    (&delete.path, offset)
}

/// Paths that groups accepted so far remove and add.
#[derive(Debug, Default)]
pub(super) struct Taken {
    inputs: HashSet<String>,
    pub(super) outputs: HashSet<String>,
}
