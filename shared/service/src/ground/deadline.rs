//! When work has to end.

use std::time::Duration;

use icepress_model::ambient::Ambient;

/// Clocks of functions are kept by one service (Amazon Time Sync) and differ by milliseconds.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

/// A point on the monotonic clock by which an invocation must be over; or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadline(Option<Duration>);

impl Deadline {
    /// There is no end.
    pub const NONE: Self = Self(None);

    /// The end is so far from now.
    pub fn after(ambient: &Ambient, duration: Duration) -> Self {
        Self(Some(ambient.clock.monotonic() + duration))
    }

    /// Whichever of the two comes sooner.
    pub fn sooner(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(one), Some(other)) => Self(Some(one.min(other))),
            (one, other) => Self(one.or(other)),
        }
    }

    /// This deadline, so much earlier.
    pub fn earlier_by(self, margin: Duration) -> Self {
        Self(self.0.map(|end| end.saturating_sub(margin)))
    }

    /// What is left; `None` where there is no end.
    pub fn left(self, ambient: &Ambient) -> Option<Duration> {
        self.0
            .map(|end| end.saturating_sub(ambient.clock.monotonic()))
    }

    /// For how long a claim is taken that would be for `wanted`: hardly longer than whoever takes it can live, so that a
    /// successor waits for nobody who is dead. What is added is for clocks that differ.
    pub fn claim(self, ambient: &Ambient, wanted: Duration) -> Duration {
        let left = self.left(ambient);
        left.map_or(wanted, |left| wanted.min(left + CLOCKS_DIFFER))
    }

    /// Whether `needed` still fits.
    pub fn allows(self, ambient: &Ambient, needed: Duration) -> bool {
        self.left(ambient).is_none_or(|left| left >= needed)
    }

    /// Returns when the deadline has come; never where there is none.
    pub async fn passed(self, ambient: &Ambient) {
        match self.left(ambient) {
            Some(left) => ambient.clock.sleep(left).await,
            None => std::future::pending().await,
        }
    }
}
