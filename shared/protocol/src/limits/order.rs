//! Which of a bucket's due tables comes first.

use std::{cmp::Reverse, time::Duration};

use icepress_model::TimestampMs;

/// So much longer a table must have waited to come before one whose priority is one higher.
pub const PRIORITY_STEP: Duration = Duration::from_secs(600);

/// Sorts what is due, each with its priority and since when it is due: the higher priority first, but one step of priority
/// is worth no more than [`PRIORITY_STEP`] of waiting. So no stream of urgent tables keeps another out for ever: those
/// that fell due later than that have to come after it, whatever the time is when they are sorted.
pub fn in_order<T>(mut due: Vec<T>, of: impl Fn(&T) -> (i32, TimestampMs)) -> Vec<T> {
    let step = i64::try_from(PRIORITY_STEP.as_millis()).unwrap_or(i64::MAX);
    due.sort_by_cached_key(|item| {
        let (priority, since) = of(item);
        let lead = i64::from(priority).saturating_mul(step);
        (since.get().saturating_sub(lead), Reverse(priority))
    });
    due
}

#[cfg(test)]
mod tests;
