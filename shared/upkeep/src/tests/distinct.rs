//! From which sketches on distinct values are counted, and when all is read anew: by the metadata alone.

use std::collections::HashMap;

use iceberg::{
    TableUpdate,
    puffin::APACHE_DATASKETCHES_THETA_V1,
    spec::{
        BlobMetadata, FormatVersion, ListType, NestedField, PrimitiveType, Schema, StatisticsFile,
        Type, UnboundPartitionSpec,
    },
};
use icepress_model::SnapshotId;

use super::world::{LOCATION, World};
use crate::statistics::{NDV_COLUMNS, NdvPlan, StatisticsPlan, outlook};

async fn outlook_of(world: &World) -> Result<StatisticsPlan, String> {
    outlook(&world.loaded().await.metadata)
}

async fn planned(world: &World) -> NdvPlan {
    outlook_of(world).await.unwrap().ndv.unwrap()
}

async fn since(world: &World) -> Option<SnapshotId> {
    let plan = planned(world).await;
    assert!(plan.write, "{plan:?}");
    plan.columns[0].since
}

/// Has the table name a sketch of the column `id` at its current snapshot, as ours or as somebody else's.
async fn sketch(world: &World, removed: Option<&str>) -> SnapshotId {
    let snapshot_id = world.current().await;
    let ndv = ("ndv".to_owned(), "7".to_owned());
    let removed = removed.map(|rows| ("icepress.removed-rows".to_owned(), rows.to_owned()));
    let statistics = StatisticsFile {
        snapshot_id,
        statistics_path: format!("{LOCATION}/metadata/{snapshot_id}.stats"),
        file_size_in_bytes: 10,
        file_footer_size_in_bytes: 5,
        key_metadata: None,
        blob_metadata: vec![BlobMetadata {
            r#type: APACHE_DATASKETCHES_THETA_V1.to_owned(),
            snapshot_id,
            sequence_number: 1,
            fields: vec![1],
            properties: HashMap::from_iter([ndv].into_iter().chain(removed)),
        }],
    };
    world
        .update(vec![TableUpdate::SetStatistics { statistics }])
        .await;
    SnapshotId(snapshot_id)
}

fn asking(columns: &str) -> World {
    World::with(FormatVersion::V2, &[(NDV_COLUMNS, columns)])
}

#[tokio::test]
async fn nothing_is_counted_of_tables_that_do_not_ask() {
    let world = World::new();
    world.append().await;
    let plan = outlook_of(&world).await.unwrap();
    assert_eq!((plan.is_due(), plan.ndv), (false, None));
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let list = Type::List(ListType {
        element_field: NestedField::list_element(3, PrimitiveType::Int.into(), true).into(),
    });
    for (columns, expected) in [("id, idd", "'idd'"), ("tags", "lists or maps")] {
        let schema = Schema::builder()
            .with_fields(vec![
                NestedField::required(1, "id", PrimitiveType::Long.into()).into(),
                NestedField::optional(2, "tags", list.clone()).into(),
            ])
            .build()
            .unwrap();
        let spec = UnboundPartitionSpec::builder().build();
        let world = World::of(schema, spec, FormatVersion::V2, &[(NDV_COLUMNS, columns)]);
        world.append().await;
        let error = outlook_of(&world).await.unwrap_err();
        assert!(
            error.contains(expected) && error.contains(NDV_COLUMNS),
            "{error}"
        );
    }
}

#[tokio::test]
async fn appended_files_alone_are_read_where_there_is_a_sketch_of_an_earlier_snapshot() {
    let world = asking(" id ");
    assert!(!planned(&world).await.write);
    world.append().await;
    assert_eq!(since(&world).await, None);
    let first = sketch(&world, None).await;
    let plan = planned(&world).await;
    assert_eq!((plan.write, plan.columns[0].since), (false, Some(first)));
    world.append().await;
    world.append().await;
    let plan = planned(&world).await;
    assert_eq!((plan.write, plan.columns[0].since), (true, Some(first)));
    assert_eq!((plan.files, plan.bytes.get()), (2, 200));
    // A branch of history that is left behind is no earlier snapshot.
    sketch(&world, None).await;
    world.roll_back_to(first.get()).await;
    assert!(!planned(&world).await.write);
}

/// Of 13 files with 10 rows each, one may be replaced, and not two; also where a sketch was made in between.
#[tokio::test]
async fn once_more_than_a_tenth_of_the_rows_may_be_gone_all_is_read_anew() {
    for (is_sketched_in_between, deletes_rows) in [(false, false), (true, false), (true, true)] {
        let world = asking("*");
        let mut paths = Vec::new();
        for _ in 0..13 {
            paths.push(world.append().await);
        }
        let first = sketch(&world, Some("0")).await;
        let remove = async |path: &str| match deletes_rows {
            true => world.delete_rows().await,
            false => world.replace(&[path]).await,
        };
        remove(&paths[0]).await;
        let plan = planned(&world).await;
        assert_eq!(
            (plan.columns[0].since, plan.columns[0].removed_rows),
            (Some(first), 10)
        );
        if is_sketched_in_between {
            sketch(&world, Some("10")).await;
        }
        remove(&paths[1]).await;
        let plan = planned(&world).await;
        assert_eq!((plan.write, plan.columns[0].since), (true, None));
        assert_eq!((plan.columns[0].removed_rows, plan.files), (0, 13));
        assert!(plan.reason.contains("tenth"), "{}", plan.reason);
    }
}

#[tokio::test]
async fn a_sketch_of_another_type_is_not_gone_on_with() {
    let schema = |kind: PrimitiveType| {
        let field = NestedField::optional(1, "id", Type::Primitive(kind));
        Schema::builder()
            .with_fields(vec![field.into()])
            .build()
            .unwrap()
    };
    let world_of = |kind| {
        let spec = UnboundPartitionSpec::builder().build();
        World::of(
            schema(kind),
            spec,
            FormatVersion::V2,
            &[(NDV_COLUMNS, "id")],
        )
    };
    let decimal = |precision| PrimitiveType::Decimal {
        precision,
        scale: 2,
    };
    for (from, to, goes_on) in [
        (PrimitiveType::Int, PrimitiveType::Long, false),
        (PrimitiveType::Float, PrimitiveType::Double, false),
        (decimal(9), decimal(12), true),
    ] {
        let world = world_of(from);
        world.append().await;
        let first = sketch(&world, None).await;
        let schema = schema(to);
        world
            .update(vec![
                TableUpdate::AddSchema { schema },
                TableUpdate::SetCurrentSchema { schema_id: -1 },
            ])
            .await;
        world.append().await;
        assert_eq!(since(&world).await, goes_on.then_some(first));
    }
    // Spark hashes the text of a UUID.
    for (removed, goes_on) in [(None, false), (Some("0"), true)] {
        let world = world_of(PrimitiveType::Uuid);
        world.append().await;
        let first = sketch(&world, removed).await;
        world.append().await;
        assert_eq!(since(&world).await, goes_on.then_some(first));
    }
}
