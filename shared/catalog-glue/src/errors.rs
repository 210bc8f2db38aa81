//! What Glue's errors mean.

use std::error::Error;

use aws_sdk_glue::error::{ProvideErrorMetadata, SdkError};
use icepress_catalog::{
    CatalogError,
    aws::{AwsFailure, AwsFailureKind},
};
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
        AwsFailure::of(error).into()
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

impl From<AwsFailure> for Failure {
    fn from(failure: AwsFailure) -> Self {
        let kind = match failure.code.as_str() {
            "ConcurrentModificationException" => FailureKind::Stale,
            "EntityNotFoundException" => FailureKind::NotFound,
            "ResourceNotReadyException" => FailureKind::Busy,
            "InvalidInputException"
            | "GlueEncryptionException"
            | "AlreadyExistsException"
            | "ResourceNumberLimitExceededException"
            | "FederationSourceException" => FailureKind::Invalid,
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
