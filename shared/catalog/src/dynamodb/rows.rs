//! The rows of Iceberg's DynamoDB catalog, asked for and updated: one request each.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    Client,
    config::{Builder, retry::RetryConfig, timeout::TimeoutConfig},
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
use icepress_model::{CatalogName, MetadataLocation, TableId, TimestampMs};

use super::errors::{into_catalog_error, sorted};
use crate::{
    CatalogError,
    aws::{AwsFailure, AwsFailureKind},
    swap::Refusal,
};

pub(super) const IDENTIFIER: &str = "identifier";
pub(super) const NAMESPACE: &str = "namespace";
pub(super) const TABLE_TYPE: &str = "p.table_type";
pub(super) const METADATA_LOCATION: &str = "p.metadata_location";
const PREVIOUS_METADATA_LOCATION: &str = "p.previous_metadata_location";
const UPDATED_AT: &str = "updated_at";
const VERSION: &str = "v";

/// A row, or a key.
pub(super) type Row = HashMap<String, AttributeValue>;

/// The rows of one catalog.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) name: CatalogName,
    pub(super) client: Client,
    /// The DynamoDB table.
    pub(super) table: String,
}

/// A row's next state.
#[derive(Debug)]
pub(super) struct Move<'a> {
    pub(super) from: &'a MetadataLocation,
    pub(super) to: &'a MetadataLocation,
    /// What `v` is to be.
    pub(super) version: &'a str,
    pub(super) at: TimestampMs,
}

impl Rows {
    /// A table's row, read consistently.
    pub(super) async fn get(&self, table: &TableId) -> Result<Row, CatalogError> {
        let answer = self
            .client
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key(table)))
            .consistent_read(true)
            .send()
            .await
            .map_err(|error| self.failed(sorted(&error)))?;
        answer
            .item
            .ok_or_else(|| CatalogError::NoSuchTable(table.clone()))
    }

    /// One try to move a table's row, if it is as it was seen.
    pub(super) async fn move_to(
        &self,
        table: &TableId,
        seen: &Row,
        next: &Move<'_>,
        timeout: Duration,
    ) -> Result<(), Refusal<Row>> {
        let once = Builder::new()
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(timeout)
                    .operation_timeout(timeout)
                    .build(),
            );
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let mut update = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key(table)))
            .update_expression(
                "SET #location = :new, #previous = :old, #updated = :now, #v = :new_v",
            )
            .expression_attribute_names("#location", METADATA_LOCATION)
            .expression_attribute_names("#previous", PREVIOUS_METADATA_LOCATION)
            .expression_attribute_names("#updated", UPDATED_AT)
            .expression_attribute_names("#v", VERSION)
            .expression_attribute_values(":new", text(next.to.as_str()))
            .expression_attribute_values(":old", text(next.from.as_str()))
            .expression_attribute_values(":now", AttributeValue::N(next.at.get().to_string()))
            .expression_attribute_values(":new_v", text(next.version))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        update = match version(seen) {
            Some(version) => update
                .condition_expression("#location = :old AND #v = :v")
                .expression_attribute_values(":v", text(version)),
            // Written by hand, or by a client that knows no versions.
            None => update.condition_expression("#location = :old AND attribute_not_exists(#v)"),
        };
        let answer = update.customize().config_override(once).send().await;
        answer.map(drop).map_err(|error| {
            let mut failure = sorted(&error);
            let now = match error.into_service_error() {
                UpdateItemError::ConditionalCheckFailedException(error) => {
                    error.item.filter(|row| !row.is_empty())
                }
                _ => None,
            };
            // There is no row that the condition could hold for.
            if failure.kind == AwsFailureKind::Stale && now.is_none() {
                failure.kind = AwsFailureKind::NotFound;
            }
            Refusal { failure, now }
        })
    }

    pub(super) fn failed(&self, failure: AwsFailure) -> CatalogError {
        into_catalog_error(failure, &self.name, &self.table)
    }
}

pub(super) fn key(table: &TableId) -> Row {
    key_of(&table.name_in_catalog(), &table.namespace.to_string())
}

pub(super) fn key_of(identifier: &str, namespace: &str) -> Row {
    HashMap::from([
        (
            IDENTIFIER.to_owned(),
            AttributeValue::S(identifier.to_owned()),
        ),
        (
            NAMESPACE.to_owned(),
            AttributeValue::S(namespace.to_owned()),
        ),
    ])
}

pub(super) fn text<'a>(row: &'a Row, name: &str) -> Option<&'a str> {
    row.get(name)
        .and_then(|value| value.as_s().ok())
        .map(String::as_str)
}

/// What is new at every write.
pub(super) fn version(row: &Row) -> Option<&str> {
    text(row, VERSION)
}

/// Where an Iceberg table's metadata lies; `None` where the row is no Iceberg table.
pub(super) fn metadata_location(row: &Row) -> Option<MetadataLocation> {
    text(row, TABLE_TYPE).filter(|kind| kind.eq_ignore_ascii_case("iceberg"))?;
    text(row, METADATA_LOCATION).map(MetadataLocation::from)
}
