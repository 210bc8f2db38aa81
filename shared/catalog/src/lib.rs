//! Catalogs: load a table, swap its metadata; and the commit lock.
//!
//! Knows nothing of rewrites. A [`Catalog`] is one trait; its adapters here are SQL, DynamoDB and directories, and
//! those with more to bring are crates of their own.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod aws;
mod catalog;
pub mod config;
#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod dynamodb;
mod error;
mod hadoop;
pub mod lock;
pub mod metadata;
mod sql;
pub mod swap;

pub use catalog::{
    Catalog, CommitToken, ListedTable, LoadedTable, Located, TableChange, TablePage,
};
pub use dynamodb::DynamoDbCatalog;
pub use error::{CatalogError, CommitError};
pub use hadoop::HadoopCatalog;
pub use sql::SqlCatalog;
