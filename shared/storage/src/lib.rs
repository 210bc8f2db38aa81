//! Object storage: S3 and local files behind one trait.
//!
//! Knows nothing of Iceberg. Locations are the URIs that tables carry: `s3://bucket/key` (`s3a` and `s3n` mean the
//! same), `file:///path`, `file:/path`, or a plain absolute path. A location is never rewritten: what a manifest
//! says is what is asked for, letter for letter.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod aws;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod local;
mod location;
mod ranges;
mod reach;
mod room;
mod router;
mod s3;
mod spelling;
mod storage;
mod time_limits;

pub use aws::{AccessKeys, AssumedRole, AwsEnvironment, RequestLedger, RequestTotals};
pub use error::{StorageError, StorageErrorKind};
pub use local::LocalStorage;
pub use reach::Reach;
pub use room::{Room, RoomTaken};
pub use router::StorageRouter;
pub use s3::{Encryption, MOST_TAGS, S3Options, S3Storage, WriteAttributes};
pub use spelling::{lies_within, one_spelling};
pub use storage::{
    DeleteOutcome, ListPage, ListedObject, ObjectInfo, ObjectWriter, PutMode, Storage, WriteOptions,
};
pub use time_limits::TimeLimits;
