//! The last gate: a group whose new files were damaged, each in its own way. It alone stays out, its files stay where
//! they are, and the line names it with what was found. Each was seen to fail with its check taken out of the gate.

use std::collections::HashMap;

use iceberg::spec::FormatVersion;
use icepress_model::{ColumnValues, Rows, TimestampMs};
use serde_json::{Value, json};

use super::world::{World, data};
use crate::commit::{CommitOutcome, DropCause, FinishedGroup};

/// Commits a good group beside one that `damage` worked on, and returns what came of it.
async fn commit_damaged(
    properties: HashMap<String, String>,
    damage: impl FnOnce(&World, &mut FinishedGroup),
) -> (World, CommitOutcome) {
    let world = World::with(FormatVersion::V2, properties);
    world
        .append(&[data("a", "eu", 10), data("b", "us", 20)])
        .await;
    let mut bad = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    bad.group.partition_name = "region=eu".to_owned();
    let good = world.group(1, &["b"], &[data("p", "us", 20)]).await;
    damage(&world, &mut bad);
    let outcome = world.run(&world.base(), vec![bad, good]).await.unwrap();
    (world, outcome)
}

async fn assert_stopped(damage: impl FnOnce(&World, &mut FinishedGroup), expected: &str) {
    let (world, outcome) = commit_damaged(HashMap::new(), damage).await;
    assert_eq!(outcome.committed, [1], "{expected}");
    let [dropped] = outcome.dropped.as_slice() else {
        panic!("{expected}: {:?}", outcome.dropped)
    };
    assert_eq!((dropped.index, dropped.cause), (0, DropCause::Gate));
    let reason = &dropped.reason;
    assert!(
        reason.starts_with("group 0 (region=eu): "),
        "{expected}: {reason}"
    );
    assert!(reason.contains(expected), "{expected}: {reason}");
    assert!(reason.contains("kept: o"), "{expected}: {reason}");
    assert!(outcome.unused_files.is_empty(), "{expected}");
    assert_eq!(world.data_paths().await, ["a", "p"], "{expected}");
    assert!(!world.storage.deleted().contains("o"), "{expected}");
}

fn output(group: &mut FinishedGroup) -> &mut Value {
    &mut group.result.data_files[0]
}

/// Sets the number that a column has among metrics.
fn set(group: &mut FinishedGroup, metric: &str, column: i32, value: Value) {
    let metrics = output(group)[metric].as_array_mut().unwrap();
    metrics.retain(|entry| entry["key"] != column);
    if !value.is_null() {
        metrics.push(json!({ "key": column, "value": value }));
    }
}

/// A commit that trusts the engine's own sums adds a file with a row less, and the row is gone.
#[tokio::test]
async fn rows_that_do_not_add_up_stop_the_group() {
    assert_stopped(|_, g| g.result.rows_in = Rows(9), "9 rows were read").await;
    assert_stopped(
        |_, g| output(g)["record_count"] = json!(9),
        "9 rows where 10 were written",
    )
    .await;
}

#[tokio::test]
async fn nulls_that_came_from_nowhere_stop_the_group() {
    assert_stopped(
        |_, g| set(g, "null_value_counts", 2, json!(3)),
        "2 nulls more in column name",
    )
    .await;
    assert_stopped(
        |_, g| set(g, "null_value_counts", 2, json!(0)),
        "1 nulls fewer in column name",
    )
    .await;
}

/// What manifests say of a column's nulls may be wrong. Where the old files themselves were counted that says nothing.
#[tokio::test]
async fn nulls_that_old_manifests_miscount_stop_nothing_where_values_were_counted() {
    let counted = |column| ColumnValues {
        column,
        least: 10,
        most: 10,
        after: 10,
    };
    let (_, outcome) = commit_damaged(HashMap::new(), |_, g| {
        // The old file's manifest has one null in this column.
        set(g, "null_value_counts", 2, json!(0));
        g.result.seen.values = vec![counted(1), counted(2)];
    })
    .await;
    assert_eq!(outcome.committed, [0, 1], "{:?}", outcome.dropped);
}

/// Case C50: what a reader of its own counted in the old files and the new ones. The manifests of the old files tell of no
/// column that their writer did not know.
#[tokio::test]
async fn c50_values_that_were_counted_apart_and_are_lost_stop_the_group() {
    let counted = |column, least, most, after| ColumnValues {
        column,
        least,
        most,
        after,
    };
    assert_stopped(
        |_, g| g.result.seen.values = vec![counted(1, 10, 10, 10), counted(2, 9, 9, 0)],
        "column name has 9 values in the old files and 0 in the new ones",
    )
    .await;
    assert_stopped(
        |_, g| g.result.seen.values = vec![counted(1, 7, 9, 10)],
        "column id has 7 to 9 values in the old files and 10",
    )
    .await;
    assert_stopped(
        |_, g| g.result.seen.values = vec![counted(1, 8, 10, 8)],
        "column id has 8 values in the new files, and their description says 10",
    )
    .await;
}

/// Case C38: a file without bounds is read whole by every query, and nobody notices.
#[tokio::test]
async fn c38_bounds_that_are_missing_or_reversed_stop_the_group() {
    for metric in ["lower_bounds", "upper_bounds"] {
        let side = metric.trim_end_matches("_bounds");
        let expected = format!("no {side} bound for column name");
        assert_stopped(|_, g| set(g, metric, 2, Value::Null), &expected).await;
    }
    assert_stopped(
        |_, g| set(g, "lower_bounds", 1, json!([11, 0, 0, 0, 0, 0, 0, 0])),
        "a lower bound above the upper one in column id",
    )
    .await;
    assert_stopped(
        |_, g| set(g, "upper_bounds", 1, json!([1, 2, 3])),
        "above the upper one in column id",
    )
    .await;
    assert_stopped(
        |_, g| set(g, "value_counts", 1, Value::Null),
        "does not count the values of column id",
    )
    .await;
    assert_stopped(
        |_, g| set(g, "value_counts", 1, json!(12)),
        "10 rows and 12 values of column id",
    )
    .await;
}

/// What a table does not want of a column is not asked for, and a column of nulls has no bounds.
#[tokio::test]
async fn bounds_are_not_asked_for_where_there_are_none_to_have() {
    for mode in ["counts", "none"] {
        let properties = HashMap::from([(
            "write.metadata.metrics.column.name".to_owned(),
            mode.to_owned(),
        )]);
        let (_, outcome) = commit_damaged(properties, |_, group| {
            set(group, "lower_bounds", 2, Value::Null);
            set(group, "upper_bounds", 2, Value::Null);
        })
        .await;
        assert_eq!(outcome.committed, [0, 1], "{:?}", outcome.dropped);
    }
}

/// An upper bound that is cut short has to be rounded up, and after the greatest character there is nothing.
#[tokio::test]
async fn an_upper_bound_may_be_missing_where_no_old_file_has_one() {
    let world = World::new(FormatVersion::V2);
    let unbounded = {
        let mut file = super::world::file("a", "eu", 10);
        file.upper_bounds(HashMap::from([(1, iceberg::spec::Datum::long(10))]));
        file.build().unwrap()
    };
    world.append(&[unbounded]).await;
    let mut group = world.group(0, &["a"], &[data("o", "eu", 10)]).await;
    set(&mut group, "upper_bounds", 2, Value::Null);
    world.run(&world.base(), vec![group]).await.unwrap();
}

#[tokio::test]
async fn a_column_order_partition_or_format_that_the_table_does_not_have_stops_the_group() {
    assert_stopped(
        |_, g| set(g, "value_counts", 99, json!(10)),
        "a column of id 99, which schema 0 does not have",
    )
    .await;
    assert_stopped(
        |_, g| output(g)["sort_order_id"] = json!(7),
        "sorted by order 7",
    )
    .await;
    assert_stopped(
        |_, g| output(g)["file_format"] = json!("ORC"),
        "of format ORC",
    )
    .await;
    assert_stopped(
        |_, g| {
            let text = output(g)["partition"].to_string().replace("eu", "us");
            output(g)["partition"] = serde_json::from_str(&text).unwrap();
        },
        "is of partition",
    )
    .await;
    assert_stopped(|_, g| output(g)["content"] = json!(1), "is no data file").await;
}

/// The entry tells of a file as it was when it was written. What lies there now may be another.
#[tokio::test]
async fn a_file_that_is_gone_cut_or_written_again_stops_the_group() {
    assert_stopped(|world, _| world.storage.remove("o"), "o does not exist").await;
    assert_stopped(
        |world, _| world.storage.insert("o", vec![1; 50]),
        "o has 50 bytes, not 101",
    )
    .await;
    assert_stopped(
        |world, group| {
            group.result.seen.modified = vec![TimestampMs(1)];
            world.storage.insert("o", vec![2; 101]);
        },
        "o was written again after the rewrite",
    )
    .await;
    assert_stopped(
        |_, group| group.result.seen.modified = vec![TimestampMs(1); 2],
        "2 of its 1 new files were looked at",
    )
    .await;
}
