//! Catalogs: load a table, swap its metadata; and the commit lock.
//!
//! Knows nothing of rewrites. A [`Catalog`] is one trait; SQL and Glue are its adapters.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod catalog;
pub mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
pub mod lock;
pub mod metadata;
mod sql;

pub use catalog::{Catalog, CommitToken, ListedTable, LoadedTable, TableChange, TablePage};
pub use error::{CatalogError, CommitError};
pub use sql::SqlCatalog;
