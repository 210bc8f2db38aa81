//! Which snapshot somebody means.

use iceberg::spec::MAIN_BRANCH;
use icepress_catalog::metadata::Metadata;
use icepress_model::TimestampMs;
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

use crate::past::{self, Past};

/// A snapshot, and how it was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) snapshot_id: i64,
    pub(super) how: String,
}

/// Finds what `to` names: a tag or branch, a snapshot, or what `branch` was at a moment. The error is a message for people.
pub(super) fn find(metadata: &Metadata, branch: &str, to: &str) -> Result<Found, String> {
    let to = to.trim();
    let refs = metadata.refs()?;
    if let Some(reference) = refs.get(to) {
        let kind = if reference.is_branch() {
            "branch"
        } else {
            "tag"
        };
        return Ok(Found {
            snapshot_id: reference.snapshot_id,
            how: format!("{kind} {to}"),
        });
    }
    if let Ok(id) = to.parse::<i64>() {
        return match metadata.snapshot_by_id(id) {
            Some(_) => Ok(Found {
                snapshot_id: id,
                how: format!("snapshot {id}"),
            }),
            None => Err(format!("it has no snapshot {id} (any more)")),
        };
    }
    let Some(moment) = moment(to) else {
        let names: Vec<&str> = refs.keys().map(String::as_str).collect();
        return Err(format!(
            "'{to}' is no tag or branch of it (there are: {}), no snapshot's number, and no moment, as in \
             2026-11-30T12:00:00Z",
            names.join(", ")
        ));
    };
    let past = if branch == MAIN_BRANCH {
        past::of_main(metadata)
    } else {
        let head = refs.get(branch).map(|reference| reference.snapshot_id);
        let line = past::ancestors(metadata, head).map(|snapshot| Past {
            snapshot_id: snapshot.snapshot_id(),
            since: TimestampMs(snapshot.timestamp_ms()),
        });
        let mut line: Vec<Past> = line.collect();
        line.reverse();
        line
    };
    let shown = Timestamp::from_millisecond(moment.get()).unwrap_or(Timestamp::MIN);
    let state = past::at(&past, moment).ok_or_else(|| {
        let oldest = past.first().map(|oldest| {
            let since = Timestamp::from_millisecond(oldest.since.get()).unwrap_or(Timestamp::MIN);
            format!(": the oldest state that is left is of {since}")
        });
        format!(
            "nothing is left of {branch} as it was at {shown}{}",
            oldest.unwrap_or_default()
        )
    })?;
    Ok(Found {
        snapshot_id: state.snapshot_id,
        how: format!("as it was at {shown}"),
    })
}

/// A moment as people write it; in UTC where they name no zone.
fn moment(text: &str) -> Option<TimestampMs> {
    let of_utc = |civil: DateTime| TimeZone::UTC.to_timestamp(civil).ok();
    let timestamp = text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| of_utc(text.parse::<DateTime>().ok()?))
        .or_else(|| of_utc(text.parse::<Date>().ok()?.at(0, 0, 0, 0)))?;
    Some(TimestampMs(timestamp.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::moment;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let noon = moment("2026-11-30T12:00:00Z").unwrap();
        for text in [
            "2026-11-30T12:00",
            "2026-11-30 12:00:00",
            "2026-11-30T13:00:00+01:00",
        ] {
            assert_eq!(moment(text), Some(noon), "{text}");
        }
        let midnight = moment("2026-11-30").unwrap();
        assert_eq!(noon.get() - midnight.get(), 12 * 3_600_000);
        for text in ["yesterday", "", "2026-13-01", "12:00"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }
}
