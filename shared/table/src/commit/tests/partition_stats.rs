//! Statistics of partitions: what the model says, and the same whether counted whole or from earlier ones on.

use iceberg::{
    TableUpdate,
    spec::{FormatVersion, Literal},
};
use icepress_model::SnapshotId;

use super::world::{Foreign, World, data, equality_deletes, vector};
use crate::{PartitionCounts, PartitionStats, partition_stats};

impl World {
    /// Statistics of the current snapshot, from earlier ones on where some are given.
    pub(crate) async fn stats(
        &self,
        previous: Option<(SnapshotId, &[PartitionStats])>,
    ) -> Option<Vec<PartitionStats>> {
        let loaded = self.loaded();
        let snapshot = loaded.metadata.current_snapshot().unwrap();
        let stats = partition_stats(&self.context.storage, &loaded, snapshot, previous);
        stats.await.unwrap()
    }

    fn current(&self) -> SnapshotId {
        SnapshotId(self.loaded().metadata.current_snapshot_id().unwrap())
    }
}

/// Rows with anything in them, without when they came.
pub(crate) fn held(stats: &[PartitionStats]) -> Vec<PartitionStats> {
    let rows = stats.iter().map(|row| PartitionStats {
        counts: PartitionCounts {
            updated: None,
            ..row.counts
        },
        ..row.clone()
    });
    rows.filter(|row| row.counts != PartitionCounts::default())
        .collect()
}

#[tokio::test]
async fn every_kind_of_file_counts_where_it_belongs() {
    let world = World::new(FormatVersion::V3);
    world
        .append(&[
            data("a", "us", 10),
            data("b", "eu", 20),
            data("c", "eu", 30),
        ])
        .await;
    world
        .delete(&[equality_deletes("e", "eu", 3), vector("v", "us", "a", 4)])
        .await;
    let last = world.current();
    let stats = world.stats(None).await.unwrap();
    let regions: Vec<_> = stats.iter().map(|row| row.partition.clone()).collect();
    assert_eq!(
        regions,
        [
            vec![Some(Literal::string("eu"))],
            vec![Some(Literal::string("us"))]
        ]
    );
    let counts: Vec<PartitionCounts> = held(&stats).iter().map(|row| row.counts).collect();
    let eu = PartitionCounts {
        data_records: 50,
        data_files: 2,
        data_bytes: 502,
        equality_records: 3,
        equality_files: 1,
        ..PartitionCounts::default()
    };
    let us = PartitionCounts {
        data_records: 10,
        data_files: 1,
        data_bytes: 101,
        position_records: 1,
        vectors: 1,
        ..PartitionCounts::default()
    };
    assert_eq!(counts, [eu, us]);
    let by: Vec<_> = stats
        .iter()
        .map(|row| row.counts.updated.unwrap().1)
        .collect();
    assert_eq!(by, [last, last]);
}

#[tokio::test]
async fn what_came_since_is_added_and_what_went_is_taken_off() {
    for version in [FormatVersion::V1, FormatVersion::V2, FormatVersion::V3] {
        let world = World::new(version);
        world
            .append(&[data("a", "eu", 10), data("b", "us", 20)])
            .await;
        let (first, since) = (world.stats(None).await.unwrap(), world.current());
        world.append(&[data("c", "us", 5)]).await;
        let removed = Foreign {
            removed: vec!["a".to_owned()],
            ..Foreign::default()
        };
        world.commit(removed).await;
        // Manifests written anew change nothing, and neither does what they leave out.
        world.arrange(None).await.unwrap();
        let later = world.stats(Some((since, &first))).await.unwrap();
        let whole = world.stats(None).await.unwrap();
        assert_eq!(held(&later), held(&whole), "{version:?}");
        assert_eq!(held(&later)[0].counts.data_records, 25);
    }
}

/// Statistics that can't be right, or that are of a snapshot which is none before this one, are not gone on from.
#[tokio::test]
async fn what_does_not_fit_is_not_gone_on_from() {
    let world = World::new(FormatVersion::V2);
    world.append(&[data("a", "eu", 10)]).await;
    let (mut stats, since) = (world.stats(None).await.unwrap(), world.current());
    let removed = Foreign {
        removed: vec!["a".to_owned()],
        ..Foreign::default()
    };
    world.commit(removed).await;
    assert_eq!(world.stats(Some((SnapshotId(77), &stats))).await, None);
    stats[0].counts.data_files = 0;
    assert_eq!(world.stats(Some((since, &stats))).await, None);
    let unknown = [PartitionStats {
        spec_id: icepress_model::SpecId(9),
        ..stats[0].clone()
    }];
    assert_eq!(world.stats(Some((since, &unknown))).await, None);
}

/// Partition fields of all specs, each where its spec has it.
#[tokio::test]
async fn specs_share_a_partition_type() {
    let world = World::new(FormatVersion::V2);
    world.append(&[data("a", "eu", 10)]).await;
    let spec = iceberg::spec::UnboundPartitionSpec::builder()
        .add_partition_field(1, "id_bucket", iceberg::spec::Transform::Bucket(4))
        .unwrap()
        .build();
    world.change(vec![TableUpdate::AddSpec { spec }]).await;
    let unified = crate::unified_partition_type(&world.loaded().metadata).unwrap();
    let names: Vec<&str> = unified.fields().iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["region", "id_bucket"]);
    let stats = world.stats(None).await.unwrap();
    assert_eq!(stats[0].partition, [Some(Literal::string("eu")), None]);
}
