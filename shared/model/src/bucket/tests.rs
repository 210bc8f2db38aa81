use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;
use crate::{CatalogName, Namespace};

fn table(name: &str) -> TableId {
    TableId {
        catalog: CatalogName::from("lake"),
        namespace: Namespace::from_dotted("sales.eu"),
        name: name.to_owned(),
    }
}

#[test]
fn b04_the_bucket_is_a_hash_of_the_name_that_never_changes() {
    // Rows in people's stores lie under these numbers: a change of the hash would orphan them.
    let buckets = BucketCount(NonZeroU32::new(256).unwrap());
    assert_eq!(bucket_of_table(&table("orders"), buckets), BucketId(221));
    assert_eq!(
        bucket_of_database(&table("orders").database(), buckets),
        BucketId(110)
    );
}

proptest! {
    #[test]
    fn b06_every_table_has_a_bucket_by_construction(name in "[a-z0-9_]{1,20}", count in 1u32..2000) {
        let buckets = BucketCount(NonZeroU32::new(count).unwrap());
        prop_assert!(bucket_of_table(&table(&name), buckets).0 < count);
    }
}

#[test]
fn tables_spread_evenly_over_buckets() {
    let buckets = BucketCount(NonZeroU32::new(16).unwrap());
    let mut counts = [0u32; 16];
    for number in 0..16_000 {
        counts[bucket_of_table(&table(&format!("t{number}")), buckets).0 as usize] += 1;
    }
    assert!(
        counts.iter().all(|count| (850..1150).contains(count)),
        "{counts:?}"
    );
}
