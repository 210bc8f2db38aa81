//! A clock that runs like the system's, and can be moved forward.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use icepress_model::{
    TimestampMs,
    ambient::{Ambient, Clock, SeededRandomness},
};

/// The system's clock plus what it was moved by.
#[derive(Debug)]
pub struct ShiftedClock {
    system: Ambient,
    shift_ms: AtomicU64,
}

impl ShiftedClock {
    /// An ambient with such a clock and seeded chance, and the clock to move.
    pub fn ambient(seed: u64) -> (Ambient, Arc<Self>) {
        let clock = Arc::new(Self {
            system: Ambient::system(),
            shift_ms: AtomicU64::new(0),
        });
        let ambient = Ambient {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            random: Arc::new(SeededRandomness::new(seed)),
        };
        (ambient, clock)
    }

    /// Moves the clock forward, as if so much time had passed.
    pub fn advance(&self, duration: Duration) {
        let millis = u64::try_from(duration.as_millis()).unwrap();
        self.shift_ms.fetch_add(millis, Ordering::SeqCst);
    }

    fn shift(&self) -> Duration {
        Duration::from_millis(self.shift_ms.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Clock for ShiftedClock {
    fn now(&self) -> TimestampMs {
        self.system.clock.now() + self.shift()
    }

    fn monotonic(&self) -> Duration {
        self.system.clock.monotonic() + self.shift()
    }

    async fn sleep(&self, duration: Duration) {
        self.system.clock.sleep(duration).await;
    }
}
