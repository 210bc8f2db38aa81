//! What failed requests to AWS mean for a commit, whichever service they went to.

use std::{error::Error, fmt::Debug};

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use icepress_model::{CatalogName, with_causes};

use crate::CatalogError;

/// A request to AWS that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsFailure {
    /// What is known of it.
    pub kind: AwsFailureKind,
    /// The service's own code, such as `ConcurrentModificationException`; empty where it gave no answer.
    pub code: String,
    /// For people, with the service's own words.
    pub message: String,
}

/// What is known of a request that failed, by what all services of AWS answer alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AwsFailureKind {
    /// Access was refused: not carried out.
    Denied,
    /// Too many requests: not carried out.
    Busy,
    /// It could not be made, or the service did not understand it: not carried out.
    Invalid,
    /// What it was compared with is no longer so: not carried out.
    Stale,
    /// What it was about is not there: not carried out.
    NotFound,
    /// A time-out, a 5xx, a lost answer, or a code that the service's own part has to judge: nobody knows.
    Unknown,
}

impl AwsFailure {
    /// Sorts an error of an SDK.
    pub fn of<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: Debug + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let code = service.err().code().unwrap_or_default();
                let message = service.err().message().unwrap_or_default();
                Self {
                    kind: kind_of(code),
                    code: code.to_owned(),
                    message: format!("{code}: {message}")
                        .trim_matches([':', ' '])
                        .to_owned(),
                }
            }
            SdkError::ConstructionFailure(_) => Self::invalid(error),
            _ => Self {
                kind: AwsFailureKind::Unknown,
                code: String::new(),
                message: with_causes(error),
            },
        }
    }

    /// The same, where the service's own part knows better what a code means.
    pub fn sorted(self, kind_of: impl FnOnce(&str) -> Option<AwsFailureKind>) -> Self {
        Self {
            kind: kind_of(&self.code).unwrap_or(self.kind),
            ..self
        }
    }

    /// A request that is not sent, for a reason of ours.
    pub fn not_sent(message: &str) -> Self {
        Self {
            kind: AwsFailureKind::Invalid,
            code: String::new(),
            message: message.to_owned(),
        }
    }

    /// The same for whoever asked a catalog; `what` is what was asked.
    pub fn into_catalog_error(self, catalog: &CatalogName, what: &str) -> CatalogError {
        let catalog = catalog.to_string();
        let message = format!("{what}: {}", self.message);
        match self.kind {
            AwsFailureKind::Denied => CatalogError::PermissionDenied { catalog, message },
            AwsFailureKind::Busy => CatalogError::Throttled { catalog, message },
            _ => CatalogError::Unavailable {
                catalog,
                message,
                source: None,
            },
        }
    }

    /// A request that could not even be made.
    pub fn invalid(error: &(dyn Error + 'static)) -> Self {
        Self {
            kind: AwsFailureKind::Invalid,
            code: String::new(),
            message: with_causes(error),
        }
    }
}

/// Codes: *Common error types* of the services' API references.
fn kind_of(code: &str) -> AwsFailureKind {
    match code {
        "AccessDeniedException"
        | "AccessDenied"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "ExpiredTokenException"
        | "MissingAuthenticationTokenException"
        | "InvalidClientTokenId" => AwsFailureKind::Denied,
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "ProvisionedThroughputExceededException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded" => AwsFailureKind::Busy,
        "ValidationException" | "SerializationException" => AwsFailureKind::Invalid,
        _ => AwsFailureKind::Unknown,
    }
}
