//! S3, and what speaks its protocol.

mod options;

pub use options::S3Options;
