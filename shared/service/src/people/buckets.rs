//! The number of buckets: how it is changed while everything goes on, and how the buckets stand.
//!
//! A change is one write of the layout. Then the tables move, each in one conditional write, whoever else is at work:
//! the command that asked for the change does it, and every tick goes on with it, so that a crash leaves nothing undone.

use futures::{FutureExt as _, future::join_all};
use icepress_coordination::{
    CoordinationError, Finding, Layout, Severity, TableRow, layout::keeps_former,
};
use icepress_model::{BucketCount, BucketId, ProcessId, TimestampMs, WorkerId};
use thiserror::Error;

use crate::{About, Context, Deadline, Event};

/// The most buckets there may be: each costs every tick a request or two.
pub const MOST_BUCKETS: u32 = 1_000;

/// Tables moved at once.
const MOVES_AT_ONCE: usize = 16;

/// Tables that the store does not let move, before it is in trouble, not they.
const MOST_REFUSED: u32 = 20;

/// Why the number of buckets was not changed.
#[derive(Debug, Error)]
pub enum ResizeError {
    /// More than anybody needs.
    #[error(
        "{0} buckets are too many: {MOST_BUCKETS} at most, and one for every few thousand tables is enough"
    )]
    TooMany(BucketCount),
    /// Queues of the new buckets can't be used.
    #[error("the number of buckets stays {stays}, since not every new one has its queue: {}", joined(.findings))]
    NoQueues {
        /// The number.
        stays: BucketCount,
        /// What is wrong with them.
        findings: Vec<Finding>,
    },
    /// The state store or a queue failed. Ask again: what was begun goes on.
    #[error(transparent)]
    Coordination(#[from] CoordinationError),
}

fn joined(findings: &[Finding]) -> String {
    let mut told: Vec<String> = findings
        .iter()
        .take(3)
        .map(|finding| format!("{}: {}", finding.subject, finding.seen))
        .collect();
    if findings.len() > told.len() {
        told.push(format!("and {} more", findings.len() - told.len()));
    }
    told.join("; ")
}

/// How far the tables have moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moves {
    /// Tables that this pass moved.
    pub moved: u64,
    /// Tables whose rows can't be read or written: they keep the former buckets.
    pub unreadable: u64,
    /// Processes under way whose tasks are in queues that are being given up.
    pub under_way: u64,
    /// Whether nothing is left in former buckets.
    pub is_settled: bool,
}

/// What came of a change of the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resized {
    /// The layout before.
    pub before: Layout,
    /// The layout that stands.
    pub after: Layout,
    /// What has moved.
    pub moves: Moves,
}

/// Changes the number of buckets, and moves the tables as far as it goes now. Asked again, it goes on where it was
/// interrupted.
pub async fn resize(context: &Context, buckets: BucketCount) -> Result<Resized, ResizeError> {
    if buckets.0.get() > MOST_BUCKETS {
        return Err(ResizeError::TooMany(buckets));
    }
    let before = context.layout().await?;
    check_queues(context, &before, buckets).await?;
    let after = context.store.resize(buckets, context.ambient.now()).await?;
    let moves = if after.is_moving() {
        go_on(context, &after, Deadline::NONE).await?
    } else {
        Moves {
            is_settled: true,
            ..Moves::default()
        }
    };
    Ok(Resized {
        before,
        after,
        moves,
    })
}

/// That each bucket to come has its queue: a task that can't be sent would wait for it.
async fn check_queues(
    context: &Context,
    before: &Layout,
    buckets: BucketCount,
) -> Result<(), ResizeError> {
    let mut findings = Vec::new();
    for bucket in buckets.all().filter(|new| !before.buckets.contains(*new)) {
        let claim = context.settings.claim_ttl;
        let seen = context.queue.examine(bucket, claim).await;
        findings.extend(
            seen.into_iter()
                .filter(|finding| finding.severity == Severity::Wrong),
        );
    }
    if findings.is_empty() {
        return Ok(());
    }
    Err(ResizeError::NoQueues {
        stays: before.buckets,
        findings,
    })
}

/// Moves tables to where the layout has them, as many as there is time for; notes when nothing is left behind.
pub(crate) async fn go_on(
    context: &Context,
    layout: &Layout,
    deadline: Deadline,
) -> Result<Moves, CoordinationError> {
    let mut moves = Moves::default();
    let mut refused = 0;
    let mut from = None;
    loop {
        if !deadline.allows(&context.ambient, context.settings.deadline_margin) {
            return Ok(moves);
        }
        let page = context.store.tables_page(from.as_deref()).await?;
        let mut readable = Vec::with_capacity(page.rows.len());
        for row in page.rows {
            match row {
                Ok(row) => readable.push(row),
                Err(error) => {
                    moves.unreadable += 1;
                    context.tell(Event::Notice {
                        about: About::NONE,
                        message: format!("a table can't move to its new bucket: {error}"),
                    });
                }
            }
        }
        for some in readable.chunks(MOVES_AT_ONCE) {
            // Boxed one by one: else the compiler can't tell that the whole may move between threads.
            let moving = some
                .iter()
                .map(|row| move_table(context, layout, row).boxed());
            for (row, moved) in some.iter().zip(join_all(moving).await) {
                match moved {
                    Ok(moved) => {
                        moves.moved += u64::from(moved.has_moved);
                        moves.under_way += u64::from(moved.keeps_queue);
                    }
                    // What the store does to one row is that table's alone.
                    Err(error) if refused < MOST_REFUSED => {
                        refused += 1;
                        moves.unreadable += 1;
                        context.tell(Event::Notice {
                            about: About::table(&row.table),
                            message: format!(
                                "table {} can't move to its new bucket: {error}",
                                row.table
                            ),
                        });
                    }
                    Err(error) => return Err(error),
                }
            }
        }
        from = page.next;
        if from.is_none() {
            break;
        }
    }
    if refused > 0 {
        // A store that answers nothing else either is in trouble itself.
        context.store.layout().await?;
    }
    if moves.unreadable == 0 && moves.under_way == 0 {
        // Not where somebody has changed the number again: then that one goes on.
        moves.is_settled = context.store.settle_layout(layout.generation).await?;
    }
    Ok(moves)
}

struct Moved {
    has_moved: bool,
    /// Whether its process needs a queue that is being given up.
    keeps_queue: bool,
}

async fn move_table(
    context: &Context,
    layout: &Layout,
    row: &TableRow,
) -> Result<Moved, CoordinationError> {
    let home = layout.home_of(&row.table);
    let has_moved = row.layout < home.layout && context.store.rehome(&row.table, home).await?;
    let queue = match &row.active_process {
        // Where no queue is given up, no process needs one that is.
        Some(process) if layout.swept() > layout.buckets => queue_of(context, process).await?,
        _ => None,
    };
    let stays = TableRow {
        layout: row.layout.max(home.layout),
        ..row.clone()
    };
    Ok(Moved {
        has_moved,
        keeps_queue: keeps_former(layout, &stays, queue),
    })
}

/// The queue of a process under way.
async fn queue_of(
    context: &Context,
    process: &ProcessId,
) -> Result<Option<BucketId>, CoordinationError> {
    let row = context.store.process(process).await?;
    Ok(row.filter(|row| !row.has_ended()).map(|row| row.bucket))
}

/// How a bucket stands.
#[derive(Debug, Clone)]
pub struct BucketView {
    /// The bucket.
    pub bucket: BucketId,
    /// Whether it is one of the layout's, and not one that is being given up.
    pub stays: bool,
    /// Tables with a row in it.
    pub tables: u64,
    /// Those that are due.
    pub due: u64,
    /// Those with a process under way.
    pub under_way: u64,
    /// Who holds it now.
    pub owner: Option<WorkerId>,
    /// When a sweep of it was completed last; 0 for never.
    pub last_swept_at: TimestampMs,
}

/// The layout and its buckets.
#[derive(Debug, Clone)]
pub struct Overview {
    /// The layout.
    pub layout: Layout,
    /// All buckets that are looked after, by number.
    pub buckets: Vec<BucketView>,
    /// Tables that wait in a bucket which nobody looks after: the next census finds them.
    pub astray: u64,
    /// Tables whose rows can't be read.
    pub unreadable: u64,
}

/// Looks at the layout and at all tables. Writes nothing.
pub async fn overview(context: &Context) -> Result<Overview, CoordinationError> {
    let now = context.ambient.now();
    let found = context.store.buckets(context.settings.buckets).await?;
    let layout = found
        .layout
        .unwrap_or_else(|| Layout::first(context.settings.buckets));
    let views = found.rows.into_iter().map(|row| BucketView {
        bucket: row.bucket,
        stays: layout.buckets.contains(row.bucket),
        tables: 0,
        due: 0,
        under_way: 0,
        owner: row.owner.filter(|_| row.expires_at >= now),
        last_swept_at: row.last_swept_at,
    });
    let mut overview = Overview {
        layout,
        buckets: views.collect(),
        astray: 0,
        unreadable: 0,
    };
    let mut from = None;
    loop {
        let page = context.store.tables_page(from.as_deref()).await?;
        for row in page.rows {
            let Ok(row) = row else {
                overview.unreadable += 1;
                continue;
            };
            let is_due = row.due_at.is_some_and(|due_at| due_at <= now);
            let mut views = overview.buckets.iter_mut();
            match views.find(|view| view.bucket == row.bucket) {
                Some(view) => {
                    view.tables += 1;
                    view.due += u64::from(is_due);
                    view.under_way += u64::from(row.active_process.is_some());
                }
                None => overview.astray += u64::from(is_due),
            }
        }
        from = page.next;
        if from.is_none() {
            return Ok(overview);
        }
    }
}
