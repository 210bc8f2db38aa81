//! Clocks and chance of the simulated machines: each machine's wall clock is wrong in its own way.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use async_trait::async_trait;
use aws_sdk_dynamodb::config::{AsyncSleep, Sleep};
use futures::{FutureExt as _, future::BoxFuture};
use icepress_model::{
    TimestampMs,
    ambient::{Ambient, Clock, SeededRandomness},
};

use crate::engine::Engine;

/// When every run begins: 2026-01-31, seven minutes before midnight, so that days and months end in the midst of it.
pub const START: TimestampMs = TimestampMs(1_769_903_580_000);

/// The clock of one machine.
#[derive(Debug)]
pub struct MachineClock {
    engine: Arc<Engine>,
    skew_ms: AtomicI64,
}

impl MachineClock {
    /// A clock that is `skew_ms` ahead of the true time (behind it, where below zero).
    pub fn new(engine: Arc<Engine>, skew_ms: i64) -> Arc<Self> {
        Arc::new(Self {
            engine,
            skew_ms: AtomicI64::new(skew_ms),
        })
    }

    /// How far it is ahead of the true time, in milliseconds.
    pub fn skew(&self) -> i64 {
        self.skew_ms.load(Ordering::Relaxed)
    }

    /// Sets the clock, as a time service does.
    pub fn set_skew(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for MachineClock {
    fn now(&self) -> TimestampMs {
        let skew = self.skew_ms.load(Ordering::Relaxed);
        TimestampMs((START + self.engine.now()).get() + skew)
    }

    fn monotonic(&self) -> Duration {
        self.engine.now()
    }

    async fn sleep(&self, duration: Duration) {
        self.engine.sleep(duration).await;
    }
}

/// The ambient of a machine: its clock, and random numbers of its own.
pub fn machine(engine: &Arc<Engine>, skew_ms: i64) -> (Ambient, Arc<MachineClock>) {
    let clock = MachineClock::new(Arc::clone(engine), skew_ms);
    let ambient = Ambient {
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        random: Arc::new(SeededRandomness::new(engine.random())),
    };
    (ambient, clock)
}

/// Waiting of the AWS clients, on a clock of ours.
#[derive(Debug, Clone)]
pub struct ClockSleep(pub Arc<dyn Clock>);

impl AsyncSleep for ClockSleep {
    fn sleep(&self, duration: Duration) -> Sleep {
        let clock = Arc::clone(&self.0);
        let sleeping = async move { clock.sleep(duration).await };
        Sleep::new(Shareable(Mutex::new(sleeping.boxed())))
    }
}

/// A future that may be shared between threads, since only its owner can poll it.
struct Shareable(Mutex<BoxFuture<'static, ()>>);

impl Future for Shareable {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let inner = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        inner.as_mut().poll(context)
    }
}
