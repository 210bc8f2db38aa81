//! What DynamoDB's errors mean for the catalog.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use icepress_model::CatalogName;

use crate::{
    CatalogError,
    aws::{AwsFailure, AwsFailureKind},
};

/// There is no such DynamoDB table.
const NO_TABLE: &str = "ResourceNotFoundException";

/// A request that failed, with the codes that are DynamoDB's own sorted.
pub(super) fn sorted<E, R>(error: &SdkError<E, R>) -> AwsFailure
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    AwsFailure::of(error).sorted(|code| {
        Some(match code {
            // The condition did not hold.
            "ConditionalCheckFailedException" => AwsFailureKind::Stale,
            "ProvisionedThroughputExceededException" | "TransactionConflictException" => {
                AwsFailureKind::Busy
            }
            NO_TABLE
            | "ItemCollectionSizeLimitExceededException"
            | "ReplicatedWriteConflictException" => AwsFailureKind::Invalid,
            _ => return None,
        })
    })
}

pub(super) fn into_catalog_error(
    failure: AwsFailure,
    name: &CatalogName,
    table: &str,
) -> CatalogError {
    if failure.code == NO_TABLE {
        return CatalogError::Configuration {
            catalog: name.to_string(),
            message: format!(
                "there is no DynamoDB table '{table}': name the catalog's table with dynamodb.table-name, and look at \
                 its region and account"
            ),
        };
    }
    failure.into_catalog_error(name, &format!("DynamoDB table {table}"))
}
