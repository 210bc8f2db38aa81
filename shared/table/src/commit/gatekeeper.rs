//! Somebody who is asked right before each swap whether it may be made.

use std::fmt::Debug;

use async_trait::async_trait;

/// Asked after everything is written and before the catalog is told.
#[async_trait]
pub trait Gatekeeper: Send + Sync + Debug {
    /// Why the swap may not be made now, in one line; `None` where it may. What was written for it is deleted then, and
    /// the commit fails with [`super::CommitFailure::HeldBack`].
    async fn objection(&self) -> Option<String>;
}

/// Never objects.
#[derive(Debug, Clone, Copy)]
pub struct NoObjection;

#[async_trait]
impl Gatekeeper for NoObjection {
    async fn objection(&self) -> Option<String> {
        None
    }
}
