//! A clock that runs like the system's, and can be moved forward: whoever sleeps by it wakes when his time has come by then.

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
use tokio::sync::Notify;

/// The system's clock plus what it was moved by.
#[derive(Debug)]
pub struct ShiftedClock {
    system: Ambient,
    shift_ms: AtomicU64,
    moved: Notify,
}

impl ShiftedClock {
    /// An ambient with such a clock and seeded chance, and the clock to move.
    pub fn ambient(seed: u64) -> (Ambient, Arc<Self>) {
        let clock = Arc::new(Self {
            system: Ambient::system(),
            shift_ms: AtomicU64::new(0),
            moved: Notify::new(),
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
        self.moved.notify_waiters();
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

    /// Ends when so much time has passed, or seems to.
    async fn sleep(&self, duration: Duration) {
        let end = self.monotonic() + duration;
        loop {
            // Asked for before the look, so that a move in between is noticed.
            let moved = self.moved.notified();
            let left = end.saturating_sub(self.monotonic());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = self.system.clock.sleep(left) => {}
                () = moved => {}
            }
        }
    }
}
