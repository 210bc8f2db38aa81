//! Old metadata files: which go, which stay, and what the log says of them.

use std::collections::BTreeSet;

use icepress_storage::{AwsEnvironment, PutMode, Reach, S3Options, StorageRouter, WriteOptions};

use iceberg::spec::TableMetadata;

use super::*;
use crate::metadata::{delete_what_a_found_commit_left, load_at, old::keep_in_the_log};

const DELETE: (&str, &str) = ("write.metadata.delete-after-commit.enabled", "True");
const TWO: (&str, &str) = ("write.metadata.previous-versions-max", "2");

fn that_deletes(may_delete: bool) -> StorageRouter {
    let aws = AwsEnvironment::new();
    let router = StorageRouter::new(aws, S3Options::default(), Reach::local(), Ambient::system());
    router.that_deletes(may_delete)
}

/// A commit whose swap came to `swapped`.
async fn commit(
    storage: &dyn Storage,
    base: &LoadedTable,
    updates: Vec<TableUpdate>,
    swapped: Result<(), CommitError>,
) -> Result<LoadedTable, CommitError> {
    let change = TableChange {
        requirements: Vec::new(),
        updates,
    };
    let staged = stage_metadata(storage, &Ambient::system(), base, change).await?;
    staged.settle(storage, base, swapped).await
}

/// So many commits that are in; the states before and after each.
async fn commits(storage: &dyn Storage, base: &LoadedTable, count: usize) -> Vec<LoadedTable> {
    let mut states = vec![base.clone()];
    for turn in 0..count {
        let updates = properties(&[("turn", &turn.to_string())]);
        let next = commit(storage, states.last().unwrap(), updates, Ok(())).await;
        states.push(next.unwrap());
    }
    states
}

fn log(state: &LoadedTable) -> Vec<String> {
    let log = state.metadata.metadata_log().iter();
    log.map(|entry| entry.metadata_file.clone()).collect()
}

fn locations(states: &[LoadedTable]) -> Vec<String> {
    let states = states.iter();
    states
        .map(|state| state.metadata_location.to_string())
        .collect()
}

/// The metadata files on disk.
fn there(root: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(format!("{root}/t/metadata")).unwrap();
    files
        .map(|file| file.unwrap().path().display().to_string())
        .collect()
}

fn set(locations: &[String]) -> BTreeSet<String> {
    locations.iter().cloned().collect()
}

#[tokio::test]
async fn what_leaves_the_log_is_deleted_where_the_table_wants_it() {
    for (wants, may_delete) in [(true, true), (false, true), (false, false)] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display().to_string();
        let settings = if wants { vec![TWO, DELETE] } else { vec![TWO] };
        let base = new_table(&Ambient::system(), &root, &settings).await;
        let states = commits(&that_deletes(may_delete), &base, 5).await;
        let all = locations(&states);
        assert_eq!(log(&states[5]), all[3..5]);
        let stays = if wants { &all[3..] } else { &all[..] };
        assert_eq!(there(&root), set(stays), "{wants} {may_delete}");
    }
}

#[tokio::test]
async fn who_may_not_delete_leaves_the_log_whole_for_who_may() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let base = new_table(&Ambient::system(), &root, &[TWO, DELETE]).await;
    let states = commits(&that_deletes(false), &base, 5).await;
    let mut all = locations(&states);
    assert_eq!(log(&states[5]), all[..5], "the oldest first");
    assert_eq!(there(&root), set(&all));
    // As it was written, and with the times that it had.
    let read = read_metadata(&LocalStorage::new(), &table(), &states[5].metadata_location)
        .await
        .unwrap();
    let before = states[4].metadata.metadata_log();
    assert_eq!(read.metadata_log()[..4], *before);

    let after = commits(&that_deletes(true), &states[5], 1).await;
    all.push(after[1].metadata_location.to_string());
    assert_eq!(log(&after[1]), all[4..6]);
    assert_eq!(there(&root), set(&all[4..]));
}

#[tokio::test]
async fn nothing_is_deleted_unless_the_commit_is_known_to_be_in() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let base = new_table(&Ambient::system(), &root, &[TWO, DELETE]).await;
    let storage = that_deletes(true);
    let states = commits(&storage, &base, 2).await;
    let before = set(&locations(&states));
    let unknown = CommitError::OutcomeUnknown {
        table: table(),
        message: "a time-out".to_owned(),
    };
    for error in [unknown, CommitError::Conflict(table())] {
        let updates = properties(&[("by", "us")]);
        let failed = commit(&storage, &states[2], updates, Err(error)).await;
        failed.unwrap_err();
        assert!(there(&root).is_superset(&before));
    }
    // Who may not delete does not, whoever wrote the file.
    let change = TableChange {
        requirements: Vec::new(),
        updates: properties(&[("by", "us")]),
    };
    let staged = stage_metadata(&storage, &Ambient::system(), &states[2], change).await;
    let staged = staged.unwrap();
    let kept = that_deletes(false);
    staged.settle(&kept, &states[2], Ok(())).await.unwrap();
    assert!(there(&root).is_superset(&before));
    // What the change itself says of it holds at once.
    let off = properties(&[(DELETE.0, "false")]);
    commit(&storage, &states[2], off, Ok(())).await.unwrap();
    assert!(there(&root).is_superset(&before));
}

/// A swap that took effect and of which nobody knew: what it left in no log goes when the commit is found.
#[tokio::test]
async fn what_an_unknown_outcome_left_is_deleted_when_the_commit_is_found() {
    for may_delete in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display().to_string();
        let base = new_table(&Ambient::system(), &root, &[TWO, DELETE]).await;
        let storage = that_deletes(true);
        let mut all = locations(&commits(&storage, &base, 3).await);
        let at = MetadataLocation::from(all[3].as_str());
        let state = load_at(&storage, &table(), at).await.unwrap();
        let change = TableChange {
            requirements: Vec::new(),
            updates: properties(&[("by", "us")]),
        };
        let staged = stage_metadata(&storage, &Ambient::system(), &state, change).await;
        let made = staged.unwrap().location;
        all.push(made.to_string());
        assert_eq!(there(&root), set(&all[1..]), "in no log, and there still");
        delete_what_a_found_commit_left(&that_deletes(may_delete), &table(), &made).await;
        let stays = if may_delete { &all[2..] } else { &all[1..] };
        assert_eq!(there(&root), set(stays));
        // Once more, as another process would.
        delete_what_a_found_commit_left(&that_deletes(may_delete), &table(), &made).await;
        assert_eq!(there(&root), set(stays));
    }
}

#[tokio::test]
async fn the_log_of_who_may_never_delete_is_bounded() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let base = new_table(&Ambient::system(), &root, &[TWO, DELETE]).await;
    let entries = |range: std::ops::Range<i64>| -> serde_json::Value {
        range
            .map(|i| {
                let file = format!("{root}/t/metadata/{i:05}-x.metadata.json");
                serde_json::json!({ "metadata-file": file, "timestamp-ms": 1_000 + i })
            })
            .collect()
    };
    let mut json = serde_json::to_value(&**base.metadata).unwrap();
    json["last-updated-ms"] = 10_000.into();
    json["metadata-log"] = entries(0..1_500);
    let long: TableMetadata = serde_json::from_value(json.clone()).unwrap();
    json["metadata-log"] = entries(1_499..1_501);
    keep_in_the_log(&mut json, &long);
    assert_eq!(
        json["metadata-log"],
        entries(499..1_501),
        "the newest, in order"
    );
}

#[tokio::test]
async fn a_file_that_can_t_be_deleted_fails_no_commit() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let base = new_table(&Ambient::system(), &root, &[TWO, DELETE]).await;
    let storage = that_deletes(true);
    let states = commits(&storage, &base, 2).await;
    let oldest = base.metadata_location.as_str();
    std::fs::remove_file(oldest).unwrap();
    // A folder is no file.
    std::fs::create_dir(oldest).unwrap();
    let next = commits(&storage, &states[2], 1).await;
    assert_eq!(log(&next[1]), locations(&states)[1..]);
    assert!(there(&root).contains(oldest));
}

#[tokio::test]
async fn neither_the_two_states_of_a_commit_nor_what_is_no_metadata_file_is_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let base = new_table(&Ambient::system(), &root, &[TWO, DELETE]).await;
    let storage = that_deletes(true);
    let old = format!("{root}/t/metadata/00000-old.metadata.json");
    let data = format!("{root}/t/metadata/part-0.parquet");
    for file in [&old, &data] {
        std::fs::write(file, "x").unwrap();
    }
    // A log that names the table's own state, in other letters, and a file of another kind.
    let content = storage.read(base.metadata_location.as_str()).await.unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&content).unwrap();
    let itself = format!("file://{}", base.metadata_location);
    let entries = [&itself, &data, &old, &old, &old]
        .map(|file| serde_json::json!({ "metadata-file": file, "timestamp-ms": 1 }));
    json["metadata-log"] = entries.to_vec().into();
    let content = serde_json::to_vec(&json).unwrap();
    let (mode, options) = (PutMode::Overwrite, WriteOptions::default());
    let place = base.metadata_location.as_str();
    let put = storage.put(place, content.into(), mode, &options);
    put.await.unwrap();
    let metadata = read_metadata(&storage, &table(), &base.metadata_location).await;
    let base = LoadedTable {
        metadata: Arc::new(metadata.unwrap()),
        ..base
    };

    let states = commits(&storage, &base, 1).await;
    let mut stays = locations(&states);
    stays.push(data.clone());
    // One of its entries is in the log yet.
    stays.push(old.clone());
    assert_eq!(log(&states[1]), [old.clone(), stays[0].clone()]);
    assert_eq!(there(&root), set(&stays));
    let states = commits(&storage, &states[1], 1).await;
    assert!(there(&root).contains(&data));
    assert!(!there(&root).contains(&old));
    assert!(there(&root).is_superset(&set(&locations(&states))));
}
