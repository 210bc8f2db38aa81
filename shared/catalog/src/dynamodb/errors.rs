//! What DynamoDB's errors mean for the catalog.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use icepress_model::CatalogName;

use crate::{
    CatalogError,
    aws::{AwsFailure, AwsFailureKind},
};

/// A request that failed, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: FailureKind,
    /// For people, with DynamoDB's own words.
    pub(super) message: String,
}

/// What is known of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    /// The condition did not hold: not carried out.
    Condition,
    /// There is no such DynamoDB table: not carried out.
    NoTable,
    /// Access was refused: not carried out.
    Denied,
    /// Too many requests, or the row is busy: not carried out.
    Busy,
    /// DynamoDB did not like it: not carried out.
    Invalid,
    /// A time-out, a 5xx, a lost answer: nobody knows.
    Unknown,
}

impl Failure {
    pub(super) fn of<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        AwsFailure::of(error).into()
    }

    /// A request that could not even be made.
    pub(super) fn invalid(error: &(dyn Error + 'static)) -> Self {
        AwsFailure::invalid(error).into()
    }

    pub(super) fn into_catalog_error(self, name: &CatalogName, table: &str) -> CatalogError {
        let catalog = name.to_string();
        match self.kind {
            FailureKind::Denied => CatalogError::PermissionDenied {
                catalog,
                message: format!("DynamoDB table {table}: {}", self.message),
            },
            FailureKind::NoTable => CatalogError::Configuration {
                catalog,
                message: format!(
                    "there is no DynamoDB table '{table}': name the catalog's table with dynamodb.table-name, and look at \
                     its region and account"
                ),
            },
            _ => CatalogError::Unavailable {
                catalog,
                message: format!("DynamoDB table {table}: {}", self.message),
                source: None,
            },
        }
    }
}

impl From<AwsFailure> for Failure {
    fn from(failure: AwsFailure) -> Self {
        let kind = match failure.code.as_str() {
            "ConditionalCheckFailedException" => FailureKind::Condition,
            "ResourceNotFoundException" => FailureKind::NoTable,
            "ProvisionedThroughputExceededException" | "TransactionConflictException" => {
                FailureKind::Busy
            }
            "ItemCollectionSizeLimitExceededException" | "ReplicatedWriteConflictException" => {
                FailureKind::Invalid
            }
            _ => match failure.kind {
                AwsFailureKind::Denied => FailureKind::Denied,
                AwsFailureKind::Busy => FailureKind::Busy,
                AwsFailureKind::Invalid => FailureKind::Invalid,
                AwsFailureKind::Unknown => FailureKind::Unknown,
            },
        };
        Self {
            kind,
            message: failure.message,
        }
    }
}
