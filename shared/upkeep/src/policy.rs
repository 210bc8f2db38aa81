//! How long a table wants to keep its snapshots: Iceberg's own properties and Amoro's.
//!
//! Where both are set the more careful one counts, the longer time and the greater number: whoever set either relies on it.

use std::{collections::HashMap, time::Duration};

/// Iceberg's, with the defaults of its Java library (`TableProperties`).
const MAX_SNAPSHOT_AGE: &str = "history.expire.max-snapshot-age-ms";
const MIN_SNAPSHOTS: &str = "history.expire.min-snapshots-to-keep";
const MAX_REF_AGE: &str = "history.expire.max-ref-age-ms";
const GC_ENABLED: &str = "gc.enabled";
/// Five days.
const DEFAULT_AGE: Duration = Duration::from_secs(5 * 24 * 3600);

/// Amoro's (its `TableProperties`; the defaults are those of its service, and do not count here).
const AMORO_ENABLED: &str = "table-expire.enabled";
const AMORO_AGE: &str = "snapshot.keep.duration";
const AMORO_MIN_SNAPSHOTS: &str = "snapshot.keep.min-count";
const AMORO_FLINK: &str = "snapshot.keep.flink.checkpoint-retention";
const AMORO_FLINK_DEFAULT: Duration = Duration::from_secs(7 * 24 * 3600);

const AMORO_CLEAN_ENABLED: &str = "clean-orphan-file.enabled";
const AMORO_CLEAN_AGE: &str = "clean-orphan-file.min-existing-time-minutes";

const INVENTORY: &str = "icepress.maintain.orphans-inventory";
const QUARANTINE: &str = "icepress.maintain.orphans-quarantine";
/// In place of an inventory's location: folders are listed.
pub const NO_INVENTORY: &str = "off";

/// How old files must be that nothing refers to, as Iceberg's Java library has it.
const DEFAULT_ORPHAN_AGE: Duration = Duration::from_secs(3 * 24 * 3600);
/// Younger ones stay whatever anybody asks: whoever writes them may commit them yet.
pub const ORPHAN_FLOOR: Duration = Duration::from_secs(24 * 3600);

/// Snapshots that are younger than this, or were the newest of a branch less than this ago, stay whatever anybody asks: readers and
/// writers that loaded the table when they were current may still be at work.
pub const FLOOR: Duration = Duration::from_secs(3600);

/// What a table's properties say of its snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpirePolicy {
    /// Older ones go, unless a branch says otherwise.
    pub max_snapshot_age: Duration,
    /// So many stay on each branch, unless it says otherwise. At least one.
    pub min_snapshots: usize,
    /// Branches and tags whose snapshot is older go, but for the main branch and unless they say otherwise; `None` for
    /// never.
    pub max_ref_age: Option<Duration>,
    /// A Flink job's last checkpoint that is younger keeps what came after it, so that the job can go on from it.
    pub flink_retention: Duration,
}

impl ExpirePolicy {
    /// The policy of a table with these properties. The error is a message for people: nothing may be expired, or a value
    /// can't be read.
    pub fn of(properties: &HashMap<String, String>) -> Result<Self, String> {
        check_allowed(properties, AMORO_ENABLED, "no snapshot expired")?;
        let millis = |key| number(properties, key).map(|it| it.map(Duration::from_millis));
        let count = |key| {
            let number = number(properties, key)?;
            Ok::<_, String>(number.map(|it| usize::try_from(it).unwrap_or(usize::MAX)))
        };
        let age = millis(MAX_SNAPSHOT_AGE)?.max(duration(properties, AMORO_AGE, 60_000)?);
        let min = count(MIN_SNAPSHOTS)?.max(count(AMORO_MIN_SNAPSHOTS)?);
        let flink = duration(properties, AMORO_FLINK, 1)?;
        Ok(Self {
            max_snapshot_age: age.unwrap_or(DEFAULT_AGE),
            min_snapshots: min.unwrap_or(1).max(1),
            max_ref_age: millis(MAX_REF_AGE)?,
            flink_retention: flink.unwrap_or(AMORO_FLINK_DEFAULT),
        })
    }
}

/// What a table's properties say of files that nothing refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrphanPolicy {
    /// How old they must be to go.
    pub age: Duration,
    /// The inventory that tells what there is, or [`NO_INVENTORY`]; `None` where the table does not say.
    pub inventory: Option<String>,
    /// Whether they are marked before they go; `None` where the table does not say.
    pub quarantine: Option<bool>,
}

impl OrphanPolicy {
    /// The policy of a table with these properties, as [`ExpirePolicy::of`] has its own.
    pub fn of(properties: &HashMap<String, String>) -> Result<Self, String> {
        check_allowed(properties, AMORO_CLEAN_ENABLED, "no files cleaned up")?;
        let minutes = number(properties, AMORO_CLEAN_AGE)?;
        let age = minutes.map(|minutes| Duration::from_secs(minutes.saturating_mul(60)));
        Ok(Self {
            age: age.unwrap_or(DEFAULT_ORPHAN_AGE).max(ORPHAN_FLOOR),
            inventory: properties.get(INVENTORY).map(|it| it.trim().to_owned()),
            quarantine: flag(properties, QUARANTINE)?,
        })
    }
}

/// Whether files may be deleted at all, and whether its owner switched this kind of upkeep off.
fn check_allowed(
    properties: &HashMap<String, String>,
    switch: &str,
    wants: &str,
) -> Result<(), String> {
    let is_false = |key: &str| {
        let value = properties.get(key);
        value.is_some_and(|value| !value.trim().eq_ignore_ascii_case("true"))
    };
    if is_false(GC_ENABLED) {
        return Err(format!(
            "{GC_ENABLED} is false: other tables may use its files, and none may be deleted"
        ));
    }
    if is_false(switch) {
        return Err(format!(
            "{switch} is false: its owner wants {wants} (set it to true, or take it away)"
        ));
    }
    Ok(())
}

fn flag(properties: &HashMap<String, String>, key: &str) -> Result<Option<bool>, String> {
    let Some(text) = properties.get(key) else {
        return Ok(None);
    };
    let flag = text.trim().to_ascii_lowercase().parse();
    flag.map(Some)
        .map_err(|_| format!("{key} is '{text}': it must be true or false"))
}

fn number(properties: &HashMap<String, String>, key: &str) -> Result<Option<u64>, String> {
    let Some(text) = properties.get(key) else {
        return Ok(None);
    };
    let number = text.trim().parse();
    let number = number.map_err(|_| format!("{key} is '{text}': it must be a whole number"))?;
    Ok(Some(number))
}

/// A time as Amoro writes it: a number and a unit, or a number alone of `unit` milliseconds.
pub(crate) fn duration(
    properties: &HashMap<String, String>,
    key: &str,
    unit: u64,
) -> Result<Option<Duration>, String> {
    let Some(text) = properties.get(key) else {
        return Ok(None);
    };
    let time = time_of(text, Some(unit));
    time.map(Some).ok_or_else(|| {
        format!("{key} is '{text}': it must be a number with a unit, as in 720min or 7d")
    })
}

/// A time as people write it, with its unit, as in `7d`; `None` where it is none.
pub fn duration_of(text: &str) -> Option<Duration> {
    time_of(text, None)
}

/// `unit` is how many milliseconds a number alone counts.
fn time_of(text: &str, unit: Option<u64>) -> Option<Duration> {
    let trimmed = text.trim();
    let end = trimmed
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(trimmed.len());
    let (number, label) = trimmed.split_at(end);
    let number: u64 = number.parse().ok()?;
    let label = label.trim().to_ascii_lowercase();
    let millis = match label.as_str() {
        "" => unit?,
        "w" | "week" | "weeks" => 7 * 24 * 3_600_000,
        "d" | "day" | "days" => 24 * 3_600_000,
        "h" | "hour" | "hours" => 3_600_000,
        "min" | "minute" | "minutes" => 60_000,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000,
        "ms" | "milli" | "millis" | "millisecond" | "milliseconds" => 1,
        _ => return None,
    };
    Some(Duration::from_millis(number.saturating_mul(millis)))
}
