//! List prices of requests in us-east-1, in dollars a million: DynamoDB on demand, SQS standard queues, S3 Standard and
//! Intelligent-Tiering, Glue's catalog. Free tiers are left out.

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
