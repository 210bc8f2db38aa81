//! Which snapshots, branches and tags go.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use iceberg::spec::{FormatVersion, MAIN_BRANCH, SnapshotRetention};
use icepress_model::{SnapshotId, TableId};

use super::world::{DAY, HOUR, World, all, branch, tag};
use crate::{ExpirePolicy, ExpireRequest, NoPins, Pin, Pins, UpkeepError, expire_outlook};

#[derive(Debug)]
struct Fixed(Vec<i64>);

#[async_trait]
impl Pins for Fixed {
    async fn of(&self, _: &TableId) -> Result<Vec<Pin>, String> {
        let pin = |id: &i64| Pin {
            snapshot_id: SnapshotId(*id),
            by: "process p1".to_owned(),
        };
        Ok(self.0.iter().map(pin).collect())
    }
}

/// A table with so many appends, an hour apart; their snapshots, the oldest first.
async fn appended(world: &World, commits: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    for _ in 0..commits {
        world.append().await;
        ids.push(world.current().await);
    }
    ids
}

fn set(ids: &[i64]) -> BTreeSet<i64> {
    ids.iter().copied().collect()
}

#[tokio::test]
async fn what_is_younger_than_the_age_stays_and_so_does_the_least_number() {
    let world = World::with(
        FormatVersion::V2,
        &[
            ("history.expire.max-snapshot-age-ms", "9000000"),
            ("history.expire.min-snapshots-to-keep", "2"),
        ],
    );
    let ids = appended(&world, 6).await;
    let asked = ExpireRequest::default();
    // Two hours and a half: the last three.
    world.expire_with(&asked, &NoPins).await.unwrap();
    assert_eq!(world.ids().await, set(&ids[3..]));
    world.clock.advance(10 * DAY);
    world.expire_with(&asked, &NoPins).await.unwrap();
    assert_eq!(world.ids().await, set(&ids[4..]));
    world.assert_tidy().await;
}

#[tokio::test]
async fn each_branch_keeps_by_its_own_words_and_old_refs_go() {
    let world = World::new();
    let ids = appended(&world, 6).await;
    let keeps_two = SnapshotRetention::branch(Some(2), None, None);
    world.set_ref("two", ids[3], keeps_two).await;
    let millis = |duration: Duration| Some(duration.as_millis() as i64);
    let short = SnapshotRetention::Tag {
        max_ref_age_ms: millis(HOUR),
    };
    world.set_ref("short", ids[0], short).await;
    world.set_ref("for-ever", ids[1], tag()).await;
    let old = SnapshotRetention::branch(None, None, millis(2 * HOUR));
    world.set_ref("old", ids[0], old).await;
    let report = world.expire_all().await.unwrap();
    assert_eq!(report.refs, ["old", "short"]);
    assert_eq!(world.ids().await, set(&[ids[1], ids[2], ids[3], ids[5]]));
    let refs = world.loaded().await.metadata.refs().unwrap();
    let names: Vec<&str> = refs.keys().map(String::as_str).collect();
    assert_eq!(names, ["for-ever", MAIN_BRANCH, "two"]);
    world.assert_tidy().await;
}

#[tokio::test]
async fn c31_tags_of_version_1_keep_their_snapshots() {
    let world = World::with(FormatVersion::V1, &[]);
    let ids = appended(&world, 4).await;
    world.set_ref("release", ids[1], tag()).await;
    world.expire_all().await.unwrap();
    assert_eq!(world.ids().await, set(&[ids[1], ids[3]]));
    world.assert_tidy().await;
}

#[tokio::test]
async fn c35_a_staged_snapshot_stays_as_long_as_it_is_young() {
    let world = World::new();
    let ids = appended(&world, 2).await;
    world.append().await;
    let staged = world.current().await;
    world.roll_back_to(ids[1]).await;
    let day = ExpireRequest {
        older_than: Some(DAY),
        ..all()
    };
    world.expire_with(&day, &NoPins).await.unwrap();
    assert!(world.ids().await.contains(&staged));
    world.clock.advance(2 * DAY);
    world.expire_with(&day, &NoPins).await.unwrap();
    assert_eq!(world.ids().await, set(&[ids[1]]));
    world.assert_tidy().await;
}

#[tokio::test]
async fn c26_what_a_process_works_on_stays() {
    let world = World::new();
    let ids = appended(&world, 4).await;
    let report = world
        .expire_with(&all(), &Fixed(vec![ids[1]]))
        .await
        .unwrap();
    assert_eq!(world.ids().await, set(&[ids[1], ids[3]]));
    assert_eq!(report.spared.len(), 1);
    assert_eq!(report.spared[0].why, "in use by process p1");
    world.assert_tidy().await;
    world.expire_all().await.unwrap();
    assert_eq!(world.ids().await, set(&ids[3..]));
}

#[tokio::test]
async fn whoever_cannot_say_what_is_in_use_stops_everything() {
    #[derive(Debug)]
    struct Silent;
    #[async_trait]
    impl Pins for Silent {
        async fn of(&self, _: &TableId) -> Result<Vec<Pin>, String> {
            Err("the state can't be reached".to_owned())
        }
    }
    let world = World::new();
    let ids = appended(&world, 3).await;
    let error = world.expire_with(&all(), &Silent).await.unwrap_err();
    assert!(matches!(error, UpkeepError::PinsUnknown { .. }), "{error}");
    assert_eq!(world.ids().await, set(&ids));
}

#[tokio::test]
async fn nothing_under_the_floor_goes() {
    let world = World::new();
    let ids = appended(&world, 5).await;
    let asked = ExpireRequest {
        floor: 2 * HOUR,
        ..all()
    };
    let report = world.expire_with(&asked, &NoPins).await.unwrap();
    assert_eq!(world.ids().await, set(&ids[2..]));
    assert_eq!(report.spared.len(), 2);
}

#[tokio::test]
async fn what_was_the_newest_a_moment_ago_stays_however_old_it_is() {
    let world = World::new();
    let mut ids = appended(&world, 2).await;
    world.clock.advance(10 * DAY);
    let asked = ExpireRequest {
        floor: 2 * HOUR,
        ..all()
    };
    // Whoever reads the table has read its second state for ten days, and goes on with that.
    ids.extend(appended(&world, 1).await);
    let now = world.context.ambient.now();
    let outlook = expire_outlook(&world.loaded().await.metadata, &asked, now).unwrap();
    let report = world.expire_with(&asked, &NoPins).await.unwrap();
    assert_eq!(world.ids().await, set(&ids[1..]));
    assert!(
        report.spared[0].why.contains("the newest of its branch"),
        "{:?}",
        report.spared
    );
    // A way back is no other case.
    world.roll_back_to(ids[1]).await;
    world.expire_with(&asked, &NoPins).await.unwrap();
    assert_eq!(world.ids().await, set(&ids[1..]));
    assert_eq!(outlook.snapshots, 1);
    let next = outlook.next.unwrap();
    assert!(
        next > now && next <= now + 2 * HOUR + Duration::from_millis(1),
        "{next}"
    );
    world.clock.advance(3 * HOUR);
    world.expire_with(&asked, &NoPins).await.unwrap();
    assert_eq!(world.ids().await, set(&ids[1..2]));
    world.assert_tidy().await;
}

#[tokio::test]
async fn what_no_branch_leads_to_stays_until_it_is_too_old() {
    // Staged, or left by a way back: whoever has its number may publish it yet.
    let world = World::new();
    let ids = appended(&world, 2).await;
    world.roll_back_to(ids[0]).await;
    let request = ExpireRequest {
        older_than: Some(5 * DAY),
        floor: HOUR,
        ..all()
    };
    world.clock.advance(4 * DAY);
    world.expire_with(&request, &NoPins).await.unwrap();
    assert_eq!(world.ids().await, set(&ids));
    world.clock.advance(2 * DAY);
    world.expire_with(&request, &NoPins).await.unwrap();
    assert_eq!(world.ids().await, set(&ids[..1]));
    world.assert_tidy().await;
}

#[tokio::test]
async fn a_flink_job_finds_its_last_checkpoint_for_a_week() {
    let world = World::new();
    let mut ids = appended(&world, 3).await;
    // The writer says nothing of checkpoints: the file does.
    let loaded = world.loaded().await;
    let location = loaded.metadata_location.as_str();
    let text = String::from_utf8(world.storage.get(location).unwrap().to_vec()).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    for snapshot in json["snapshots"].as_array_mut().unwrap() {
        if snapshot["snapshot-id"] == ids[1] {
            snapshot["summary"]["flink.max-committed-checkpoint-id"] = "41".into();
        }
    }
    world
        .storage
        .insert(location, json.to_string().into_bytes());
    ids.extend(appended(&world, 2).await);
    world.expire_all().await.unwrap();
    assert_eq!(world.ids().await, set(&ids[1..]));
    world.clock.advance(8 * DAY);
    world.expire_all().await.unwrap();
    assert_eq!(world.ids().await, set(&ids[4..]));
    world.assert_tidy().await;
}

#[tokio::test]
async fn c35_a_table_whose_files_others_use_is_refused() {
    for (key, value) in [("gc.enabled", "false"), ("table-expire.enabled", "false")] {
        let world = World::with(FormatVersion::V2, &[(key, value)]);
        let ids = appended(&world, 3).await;
        let before = world.storage.there();
        let error = world.expire_all().await.unwrap_err();
        assert!(error.to_string().contains(key), "{error}");
        assert_eq!(world.ids().await, set(&ids));
        assert_eq!(world.storage.there(), before);
    }
}

#[test]
fn the_more_careful_of_two_properties_counts() {
    let of = |properties: &[(&str, &str)]| {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        ExpirePolicy::of(&properties.iter().map(own).collect())
    };
    let policy = of(&[]).unwrap();
    assert_eq!(
        (policy.max_snapshot_age, policy.min_snapshots),
        (5 * DAY, 1)
    );
    assert_eq!(policy.max_ref_age, None);
    let amoro = of(&[
        ("snapshot.keep.duration", "720min"),
        ("snapshot.keep.min-count", "3"),
        ("snapshot.keep.flink.checkpoint-retention", "2d"),
    ])
    .unwrap();
    assert_eq!(
        (amoro.max_snapshot_age, amoro.min_snapshots),
        (12 * HOUR, 3)
    );
    assert_eq!(amoro.flink_retention, 2 * DAY);
    let minutes = of(&[("snapshot.keep.duration", "90")]).unwrap();
    assert_eq!(minutes.max_snapshot_age, Duration::from_secs(90 * 60));
    let both = of(&[
        ("snapshot.keep.duration", "1 hour"),
        ("history.expire.max-snapshot-age-ms", "7200000"),
        ("snapshot.keep.min-count", "5"),
        ("history.expire.min-snapshots-to-keep", "2"),
    ])
    .unwrap();
    assert_eq!((both.max_snapshot_age, both.min_snapshots), (2 * HOUR, 5));
    for (key, value) in [
        ("history.expire.max-snapshot-age-ms", "5 days"),
        ("history.expire.min-snapshots-to-keep", "-1"),
        ("history.expire.max-ref-age-ms", ""),
        ("snapshot.keep.duration", "soon"),
    ] {
        let error = of(&[(key, value)]).unwrap_err();
        assert!(error.contains(key), "{error}");
    }
}

#[tokio::test]
async fn a_branch_that_nobody_moved_keeps_its_words() {
    let world = World::new();
    let ids = appended(&world, 3).await;
    let own = SnapshotRetention::branch(Some(2), Some(1), Some(i64::MAX));
    world.set_ref("side", ids[2], own.clone()).await;
    world.set_ref("plain", ids[2], branch()).await;
    world.expire_all().await.unwrap();
    let refs = world.loaded().await.metadata.refs().unwrap();
    assert_eq!(refs["side"].retention, own);
    assert_eq!(world.ids().await, set(&ids[1..]));
}
