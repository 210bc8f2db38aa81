//! Counts of requests by kind: what DynamoDB bills, and what tests hold the code to.

use std::sync::atomic::{AtomicU64, Ordering};

/// A kind of request to DynamoDB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DynamoRequest {
    /// `GetItem`.
    Get,
    /// `BatchGetItem`.
    BatchGet,
    /// `Query`, one for each page.
    Query,
    /// `PutItem`.
    Put,
    /// `UpdateItem`.
    Update,
    /// `BatchWriteItem`.
    BatchWrite,
    /// `TransactWriteItems`.
    Transact,
}

impl DynamoRequest {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::Get,
        Self::BatchGet,
        Self::Query,
        Self::Put,
        Self::Update,
        Self::BatchWrite,
        Self::Transact,
    ];
}

/// Requests sent so far, by kind. The client's own retries are not seen here.
#[derive(Debug, Default)]
pub struct DynamoRequests([AtomicU64; DynamoRequest::ALL.len()]);

impl DynamoRequests {
    /// How many of one kind.
    pub fn count(&self, kind: DynamoRequest) -> u64 {
        self.0[kind as usize].load(Ordering::Relaxed)
    }

    /// How many of all kinds.
    pub fn total(&self) -> u64 {
        DynamoRequest::ALL
            .iter()
            .map(|kind| self.count(*kind))
            .sum()
    }

    pub(super) fn add(&self, kind: DynamoRequest) {
        self.0[kind as usize].fetch_add(1, Ordering::Relaxed);
    }
}
