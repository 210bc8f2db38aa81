//! What can't be a table is refused with the file's name, and nothing makes a scan crash.

use iceberg::spec::{
    DataContentType, DataFileFormat, FormatVersion, ManifestContentType, ManifestFile as Listed,
    Struct,
};
use proptest::prelude::*;

use super::world::{World, build, data_file, delete_file, table};
use crate::{
    TableError,
    manifests::{ManifestFile, PartitionTable, Spec, manifest_list},
    scan::{ScanBuilder, open::Assembly, open_snapshot},
};

async fn data_manifest(world: &World, name: &str, paths: &[&str]) -> Listed {
    let mut writer = world.manifest(name, false);
    for path in paths {
        let file = build(&data_file(path, Struct::empty()));
        writer.add_file(file, -1).unwrap();
    }
    writer.write_manifest_file().await.unwrap()
}

/// The file that is corrupt, and why.
fn corrupt(error: TableError) -> (String, String) {
    match error {
        TableError::Corrupt { file, message, .. } => (file, message),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_file_that_is_listed_twice_is_refused() {
    let world = World::new(FormatVersion::V2, false);
    let first = data_manifest(&world, "1.avro", &["a", "b"]).await;
    let second = data_manifest(&world, "2.avro", &["c", "b"]).await;
    let (file, message) = corrupt(world.scan(vec![first, second]).await.unwrap_err());
    assert_eq!(file, world.path("list.avro"));
    assert!(message.starts_with("data file b is listed twice: `icepress repair`"));
}

#[tokio::test]
async fn an_existing_file_may_not_inherit_its_sequence_number() {
    // As version 1, a manifest has no sequence numbers at all; in a list that gives it one they are missing.
    let mut world = World::new(FormatVersion::V1, false);
    let mut writer = world.manifest("m.avro", false);
    let file = build(&data_file("a", Struct::empty()));
    writer.add_existing_file(file, 5, 0, Some(0)).unwrap();
    let mut manifest = writer.write_manifest_file().await.unwrap();
    manifest.sequence_number = 3;
    manifest.min_sequence_number = 3;
    world.version = FormatVersion::V2;
    let (file, message) = corrupt(world.scan(vec![manifest]).await.unwrap_err());
    assert_eq!(file, world.path("m.avro"));
    assert_eq!(
        message,
        "file a has no sequence_number and may not inherit one: its entry is not new"
    );
}

/// The list is the authority: it is the entries that don't fit, and not the header.
#[tokio::test]
async fn c51_data_files_in_what_the_list_calls_deletes_are_refused() {
    let world = World::new(FormatVersion::V2, false);
    let mut manifest = data_manifest(&world, "m.avro", &["a"]).await;
    manifest.content = ManifestContentType::Deletes;
    let (file, message) = corrupt(world.scan(vec![manifest]).await.unwrap_err());
    assert_eq!(file, world.path("m.avro"));
    assert_eq!(
        message,
        "file a has content 0 in a manifest that tracks delete files, as its manifest list says"
    );
}

#[tokio::test]
async fn delete_files_that_do_not_say_enough_are_refused() {
    let mut vector = delete_file("v", DataContentType::PositionDeletes);
    vector.file_format(DataFileFormat::Puffin);
    let mut nameless = delete_file("v", DataContentType::PositionDeletes);
    nameless
        .file_format(DataFileFormat::Puffin)
        .content_offset(Some(4))
        .content_size_in_bytes(Some(40));
    let keyless = delete_file("e", DataContentType::EqualityDeletes);
    for (file, expected) in [
        (
            vector,
            "file v is a deletion vector without content_offset or content_size_in_bytes",
        ),
        (
            nameless,
            "file v is a deletion vector that names no data file (referenced_data_file)",
        ),
        (
            keyless,
            "file e is an equality delete file without field ids (equality_ids)",
        ),
    ] {
        let world = World::new(FormatVersion::V2, false);
        let mut writer = world.manifest("d.avro", true);
        writer.add_file(build(&file), -1).unwrap();
        let manifest = writer.write_manifest_file().await.unwrap();
        let (_, message) = corrupt(world.scan(vec![manifest]).await.unwrap_err());
        assert_eq!(message, expected);
    }
}

#[tokio::test]
async fn a_missing_manifest_is_an_error_of_storage() {
    let world = World::new(FormatVersion::V2, false);
    let manifest = data_manifest(&world, "m.avro", &["a"]).await;
    std::fs::remove_file(world.path("m.avro")).unwrap();
    let error = world.scan(vec![manifest]).await.unwrap_err();
    assert!(matches!(error, TableError::Storage { .. }), "{error}");
    assert!(error.to_string().contains("m.avro"), "{error}");
}

#[tokio::test]
async fn an_encrypted_manifest_is_not_tried() {
    let world = World::new(FormatVersion::V2, false);
    let mut manifest = data_manifest(&world, "m.avro", &["a"]).await;
    manifest.key_metadata = Some(vec![1]);
    let error = world.scan(vec![manifest]).await.unwrap_err();
    assert!(matches!(error, TableError::Unsupported { .. }), "{error}");
}

#[tokio::test]
async fn a_truncated_list_or_manifest_is_corrupt() {
    for name in ["list.avro", "m.avro"] {
        let world = World::new(FormatVersion::V2, false);
        let manifest = data_manifest(&world, "m.avro", &["a", "b", "c"]).await;
        let metadata = world.metadata(vec![manifest]).await;
        let whole = std::fs::read(world.path(name)).unwrap();
        std::fs::write(world.path(name), &whole[..whole.len() - 20]).unwrap();
        let storage = icepress_storage::LocalStorage::new();
        let scan = open_snapshot(&storage, &table(), &metadata.into()).await;
        assert_eq!(corrupt(scan.unwrap_err()).0, world.path(name));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_bytes_never_crash_a_scan(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let world = World::new(FormatVersion::V2, false);
        runtime.block_on(async {
            let manifest = data_manifest(&world, "m.avro", &["s3://b/t/a", "s3://b/t/b"]).await;
            world.metadata(vec![manifest]).await;
        });
        let damage = |name: &str| {
            let mut bytes = std::fs::read(world.path(name)).unwrap();
            for (at, byte) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            if let Some(cut) = &cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            bytes
        };
        // Errors are fine, and so is a change that makes another sound file.
        let _ = manifest_list(&damage("list.avro"));
        let mut assembly = Assembly {
            builder: ScanBuilder::new(table(), None),
            partitions: PartitionTable::default(),
        };
        let listed = ManifestFile::named("m", 1);
        let spec = Spec {
            partition_type: iceberg::spec::StructType::new(Vec::new()),
            is_unpartitioned: true,
        };
        let _ = assembly.add_manifest(&damage("m.avro"), &listed, &spec, true);
        let _ = assembly.finish();
    }
}
