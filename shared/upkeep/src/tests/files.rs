//! Which files go, and which never.

use std::collections::BTreeSet;

use iceberg::spec::{DataContentType, FormatVersion};

use super::world::{DAY, Event, HOUR, LOCATION, World, all, set_ref, tag};
use crate::{ExpireRequest, FileKind, Limits, NoPins, UpkeepError};
use icepress_catalog::TableChange;

#[tokio::test]
async fn c31_what_any_branch_or_tag_needs_stays() {
    let world = World::new();
    let first = world.append().await;
    let second = world.append().await;
    let tagged = world.current().await;
    world.set_ref("release", tagged, tag()).await;
    let third = world.replace(&[&first]).await;
    let fourth = world.replace(&[&second, &third]).await;
    let plan = world.plan(&all()).await;
    let report = world.expire_all().await.unwrap();
    assert_eq!(report.files, plan.files, "what is planned is done");
    assert_eq!(report.files[&FileKind::Data].files, 1);
    let there = world.storage.there();
    assert!(there.contains(&first) && there.contains(&second) && there.contains(&fourth));
    assert!(!there.contains(&third));
    world.assert_tidy().await;
}

#[tokio::test]
async fn c31_a_path_that_was_added_again_lives() {
    let world = World::new();
    let path = format!("{LOCATION}/data/again.parquet");
    let file = || world.file_at(&path, DataContentType::Data);
    world.append_file(file()).await;
    world.replace(&[&path]).await;
    world.append_file(file()).await;
    world.expire_all().await.unwrap();
    assert!(world.storage.there().contains(&path));
    world.assert_tidy().await;
}

#[tokio::test]
async fn c33_a_path_in_another_spelling_lives() {
    let world = World::new();
    let old = world.append().await;
    let alike = [
        old.replace("s3://", "s3a://"),
        old.replace("/data/", "//data/"),
        old.replace("f-000", "f%2D000"),
    ];
    for spelled in alike {
        let file = world.file_at(&spelled, DataContentType::Data);
        world.append_file(file).await;
    }
    world.replace(&[&old]).await;
    world.expire_all().await.unwrap();
    assert!(world.storage.there().contains(&old));
    world.assert_whole().await;
}

#[tokio::test]
async fn c34_statistics_go_with_their_snapshot_and_not_before() {
    let world = World::new();
    world.append().await;
    let dead = world.statistics(world.current().await).await;
    world.append().await;
    let live = world.statistics(world.current().await).await;
    let report = world.expire_all().await.unwrap();
    assert_eq!(report.files[&FileKind::Statistics].files, 2);
    let there = world.storage.there();
    assert!(dead.iter().all(|path| !there.contains(path)));
    assert!(live.iter().all(|path| there.contains(path)));
    world.assert_tidy().await;
}

#[tokio::test]
async fn c36_dead_delete_files_go_and_live_ones_stay() {
    let world = World::new();
    let data = world.append().await;
    let first = world.delete_rows().await;
    world.replace(&[&data, &first]).await;
    let second = world.delete_rows().await;
    let report = world.expire_all().await.unwrap();
    assert_eq!(report.files[&FileKind::Delete].files, 1);
    assert!(world.storage.there().contains(&second));
    world.assert_tidy().await;
}

#[tokio::test]
async fn c14_tombstones_are_no_life() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let world = World::with(version, &[]);
        let path = world.append().await;
        world.append().await;
        // Its manifest holds the tombstone, and stays.
        world.replace(&[&path]).await;
        world.expire_all().await.unwrap();
        assert!(!world.storage.there().contains(&path));
        world.assert_tidy().await;
    }
}

#[tokio::test]
async fn c29_what_cannot_be_read_of_what_stays_stops_the_deletions() {
    let world = World::new();
    let dead = world.append().await;
    world.append().await;
    world.replace(&[&dead]).await;
    let loaded = world.loaded().await;
    let list = loaded.metadata.current_snapshot().unwrap().manifest_list();
    let content = world.storage.remove(list).unwrap();
    let before = world.storage.there();
    let error = world.expire_all().await.unwrap_err();
    assert!(matches!(error, UpkeepError::Table(_)), "{error}");
    let after = world.storage.there();
    let gone: Vec<&String> = before.difference(&after).collect();
    assert!(gone.is_empty(), "{gone:?}");
    world.storage.insert(list, content.to_vec());
    world.expire_all().await.unwrap();
    assert!(!world.storage.there().contains(&dead));
    world.assert_tidy().await;
}

#[tokio::test]
async fn c29_a_manifest_that_was_cut_short_stops_the_deletions() {
    let world = World::new();
    let dead = world.append().await;
    world.append().await;
    world.replace(&[&dead]).await;
    let live = world.referenced().await;
    let manifest = live.iter().find(|path| path.ends_with("-m0.avro")).unwrap();
    let content = world.storage.get(manifest).unwrap();
    world
        .storage
        .insert(manifest, content[..content.len() / 2].to_vec());
    let error = world.expire_all().await.unwrap_err();
    assert!(matches!(error, UpkeepError::Table(_)), "{error}");
    assert!(world.storage.there().contains(&dead));
}

#[tokio::test]
async fn what_lies_in_somebody_elses_folder_stays() {
    let world = World::new();
    let theirs = "s3://lake/hive/part-0.parquet";
    world
        .append_file(world.file_at(theirs, DataContentType::Data))
        .await;
    world.replace(&[theirs]).await;
    let plan = world.plan(&all()).await;
    let report = world.expire_all().await.unwrap();
    assert_eq!((plan.outside.files, report.outside.files), (1, 1));
    assert!(world.storage.there().contains(theirs));
}

#[tokio::test]
async fn a_run_keeps_to_its_limits_and_the_next_goes_on() {
    let world = World::new();
    let mut last = world.append().await;
    for _ in 0..6 {
        last = world.replace(&[&last]).await;
    }
    let some = ExpireRequest {
        limits: Limits {
            files: Some(4),
            ..Limits::default()
        },
        ..all()
    };
    let mut runs = 0;
    let mut deleted = 0;
    loop {
        let report = world.expire_with(&some, &NoPins).await.unwrap();
        let files: u64 = report.files.values().map(|counts| counts.files).sum();
        assert!(files <= 4);
        deleted += files;
        runs += 1;
        world.assert_whole().await;
        if !report.unfinished {
            break;
        }
        assert!(world.plan(&all()).await.unfinished);
    }
    assert!(runs > 3 && deleted > 12, "{runs} runs, {deleted} files");
    world.assert_tidy().await;
}

#[tokio::test]
async fn a_busy_store_is_asked_again() {
    let world = World::new();
    let first = world.append().await;
    world.replace(&[&first]).await;
    world.storage.be_busy(5);
    world.expire_all().await.unwrap();
    world.assert_tidy().await;
}

#[tokio::test]
async fn what_is_refused_is_tried_again_by_the_next_run() {
    let world = World::new();
    let first = world.append().await;
    world.replace(&[&first]).await;
    world.storage.deny(&first, true);
    let error = world.expire_all().await.unwrap_err();
    assert!(
        matches!(error, UpkeepError::NotDeleted { files: 1, .. }),
        "{error}"
    );
    assert!(world.expire_all().await.is_err());
    world.storage.deny(&first, false);
    let report = world.expire_all().await.unwrap();
    assert_eq!(report.files[&FileKind::Data].files, 1);
    world.assert_tidy().await;
}

#[tokio::test]
async fn deletions_go_in_batches_of_a_thousand() {
    let world = World::new();
    let files: Vec<String> = {
        let mut files = Vec::new();
        world.clock.advance(HOUR);
        let added: Vec<_> = (0..2500)
            .map(|_| icepress_writer::AddedFile {
                spec_id: icepress_model::SpecId(0),
                file: world.file(DataContentType::Data),
            })
            .collect();
        files.extend(added.iter().map(|it| it.file.file_path().to_owned()));
        icepress_writer::append_files(&world.context, &world.table, &added)
            .await
            .unwrap();
        files
    };
    let paths: Vec<&str> = files.iter().map(String::as_str).collect();
    world.replace(&paths).await;
    world.expire_all().await.unwrap();
    let batches = world.storage.batches();
    assert_eq!(batches.iter().max(), Some(&1000));
    world.assert_tidy().await;
}

#[tokio::test]
async fn a_tag_that_comes_in_between_keeps_its_snapshot() {
    let world = World::new();
    let first = world.append().await;
    let old = world.current().await;
    world.replace(&[&first]).await;
    world
        .catalog
        .events
        .lock()
        .unwrap()
        .push(Event::Rival(TableChange {
            requirements: Vec::new(),
            updates: vec![set_ref("late", old, tag())],
        }));
    world.expire_all().await.unwrap();
    assert!(world.ids().await.contains(&old));
    world.assert_tidy().await;
}

#[tokio::test]
async fn c25_a_lost_answer_ends_as_if_it_had_come() {
    let world = World::new();
    let first = world.append().await;
    world.replace(&[&first]).await;
    world.catalog.events.lock().unwrap().push(Event::AnswerLost);
    world.expire_all().await.unwrap();
    assert_eq!(world.ids().await.len(), 1);
    world.assert_tidy().await;
}

#[tokio::test]
async fn c25_while_nobody_knows_nothing_is_deleted() {
    let world = World::new();
    let first = world.append().await;
    world.replace(&[&first]).await;
    let before: BTreeSet<String> = world.storage.there();
    world
        .catalog
        .events
        .lock()
        .unwrap()
        .push(Event::RequestLost);
    let error = world.expire_all().await.unwrap_err();
    assert!(
        matches!(error, UpkeepError::OutcomeUnknown { .. }),
        "{error}"
    );
    assert!(before.is_subset(&world.storage.there()));
    // The record of a request that may be under way stays for an hour.
    world.clock.advance(DAY);
    world.expire_all().await.unwrap();
    world.assert_tidy().await;
}

#[tokio::test]
async fn a_second_run_finds_nothing_to_do() {
    let world = World::new();
    let first = world.append().await;
    world.replace(&[&first]).await;
    world.expire_all().await.unwrap();
    let location = world.loaded().await.metadata_location;
    let report = world.expire_all().await.unwrap();
    assert!(report.snapshots.is_empty() && report.files.is_empty());
    assert_eq!(world.loaded().await.metadata_location, location);
}
