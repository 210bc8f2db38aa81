//! Which branches, tags and snapshots stay.
//!
//! The rules are those of Iceberg's specification (*Snapshot Retention Policy*) as its Java library has them in
//! `RemoveSnapshots`: of every branch the newest ones and the young ones, every tag's, and of what no branch has among its
//! ancestors, such as a staged snapshot, the young ones. Beyond that stay those that are pinned, those that were the newest of
//! their branch a moment ago, and what a Flink job needs to find its last checkpoint.

use std::collections::{BTreeMap, HashMap, HashSet};

use iceberg::spec::{MAIN_BRANCH, Snapshot, SnapshotReference, SnapshotRetention, TableMetadata};
use icepress_model::{SnapshotId, TimestampMs};
use serde::Serialize;

use crate::{Pin, policy::ExpirePolicy};

/// What a Flink job writes into the summaries of its snapshots. When it starts anew it looks for the newest of its own, from
/// the current snapshot backwards, and everything in between must be there.
const FLINK_CHECKPOINT: &str = "flink.max-committed-checkpoint-id";

/// What is decided by.
#[derive(Debug)]
pub(crate) struct Rules<'a> {
    pub(crate) policy: &'a ExpirePolicy,
    pub(crate) now: TimestampMs,
    /// Snapshots of this moment or later stay, unless their branch has an age of its own.
    pub(crate) cut: TimestampMs,
    /// Snapshots of this moment or later stay in any case, and so do those that were the newest of a branch after it: whoever
    /// loaded the table then may still be at work on them, however long they had been the newest.
    pub(crate) floor: TimestampMs,
    pub(crate) pins: &'a [Pin],
}

/// A snapshot that is to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Expiring {
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// When it was made.
    pub timestamp_ms: i64,
}

/// A snapshot that would go by age and number, and stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spared {
    /// The snapshot.
    pub snapshot_id: SnapshotId,
    /// Why it stays.
    pub why: String,
}

/// What is to go, and what nearly went.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// The newest first.
    pub(crate) snapshots: Vec<Expiring>,
    pub(crate) refs: Vec<String>,
    pub(crate) spared: Vec<Spared>,
}

/// Decides.
pub(crate) fn decide(
    metadata: &TableMetadata,
    refs: &BTreeMap<String, SnapshotReference>,
    rules: &Rules<'_>,
) -> Verdict {
    let history = History::of(metadata);
    let (kept, refs_to_go): (Vec<_>, Vec<_>) = refs
        .iter()
        .partition(|(name, reference)| history.keeps_ref(name, reference, rules));
    let kept: Vec<&SnapshotReference> = kept.into_iter().map(|(_, reference)| reference).collect();
    let by_rule = history.kept_by(&kept, rules.cut, rules);
    let flink = history.flink_checkpoint(rules);
    let for_flink = flink
        .map(|checkpoint| history.kept_by(&kept, rules.cut.min(checkpoint), rules))
        .unwrap_or_default();
    let pins: HashMap<i64, &str> = rules
        .pins
        .iter()
        .map(|pin| (pin.snapshot_id.get(), pin.by.as_str()))
        .collect();
    let mut verdict = Verdict {
        refs: refs_to_go
            .into_iter()
            .map(|(name, _)| name.clone())
            .collect(),
        ..Verdict::default()
    };
    for (id, snapshot) in &history.snapshots {
        if by_rule.contains(id) {
            continue;
        }
        let why = if let Some(by) = pins.get(id) {
            format!("in use by {by}")
        } else if snapshot.timestamp_ms() >= rules.floor.get() {
            "younger than the least age".to_owned()
        } else if history.left(snapshot) > rules.floor.get() {
            "it was the newest of its branch less than the least age ago".to_owned()
        } else if for_flink.contains(id) {
            "a Flink job finds its last checkpoint through it".to_owned()
        } else {
            verdict.snapshots.push(Expiring {
                snapshot_id: SnapshotId(*id),
                timestamp_ms: snapshot.timestamp_ms(),
            });
            continue;
        };
        verdict.spared.push(Spared {
            snapshot_id: SnapshotId(*id),
            why,
        });
    }
    let newest_first = |it: &Expiring| std::cmp::Reverse((it.timestamp_ms, it.snapshot_id));
    verdict.snapshots.sort_by_key(newest_first);
    verdict.spared.sort_by_key(|spared| spared.snapshot_id);
    verdict
}

/// A table's snapshots and how they follow from one another.
struct History<'a> {
    snapshots: HashMap<i64, &'a Snapshot>,
    /// When a snapshot had another in its place, the last time.
    left: HashMap<i64, i64>,
}

impl<'a> History<'a> {
    fn of(metadata: &'a TableMetadata) -> Self {
        let snapshots = metadata.snapshots();
        let mut left: HashMap<i64, i64> = HashMap::new();
        let mut was_left = |id: i64, at: i64| {
            left.entry(id)
                .and_modify(|last| *last = at.max(*last))
                .or_insert(at);
        };
        for snapshot in metadata.snapshots() {
            if let Some(parent) = snapshot.parent_snapshot_id() {
                was_left(parent, snapshot.timestamp_ms());
            }
        }
        // Of the main branch the table tells more: also of a way back.
        for pair in metadata.history().windows(2) {
            was_left(pair[0].snapshot_id, pair[1].timestamp_ms());
        }
        Self {
            snapshots: snapshots
                .map(|snapshot| (snapshot.snapshot_id(), snapshot.as_ref()))
                .collect(),
            left,
        }
    }

    /// When a snapshot was the newest of a branch at last, as far as the table tells.
    fn left(&self, snapshot: &Snapshot) -> i64 {
        let left = self.left.get(&snapshot.snapshot_id()).copied();
        left.unwrap_or(i64::MIN).max(snapshot.timestamp_ms())
    }

    /// A snapshot and those before it, the newest first, as far as they are there.
    fn line(&self, from: i64) -> impl Iterator<Item = &'a Snapshot> {
        let first = self.snapshots.get(&from).copied();
        let line = std::iter::successors(first, |snapshot| {
            let parent = snapshot.parent_snapshot_id()?;
            self.snapshots.get(&parent).copied()
        });
        // Whoever makes a snapshot its own ancestor must not keep us for ever.
        line.take(self.snapshots.len())
    }

    fn keeps_ref(&self, name: &str, reference: &SnapshotReference, rules: &Rules<'_>) -> bool {
        if name == MAIN_BRANCH {
            return true;
        }
        let Some(snapshot) = self.snapshots.get(&reference.snapshot_id) else {
            return false;
        };
        let own = match &reference.retention {
            SnapshotRetention::Branch { max_ref_age_ms, .. }
            | SnapshotRetention::Tag { max_ref_age_ms } => *max_ref_age_ms,
        };
        let default = rules.policy.max_ref_age.map(millis);
        let is_young = snapshot.timestamp_ms() >= rules.floor.get();
        let age = rules.now.get().saturating_sub(snapshot.timestamp_ms());
        is_young || own.or(default).is_none_or(|most| age <= most)
    }

    /// What the specification's rules keep.
    fn kept_by(
        &self,
        refs: &[&SnapshotReference],
        cut: TimestampMs,
        rules: &Rules<'_>,
    ) -> HashSet<i64> {
        let mut kept = HashSet::new();
        let mut of_a_ref = HashSet::new();
        for reference in refs {
            kept.insert(reference.snapshot_id);
            let SnapshotRetention::Branch {
                min_snapshots_to_keep,
                max_snapshot_age_ms,
                ..
            } = &reference.retention
            else {
                of_a_ref.insert(reference.snapshot_id);
                continue;
            };
            let own = max_snapshot_age_ms.map(|age| rules.now.get().saturating_sub(age));
            let since = own.unwrap_or(cut.get());
            let least = min_snapshots_to_keep
                .and_then(|least| usize::try_from(least).ok())
                .unwrap_or(rules.policy.min_snapshots);
            let line = self.line(reference.snapshot_id).enumerate();
            kept.extend(
                line.take_while(|(place, it)| *place < least || it.timestamp_ms() >= since)
                    .map(|(_, snapshot)| snapshot.snapshot_id()),
            );
            of_a_ref.extend(self.line(reference.snapshot_id).map(Snapshot::snapshot_id));
        }
        kept.extend(
            self.snapshots
                .iter()
                .filter(|(id, it)| !of_a_ref.contains(id) && it.timestamp_ms() >= cut.get())
                .map(|(id, _)| *id),
        );
        kept
    }

    /// When the newest snapshot of a Flink job was made, where that is not too long ago.
    fn flink_checkpoint(&self, rules: &Rules<'_>) -> Option<TimestampMs> {
        let newest = self
            .snapshots
            .values()
            .filter(|it| {
                let summary = &it.summary().additional_properties;
                summary.contains_key(FLINK_CHECKPOINT)
            })
            .map(|it| it.timestamp_ms())
            .max()?;
        let age = rules.now.get().saturating_sub(newest);
        (age <= millis(rules.policy.flink_retention)).then_some(TimestampMs(newest))
    }
}

/// When the next snapshot, branch or tag is to go because it gets too old, if nobody writes; `None` where age alone takes
/// nothing away. `max_age` and `floor` are what `rules` were made of. With `commits` more on each branch others go by number
/// too, and what may go at once goes now.
pub(crate) fn next_to_go(
    metadata: &TableMetadata,
    refs: &BTreeMap<String, SnapshotReference>,
    rules: &Rules<'_>,
    (max_age, floor): (std::time::Duration, std::time::Duration),
    commits: usize,
) -> Option<TimestampMs> {
    let history = History::of(metadata);
    let mut next: Option<i64> = None;
    // One that is under the floor then stays until it is out of it; `left` is when it was the newest of a branch at last.
    let mut at = |timestamp: i64, age: i64, left: i64| {
        let goes = timestamp.saturating_add(age);
        let goes = goes
            .max(left.saturating_add(millis(floor)))
            .saturating_add(1);
        if commits > 0 || goes > rules.now.get() {
            let goes = goes.max(rules.now.get());
            next = Some(next.map_or(goes, |next| next.min(goes)));
        }
    };
    let mut of_a_ref = HashSet::new();
    for (name, reference) in refs {
        let newest = history.snapshots.get(&reference.snapshot_id);
        let own = match &reference.retention {
            SnapshotRetention::Branch { max_ref_age_ms, .. }
            | SnapshotRetention::Tag { max_ref_age_ms } => *max_ref_age_ms,
        };
        let ref_age = own.or(rules.policy.max_ref_age.map(millis));
        if let (Some(newest), Some(age)) = (newest, ref_age)
            && name != MAIN_BRANCH
        {
            at(newest.timestamp_ms(), age, newest.timestamp_ms());
        }
        of_a_ref.insert(reference.snapshot_id);
        let SnapshotRetention::Branch {
            min_snapshots_to_keep,
            max_snapshot_age_ms,
            ..
        } = &reference.retention
        else {
            continue;
        };
        let least = min_snapshots_to_keep
            .and_then(|least| usize::try_from(least).ok())
            .unwrap_or(rules.policy.min_snapshots);
        let age = max_snapshot_age_ms.unwrap_or(millis(max_age));
        for (place, snapshot) in history.line(reference.snapshot_id).enumerate() {
            of_a_ref.insert(snapshot.snapshot_id());
            if place + commits >= least.max(1) {
                let left = match place < commits {
                    // With that commit.
                    true => rules.now.get(),
                    false => history.left(snapshot),
                };
                at(snapshot.timestamp_ms(), age, left);
            }
        }
    }
    for (id, snapshot) in &history.snapshots {
        if !of_a_ref.contains(id) {
            let left = history.left(snapshot);
            at(snapshot.timestamp_ms(), millis(max_age), left);
        }
    }
    if let Some(checkpoint) = history.flink_checkpoint(rules) {
        at(
            checkpoint.get(),
            millis(rules.policy.flink_retention),
            checkpoint.get(),
        );
    }
    next.map(TimestampMs)
}

fn millis(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
