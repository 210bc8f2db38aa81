//! What Glue's errors mean.

use std::error::Error;

use aws_sdk_glue::error::{ProvideErrorMetadata, SdkError};
use icepress_catalog::{
    CatalogError,
    aws::{AwsFailure, AwsFailureKind},
};
use icepress_model::{CatalogName, TableId};

/// A request that failed, with the codes that are Glue's own sorted.
pub(crate) fn sorted<E, R>(error: &SdkError<E, R>) -> AwsFailure
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    AwsFailure::of(error).sorted(|code| {
        Some(match code {
            // The `VersionId` was not the newest.
            "ConcurrentModificationException" => AwsFailureKind::Stale,
            "EntityNotFoundException" => AwsFailureKind::NotFound,
            "ResourceNotReadyException" => AwsFailureKind::Busy,
            "InvalidInputException"
            | "GlueEncryptionException"
            | "AlreadyExistsException"
            | "ResourceNumberLimitExceededException"
            | "FederationSourceException" => AwsFailureKind::Invalid,
            _ => return None,
        })
    })
}

/// The same for whoever asked, about a table where it was about one.
pub(crate) fn into_catalog_error(
    failure: AwsFailure,
    name: &CatalogName,
    table: Option<&TableId>,
) -> CatalogError {
    match (failure.kind, table) {
        (AwsFailureKind::NotFound, Some(table)) => CatalogError::NoSuchTable(table.clone()),
        _ => failure.into_catalog_error(name, "Glue"),
    }
}
