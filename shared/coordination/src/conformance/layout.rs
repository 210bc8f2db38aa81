//! Rules of the layout: the number of buckets changes while everything goes on.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use icepress_model::{BucketId, ProcessOutcome};

use super::*;
use crate::{Digest, Layout};

/// A store of eight buckets.
async fn laid_out(world: &Arc<dyn StoreWorld>) -> Arc<dyn StateStore> {
    let store = world.store().await;
    let layout = store.found_layout(buckets(8)).await.unwrap();
    assert_eq!(layout, Layout::first(buckets(8)));
    store
}

async fn leased(store: &dyn StateStore, bucket: u32, owner: &str) -> Lease {
    store
        .take_lease(BucketId(bucket), &worker(owner), NOW, TTL, GUARD)
        .await
        .unwrap()
        .expect("nobody holds the bucket")
}

async fn due_in(store: &dyn StateStore, bucket: u32) -> usize {
    let due = store.due_tables(BucketId(bucket), at(60), 9).await;
    due.unwrap().len()
}

fn assert_moved<T: Debug>(outcome: Result<T, CoordinationError>, what: &str) {
    assert!(
        matches!(outcome, Err(CoordinationError::Moved(_))),
        "{what} should be refused, since the table moved: {outcome:?}"
    );
}

pub(super) async fn a_store_is_laid_out_once(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    assert_eq!(store.layout().await.unwrap(), None);
    let all = store.buckets(buckets(3)).await.unwrap();
    assert_eq!((all.layout, all.rows.len()), (None, 3));
    let mut stores = Vec::new();
    for _ in 0..4 {
        stores.push(world.store().await);
    }
    let founders = stores.iter().zip(1..).map(|(store, count)| {
        let store = Arc::clone(store);
        tokio::spawn(async move { store.found_layout(buckets(count)).await.unwrap() })
    });
    let told = join_all(founders).await;
    let stands = store.layout().await.unwrap().expect("it was laid out");
    for told in told {
        assert_eq!(told.unwrap(), stands, "whoever comes later is told what is");
    }
    let all = store.buckets(buckets(200)).await.unwrap();
    assert_eq!(all.layout, Some(stands));
    assert_eq!(all.rows.len(), stands.buckets.0.get() as usize);
}

pub(super) async fn former_buckets_are_kept_until_everything_has_moved(world: Arc<dyn StoreWorld>) {
    let store = laid_out(&world).await;
    let smaller = store.resize(buckets(2), at(1)).await.unwrap();
    assert_eq!(smaller.generation, Generation(2));
    assert_eq!(
        (smaller.buckets, smaller.former),
        (buckets(2), Some(buckets(8)))
    );
    assert_eq!(smaller.moving_since, Some(at(1)));
    assert_eq!(store.layout().await.unwrap(), Some(smaller));
    assert_eq!(store.buckets(buckets(1)).await.unwrap().rows.len(), 8);
    // Once more changes nothing: that is how a resize that was interrupted goes on.
    assert_eq!(store.resize(buckets(2), at(1)).await.unwrap(), smaller);

    let larger = store.resize(buckets(130), at(2)).await.unwrap();
    assert_eq!(
        (larger.generation, larger.former),
        (Generation(3), Some(buckets(8)))
    );
    assert!(
        !store.settle_layout(smaller.generation).await.unwrap(),
        "what moved to an old layout says nothing"
    );
    assert!(store.settle_layout(larger.generation).await.unwrap());
    assert!(!store.settle_layout(larger.generation).await.unwrap());
    let all = store.buckets(buckets(1)).await.unwrap();
    assert_eq!(all.rows.len(), 130);
    let settled = all.layout.unwrap();
    assert_eq!((settled.former, settled.moving_since), (None, None));
}

pub(super) async fn a_table_moves_with_all_that_is_known_of_it(world: Arc<dyn StoreWorld>) {
    let store = laid_out(&world).await;
    let orders = table("orders");
    store
        .mark_due(home(7, 1), &orders, &location("m1"), at(5))
        .await
        .unwrap();
    let before = row(&*store, &orders).await;
    assert!(store.rehome(&orders, home(1, 2)).await.unwrap());
    let after = row(&*store, &orders).await;
    assert_eq!(
        TableRow {
            bucket: BucketId(1),
            layout: Generation(2),
            ..before
        },
        after
    );
    assert_eq!((due_in(&*store, 7).await, due_in(&*store, 1).await), (0, 1));
    assert_eq!(store.next_due(BucketId(7)).await.unwrap(), None);
    assert!(!store.rehome(&orders, home(1, 2)).await.unwrap(), "again");
    assert!(!store.rehome(&orders, home(7, 1)).await.unwrap(), "back");
    assert_eq!(row(&*store, &orders).await, after);
    assert!(!store.rehome(&table("none"), home(1, 2)).await.unwrap());
    assert_eq!(store.table(&table("none")).await.unwrap(), None);
}

pub(super) async fn only_the_owner_of_its_new_bucket_plans_a_moved_table(
    world: Arc<dyn StoreWorld>,
) {
    let store = laid_out(&world).await;
    let orders = table("orders");
    // The old bucket has seen many owners, the new one few: their epochs can't be compared.
    for _ in 0..3 {
        let held = leased(&*store, 7, "old").await;
        store.release_lease(&held, None).await.unwrap();
    }
    let old = leased(&*store, 7, "old").await;
    let new = leased(&*store, 1, "new").await;
    store
        .mark_due(home(7, 1), &orders, &location("m1"), NOW)
        .await
        .unwrap();
    let seen = row(&*store, &orders).await;
    store
        .conclude(&old, &seen, &conclusion(None, Some(NOW)))
        .await
        .unwrap();
    let seen = row(&*store, &orders).await;
    assert_moved(
        store.conclude(&new, &seen, &conclusion(None, None)).await,
        "a conclusion before the move",
    );
    assert!(store.rehome(&orders, home(1, 2)).await.unwrap());

    // The old owner still holds its lease, and has looked at the table before it moved.
    let before = row(&*store, &orders).await;
    assert_moved(
        store
            .conclude(&old, &seen, &conclusion(Some("m1"), None))
            .await,
        "a conclusion",
    );
    assert_moved(store.forget_table(&old, &seen).await, "a removal");
    let process = new_process("p-old", &orders, "m1");
    assert_moved(
        store
            .start_process(&old, &seen, &process, &new_tasks(1))
            .await,
        "a start",
    );
    assert_eq!(row(&*store, &orders).await, before);

    let process = new_process("p-new", &orders, "m1");
    let outcome = store
        .start_process(&new, &before, &process, &new_tasks(1))
        .await
        .unwrap();
    assert_eq!(outcome, StartOutcome::Started);
    let after = row(&*store, &orders).await;
    assert_eq!(invariants::planned_by_owner(&after, &new), Ok(()));
    assert!(invariants::planned_by_owner(&after, &old).is_err());
}

pub(super) async fn a_process_under_way_ends_where_its_table_is(world: Arc<dyn StoreWorld>) {
    let store = laid_out(&world).await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 1).await;
    let before = row(&*store, &orders).await;
    assert!(store.rehome(&orders, home(1, 2)).await.unwrap());
    assert_eq!(
        row(&*store, &orders).await.active_process,
        before.active_process,
        "it moves with its process"
    );

    // The task, its message and its worker know nothing of it.
    let claimed = claimed(&*store, &task("p1", 0), "w", NOW).await;
    assert_eq!(claimed.bucket, BUCKET, "its queue is the old one");
    store
        .report_task(&claimed.task, claimed.attempt, Ok(result("r")))
        .await
        .unwrap();
    let claim = store
        .claim_commit(&ProcessId::from("p1"), &worker("w"), NOW, at(60))
        .await
        .unwrap()
        .expect("no task is open");
    let outcome = ProcessOutcome::Abandoned {
        reason: "tested".to_owned(),
    };
    store
        .end_process(&claim, &outcome, Some(&location("m2")), None, 0)
        .await
        .unwrap();
    let after = row(&*store, &orders).await;
    assert_eq!(
        (after.bucket, after.active_process, after.committed_location),
        (BucketId(1), None, Some(location("m2")))
    );
    assert_consistent(&*store, &orders, "p1").await;
}

pub(super) async fn a_mark_moves_a_table_forwards_and_never_back(world: Arc<dyn StoreWorld>) {
    let store = laid_out(&world).await;
    let orders = table("orders");
    let mark = async |home: Home, name: &str| {
        store
            .mark_due(home, &orders, &location(name), NOW)
            .await
            .unwrap()
    };
    mark(home(7, 1), "m1").await;
    // Known, and yet it has to go where somebody looks.
    assert_eq!(mark(home(1, 2), "m1").await, MarkOutcome::Marked);
    let moved = row(&*store, &orders).await;
    assert_eq!((moved.home(), moved.marks), (home(1, 2), 1));
    assert_eq!(mark(home(1, 2), "m1").await, MarkOutcome::AlreadyKnown);

    // Somebody who knows the old layout only.
    assert_eq!(mark(home(7, 1), "m2").await, MarkOutcome::Marked);
    let marked = row(&*store, &orders).await;
    assert_eq!((marked.home(), marked.marks), (home(1, 2), 2));
    store.force_due(home(7, 1), &orders, NOW).await.unwrap();
    assert_eq!(row(&*store, &orders).await.home(), home(1, 2));
    store.force_due(home(5, 3), &orders, NOW).await.unwrap();
    assert_eq!(row(&*store, &orders).await.home(), home(5, 3));
    assert_eq!(due_in(&*store, 5).await, 1);
}

pub(super) async fn a_digest_of_an_old_layout_is_refused(world: Arc<dyn StoreWorld>) {
    let store = laid_out(&world).await;
    for _ in 0..3 {
        let held = leased(&*store, 7, "old").await;
        store.release_lease(&held, None).await.unwrap();
    }
    let old = leased(&*store, 7, "old").await;
    let new = leased(&*store, 1, "new").await;
    let (first, second) = (Digest(vec![1; 16]), Digest(vec![2; 32]));
    store
        .put_digest(&old, Generation(1), &database(), &first)
        .await
        .unwrap();

    store.resize(buckets(2), at(1)).await.unwrap();
    assert_fenced(
        store
            .put_digest(&old, Generation(1), &database(), &second)
            .await,
        "the digest of a census that began before",
    );
    assert_eq!(store.digest(&database()).await.unwrap(), first);
    store
        .put_digest(&new, Generation(2), &database(), &second)
        .await
        .unwrap();
    assert_eq!(store.digest(&database()).await.unwrap(), second);
}

pub(super) async fn of_eight_movers_exactly_one_moves(world: Arc<dyn StoreWorld>) {
    let store = laid_out(&world).await;
    let orders = table("orders");
    store.force_due(home(7, 1), &orders, NOW).await.unwrap();
    let mut stores = Vec::new();
    for _ in 0..8 {
        stores.push(world.store().await);
    }
    for layout in 2..4 {
        let movers = stores.iter().map(|store| {
            let (store, orders) = (Arc::clone(store), orders.clone());
            tokio::spawn(async move { store.rehome(&orders, home(3, layout)).await.unwrap() })
        });
        let moved = join_all(movers).await;
        let count = moved.into_iter().filter(|moved| *moved.as_ref().unwrap());
        assert_eq!(count.count(), 1);
    }
}

pub(super) async fn every_table_is_listed_once(world: Arc<dyn StoreWorld>) {
    let store = laid_out(&world).await;
    let marks = (0..40).map(|number| {
        let store = Arc::clone(&store);
        async move {
            let table = table(&format!("t{number}"));
            let home = home(number % 8, 1);
            store.force_due(home, &table, NOW).await.unwrap();
        }
    });
    join_all(marks).await;
    let mut found: BTreeMap<TableId, u32> = BTreeMap::new();
    for row in store.tables().await.unwrap() {
        *found.entry(row.unwrap().table).or_default() += 1;
    }
    assert_eq!(found.len(), 40);
    assert!(found.values().all(|times| *times == 1), "{found:?}");
}
