//! Rows that were deleted after the plan, in a way that a commit would bring back.

use std::collections::{HashMap, HashSet};

use futures::{FutureExt as _, StreamExt as _, stream};
use iceberg::spec::Operation;

use super::{CONCURRENT_CHECKS, Validation};
use crate::{
    TableError,
    commit::{FinishedGroup, accepted::Accepted, live::EntryRef, named_paths::named_paths},
    manifests::{
        Content, Entry, FileContent, RemovedEntry, TrackedFile, Version, manifests_of, removed_from,
    },
};

impl Validation<'_> {
    /// Groups on whose inputs rows were deleted after the plan, in a way that the outputs would bring back.
    ///
    /// Equality deletes that came later apply to the outputs just as they did to the inputs, since these are committed
    /// at the starting sequence number; position deletes and vectors name files that will be gone.
    pub(super) async fn late_deletes(
        &self,
        by_index: &HashMap<u32, &FinishedGroup>,
        accepted: &[Accepted],
    ) -> HashMap<u32, String> {
        let start = self.base.starting_sequence_number.get();
        // Where vectors are, there is one a data file, and position deletes beside it mean nothing: whatever came
        // later would be lost under the new vector. Otherwise several position delete files add up.
        let has_vectors = Version::of(&self.loaded.metadata) >= Version::V3;
        let conflicts = |group: &Accepted, delete: &TrackedFile| {
            group.light.is_none() || has_vectors || delete.is_vector()
        };
        let mut hit: HashMap<u32, String> = HashMap::new();
        let mut undecided = Vec::new();
        let later = self.live.deletes.iter();
        let later: Vec<EntryRef> = later
            .copied()
            .filter(|place| self.came_later(*place, start))
            .collect();
        let is_restatement = |place: &EntryRef| self.is_restatement(self.live.entry(*place), start);
        let can_restate =
            later.iter().any(is_restatement) && self.removed_only_planned(start).await;
        for place in &later {
            let delete = self.live.entry(*place);
            if can_restate && is_restatement(place) {
                continue;
            }
            let file = &delete.file;
            if file.content == FileContent::EqualityDeletes {
                if delete.sequence_number <= start {
                    // The data files of a light group keep their own numbers, so it applies to them as before.
                    let replacing = accepted.iter().filter(|group| group.light.is_none());
                    for group in replacing.filter(|group| self.hits(group, delete).is_some()) {
                        hit.entry(group.index).or_insert_with(|| backdated(file));
                    }
                }
                continue;
            }
            let hit_groups = accepted
                .iter()
                .filter(|group| conflicts(group, file))
                .filter_map(|group| Some((group, self.hits(group, delete)?)));
            if file.is_unsure() {
                let candidates: Vec<&Accepted> = hit_groups.map(|(group, _)| group).collect();
                if !candidates.is_empty() {
                    undecided.push((file, candidates));
                }
            } else {
                for (group, input) in hit_groups {
                    hit.entry(group.index)
                        .or_insert_with(|| late(file, &input.file.path));
                }
            }
        }
        // Boxed one by one: else the compiler can't tell that the whole may move between threads.
        let mut requests = Vec::with_capacity(undecided.len());
        for (file, candidates) in undecided {
            let read = named_paths(self.storage.as_ref(), file);
            requests.push(read.map(move |paths| (file, candidates, paths)).boxed());
        }
        let mut reads = stream::iter(requests).buffered(CONCURRENT_CHECKS);
        while let Some((file, candidates, paths)) = reads.next().await {
            for group in candidates {
                let mut inputs = by_index[&group.index].group.inputs.iter();
                match &paths {
                    Ok(paths) => {
                        if let Some(input) = inputs.find(|input| paths.contains(&input.path)) {
                            hit.entry(group.index)
                                .or_insert_with(|| late(file, &input.path));
                        }
                    }
                    Err(error) => {
                        hit.entry(group.index).or_insert_with(|| {
                            format!(
                                "{} came after the plan and may delete rows of its inputs; it can't be read: {error}",
                                file.path
                            )
                        });
                    }
                }
            }
        }
        hit
    }

    /// Whether a delete file came after the plan. Data sequence numbers can be set by hand, as a merge of delete files does:
    /// the file's own number says when it came. Where its entry has none (it is not new, and of an old writer) its
    /// manifest's number or its snapshot's tells; if nothing does, it may have.
    fn came_later(&self, place: EntryRef, start: i64) -> bool {
        let delete = self.live.entry(place);
        let came_at = || {
            let manifest = self.live.manifests[place.manifest].file.sequence_number;
            if manifest <= start {
                return Some(manifest);
            }
            let added_by = self.loaded.metadata.snapshot_by_id(delete.snapshot_id)?;
            Some(added_by.sequence_number())
        };
        let came_at = delete.file_sequence_number.or_else(came_at);
        delete.sequence_number > start || came_at.is_none_or(|number| number > start)
    }

    /// Whether a delete file that came after the plan may say again what others said before: it carries a number from
    /// before, and the snapshot that added it is one that changes no row, as a merge of delete files is. Java looks at the
    /// number alone; a writer that adds real deletes under an old one stays a conflict.
    fn is_restatement(&self, delete: &Entry, start: i64) -> bool {
        let added_by = self.loaded.metadata.snapshot_by_id(delete.snapshot_id);
        delete.sequence_number <= start
            && added_by.is_some_and(|snapshot| snapshot.summary().operation == Operation::Replace)
    }

    /// Whether all delete files that were removed since the plan were there when it was made, so that what says again what
    /// they said says nothing new.
    ///
    /// Else an equality delete that came after the plan, and would apply to the outputs, may have become position deletes
    /// of the inputs at a number from before, as in a light rewrite of ours: the rows would come back with the outputs. It
    /// is the removed files that tell. A replacement that removes none says nothing again.
    async fn removed_only_planned(&self, start: i64) -> bool {
        match self.removed_since().await {
            Ok(Some(removed)) => removed.iter().all(|removed| {
                let came_at = removed.file_sequence_number;
                came_at.is_some_and(|number| number <= start)
            }),
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(%error, "what was removed since the plan can't be told");
                false
            }
        }
    }

    /// The delete files that were removed since the base; `None` where history does not reach back to it.
    async fn removed_since(&self) -> Result<Option<Vec<RemovedEntry>>, TableError> {
        let metadata = &self.loaded.metadata;
        let (storage, table) = (self.storage.as_ref(), &self.loaded.table);
        let mut removed = Vec::new();
        let mut visited = HashSet::new();
        let mut next = metadata.current_snapshot_id();
        while next != Some(self.base.snapshot_id.get()) {
            let snapshot = next
                .filter(|id| visited.insert(*id))
                .and_then(|id| metadata.snapshot_by_id(id));
            let Some(snapshot) = snapshot else {
                return Ok(None);
            };
            // An append adds data files, and does nothing else (specification, *Snapshots*).
            if snapshot.summary().operation != Operation::Append {
                for manifest in manifests_of(storage, table, metadata, snapshot).await? {
                    if manifest.content == Content::Deletes
                        && manifest.added_snapshot_id == snapshot.snapshot_id()
                        && manifest.deleted.files != Some(0)
                    {
                        removed.extend(removed_from(storage, table, &manifest).await?);
                    }
                }
            }
            next = snapshot.parent_snapshot_id();
        }
        Ok(Some(removed))
    }

    /// An input of the group that a delete file may apply to.
    fn hits(&self, group: &Accepted, delete: &Entry) -> Option<&Entry> {
        let mut inputs = group.inputs.iter().map(|place| self.live.entry(*place));
        inputs.find(|input| delete.may_apply_to(input))
    }
}

fn late(file: &TrackedFile, path: &str) -> String {
    format!(
        "{} deletes rows of {path} and came after the plan",
        file.path
    )
}

fn backdated(file: &TrackedFile) -> String {
    format!(
        "{} deletes rows of its inputs and came after the plan with an earlier sequence number",
        file.path
    )
}
