//! Reading Avro files fast, and writing values: just what manifests and manifest lists need.
//!
//! A plan wants a dozen fields of each manifest entry and none of its statistics, which are most of the bytes. A
//! general reader builds a value for every field first; here the writer's schema is compiled once into what to take
//! and what to step over, and entries are read in place. Everything read is untrusted: lengths, counts, branches and
//! nesting are checked before they are used, and what a block may grow to when decompressed is bounded.
//!
//! This is no general Avro reader: recursive types and schema resolution beyond field ids are left out.

mod container;
mod cursor;
mod projection;
mod schema;
mod skip;
mod write;

use thiserror::Error;

pub(crate) use container::Container;
pub(crate) use cursor::Cursor;
pub(crate) use projection::{Layout, Projection, Slot, Want};
pub(crate) use schema::{AvroType, Field};
pub(crate) use skip::Skip;
pub(crate) use write::{put_bytes, put_long, transcode};

#[cfg(test)]
mod tests;

/// Why a file could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum AvroError {
    /// The file is not what the Avro specification says.
    #[error("{0}")]
    Corrupt(String),
    /// The file may be right, but we can't read it.
    #[error("{0}")]
    Unsupported(String),
}

impl AvroError {
    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::Corrupt(message.into())
    }
}
