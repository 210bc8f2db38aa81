//! What DynamoDB's errors mean for the catalog.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use icepress_model::CatalogName;

use crate::CatalogError;

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
        match error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or_default();
                let message = service.err().message().unwrap_or_default();
                Self {
                    kind: kind_of(code),
                    message: format!("{code}: {message}")
                        .trim_matches([':', ' '])
                        .to_owned(),
                }
            }
            SdkError::ConstructionFailure(_) => Self::invalid(error),
            _ => Self {
                kind: FailureKind::Unknown,
                message: said(error),
            },
        }
    }

    /// A request that could not even be made.
    pub(super) fn invalid(error: &(dyn Error + 'static)) -> Self {
        Self {
            kind: FailureKind::Invalid,
            message: said(error),
        }
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

fn kind_of(code: &str) -> FailureKind {
    match code {
        "ConditionalCheckFailedException" => FailureKind::Condition,
        "ResourceNotFoundException" => FailureKind::NoTable,
        "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "ExpiredTokenException"
        | "MissingAuthenticationTokenException"
        | "InvalidClientTokenId" => FailureKind::Denied,
        "ProvisionedThroughputExceededException"
        | "RequestLimitExceeded"
        | "ThrottlingException"
        | "TransactionConflictException" => FailureKind::Busy,
        "ValidationException"
        | "SerializationException"
        | "ItemCollectionSizeLimitExceededException"
        | "ReplicatedWriteConflictException" => FailureKind::Invalid,
        _ => FailureKind::Unknown,
    }
}

/// An error and its causes in one line.
fn said(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.ends_with(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
