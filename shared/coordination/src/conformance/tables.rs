//! Rules of marks and conclusions (protocols.md, sections 2 and 3).

use std::sync::Arc;

use futures::future::join_all;
use icepress_model::BucketId;

use super::*;
use crate::{Search, hash_of_name};

pub(super) async fn a_table_is_marked_once_for_a_state(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let orders = table("orders");
    assert_eq!(store.table(&orders).await.unwrap(), None);
    marked(&*store, &orders, "m1", at(10)).await;
    let first = row(&*store, &orders).await;
    assert_eq!(first.due_location, Some(location("m1")));
    assert_eq!(first.due_at, Some(at(10)));
    assert_eq!((first.bucket, &first.table), (BUCKET, &orders));

    let again = store
        .mark_due(HOME, &orders, &location("m1"), at(5))
        .await
        .unwrap();
    assert_eq!(again, MarkOutcome::AlreadyKnown);
    assert_eq!(row(&*store, &orders).await, first);

    // A newer state replaces the older one and keeps the earlier time.
    marked(&*store, &orders, "m2", at(20)).await;
    let second = row(&*store, &orders).await;
    assert_eq!(second.due_location, Some(location("m2")));
    assert_eq!(second.due_at, Some(at(10)));

    let held = lease(&*store, "a").await;
    store
        .conclude(&held, &second, &conclusion(Some("m2"), None))
        .await
        .unwrap();
    let evaluated = store
        .mark_due(HOME, &orders, &location("m2"), at(30))
        .await
        .unwrap();
    assert_eq!(evaluated, MarkOutcome::AlreadyKnown);
    let quiet = row(&*store, &orders).await;
    assert_eq!((quiet.due_at, quiet.due_location), (None, None));
    assert_eq!(quiet.evaluated_location, Some(location("m2")));
    assert_eq!(quiet.conclusion.as_deref(), Some(r#"{"reason":"tested"}"#));
    marked(&*store, &orders, "m3", at(30)).await;
    assert_eq!(row(&*store, &orders).await.due_at, Some(at(30)));
}

/// A writer that commits each second must not have a failing table tried each second; a person may.
pub(super) async fn a_mark_does_not_shorten_the_pause_of_a_table_that_failed(
    world: Arc<dyn StoreWorld>,
) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = table("orders");
    marked(&*store, &orders, "m1", at(10)).await;
    let failed = |due: u64| Conclusion {
        failures: 2,
        ..conclusion(None, Some(at(due)))
    };
    let seen = row(&*store, &orders).await;
    store.conclude(&held, &seen, &failed(500)).await.unwrap();
    marked(&*store, &orders, "m2", at(20)).await;
    let paused = row(&*store, &orders).await;
    assert_eq!(paused.due_at, Some(at(500)));
    assert_eq!(paused.due_location, Some(location("m2")));
    // Nor does a mark that comes while the table is looked at, and fails again.
    marked(&*store, &orders, "m3", at(501)).await;
    store.conclude(&held, &paused, &failed(900)).await.unwrap();
    assert_eq!(row(&*store, &orders).await.due_at, Some(at(900)));
    store.force_due(HOME, &orders, at(30)).await.unwrap();
    assert_eq!(row(&*store, &orders).await.due_at, Some(at(30)));
}

/// The same for marks that wait for the end of a process that fails.
pub(super) async fn a_mark_waits_out_the_pause_of_a_process_that_failed(
    world: Arc<dyn StoreWorld>,
) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let lines = started(&*store, &held, "p1", 0).await;
    marked(&*store, &lines, "m9", at(40)).await;
    processes::end(&*store, "p1", None, Some(at(700))).await;
    let freed = row(&*store, &lines).await;
    assert_eq!(freed.due_at, Some(at(700)));
    assert_eq!(freed.due_location, Some(location("m9")));
}

pub(super) async fn our_own_commit_marks_nothing(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 0).await;
    processes::end(&*store, "p1", Some("m2"), None).await;
    let own = store
        .mark_due(HOME, &orders, &location("m2"), at(5))
        .await
        .unwrap();
    assert_eq!(own, MarkOutcome::AlreadyKnown);
    assert_eq!(row(&*store, &orders).await.due_at, None);
}

pub(super) async fn a_person_can_mark_what_was_evaluated(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = table("orders");
    store.force_due(HOME, &orders, at(1)).await.unwrap();
    let forced = row(&*store, &orders).await;
    assert_eq!((forced.due_at, &forced.due_location), (Some(at(1)), &None));

    store
        .conclude(&held, &forced, &conclusion(Some("m1"), Some(at(500))))
        .await
        .unwrap();
    assert_eq!(row(&*store, &orders).await.due_at, Some(at(500)));
    let seen = row(&*store, &orders).await;
    store.force_due(HOME, &orders, at(2)).await.unwrap();
    assert_eq!(row(&*store, &orders).await.due_at, Some(at(2)));
    // What was concluded without knowing of the wish does not answer it.
    store
        .conclude(&held, &seen, &conclusion(Some("m1"), None))
        .await
        .unwrap();
    assert_eq!(row(&*store, &orders).await.due_at, Some(at(2)));
}

/// Who dies at a table leaves a trace, which whoever concludes something about it takes away. It is a note and no planning:
/// nobody may take it for the writing of an owner whose lease is over.
pub(super) async fn c57_an_evaluation_that_begins_is_noted_until_it_is_concluded(
    world: Arc<dyn StoreWorld>,
) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = table("orders");
    marked(&*store, &orders, "m1", at(10)).await;
    let seen = row(&*store, &orders).await;
    assert_eq!(seen.begun, 0);
    store.note_begun(&held, &seen).await.unwrap();
    // An answer was lost.
    store.note_begun(&held, &seen).await.unwrap();
    let noted = row(&*store, &orders).await;
    assert_eq!(
        noted,
        TableRow {
            begun: 1,
            ..seen.clone()
        },
        "and nothing else"
    );
    store.note_begun(&held, &noted).await.unwrap();
    let twice = row(&*store, &orders).await;
    assert_eq!(twice.begun, 2);
    // A mark takes nothing away.
    marked(&*store, &orders, "m2", at(20)).await;
    assert_eq!(row(&*store, &orders).await.begun, 2);
    let said = conclusion(Some("m1"), None);
    store.conclude(&held, &twice, &said).await.unwrap();
    let concluded = row(&*store, &orders).await;
    assert_eq!((concluded.begun, concluded.epoch), (0, held.epoch));

    // A former owner notes nothing that a later one would have to answer for, nor does the owner of another bucket.
    store.release_lease(&held, None).await.unwrap();
    let next = lease(&*store, "b").await;
    let late = store.conclude(&next, &concluded, &said).await;
    late.unwrap();
    let of_next = row(&*store, &orders).await;
    assert_fenced(store.note_begun(&held, &of_next).await, "a former owner");
    let elsewhere = store
        .take_lease(BucketId(BUCKET.0 + 1), &worker("c"), NOW, TTL, GUARD)
        .await
        .unwrap()
        .expect("nobody holds that bucket");
    let moved = store.note_begun(&elsewhere, &of_next).await;
    assert!(
        matches!(moved, Err(CoordinationError::Moved(_))),
        "{moved:?}"
    );
    assert_eq!(row(&*store, &orders).await, of_next);

    // What is gone is not made again.
    let gone = TableRow {
        table: table("gone"),
        ..seen
    };
    store.note_begun(&next, &gone).await.unwrap();
    assert_eq!(store.table(&gone.table).await.unwrap(), None);
}

fn names(rows: &[Result<TableRow, CoordinationError>]) -> Vec<&str> {
    rows.iter()
        .map(|row| match row {
            Ok(row) => row.table.name.as_str(),
            Err(CoordinationError::UnreadableRow { .. }) => "unreadable",
            Err(other) => panic!("{other}"),
        })
        .collect()
}

pub(super) async fn due_tables_come_longest_due_first(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    assert_eq!(store.next_due(BUCKET).await.unwrap(), None);
    for (name, due) in [("c", 30), ("a", 10), ("d", 40), ("b", 20)] {
        marked(&*store, &table(name), "m1", at(due)).await;
    }
    store
        .mark_due(home(8, 0), &table("elsewhere"), &location("m1"), at(1))
        .await
        .unwrap();
    let due = |seconds, limit| {
        let store = Arc::clone(&store);
        async move { store.due_tables(BUCKET, at(seconds), limit).await.unwrap() }
    };
    assert_eq!(names(&due(9, 10).await), [""; 0]);
    assert_eq!(names(&due(10, 10).await), ["a"]);
    assert_eq!(names(&due(35, 10).await), ["a", "b", "c"]);
    assert_eq!(names(&due(35, 2).await), ["a", "b"]);
    assert_eq!(names(&due(35, 0).await), [""; 0]);
    assert_eq!(store.next_due(BUCKET).await.unwrap(), Some(at(10)));
    assert_eq!(store.next_due(BucketId(8)).await.unwrap(), Some(at(1)));

    let held = lease(&*store, "a").await;
    let seen = row(&*store, &table("a")).await;
    store
        .conclude(&held, &seen, &conclusion(Some("m1"), None))
        .await
        .unwrap();
    assert_eq!(names(&due(35, 10).await), ["b", "c"]);
    assert_eq!(store.next_due(BUCKET).await.unwrap(), Some(at(20)));
}

pub(super) async fn a_conclusion_clears_only_the_marks_it_saw(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = table("orders");
    marked(&*store, &orders, "m1", at(1)).await;
    let seen = row(&*store, &orders).await;
    marked(&*store, &orders, "m2", at(5)).await;
    store
        .conclude(&held, &seen, &conclusion(Some("m1"), Some(at(900))))
        .await
        .unwrap();
    let after = row(&*store, &orders).await;
    assert_eq!(after.due_location, Some(location("m2")));
    assert_eq!(after.due_at, Some(at(1)));
    assert_eq!(after.evaluated_location, Some(location("m1")));

    store
        .conclude(&held, &after, &conclusion(Some("m2"), Some(at(900))))
        .await
        .unwrap();
    let quiet = row(&*store, &orders).await;
    assert_eq!((quiet.due_location, quiet.due_at), (None, Some(at(900))));
}

pub(super) async fn a_table_that_could_not_be_loaded_keeps_its_mark(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = table("orders");
    marked(&*store, &orders, "m1", at(1)).await;
    let seen = row(&*store, &orders).await;
    let failed = Conclusion {
        failures: 3,
        ..conclusion(None, Some(at(60)))
    };
    store.conclude(&held, &seen, &failed).await.unwrap();
    let after = row(&*store, &orders).await;
    assert_eq!(after.due_location, Some(location("m1")));
    assert_eq!((after.due_at, after.failures), (Some(at(60)), 3));
    assert_eq!(after.evaluated_location, None);
    // Its success clears all that, and a failure that nobody wants to try again clears the mark.
    store
        .conclude(&held, &after, &conclusion(Some("m1"), None))
        .await
        .unwrap();
    assert_eq!(row(&*store, &orders).await.failures, 0);
    let seen = row(&*store, &orders).await;
    store
        .conclude(&held, &seen, &conclusion(None, None))
        .await
        .unwrap();
    let after = row(&*store, &orders).await;
    assert_eq!((after.due_at, after.due_location), (None, None));
    assert_eq!(after.evaluated_location, Some(location("m1")));
}

pub(super) async fn b11_one_unreadable_row_hides_no_other(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    for (name, due) in [("a", 10), ("b", 20), ("c", 30)] {
        marked(&*store, &table(name), "m1", at(due)).await;
    }
    world.damage_table(&table("a")).await;
    let due = store.due_tables(BUCKET, at(60), 2).await.unwrap();
    let mut found = names(&due);
    found.sort_unstable();
    assert_eq!(found, ["b", "c", "unreadable"]);
    let mut all = store.tables().await.unwrap();
    let unreadable = all.iter().position(Result::is_err).expect("one is damaged");
    let error = all.remove(unreadable).unwrap_err().to_string();
    assert!(error.contains("can't be read"), "{error}");
    let mut readable = names(&all);
    readable.sort_unstable();
    assert_eq!(readable, ["b", "c"]);
    // The others go through their whole life.
    let held = lease(&*store, "w").await;
    let seen = row(&*store, &table("b")).await;
    store
        .conclude(&held, &seen, &conclusion(Some("m1"), None))
        .await
        .unwrap();
}

pub(super) async fn b05_a_table_is_found_by_the_hash_of_its_name(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let (orders, odd) = (table("orders"), table("tä/ble%2F.%"));
    let elsewhere = TableId {
        namespace: Namespace::from_dotted("sales.eu.deeper"),
        ..orders.clone()
    };
    for table in [&orders, &odd, &elsewhere] {
        marked(&*store, table, "m1", NOW).await;
    }
    let hash = |table: &TableId| hash_of_name(&table.name);
    let (database, store) = (orders.database(), world.store().await);
    let found = store
        .tables_by_hash(&database, &[hash(&orders), 7], Search::AmongRows)
        .await;
    assert_eq!(found.unwrap(), std::slice::from_ref(&orders));
    let hashes = [hash(&odd), hash(&orders)];
    let mut found = store
        .tables_by_hash(&database, &hashes, Search::AmongRows)
        .await
        .unwrap();
    found.sort();
    assert_eq!(found, [orders.clone(), odd.clone()]);
    assert_eq!(
        store
            .tables_by_hash(&database, &[], Search::AmongRows)
            .await
            .unwrap(),
        []
    );

    let held = lease(&*store, "a").await;
    let seen = row(&*store, &orders).await;
    assert!(store.forget_table(&held, &seen).await.unwrap());
    let found = store
        .tables_by_hash(&database, &hashes, Search::AmongRows)
        .await;
    assert_eq!(found.unwrap(), [odd]);
}

pub(super) async fn a_forgotten_table_has_no_row(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 0).await;
    let under_way = row(&*store, &orders).await;
    assert!(under_way.active_process.is_some());
    assert!(
        !store.forget_table(&held, &under_way).await.unwrap(),
        "a process is under way"
    );
    assert!(row(&*store, &orders).await.active_process.is_some());
    processes::end(&*store, "p1", None, Some(at(50))).await;
    let seen = row(&*store, &orders).await;
    assert!(store.forget_table(&held, &seen).await.unwrap());
    assert_eq!(store.table(&orders).await.unwrap(), None);
    assert_eq!(store.next_due(BUCKET).await.unwrap(), None);
    assert!(store.forget_table(&held, &seen).await.unwrap());
}

/// A table that is dropped and made anew while its row is about to be forgotten: the mark of the new one stays.
pub(super) async fn a_table_marked_again_is_not_forgotten(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = table("orders");
    store.force_due(HOME, &orders, NOW).await.unwrap();
    let seen = row(&*store, &orders).await;
    let anew = MetadataLocation::from("m-new");
    let marked = store.mark_due(HOME, &orders, &anew, at(5)).await.unwrap();
    assert_eq!(marked, MarkOutcome::Marked);
    assert!(!store.forget_table(&held, &seen).await.unwrap());
    assert_eq!(row(&*store, &orders).await.due_location, Some(anew));
    let seen = row(&*store, &orders).await;
    assert!(store.forget_table(&held, &seen).await.unwrap());
}

pub(super) async fn odd_names_are_kept_apart(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let odd = |levels: &[&str], name: &str| TableId {
        namespace: Namespace(levels.iter().map(|level| (*level).to_owned()).collect()),
        ..table(name)
    };
    let tables = [
        odd(&["a.b"], "t"),
        odd(&["a", "b"], "t"),
        odd(&["a/b"], "t"),
        odd(&["a"], "b/t"),
        odd(&["a%2Fb"], "t"),
        odd(&["ä b"], "täble 'quoted' \"twice\""),
    ];
    for (number, table) in (0..).zip(&tables) {
        marked(&*store, table, &format!("m{number}"), at(number)).await;
    }
    for (number, table) in tables.iter().enumerate() {
        let row = row(&*store, table).await;
        assert_eq!(row.due_location, Some(location(&format!("m{number}"))));
        assert_eq!(&row.table, table);
    }
    assert_eq!(
        store.due_tables(BUCKET, at(100), 100).await.unwrap().len(),
        tables.len()
    );
}

pub(super) async fn racing_marks_are_all_counted(world: Arc<dyn StoreWorld>) {
    let orders = table("orders");
    let mut markers = Vec::new();
    for number in 0..8u32 {
        let (store, orders) = (world.store().await, orders.clone());
        markers.push(tokio::spawn(async move {
            marked(&*store, &orders, &format!("m{number}"), at(10)).await;
        }));
    }
    for marker in join_all(markers).await {
        marker.unwrap();
    }
    let store = world.store().await;
    let row = row(&*store, &orders).await;
    assert_eq!(row.due_at, Some(at(10)));
    if world.loses_answers() {
        // A mark whose answer was lost while another marked the row is made, and counted, once more: that is safe, since
        // what is counted is never taken for seen. A mark that is not counted would not be.
        assert!((8..=16).contains(&row.marks), "{} marks", row.marks);
    } else {
        assert_eq!(row.marks, 8);
    }
}
