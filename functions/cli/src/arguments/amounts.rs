//! Amounts as people write them.

use std::time::Duration;

use icepress_model::{Bytes, SnapshotId};
use icepress_upkeep::restore::SchemaChoice;

/// `512MiB`, `2GB`, `1000000`: a whole number with a unit or none.
pub(super) fn bytes(text: &str) -> Result<Bytes, String> {
    let (number, unit) = split(text);
    let factor: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        _ => return Err(format!("unknown unit '{unit}': write it as in 512MiB")),
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|bytes| *bytes > 0)
        .map(Bytes)
        .ok_or_else(|| "no amount of bytes: write it as in 512MiB".to_owned())
}

/// `30s`, `5m`, `1h`; a number alone is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let factor: u64 = match unit {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => {
            return Err(format!(
                "unknown unit '{unit}': write it as in 30s, 5m or 1h"
            ));
        }
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .filter(|seconds| *seconds > 0)
        .map(Duration::from_secs)
        .ok_or_else(|| "no time: write it as in 30s, 5m or 1h".to_owned())
}

/// `30s`, `1h`, `5d`, or `0`: a time that may be none.
pub(super) fn age(text: &str) -> Result<Duration, String> {
    let (number, _) = split(text);
    match number.parse() {
        Ok(0u64) => Ok(Duration::ZERO),
        _ => duration(text),
    }
}

/// Dollars, as in 12 or 12.50.
pub(super) fn dollars(text: &str) -> Result<f64, String> {
    text.trim_start_matches('$')
        .parse()
        .ok()
        .filter(|dollars: &f64| dollars.is_finite() && *dollars >= 0.0)
        .ok_or_else(|| "no amount of dollars: write it as in 12.50".to_owned())
}

/// At least one.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|threads| (1..=1024).contains(threads))
        .ok_or_else(|| "it should be a number from 1 to 1024".to_owned())
}

/// A snapshot's number.
pub(super) fn snapshot(text: &str) -> Result<SnapshotId, String> {
    text.parse()
        .map(SnapshotId)
        .map_err(|_| "a snapshot id is a whole number".to_owned())
}

/// `keep`, `snapshot`, or a schema's id.
pub(super) fn schema(text: &str) -> Result<SchemaChoice, String> {
    match text {
        "keep" => Ok(SchemaChoice::Keep),
        "snapshot" => Ok(SchemaChoice::OfSnapshot),
        id => id
            .parse()
            .map(SchemaChoice::Id)
            .map_err(|_| "it should be keep, snapshot, or a schema's id".to_owned()),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}
