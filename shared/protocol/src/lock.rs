//! The commit lock's protocol (protocols.md, section 5): when a waiter may write its row, under which condition, and how
//! long a holder may still change the table.
//!
//! All times are on one's own monotonic clock; nobody's wall clock matters.

#[cfg(test)]
mod model;

use std::time::Duration;

/// A lock's row, as somebody wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Holder {
    /// Whose it is: a name that is used for one commit only.
    pub owner: String,
    /// Another one at every write.
    pub version: String,
    /// How long its version must stand still before its owner counts as dead.
    pub lease: Duration,
}

/// Under which condition a row is written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Condition {
    /// There is none.
    Free,
    /// There is one of this version still.
    Version(String),
}

/// What a waiter does next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Move {
    /// Write the row.
    Write(Condition),
    /// Nothing: the row is its own already, and the answer to its write was lost.
    Held,
    /// Look again later.
    Wait,
}

/// What a waiter remembers between its looks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Waiting {
    /// The holder that was seen last, and since when it certainly stands still.
    seen: Option<(Holder, Duration)>,
}

impl Waiting {
    /// What to do about a row that was asked for at `asked`, and that came at `answered`. It stood so at some moment in
    /// between: so it stands still since the first answer, until the last question.
    pub fn next(
        &mut self,
        row: Option<&Holder>,
        owner: &str,
        asked: Duration,
        answered: Duration,
    ) -> Move {
        let Some(holder) = row else {
            return Move::Write(Condition::Free);
        };
        if holder.owner == owner {
            return Move::Held;
        }
        match &self.seen {
            Some((known, since)) if known == holder => {
                if asked.saturating_sub(*since) >= holder.lease {
                    Move::Write(Condition::Version(holder.version.clone()))
                } else {
                    Move::Wait
                }
            }
            _ => {
                self.seen = Some((holder.clone(), answered));
                Move::Wait
            }
        }
    }
}

/// How much longer a holder may change the table, which began to write its row `held` ago: half of its lease. The rest is
/// for a request that is slow to act, or an answer that is slow to come.
pub fn time_left(lease: Duration, held: Duration) -> Duration {
    (lease / 2).saturating_sub(held)
}
