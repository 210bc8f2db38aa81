//! Snapshots that are older than the table keeps them.

use icepress_catalog::metadata::Metadata;
use icepress_model::TimestampMs;
use icepress_upkeep::{ExpireOutlook, ExpireRequest, Limits, expire_outlook};

use super::{Prospect, Worth, cost_of};
use crate::Settings;

/// What is asked of an expiry that nobody asked for by hand.
pub(crate) fn expire_request(settings: &Settings, limits: Limits) -> ExpireRequest {
    ExpireRequest {
        floor: settings.expire_floor,
        limits,
        ..ExpireRequest::default()
    }
}

/// What an expiry would come to.
pub(super) fn prospect(
    settings: &Settings,
    metadata: &Metadata,
    now: TimestampMs,
) -> Result<Prospect, String> {
    let request = expire_request(settings, Limits::default());
    let outlook = expire_outlook(metadata, &request, now)?;
    Ok(of_outlook(settings, &outlook))
}

fn of_outlook(settings: &Settings, outlook: &ExpireOutlook) -> Prospect {
    let ExpireOutlook {
        snapshots,
        refs,
        files,
        bytes,
        next,
        next_after_commit,
    } = *outlook;
    if snapshots == 0 && refs == 0 {
        return Prospect::Work {
            now: None,
            next,
            next_after_commit,
            as_of: None,
            rest: None,
        };
    }
    let saves_a_month = settings.prices.of_storage(bytes);
    // A list and about one manifest of each snapshot are read; the metadata, the record and its ticks are written. To delete
    // costs nothing.
    let (reads, writes) = (2 * snapshots + 10, 8 + files / 4_000);
    let costs = cost_of(settings, reads, writes);
    let mut reason = match snapshots {
        1 => "1 snapshot is older than the table keeps it".to_owned(),
        snapshots => format!("{snapshots} snapshots are older than the table keeps them"),
    };
    if refs > 0 {
        reason.push_str(&format!(", {refs} branches or tags among them"));
    }
    reason.push_str(&format!(
        "; about {files} files of {bytes} are dead then, {saves_a_month} a month"
    ));
    let now = Some(Worth {
        reason,
        saves_a_month: Some(saves_a_month),
        costs,
        frees: bytes,
    });
    Prospect::Work {
        now,
        next,
        next_after_commit,
        as_of: None,
        rest: None,
    }
}
