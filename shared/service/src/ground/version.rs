//! Which version this is, and the note of it that every program which works by itself leaves in the state.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use icepress_coordination::Component;

use crate::Context;

/// The version of this build: as `0.1.0`, or `0.1.0+3f2a9c1d00` where the revision was known when it was made.
pub const VERSION: &str = env!("ICEPRESS_VERSION");

/// How often a program that goes on says that it is there. The doctor takes a version that was not noted for twice as
/// long for gone.
pub const SIGN_INTERVAL: Duration = Duration::from_secs(24 * 60 * 60);

/// The sign of life of one program: at its first call, and once a day from then on.
#[derive(Debug)]
pub struct SignOfLife {
    component: Component,
    /// When the last one was given, by the monotonic clock.
    given: Mutex<Option<Duration>>,
}

impl SignOfLife {
    /// Of a program that has just started.
    pub fn new(component: Component) -> Self {
        Self {
            component,
            given: Mutex::new(None),
        }
    }

    /// Notes the version in the state, if it is time to. A failure is logged and holds nothing up.
    pub async fn give(&self, context: &Context) {
        let now = context.ambient.clock.monotonic();
        {
            let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
            if given.is_some_and(|given| now.saturating_sub(given) < SIGN_INTERVAL) {
                return;
            }
            if given.is_none() {
                // Rows of the state name workers: this tells whose log it is.
                let worker = context.settings.worker.as_str();
                tracing::info!(worker, version = VERSION, "at work as {}", self.component);
            }
            *given = Some(now);
        }
        let noted = context
            .store
            .note_version(self.component, VERSION, context.ambient.now());
        if let Err(error) = noted.await {
            tracing::warn!(%error, "this version could not be noted");
        }
    }
}

/// Whether `a` is an older release than `b`. Of builds with the same number, or with none, nothing can be said.
pub(crate) fn is_older(a: &str, b: &str) -> bool {
    match (number(a), number(b)) {
        (Some(a), Some(b)) => a < b,
        _ => false,
    }
}

/// The three numbers of a version.
fn number(version: &str) -> Option<(u64, u64, u64)> {
    let number = version.split(['+', '-']).next()?;
    let mut parts = number.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

#[cfg(test)]
mod tests;
