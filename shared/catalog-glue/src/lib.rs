//! The AWS Glue catalog.
//!
//! A crate of its own, because Glue's client is by far the largest of the SDK, and not every program needs it.
//!
//! A commit is one `UpdateTable` that is made of what `GetTable` returned a moment before, with nothing changed but the
//! metadata location and the previous one: every parameter, comment and column that others put there survives. It always
//! carries the `VersionId`, which Glue compares, and `SkipArchive`, without which Glue keeps a copy of the table's entry
//! for each commit until it refuses more.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod entries;
mod entry;
mod errors;
mod glue;
mod swap;

pub use glue::GlueCatalog;
