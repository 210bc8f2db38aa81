//! Recovery points: due when a period of theirs has ended, or their own time.

use std::time::Duration;

use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, TimestampMs};
use icepress_upkeep::tags::outlook;

use super::{Prospect, Worth, cost_of};
use crate::Settings;

/// What a run would come to.
pub(super) fn prospect(
    settings: &Settings,
    metadata: &Metadata,
    now: TimestampMs,
) -> Result<Prospect, String> {
    let outlook = outlook(metadata, now)?;
    let mut reasons = Vec::new();
    if !outlook.created.is_empty() {
        reasons.push(format!(
            "recovery points are due: {}",
            outlook.created.join(", ")
        ));
    }
    if !outlook.removed.is_empty() {
        reasons.push(format!(
            "the time is over of {}",
            outlook.removed.join(", ")
        ));
    }
    let worth = Worth {
        reason: reasons.join("; "),
        saves_a_month: None,
        // The metadata is read and written, and the task's row.
        costs: cost_of(settings, 4, 6),
        frees: Bytes::ZERO,
    };
    Ok(Prospect::Work {
        now: (!reasons.is_empty()).then_some(worth),
        next: outlook.next,
        next_after_commit: outlook.next_after_commit,
        as_of: None,
        // Their periods are rest enough, and whoever rests past the end of one leaves it without its tag.
        rest: Some(Duration::ZERO),
    })
}
