//! What a program would otherwise take from the air: time, chance and fresh identifiers.
//!
//! Everything that needs one of them is handed an [`Ambient`]. The real one is [`Ambient::system`]; the simulation
//! passes its own, which makes a run repeat exactly. A clippy fence forbids the ambient calls everywhere else.

mod repeatable;

use std::{
    fmt::Debug,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use rand::Rng as _;
use uuid::Uuid;

use crate::TimestampMs;
pub use repeatable::{ManualClock, SeededRandomness};

/// Time: of the wall, since some start, and passing.
#[async_trait]
pub trait Clock: Send + Sync + Debug {
    /// The wall clock. May step.
    fn now(&self) -> TimestampMs;
    /// Time since an arbitrary start. Never goes back.
    fn monotonic(&self) -> Duration;
    /// Returns once `duration` has passed.
    async fn sleep(&self, duration: Duration);
}

/// Chance.
pub trait Randomness: Send + Sync + Debug {
    /// 64 random bits.
    fn next_u64(&self) -> u64;
}

/// Clock, randomness and identifiers, handed through the program together.
#[derive(Debug, Clone)]
pub struct Ambient {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Randomness>,
}

impl Ambient {
    /// The real ones: the system's clocks and its random numbers.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandomness),
        }
    }

    /// The wall clock's time.
    pub fn now(&self) -> TimestampMs {
        self.clock.now()
    }

    /// A fresh version 4 UUID.
    pub fn uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(
            ((u128::from(self.random.next_u64()) << 64) | u128::from(self.random.next_u64()))
                .to_be_bytes(),
        )
        .into_uuid()
    }

    /// A fresh positive number for a snapshot id, as Iceberg makes them: from the halves of a UUID.
    pub fn snapshot_id(&self) -> i64 {
        let (high, low) = self.uuid().as_u64_pair();
        ((high ^ low) & (i64::MAX as u64)) as i64
    }

    /// A random duration between nothing and `most` ("full jitter"), for waits between retries.
    pub fn jitter(&self, most: Duration) -> Duration {
        let share = (self.random.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        most.mul_f64(share)
    }
}

/// The system's clocks.
#[derive(Debug)]
struct SystemClock {
    started: Instant,
}

#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place that asks the system for the time"
)]
#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> TimestampMs {
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO);
        TimestampMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

impl SystemClock {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the system for the time"
    )]
    fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

/// The system's random numbers.
#[derive(Debug)]
struct SystemRandomness;

impl Randomness for SystemRandomness {
    #[allow(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the system for randomness"
    )]
    fn next_u64(&self) -> u64 {
        rand::rng().random()
    }
}
