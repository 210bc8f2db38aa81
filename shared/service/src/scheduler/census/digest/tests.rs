use icepress_model::{CatalogName, Namespace};
use proptest::prelude::*;

use super::*;

fn seen(name: &str, location: &str) -> Seen {
    let table = TableId {
        catalog: CatalogName::from("c"),
        namespace: Namespace::from_dotted("n"),
        name: name.to_owned(),
    };
    Seen::new(&table, &MetadataLocation::from(location))
}

fn all(tables: &[(&str, &str)]) -> SeenTables {
    let mut all = SeenTables::default();
    for (name, location) in tables {
        all.insert(seen(name, location));
    }
    all
}

#[test]
fn b05_a_table_is_gone_only_after_two_listings_without_it() {
    let first = all(&[("a", "1"), ("b", "1")]);
    let mut second = all(&[("a", "1")]);
    assert!(second.carry_over_missing(&first).is_empty());
    assert_eq!(second.len(), 1);

    let mut third = all(&[("a", "1")]);
    let gone = third.carry_over_missing(&SeenTables::decode(&second.encode()));
    let b = vec![seen("b", "1").name];
    assert_eq!((&gone.first, gone.again.len()), (&b, 0));
    assert_eq!(third, all(&[("a", "1")]));

    // Its row is there: it is asked for again and again, until it is not.
    third.ask_again(&b);
    assert_eq!((third.len(), third.missing()), (1, b.clone()));
    let mut fourth = all(&[("a", "1")]);
    let gone = fourth.carry_over_missing(&SeenTables::decode(&third.encode()));
    assert_eq!((gone.first.len(), &gone.again), (0, &b));
    assert_eq!(fourth, all(&[("a", "1")]));
}

#[test]
fn a_table_that_comes_back_counts_as_changed() {
    let first = all(&[("a", "1")]);
    let mut second = SeenTables::default();
    second.carry_over_missing(&first);
    assert!(!second.contains(&seen("a", "1")));
}

proptest! {
    #[test]
    fn a_digest_keeps_every_table_and_its_state(
        tables in proptest::collection::btree_map("[a-z]{1,8}", "[a-z]{1,8}", 0..50),
        modes in proptest::option::of(proptest::num::u64::ANY),
    ) {
        let tables: Vec<(&str, &str)> =
            tables.iter().map(|(name, location)| (name.as_str(), location.as_str())).collect();
        let mut before = all(&tables);
        before.modes = modes.filter(|_| !tables.is_empty());
        let after = SeenTables::decode(&before.encode());
        prop_assert_eq!(&after, &before);
        for (name, location) in tables {
            prop_assert!(after.contains(&seen(name, location)));
            prop_assert!(!after.contains(&seen(name, "elsewhere/with/another/state")));
        }
    }
}
