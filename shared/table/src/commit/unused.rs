//! Which new files of groups that were not committed nobody can ever need, so that they may be deleted (case C28).
//!
//! "Not committed by this call" is not enough: an earlier call may have committed the group, in a snapshot that has
//! expired since and can't be found by its summary any more, while its files live on in later snapshots (case C25).
//! And a race that was lost is no end: another worker may be about to commit the same process.

use std::collections::HashSet;

use icepress_catalog::LoadedTable;
use icepress_model::BaseState;

use super::{FinishedGroup, live::LiveTable};
use crate::delete_index::DataFiles as _;

/// The outputs of `groups` that no snapshot refers to, for certain; `loaded` must have no snapshot of the process itself.
/// Nothing in `kept`, what the commit adds, is among them.
pub(super) fn unused_outputs<'a>(
    loaded: &LoadedTable,
    base: &BaseState,
    live: &LiveTable,
    groups: impl Iterator<Item = &'a FinishedGroup>,
    kept: &HashSet<&str>,
) -> Vec<String> {
    if !history_is_whole(loaded, base) {
        return Vec::new();
    }
    let before = live.survivors(&HashSet::new());
    let delete_files = live.deletes.iter();
    let delete_files: HashSet<&str> = delete_files
        .map(|place| live.entry(*place).file.path.as_str())
        .collect();
    groups
        .flat_map(|group| group.result.file_paths())
        .filter(|path| !kept.contains(path.as_str()) && !before.has_path(path))
        .filter(|path| !delete_files.contains(path.as_str()))
        .collect()
}

/// Whether everything that came after the base and that any snapshot builds on is still there to be looked at. A
/// snapshot that expired could have been ours; the first of its descendants that is left has lost its parent.
fn history_is_whole(loaded: &LoadedTable, base: &BaseState) -> bool {
    let metadata = &loaded.metadata;
    let Some(planned) = metadata.snapshot_by_id(base.snapshot_id.get()) else {
        return false;
    };
    metadata
        .snapshots()
        .filter(|snapshot| {
            // Version 1 has no sequence numbers, and clocks are not to be trusted alone.
            snapshot.snapshot_id() != planned.snapshot_id()
                && (snapshot.sequence_number() > planned.sequence_number()
                    || snapshot.timestamp_ms() >= planned.timestamp_ms())
        })
        .filter_map(|snapshot| snapshot.parent_snapshot_id())
        .all(|parent| metadata.snapshot_by_id(parent).is_some())
}
