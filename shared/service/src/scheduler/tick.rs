//! What a scheduler does when it is woken: it takes the buckets that were begun longest ago, one after another, as
//! long as its time allows.

use std::{collections::BTreeSet, time::Duration};

use icepress_coordination::{BucketRow, CoordinationError};
use icepress_model::{BucketId, TimestampMs};

use crate::{
    About, Context, Deadline, Event,
    people::buckets,
    scheduler::{
        census,
        errands::{self, Rest},
        turn::{has_time, work_bucket},
    },
};

/// What came of a tick.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TickReport {
    /// Buckets whose census and sweep were completed.
    pub swept: u32,
    /// Buckets that somebody else holds.
    pub held_by_others: u32,
    /// Buckets that were begun and not completed: the deadline came, or the lease was lost.
    pub unfinished: u32,
    /// Buckets that there was no time to begin, and nobody to hand them to.
    pub not_begun: u32,
    /// Buckets that were given up because the store failed them; each is told of.
    pub failed: u32,
    /// Tables left as they are because the store refused to write even that they failed.
    pub unwritten: u32,
    /// Buckets and long listings that were handed to others.
    pub handed_out: u32,
}

/// Works through the buckets. Any number of schedulers may do this at once.
///
/// A census marks tables of any bucket. Those that were swept before it had its say are swept once more, so that what
/// one tick sees it also plans.
///
/// What the store does to one bucket is that bucket's alone. It is an error only where it did so to all.
///
/// Where there is somebody to hand it to, a tick works for a short time only, and hands out what is left then.
pub async fn tick(context: &Context, deadline: Deadline) -> Result<TickReport, CoordinationError> {
    let clock = &context.ambient.clock;
    let (began, limit) = (clock.monotonic(), deadline.left(&context.ambient));
    let found = context.store.buckets(context.settings.buckets).await?;
    let layout = match found.layout {
        Some(layout) => layout,
        None => context.layout().await?,
    };
    if layout.is_moving() {
        // What moves can wait; what is due can't.
        if let Err(error) = buckets::go_on(context, &layout, deadline).await {
            context.tell(Event::Notice {
                about: About::NONE,
                message: format!("tables could not be moved to their buckets now: {error}"),
            });
        }
    }
    let mut rows: Vec<BucketRow> = found.rows;
    rows.sort_by_key(|row| (row.last_begun_at, row.last_swept_at, row.bucket));
    let longest_rest = longest_rest(&rows, context.ambient.now());
    let databases = census::databases(context, &layout).await;
    let mut report = TickReport::default();
    let mut swept: BTreeSet<BucketId> = BTreeSet::new();
    let mut missed: BTreeSet<BucketId> = BTreeSet::new();
    let mut failure = None;
    let mut rest = Rest::default();
    let until = errands::own_share(context, deadline);
    for row in &rows {
        if !has_time(context, until) {
            rest.buckets.push((row.bucket, row.epoch));
            continue;
        }
        let turn = match work_bucket(context, &layout, row, &databases, until).await {
            Ok(turn) => turn,
            Err(error) => {
                report.failed += 1;
                context.tell(Event::BucketFailed {
                    bucket: row.bucket,
                    message: error.to_string(),
                });
                failure.get_or_insert(error);
                continue;
            }
        };
        match turn {
            None => report.held_by_others += 1,
            Some(turn) => {
                missed.extend(turn.marked.intersection(&swept));
                report.unwritten += turn.unwritten;
                if turn.completed {
                    report.swept += 1;
                    swept.insert(row.bucket);
                } else {
                    report.unfinished += 1;
                    rest.buckets
                        .push((row.bucket, turn.epoch.unwrap_or(row.epoch)));
                }
                rest.listings.extend(turn.too_long);
            }
        }
    }
    for row in rows.iter().filter(|row| missed.contains(&row.bucket)) {
        // What there is no time for stays due: the next tick has it.
        if has_time(context, until)
            && let Err(error) = work_bucket(context, &layout, row, &[], until).await
        {
            context.tell(Event::BucketFailed {
                bucket: row.bucket,
                message: error.to_string(),
            });
        }
    }
    let begun = report.swept + report.held_by_others + report.unfinished + report.failed;
    match errands::hand_out(context, &layout, &rest, &databases).await {
        Ok(Some(handed_out)) => report.handed_out = handed_out,
        Ok(None) => report.not_begun = u32::try_from(rows.len()).unwrap_or(u32::MAX) - begun,
        // The next tick has what is left.
        Err(error) => {
            context.tell(Event::Notice {
                about: About::NONE,
                message: format!("what is left of a tick could not be handed out: {error}"),
            });
            report.not_begun = u32::try_from(rest.buckets.len()).unwrap_or(u32::MAX);
        }
    }
    context.tell(Event::TickEnded {
        report,
        took: clock.monotonic().saturating_sub(began),
        limit,
        longest_rest,
    });
    match failure {
        Some(error) if report.swept + report.unfinished + report.held_by_others == 0 => Err(error),
        _ => Ok(report),
    }
}

/// For how long the bucket was not swept to its end whose last time is longest ago. Those that never were are to have their
/// first sweep now.
fn longest_rest(rows: &[BucketRow], now: TimestampMs) -> Option<Duration> {
    let swept = rows.iter().map(|row| row.last_swept_at);
    let earliest = swept.filter(|at| at.get() > 0).min()?;
    Some(now.since(earliest))
}

#[cfg(test)]
mod tests;
