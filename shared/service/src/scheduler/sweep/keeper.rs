//! A lease that is kept while work under it goes on, and work that ends with the time that there is.

use icepress_coordination::{CoordinationError, Lease};

use crate::{About, Context, Deadline, Event};

/// Renews the lease when half of it is over.
pub(crate) async fn keep_lease(
    context: &Context,
    lease: &Lease,
) -> Result<Lease, CoordinationError> {
    let now = context.ambient.now();
    let ttl = context.settings.lease_ttl;
    if lease.expires_at.since(now) > ttl / 2 {
        return Ok(lease.clone());
    }
    context.store.renew_lease(lease, now, ttl).await
}

/// Works while the lease is renewed beside it, however long one step takes. `None` where the time was up first: what was
/// under way is cut off, as a death would, and whatever was begun is noted as begun.
pub(super) async fn while_kept<T>(
    context: &Context,
    lease: &mut Lease,
    deadline: Deadline,
    work: impl Future<Output = T>,
) -> Result<Option<T>, CoordinationError> {
    // What is left of the margin is for letting go of the lease.
    let cut = deadline.earlier_by(context.settings.deadline_margin / 2);
    tokio::pin!(work);
    let lost = keep_on(context, lease);
    tokio::pin!(lost);
    let too_late = cut.passed(&context.ambient);
    tokio::pin!(too_late);
    tokio::select! {
        biased;
        done = &mut work => Ok(Some(done)),
        error = &mut lost => Err(error),
        () = &mut too_late => Ok(None),
    }
}

/// Renews the lease again and again; returns only when it is lost.
async fn keep_on(context: &Context, lease: &mut Lease) -> CoordinationError {
    let ttl = context.settings.lease_ttl;
    loop {
        let left = lease.expires_at.since(context.ambient.now());
        context
            .ambient
            .clock
            .sleep(left.saturating_sub(ttl / 2).max(ttl / 16))
            .await;
        match keep_lease(context, lease).await {
            Ok(kept) => *lease = kept,
            Err(error @ CoordinationError::Fenced(_)) => return error,
            // A store that does not answer now may answer before the lease ends; if not, another takes over and our
            // writes are refused.
            Err(error) => context.tell(Event::Notice {
                about: About::NONE,
                message: format!(
                    "the lease of bucket {} was not renewed: {error}",
                    lease.bucket
                ),
            }),
        }
    }
}
