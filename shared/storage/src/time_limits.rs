//! How long requests to services may take: one set of figures for AWS's clients, REST servers and databases.
//!
//! A server that accepts a connection and is silent must not hold anybody for ever, and a large body over a slow link
//! must not be cut off while it moves. So what is small has a limit as a whole; what carries a body has so much more as
//! its size takes at the slowest rate that is still called moving; and within a body the SDK's own watch ends what stands
//! still.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use icepress_model::Bytes;

/// How long requests may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeLimits {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until the answer to one try begins: what only reads is answered soon.
    pub answer: Duration,
    /// One try of a request that changes something, which a server may take longer over.
    pub attempt: Duration,
    /// All tries of one request, and the waits between them.
    pub whole: Duration,
    /// Bytes a second below which a body is taken to stand still.
    pub slowest: Bytes,
}

impl Default for TimeLimits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            // Longer than the 20 s that a queue may be waited for.
            answer: Duration::from_secs(30),
            attempt: Duration::from_secs(60),
            whole: Duration::from_secs(90),
            slowest: Bytes(64 << 10),
        }
    }
}

impl TimeLimits {
    /// As the SDK's clients take them, for requests whose bodies are small.
    pub fn of_requests(&self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .operation_attempt_timeout(self.answer)
            .operation_timeout(self.whole)
            // A limit on reads would count the sending of a body in; a try's limit says the same of the others.
            .disable_read_timeout()
            .build()
    }

    /// The same for one that sends so many bytes, or has to put so many together before it answers.
    pub fn of_body(&self, size: Bytes) -> TimeoutConfig {
        let moving = self.moving(size);
        TimeoutConfig::builder()
            .operation_attempt_timeout(self.attempt + moving)
            .operation_timeout(self.whole + moving * 2)
            .build()
    }

    /// The outcome of `work`, unless it takes longer. By the machine's own time: what is waited for is a socket's other
    /// end, which no simulation plays.
    #[expect(
        clippy::disallowed_methods,
        reason = "real requests are limited by real time"
    )]
    pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(limit, work).await.ok()
    }

    /// How long so many bytes may take.
    pub fn moving(&self, size: Bytes) -> Duration {
        Duration::from_secs(size.get() / self.slowest.get().max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_time_that_its_size_takes_and_nothing_is_without_a_limit() {
        let limits = TimeLimits::default();
        let small = limits.of_requests();
        assert_eq!(small.connect_timeout(), Some(limits.connect));
        assert_eq!(small.operation_attempt_timeout(), Some(limits.answer));
        assert_eq!(small.operation_timeout(), Some(limits.whole));
        let part = limits.of_body(Bytes::mebibytes(64));
        assert_eq!(
            part.operation_attempt_timeout(),
            Some(Duration::from_secs(60 + 1024))
        );
        assert_eq!(
            part.operation_timeout(),
            Some(Duration::from_secs(90 + 2048))
        );
    }
}
