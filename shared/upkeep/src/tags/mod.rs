//! Recovery points: tags that are made by the hour, day, week or month, and go when their time is over.
//!
//! A tag of ours (`icepress-daily-2026-11-30`) is the table as it was when its period began, whenever the run comes that makes
//! it: by the table's own log. It is made in the period after that moment; where the table is younger, of the oldest state
//! that there is. A state that has a tag of the same period already gets no second one while it is the current one, so
//! a table at rest costs no commit.
//!
//! How long a tag stays is written into the tag (`max-ref-age-ms`), for every engine's expiry to honour. Iceberg counts that age
//! from when the *snapshot* was made, so an old state's tag gets as much more.

mod outlook;
mod period;
mod policy;

use std::collections::BTreeMap;

use async_trait::async_trait;
use iceberg::{
    TableUpdate,
    spec::{SnapshotReference, SnapshotRetention},
};
use icepress_catalog::{LoadedTable, TableChange, metadata::Metadata};
use icepress_model::{SnapshotId, TableId, TimestampMs, ambient::Ambient};
use icepress_table::{CommitContext, Gatekeeper};
use jiff::ToSpan as _;
use serde::Serialize;

pub use self::{
    outlook::{TagOutlook, outlook},
    period::Period,
};
use self::{
    period::{civil, moment},
    policy::{AmoroTags, TagPolicy},
};
use crate::{
    Committed, Pin, UpkeepError,
    past::{self, Past},
    swap::{self, Decider, Decision},
};

/// A tag to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewTag {
    /// Its name.
    pub name: String,
    /// The snapshot that it is to keep.
    pub snapshot_id: SnapshotId,
    /// When that was made.
    pub timestamp_ms: i64,
    /// Until when it is kept (milliseconds since 1970); `None` for ever.
    pub until_ms: Option<i64>,
}

/// A period that gets no tag now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NoTag {
    /// The name that it would have.
    pub name: String,
    /// Why not.
    pub why: String,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagReport {
    /// Which tags were made and taken away.
    #[serde(flatten)]
    pub plan: TagPlan,
    /// The commit; `None` where nothing was to be done, or it is not known which state it made.
    #[serde(skip)]
    pub committed: Option<Committed>,
}

/// What is to be done, or was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TagPlan {
    /// Tags to be made.
    pub created: Vec<NewTag>,
    /// Tags of ours whose time is over.
    pub removed: Vec<String>,
    /// Periods that get none now.
    pub skipped: Vec<NoTag>,
}

impl TagPlan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.created.is_empty() && self.removed.is_empty()
    }
}

/// Says what [`apply`] would do. Writes nothing.
pub async fn plan(context: &CommitContext, table: &TableId) -> Result<TagPlan, UpkeepError> {
    let loaded = context.catalog.load(table).await?;
    let plan = decide(&loaded.metadata, context.ambient.now());
    plan.map_err(|message| UpkeepError::refused(table, message))
}

/// Makes the tags that are due and takes those away whose time is over, in one commit; none where nothing is to be done.
///
/// Safe to call again after any failure, and beside other runs: a tag that is there already is left alone.
pub async fn apply(
    context: &CommitContext,
    table: &TableId,
    gatekeeper: &dyn Gatekeeper,
) -> Result<TagReport, UpkeepError> {
    let tagger = Tagger {
        ambient: &context.ambient,
    };
    let (tagging, committed) = swap::commit(context, table, gatekeeper, &tagger).await?;
    Ok(TagReport {
        plan: tagging.plan,
        committed,
    })
}

/// The snapshots that a tag is due for: an expiry that comes before the tag must leave them.
pub(crate) fn due(metadata: &Metadata, now: TimestampMs) -> Result<Vec<Pin>, String> {
    let plan = decide(metadata, now)?;
    let pins = plan.created.into_iter().map(|tag| Pin {
        snapshot_id: tag.snapshot_id,
        by: format!("the tag {}, which is due", tag.name),
    });
    Ok(pins.collect())
}

#[derive(Debug)]
struct Tagger<'a> {
    ambient: &'a Ambient,
}

/// What one state of the table is to become.
struct Tagging {
    plan: TagPlan,
    change: TableChange,
}

#[async_trait]
impl Decider for Tagger<'_> {
    type Decision = Tagging;

    async fn decide(&self, loaded: &LoadedTable) -> Result<Tagging, UpkeepError> {
        let refused = |message| UpkeepError::refused(&loaded.table, message);
        let metadata = &loaded.metadata;
        let plan = decide(metadata, self.ambient.now()).map_err(refused)?;
        let refs = metadata.refs().map_err(refused)?;
        let mut requirements = vec![swap::same_table(metadata)];
        let names = plan.created.iter().map(|tag| &tag.name);
        requirements.extend(names.chain(&plan.removed).filter_map(|name| {
            let at = refs.get(name).map(|reference| reference.snapshot_id);
            swap::ref_is_at(metadata, name, at)
        }));
        let removals = plan
            .removed
            .iter()
            .map(|name| TableUpdate::RemoveSnapshotRef {
                ref_name: name.clone(),
            });
        let tags = plan.created.iter().map(|tag| TableUpdate::SetSnapshotRef {
            ref_name: tag.name.clone(),
            reference: SnapshotReference::new(
                tag.snapshot_id.get(),
                SnapshotRetention::Tag {
                    max_ref_age_ms: tag.until_ms.map(|until| until - tag.timestamp_ms),
                },
            ),
        });
        let updates = removals.chain(tags).collect();
        Ok(Tagging {
            change: TableChange {
                requirements,
                updates,
            },
            plan,
        })
    }
}

impl Decision for Tagging {
    fn change(&self) -> TableChange {
        self.change.clone()
    }

    fn is_in(&self, now: &LoadedTable) -> bool {
        let Ok(refs) = now.metadata.refs() else {
            return false;
        };
        let is_made = |tag: &NewTag| {
            let reference = refs.get(&tag.name);
            reference.is_some_and(|it| it.snapshot_id == tag.snapshot_id.get())
        };
        self.plan.created.iter().all(is_made)
            && !self.plan.removed.iter().any(|name| refs.contains_key(name))
    }
}

/// What a table wants tagged now.
fn decide(metadata: &Metadata, now: TimestampMs) -> Result<TagPlan, String> {
    let policy = TagPolicy::of(metadata.properties())?;
    let refs = metadata.refs()?;
    let table = Table {
        metadata,
        past: past::of_main(metadata),
        now,
    };
    let mut plan = TagPlan {
        removed: table.outlived(&refs),
        ..TagPlan::default()
    };
    if policy.is_empty() {
        return Ok(plan);
    }
    let mut left = refs;
    left.retain(|name, _| !plan.removed.contains(name));
    for (period, kept) in &policy.own {
        let start = period.start(civil(now, &policy.zone));
        let name = period.tag_name(start);
        let kept_ms = i64::try_from(kept.as_millis()).unwrap_or(i64::MAX);
        let tag = table.own(*period, moment(start, &policy.zone), kept_ms, &left);
        plan.note(name, tag, &left);
    }
    if let Some(amoro) = &policy.amoro {
        let offset = amoro.offset_minutes.minutes();
        let shown = civil(now, &policy.zone);
        let end = amoro.period.start(shown.saturating_sub(offset));
        let name = amoro.format.format(amoro.period.before(end));
        let trigger = moment(end.saturating_add(offset), &policy.zone);
        let tag = table.of_amoro(amoro, trigger);
        plan.note(name, tag, &left);
    }
    // A tag that is made anew under its name is only set.
    let created = &plan.created;
    plan.removed
        .retain(|name| !created.iter().any(|tag| tag.name == *name));
    Ok(plan)
}

/// Whether a tag of this name is one that we made.
fn is_ours(name: &str) -> bool {
    Period::ALL
        .iter()
        .any(|period| name.starts_with(&period.prefix()))
}

/// What a tag is to be put on, until when.
struct Target {
    snapshot_id: i64,
    made_at_ms: i64,
    until_ms: Option<i64>,
}

struct Table<'a> {
    metadata: &'a Metadata,
    /// Of the main branch, the oldest first.
    past: Vec<Past>,
    now: TimestampMs,
}

impl Table<'_> {
    fn made_at(&self, snapshot_id: i64) -> Option<i64> {
        let snapshot = self.metadata.snapshot_by_id(snapshot_id);
        snapshot.map(|snapshot| snapshot.timestamp_ms())
    }

    /// Until when a tag is kept; `None` for ever.
    fn end_of(&self, tag: &SnapshotReference) -> Option<i64> {
        match tag.retention {
            SnapshotRetention::Tag {
                max_ref_age_ms: Some(age),
            } => self
                .made_at(tag.snapshot_id)
                .map(|made_at| made_at.saturating_add(age)),
            _ => None,
        }
    }

    /// Tags of ours whose time is over.
    fn outlived(&self, refs: &BTreeMap<String, SnapshotReference>) -> Vec<String> {
        refs.iter()
            .filter(|(name, tag)| is_ours(name) && !tag.is_branch())
            .filter(|(_, tag)| self.end_of(tag).is_some_and(|end| end < self.now.get()))
            .map(|(name, _)| name.clone())
            .collect()
    }

    /// The table as it was when a period began; the error says why that gets no tag.
    fn own(
        &self,
        period: Period,
        start: TimestampMs,
        kept_ms: i64,
        refs: &BTreeMap<String, SnapshotReference>,
    ) -> Result<Target, String> {
        let state = past::at(&self.past, start).or_else(|| self.past.first().copied());
        let state = state.ok_or("the table has no snapshot")?;
        let until = start.max(state.since).get().saturating_add(kept_ms);
        let prefix = period.prefix();
        let mut twins = refs.iter().filter(|(name, tag)| {
            name.starts_with(&prefix) && !tag.is_branch() && tag.snapshot_id == state.snapshot_id
        });
        let is_current = self.metadata.current_snapshot_id() == Some(state.snapshot_id);
        let covers =
            |tag: &SnapshotReference| is_current || self.end_of(tag).is_none_or(|end| end >= until);
        if let Some((twin, _)) = twins.find(|(_, tag)| covers(tag)) {
            return Err(format!("the same state has the tag {twin}"));
        }
        if until <= self.now.get() {
            return Err("its time would be over already".to_owned());
        }
        Ok(Target {
            snapshot_id: state.snapshot_id,
            // What is in the log was looked for among the snapshots.
            made_at_ms: self.made_at(state.snapshot_id).unwrap_or(start.get()),
            until_ms: Some(until),
        })
    }

    /// The first snapshot of the main branch at the trigger's time or later; the error says why there is no tag.
    fn of_amoro(&self, amoro: &AmoroTags, trigger: TimestampMs) -> Result<Target, String> {
        let current = self.metadata.current_snapshot_id();
        let line = past::ancestors(self.metadata, current);
        let later = line.take_while(|snapshot| snapshot.timestamp_ms() >= trigger.get());
        let first = later.last();
        let first = first.ok_or("no snapshot came since the period's end")?;
        let delay = first.timestamp_ms().saturating_sub(trigger.get());
        let most = amoro.max_delay_minutes;
        if most.is_some_and(|minutes| delay > minutes.saturating_mul(60_000)) {
            return Err(format!(
                "the first snapshot came {} minutes after the period's end, later than it may",
                delay / 60_000
            ));
        }
        let age = amoro.max_age_ms;
        Ok(Target {
            snapshot_id: first.snapshot_id(),
            made_at_ms: first.timestamp_ms(),
            until_ms: age.map(|age| first.timestamp_ms().saturating_add(age)),
        })
    }
}

impl TagPlan {
    fn note(
        &mut self,
        name: String,
        target: Result<Target, String>,
        refs: &BTreeMap<String, SnapshotReference>,
    ) {
        if refs.contains_key(&name) || self.created.iter().any(|tag| tag.name == name) {
            let why = "it is there".to_owned();
            return self.skipped.push(NoTag { name, why });
        }
        match target {
            Ok(target) => self.created.push(NewTag {
                name,
                snapshot_id: SnapshotId(target.snapshot_id),
                timestamp_ms: target.made_at_ms,
                until_ms: target.until_ms,
            }),
            Err(why) => self.skipped.push(NoTag { name, why }),
        }
    }
}
