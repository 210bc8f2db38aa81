//! Tables of very many snapshots: what is not read of them is not lost.

use super::*;

/// A table of 1,500 snapshots and 9 MB of metadata.
async fn worn(root: &str) -> (LoadedTable, serde_json::Value) {
    let base = new_table(&Ambient::system(), root, &[]).await;
    let content = LocalStorage::new()
        .read(base.metadata_location.as_str())
        .await
        .unwrap();
    let mut json: serde_json::Value = serde_json::from_slice(&content).unwrap();
    let first = json["last-updated-ms"].as_i64().unwrap() - 10_000;
    let snapshots = (1..=1500).map(|id: i64| {
        serde_json::json!({
            "snapshot-id": id, "sequence-number": id, "timestamp-ms": first + id, "schema-id": 0,
            "manifest-list": format!("{root}/t/metadata/snap-{id}.avro"),
            "summary": {"operation": "append", "icepress.process-id": format!("p{id}"), "padding": "x".repeat(6000)},
        })
    });
    let log = (1..=1500)
        .map(|id: i64| serde_json::json!({"snapshot-id": id, "timestamp-ms": first + id}));
    json["snapshot-log"] = log.collect::<Vec<_>>().into();
    json["snapshots"] = snapshots.collect::<Vec<_>>().into();
    json["current-snapshot-id"] = 1500.into();
    json["last-sequence-number"] = 1500.into();
    json["refs"] = serde_json::json!({"main": {"snapshot-id": 1500, "type": "branch"}});
    let folder = std::path::Path::new(root);
    (loaded_from(folder, &json).await, json)
}

#[tokio::test]
async fn old_summaries_are_not_held_and_the_next_file_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let (base, before) = worn(&root).await;
    assert!(base.metadata.is_thin());
    let summary = |id| {
        &base
            .metadata
            .snapshot_by_id(id)
            .unwrap()
            .summary()
            .additional_properties
    };
    assert!(summary(1500).contains_key("padding"), "new ones are whole");
    assert!(!summary(3).contains_key("padding"));
    assert_eq!(summary(3)["icepress.process-id"], "p3");

    let change = TableChange {
        requirements: Vec::new(),
        updates: vec![TableUpdate::RemoveSnapshots {
            snapshot_ids: vec![1, 2],
        }],
    };
    let staged = stage_metadata(&LocalStorage::new(), &Ambient::system(), &base, change).await;
    let content = LocalStorage::new()
        .read(staged.unwrap().location.as_str())
        .await
        .unwrap();
    let after: serde_json::Value = serde_json::from_slice(&content).unwrap();
    let mut kept = after["snapshots"].as_array().unwrap().clone();
    kept.sort_by_key(|it| it["snapshot-id"].as_i64());
    assert!(
        kept.iter()
            .eq(before["snapshots"].as_array().unwrap()[2..].iter())
    );
}

#[tokio::test]
async fn its_format_version_does_not_change_before_some_are_expired() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let (base, _) = worn(&root).await;
    let change = TableChange {
        requirements: Vec::new(),
        updates: vec![TableUpdate::UpgradeFormatVersion {
            format_version: iceberg::spec::FormatVersion::V3,
        }],
    };
    let staged = stage_metadata(&LocalStorage::new(), &Ambient::system(), &base, change).await;
    let error = staged.unwrap_err();
    assert!(error.to_string().contains("too many snapshots"), "{error}");
}
