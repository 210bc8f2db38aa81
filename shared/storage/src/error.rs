//! What can go wrong with an object, as decisions for the caller.

use thiserror::Error;

/// A request to storage that failed.
#[derive(Debug, Error)]
#[error("{action} {location}: {}", detail(.kind, .source))]
pub struct StorageError {
    /// What to do about it.
    pub kind: StorageErrorKind,
    /// What was tried: `read`, `write`, `list`, `delete`.
    pub action: &'static str,
    /// The object.
    pub location: String,
    /// What the store said.
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The kinds of failure that callers tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageErrorKind {
    /// There is no such object or bucket.
    NotFound,
    /// A conditional write found that the object exists already.
    AlreadyExists,
    /// Access was refused.
    PermissionDenied,
    /// The object lies in an archive tier (`InvalidObjectState`): it can't be read until somebody restores it.
    Archived,
    /// The store asked for fewer requests, and went on asking after our retries.
    Throttled,
    /// The location is not one that this store can serve.
    InvalidLocation,
    /// Its catalog allows no files there (see [`Reach`](crate::Reach)): nothing was asked of any store.
    NotAllowed,
    /// The object is shorter than the range asked for.
    OutOfRange,
    /// Anything else: network, time-out, a full disk. For a write, it may have taken effect.
    Other,
}

impl StorageErrorKind {
    /// One line for people, with what to do where we know.
    pub fn explain(self) -> &'static str {
        match self {
            Self::NotFound => "there is no such object",
            Self::AlreadyExists => "the object exists already",
            Self::PermissionDenied => {
                "access was refused: check the role's permissions on this location"
            }
            Self::Archived => "the object is in an archive tier: restore it, or leave it alone",
            Self::Throttled => "the store is throttling requests",
            Self::InvalidLocation => "this is no location that the store can serve",
            Self::NotAllowed => "no files of its catalog may lie there",
            Self::OutOfRange => "the object is shorter than expected",
            Self::Other => "the request failed",
        }
    }
}

fn detail(
    kind: &StorageErrorKind,
    source: &Option<Box<dyn std::error::Error + Send + Sync>>,
) -> String {
    match source {
        Some(source) => format!("{} ({source})", kind.explain()),
        None => kind.explain().to_owned(),
    }
}
