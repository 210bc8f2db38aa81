//! Runs that die at any point, and the next one that goes on.

use super::world::{DAY, World, all};
use crate::{ExpireRequest, Limits, NoPins};

/// A table of which much is dead: re-added paths, a tag, statistics, deletes.
async fn worn() -> World {
    let world = World::new();
    let first = world.append().await;
    let _ = world.statistics(world.current().await).await;
    let second = world.append().await;
    world
        .set_ref("release", world.current().await, super::world::tag())
        .await;
    let deletes = world.delete_rows().await;
    let third = world.replace(&[&first, &deletes]).await;
    world.replace(&[&second, &third]).await;
    world.append().await;
    world
}

#[tokio::test]
async fn whoever_dies_at_any_point_loses_nothing_and_leaves_nothing() {
    let mut deaths = 0;
    for fuse in 0.. {
        let world = worn().await;
        world.storage.set_fuse(Some(fuse));
        let ended = world.expire_all().await;
        world.storage.set_fuse(None);
        world.assert_whole().await;
        // What a dead attempt at the commit itself left is a metadata file, which is not counted; its record waits.
        world.clock.advance(DAY);
        world.expire_all().await.unwrap();
        assert_eq!(world.ids().await.len(), 2, "fuse {fuse}");
        world.assert_tidy().await;
        if ended.is_ok() {
            break;
        }
        deaths += 1;
    }
    assert!(deaths > 25, "{deaths} deaths");
}

#[tokio::test]
async fn what_comes_to_life_again_before_the_next_run_stays() {
    let mut revived = 0;
    for fuse in 0..60 {
        let world = worn().await;
        let path = "s3://lake/t/data/f-003.parquet";
        world.storage.set_fuse(Some(fuse));
        let ended = world.expire_all().await;
        world.storage.set_fuse(None);
        if ended.is_err() {
            // Somebody writes the very path that is written down as dead.
            let file = world.file_at(path, iceberg::spec::DataContentType::Data);
            world.append_file(file).await;
            world.clock.advance(DAY);
            let report = world.expire_all().await.unwrap();
            revived += report.revived.files;
            assert!(world.storage.get(path).is_some(), "fuse {fuse}");
            world.assert_whole().await;
        }
    }
    assert!(revived > 0);
}

#[tokio::test]
async fn what_was_written_down_of_a_table_that_was_here_before_is_thrown_away() {
    let world = worn().await;
    let none = Limits {
        files: Some(0),
        ..Limits::default()
    };
    let request = ExpireRequest {
        limits: none,
        ..all()
    };
    let report = world.expire_with(&request, &NoPins).await.unwrap();
    assert!(report.unfinished && !report.snapshots.is_empty());
    // Dropped, and made anew in the same place by somebody who has use for the files.
    let another = "0f7d0c6e-8a3f-4f0e-9d64-2c1f5b7a9e11";
    world
        .edit_metadata(|json| json["table-uuid"] = another.into())
        .await;
    let is_record = |location: &String| location.contains("icepress-upkeep");
    let mut before = world.storage.there();
    assert!(before.iter().any(is_record));
    before.retain(|location| !is_record(location));
    let report = world.expire_all().await.unwrap();
    assert!(report.files.is_empty(), "{report:?}");
    assert_eq!(world.storage.there(), before);
}
