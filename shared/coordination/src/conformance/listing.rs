//! Rules of listings by name.

use std::sync::Arc;

use futures::future::join_all;

use super::*;
use icepress_model::Scope;

use crate::{KeyRange, Listing, TableKey, Watched};

/// Tables of one name each in these databases, marked; their keys in order.
async fn tables_in(store: &dyn StateStore, names: &[(&str, &str, u32)]) -> Vec<TableKey> {
    let tables: Vec<TableId> = names
        .iter()
        .flat_map(|(catalog, namespace, number)| {
            (0..*number).map(|number| TableId {
                catalog: CatalogName::from(*catalog),
                namespace: Namespace::from_dotted(namespace),
                name: format!("t{number}"),
            })
        })
        .collect();
    join_all(tables.iter().map(|table| store.force_due(HOME, table, NOW)))
        .await
        .into_iter()
        .for_each(|forced| forced.unwrap());
    let mut keys: Vec<TableKey> = tables.iter().map(TableKey::of).collect();
    keys.sort();
    keys
}

async fn keys_of(mut listing: Listing) -> Vec<TableKey> {
    let mut keys = Vec::new();
    while let Some(listed) = listing.next().await.unwrap() {
        assert_eq!(TableKey::of(&listed.row.unwrap().table), listed.key);
        keys.push(listed.key);
    }
    keys
}

pub(super) async fn tables_are_listed_by_name_from_any_of_them_on(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    assert_eq!(keys_of(Listing::of_all(&store)).await, []);
    let keys = tables_in(&*store, &[("lake", "a", 30), ("lake", "b.c", 30)]).await;
    assert_eq!(keys_of(Listing::of_all(&store)).await, keys);
    // However small the pages are.
    for wanted in [1, 7, 100] {
        let listing = Listing::new(&store, &KeyRange::new(None, None), Some(wanted));
        assert_eq!(keys_of(listing).await, keys, "{wanted}");
    }
    for after in [0, 17, 58, 59] {
        let range = KeyRange::new(None, Some(&keys[after]));
        let found = keys_of(Listing::new(&store, &range, None)).await;
        assert_eq!(found, keys[after + 1..], "{after}");
    }
}

pub(super) async fn a_catalog_or_database_is_listed_alone(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let databases = [
        ("lake", "a", 3),
        ("lake", "a.b", 3),
        ("lake", "ab", 3),
        ("lake", "a-b", 3),
        ("lake2", "a", 3),
        ("lake-2", "a", 3),
    ];
    let keys = tables_in(&*store, &databases).await;
    let within = |prefix: &str| -> Vec<TableKey> {
        let keys = keys.iter().filter(|key| key.as_str().starts_with(prefix));
        keys.cloned().collect()
    };
    let lake = CatalogName::from("lake");
    let found = keys_of(Listing::of_catalog(&store, &lake)).await;
    assert_eq!(found, within("lake/"));
    assert_eq!(found.len(), 12);
    let database = Scope::Database(DatabaseId {
        catalog: lake,
        namespace: Namespace::from_dotted("a"),
    });
    let range = KeyRange::new(Some(&database), None);
    let found = keys_of(Listing::new(&store, &range, None)).await;
    assert_eq!(found, within("lake/a/"), "with those below it");
    assert_eq!(found.len(), 6);
    let range = KeyRange::new(
        Some(&database),
        Some(&TableKey::of(&TableId {
            catalog: CatalogName::from("aaa"),
            namespace: Namespace::from_dotted("a"),
            name: "t".to_owned(),
        })),
    );
    let found = keys_of(Listing::new(&store, &range, None)).await;
    assert_eq!(
        found,
        within("lake/a/"),
        "it goes on after a table before all of them"
    );
}

pub(super) async fn b11_an_unreadable_row_stands_in_its_place(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    for name in ["a", "b", "c"] {
        marked(&*store, &table(name), "m1", at(10)).await;
    }
    world.damage_table(&table("b")).await;
    let mut listing = Listing::of_all(&store);
    for (name, readable) in [("a", true), ("b", false), ("c", true)] {
        let listed = listing.next().await.unwrap().expect("three rows");
        assert_eq!(listed.key, TableKey::of(&table(name)));
        assert_eq!(listed.row.is_ok(), readable, "{name}");
    }
    assert!(listing.next().await.unwrap().is_none());
}

/// The names of the watched tables of these buckets, in order; of one whose row can't be read, what the error says.
async fn watched_in(store: &Arc<dyn StateStore>, buckets: &[u32]) -> Vec<String> {
    let buckets: Vec<BucketId> = buckets.iter().copied().map(BucketId).collect();
    let mut watched = Watched::new(store, buckets.into_iter());
    let mut names = Vec::new();
    while let Some(row) = watched.next().await.unwrap() {
        names.push(match row {
            Ok(row) => row.table.name,
            Err(error) => error.to_string(),
        });
    }
    names.sort();
    names
}

pub(super) async fn tables_that_are_watched_are_found_without_those_at_rest(
    world: Arc<dyn StoreWorld>,
) {
    let store = world.store().await;
    assert_eq!(
        watched_in(&store, &[HOME.bucket.0]).await,
        Vec::<String>::new()
    );
    tables_in(&*store, &[("lake", "a", 110), ("lake", "b", 9)]).await;
    let elsewhere = Home {
        bucket: BucketId(HOME.bucket.0 + 1),
        ..HOME
    };
    let far = table("far");
    store.force_due(elsewhere, &far, at(5)).await.unwrap();

    // What was concluded to be at rest is watched no more.
    let held = lease(&*store, "a").await;
    let rested = TableId {
        catalog: CatalogName::from("lake"),
        namespace: Namespace::from_dotted("b"),
        name: "t8".to_owned(),
    };
    let row = store.table(&rested).await.unwrap().unwrap();
    let nothing_to_do = conclusion(Some("m1"), None);
    store.conclude(&held, &row, &nothing_to_do).await.unwrap();

    let expected = 110 + 8;
    let found = watched_in(&store, &[HOME.bucket.0]).await;
    assert_eq!(found.len(), expected, "{found:?}");
    assert!(!found.contains(&"far".to_owned()));
    let both = watched_in(&store, &[HOME.bucket.0, elsewhere.bucket.0]).await;
    assert_eq!(both.len(), expected + 1);
    assert!(both.contains(&"far".to_owned()));

    // One that can't be read hides no other.
    world.damage_table(&far).await;
    let damaged = watched_in(&store, &[elsewhere.bucket.0]).await;
    assert_eq!(damaged.len(), 1);
    assert!(damaged[0].contains("far"), "{damaged:?}");
}
