//! Finds the snapshot that a process committed: after a lost answer, a crash, or a second call.

use std::collections::HashMap;

use icepress_catalog::LoadedTable;
use icepress_model::{MetadataLocation, ProcessId, SnapshotId};

use super::{
    CommitOutcome, DropCause, DroppedGroup, FinishedGroup,
    summary::{GROUPS, PROCESS_ID, REMOVED_DELETE_FILES, indices_contain},
};

/// The state and the snapshot that `process` made of a table, if it has committed: for who wants to know no more.
pub fn find_commit(
    loaded: &LoadedTable,
    process: &ProcessId,
) -> Option<(MetadataLocation, SnapshotId)> {
    let outcome = committed_before(loaded, process, &[])?;
    Some((outcome.location, outcome.snapshot_id))
}

/// What `process` has committed to the table already, if anything.
pub(super) fn committed_before(
    loaded: &LoadedTable,
    process: &ProcessId,
    groups: &[FinishedGroup],
) -> Option<CommitOutcome> {
    let metadata = &loaded.metadata;
    let by_us = |properties: &HashMap<String, String>| {
        properties.get(PROCESS_ID).map(String::as_str) == Some(process.as_str())
    };
    let snapshot = metadata
        .snapshots()
        .find(|snapshot| by_us(&snapshot.summary().additional_properties))?;
    let properties = &snapshot.summary().additional_properties;
    let listed = properties.get(GROUPS).map_or("", String::as_str);
    let (committed, others): (Vec<u32>, Vec<u32>) = groups
        .iter()
        .map(|group| group.index)
        .partition(|index| indices_contain(listed, *index));
    let removed = properties.get(REMOVED_DELETE_FILES);
    let is_head = metadata.current_snapshot_id() == Some(snapshot.snapshot_id())
        && metadata.last_updated_ms() == snapshot.timestamp_ms();
    // The metadata file that the commit made carries the snapshot's time. Where it isn't the current one, the log of
    // earlier ones tells, as long as it reaches back.
    let made = metadata
        .metadata_log()
        .iter()
        .find(|log| log.timestamp_ms == snapshot.timestamp_ms())
        .map(|log| MetadataLocation::from(log.metadata_file.as_str()));
    Some(CommitOutcome {
        location: match made {
            Some(made) if !is_head => made,
            _ => loaded.metadata_location.clone(),
        },
        snapshot_id: SnapshotId(snapshot.snapshot_id()),
        committed,
        dropped: others
            .into_iter()
            .map(|index| DroppedGroup {
                index,
                cause: DropCause::LeftBefore,
                reason: format!(
                    "group {index}: it was not part of what the process committed before"
                ),
            })
            .collect(),
        // Nobody looked at what is live now.
        unused_files: Vec::new(),
        removed_delete_files: removed.and_then(|text| text.parse().ok()).unwrap_or(0),
        // What came between base and commit can't be told any more: let the table have another look.
        rebased: true,
    })
}
