//! What Glue's errors mean.

use std::error::Error;

use aws_sdk_glue::error::{ProvideErrorMetadata, SdkError};
use icepress_catalog::CatalogError;
use icepress_model::CatalogName;

/// A request that failed, sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// For people, with Glue's own words.
    pub(crate) message: String,
}

/// What is known of a request that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The `VersionId` was not the newest: not carried out.
    Stale,
    /// There is no such table or database: not carried out.
    NotFound,
    /// Access was refused: not carried out.
    Denied,
    /// Too many requests, or the table is busy: not carried out.
    Busy,
    /// Glue did not like it: not carried out.
    Invalid,
    /// A time-out, a 5xx, a lost answer: nobody knows.
    Unknown,
}

impl Failure {
    pub(crate) fn of<E, R>(error: &SdkError<E, R>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
        R: std::fmt::Debug + 'static,
    {
        let SdkError::ServiceError(service) = error else {
            let kind = match error {
                SdkError::ConstructionFailure(_) => FailureKind::Invalid,
                _ => FailureKind::Unknown,
            };
            return Self {
                kind,
                message: said(error),
            };
        };
        let code = service.err().code().unwrap_or_default();
        let message = service.err().message().unwrap_or_default();
        Self {
            kind: kind_of(code),
            message: format!("{code}: {message}")
                .trim_matches([':', ' '])
                .to_owned(),
        }
    }

    pub(crate) fn into_catalog_error(self, name: &CatalogName) -> CatalogError {
        let catalog = name.to_string();
        match self.kind {
            FailureKind::Denied => CatalogError::PermissionDenied {
                catalog,
                message: self.message,
            },
            _ => CatalogError::Unavailable {
                catalog,
                message: format!("Glue: {}", self.message),
                source: None,
            },
        }
    }
}

fn kind_of(code: &str) -> FailureKind {
    match code {
        "ConcurrentModificationException" => FailureKind::Stale,
        "EntityNotFoundException" => FailureKind::NotFound,
        "AccessDeniedException"
        | "AccessDenied"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "ExpiredTokenException"
        | "MissingAuthenticationTokenException"
        | "InvalidClientTokenId" => FailureKind::Denied,
        "ThrottlingException"
        | "Throttling"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "ResourceNotReadyException" => FailureKind::Busy,
        "InvalidInputException"
        | "ValidationException"
        | "GlueEncryptionException"
        | "AlreadyExistsException"
        | "ResourceNumberLimitExceededException"
        | "FederationSourceException"
        | "SerializationException" => FailureKind::Invalid,
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
