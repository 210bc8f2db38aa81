//! What a scan finds, beside what the iceberg crate finds and what the specification says.

use std::collections::HashMap;

use apache_avro::{Codec, DeflateSettings, ZstandardSettings};
use iceberg::spec::{
    DataContentType, DataFileFormat, Datum, FormatVersion, Literal, Manifest, ManifestStatus,
    PrimitiveLiteral, Struct,
};
use icepress_model::{Bytes, Rows, SequenceNumber, SpecId};
use proptest::prelude::*;

use super::world::{SEQUENCE, World, build, data_file, delete_file, table};
use crate::{
    reserved_ids::DELETE_FILE_PATH,
    scan::{DeleteKind, FileFormat, SnapshotScan, open_snapshot},
};

/// Path, size, rows, sequence number, partition and row groups of each data file.
type Seen = (String, u64, u64, i64, Struct, u32);

fn seen(scan: &SnapshotScan) -> Vec<Seen> {
    scan.data_files()
        .iter()
        .map(|file| {
            let partition = &scan.partitions()[file.partition as usize];
            assert_eq!(partition.spec_id, SpecId(0));
            (
                scan.path_of(file),
                file.size.get(),
                file.rows.get(),
                file.sequence_number.get(),
                partition.value.clone(),
                file.row_groups,
            )
        })
        .collect()
}

fn codec(number: usize) -> Codec {
    match number {
        0 => Codec::Null,
        1 => Codec::Deflate(DeflateSettings::default()),
        2 => Codec::Snappy,
        _ => Codec::Zstandard(ZstandardSettings::default()),
    }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(future)
}

#[derive(Debug, Clone)]
struct File {
    status: u8,
    size: u64,
    rows: u64,
    sequence_number: i64,
    region: Option<String>,
    load: Option<f64>,
    day: i32,
    row_groups: Option<u8>,
}

prop_compose! {
    fn files()(
        status in 0..4u8,
        size in 0..1u64 << 40,
        rows in 0..1u64 << 40,
        sequence_number in 0..SEQUENCE,
        region in prop::option::of("[a-c]{0,2}"),
        load in prop::option::of(prop_oneof![Just(0.0), Just(-0.0), Just(1.5), Just(f64::NAN)]),
        day in -2..2i32,
        row_groups in prop::option::of(0..5u8),
    ) -> File {
        File { status, size, rows, sequence_number, region, load, day, row_groups }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn finds_what_the_iceberg_crate_finds(
        files in prop::collection::vec(files(), 1..30),
        version in 1..=2u8,
        partitioned in any::<bool>(),
        codec_number in 0..4usize,
    ) {
        let version = if version == 1 { FormatVersion::V1 } else { FormatVersion::V2 };
        let world = World::new(version, partitioned);
        let mut writer = world.manifest("m.avro", false);
        for (file, number) in files.iter().zip(0..) {
            let values = [
                file.region.clone().map(PrimitiveLiteral::String),
                file.load.map(|load| PrimitiveLiteral::Double(load.into())),
                Some(PrimitiveLiteral::Int(file.day)),
            ];
            let values = values.map(|value| value.map(Literal::Primitive));
            let partition =
                if partitioned { Struct::from_iter(values) } else { Struct::empty() };
            let mut data = data_file(&format!("s3://b/t/{}/{number}.parquet", file.day), partition);
            let offsets = file.row_groups.map(|count| (0..i64::from(count)).collect());
            data.file_size_in_bytes(file.size).record_count(file.rows).split_offsets(offsets);
            let data = build(&data);
            let number = file.sequence_number;
            match file.status {
                0 => writer.add_existing_file(data, 5, number, Some(number)),
                1 => writer.add_file(data, number),
                2 => writer.add_delete_file(data, number, Some(number)),
                _ => writer.add_file(data, -1),
            }
            .unwrap();
        }
        let scan = block_on(async {
            let mut manifest = writer.write_manifest_file().await.unwrap();
            manifest.manifest_length =
                world.recompress(&manifest.manifest_path, codec(codec_number));
            let metadata = world.metadata(vec![manifest]).await;
            world.recompress(&world.path("list.avro"), codec(codec_number));
            open_snapshot(&icepress_storage::LocalStorage::new(), &table(), &metadata.into()).await
        })
        .unwrap();

        let bytes = std::fs::read(world.path("m.avro")).unwrap();
        let (entries, _) = Manifest::parse_avro(&bytes).unwrap().into_parts();
        let inherited = if version == FormatVersion::V1 { 0 } else { SEQUENCE };
        let expected: Vec<Seen> = entries
            .iter()
            .filter(|entry| entry.status() != ManifestStatus::Deleted)
            .map(|entry| {
                let file = entry.data_file();
                (
                    file.file_path().to_owned(),
                    file.file_size_in_bytes(),
                    file.record_count(),
                    entry.sequence_number().unwrap_or(inherited),
                    file.partition().clone(),
                    file.split_offsets().map_or(0, |offsets| offsets.len() as u32),
                )
            })
            .collect();
        prop_assert_eq!(format!("{:?}", seen(&scan)), format!("{expected:?}"));
        let snapshot = scan.snapshot().unwrap();
        prop_assert_eq!(snapshot.sequence_number, SequenceNumber(inherited));
        prop_assert!(scan.delete_files().is_empty());
    }
}

#[tokio::test]
async fn a_table_without_a_snapshot_is_empty() {
    let world = World::new(FormatVersion::V2, true);
    let metadata = world.table().build().unwrap().metadata;
    let storage = icepress_storage::LocalStorage::new();
    let scan = open_snapshot(&storage, &table(), &metadata.into())
        .await
        .unwrap();
    assert_eq!(scan.snapshot(), None);
    assert!(scan.data_files().is_empty() && scan.partitions().is_empty());
}

#[tokio::test]
async fn c20_a_manifest_of_version_1_in_a_table_of_version_2_has_sequence_number_0() {
    let mut world = World::new(FormatVersion::V1, false);
    let mut old = world.manifest("old.avro", false);
    let file = |path| build(&data_file(path, Struct::empty()));
    old.add_file(file("old"), -1).unwrap();
    let mut old = old.write_manifest_file().await.unwrap();
    old.sequence_number = 0;
    old.min_sequence_number = 0;
    world.version = FormatVersion::V2;
    let mut new = world.manifest("new.avro", false);
    new.add_file(file("new"), -1).unwrap();
    let new = new.write_manifest_file().await.unwrap();
    let scan = world.scan(vec![old, new]).await.unwrap();
    let numbers: Vec<(String, i64)> = seen(&scan)
        .into_iter()
        .map(|file| (file.0, file.3))
        .collect();
    assert_eq!(
        numbers,
        [("old".to_owned(), 0), ("new".to_owned(), SEQUENCE)]
    );
}

#[tokio::test]
async fn delete_files_are_read_with_what_they_are_about() {
    let world = World::new(FormatVersion::V2, false);
    let mut writer = world.manifest("d.avro", true);
    let bounds = |lower: &str, upper: &str| {
        (
            HashMap::from([(DELETE_FILE_PATH, Datum::string(lower))]),
            HashMap::from([(DELETE_FILE_PATH, Datum::string(upper))]),
        )
    };
    let position = |path: &str, lower: &str, upper: &str| {
        let mut file = delete_file(path, DataContentType::PositionDeletes);
        let (lower, upper) = bounds(lower, upper);
        file.lower_bounds(lower).upper_bounds(upper);
        build(&file)
    };
    let mut equality = delete_file("e", DataContentType::EqualityDeletes);
    equality.equality_ids(Some(vec![2, 1]));
    let mut named = delete_file("n", DataContentType::PositionDeletes);
    named.referenced_data_file(Some("data".to_owned()));
    for file in [
        build(&equality),
        build(&named),
        position("one", "data", "data"),
        position("range", "data-1", "data-9"),
    ] {
        writer.add_file(file, -1).unwrap();
    }
    let manifest = writer.write_manifest_file().await.unwrap();
    let scan = world.scan(vec![manifest]).await.unwrap();
    let [equality, named, one, range] = scan.delete_files() else {
        panic!("{:?}", scan.delete_files());
    };
    // The table has no partitions: its equality deletes are global.
    let DeleteKind::Equality { field_ids, global } = &equality.kind else {
        panic!("{equality:?}");
    };
    assert_eq!((&**field_ids, *global), (&[2, 1][..], true));
    assert_eq!(equality.sequence_number, SequenceNumber(SEQUENCE));
    assert_eq!((equality.size, equality.rows), (Bytes(123_456), Rows(1000)));
    assert_eq!(equality.format, FileFormat::Parquet);
    for file in [named, one] {
        assert_eq!(file.kind, DeleteKind::Position);
        assert_eq!(scan.referenced_data_file(file).as_deref(), Some("data"));
    }
    assert_eq!(scan.referenced_data_file(range), None);
    let bounds = scan.path_bounds(range);
    assert_eq!(bounds, Some(("data-1".to_owned(), "data-9".to_owned())));
}

#[tokio::test]
async fn c49_many_vectors_in_one_puffin_file_are_told_apart() {
    let world = World::new(FormatVersion::V2, false);
    let mut writer = world.manifest("d.avro", true);
    for number in 0..64 {
        let mut vector = delete_file("s3://b/t/all.puffin", DataContentType::PositionDeletes);
        vector
            .file_format(DataFileFormat::Puffin)
            .referenced_data_file(Some(format!("s3://b/t/{number}.parquet")))
            .content_offset(Some(4 + 40 * number))
            .content_size_in_bytes(Some(40));
        writer.add_file(build(&vector), -1).unwrap();
    }
    let manifest = writer.write_manifest_file().await.unwrap();
    let scan = world.scan(vec![manifest]).await.unwrap();
    assert_eq!(scan.delete_files().len(), 64);
    let last = &scan.delete_files()[63];
    let expected = DeleteKind::Vector {
        offset: 4 + 40 * 63,
        length: 40,
    };
    assert_eq!(last.kind, expected);
    let named = scan.referenced_data_file(last);
    assert_eq!(named.as_deref(), Some("s3://b/t/63.parquet"));
}

#[tokio::test]
async fn b12_a_scan_takes_little_memory_for_each_file() {
    const FILES: u32 = 20_000;
    let world = World::new(FormatVersion::V2, false);
    let mut writer = world.manifest("m.avro", false);
    for number in 0..FILES {
        let path = format!(
            "s3://a-bucket-of-some-name/warehouse/database.db/table/data/day=2026-01-{:02}/\
             00000-{number}-0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9-00001.parquet",
            number / 1000
        );
        let file = build(&data_file(&path, Struct::empty()));
        writer.add_file(file, -1).unwrap();
    }
    let manifest = writer.write_manifest_file().await.unwrap();
    let in_manifest = manifest.manifest_length / i64::from(FILES);
    let scan = world.scan(vec![manifest]).await.unwrap();
    let each = scan.memory() / FILES as usize;
    assert!(
        each < 180,
        "{each} bytes a file, {in_manifest} in the manifest"
    );
}

/// Until 2019 writers named manifests in the metadata file, without a list.
#[tokio::test]
async fn c67_manifests_that_the_metadata_file_names_are_scanned() {
    let world = World::new(FormatVersion::V1, false);
    let file = |path| build(&data_file(path, Struct::empty()));
    let mut paths = Vec::new();
    for name in ["first", "second"] {
        let mut writer = world.manifest(name, false);
        writer.add_file(file(name), -1).unwrap();
        paths.push(writer.write_manifest_file().await.unwrap().manifest_path);
    }
    let metadata = world.metadata(Vec::new()).await;
    let mut json = serde_json::to_value(&metadata).unwrap();
    let snapshot = json["snapshots"][0].as_object_mut().unwrap();
    snapshot.remove("manifest-list");
    snapshot.insert("manifests".to_owned(), paths.clone().into());
    let json = serde_json::to_vec(&json).unwrap();
    let location = icepress_model::MetadataLocation::from("m.json");
    let metadata = icepress_catalog::metadata::parse_metadata(&table(), &location, &json).unwrap();
    let storage: std::sync::Arc<dyn icepress_storage::Storage> =
        std::sync::Arc::new(icepress_storage::LocalStorage::new());
    let scan = open_snapshot(&*storage, &table(), &metadata).await.unwrap();
    let found: Vec<(String, i64)> = seen(&scan)
        .into_iter()
        .map(|file| (file.0, file.3))
        .collect();
    assert_eq!(found, [("first".to_owned(), 0), ("second".to_owned(), 0)]);
    // A commit puts them into a list, with all that a list says of them.
    let loaded = icepress_catalog::LoadedTable {
        table: table(),
        metadata_location: location,
        metadata: std::sync::Arc::new(metadata),
        token: icepress_catalog::CommitToken::default(),
    };
    let listed = crate::commit::listed_manifests(&storage, &loaded).await;
    for (manifest, path) in listed.unwrap().iter().zip(&paths) {
        assert_eq!(manifest.path, *path);
        let length = std::fs::metadata(path).unwrap().len();
        assert_eq!(manifest.length, length as i64);
        assert_eq!(manifest.added_snapshot_id, super::world::SNAPSHOT);
        let counts = [manifest.added, manifest.existing, manifest.deleted];
        assert_eq!(counts.map(|count| count.files), [Some(1), Some(0), Some(0)]);
    }
}
