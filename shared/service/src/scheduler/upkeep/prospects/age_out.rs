//! Rows that are too old: due when a partition passes its age. Where partitions don't tell, a run has to ask the files' statistics
//! for it, once a day at most, and only where anything can have become older since.

use icepress_catalog::metadata::Metadata;
use icepress_model::{Bytes, NanoDollars, TimestampMs};
use icepress_upkeep::ages::{AgeOutlook, outlook};

use super::{Prospect, Read, Worth, cost_of};
use crate::Settings;

/// What a run would come to. Nothing where the table does not say how old its rows may become.
pub(super) fn prospect(
    settings: &Settings,
    metadata: &Metadata,
    read: &Read<'_>,
    now: TimestampMs,
) -> Result<Prospect, String> {
    let outlook = outlook(metadata, read.scan, now)?;
    // Every manifest is read to decide and once more to commit; what is left is written anew, with a list and the metadata.
    let costs = cost_of(settings, 2 * read.manifests + 10, read.manifests + 10);
    Ok(of_outlook(&outlook.unwrap_or_default(), costs))
}

pub(in crate::scheduler::upkeep) fn of_outlook(
    outlook: &AgeOutlook,
    costs: NanoDollars,
) -> Prospect {
    let AgeOutlook {
        partitions,
        old,
        untold,
        next,
        as_of,
    } = *outlook;
    let worth = |reason, saves_a_month, frees| Worth {
        reason,
        saves_a_month,
        costs,
        frees,
    };
    let (now, as_of) = if old.files > 0 {
        let (files, rows, bytes) = (old.files, old.rows.get(), old.bytes);
        let reason = format!(
            "{partitions} partitions are older than the table keeps its rows: {files} files with {rows} rows, {bytes}"
        );
        (Some(worth(reason, None, bytes)), None)
    } else if untold.files > 0 {
        let reason = format!(
            "of {} files their statistics alone say how old their rows are",
            untold.files
        );
        let saves = Some(NanoDollars::ZERO);
        (Some(worth(reason, saves, Bytes::ZERO)), as_of)
    } else {
        (None, None)
    };
    Prospect::Work {
        now,
        next,
        // Our own commits make nothing older.
        next_after_commit: next,
        as_of,
        rest: None,
    }
}
