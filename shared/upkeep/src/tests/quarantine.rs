//! Files that are marked before they go.

use std::time::Duration;

use super::{
    orphans::{NOBODY, files, is_there, littered, plan, remove_with},
    world::{DAY, HOUR, World},
};
use crate::{OrphanReport, OrphanRequest, UpkeepError};

const TAG: &str = "icepress-quarantine";
const AGE: Duration = Duration::from_secs(3 * 24 * 3600);

fn request() -> OrphanRequest {
    OrphanRequest {
        quarantine: true,
        ..OrphanRequest::default()
    }
}

async fn search(world: &World) -> Result<OrphanReport, UpkeepError> {
    remove_with(world, NOBODY, &request()).await
}

/// What was deleted, what was marked, and what waits.
fn counts(report: &OrphanReport) -> (u64, u64, u64) {
    (
        files(&report.files),
        files(&report.quarantined),
        files(&report.waiting),
    )
}

#[tokio::test]
async fn files_are_marked_at_the_second_look_and_go_when_they_were_for_long_enough() {
    let (world, strays) = littered().await;
    world.storage.tag(&strays[0], "owner", "finance");
    assert_eq!(counts(&search(&world).await.unwrap()), (0, 0, 7));
    assert_eq!(files(&plan(&world, &request()).await.quarantined), 7);
    assert!(
        strays
            .iter()
            .all(|stray| !world.storage.tags_of(stray).contains_key(TAG)),
        "a plan marks nothing"
    );
    assert_eq!(counts(&search(&world).await.unwrap()), (0, 7, 0));
    let tags = world.storage.tags_of(&strays[0]);
    assert_eq!(
        tags["owner"], "finance",
        "whatever else it is tagged with stays"
    );
    let since: jiff::Timestamp = tags[TAG].parse().unwrap();
    assert_eq!(since.as_second(), world.context.ambient.now().get() / 1000);
    // Nothing is marked twice, and it counts from the first time.
    world.clock.advance(AGE - HOUR);
    assert_eq!(counts(&search(&world).await.unwrap()), (0, 0, 7));
    world.clock.advance(HOUR);
    assert_eq!(files(&plan(&world, &request()).await.files), 7);
    assert_eq!(counts(&search(&world).await.unwrap()), (7, 0, 0));
    assert!(strays.iter().all(|stray| !is_there(&world, stray)));
    world.assert_tidy().await;
}

#[tokio::test]
async fn what_is_needed_again_is_marked_no_longer() {
    let (world, strays) = littered().await;
    for _ in 0..2 {
        search(&world).await.unwrap();
    }
    let again = world.file_at(&strays[0], iceberg::spec::DataContentType::Data);
    world.storage.tag(&strays[0], "owner", "finance");
    world.append_file(again).await;
    let report = search(&world).await.unwrap();
    assert_eq!(report.released, 1);
    let tags = world.storage.tags_of(&strays[0]);
    assert_eq!(tags.keys().collect::<Vec<_>>(), ["owner"]);
    assert!(world.storage.tags_of(&strays[1]).contains_key(TAG));
    world.clock.advance(AGE + DAY);
    search(&world).await.unwrap();
    assert!(is_there(&world, &strays[0]) && !is_there(&world, &strays[1]));
    world.assert_tidy().await;
}

#[tokio::test]
async fn a_mark_that_can_t_be_taken_off_is_told() {
    let (world, strays) = littered().await;
    for _ in 0..2 {
        search(&world).await.unwrap();
    }
    let again = world.file_at(&strays[0], iceberg::spec::DataContentType::Data);
    world.append_file(again).await;
    world.storage.refuse_tags(true);
    let error = search(&world).await.unwrap_err();
    assert!(matches!(error, UpkeepError::StillMarked { .. }), "{error}");
    assert!(error.to_string().contains(&strays[0]), "{error}");
    world.storage.refuse_tags(false);
    assert_eq!(search(&world).await.unwrap().released, 1);
}

#[tokio::test]
async fn nothing_goes_that_can_t_be_marked() {
    let (world, strays) = littered().await;
    search(&world).await.unwrap();
    world.storage.refuse_tags(true);
    let error = search(&world).await.unwrap_err();
    assert!(
        matches!(error, UpkeepError::NotDeleted { files: 7, .. }),
        "{error}"
    );
    assert!(strays.iter().all(|stray| is_there(&world, stray)));
    world.storage.refuse_tags(false);
    assert_eq!(counts(&search(&world).await.unwrap()), (0, 7, 0));
}

#[tokio::test]
async fn whoever_dies_at_any_point_deletes_nothing_that_was_not_marked_for_long_enough() {
    for fuse in 0.. {
        let (world, strays) = littered().await;
        search(&world).await.unwrap();
        world.storage.set_fuse(Some(fuse));
        let ended = search(&world).await;
        world.storage.set_fuse(None);
        assert!(
            strays.iter().all(|stray| is_there(&world, stray)),
            "fuse {fuse}"
        );
        // One run may have to begin anew, and one to mark.
        for _ in 0..3 {
            world.clock.advance(DAY + HOUR);
            search(&world).await.unwrap();
        }
        world.clock.advance(AGE);
        search(&world).await.unwrap();
        world.assert_tidy().await;
        if ended.is_ok() {
            assert!(fuse > 40, "{fuse}");
            return;
        }
    }
}

#[tokio::test]
async fn the_table_says_whether() {
    let properties = [("icepress.maintain.orphans-quarantine", "true")];
    let world = World::with(iceberg::spec::FormatVersion::V2, &properties);
    world.append().await;
    let left = super::orphans::stray(&world, "data/left.parquet");
    for _ in 0..2 {
        super::orphans::remove(&world).await;
    }
    assert!(world.storage.tags_of(&left).contains_key(TAG));
    for wrong in ["yes", ""] {
        let world = World::with(
            iceberg::spec::FormatVersion::V2,
            &[("icepress.maintain.orphans-quarantine", wrong)],
        );
        let error = search(&world).await.unwrap_err().to_string();
        assert!(error.contains("must be true or false"), "{error}");
    }
}
