//! How soon to look again at a lock that others hold.

use std::time::Duration;

/// Of the usual wait, what is left while the lock goes from hand to hand: it is free for moments only then.
const HURRY: u32 = 16;

/// What was seen of the lock's holders.
#[derive(Debug, Default)]
pub(super) struct Pace {
    owner: Option<String>,
    /// When a holder was first seen in another's place.
    passed_on: Option<Duration>,
}

impl Pace {
    /// Takes note of who holds the lock `now`.
    pub(super) fn saw(&mut self, owner: &str, now: Duration) {
        if self.owner.as_deref().is_some_and(|known| known != owner) {
            self.passed_on = Some(now);
        }
        self.owner = Some(owner.to_owned());
    }

    /// The longest wait before the next look: `interval`, and far less for an interval after the lock was passed on, so
    /// that a writer who takes it back at once, again and again, keeps nobody out.
    pub(super) fn wait(&self, interval: Duration, now: Duration) -> Duration {
        match self.passed_on {
            Some(at) if now.saturating_sub(at) < interval => interval / HURRY,
            _ => interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_goes_from_hand_to_hand_is_looked_at_often_and_one_that_stands_still_is_not() {
        let second = Duration::from_secs(1);
        let at = Duration::from_millis;
        let mut pace = Pace::default();
        assert_eq!(pace.wait(second, at(0)), second);
        for now in [0, 900] {
            pace.saw("a", at(now));
            assert_eq!(
                pace.wait(second, at(now)),
                second,
                "one holder, at {now} ms"
            );
        }
        pace.saw("b", at(1_800));
        assert_eq!(pace.wait(second, at(1_800)), second / HURRY);
        pace.saw("b", at(2_700));
        assert_eq!(pace.wait(second, at(2_700)), second / HURRY);
        pace.saw("b", at(2_800));
        assert_eq!(pace.wait(second, at(2_800)), second);
    }
}
