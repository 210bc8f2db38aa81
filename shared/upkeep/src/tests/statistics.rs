//! The commit that sets statistics: against others, without an answer, and too late.

use iceberg::{
    TableUpdate,
    spec::{PartitionStatisticsFile, StatisticsFile},
};
use icepress_catalog::TableChange;
use icepress_table::NoObjection;

use super::world::{Event, LOCATION, World};
use crate::{
    UpkeepError,
    statistics::{Set, Sketches, Stored, plan, set},
};

/// Files of statistics of the current snapshot, stored and named by nobody.
async fn stored(world: &World) -> Stored {
    let snapshot_id = world.current().await;
    let put = |name: &str| {
        let path = format!("{LOCATION}/metadata/{name}");
        world.storage.insert(&path, vec![1; 10]);
        path
    };
    Stored {
        snapshot_id,
        partitions: Some(PartitionStatisticsFile {
            snapshot_id,
            statistics_path: put("partition-stats-1.parquet"),
            file_size_in_bytes: 10,
        }),
        sketches: Some(Sketches {
            file: sketches_at(snapshot_id, put("1-1.stats")),
            instead_of: None,
        }),
    }
}

fn sketches_at(snapshot_id: i64, statistics_path: String) -> StatisticsFile {
    StatisticsFile {
        snapshot_id,
        statistics_path,
        file_size_in_bytes: 10,
        file_footer_size_in_bytes: 5,
        key_metadata: None,
        blob_metadata: Vec::new(),
    }
}

fn paths(stored: &Stored) -> [String; 2] {
    let partitions = stored.partitions.as_ref().unwrap().statistics_path.clone();
    let sketches = &stored.sketches.as_ref().unwrap().file;
    [partitions, sketches.statistics_path.clone()]
}

async fn try_to_set(world: &World, stored: &Stored) -> Result<Set, UpkeepError> {
    set(&world.context, &world.table, &NoObjection, stored).await
}

fn rival() -> Event {
    let updates = std::collections::HashMap::from([("a".to_owned(), "b".to_owned())]);
    Event::Rival(TableChange {
        requirements: Vec::new(),
        updates: vec![TableUpdate::SetProperties { updates }],
    })
}

#[tokio::test]
async fn others_and_lost_answers_do_not_keep_statistics_out() {
    for event in [rival(), Event::AnswerLost] {
        let world = World::new();
        world.append().await;
        let stored = stored(&world).await;
        world.catalog.events.lock().unwrap().push(event);
        let set = try_to_set(&world, &stored).await.unwrap();
        assert!(matches!(set, Set::Done(_)), "{set:?}");
        let metadata = world.loaded().await.metadata;
        let known = metadata.partition_statistics_for_snapshot(stored.snapshot_id);
        assert_eq!(known, stored.partitions.as_ref());
        let known = metadata.statistics_for_snapshot(stored.snapshot_id);
        assert_eq!(known, stored.sketches.as_ref().map(|it| &it.file));
        for path in paths(&stored) {
            assert!(world.storage.get(&path).is_some());
        }
    }
}

/// Nobody knows whether it is on its way: the file stays.
#[tokio::test]
async fn an_unknown_outcome_deletes_nothing() {
    let world = World::new();
    world.append().await;
    let stored = stored(&world).await;
    world
        .catalog
        .events
        .lock()
        .unwrap()
        .push(Event::RequestLost);
    let error = try_to_set(&world, &stored).await.unwrap_err();
    assert!(
        matches!(error, UpkeepError::OutcomeUnknown { .. }),
        "{error}"
    );
    for path in paths(&stored) {
        assert!(world.storage.get(&path).is_some());
    }
}

#[tokio::test]
async fn a_snapshot_that_is_gone_takes_its_statistics_along() {
    let world = World::new();
    world.append().await;
    let mut stored = stored(&world).await;
    stored.snapshot_id = 77;
    let set = try_to_set(&world, &stored).await.unwrap();
    assert_eq!(set, Set::NotWanted);
    for path in paths(&stored) {
        assert!(world.storage.get(&path).is_none());
    }
}

/// What somebody else says of other columns of the same snapshot is not lost: the next run takes it over.
#[tokio::test]
async fn sketches_that_somebody_else_set_meanwhile_stay() {
    let world = World::new();
    world.append().await;
    let stored = stored(&world).await;
    let theirs = sketches_at(stored.snapshot_id, format!("{LOCATION}/metadata/2-2.stats"));
    let event = Event::Rival(TableChange {
        requirements: Vec::new(),
        updates: vec![TableUpdate::SetStatistics {
            statistics: theirs.clone(),
        }],
    });
    world.catalog.events.lock().unwrap().push(event);
    let set = try_to_set(&world, &stored).await.unwrap();
    assert_eq!(set, Set::NotWanted);
    let metadata = world.loaded().await.metadata;
    let known = metadata.statistics_for_snapshot(stored.snapshot_id);
    assert_eq!(known, Some(&theirs));
    for path in paths(&stored) {
        assert!(world.storage.get(&path).is_none());
    }
}

#[tokio::test]
async fn a_table_without_partitions_has_none() {
    let world = World::new();
    world.append().await;
    let plan = plan(&world.context, &world.table).await.unwrap();
    assert!(!plan.write);
    assert_eq!(plan.reason, "the table has no partitions");
}
