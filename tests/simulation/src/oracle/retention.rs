//! What upkeep may let go of: no branch or tag but what its own time took, no snapshot that any of them keeps by the table's
//! rules, none that a process under way was planned on; no row that is young. And once days have passed, and upkeep was done, nothing
//! is left that nobody needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use iceberg::spec::{MAIN_BRANCH, SnapshotReference, SnapshotRetention, TableMetadata};
use icepress_model::{MetadataLocation, TableId};

use super::Oracle;
use crate::{catalog, rows::Row, storage};

/// Clocks of foreign writers, whose snapshots these are, are wrong by so much.
const WRITERS_SKEW: Duration = Duration::from_secs(10);

/// The snapshots of a table, with when they were made and on top of which, and its branches and tags.
#[derive(Debug, Default)]
pub(super) struct History {
    snapshots: BTreeMap<i64, (i64, Option<i64>)>,
    refs: BTreeMap<String, SnapshotReference>,
}

impl History {
    pub(super) fn of(metadata: &TableMetadata, refs: &BTreeMap<String, SnapshotReference>) -> Self {
        let snapshots = metadata.snapshots();
        Self {
            snapshots: snapshots
                .map(|it| {
                    (
                        it.snapshot_id(),
                        (it.timestamp_ms(), it.parent_snapshot_id()),
                    )
                })
                .collect(),
            refs: refs.clone(),
        }
    }

    fn line(&self, head: i64) -> impl Iterator<Item = i64> {
        std::iter::successors(Some(head), |id| self.snapshots.get(id)?.1)
            .take_while(|id| self.snapshots.contains_key(id))
    }

    /// Judges a way back: the main branch alone is elsewhere, and a tag keeps where it was.
    pub(super) fn judge_restore(&self, after: &Self) -> Result<(), String> {
        let lost = self.snapshots.keys();
        let lost = lost
            .into_iter()
            .find(|id| !after.snapshots.contains_key(id));
        if let Some(lost) = lost {
            return Err(format!("a way back let go of snapshot {lost}"));
        }
        let mut others = self.refs.iter().filter(|(name, _)| *name != MAIN_BRANCH);
        if let Some((name, _)) = others.find(|(name, it)| after.refs.get(*name) != Some(*it)) {
            return Err(format!("a way back changed {name}"));
        }
        let (before, now) = (self.refs.get(MAIN_BRANCH), after.refs.get(MAIN_BRANCH));
        let Some(left) =
            before.filter(|it| now.is_none_or(|now| now.snapshot_id != it.snapshot_id))
        else {
            return Ok(());
        };
        let mut tags = after.refs.values().filter(|it| !it.is_branch());
        match tags.any(|tag| tag.snapshot_id == left.snapshot_id) {
            true => Ok(()),
            false => Err(format!(
                "nothing keeps snapshot {}, which was left",
                left.snapshot_id
            )),
        }
    }

    /// Judges what a commit of ours let go of.
    pub(super) fn judge_step(
        &self,
        after: &Self,
        metadata: &TableMetadata,
        pinned: &BTreeSet<i64>,
        now: i64,
        skew: Duration,
    ) -> Result<(), String> {
        let slack = millis(skew + WRITERS_SKEW);
        for (name, reference) in &self.refs {
            let head = reference.snapshot_id;
            if after.refs.contains_key(name) {
                let moved = after.refs[name].snapshot_id != head;
                if moved && name != MAIN_BRANCH {
                    return Err(format!("it moved {name}"));
                }
                continue;
            }
            let own = match &reference.retention {
                SnapshotRetention::Branch { max_ref_age_ms, .. }
                | SnapshotRetention::Tag { max_ref_age_ms } => *max_ref_age_ms,
            };
            let made = self.snapshots.get(&head).map_or(0, |(made, _)| *made);
            if own.is_none_or(|age| now - made + slack < age) {
                return Err(format!("it took {name} away, which has its time"));
            }
        }
        let properties = metadata.properties();
        let number = |name: &str| {
            properties
                .get(name)
                .and_then(|value| value.parse::<i64>().ok())
        };
        let age = number("history.expire.max-snapshot-age-ms").unwrap_or(0);
        let least = number("history.expire.min-snapshots-to-keep").unwrap_or(1);
        let gone = self.snapshots.iter();
        let gone: BTreeMap<i64, i64> = gone
            .filter(|(id, _)| !after.snapshots.contains_key(id))
            .map(|(id, (made, _))| (*id, *made))
            .collect();
        for (id, made) in &gone {
            // Whoever asks by hand asks for an hour.
            if now - made + slack < age.min(3_600_000) {
                return Err(format!("it let go of snapshot {id}, which is young"));
            }
            if pinned.contains(id) {
                return Err(format!(
                    "it let go of snapshot {id}, which a process was planned on"
                ));
            }
        }
        for (name, reference) in &after.refs {
            let least = match reference.retention {
                SnapshotRetention::Branch {
                    min_snapshots_to_keep: Some(own),
                    ..
                } => i64::from(own),
                SnapshotRetention::Branch { .. } => least,
                SnapshotRetention::Tag { .. } => 1,
            };
            let kept = self.line(reference.snapshot_id).take(least as usize);
            if let Some(lost) = kept.into_iter().find(|id| gone.contains_key(id)) {
                return Err(format!("it let go of snapshot {lost}, which {name} keeps"));
            }
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Rows that went for their age were old: their ids say since when, in seconds.
pub(super) fn judge_age(
    metadata: &TableMetadata,
    gone: impl Iterator<Item = i64>,
    now: i64,
    skew: Duration,
) -> Result<(), String> {
    let keep = metadata.properties().get("icepress.age-out.keep");
    let keep = keep.and_then(|keep| keep.strip_suffix('s')?.parse::<i64>().ok());
    let keep = keep.ok_or("rows went, and the table does not say that any gets too old")?;
    for id in gone {
        if (id + keep) * 1_000 > now + millis(skew) {
            return Err(format!("row {id} went for its age, and is young"));
        }
    }
    Ok(())
}

impl Oracle {
    /// Whatever any branch or tag leads to has the rows that it had.
    pub(super) fn judge_branches(
        &self,
        table: &TableId,
        location: &MetadataLocation,
        metadata: &TableMetadata,
    ) -> Result<(), String> {
        let state = self.state();
        if !state.limits.rules.is_tended {
            return Ok(());
        }
        let Some(model) = state.tables.get(table) else {
            return Ok(());
        };
        for (name, reference) in self.reader.refs(location)? {
            let id = reference.snapshot_id;
            let live = self.reader.rows_in(metadata, id)?;
            let found: Vec<Row> = live.into_iter().map(|live| live.row).collect();
            let told = model.told.get(&id);
            let told = told.ok_or_else(|| format!("{name} is at {id}, which nobody made"))?;
            let mut expected: Vec<Row> = told.rows.values().cloned().collect();
            expected.sort();
            if found != expected {
                return Err(format!("{name}: {}", super::difference(&found, &expected)));
            }
        }
        Ok(())
    }

    /// Tables that there ever were, or were to be, by UUID.
    pub fn uuids(&self, objects: &storage::Objects) -> BTreeSet<String> {
        let mut all = objects.locations();
        all.retain(|location| location.ends_with(".metadata.json"));
        let found = all.into_iter().filter_map(|location| {
            let metadata = self.reader.metadata(&MetadataLocation::from(&*location));
            Some(metadata.ok()?.uuid().to_string())
        });
        found.collect()
    }

    /// What lies in the folders of tables, and nobody needs, days after everybody has rested and upkeep was done: the reasons why
    /// that is wrong.
    pub fn judge_tidiness(
        &self,
        pointers: &catalog::Pointers,
        objects: &storage::Objects,
        outcast: Option<&str>,
    ) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut all = pointers.all();
        all.retain(|table, _| Some(table.name.as_str()) != outcast);
        for (table, location) in all {
            let judged = self.reader.metadata(&location).and_then(|metadata| {
                let needed = self.reader.needed(&metadata)?;
                Ok((metadata, needed))
            });
            let (metadata, needed) = match judged {
                Ok(judged) => judged,
                Err(message) => {
                    wrong.push(format!("{table}: {message}"));
                    continue;
                }
            };
            for missing in needed.iter().filter(|file| !objects.has(file)) {
                wrong.push(format!("{missing} is needed by {table}, and missing"));
            }
            let properties = metadata.properties();
            let keeps_old = properties
                .get("write.metadata.delete-after-commit.enabled")
                .is_none_or(|value| value != "true");
            let folder = format!("{}/", metadata.location());
            for left in objects.locations() {
                let is_needed = needed.contains(&left) || left == location.as_str();
                let is_old_state = keeps_old && left.ends_with(".metadata.json");
                if left.starts_with(&folder) && !is_needed && !is_old_state {
                    wrong.push(format!("{left} is needed by nobody, and there is still"));
                }
            }
        }
        wrong
    }
}
