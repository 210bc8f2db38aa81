//! Which new files of groups that were not committed nobody can ever need, so that they may be deleted (case C28).
//!
//! "Not committed by this call" is not enough: an earlier call may have committed the group, in a snapshot that has
//! expired since and can't be found by its summary any more, while its files live on in later snapshots (case C25).
//! And a race that was lost is no end: another worker may be about to commit the same process.

use std::collections::HashSet;

use icepress_catalog::LoadedTable;
use icepress_model::BaseState;

use super::{FinishedGroup, live::LiveTable};

/// The outputs of `groups` that no snapshot refers to, for certain: only of groups of which an input is still live, which
/// a commit of the group would have removed, and only while the planned snapshot is there, which expires before any
/// later one. Nothing in `kept`, what the commit adds, is among them.
pub(super) fn unused_outputs<'a>(
    loaded: &LoadedTable,
    base: &BaseState,
    live: &LiveTable,
    groups: impl Iterator<Item = &'a FinishedGroup>,
    kept: &HashSet<&str>,
) -> Vec<String> {
    let planned = base.snapshot_id.get();
    if loaded.metadata.snapshot_by_id(planned).is_none() {
        return Vec::new();
    }
    let before = live.survivors(&HashSet::new());
    groups
        .filter(|group| {
            let mut inputs = group.group.inputs.iter();
            inputs.any(|input| {
                let places = live.inputs.get(&input.path).into_iter().flatten();
                let mut numbers = places.map(|place| live.entry(*place).sequence_number);
                numbers.any(|number| number == input.sequence_number.get())
            })
        })
        .flat_map(|group| group.result.data_file_paths())
        .filter(|path| !kept.contains(path.as_str()) && !before.has_path(path))
        .collect()
}
