//! Whether every table is in the bucket where the layout has it.

use icepress_coordination::{Finding, Layout, TableRow};
use icepress_model::TimestampMs;

use super::{lasting, several};

const SUBJECT: &str = "buckets";

/// Where tables are, counted.
#[derive(Debug, Default)]
pub(super) struct Places {
    all: usize,
    /// Those that an older layout put where they are.
    old: usize,
    /// Those that are due in a bucket of no layout.
    astray: usize,
}

impl Places {
    pub(super) fn add(&mut self, layout: &Layout, row: &TableRow, now: TimestampMs) {
        let is_due = row.due_at.is_some_and(|due_at| due_at <= now);
        self.all += 1;
        self.old += usize::from(row.layout < layout.generation);
        self.astray += usize::from(is_due && !layout.buckets.contains(row.bucket));
    }
}

/// A change of the number of buckets that has not come to its end, and tables that an older layout keeps where nobody
/// looks.
pub(super) fn finding(layout: &Layout, tables: &Places, now: TimestampMs) -> Finding {
    let number = layout.buckets;
    if layout.is_moving() {
        return moving(layout, tables.old, tables.all, now);
    }
    match tables.astray {
        0 => Finding::well(
            SUBJECT,
            format!(
                "{} are shared out into {number}",
                several(tables.all, "table")
            ),
        ),
        astray => Finding::doubt(
            SUBJECT,
            format!(
                "{} of an older layout (the present one is number {}) wait where nobody looks",
                several(astray, "table"),
                layout.generation.get()
            ),
            "the next listing of their databases finds them; functions that are older than this command may have put them there",
        ),
    }
}

fn moving(layout: &Layout, old: usize, all: usize, now: TimestampMs) -> Finding {
    let since = match layout.moving_since {
        Some(since) => format!("for {}", lasting(now.since(since))),
        None => "for a time that nobody noted".to_owned(),
    };
    let left = match old {
        0 => format!(
            "all of {} have moved, and processes may be under way whose tasks are in queues to be given up",
            several(all, "table")
        ),
        old => format!("not moved yet: {old} of {}", several(all, "table")),
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
