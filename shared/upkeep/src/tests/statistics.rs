//! The commit that sets statistics: against others, without an answer, and too late.

use iceberg::{TableUpdate, spec::PartitionStatisticsFile};
use icepress_catalog::TableChange;
use icepress_table::NoObjection;

use super::world::{Event, LOCATION, World};
use crate::{
    UpkeepError,
    statistics::{Set, plan, set},
};

/// A file of statistics of the current snapshot, stored and named by nobody.
async fn stored(world: &World) -> PartitionStatisticsFile {
    let statistics_path = format!("{LOCATION}/metadata/partition-stats-1.parquet");
    world.storage.insert(&statistics_path, vec![1; 10]);
    PartitionStatisticsFile {
        snapshot_id: world.current().await,
        statistics_path,
        file_size_in_bytes: 10,
    }
}

async fn try_to_set(
    world: &World,
    statistics: &PartitionStatisticsFile,
) -> Result<Set, UpkeepError> {
    set(&world.context, &world.table, &NoObjection, statistics).await
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
        let statistics = stored(&world).await;
        world.catalog.events.lock().unwrap().push(event);
        let set = try_to_set(&world, &statistics).await.unwrap();
        assert!(matches!(set, Set::Done(_)), "{set:?}");
        let loaded = world.loaded().await;
        let known = loaded
            .metadata
            .partition_statistics_for_snapshot(statistics.snapshot_id);
        assert_eq!(known, Some(&statistics));
        assert!(world.storage.get(&statistics.statistics_path).is_some());
    }
}

/// Nobody knows whether it is on its way: the file stays.
#[tokio::test]
async fn an_unknown_outcome_deletes_nothing() {
    let world = World::new();
    world.append().await;
    let statistics = stored(&world).await;
    world
        .catalog
        .events
        .lock()
        .unwrap()
        .push(Event::RequestLost);
    let error = try_to_set(&world, &statistics).await.unwrap_err();
    assert!(
        matches!(error, UpkeepError::OutcomeUnknown { .. }),
        "{error}"
    );
    assert!(world.storage.get(&statistics.statistics_path).is_some());
}

#[tokio::test]
async fn a_snapshot_that_is_gone_takes_its_statistics_along() {
    let world = World::new();
    world.append().await;
    let mut statistics = stored(&world).await;
    statistics.snapshot_id = 77;
    let set = try_to_set(&world, &statistics).await.unwrap();
    assert_eq!(set, Set::SnapshotGone);
    assert!(world.storage.get(&statistics.statistics_path).is_none());
}

#[tokio::test]
async fn a_table_without_partitions_has_none() {
    let world = World::new();
    world.append().await;
    let plan = plan(&world.context, &world.table).await.unwrap();
    assert!(!plan.write);
    assert_eq!(plan.reason, "the table has no partitions");
}
