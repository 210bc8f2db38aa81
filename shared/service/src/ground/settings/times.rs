//! Times that whoever deploys Icepress may set, instead of the defaults of [`Settings`].

use std::{num::NonZeroU32, time::Duration};

use serde::Deserialize;

use crate::Settings;

/// How long what lasts, in whole seconds. What is absent stays as [`Settings`] has it.
///
/// Shorter ones let the work of the dead be taken up sooner, and cost requests: leases and claims are renewed at a
/// fraction of them. They decide what is done twice and when, never whether a table is right.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Times {
    /// See [`Settings::lease_ttl`].
    pub lease: Option<NonZeroU32>,
    /// See [`Settings::lease_guard`].
    pub lease_guard: Option<NonZeroU32>,
    /// See [`Settings::claim_ttl`].
    pub claim: Option<NonZeroU32>,
    /// See [`Settings::commit_ttl`].
    pub commit: Option<NonZeroU32>,
    /// See [`Settings::check_interval`].
    pub check: Option<NonZeroU32>,
    /// See [`Settings::first_backoff`].
    pub first_backoff: Option<NonZeroU32>,
    /// See [`Settings::longest_backoff`].
    pub longest_backoff: Option<NonZeroU32>,
    /// How long a connection to a service may take to stand ([`Settings::requests`]).
    pub connect: Option<NonZeroU32>,
    /// How long the answer to one try may take to begin.
    pub answer: Option<NonZeroU32>,
    /// How long a request may take with all its tries.
    pub request: Option<NonZeroU32>,
}

impl Times {
    /// Puts what is set into `settings`.
    pub fn apply(&self, settings: &mut Settings) {
        let chosen = [
            (self.lease, &mut settings.lease_ttl),
            (self.lease_guard, &mut settings.lease_guard),
            (self.claim, &mut settings.claim_ttl),
            (self.commit, &mut settings.commit_ttl),
            (self.check, &mut settings.check_interval),
            (self.first_backoff, &mut settings.first_backoff),
            (self.longest_backoff, &mut settings.longest_backoff),
            (self.connect, &mut settings.requests.connect),
            (self.answer, &mut settings.requests.answer),
            (self.request, &mut settings.requests.whole),
        ];
        for (seconds, time) in chosen {
            if let Some(seconds) = seconds {
                *time = Duration::from_secs(seconds.get().into());
            }
        }
    }
}
