//! What a commit writes: manifests and lists, as other readers see them.

use std::collections::{BTreeMap, HashMap};

use apache_avro::Reader as AvroReader;
use iceberg::{
    TableUpdate,
    spec::{FormatVersion, Manifest, ManifestStatus, SnapshotReference, SnapshotRetention},
};
use icepress_storage::Storage as _;

use super::{
    number,
    world::{World, data, file, schema},
};

/// Carrying tombstones on as live files brings back what was deleted long ago.
#[tokio::test]
async fn c14_tombstones_are_not_carried_on() {
    let mut world = World::new(FormatVersion::V2);
    world
        .append(&[data("a", "eu", 1), data("b", "eu", 2), data("c", "eu", 4)])
        .await;
    world.append(&[data("d", "eu", 8)]).await;
    for (round, (input, output)) in [("a", "o"), ("b", "p"), ("o", "q")].into_iter().enumerate() {
        world.process.0 = format!("p{round}");
        let rows = world
            .live()
            .await
            .0
            .iter()
            .find(|seen| seen.path == input)
            .unwrap()
            .rows;
        let group = world.group(0, &[input], &[data(output, "eu", rows)]).await;
        world.run(&world.base(), vec![group]).await.unwrap();
        let snapshot = world
            .loaded()
            .metadata
            .current_snapshot()
            .unwrap()
            .snapshot_id();
        let mut tombstones = Vec::new();
        for file in world.list_of(&world.loaded()).await {
            if file.added_snapshot_id != snapshot {
                continue;
            }
            let bytes = world.storage.read(&file.manifest_path).await.unwrap();
            let manifest = Manifest::parse_avro(&bytes).unwrap();
            for entry in manifest.entries() {
                if entry.status == ManifestStatus::Deleted {
                    assert_eq!(entry.snapshot_id, Some(snapshot));
                    assert!(entry.file_sequence_number.is_some_and(|number| number > 0));
                    tombstones.push(entry.file_path().to_owned());
                }
            }
        }
        // Each snapshot tells of what it removed itself, and of nothing else.
        assert_eq!(tombstones, [input]);
        assert_eq!(number(&world.loaded(), "total-records"), 15);
        assert_eq!(number(&world.loaded(), "total-data-files"), 4);
    }
    assert_eq!(world.data_paths().await, ["c", "d", "p", "q"]);
}

/// Whatever Avro a manifest list promises, counts and bounds must fit what the manifests hold.
#[tokio::test]
async fn the_manifest_list_tells_the_truth_about_its_manifests() {
    let world = World::new(FormatVersion::V2);
    for region in ["eu", "us", "asia"] {
        let file = |name: &str| data(&format!("{region}-{name}"), region, 10);
        world.append(&[file("1"), file("2"), file("3")]).await;
    }
    let mut groups = Vec::new();
    for (index, region) in ["eu", "us"].into_iter().enumerate() {
        let inputs = [format!("{region}-1"), format!("{region}-2")];
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let output = data(&format!("{region}-o"), region, 20);
        groups.push(world.group(index as u32, &inputs, &[output]).await);
    }
    world.run(&world.base(), groups).await.unwrap();
    let manifests = world.manifests_of(&world.loaded()).await;
    // Outputs in one, what was rewritten in one, the untouched one as it was.
    assert_eq!(manifests.len(), 3);
    let sequence_number = world.loaded().metadata.last_sequence_number();
    for (file, entries) in &manifests {
        let of = |status: ManifestStatus| {
            let of = entries.iter().filter(move |entry| entry.status == status);
            (
                of.clone().count(),
                of.map(|entry| entry.record_count()).sum::<u64>(),
            )
        };
        let listed =
            |files: Option<u32>, rows: Option<u64>| (files.unwrap() as usize, rows.unwrap());
        assert_eq!(
            listed(file.added_files_count, file.added_rows_count),
            of(ManifestStatus::Added)
        );
        let existing = listed(file.existing_files_count, file.existing_rows_count);
        assert_eq!(existing, of(ManifestStatus::Existing));
        let least = entries
            .iter()
            .filter_map(|entry| entry.sequence_number)
            .min();
        assert_eq!(Some(file.min_sequence_number), least);
        let regions: Vec<&str> = entries
            .iter()
            .map(|entry| entry.file_path().split('-').next().unwrap())
            .collect();
        let summary = &file.partitions.as_ref().unwrap()[0];
        let bound = |bound: &Option<_>| {
            let bytes: &iceberg::spec::ByteBuf = bound.as_ref().unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        assert_eq!(bound(&summary.lower_bound), *regions.iter().min().unwrap());
        assert_eq!(bound(&summary.upper_bound), *regions.iter().max().unwrap());
        assert!(!summary.contains_null);
    }
    assert_eq!(manifests[0].0.sequence_number, sequence_number);
    assert_eq!(manifests[1].0.deleted_files_count, Some(4));
    assert_eq!(manifests[2].0.sequence_number, 3);
}

/// Entries that only move from one manifest to another must keep every metric that they had.
#[tokio::test]
async fn entries_that_stay_keep_all_that_their_writer_wrote() {
    let world = World::new(FormatVersion::V2);
    world
        .append(&[data("a", "eu", 10), data("b", "eu", 20)])
        .await;
    let before: BTreeMap<String, _> = world.manifests_of(&world.loaded()).await[0]
        .1
        .iter()
        .map(|entry| (entry.file_path().to_owned(), entry.data_file().clone()))
        .collect();
    let output = data("o", "eu", 10);
    let group = world.group(0, &["a"], std::slice::from_ref(&output)).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    let mut seen = 0;
    for (_, entries) in world.manifests_of(&world.loaded()).await {
        for entry in entries {
            seen += 1;
            match entry.file_path() {
                "b" => assert_eq!(*entry.data_file(), before["b"]),
                _ => assert_eq!(*entry.data_file(), output),
            }
        }
    }
    assert_eq!(seen, 2);
}

fn codec(bytes: &[u8]) -> String {
    let at = bytes.windows(10).position(|w| w == b"avro.codec").unwrap() + 10;
    let length = usize::from(bytes[at] / 2);
    String::from_utf8(bytes[at + 1..at + 1 + length].to_vec()).unwrap()
}

#[tokio::test]
async fn files_are_compressed_placed_and_classed_as_the_table_says() {
    for (property, expected) in [
        (None, "deflate"),
        (Some("zstd"), "zstandard"),
        (Some("snappy"), "snappy"),
        (Some("uncompressed"), "null"),
    ] {
        let mut properties = HashMap::from([
            (
                "write.metadata.path".to_owned(),
                "mem://elsewhere/meta/".to_owned(),
            ),
            ("s3.write.storage-class".to_owned(), "STANDARD".to_owned()),
        ]);
        let key = "write.avro.compression-codec".to_owned();
        properties.extend(property.map(|codec| (key, codec.to_owned())));
        let world = World::with(FormatVersion::V2, properties);
        world
            .append(&[data("a", "eu", 10), data("b", "eu", 20)])
            .await;
        let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
        let outcome = world.run(&world.base(), vec![group]).await.unwrap();
        let loaded = world.loaded();
        let list = loaded
            .metadata
            .current_snapshot()
            .unwrap()
            .manifest_list()
            .to_owned();
        let id = outcome.snapshot_id;
        assert!(
            list.starts_with(&format!("mem://elsewhere/meta/snap-{id}-0-")),
            "{list}"
        );
        let mut written = vec![list];
        for manifest in world.list_of(&loaded).await {
            assert!(manifest.manifest_path.starts_with("mem://elsewhere/meta/"));
            assert!(manifest.manifest_path.contains("-m"));
            written.push(manifest.manifest_path);
        }
        for location in written {
            let bytes = world.storage.read(&location).await.unwrap();
            assert_eq!(codec(&bytes), expected, "{location}");
            let class = world.storage.options_of(&location).storage_class;
            assert_eq!(class.as_deref(), Some("STANDARD"));
            assert!(
                AvroReader::new(&bytes[..])
                    .unwrap()
                    .all(|record| record.is_ok())
            );
        }
        assert_eq!(world.data_paths().await, ["b", "o"]);
    }
}

/// A manifest without a limit grows with the table, and every reader pays for all of it.
#[tokio::test]
async fn manifests_are_cut_at_the_target_size() {
    let target = (
        "commit.manifest.target-size-bytes".to_owned(),
        "20000".to_owned(),
    );
    let codec = (
        "write.avro.compression-codec".to_owned(),
        "uncompressed".to_owned(),
    );
    let world = World::with(FormatVersion::V2, HashMap::from([target, codec]));
    let files: Vec<_> = (0..3000)
        .map(|n| data(&format!("f{n:04}"), "eu", 1))
        .collect();
    world.append(&files).await;
    let group = world.group(0, &["f0000"], &[data("o", "eu", 1)]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    let manifests = world.manifests_of(&world.loaded()).await;
    assert!(manifests.len() > 4, "{}", manifests.len());
    for (manifest, _) in &manifests {
        assert!(manifest.manifest_length < 20_000 + 2 * 64_000);
    }
    let live: usize = manifests.iter().map(|(_, entries)| entries.len()).sum();
    assert_eq!(live, 3000);
}

/// Many tiny manifests, of which each loses its files, are not written anew one by one.
#[tokio::test]
async fn small_manifests_that_are_hit_are_written_together() {
    let world = World::new(FormatVersion::V2);
    let names: Vec<String> = (0..40).map(|n| format!("f{n:02}")).collect();
    for name in &names {
        world.append(&[data(name, "eu", 1)]).await;
    }
    let inputs: Vec<&str> = names.iter().map(String::as_str).collect();
    let no_nulls = HashMap::from([(1, 0), (2, 0)]);
    let output = file("o", "eu", 40)
        .null_value_counts(no_nulls)
        .build()
        .unwrap();
    let group = world.group(0, &inputs, &[output]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    let manifests = world.list_of(&world.loaded()).await;
    assert_eq!(manifests.len(), 2);
    assert_eq!(manifests[1].deleted_files_count, Some(40));
}

/// Manifests of version 1 in a table of version 2 have no sequence numbers: all are 0, and must be written as that.
#[tokio::test]
async fn c20_manifests_of_version_1_in_a_table_of_version_2() {
    let world = World::new(FormatVersion::V1);
    world
        .append(&[data("a", "eu", 10), data("b", "eu", 20)])
        .await;
    world.append(&[data("c", "us", 30)]).await;
    let format_version = FormatVersion::V2;
    world
        .change(vec![TableUpdate::UpgradeFormatVersion { format_version }])
        .await;
    let base = world.base();
    assert_eq!(base.starting_sequence_number.get(), 0);
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    world.run(&base, vec![group]).await.unwrap();
    let (data, _) = world.live().await;
    let numbers: Vec<_> = data
        .iter()
        .map(|seen| {
            (
                seen.path.as_str(),
                seen.sequence_number,
                seen.file_sequence_number,
            )
        })
        .collect();
    assert_eq!(numbers, [("b", 0, 0), ("c", 0, 0), ("o", 0, 1)]);
    assert_eq!(number(&world.loaded(), "total-data-files"), 3);
}

#[tokio::test]
async fn other_branches_tags_and_staged_snapshots_stay() {
    let world = World::new(FormatVersion::V2);
    world
        .append(&[data("a", "eu", 10), data("b", "eu", 20)])
        .await;
    let tagged = world.base().snapshot_id.get();
    world.append(&[data("c", "eu", 30)]).await;
    let staged = world.base().snapshot_id.get();
    // A staged snapshot: in the table, on no branch.
    world
        .change(vec![
            super::world::set_main(tagged),
            TableUpdate::SetSnapshotRef {
                ref_name: "keep".to_owned(),
                reference: SnapshotReference::new(
                    tagged,
                    SnapshotRetention::Tag {
                        max_ref_age_ms: None,
                    },
                ),
            },
        ])
        .await;
    let group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    let loaded = world.loaded();
    assert!(loaded.metadata.snapshot_by_id(staged).is_some());
    let tag = loaded.metadata.snapshot_for_ref("keep").unwrap();
    assert_eq!(tag.snapshot_id(), tagged);
    assert_eq!(world.data_paths().await, ["b", "o"]);
}

/// The header says what schema the outputs were written in, even when the inputs' manifest is older.
#[tokio::test]
async fn outputs_stand_under_the_schema_that_they_were_written_in() {
    let world = World::new(FormatVersion::V2);
    world
        .append(&[data("a", "eu", 10), data("b", "eu", 20)])
        .await;
    let mut fields = schema().as_struct().fields().to_vec();
    let more = iceberg::spec::Type::Primitive(iceberg::spec::PrimitiveType::Int);
    fields.push(iceberg::spec::NestedField::optional(4, "more", more).into());
    let evolved = iceberg::spec::Schema::builder()
        .with_fields(fields)
        .build()
        .unwrap();
    world
        .change(vec![
            TableUpdate::AddSchema { schema: evolved },
            TableUpdate::SetCurrentSchema { schema_id: -1 },
        ])
        .await;
    let values = (1..=4).map(|column| (column, 10)).collect();
    let nulls = HashMap::from([(1, 0), (2, 1), (3, 0), (4, 10)]);
    let mut output = file("o", "eu", 10);
    output.value_counts(values).null_value_counts(nulls);
    let group = world.group(0, &["a"], &[output.build().unwrap()]).await;
    world.run(&world.base(), vec![group]).await.unwrap();
    let mut schemas = Vec::new();
    for file in world.list_of(&world.loaded()).await {
        let bytes = world.storage.read(&file.manifest_path).await.unwrap();
        let (entries, metadata) = Manifest::parse_avro(&bytes).unwrap().into_parts();
        schemas.push((entries[0].file_path().to_owned(), metadata.schema_id));
    }
    assert_eq!(schemas, [("o".to_owned(), 1), ("a".to_owned(), 0)]);
}
