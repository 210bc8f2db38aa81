//! The layout: into how many buckets the tables are shared out, and how that changes while everything goes on.
//!
//! One row says it, and it counts, whatever anybody's configuration says. A table's row lies under the table's name and
//! carries its bucket, so that it is in one bucket at any time, and moving it is one conditional write of one row.
//! Whoever knows an old layout only can do no harm:
//! * A bucket's owner plans the tables whose rows say that they are in it, and no other (`transition` refuses with
//!   `Moved`); to which bucket a name's hash points is asked only where a row is made or moved.
//! * Rows move to newer layouts, never back. A mark by an old layout makes at most a new row in a bucket that nobody
//!   sweeps any more; then the digest of that census is refused, and the next one marks it again, by the new layout.
//! * Buckets above the new number are swept until every row has moved and every process that named their queues has
//!   ended.

use icepress_model::{
    BucketCount, BucketId, DatabaseId, Generation, TableId, TimestampMs, bucket_of_database,
    bucket_of_table,
};

use crate::{TableRow, invariants};

/// A bucket, and the layout that chose it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Home {
    /// The bucket.
    pub bucket: BucketId,
    /// The layout.
    pub layout: Generation,
}

/// Into how many buckets the tables are shared out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Layout {
    /// Which layout this is: a change of the number makes a new one.
    pub generation: Generation,
    /// The buckets.
    pub buckets: BucketCount,
    /// While tables move: the buckets that may still have something in them, also above `buckets`.
    pub former: Option<BucketCount>,
    /// While tables move: since when, where that was noted. For people; nothing that is decided reads it.
    pub moving_since: Option<TimestampMs>,
}

impl Layout {
    /// The layout of a new store.
    pub fn first(buckets: BucketCount) -> Self {
        Self {
            generation: Generation(1),
            buckets,
            former: None,
            moving_since: None,
        }
    }

    /// The same, moving since `now` where it moves.
    pub fn noted(self, now: TimestampMs) -> Self {
        Self {
            moving_since: self.former.map(|_| now),
            ..self
        }
    }

    /// The buckets that have to be looked after: all that may have something in them.
    pub fn swept(&self) -> BucketCount {
        self.former.unwrap_or(self.buckets).max(self.buckets)
    }

    /// Whether tables may have to move yet.
    pub fn is_moving(&self) -> bool {
        self.former.is_some()
    }

    /// Where a table belongs.
    pub fn home_of(&self, table: &TableId) -> Home {
        Home {
            bucket: bucket_of_table(table, self.buckets),
            layout: self.generation,
        }
    }

    /// The bucket whose owner lists this database.
    pub fn bucket_of_database(&self, database: &DatabaseId) -> BucketId {
        bucket_of_database(database, self.buckets)
    }
}

/// The layout with another number of buckets; `None` where it has that number.
pub fn resize(before: &Layout, buckets: BucketCount) -> Option<Layout> {
    if before.buckets == buckets {
        return None;
    }
    let after = Layout {
        generation: Generation(before.generation.get() + 1),
        buckets,
        former: Some(before.swept()),
        moving_since: None,
    };
    invariants::assert_layout_step(before, &after);
    Some(after)
}

/// The layout once everything has moved to that of `generation`; `None` where another one stands, or nothing moved.
/// The caller has seen that nothing [`keeps_former`].
pub fn settle(before: &Layout, generation: Generation) -> Option<Layout> {
    if before.generation != generation || !before.is_moving() {
        return None;
    }
    let after = Layout {
        former: None,
        moving_since: None,
        ..*before
    };
    invariants::assert_layout_step(before, &after);
    Some(after)
}

/// Whether a table keeps buckets of former layouts: its row has not moved yet, or its process, whose tasks are in the
/// queue of bucket `queue`, would lose that queue.
pub fn keeps_former(layout: &Layout, row: &TableRow, queue: Option<BucketId>) -> bool {
    row.layout < layout.generation || queue.is_some_and(|queue| !layout.buckets.contains(queue))
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
