//! Blockers: an engine or a person keeps Icepress from a table, a database or a catalog for a time.
//!
//! **The assurance.** Whoever wants to commit claims the commit first, which writes the process's row, and then reads the
//! blockers, right before each swap. Whoever blocks writes the blocker first, and then reads the processes. Both read what
//! was written last, so at least one of them sees the other: either the commit is not made, or the blocker is told of a
//! commit under way. A claim ends by itself, and nobody sends a swap under one that has ended, however long it waited for a
//! lock or stood still; so what is under way is over when the claim's time is, and the guard for clocks that disagree. (A
//! request that the network brings later than that is beyond anybody's reach.)
//!
//! A blocker ends by itself too, whatever becomes of its owner.

use std::time::Duration;

use icepress_model::{Scope, TableId, TimestampMs};
use serde::Serialize;

/// Somebody's wish that no table of a scope is worked on. One owner has at most one a scope: another takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocker {
    /// What is blocked.
    pub scope: Scope,
    /// Who blocks: an engine's job, a person. Only the owner takes the blocker away again.
    pub owner: String,
    /// Why, for people.
    pub reason: String,
    /// When it was set.
    pub created_at: TimestampMs,
    /// When it ends by itself.
    pub expires_at: TimestampMs,
}

impl Blocker {
    /// Whether it holds at `now`: until its end, and the guard after it, for clocks that are ahead.
    pub fn is_in_force(&self, now: TimestampMs, guard: Duration) -> bool {
        now <= self.expires_at + guard
    }
}

/// The blocker that keeps this table longest, if any does.
pub fn blocking<'a>(
    blockers: impl IntoIterator<Item = &'a Blocker>,
    table: &TableId,
    now: TimestampMs,
    guard: Duration,
) -> Option<&'a Blocker> {
    blockers
        .into_iter()
        .filter(|blocker| blocker.scope.covers(table) && blocker.is_in_force(now, guard))
        .max_by_key(|blocker| blocker.expires_at)
}
