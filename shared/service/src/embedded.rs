//! Scheduler and optimizers in one process: what a laptop runs.

mod errands;
mod report;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use icepress_coordination::{CoordinationError, Received};
use icepress_model::{BucketCount, BucketId};

use crate::{About, Context, Deadline, Event, Handled, Waiting, WaitsFor, handle, tick};
use errands::OwnErrands;
pub(crate) use report::Collector;
pub use report::{RunReport, TableOutcome, TableReport};

/// A wish to end: work in hand is finished, nothing new is begun.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks for the end.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The wait while others, or claims that must run out first, hold what is left to do.
const PATIENCE: Duration = Duration::from_millis(500);

/// Ticks of a run in which the store refuses something, before the rest is left to the next run.
const MOST_REFUSED: u32 = 3;

/// Works until nothing is due any more, with so many optimizers at once. What a tick hands out, as many schedulers do.
pub async fn run_once(
    context: &Context,
    optimizers: usize,
    stop: &Stop,
) -> Result<RunReport, CoordinationError> {
    let (mut context, collector) = Collector::beside(context);
    let errands = OwnErrands::of(&mut context);
    let mut refused = 0;
    loop {
        let ticked = tick(&context, Deadline::NONE).await?;
        errands.run_all(&context, optimizers, stop).await?;
        optimize_all(&context, optimizers, stop).await?;
        if stop.requested() {
            break;
        }
        match outstanding(&context, ticked.held_by_others > 0).await? {
            Outstanding::Nothing => break,
            // What the store refuses is due for ever: it was told, and is the next run's.
            Outstanding::Now if ticked.failed + ticked.unwritten > 0 => {
                refused += 1;
                if refused > MOST_REFUSED {
                    break;
                }
                context.ambient.clock.sleep(PATIENCE).await;
            }
            Outstanding::Now => {}
            Outstanding::Later => context.ambient.clock.sleep(PATIENCE).await,
        }
    }
    Ok(collector.report(&context).await)
}

enum Outstanding {
    /// Nothing is due, and no process is under way.
    Nothing,
    /// Something is due now.
    Now,
    /// A process is under way whose claims must run out first, or is in the hands of others.
    Later,
}

async fn outstanding(
    context: &Context,
    held_by_others: bool,
) -> Result<Outstanding, CoordinationError> {
    let now = context.ambient.now();
    let mut under_way = false;
    let mut rows = context.watched().await?;
    while let Some(row) = rows.next().await? {
        // Rows that can't be read are told by the sweep, and waited for by nobody.
        let Ok(row) = &row else { continue };
        if row.due_at.is_some_and(|due_at| due_at <= now) && !held_by_others {
            return Ok(Outstanding::Now);
        }
        // What waits for a blocker's end, a window or a quota is not waited for: that may be days. Nor is a service that asks
        // for fewer requests: each look is one more.
        match Waiting::of(row).map(|waiting| waiting.waits_for) {
            None => under_way |= row.active_process.is_some(),
            Some(WaitsFor::Tasks) => under_way = true,
            Some(WaitsFor::Blocker | WaitsFor::Window | WaitsFor::Quota | WaitsFor::Requests) => {}
        }
    }
    Ok(if under_way || held_by_others {
        Outstanding::Later
    } else {
        Outstanding::Nothing
    })
}

/// Empties the queues with so many optimizers at once.
pub(crate) async fn optimize_all(
    context: &Context,
    optimizers: usize,
    stop: &Stop,
) -> Result<(), CoordinationError> {
    // Also those that are being given up, until they are empty.
    let queues = context.layout().await?.swept();
    let mut working = tokio::task::JoinSet::new();
    for first in 0..optimizers.max(1) {
        let context = context.clone();
        let stop = stop.clone();
        working.spawn(async move { optimize_until_empty(&context, queues, first, &stop).await });
    }
    let mut failure = None;
    while let Some(joined) = working.join_next().await {
        match joined {
            Ok(Ok(())) => {}
            // The others are not stopped in the midst of their work.
            Ok(Err(error)) => {
                failure.get_or_insert(error);
            }
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// One optimizer: goes round the queues, from one of its own, until a whole round brings nothing.
async fn optimize_until_empty(
    context: &Context,
    queues: BucketCount,
    first: usize,
    stop: &Stop,
) -> Result<(), CoordinationError> {
    let buckets: Vec<BucketId> = queues.all().collect();
    let mut empty_in_a_row = 0;
    let mut failure = None;
    let mut next = first % buckets.len();
    while empty_in_a_row < buckets.len() && !stop.requested() {
        let visibility = context.settings.claim_ttl;
        let received = context
            .queue
            .receive(buckets[next], 1, Duration::ZERO, visibility)
            .await?;
        match received.into_iter().next() {
            Some(received) => {
                empty_in_a_row = 0;
                // What fails of one table's work keeps nobody from the others': it is told once they are served.
                if let Err(error) = handle_received(context, &received).await {
                    failure.get_or_insert(error);
                }
            }
            None => {
                empty_in_a_row += 1;
                next = (next + 1) % buckets.len();
            }
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Handles a message while keeping it out of others' sight.
async fn handle_received(context: &Context, received: &Received) -> Result<(), CoordinationError> {
    let handling = handle(context, &received.message, Deadline::NONE);
    tokio::pin!(handling);
    let kept = keep_invisible(context, received);
    tokio::pin!(kept);
    let handled = tokio::select! {
        biased;
        handled = &mut handling => handled,
        never = &mut kept => match never {},
    };
    match handled {
        Ok(Handled::Done) => context.queue.delete(received).await,
        Ok(Handled::Again(rest)) => context.queue.change_visibility(received, rest).await,
        // Another attempt has taken over: its message is its own.
        Err(CoordinationError::Fenced(reason)) => {
            context.tell(Event::Notice {
                about: About::task(&received.message.task),
                message: format!(
                    "task {} went to another worker: {reason}",
                    received.message.task
                ),
            });
            context.queue.delete(received).await
        }
        Err(error) => Err(error),
    }
}

async fn keep_invisible(context: &Context, received: &Received) -> std::convert::Infallible {
    let visibility = context.settings.claim_ttl;
    loop {
        context.ambient.clock.sleep(visibility / 3).await;
        if let Err(error) = context.queue.change_visibility(received, visibility).await {
            context.tell(Event::Notice {
                about: About::task(&received.message.task),
                message: format!("a message could not be kept invisible: {error}"),
            });
        }
    }
}
