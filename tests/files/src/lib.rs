//! Parquet files in the forms that other engines give them, without those engines.
//!
//! arrow-rs writes the values; [`ParquetParts`] takes a file apart into footer, chunks and pages, whatever is to be changed is
//! changed, and the file is put together again with its offsets and sizes. [`write_like_parquet_mr`] makes what Iceberg Java and
//! Spark leave.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod mr;
mod parts;
mod thrift;

#[cfg(test)]
mod tests;

pub use mr::{MR_DICTIONARY_BYTES, MR_PAGE_BYTES, MR_PAGE_ROWS, MrSettings, write_like_parquet_mr};
pub use parts::{Chunk, Page, PageKind, ParquetParts, encoding};
pub use thrift::{Struct, Value};
