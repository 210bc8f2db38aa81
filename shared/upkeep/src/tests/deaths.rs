//! Runs that die at any point, and the next one that goes on.

use super::world::{DAY, World};

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
