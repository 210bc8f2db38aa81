//! Which tags are due, and when the next will be: told by the metadata alone, so that it can be asked at every look at a table.

use icepress_catalog::metadata::Metadata;
use icepress_model::TimestampMs;
use jiff::ToSpan as _;

use super::{
    Table, decide,
    period::{civil, moment},
    policy::TagPolicy,
};
use crate::past;

/// What there is to tag, now or later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TagOutlook {
    /// Names of the tags that are due.
    pub created: Vec<String>,
    /// Names of the tags whose time is over.
    pub removed: Vec<String>,
    /// When there will be more, if nobody writes. A table at rest that has its tags wants no more of them.
    pub next: Option<TimestampMs>,
    /// When there will be more once one more commit is made.
    pub next_after_commit: Option<TimestampMs>,
}

impl TagOutlook {
    /// Whether there is nothing to do now.
    pub fn is_empty(&self) -> bool {
        self.created.is_empty() && self.removed.is_empty()
    }
}

/// Says what [`apply`](super::apply) would come to. The error is a message for people: what the table says of it can't be read.
pub fn outlook(metadata: &Metadata, now: TimestampMs) -> Result<TagOutlook, String> {
    let plan = decide(metadata, now)?;
    let mut moments = Moments::of(metadata, now)?;
    moments.later.sort_unstable();
    let mut next = None;
    for at in &moments.later {
        if !decide(metadata, *at)?.is_empty() {
            next = Some(*at);
            break;
        }
    }
    Ok(TagOutlook {
        created: plan.created.into_iter().map(|tag| tag.name).collect(),
        removed: plan.removed,
        next,
        next_after_commit: moments.at_once.or(moments.later.first().copied()),
    })
}

/// The moments at which something may become due.
#[derive(Debug, Default)]
struct Moments {
    /// Now, where a tag waits for nothing but a commit.
    at_once: Option<TimestampMs>,
    later: Vec<TimestampMs>,
}

impl Moments {
    fn of(metadata: &Metadata, now: TimestampMs) -> Result<Self, String> {
        let policy = TagPolicy::of(metadata.properties())?;
        let refs = metadata.refs()?;
        let shown = civil(now, &policy.zone);
        let mut moments = Self::default();
        for (period, _) in &policy.own {
            let next = period.after(period.start(shown));
            moments.later.push(moment(next, &policy.zone));
        }
        if let Some(amoro) = &policy.amoro {
            let offset = amoro.offset_minutes.minutes();
            let end = amoro.period.start(shown.saturating_sub(offset));
            let trigger =
                |end: jiff::civil::DateTime| moment(end.saturating_add(offset), &policy.zone);
            moments.later.push(trigger(amoro.period.after(end)));
            let name = amoro.format.format(amoro.period.before(end));
            let late = now.since(trigger(end)).as_millis();
            let most = amoro.max_delay_minutes;
            let in_time = most.is_none_or(|most| late <= u128::from(most.unsigned_abs()) * 60_000);
            if in_time && !refs.contains_key(&name) {
                moments.at_once = Some(now);
            }
        }
        let table = Table {
            metadata,
            past: past::of_main(metadata),
            now,
        };
        // A tag is over in the millisecond after its last.
        let ends = refs
            .iter()
            .filter(|(name, tag)| super::is_ours(name) && !tag.is_branch())
            .filter_map(|(_, tag)| table.end_of(tag))
            .map(|end| TimestampMs(end.saturating_add(1)));
        moments.later.extend(ends.min());
        moments.later.retain(|at| *at > now);
        Ok(moments)
    }
}
