//! Metadata as JSON: read with errors for people, written always the same for the same metadata.

use std::{borrow::Cow, io::Read as _};

use flate2::read::MultiGzDecoder;
use iceberg::spec::{
    FormatVersion, PartitionSpec, PartitionStatisticsFile, Schema, SortOrder, StatisticsFile,
    TableMetadata,
};
use icepress_model::TimestampMs;
use serde_json::Value;

use super::{
    check::first_fault,
    readable::{Unreadable, bind_void_fields, leave_out_unknown, lost_defaults, unknown_type},
    refs, snapshots,
    spelled::spell,
    thin,
    whole::{Metadata, holds_moments, take_out_moments},
};

/// How large a metadata file may be when decompressed, whatever its size.
const MOST_DECOMPRESSED: usize = 64 << 20;
/// How often its own size it may be above that: metadata repeats itself, and shrinks to a twentieth or so. Gzip could
/// make it a thousandth.
const MOST_TIMES: usize = 100;

/// What some editors and libraries begin a text with, to say that it is UTF-8.
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// The file's content without its compression.
pub(super) fn decompressed(content: &[u8]) -> Result<Cow<'_, [u8]>, String> {
    if !content.starts_with(&[0x1f, 0x8b]) {
        let json = content.strip_prefix(BYTE_ORDER_MARK).unwrap_or(content);
        return Ok(Cow::Borrowed(json));
    }
    let limit = MOST_DECOMPRESSED.max(content.len().saturating_mul(MOST_TIMES));
    let mut json = Vec::new();
    let read = MultiGzDecoder::new(content)
        .take(limit as u64 + 1)
        .read_to_end(&mut json)
        .map_err(|error| format!("it is not a whole gzip file: {error}"))?;
    if read > limit {
        return Err(format!(
            "its {} bytes are more than {limit} when decompressed",
            content.len()
        ));
    }
    Ok(Cow::Owned(json))
}

/// Reads a metadata file's content. Of very many snapshots the summaries of old ones are short ([`Metadata::is_thin`]).
pub(super) fn parse(content: &[u8]) -> Result<Metadata, Unreadable> {
    let mut json = decompressed(content).map_err(Unreadable::Invalid)?;
    let short = thin::thinned(&json);
    let is_thin = short.is_some();
    if let Some(short) = short {
        json = Cow::Owned(short);
    }
    let metadata = parse_without_old_refs(&json)?.thin(is_thin);
    Ok(match metadata.format_version() {
        FormatVersion::V1 => metadata.with_old_refs(refs::of_file(&json)),
        FormatVersion::V2 | FormatVersion::V3 => metadata,
    })
}

/// The metadata without the branches and tags of version 1, which the crate forgets.
fn parse_without_old_refs(json: &[u8]) -> Result<Metadata, Unreadable> {
    let error = match serde_json::from_slice::<TableMetadata>(json) {
        Ok(metadata) => return with_all_defaults(json, metadata),
        Err(error) => error,
    };
    let mut value: Value = serde_json::from_slice(json)
        .map_err(|error| Unreadable::Invalid(format!("it is not valid JSON: {error}")))?;
    // The error of the whole says only that no version's form fits.
    let version = match value.get("format-version") {
        Some(version) => match version.as_u64() {
            Some(known @ 1..=3) => known,
            _ => {
                return Err(Unreadable::Invalid(format!(
                    "its format version is {version}: only 1, 2 and 3 are known"
                )));
            }
        },
        None => return Err(Unreadable::Invalid("it has no format-version".to_owned())),
    };
    spell(&mut value);
    let fault = first_fault(&value, version);
    let mut why = error;
    let completed = snapshots::complete(&mut value);
    leave_out_unknown(&mut value);
    bind_void_fields(&mut value);
    if let Some(unsupported) = unknown_type(&value) {
        return Err(unsupported);
    }
    // Also where none of this was needed: a key that is there twice is there once in the value, with what it says last, as
    // Java takes it.
    if fault.is_none() {
        take_out_moments(&mut value);
        match serde_json::from_value::<TableMetadata>(value.clone()) {
            Ok(metadata) => {
                let metadata = with_all_defaults(json, metadata)?;
                return Ok(metadata.with_named_manifests(completed.named_manifests));
            }
            Err(error) => why = error,
        }
    }
    let fault = fault
        .or_else(|| first_misfit(&value))
        .unwrap_or_else(|| plainly(&first_line_of(&why.to_string())).to_owned());
    Err(Unreadable::Invalid(format!(
        "it is not valid metadata of format version {version}: {fault}"
    )))
}

/// The part of metadata that the crate does not take in by itself, where each field is as it should be.
fn first_misfit(metadata: &Value) -> Option<String> {
    fn of<T: serde::de::DeserializeOwned>(metadata: &Value, key: &str) -> Option<String> {
        let items = metadata.get(key).and_then(Value::as_array)?;
        items.iter().enumerate().find_map(|(index, item)| {
            let error = T::deserialize(item).err()?;
            let why = first_line_of(&error.to_string());
            Some(format!("{key}[{index}]: {}", plainly(&why)))
        })
    }
    of::<Schema>(metadata, "schemas")
        .or_else(|| of::<PartitionSpec>(metadata, "partition-specs"))
        .or_else(|| of::<SortOrder>(metadata, "sort-orders"))
        .or_else(|| of::<StatisticsFile>(metadata, "statistics"))
        .or_else(|| of::<PartitionStatisticsFile>(metadata, "partition-statistics"))
}

/// Words that say something to people.
fn plainly(why: &str) -> &str {
    match why.contains("untagged enum") {
        true => "it is of a form that is not known",
        false => why,
    }
}

/// The metadata with the default values that got lost when it was read.
fn with_all_defaults(json: &[u8], parsed: TableMetadata) -> Result<Metadata, Unreadable> {
    if parsed.format_version() < FormatVersion::V3 {
        return Ok(parsed.into());
    }
    let text = String::from_utf8_lossy(json);
    if !text.contains("-default\"") {
        return Ok(parsed.into());
    }
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| Unreadable::Invalid(format!("it is not valid JSON: {error}")))?;
    let mut without = value.clone();
    // They may be in it: not where it had to be mended.
    let parsed = match holds_moments(&parsed) && take_out_moments(&mut without) {
        true => serde_json::from_value(without)
            .map_err(|error| Unreadable::Invalid(first_line_of(&error.to_string())))?,
        false => parsed,
    };
    let lost = lost_defaults(&value, &parsed)?;
    Metadata::with_defaults(parsed, &lost).map_err(Unreadable::Invalid)
}

/// The crate's words without the schemas and stacks that it prints after them.
fn first_line_of(message: &str) -> String {
    let end = ["Schema {", "\n"]
        .iter()
        .filter_map(|mark| message.find(mark))
        .min();
    message[..end.unwrap_or(message.len())].trim().to_owned()
}

/// The metadata in an order of its own: the `iceberg` crate keeps maps whose order differs from run to run.
pub(super) fn ordered(metadata: &TableMetadata) -> serde_json::Result<Value> {
    let mut json = serde_json::to_value(metadata)?;
    let by_number = |key: &'static str| move |item: &Value| item.get(key).and_then(Value::as_i64);
    sort(&mut json, "schemas", by_number("schema-id"));
    sort(&mut json, "partition-specs", by_number("spec-id"));
    sort(&mut json, "sort-orders", by_number("order-id"));
    sort(&mut json, "statistics", by_number("snapshot-id"));
    sort(&mut json, "partition-statistics", by_number("snapshot-id"));
    sort(&mut json, "encryption-keys", |key| {
        key.get("key-id").and_then(Value::as_str).map(str::to_owned)
    });
    sort(&mut json, "snapshots", |snapshot| {
        ["sequence-number", "timestamp-ms", "snapshot-id"]
            .map(|key| snapshot.get(key).and_then(Value::as_i64).unwrap_or(0))
    });
    for key in [
        "properties",
        "refs",
        "snapshots",
        "statistics",
        "encryption-keys",
    ] {
        if let Some(value) = json.get_mut(key) {
            value.sort_all_objects();
        }
    }
    Ok(json)
}

fn sort<K: Ord>(json: &mut Value, key: &str, by: impl Fn(&Value) -> K) {
    if let Some(items) = json.get_mut(key).and_then(Value::as_array_mut) {
        items.sort_by_key(|item| by(item));
    }
}

/// Puts `time` where the crate took the system's clock: the time of the update, and of a move of the main branch that
/// came with it.
pub(super) fn set_time(json: &mut Value, time: TimestampMs) {
    let taken_from_the_air = json.get("last-updated-ms").cloned();
    json["last-updated-ms"] = Value::from(time.get());
    let last_entry = json
        .get_mut("snapshot-log")
        .and_then(Value::as_array_mut)
        .and_then(|log| log.last_mut());
    if let Some(entry) = last_entry
        && entry.get("timestamp-ms") == taken_from_the_air.as_ref()
    {
        entry["timestamp-ms"] = Value::from(time.get());
    }
}
