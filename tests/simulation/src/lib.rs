//! The real service on simulated storage, catalog, DynamoDB and SQS.
#![cfg_attr(test, allow(clippy::unwrap_used))]
