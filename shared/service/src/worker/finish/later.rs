//! A commit that can't be made now: who tries next, when, and after how many tries nobody does any more.

use icepress_coordination::{CommitClaim, CoordinationError, GivenBack};
use icepress_model::{Lessons, TimestampMs};

use super::{Ending, end};
use crate::{About, Context, Event, scheduler::header::ProcessHeader};

/// Gives the claim on a commit back whose races were all lost, and has the next try made soon: whoever comes next need
/// not wait until the claim is over (case C05).
pub(super) async fn give_back(
    context: &Context,
    claim: &CommitClaim,
    why: GivenBack,
    message: &str,
) -> Result<Option<TimestampMs>, CoordinationError> {
    context.tell(not_now(claim, message));
    let settings = &context.settings;
    let wait = settings.backoff_after_loss(claim.claim);
    let wait = wait.min(settings.check_interval / 2);
    let next_try = context.ambient.now() + wait + context.ambient.jitter(wait);
    context.store.give_back_commit(claim, why, next_try).await?;
    Ok(Some(next_try))
}

/// The same where somebody asked for fewer requests: that is no try, however often it happens (case C56). No swap of this
/// claim's can act any more: what was refused was not done.
pub(super) async fn wait(
    context: &Context,
    claim: &CommitClaim,
    message: &str,
) -> Result<Option<TimestampMs>, CoordinationError> {
    give_back(context, claim, GivenBack::Waits, message).await
}

/// Leaves the process as it is: the claim ends by itself, the next check tries again. After too many claims, in too long
/// a time, the process fails; its files stay, since it is not known that no snapshot refers to them.
pub(super) async fn postpone(
    context: &Context,
    claim: &CommitClaim,
    header: &ProcessHeader,
    message: &str,
) -> Result<Option<TimestampMs>, CoordinationError> {
    context.tell(not_now(claim, message));
    if !is_last_try(context, claim) {
        return Ok(None);
    }
    let failures = vec![message.to_owned()];
    let ending = Ending::failed(failures, header.failures, Lessons::default());
    end(context, claim, ending).await
}

pub(super) fn is_last_try(context: &Context, claim: &CommitClaim) -> bool {
    let age = context.ambient.now().since(claim.process.created_at);
    claim.process.tries() >= context.settings.commit_claims
        && age >= context.settings.commit_patience
}

pub(super) fn not_now(claim: &CommitClaim, message: &str) -> Event {
    let (table, process) = (&claim.process.table, &claim.process.process);
    Event::Notice {
        about: About::process(process).of(table),
        message: format!(
            "table {table}: process {process} could not be committed now (try {}): {message}",
            claim.claim
        ),
    }
}
