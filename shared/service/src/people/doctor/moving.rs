//! Whether every table is in the bucket where the layout has it.

use icepress_coordination::{CoordinationError, Finding, Layout, Listing, TableRow};
use icepress_model::{BucketId, TimestampMs};

use super::lasting;
use crate::{Context, ground::words::several};

const SUBJECT: &str = "buckets";

/// Buckets that older layouts may have had and that are searched for tables left behind.
const FORMER: u32 = 128;

/// The buckets of the layout; where there were other layouts before, also those that somebody may take for buckets who knows
/// an old one.
pub(super) fn buckets_to_search(layout: &Layout) -> impl Iterator<Item = BucketId> + use<> {
    let swept = layout.swept().0.get();
    let had_others = layout.generation.get() > 1;
    (0..if had_others { swept.max(FORMER) } else { swept }).map(BucketId)
}

/// Tables that are due in a bucket of no layout.
#[derive(Debug, Default)]
pub(super) struct Astray(usize);

impl Astray {
    pub(super) fn add(&mut self, layout: &Layout, row: &TableRow, now: TimestampMs) {
        let is_due = row.due_at.is_some_and(|due_at| due_at <= now);
        self.0 += usize::from(is_due && !layout.buckets.contains(row.bucket));
    }
}

/// Where tables are, counted.
#[derive(Debug, Default)]
struct Places {
    all: usize,
    /// Those that an older layout put where they are.
    old: usize,
}

impl Places {
    fn add(&mut self, layout: &Layout, row: &TableRow) {
        self.all += 1;
        self.old += usize::from(row.layout < layout.generation);
    }
}

/// A change of the number of buckets that has not come to its end, and tables that an older layout keeps where nobody
/// looks. Only while tables move are all of them counted.
pub(super) async fn findings(
    context: &Context,
    layout: &Layout,
    astray: &Astray,
    now: TimestampMs,
) -> Result<Vec<Finding>, CoordinationError> {
    if !layout.is_moving() {
        return Ok(vec![settled(layout, astray)]);
    }
    let mut places = Places::default();
    let mut rows = Listing::of_all(&context.store);
    while let Some(listed) = rows.next().await? {
        if let Ok(row) = &listed.row {
            places.add(layout, row);
        }
    }
    Ok(vec![moving(layout, places.old, places.all, now)])
}

fn settled(layout: &Layout, Astray(astray): &Astray) -> Finding {
    if *astray == 0 {
        return Finding::well(
            SUBJECT,
            format!("tables are shared out into {}", layout.buckets),
        );
    }
    Finding::doubt(
        SUBJECT,
        format!(
            "{} of an older layout (the present one is number {}) wait where nobody looks",
            several(*astray as u64, "table"),
            layout.generation.get()
        ),
        "the next listing of their databases finds them; functions that are older than this command may have put them there",
    )
}

fn moving(layout: &Layout, old: usize, all: usize, now: TimestampMs) -> Finding {
    let since = match layout.moving_since {
        Some(since) => format!("for {}", lasting(now.since(since))),
        None => "for a time that nobody noted".to_owned(),
    };
    let left = match old {
        0 => format!(
            "all of {} have moved, and processes may be under way whose tasks are in queues to be given up",
            several(all as u64, "table")
        ),
        old => format!("not moved yet: {old} of {}", several(all as u64, "table")),
    };
    Finding::doubt(
        SUBJECT,
        format!(
            "tables have been moving to {} buckets {since}: {left}",
            layout.buckets
        ),
        format!(
            "every tick goes on with it, and so does `icepress buckets resize {}`, which says what holds it up; \
             keep all {} queues until then",
            layout.buckets,
            layout.swept()
        ),
    )
}

#[cfg(test)]
mod tests;
