//! Repairs: what manifests say wrongly of sound files is said rightly, the live files stay what they were, and what can't be
//! mended is told.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use iceberg::spec::{FormatVersion, ManifestContentType, Operation};
use icepress_storage::Storage as _;
use parquet::{
    data_type::Int64Type,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};

use super::{
    number,
    world::{Foreign, Seen, World, data, equality_deletes, file},
};
use crate::commit::{
    CommitFailure, CommitOutcome, Correction, NoObjection, Repairs, examine_manifests,
    repair_manifests,
};

/// A Parquet file of so many rows, in row groups of ten.
fn parquet(rows: usize) -> Vec<u8> {
    let schema = parse_message_type("message rows { required int64 id = 1; }").unwrap();
    let properties = Arc::new(WriterProperties::builder().build());
    let mut writer = SerializedFileWriter::new(Vec::new(), Arc::new(schema), properties).unwrap();
    let ids: Vec<i64> = (0..rows as i64).collect();
    for some in ids.chunks(10) {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<Int64Type>()
            .write_batch(some, None, None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

impl World {
    /// Puts a real file of so many rows where `path` is, whatever its manifest says; returns its size.
    fn real(&self, path: &str, rows: usize) -> u64 {
        let content = parquet(rows);
        let size = content.len() as u64;
        self.storage.insert(path, content);
        size
    }

    async fn examined(&self) -> Repairs {
        let examined = examine_manifests(&self.context, &self.table, &|_, _| {});
        examined.await.unwrap().repairs
    }

    async fn repaired(
        &self,
        drop_duplicates: bool,
    ) -> Result<(CommitOutcome, Repairs), CommitFailure> {
        let context = &self.context;
        let examined = examine_manifests(context, &self.table, &|_, _| {})
            .await
            .unwrap();
        let table = &self.table;
        repair_manifests(
            &NoObjection,
            context,
            table,
            &self.process,
            &examined,
            drop_duplicates,
        )
        .await
    }
}

fn corrections(repairs: &Repairs, path: &str) -> Vec<(&'static str, String, String)> {
    let file = repairs
        .files
        .iter()
        .find(|file| file.path == path)
        .expect("it is wrong");
    let all = file.corrections.iter().cloned();
    all.map(
        |Correction {
             what,
             before,
             after,
         }| (what, before, after),
    )
    .collect()
}

/// Live entries, but for their rows.
fn without_rows(seen: &[Seen]) -> Vec<Seen> {
    seen.iter()
        .map(|seen| Seen {
            rows: 0,
            ..seen.clone()
        })
        .collect()
}

#[tokio::test]
async fn counts_and_sizes_are_mended_and_numbers_row_ids_and_deletes_stay() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version);
        // `a` has more rows than its manifest says, `b` another size, `c` is sound.
        let size = |rows| parquet(rows).len() as u64;
        let a = file("a", "eu", 10)
            .file_size_in_bytes(size(25))
            .build()
            .unwrap();
        let b = file("b", "eu", 20).file_size_in_bytes(7).build().unwrap();
        let c = file("c", "us", 30)
            .file_size_in_bytes(size(30))
            .build()
            .unwrap();
        world.append(&[a, b]).await;
        world.append(&[c]).await;
        if version > FormatVersion::V1 {
            world.delete(&[equality_deletes("e", "eu", 1)]).await;
            world.real("e", 1);
        }
        for (path, rows) in [("a", 25), ("b", 20), ("c", 30)] {
            world.real(path, rows);
        }
        let (before, deletes) = world.live().await;
        let row_ids = world.row_ids().await;
        let state = world.loaded().metadata_location;

        let found = world.examined().await;
        let b_size = size(20).to_string();
        assert_eq!(
            corrections(&found, "a"),
            [
                ("record_count", "10".to_owned(), "25".to_owned()),
                (
                    "column counts and bounds",
                    "of other rows".to_owned(),
                    "left out".to_owned()
                ),
            ]
        );
        assert_eq!(
            corrections(&found, "b"),
            [("file_size_in_bytes", "7".to_owned(), b_size)]
        );
        assert!(found.files.iter().all(|file| file.path != "c"));
        assert_eq!(
            (found.duplicates.len(), found.left.len()),
            (0, 0),
            "{found:?}"
        );
        assert_eq!(
            world.loaded().metadata_location,
            state,
            "a look changes nothing"
        );

        let (outcome, mended) = world.repaired(false).await.unwrap();
        assert_eq!(mended, found);
        let loaded = world.loaded();
        let snapshot = loaded.metadata.current_snapshot().unwrap();
        assert_eq!(outcome.snapshot_id.get(), snapshot.snapshot_id());
        assert_eq!(snapshot.summary().operation, Operation::Replace);
        assert_eq!(number(&loaded, "total-records"), 25 + 20 + 30);
        assert_eq!(number(&loaded, "total-data-files"), 3);
        let (after, deletes_after) = world.live().await;
        assert_eq!(without_rows(&after), without_rows(&before));
        let rows: Vec<u64> = after.iter().map(|seen| seen.rows).collect();
        assert_eq!(rows, [25, 20, 30]);
        assert_eq!(without_rows(&deletes_after), without_rows(&deletes));
        if version == FormatVersion::V3 {
            assert_eq!(world.row_ids().await, row_ids, "ids as readers had them");
        }
        assert!(
            world.examined().await.is_sound(),
            "{:?}",
            world.examined().await
        );
        assert!(
            matches!(world.repaired(true).await, Ok((again, _)) if again.snapshot_id == outcome.snapshot_id),
            "the same process finds its commit"
        );
    }
}

#[tokio::test]
async fn a_file_listed_twice_is_listed_once_only_where_asked_and_by_the_listing_that_fewest_deletes_reach()
 {
    let world = World::new(FormatVersion::V2);
    let size = parquet(10).len() as u64;
    let twice = || {
        file("a", "eu", 10)
            .file_size_in_bytes(size)
            .build()
            .unwrap()
    };
    world.append(&[twice()]).await;
    world.delete(&[equality_deletes("e", "eu", 1)]).await;
    world.append(&[twice()]).await;
    for (path, rows) in [("a", 10), ("e", 1)] {
        world.real(path, rows);
    }
    let found = world.examined().await;
    assert_eq!(found.duplicates.len(), 1, "{found:?}");
    let duplicate = &found.duplicates[0];
    assert!(duplicate.changes_rows());
    assert_eq!(duplicate.kept_sequence_number, 3);
    assert_eq!(duplicate.dropped_sequence_numbers, [1]);

    let files = |seen: &[Seen]| {
        seen.iter()
            .map(|seen| seen.sequence_number)
            .collect::<Vec<_>>()
    };
    if found.can_mend(false) {
        world.repaired(false).await.unwrap();
        assert_eq!(
            files(&world.live().await.0),
            [1, 3],
            "both stay where nobody asked"
        );
    }
    let mut again = World {
        process: "p2".into(),
        ..world
    };
    let (_, mended) = again.repaired(true).await.unwrap();
    assert_eq!(mended.duplicates.len(), 1);
    assert_eq!(files(&again.live().await.0), [3]);
    let loaded = again.loaded();
    let summary = loaded.metadata.current_snapshot().unwrap().summary();
    assert_eq!(
        summary.operation,
        Operation::Delete,
        "readers see fewer rows"
    );
    assert_eq!(number(&loaded, "total-records"), 10);
    // An expiry that follows tombstones would remove the file.
    for (manifest, _) in again.manifests_of(&loaded).await {
        assert_eq!(manifest.deleted_files_count, Some(0), "{manifest:?}");
    }
    again.process = "p3".into();
    assert!(again.examined().await.is_sound());
    assert!(matches!(
        again.repaired(true).await,
        Err(CommitFailure::NothingLeft { .. })
    ));
}

#[tokio::test]
async fn what_is_gone_or_cut_short_is_told_and_stays() {
    let world = World::new(FormatVersion::V2);
    let size = parquet(10).len() as u64;
    let of = |path: &str| {
        file(path, "eu", 10)
            .file_size_in_bytes(size)
            .build()
            .unwrap()
    };
    world
        .append(&[of("gone"), of("short"), of("miscounted")])
        .await;
    world.storage.remove("gone");
    world.storage.insert("short", parquet(10)[..50].to_vec());
    world.real("miscounted", 20);
    let before = world.live().await.0;

    let (_, mended) = world.repaired(false).await.unwrap();
    let left: Vec<(&str, &str)> = mended
        .left
        .iter()
        .map(|it| (it.file.as_str(), it.what.as_str()))
        .collect();
    let cut = format!("it is cut short: 50 bytes are there of the {size} that its manifest says");
    assert_eq!(left, [("gone", "it is not there"), ("short", cut.as_str())]);
    for left in &mended.left {
        assert!(left.advice.contains("restore the file"), "{}", left.advice);
        assert!(!left.advice.contains("remove"), "{}", left.advice);
    }
    assert_eq!(without_rows(&world.live().await.0), without_rows(&before));
}

/// A file that is added, and one that is removed, while the repair writes its manifests: both stand afterwards.
#[tokio::test]
async fn a_foreign_commit_in_between_is_met_by_another_try() {
    let world = World::new(FormatVersion::V2);
    let of = |path: &str, rows| {
        file(path, "eu", rows)
            .file_size_in_bytes(1)
            .build()
            .unwrap()
    };
    world.append(&[of("a", 1), of("b", 2)]).await;
    for path in ["a", "b"] {
        world.real(path, 10);
    }
    world
        .rival(Foreign {
            data: vec![data("new", "us", 5)],
            removed: vec!["b".to_owned()],
            ..Foreign::default()
        })
        .await;
    let (_, mended) = world.repaired(false).await.unwrap();
    let mended: Vec<&str> = mended.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(mended, ["a"], "the other is gone");
    assert_eq!(world.data_paths().await, ["a", "new"]);
}

/// What a list counts wrongly is counted rightly without a manifest written anew; and whoever looks is told how far it is.
#[tokio::test]
async fn progress_is_told_file_by_file() {
    let world = World::new(FormatVersion::V2);
    let size = parquet(10).len() as u64;
    let files: Vec<_> = (0..20)
        .map(|number| {
            file(&format!("f{number}"), "eu", 10)
                .file_size_in_bytes(size)
                .build()
                .unwrap()
        })
        .collect();
    world.append(&files).await;
    for number in 0..20 {
        world.real(&format!("f{number}"), 10);
    }
    let told = AtomicU64::new(0);
    let progress = |done: u64, all: u64| {
        assert_eq!(all, 20);
        assert_eq!(told.swap(done, Ordering::Relaxed), done.saturating_sub(1));
    };
    let examined = examine_manifests(&world.context, &world.table, &progress)
        .await
        .unwrap();
    assert_eq!(told.into_inner(), 20);
    assert_eq!(examined.repairs.checked_files, 20);
    assert!(examined.repairs.is_sound(), "{:?}", examined.repairs);
}

/// As ClickHouse leaves it out, and DuckDB had it wrong: the manifest list knows better, and strict readers refuse the table.
#[tokio::test]
async fn a_delete_manifest_whose_header_does_not_say_so_is_labelled() {
    let (label, mislabel) = (b"\x0econtent\x0edeletes", b"\x0ecuntent\x0edeletes");
    let world = World::new(FormatVersion::V2);
    world.append(&[data("a", "eu", 10)]).await;
    world.delete(&[equality_deletes("e", "eu", 1)]).await;
    let size_of_e = world.real("e", 1);
    assert_ne!(size_of_e, 11, "its size is mended on the way");
    world.real("a", 10);
    let header_of = async |world: &World| {
        let loaded = world.loaded();
        let list = world.list_of(&loaded).await;
        let deletes = list
            .iter()
            .find(|file| file.content == ManifestContentType::Deletes)
            .unwrap();
        let path = deletes.manifest_path.clone();
        let content = world.storage.read(&path).await.unwrap();
        (path, content)
    };
    let (path, content) = header_of(&world).await;
    let at = content
        .windows(label.len())
        .position(|bytes| bytes == label)
        .unwrap();
    let mut wrong = content.to_vec();
    wrong[at..at + label.len()].copy_from_slice(mislabel);
    world.storage.insert(&path, wrong);

    let found = world.examined().await;
    let faults: Vec<&str> = found
        .manifests
        .iter()
        .flat_map(|it| &it.faults)
        .map(String::as_str)
        .collect();
    assert_eq!(faults, ["its header has no content, which is 'deletes'"]);
    let (before, deletes) = world.live().await;
    world.repaired(false).await.unwrap();
    let (after, deletes_after) = world.live().await;
    assert_eq!(without_rows(&after), without_rows(&before));
    assert_eq!(without_rows(&deletes_after), without_rows(&deletes));
    let (_, content) = header_of(&world).await;
    assert!(content.windows(label.len()).any(|bytes| bytes == label));
    assert!(world.examined().await.is_sound());
}
