//! What expiring a table's snapshots would come to, told by its metadata alone: no manifest is read, so that it can be asked
//! at every look at a table.

use std::time::Duration;

use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, SnapshotId, TimestampMs};
use serde::{Deserialize, Serialize};

use super::ExpireRequest;
use crate::{
    ExpirePolicy,
    retain::{Rules, decide, next_to_go},
};

/// What there is to expire, now or later.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ExpireOutlook {
    /// Snapshots that would go.
    pub snapshots: u64,
    /// Branches and tags that would go.
    pub refs: u64,
    /// About how many data and delete files nobody would need: what the snapshots' summaries say was removed after them.
    pub files: u64,
    /// The bytes of these, as far as summaries say.
    pub bytes: Bytes,
    /// When the next may go, if nobody writes.
    pub next: Option<TimestampMs>,
    /// When the next may go once one more commit is made: the states before it are no longer the newest then.
    pub next_after_commit: Option<TimestampMs>,
}

/// Says what [`expire`](super::expire) would come to. The error is a message for people: nothing may be expired, or what the
/// table says of it can't be read.
pub fn expire_outlook(
    metadata: &Metadata,
    request: &ExpireRequest,
    now: TimestampMs,
) -> Result<ExpireOutlook, String> {
    let policy = ExpirePolicy::of(metadata.properties())?;
    let refs = metadata.refs()?;
    let before = |age: Duration| TimestampMs(now.get().saturating_sub(millis(age)));
    let max_age = request.older_than.unwrap_or(policy.max_snapshot_age);
    let rules = Rules {
        cut: before(max_age),
        floor: before(request.floor),
        policy: &policy,
        now,
        pins: &[],
    };
    let verdict = decide(metadata, &refs, &rules);
    let going: std::collections::HashSet<SnapshotId> =
        verdict.snapshots.iter().map(|it| it.snapshot_id).collect();
    let (mut files, mut bytes) = (0_u64, 0_u64);
    for snapshot in metadata.snapshots() {
        let follows_one_that_goes = snapshot
            .parent_snapshot_id()
            .is_some_and(|parent| going.contains(&SnapshotId(parent)));
        if follows_one_that_goes {
            let summary = &snapshot.summary().additional_properties;
            let number = |key: &str| -> u64 {
                let value = summary.get(key).and_then(|value| value.parse().ok());
                value.unwrap_or(0)
            };
            files = files
                .saturating_add(number("deleted-data-files"))
                .saturating_add(number("removed-delete-files"));
            bytes = bytes.saturating_add(number("removed-files-size"));
        }
    }
    let ages = (max_age, request.floor);
    Ok(ExpireOutlook {
        snapshots: verdict.snapshots.len() as u64,
        refs: verdict.refs.len() as u64,
        files,
        bytes: Bytes(bytes),
        next: next_to_go(metadata, &refs, &rules, ages, 0),
        next_after_commit: next_to_go(metadata, &refs, &rules, ages, 1),
    })
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
