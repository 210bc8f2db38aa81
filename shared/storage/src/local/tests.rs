use std::{os::unix::fs::PermissionsExt as _, sync::Arc};

use bytes::Bytes as Buffer;

use super::LocalStorage;
use crate::{PutMode, Storage, StorageErrorKind, WriteOptions, conformance};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn local_storage_conforms_under_each_spelling_of_a_location() {
    for scheme in ["", "file:", "file://"] {
        let folder = tempfile::tempdir().unwrap();
        let location = format!("{scheme}{}/", folder.path().display());
        conformance::check_all(Arc::new(LocalStorage::new()), &location).await;
        conformance::nothing_is_copied_beyond_the_end(&LocalStorage::new(), &location).await;
    }
}

#[tokio::test]
async fn a_dropped_writer_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("{}/a/b.parquet", folder.path().display());
    let storage = LocalStorage::new();
    let mut writer = storage
        .writer(&location, &WriteOptions::default())
        .await
        .unwrap();
    writer.write(Buffer::from_static(b"half")).await.unwrap();
    let names = || -> Vec<String> {
        std::fs::read_dir(folder.path().join("a"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    };
    // Whoever looks for what a dead attempt left finds it by the file's own name.
    assert!(
        names().iter().all(|name| name.starts_with("b.parquet.")),
        "{:?}",
        names()
    );
    drop(writer);
    assert!(names().is_empty());
}

#[tokio::test]
async fn a_leftover_of_a_process_with_our_number_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let location = format!("{}/x", folder.path().display());
    let leftover = LocalStorage::new().temporary_name(location.as_ref());
    std::fs::write(&leftover, "old").unwrap();
    LocalStorage::new()
        .put(
            &location,
            Buffer::from_static(b"new"),
            PutMode::CreateOnly,
            &WriteOptions::default(),
        )
        .await
        .unwrap();
    assert_eq!(std::fs::read(&leftover).unwrap(), b"old");
    assert_eq!(std::fs::read(&location).unwrap(), b"new");
}

#[tokio::test]
async fn a_folder_is_no_object_and_refusals_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().display().to_string();
    let storage = LocalStorage::new();
    assert_eq!(
        storage.info(&root).await.unwrap_err().kind,
        StorageErrorKind::NotFound
    );
    assert_eq!(
        storage.read(&root).await.unwrap_err().kind,
        StorageErrorKind::NotFound
    );

    let closed = folder.path().join("closed");
    std::fs::write(&closed, "secret").unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o000)).unwrap();
    // The superuser may read everything.
    if std::fs::read(&closed).is_err() {
        let error = storage
            .read(&closed.display().to_string())
            .await
            .unwrap_err();
        assert_eq!(error.kind, StorageErrorKind::PermissionDenied, "{error}");
    }
    let below_a_file = format!("{}/below", closed.display());
    let options = WriteOptions::default();
    let error = storage
        .put(&below_a_file, Buffer::new(), PutMode::Overwrite, &options)
        .await
        .unwrap_err();
    assert!(error.to_string().contains(&below_a_file), "{error}");
}

/// A writer that finds no folder, and then finds that another has just made it, must try again. One that asks at that
/// point whether the folder is missing fails here in about every second run.
#[test]
fn many_writers_into_the_same_new_folder_all_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let storage = LocalStorage::new();
    for round in 0..300 {
        let start = std::sync::Barrier::new(16);
        std::thread::scope(|scope| {
            let writers: Vec<_> = (0..16)
                .map(|writer| {
                    let path = folder.path().join(format!("{round}/a/b/c/{writer}"));
                    let (storage, start) = (&storage, &start);
                    scope.spawn(move || {
                        start.wait();
                        storage.put_blocking(&path, b"x", PutMode::CreateOnly)
                    })
                })
                .collect();
            for writer in writers {
                writer.join().unwrap().unwrap();
            }
        });
    }
}
