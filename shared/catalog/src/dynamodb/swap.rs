//! The swap of a table's metadata location: one conditional `UpdateItem`, and finding out what became of it.
//!
//! The condition is Java's, `v` unchanged, and the old location besides, since not every client renews `v`. Tried again
//! after a lost answer, with the same new `v`, it takes effect once at most; and the row that a failed condition shows
//! tells by its `v` whether an earlier try is in.

use std::time::Duration;

use aws_sdk_dynamodb::{
    config::{Builder, retry::RetryConfig, timeout::TimeoutConfig},
    operation::update_item::UpdateItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};

use super::{
    DynamoDbCatalog, METADATA_LOCATION, Row,
    errors::{Failure, FailureKind},
    key, metadata_location, text,
};
use crate::{
    CatalogError, CommitError, LoadedTable,
    metadata::{StagedMetadata, outcome_by_looking},
};

const PREVIOUS_METADATA_LOCATION: &str = "p.previous_metadata_location";
const UPDATED_AT: &str = "updated_at";
const VERSION: &str = "v";

/// Tries of `UpdateItem`.
const ATTEMPTS: u32 = 4;
/// How long one try may take.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest wait before the second try; doubles from try to try.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// One swap.
#[derive(Debug)]
pub(super) struct Swap<'a> {
    pub(super) catalog: &'a DynamoDbCatalog,
    pub(super) base: &'a LoadedTable,
    pub(super) staged: &'a StagedMetadata,
}

/// A try that failed.
struct Failed {
    failure: Failure,
    /// The row as it was, where the condition did not hold and there is one.
    row: Option<Row>,
}

impl Swap<'_> {
    /// Points the row to the staged metadata if it still points to the base's.
    pub(super) async fn run(&self) -> Result<(), CommitError> {
        let table = &self.base.table;
        let row = match self.catalog.row(table).await {
            Ok(row) => row,
            Err(CatalogError::NoSuchTable(table)) => return Err(CommitError::NoSuchTable(table)),
            Err(error) => return Err(CommitError::Refused(error)),
        };
        match metadata_location(&row) {
            Some(location) if location == self.base.metadata_location => {}
            Some(_) => return Err(CommitError::Conflict(table.clone())),
            None => {
                return Err(CommitError::Refused(CatalogError::NotIceberg(
                    table.clone(),
                )));
            }
        }
        let version = text(&row, VERSION);
        let new_version = self.catalog.ambient.uuid().to_string();

        let mut may_be_in = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let Failed { failure, row } = match self.update(version, &new_version).await {
                Ok(()) => return Ok(()),
                Err(failed) => failed,
            };
            may_be_in |= failure.kind == FailureKind::Unknown;
            let is_worth_it = matches!(failure.kind, FailureKind::Unknown | FailureKind::Busy);
            if is_worth_it && attempt < ATTEMPTS {
                let longest = FIRST_BACKOFF.saturating_mul(1 << attempt);
                let ambient = &self.catalog.ambient;
                ambient.clock.sleep(ambient.jitter(longest)).await;
                continue;
            }
            return match failure.kind {
                FailureKind::Condition => match row {
                    Some(row) if text(&row, VERSION) == Some(&new_version) => Ok(()),
                    row if may_be_in => {
                        let row = row.ok_or_else(|| CatalogError::NoSuchTable(table.clone()));
                        self.judge(row, &failure.message).await
                    }
                    None => Err(CommitError::NoSuchTable(table.clone())),
                    Some(_) => Err(CommitError::Conflict(table.clone())),
                },
                _ if may_be_in => self.look(&new_version, &failure.message).await,
                _ => Err(CommitError::Refused(self.catalog.failed(failure))),
            };
        }
    }

    async fn update(&self, version: Option<&str>, new_version: &str) -> Result<(), Failed> {
        let catalog = self.catalog;
        let once = Builder::new()
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_timeout(ATTEMPT_TIMEOUT)
                    .build(),
            );
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let now = catalog.ambient.now().get().to_string();
        let mut update = catalog
            .client
            .update_item()
            .table_name(&catalog.rows)
            .set_key(Some(key(&self.base.table)))
            .update_expression(
                "SET #location = :new, #previous = :old, #updated = :now, #v = :new_v",
            )
            .expression_attribute_names("#location", METADATA_LOCATION)
            .expression_attribute_names("#previous", PREVIOUS_METADATA_LOCATION)
            .expression_attribute_names("#updated", UPDATED_AT)
            .expression_attribute_names("#v", VERSION)
            .expression_attribute_values(":new", text(self.staged.location.as_str()))
            .expression_attribute_values(":old", text(self.base.metadata_location.as_str()))
            .expression_attribute_values(":now", AttributeValue::N(now))
            .expression_attribute_values(":new_v", text(new_version))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        update = match version {
            Some(version) => update
                .condition_expression("#location = :old AND #v = :v")
                .expression_attribute_values(":v", text(version)),
            // Written by hand, or by a client that knows no versions.
            None => update.condition_expression("#location = :old AND attribute_not_exists(#v)"),
        };
        let answer = update.customize().config_override(once).send().await;
        answer.map(drop).map_err(|error| Failed {
            failure: Failure::of(&error),
            row: match error.into_service_error() {
                UpdateItemError::ConditionalCheckFailedException(error) => {
                    error.item.filter(|row| !row.is_empty())
                }
                _ => None,
            },
        })
    }

    /// Whether our commit is in, after a try of which nobody knows.
    async fn look(&self, new_version: &str, message: &str) -> Result<(), CommitError> {
        match self.catalog.row(&self.base.table).await {
            Ok(row) if text(&row, VERSION) == Some(new_version) => Ok(()),
            row => self.judge(row, message).await,
        }
    }

    async fn judge(
        &self,
        row: Result<Row, CatalogError>,
        message: &str,
    ) -> Result<(), CommitError> {
        let now = row.and_then(|row| {
            let not_iceberg = || CatalogError::NotIceberg(self.base.table.clone());
            metadata_location(&row).ok_or_else(not_iceberg)
        });
        outcome_by_looking(&*self.catalog.storage, self.base, self.staged, now, message).await
    }
}
