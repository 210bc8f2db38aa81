//! The summary of a replace snapshot: what was added and removed, what is there now, and who did it.

use std::collections::{BTreeMap, HashMap, HashSet};

use icepress_model::ProcessId;

use super::{arrange::RewrittenManifests, live::Totals};
use crate::manifests::{FileContent, OutputFile, PartitionKey, TrackedFile};

/// The property of a snapshot's summary that says which process of Icepress made it: how a commit whose answer was
/// lost is found again.
pub const PROCESS_ID: &str = "icepress.process-id";
/// Which of the process's groups are in it, as `0-4,7`.
pub(super) const GROUPS: &str = "icepress.groups";
/// The version of Icepress that made it.
const VERSION: &str = "icepress.version";
/// Delete files that the snapshot removed.
pub(super) const REMOVED_DELETE_FILES: &str = "removed-delete-files";

/// Says (`true`) that a snapshot mends what manifests said, and rewrites no file.
pub const IS_REPAIR: &str = "icepress.repair";

/// The summary of a snapshot that lists the files of its parent in other manifests, as Iceberg's `rewriteManifests` writes it:
/// what is live stays the same, so that totals are the parent's, where that one has any.
pub(super) fn of_manifests(
    parent: Option<&HashMap<String, String>>,
    process: &ProcessId,
    rewritten: &RewrittenManifests,
) -> HashMap<String, String> {
    let total = |key: &&str| {
        let value = parent.and_then(|parent| parent.get(*key));
        value.map(|value| ((*key).to_owned(), value.clone()))
    };
    let counts = [
        ("changed-partition-count", 0),
        ("manifests-created", rewritten.created),
        ("manifests-kept", rewritten.kept),
        ("manifests-replaced", rewritten.replaced),
        ("entries-processed", rewritten.entries),
    ];
    let counts = counts.map(|(key, value)| (key.to_owned(), value.to_string()));
    let ours = [
        (PROCESS_ID, process.as_str()),
        (VERSION, env!("CARGO_PKG_VERSION")),
    ];
    let ours = ours.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let totals = TOTALS.iter().filter_map(total);
    totals.chain(counts).chain(ours).collect()
}

/// The summary of a snapshot that lists the files of its parent rightly: nothing is added or removed, and totals are as
/// counted. `manifests` are those created, kept and replaced, under the names that Iceberg's `rewriteManifests` has for them.
pub(super) fn of_repair(
    [data, position, equality]: [Totals; 3],
    process: &ProcessId,
    [created, kept, replaced]: [usize; 3],
    entries: usize,
) -> HashMap<String, String> {
    let totals = [
        (TOTALS[0], data.files),
        (TOTALS[1], data.rows),
        (TOTALS[2], data.bytes + position.bytes + equality.bytes),
        (TOTALS[3], position.files + equality.files),
        (TOTALS[4], position.rows),
        (TOTALS[5], equality.rows),
        ("manifests-created", created as u64),
        ("manifests-kept", kept as u64),
        ("manifests-replaced", replaced as u64),
        ("entries-processed", entries as u64),
    ];
    let totals = totals.map(|(key, value)| (key.to_owned(), value.to_string()));
    let ours = [
        (PROCESS_ID, process.as_str()),
        (IS_REPAIR, "true"),
        (VERSION, env!("CARGO_PKG_VERSION")),
    ];
    let ours = ours.map(|(key, value)| (key.to_owned(), value.to_owned()));
    totals.into_iter().chain(ours).collect()
}

/// The totals that a snapshot's summary has.
const TOTALS: [&str; 6] = [
    "total-data-files",
    "total-records",
    "total-files-size",
    "total-delete-files",
    "total-position-deletes",
    "total-equality-deletes",
];

/// Whether a summary has all totals, so that nobody needs to count.
pub(super) fn has_totals(properties: &HashMap<String, String>) -> bool {
    let has = |key: &&str| {
        let value = properties.get(*key);
        value.is_some_and(|value| value.parse::<u64>().is_ok())
    };
    TOTALS.iter().all(has)
}

/// Gathers what a commit changes.
#[derive(Debug, Default)]
pub(super) struct Changes {
    added: Totals,
    /// Position delete files and vectors.
    added_deletes: [Totals; 2],
    removed: [Totals; 3],
    /// How many of the removed position deletes are vectors.
    removed_vectors: u64,
    partitions: HashSet<PartitionKey>,
}

impl Changes {
    pub(super) fn add(&mut self, output: &OutputFile, partition: &PartitionKey) {
        self.added.files += 1;
        self.added.rows += output.record_count.unsigned_abs();
        self.added.bytes += output.file_size_in_bytes.unsigned_abs();
        self.touch(partition);
    }

    /// Counts a new position delete file or vector.
    pub(super) fn add_delete(&mut self, output: &OutputFile, partition: &PartitionKey) {
        let added = &mut self.added_deletes[usize::from(output.is_vector())];
        added.files += 1;
        added.rows += output.record_count.unsigned_abs();
        // Of a file that vectors share each counts its own part.
        let bytes = output
            .content_size_in_bytes
            .unwrap_or(output.file_size_in_bytes);
        added.bytes += bytes.unsigned_abs();
        self.touch(partition);
    }

    pub(super) fn remove(&mut self, file: &TrackedFile) {
        self.removed[file.content as usize].add(file);
        self.removed_vectors += u64::from(file.is_vector());
        self.touch(&file.partition);
    }

    fn touch(&mut self, partition: &PartitionKey) {
        if !self.partitions.contains(partition) {
            self.partitions.insert(partition.clone());
        }
    }

    /// How many delete files go.
    pub(super) fn removed_delete_files(&self) -> u64 {
        self.removed[FileContent::PositionDeletes as usize].files
            + self.removed[FileContent::EqualityDeletes as usize].files
    }

    /// The summary's properties. `before` are the sums over data files, position and equality deletes of the parent, where all
    /// were counted: for totals that the parent's own summary does not have, or not rightly.
    pub(super) fn properties(
        &self,
        before: Option<[Totals; 3]>,
        parent: Option<&HashMap<String, String>>,
        process: &ProcessId,
        groups: &[u32],
    ) -> HashMap<String, String> {
        let [data, position, equality] = self.removed;
        let deletes = self.removed_delete_files();
        let [files, vectors] = self.added_deletes;
        let added_deletes = files.files + vectors.files;
        let added_positions = files.rows + vectors.rows;
        let added_bytes = self.added.bytes + files.bytes + vectors.bytes;
        let bytes = data.bytes + position.bytes + equality.bytes;
        let mut properties = BTreeMap::new();
        let mut positive = |key: &str, value: u64| {
            if value > 0 {
                properties.insert(key.to_owned(), value.to_string());
            }
        };
        positive("added-data-files", self.added.files);
        positive("added-records", self.added.rows);
        positive("added-delete-files", added_deletes);
        positive("added-position-delete-files", files.files);
        positive("added-dvs", vectors.files);
        positive("added-position-deletes", added_positions);
        positive("added-files-size", added_bytes);
        positive("deleted-data-files", data.files);
        positive("deleted-records", data.rows);
        positive(REMOVED_DELETE_FILES, deletes);
        let removed_files = position.files.saturating_sub(self.removed_vectors);
        positive("removed-position-delete-files", removed_files);
        positive("removed-dvs", self.removed_vectors);
        positive("removed-position-deletes", position.rows);
        positive("removed-equality-delete-files", equality.files);
        positive("removed-equality-deletes", equality.rows);
        positive("removed-files-size", bytes);
        positive("changed-partition-count", self.partitions.len() as u64);
        let counted = before.map(|[data, position, equality]| {
            let bytes = data.bytes + position.bytes + equality.bytes;
            let deletes = position.files + equality.files;
            let rows = [data.rows, position.rows, equality.rows];
            [data.files, rows[0], bytes, deletes, rows[1], rows[2]]
        });
        let changes = [
            (self.added.files, data.files),
            (self.added.rows, data.rows),
            (added_bytes, bytes),
            (added_deletes, deletes),
            (added_positions, position.rows),
            (0, equality.rows),
        ];
        for (place, (key, (added, removed))) in TOTALS.into_iter().zip(changes).enumerate() {
            let listed = parent.and_then(|parent| parent.get(key)?.parse::<u64>().ok());
            let listed = listed.and_then(|before| (before + added).checked_sub(removed));
            let counted = counted.map(|counted| (counted[place] + added).saturating_sub(removed));
            if let Some(now) = listed.or(counted) {
                properties.insert(key.to_owned(), now.to_string());
            }
        }
        properties.insert(PROCESS_ID.to_owned(), process.as_str().to_owned());
        properties.insert(GROUPS.to_owned(), write_indices(groups));
        properties.insert(VERSION.to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        properties.into_iter().collect()
    }
}

/// Ascending indices as ranges: `0-4,7`.
pub(super) fn write_indices(indices: &[u32]) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for index in indices {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*index) => *last = *index,
            _ => ranges.push((*index, *index)),
        }
    }
    let ranges = ranges.into_iter().map(|(first, last)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    });
    ranges.collect::<Vec<_>>().join(",")
}

/// Whether `index` is among the indices that [`write_indices`] wrote.
pub(super) fn indices_contain(text: &str, index: u32) -> bool {
    text.split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<u32>(), last.parse::<u32>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&index),
            _ => false,
        }
    })
}
