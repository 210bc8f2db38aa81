//! Old metadata files of tables that want them deleted after each commit.
//!
//! A table's log of metadata files has `write.metadata.previous-versions-max` entries (100): each commit takes the oldest of
//! a longer one out of it, which the `iceberg` crate sees to. Where `write.metadata.delete-after-commit.enabled` is set, the
//! files that left the log are deleted once the commit is in (Java: `CatalogUtil.deleteRemovedMetadataFiles`). Who may not
//! delete leaves such a log whole instead: what is in no log is found by a search for orphans alone, and whoever commits
//! next and may delete finds it there. That is bounded, for the log is read and written with every commit.

use std::collections::{HashMap, HashSet};

use iceberg::spec::{MetadataLog, TableMetadata};
use icepress_model::{MetadataLocation, TableId};
use icepress_storage::Storage;
use serde_json::{Value, json};

use super::load_at;
use crate::LoadedTable;

/// Whether what left the log is deleted.
const DELETE: &str = "write.metadata.delete-after-commit.enabled";
/// So many files stay in the log of one that may not delete them, besides those that the table wants: about 150 kB of a
/// metadata file. Where nobody ever comes who may, older ones leave it, for a search for orphans to find.
const MOST_KEPT: usize = 1000;
/// What the name of each metadata file has in it: Java takes no other for one.
const IN_THE_NAME: &str = ".metadata.json";

/// Puts back into the log of `next`, which a change made of `base`, what was taken out of it, where the table wants that
/// deleted.
pub(super) fn keep_in_the_log(next: &mut Value, base: &TableMetadata) {
    let setting = next
        .get("properties")
        .and_then(|properties| properties.get(DELETE));
    if !is_true(setting.and_then(Value::as_str)) {
        return;
    }
    let Some(log) = next.get_mut("metadata-log").and_then(Value::as_array_mut) else {
        return;
    };
    let kept: HashSet<String> = log
        .iter()
        .filter_map(|entry| Some(entry.get("metadata-file")?.as_str()?.to_owned()))
        .collect();
    let left: Vec<&MetadataLog> = base
        .metadata_log()
        .iter()
        .filter(|entry| !kept.contains(&entry.metadata_file))
        .collect();
    let newest = &left[left.len().saturating_sub(MOST_KEPT)..];
    let newest = newest.iter().map(
        |entry| json!({ "metadata-file": entry.metadata_file, "timestamp-ms": entry.timestamp_ms }),
    );
    log.splice(..0, newest);
}

/// Deletes the files that the commit from `base` to `now` took out of the log, where the table wants it and `storage` may.
/// The commit must be known to be in. What can't be deleted stays, and the log of the program says so.
pub(crate) async fn delete_what_left_the_log(
    storage: &dyn Storage,
    base: &LoadedTable,
    now: &LoadedTable,
) {
    if !storage.may_delete() || !wants_deletion(now.metadata.properties()) {
        return;
    }
    let left = left_the_log(base, now);
    if left.is_empty() {
        return;
    }
    for outcome in storage.delete(&left).await {
        if let Err(error) = outcome.result {
            tracing::warn!(
                table = %base.table,
                %error,
                "a metadata file that left the table's log could not be deleted and stays behind"
            );
        }
    }
}

/// The same for a commit that was found to be in, after an unknown outcome or by another process than made it: `made` is
/// the metadata file that it made current, which lists the one that it was made of.
pub async fn delete_what_a_found_commit_left(
    storage: &dyn Storage,
    table: &TableId,
    made: &MetadataLocation,
) {
    if !storage.may_delete() {
        return;
    }
    // One that can't be read any more, or whose base can't be, leaves files for a search for orphans.
    let Ok(now) = load_at(storage, table, made.clone()).await else {
        return;
    };
    let Some(before) = now.metadata.metadata_log().last() else {
        return;
    };
    let before = MetadataLocation::from(before.metadata_file.as_str());
    if let Ok(base) = load_at(storage, table, before).await {
        delete_what_left_the_log(storage, &base, &now).await;
    }
}

/// Whether a table with these properties wants metadata files deleted that left its log.
pub fn wants_deletion(properties: &HashMap<String, String>) -> bool {
    is_true(properties.get(DELETE).map(String::as_str))
}

/// As Java reads it.
fn is_true(setting: Option<&str>) -> bool {
    setting.is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// The metadata files in the log of `base` that are neither in that of `now` nor one of the two themselves.
///
/// They are told apart by their names: one location can be written in several ways (`s3a://`, `file:/`), and to take two
/// for one only leaves a file. What is not named as a metadata file is none, whoever wrote it into the log.
fn left_the_log(base: &LoadedTable, now: &LoadedTable) -> Vec<String> {
    fn file(entry: &MetadataLog) -> &str {
        &entry.metadata_file
    }
    let (before, after) = (base.metadata.metadata_log(), now.metadata.metadata_log());
    let two = [&base.metadata_location, &now.metadata_location].map(|location| location.as_str());
    let mut spared: HashSet<&str> = after.iter().map(file).chain(two).map(name_of).collect();
    let left = before.iter().map(file).filter(|location| {
        let name = name_of(location);
        // Once only, should the log have it twice.
        name.contains(IN_THE_NAME) && spared.insert(name)
    });
    left.map(str::to_owned).collect()
}

fn name_of(location: &str) -> &str {
    location.rsplit('/').next().unwrap_or(location)
}
