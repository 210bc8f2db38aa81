//! The real service on simulated storage, catalog, DynamoDB and SQS: one thread, one seed, faults at every await.
//!
//! [`run::run`] plays one seed. What the simulated services promise is what the real ones promise, and no more; the
//! tests in `tests/` hold them to the suites that the real adapters pass, and compare them with the emulators.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the whole crate is a test: what can't happen ends the run"
)]

pub mod ambient;
pub mod catalog;
pub mod connector;
pub mod draw;
pub mod dynamo;
pub mod engine;
pub mod fleet;
pub mod foreign;
pub mod java;
pub mod network;
pub mod oracle;
pub mod reader;
pub mod rows;
pub mod run;
pub mod scale;
pub mod sqs;
pub mod storage;
pub mod trace;
pub mod vectors;
