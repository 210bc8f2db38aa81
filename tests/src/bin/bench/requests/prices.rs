//! List prices of requests in us-east-1, in dollars a million: DynamoDB on demand, SQS standard queues, S3 Standard and
//! Intelligent-Tiering, Glue's catalog. Free tiers are left out.

use std::time::Duration;

use icepress_storage::RequestTotals;

const DYNAMO_READ: f64 = 0.125;
const DYNAMO_WRITE: f64 = 0.625;
/// A transaction writes up to four rows here, and each of them costs twice.
const DYNAMO_TRANSACTION: f64 = 8.0 * DYNAMO_WRITE;
/// Up to 25 rows; ours are the tasks of one process.
const DYNAMO_BATCH_WRITE: f64 = 25.0 * DYNAMO_WRITE;
const SQS: f64 = 0.40;
const S3_WRITE: f64 = 5.0;
const S3_READ: f64 = 0.40;
const GLUE: f64 = 1.0;

/// Of a run of a function on arm64, and of a gigabyte that it holds for a second.
const LAMBDA_RUN: f64 = 0.20;
const LAMBDA_GIGABYTE_SECOND: f64 = 13.3334;
/// The scheduler's memory by default.
const SCHEDULER_GIGABYTES: f64 = 0.5;

/// What it costs to run the scheduler so often and so long together, and to bring it so many errands: each is received
/// and deleted.
pub(crate) fn of_scheduler(errands: u64, runs: u64, took: Duration) -> f64 {
    let memory = took.as_secs_f64() * SCHEDULER_GIGABYTES * LAMBDA_GIGABYTE_SECOND;
    (errands as f64 * 2.0 * SQS + runs as f64 * LAMBDA_RUN + memory) / 1e6
}

/// What so many requests cost. Kinds without a price are free, as deleting from S3 is.
pub(crate) fn dollars(requests: &RequestTotals) -> f64 {
    requests
        .iter()
        .map(|(kind, count)| *count as f64 * price(kind) / 1e6)
        .sum()
}

fn price(kind: &str) -> f64 {
    let (service, operation) = kind.split_once('.').unwrap_or((kind, ""));
    match (service, operation) {
        ("DynamoDB", "GetItem" | "BatchGetItem" | "Query") => DYNAMO_READ,
        ("DynamoDB", "TransactWriteItems") => DYNAMO_TRANSACTION,
        ("DynamoDB", "BatchWriteItem") => DYNAMO_BATCH_WRITE,
        ("DynamoDB", _) => DYNAMO_WRITE,
        ("SQS", _) => SQS,
        ("S3", "GetObject" | "HeadObject") => S3_READ,
        ("S3", "DeleteObjects" | "AbortMultipartUpload") => 0.0,
        ("S3", _) => S3_WRITE,
        ("Glue", _) => GLUE,
        _ => 0.0,
    }
}
