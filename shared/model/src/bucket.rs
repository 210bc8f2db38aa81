//! Buckets: the fixed shares into which tables and databases fall by a hash of their names.
//!
//! A hash has no races and needs no assignment: two schedulers that see a new table at once agree on its bucket
//! (cases B04 and B06).

use std::{fmt, num::NonZeroU32};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use crate::{DatabaseId, TableId};

/// One share of all tables, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BucketId(pub u32);

impl fmt::Display for BucketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many buckets there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BucketCount(pub NonZeroU32);

/// How often the tables were shared out anew: 0 before the first time.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for BucketCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl BucketCount {
    /// Whether a bucket of that number is among them.
    pub fn contains(self, bucket: BucketId) -> bool {
        bucket.0 < self.0.get()
    }

    /// All buckets, in order.
    pub fn all(self) -> impl Iterator<Item = BucketId> + use<> {
        (0..self.0.get()).map(BucketId)
    }

    fn share(self, parts: &[&str]) -> BucketId {
        let mut hasher = Xxh3Default::new();
        for part in parts {
            // The length goes in too, so that ("a.b", "c") and ("a", "b.c") differ.
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let count = u64::from(self.0.get());
        let share = hasher.digest() % count;
        BucketId(u32::try_from(share).expect("a remainder of a u32 fits one"))
    }
}

/// The bucket whose owner plans this table.
pub fn bucket_of_table(table: &TableId, buckets: BucketCount) -> BucketId {
    let mut parts = vec!["table", table.catalog.as_str()];
    parts.extend(table.namespace.0.iter().map(String::as_str));
    parts.push(&table.name);
    buckets.share(&parts)
}

/// The bucket whose owner lists this database.
pub fn bucket_of_database(database: &DatabaseId, buckets: BucketCount) -> BucketId {
    let mut parts = vec!["database", database.catalog.as_str()];
    parts.extend(database.namespace.0.iter().map(String::as_str));
    buckets.share(&parts)
}

/// The number under which the listing of one database is leased that is too long for its bucket's turn: above those of all
/// buckets, whatever their count. Two databases of one number wait for each other, and that is all.
pub fn listing_of_database(database: &DatabaseId) -> BucketId {
    const FIRST: u32 = 1 << 31;
    let numbers = BucketCount(NonZeroU32::new(FIRST).expect("a power of two is not zero"));
    BucketId(FIRST + bucket_of_database(database, numbers).0)
}

#[cfg(test)]
mod tests;
