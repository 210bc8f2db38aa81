//! Time and chance that repeat: for tests and for the simulation.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use super::{Ambient, Clock, Randomness};
use crate::TimestampMs;

/// A clock that stands still until it is moved. Whoever sleeps moves it to the end of the sleep at once.
#[derive(Debug)]
pub struct ManualClock {
    start: i64,
    now: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `start`.
    pub fn new(start: TimestampMs) -> Arc<Self> {
        Arc::new(Self {
            start: start.get(),
            now: AtomicI64::new(start.get()),
        })
    }

    /// Lets time pass.
    pub fn advance(&self, duration: Duration) {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        self.now.fetch_add(millis, Ordering::SeqCst);
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> TimestampMs {
        TimestampMs(self.now.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        let passed = self.now.load(Ordering::SeqCst).saturating_sub(self.start);
        Duration::from_millis(u64::try_from(passed).unwrap_or(0))
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
        // Others may have waited for this moment.
        tokio::task::yield_now().await;
    }
}

/// Random numbers that follow from a seed (SplitMix64).
#[derive(Debug)]
pub struct SeededRandomness(AtomicU64);

impl SeededRandomness {
    /// The numbers of that seed.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Randomness for SeededRandomness {
    fn next_u64(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut bits = self.0.fetch_add(STEP, Ordering::SeqCst).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }
}

impl Ambient {
    /// Time and chance that repeat, with the clock to move.
    pub fn repeatable(seed: u64, start: TimestampMs) -> (Self, Arc<ManualClock>) {
        let clock = ManualClock::new(start);
        let ambient = Self {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            random: Arc::new(SeededRandomness::new(seed)),
        };
        (ambient, clock)
    }
}
