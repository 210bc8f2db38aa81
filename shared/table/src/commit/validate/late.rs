//! Rows that were deleted after the plan, in a way that a commit would bring back.

use std::collections::HashMap;

use futures::{FutureExt as _, StreamExt as _, stream};
use iceberg::spec::Operation;

use super::{Accepted, CONCURRENT_CHECKS, Validation, is_global};
use crate::{
    commit::{FinishedGroup, live::Place, named_paths::named_paths},
    manifests::{Entry, FileContent, TrackedFile, Version, bounds},
    reserved_ids::DELETE_FILE_PATH,
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
        let mut by_path = HashMap::new();
        for group in accepted {
            for place in &group.inputs {
                by_path.insert(self.live.entry(*place).file.path.as_str(), group);
            }
        }
        // Where vectors are, there is one a data file, and position deletes beside it mean nothing: whatever came
        // later would be lost under the new vector. Otherwise several position delete files add up.
        let has_vectors = Version::of(&self.loaded.metadata) >= Version::V3;
        let conflicts = |group: &Accepted, delete: &TrackedFile| {
            group.light.is_none() || has_vectors || delete.is_vector()
        };
        let mut hit: HashMap<u32, String> = HashMap::new();
        let mut undecided = Vec::new();
        for place in &self.live.deletes {
            let delete = self.live.entry(*place);
            // Data sequence numbers can be set by hand, as a merge of delete files does: the file's own number says
            // when it came.
            let came_later = delete.sequence_number.max(delete.file_sequence_number) > start;
            if !came_later || self.says_what_was_said(delete, start) {
                continue;
            }
            let file = &delete.file;
            if file.content == FileContent::EqualityDeletes {
                if delete.sequence_number <= start {
                    // The data files of a light group keep their own numbers, so it applies to them as before.
                    let replacing = accepted.iter().filter(|group| group.light.is_none());
                    for group in replacing.filter(|g| self.equality_hits(g, delete)) {
                        hit.entry(group.index).or_insert_with(|| backdated(file));
                    }
                }
            } else if let Some(path) = &file.referenced_data_file {
                let group = by_path.get(path.as_str());
                if let Some(group) = group.filter(|group| conflicts(group, file)) {
                    hit.entry(group.index).or_insert_with(|| late(file, path));
                }
            } else {
                let candidates: Vec<&Accepted> = accepted
                    .iter()
                    .filter(|group| conflicts(group, file) && self.may_name_input(group, *place))
                    .collect();
                if !candidates.is_empty() {
                    undecided.push((file, candidates));
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

    /// Whether a delete file that came after the plan deletes nothing that was not deleted when the plan was made: it
    /// carries a number from before, and the snapshot that added it is one that changes no row, as a merge of delete
    /// files is. Java looks at the number alone; a writer that adds real deletes under an old one stays a conflict.
    fn says_what_was_said(&self, delete: &Entry, start: i64) -> bool {
        let added_by = self.loaded.metadata.snapshot_by_id(delete.snapshot_id);
        delete.sequence_number <= start
            && added_by.is_some_and(|snapshot| snapshot.summary().operation == Operation::Replace)
    }

    fn equality_hits(&self, group: &Accepted, delete: &Entry) -> bool {
        let is_older =
            |place: &Place| self.live.entry(*place).sequence_number < delete.sequence_number;
        let reaches = delete.file.partition == group.partition
            || is_global(&self.loaded.metadata, delete.file.partition.spec_id);
        reaches && group.inputs.iter().any(is_older)
    }

    /// By partition and by the bounds of the paths that it names.
    fn may_name_input(&self, group: &Accepted, delete: Place) -> bool {
        let file = &self.live.entry(delete).file;
        if group.inputs.is_empty() || file.partition != group.partition {
            return false;
        }
        let shape = &self.live.manifest(delete.manifest).header.file_shape;
        let Ok(Some((lower, upper))) = bounds(shape, file, DELETE_FILE_PATH) else {
            return true;
        };
        group.inputs.iter().any(|place| {
            let path = self.live.entry(*place).file.path.as_bytes();
            // An upper bound may be cut short without being rounded up, by writers that know no better.
            lower.as_slice() <= path && (path <= upper.as_slice() || path.starts_with(&upper))
        })
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
