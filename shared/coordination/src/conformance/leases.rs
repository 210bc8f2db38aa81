//! Rules of leases, epochs and digests (protocols.md, sections 1 and 2).

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::join_all;
use icepress_model::{BucketId, Epoch};

use super::*;
use crate::{BucketRow, CensusNote, Digest};

async fn bucket(store: &dyn StateStore) -> BucketRow {
    let rows = store.buckets(buckets(BUCKET.0 + 1)).await.unwrap().rows;
    rows.into_iter().find(|row| row.bucket == BUCKET).unwrap()
}

pub(super) async fn a_lease_is_taken_renewed_and_released(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    assert_eq!(bucket(&*store).await, BucketRow::never_leased(BUCKET));

    let first = lease(&*store, "a").await;
    assert_eq!(
        (first.epoch, first.expires_at, first.bucket),
        (Epoch(1), NOW + TTL, BUCKET)
    );
    let held = bucket(&*store).await;
    assert_eq!(held.owner, Some(worker("a")));
    assert_eq!(invariants::lease_ends(&held, NOW, TTL), Ok(()));

    let renewed = store.renew_lease(&first, at(20), TTL).await.unwrap();
    assert_eq!(renewed.epoch, first.epoch);
    assert_eq!(renewed.expires_at, at(20) + TTL);
    assert_eq!(bucket(&*store).await.expires_at, at(20) + TTL);

    store.release_lease(&renewed, Some(at(30))).await.unwrap();
    let free = bucket(&*store).await;
    assert_eq!(
        (free.owner.clone(), free.epoch, free.last_swept_at),
        (None, Epoch(1), at(30))
    );
    assert_eq!(invariants::bucket_step(&held, &free), Ok(()));
    // An answer may get lost: letting go again is no error, and changes nothing.
    store.release_lease(&renewed, None).await.unwrap();
    assert_eq!(bucket(&*store).await, free);

    let second = lease(&*store, "a").await;
    assert_eq!(second.epoch, Epoch(2));
    assert_eq!(bucket(&*store).await.last_swept_at, at(30));
    assert_fenced(store.release_lease(&first, None).await, "an old release");
    store.release_lease(&second, None).await.unwrap();
    assert_eq!(bucket(&*store).await.last_swept_at, at(30));
    assert_fenced(
        store.renew_lease(&second, at(40), TTL).await,
        "renewing what was let go",
    );
}

pub(super) async fn b01_every_lease_ends_after_its_guard(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let dead = lease(&*store, "dead").await;
    let end = dead.expires_at + GUARD;
    for now in [NOW, dead.expires_at, end] {
        let taken = store
            .take_lease(BUCKET, &worker("b"), now, TTL, GUARD)
            .await
            .unwrap();
        assert_eq!(taken, None, "at {now}");
        // Not even by its owner: a lease has one holder, who renews it.
        let again = store
            .take_lease(BUCKET, &worker("dead"), now, TTL, GUARD)
            .await
            .unwrap();
        assert_eq!(again, None, "at {now}");
    }
    let later = end + Duration::from_millis(1);
    let taken = store
        .take_lease(BUCKET, &worker("b"), later, TTL, GUARD)
        .await
        .unwrap()
        .expect("it has ended");
    assert_eq!((taken.epoch, taken.expires_at), (Epoch(2), later + TTL));
    assert_eq!(bucket(&*store).await.owner, Some(worker("b")));
}

pub(super) async fn b02_only_the_owner_renews(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let forged = [
        Lease {
            owner: worker("b"),
            ..held.clone()
        },
        Lease {
            epoch: Epoch(held.epoch.get() + 1),
            ..held.clone()
        },
        Lease {
            bucket: BucketId(BUCKET.0 + 1),
            ..held.clone()
        },
    ];
    for lease in forged {
        assert_fenced(
            store.renew_lease(&lease, at(10), TTL).await,
            "another's renewal",
        );
        assert_fenced(store.release_lease(&lease, None).await, "another's release");
    }
    let row = bucket(&*store).await;
    assert_eq!(
        (row.owner, row.expires_at),
        (Some(worker("a")), held.expires_at)
    );
}

pub(super) async fn b07_an_old_epoch_writes_nothing(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let table = table("orders");
    marked(&*store, &table, "m1", NOW).await;
    let seen = row(&*store, &table).await;
    let old = lease(&*store, "old").await;
    store
        .put_digest(&old, LAYOUT, &database(), &Digest(vec![1; 16]))
        .await
        .unwrap();

    let new = store
        .take_lease(
            BUCKET,
            &worker("new"),
            old.expires_at + GUARD + TTL,
            TTL,
            GUARD,
        )
        .await
        .unwrap()
        .expect("the old one has ended");
    assert_eq!(invariants::accepted_epoch(old.epoch, new.epoch), Ok(()));

    // Nothing has been written under the new epoch yet; the lease alone fences.
    let late = conclusion(Some("late"), None);
    assert_fenced(store.renew_lease(&old, NOW, TTL).await, "renewal");
    assert_fenced(store.conclude(&old, &seen, &late).await, "conclusion");
    assert_fenced(
        store
            .put_digest(&old, LAYOUT, &database(), &Digest(vec![2; 16]))
            .await,
        "digest",
    );
    assert_fenced(store.forget_table(&old, &seen).await, "removal");
    assert_fenced(
        store
            .start_process(
                &old,
                &seen,
                &new_process("p-old", &table, "m1"),
                &new_tasks(2),
            )
            .await,
        "process",
    );
    assert_eq!(row(&*store, &table).await, seen);
    assert_eq!(
        store.digest(&database()).await.unwrap(),
        Digest(vec![1; 16])
    );
    assert_eq!(store.process(&"p-old".into()).await.unwrap(), None);

    store
        .conclude(&new, &seen, &conclusion(Some("m1"), None))
        .await
        .unwrap();
    assert_eq!(row(&*store, &table).await.epoch, new.epoch);
    // The row itself fences too, should the bucket's row ever be lost.
    let forged = Lease {
        epoch: old.epoch,
        ..new.clone()
    };
    assert_fenced(store.conclude(&forged, &seen, &late).await, "forgery");
}

pub(super) async fn b05_b08_nothing_is_lost_when_a_bucket_moves(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    for name in ["a", "b", "c"] {
        marked(&*store, &table(name), "m1", NOW).await;
    }
    let first = lease(&*store, "first").await;
    let before = store.tables().await.unwrap();
    let before: Vec<TableRow> = before.into_iter().map(Result::unwrap).collect();
    // Letting go needs no list of what was held, and neither does taking.
    store.release_lease(&first, Some(at(1))).await.unwrap();
    lease(&*store, "second").await;
    let after = store.tables().await.unwrap();
    let after: Vec<TableRow> = after.into_iter().map(Result::unwrap).collect();
    assert_eq!(after, before);
    assert_eq!(store.due_tables(BUCKET, NOW, 9).await.unwrap().len(), 3);
}

pub(super) async fn b11_one_unreadable_bucket_hides_no_other(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    lease(&*store, "a").await;
    world.damage_bucket(BUCKET).await;
    let rows = store.buckets(buckets(BUCKET.0 + 2)).await.unwrap().rows;
    let numbers: Vec<u32> = rows.iter().map(|row| row.bucket.0).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6, 8]);
    let taken = store
        .take_lease(BUCKET, &worker("b"), at(9_999), TTL, GUARD)
        .await;
    assert!(
        matches!(taken, Err(CoordinationError::UnreadableRow { .. })),
        "{taken:?}"
    );
    let other = store
        .take_lease(BucketId(0), &worker("b"), NOW, TTL, GUARD)
        .await
        .unwrap();
    assert!(other.is_some());
}

pub(super) async fn of_eight_takers_exactly_one_wins(world: Arc<dyn StoreWorld>) {
    let mut epochs = BTreeSet::new();
    let mut stores = Vec::new();
    for _ in 0..8 {
        stores.push(world.store().await);
    }
    for round in 0..5 {
        let now = at(round * 1_000);
        let takers = stores.iter().enumerate().map(|(number, store)| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                store
                    .take_lease(BUCKET, &worker(&format!("w{number}")), now, TTL, GUARD)
                    .await
                    .unwrap()
            })
        });
        let won: Vec<Lease> = join_all(takers)
            .await
            .into_iter()
            .filter_map(Result::unwrap)
            .collect();
        assert_eq!(won.len(), 1, "{won:?}");
        assert_eq!(
            bucket(&*stores[0]).await.owner.as_ref(),
            Some(&won[0].owner)
        );
        assert!(epochs.insert(won[0].epoch), "an epoch came twice");
    }
    assert_eq!(epochs, (1..=5).map(Epoch).collect());
}

pub(super) async fn all_buckets_are_listed_in_order(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    lease(&*store, "a").await;
    let rows = store.buckets(buckets(300)).await.unwrap().rows;
    let numbers: Vec<u32> = rows.iter().map(|row| row.bucket.0).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    let held: Vec<BucketId> = rows
        .iter()
        .filter(|row| row.owner.is_some())
        .map(|row| row.bucket)
        .collect();
    assert_eq!(held, [BUCKET]);
    assert!(
        store
            .buckets(buckets(3))
            .await
            .unwrap()
            .rows
            .iter()
            .all(|row| row.owner.is_none())
    );
}

pub(super) async fn a_digest_of_twenty_thousand_tables_comes_back(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let digest = |tables: u32| {
        Digest(
            (0..tables * 4)
                .flat_map(|number| number.wrapping_mul(0x9E37_79B9).to_le_bytes())
                .collect(),
        )
    };
    assert_eq!(store.digest(&database()).await.unwrap(), Digest::default());
    // Larger, then smaller, then none: nothing of an older one shows through.
    for tables in [20_000, 60_000, 3, 0, 20_000] {
        let written = digest(tables);
        assert_eq!(written.0.len(), tables as usize * 16);
        store
            .put_digest(&held, LAYOUT, &database(), &written)
            .await
            .unwrap();
        let read = store.digest(&database()).await.unwrap();
        assert!(read == written, "{tables} tables");
    }
    // Notes are apart from it, and from each other.
    let notes = [CensusNote::Listing, CensusNote::Tags];
    for (note, tables) in notes.into_iter().zip([30_000, 1]) {
        let store = world.store().await;
        assert_eq!(
            store.census_note(&database(), note).await.unwrap(),
            Digest::default()
        );
        let content = digest(tables);
        store
            .put_census_note(&held, LAYOUT, &database(), note, &content)
            .await
            .unwrap();
        assert_eq!(store.census_note(&database(), note).await.unwrap(), content);
        assert_eq!(store.digest(&database()).await.unwrap(), digest(20_000));
    }
    let other = DatabaseId {
        namespace: Namespace::from_dotted("sales.us"),
        ..database()
    };
    assert_eq!(store.digest(&other).await.unwrap(), Digest::default());

    // A reader beside a writer sees the one or the other, whole.
    let small = digest(20_001);
    let large = digest(50_000);
    let writer = {
        let (store, held) = (world.store().await, held.clone());
        let (small, large) = (small.clone(), large.clone());
        tokio::spawn(async move {
            for round in 0..6 {
                let next = if round % 2 == 0 { &small } else { &large };
                store
                    .put_digest(&held, LAYOUT, &database(), next)
                    .await
                    .unwrap();
            }
        })
    };
    let before = digest(20_000);
    while !writer.is_finished() {
        let read = store.digest(&database()).await.unwrap();
        assert!(
            read == before || read == small || read == large,
            "a torn digest of {} bytes",
            read.0.len()
        );
    }
    writer.await.unwrap();
}
