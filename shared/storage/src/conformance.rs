//! What every adapter of [`Storage`] must do, as one suite that is run on each of them.
//!
//! Pass a folder (a location that ends with a slash) in which nothing lies yet. Panics, as a test does, where the
//! adapter fails.

use std::sync::Arc;

use bytes::Bytes as Buffer;
use futures::{StreamExt as _, stream};
use icepress_model::Bytes;

use crate::{PutMode, Storage, StorageErrorKind, WriteOptions};

pub mod emulator;
pub mod proxy;

/// Runs the whole suite.
pub async fn check_all(storage: Arc<dyn Storage>, folder: &str) {
    objects_are_read_as_they_were_written(&*storage, folder).await;
    ranges_are_exact(&*storage, folder).await;
    what_is_not_there_is_not_found(&*storage, folder).await;
    of_several_creators_one_wins(Arc::clone(&storage), folder).await;
    a_writer_publishes_all_or_nothing(&*storage, folder).await;
    what_is_copied_is_what_was_there(&*storage, folder).await;
    a_listing_is_ordered_whole_and_paged(&*storage, folder).await;
    odd_names_are_taken_letter_for_letter(&*storage, folder).await;
    deleting_twice_is_no_error(&*storage, folder).await;
}

/// Byte for byte, whatever is written before, between and after; storage that copies nothing says so.
async fn what_is_copied_is_what_was_there(storage: &dyn Storage, folder: &str) {
    const MIB: usize = 1 << 20;
    let location = format!("{folder}copied/from here=%41 +ü.bin");
    let content: Vec<u8> = (0..11 * MIB as u32)
        .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    put(storage, &location, &content).await;
    if storage.copies(&location).is_none() {
        return;
    }
    let ranges = [4..6 * MIB, 5 * MIB..11 * MIB, 3 * MIB..3 * MIB + 1];
    // What is written before each: nothing, little, and more than the least part of S3.
    for before in [0, 4, 6 * MIB] {
        let made = format!("{folder}copied/{before}.bin");
        let mut writer = storage
            .writer(&made, &WriteOptions::default())
            .await
            .expect("a writer is opened");
        let mut expected = Vec::new();
        for range in &ranges {
            let written = Buffer::copy_from_slice(&content[..before]);
            expected.extend_from_slice(&written);
            writer.write(written).await.expect("it is written");
            expected.extend_from_slice(&content[range.clone()]);
            let lead = writer.lead(range.len() as u64) as usize;
            let (lead, rest) = (
                range.start..range.start + lead,
                range.start + lead..range.end,
            );
            let lead = Buffer::copy_from_slice(&content[lead]);
            writer.write(lead).await.expect("the beginning is written");
            if !rest.is_empty() {
                let rest = rest.start as u64..rest.end as u64;
                writer.copy(&location, rest).await.expect("it is copied");
            }
        }
        expected.extend_from_slice(b"the end");
        let end = Buffer::from_static(b"the end");
        writer.write(end).await.expect("the end is written");
        let size = writer.finish().await.expect("it is finished");
        assert_eq!(size, Bytes(expected.len() as u64));
        let read = storage.read(&made).await.expect("it is there");
        assert!(read == expected, "another content after {before} bytes");
    }
}

/// More than there is can't be copied. The emulator moto copies what there is, and says nothing.
pub async fn nothing_is_copied_beyond_the_end(storage: &dyn Storage, folder: &str) {
    let location = format!("{folder}copied/short.bin");
    let content = vec![7; 6 << 20];
    put(storage, &location, &content).await;
    let made = format!("{folder}copied/never.bin");
    let mut writer = storage
        .writer(&made, &WriteOptions::default())
        .await
        .expect("a writer is opened");
    let copied = writer.copy(&location, 0..content.len() as u64 + 1).await;
    let failed = copied.is_err() || writer.finish().await.is_err();
    assert!(failed, "more was copied than there is");
    let nothing = storage.read(&made).await.expect_err("nothing is there");
    assert_eq!(nothing.kind, StorageErrorKind::NotFound);
}

async fn put(storage: &dyn Storage, location: &str, content: &[u8]) {
    storage
        .put(
            location,
            Buffer::copy_from_slice(content),
            PutMode::Overwrite,
            &WriteOptions::default(),
        )
        .await
        .expect("a plain write works");
}

async fn listing(storage: &dyn Storage, prefix: &str) -> Vec<String> {
    let mut locations = Vec::new();
    let mut next = None;
    loop {
        let page = storage
            .list(prefix, next.as_deref())
            .await
            .expect("listing works");
        locations.extend(page.objects.into_iter().map(|object| object.location));
        next = page.next;
        if next.is_none() {
            return locations;
        }
    }
}

async fn objects_are_read_as_they_were_written(storage: &dyn Storage, folder: &str) {
    let location = format!("{folder}round/trip.bin");
    for content in [&b"first"[..], b"", b"the second content is longer"] {
        put(storage, &location, content).await;
        assert_eq!(storage.read(&location).await.expect("it is there"), content);
        let info = storage.info(&location).await.expect("it is there");
        assert_eq!(info.size, Bytes(content.len() as u64));
        assert!(!info.archived);
        assert!(info.modified.get() > 0);
    }
}

async fn ranges_are_exact(storage: &dyn Storage, folder: &str) {
    let location = format!("{folder}ranges.bin");
    let content: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
    put(storage, &location, &content).await;

    assert_eq!(
        storage.read_range(&location, 10..20).await.expect("inside"),
        &content[10..20]
    );
    assert!(
        storage
            .read_range(&location, 7..7)
            .await
            .expect("empty")
            .is_empty()
    );
    // Near, far, overlapping, backwards, the last byte, and the whole.
    let ranges = [
        5..9,
        12..100,
        2_900_000..3_000_000,
        50..60,
        0..1,
        2_999_999..3_000_000,
        0..3_000_000,
    ];
    let parts = storage
        .read_ranges(&location, &ranges)
        .await
        .expect("all are inside");
    assert_eq!(parts.len(), ranges.len());
    for (range, part) in ranges.iter().zip(&parts) {
        assert_eq!(
            part,
            &content[range.start as usize..range.end as usize],
            "{range:?}"
        );
    }
    assert!(
        storage
            .read_ranges(&location, &[])
            .await
            .expect("nothing")
            .is_empty()
    );

    for beyond in [
        2_999_990..3_000_001,
        3_000_000..3_000_010,
        4_000_000..4_000_001,
    ] {
        let error = storage
            .read_range(&location, beyond.clone())
            .await
            .expect_err("a short answer would be taken for the truth");
        assert_eq!(
            error.kind,
            StorageErrorKind::OutOfRange,
            "{beyond:?}: {error}"
        );
        assert!(error.to_string().contains(&location), "{error}");
        let error = storage
            .read_ranges(&location, &[0..4, beyond])
            .await
            .expect_err("likewise");
        assert_eq!(error.kind, StorageErrorKind::OutOfRange, "{error}");
    }
}

async fn what_is_not_there_is_not_found(storage: &dyn Storage, folder: &str) {
    let missing = format!("{folder}missing/object");
    let errors = [
        storage.info(&missing).await.expect_err("info"),
        storage.read(&missing).await.expect_err("read"),
        storage.read_range(&missing, 0..1).await.expect_err("range"),
        storage
            .read_ranges(&missing, &[0..1, 5..6])
            .await
            .expect_err("ranges"),
    ];
    for error in errors {
        assert_eq!(error.kind, StorageErrorKind::NotFound, "{error}");
        assert!(error.to_string().contains(&missing), "{error}");
    }
    assert!(listing(storage, &missing).await.is_empty());
}

async fn of_several_creators_one_wins(storage: Arc<dyn Storage>, folder: &str) {
    for round in 0..5 {
        let location = format!("{folder}race/{round}");
        let creators: Vec<_> = (0..8u8)
            .map(|creator| {
                let (storage, location) = (Arc::clone(&storage), location.clone());
                tokio::spawn(async move {
                    let content = Buffer::from(vec![creator; 1000]);
                    let result = storage
                        .put(
                            &location,
                            content,
                            PutMode::CreateOnly,
                            &WriteOptions::default(),
                        )
                        .await;
                    (creator, result)
                })
            })
            .collect();
        let mut winners = Vec::new();
        for creator in creators {
            match creator.await.expect("no panic") {
                (creator, Ok(())) => winners.push(creator),
                (_, Err(error)) => {
                    assert_eq!(error.kind, StorageErrorKind::AlreadyExists, "{error}")
                }
            }
        }
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(
            storage.read(&location).await.expect("there"),
            vec![winners[0]; 1000]
        );
    }
    assert_eq!(listing(&*storage, &format!("{folder}race/")).await.len(), 5);
}

async fn a_writer_publishes_all_or_nothing(storage: &dyn Storage, folder: &str) {
    let options = WriteOptions::default();
    let location = format!("{folder}written/large.bin");
    let chunk = Buffer::from(
        (0..1_000_003u32)
            .map(|i| (i % 241) as u8)
            .collect::<Vec<u8>>(),
    );

    let mut writer = storage.writer(&location, &options).await.expect("begun");
    for _ in 0..20 {
        writer.write(chunk.clone()).await.expect("written");
    }
    let error = storage
        .info(&location)
        .await
        .expect_err("not there before the end");
    assert_eq!(error.kind, StorageErrorKind::NotFound);
    assert_eq!(
        writer.finish().await.expect("finished"),
        Bytes(20 * 1_000_003)
    );
    let content = storage.read(&location).await.expect("there");
    assert_eq!(content.len(), 20 * 1_000_003);
    assert!(content.chunks(chunk.len()).all(|part| part == chunk));

    let small = format!("{folder}written/small.bin");
    let mut writer = storage.writer(&small, &options).await.expect("begun");
    writer
        .write(Buffer::from_static(b"few"))
        .await
        .expect("written");
    writer
        .write(Buffer::from_static(b" bytes"))
        .await
        .expect("written");
    assert_eq!(writer.finish().await.expect("finished"), Bytes(9));
    assert_eq!(
        storage.read(&small).await.expect("there"),
        &b"few bytes"[..]
    );

    let empty = format!("{folder}written/empty.bin");
    let mut writer = storage.writer(&empty, &options).await.expect("begun");
    assert_eq!(writer.finish().await.expect("finished"), Bytes(0));
    assert_eq!(storage.info(&empty).await.expect("there").size, Bytes(0));

    let aborted = format!("{folder}written/aborted.bin");
    let mut writer = storage.writer(&aborted, &options).await.expect("begun");
    for _ in 0..20 {
        writer.write(chunk.clone()).await.expect("written");
    }
    writer.abort().await.expect("aborted");
    assert!(storage.info(&aborted).await.is_err());
    assert_eq!(
        listing(storage, &format!("{folder}written/")).await.len(),
        3
    );
}

async fn a_listing_is_ordered_whole_and_paged(storage: &dyn Storage, folder: &str) {
    let list = format!("{folder}list/");
    // `a-b` sorts before `a/`, which a walk that sorts names folder by folder gets wrong.
    let names = ["a-b", "a/1", "a/b/2", "a/b/3", "a0", "b", "ä"];
    for name in names {
        put(storage, &format!("{list}{name}"), name.as_bytes()).await;
    }
    let expected: Vec<String> = names.iter().map(|name| format!("{list}{name}")).collect();
    assert_eq!(listing(storage, &list).await, expected);
    assert_eq!(listing(storage, &format!("{list}a")).await, expected[..5]);
    assert_eq!(listing(storage, &format!("{list}a/")).await, expected[1..4]);
    assert_eq!(
        listing(storage, &format!("{list}a/b/2")).await,
        expected[2..3]
    );
    for (folder, below) in [
        (list.as_str(), &["a"][..]),
        (list.trim_end_matches('/'), &["a"]),
        (&format!("{list}a"), &["b"]),
        (&format!("{list}a/b"), &[]),
        (&format!("{list}nowhere"), &[]),
    ] {
        let found = storage.folders(folder).await.expect("listing works");
        assert_eq!(found, below, "{folder}");
    }
    let page = storage.list(&list, None).await.expect("listing works");
    assert_eq!(page.objects[0].size, Bytes(3));
    assert!(page.objects[0].modified.get() > 0);

    let many = format!("{folder}many/");
    let mut expected = Vec::new();
    for i in 0..1010 {
        let location = format!("{many}{:02}/{i:04}", i % 7);
        expected.push(location);
    }
    stream::iter(&expected)
        .for_each_concurrent(16, |location| put(storage, location, b"x"))
        .await;
    expected.sort();
    assert!(
        storage
            .list(&many, None)
            .await
            .expect("listing works")
            .next
            .is_some()
    );
    assert_eq!(listing(storage, &many).await, expected);
    let seven: Vec<String> = (0..7).map(|folder| format!("{folder:02}")).collect();
    assert_eq!(storage.folders(&many).await.expect("listing works"), seven);
    listings_begin_behind_any_name(storage, &many, &expected).await;
    let outcomes = storage.delete(&expected).await;
    assert_eq!(outcomes.len(), expected.len());
    for (outcome, location) in outcomes.iter().zip(&expected) {
        assert_eq!(&outcome.location, location);
        assert!(outcome.result.is_ok(), "{:?}", outcome.result);
    }
    assert!(listing(storage, &many).await.is_empty());
}

async fn listings_begin_behind_any_name(storage: &dyn Storage, prefix: &str, all: &[String]) {
    for after in [
        None,
        Some(prefix.to_owned()),
        Some(all[0].clone()),
        Some(format!("{prefix}02")),
        Some(format!("{prefix}02/0500x")),
        Some(format!("{prefix}~")),
        all.last().cloned(),
    ] {
        let expected = all
            .iter()
            .filter(|it| after.as_ref().is_none_or(|after| *it > after));
        let expected: Vec<&String> = expected.collect();
        let mut found = Vec::new();
        let mut next = after.clone();
        loop {
            let page = storage.list_after(prefix, next.as_deref()).await;
            let page = page.expect("listing works");
            found.extend(page.objects.into_iter().map(|object| object.location));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!(
            found.iter().collect::<Vec<_>>(),
            expected,
            "after {after:?}"
        );
    }
}

async fn odd_names_are_taken_letter_for_letter(storage: &dyn Storage, folder: &str) {
    let names = [
        "p=a%20b/x",
        "p=a b/x",
        "p=a+b/x",
        "p=%2F/x",
        "q#r/x",
        "s?t/x",
        "u&v=é/x",
        "w:x/x",
    ];
    let odd = format!("{folder}odd/");
    for name in names {
        put(storage, &format!("{odd}{name}"), name.as_bytes()).await;
    }
    for name in names {
        let content = storage.read(&format!("{odd}{name}")).await.expect("there");
        assert_eq!(content, name.as_bytes(), "two names were taken for one");
    }
    let mut expected: Vec<String> = names.iter().map(|name| format!("{odd}{name}")).collect();
    expected.sort();
    assert_eq!(listing(storage, &odd).await, expected);
}

async fn deleting_twice_is_no_error(storage: &dyn Storage, folder: &str) {
    let location = format!("{folder}delete/me");
    put(storage, &location, b"x").await;
    let kept = format!("{folder}delete/not me");
    put(storage, &kept, b"x").await;
    for _ in 0..2 {
        let outcomes = storage
            .delete(&[location.clone(), "nowhere at all".to_owned()])
            .await;
        assert_eq!(outcomes.len(), 2);
        assert!(outcomes[0].result.is_ok(), "{:?}", outcomes[0].result);
        let error = outcomes[1]
            .result
            .as_ref()
            .expect_err("that is no location");
        assert_eq!(error.kind, StorageErrorKind::InvalidLocation, "{error}");
    }
    assert!(storage.info(&location).await.is_err());
    assert!(storage.info(&kept).await.is_ok());
    assert!(storage.delete(&[]).await.is_empty());
}
