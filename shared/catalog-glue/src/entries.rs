//! A table's entry in Glue, asked for and updated: one request each.

use std::time::Duration;

use aws_sdk_glue::{
    Client,
    config::{Builder, retry::RetryConfig, timeout::TimeoutConfig},
    types::Table,
};
use icepress_catalog::{CatalogError, aws::AwsFailure};
use icepress_model::{CatalogName, MetadataLocation, Namespace, TableId};

use crate::{
    entry::moved,
    errors::{into_catalog_error, sorted},
};

/// The entries of one Glue Data Catalog.
#[derive(Debug)]
pub(crate) struct Entries {
    pub(crate) name: CatalogName,
    pub(crate) client: Client,
    /// The account whose catalog it is; `None` for the caller's own.
    pub(crate) catalog_id: Option<String>,
}

impl Entries {
    /// The entry of a table as Glue has it.
    pub(crate) async fn get(&self, table: &TableId) -> Result<Table, CatalogError> {
        let missing = || CatalogError::NoSuchTable(table.clone());
        let database = database_name(&table.namespace).ok_or_else(missing)?;
        let answer = self
            .client
            .get_table()
            .set_catalog_id(self.catalog_id.clone())
            .database_name(database)
            .name(&table.name)
            .send()
            .await
            .map_err(|error| into_catalog_error(sorted(&error), &self.name, Some(table)))?;
        answer.table.ok_or_else(missing)
    }

    /// One try to move a table's entry, if it is of the version that it was seen in, from one metadata file to the next.
    pub(crate) async fn move_to(
        &self,
        table: &TableId,
        seen: &Table,
        from: &MetadataLocation,
        to: &MetadataLocation,
        timeout: Duration,
    ) -> Result<(), AwsFailure> {
        let version = seen.version_id.as_deref().ok_or_else(|| {
            AwsFailure::not_sent(
                "Glue gave no VersionId for the table, so a commit could not be compared",
            )
        })?;
        let input = moved(seen.clone(), from, to).map_err(|error| AwsFailure::invalid(&error))?;
        let once = Builder::new()
            .retry_config(RetryConfig::disabled())
            .timeout_config(
                TimeoutConfig::builder()
                    .operation_attempt_timeout(timeout)
                    .operation_timeout(timeout)
                    .build(),
            );
        self.client
            .update_table()
            .set_catalog_id(self.catalog_id.clone())
            .set_database_name(database_name(&table.namespace).map(str::to_owned))
            .table_input(input)
            .version_id(version)
            .skip_archive(true)
            .customize()
            .config_override(once)
            .send()
            .await
            .map(drop)
            .map_err(|error| sorted(&error))
    }
}

/// Glue's databases have one level.
pub(crate) fn database_name(namespace: &Namespace) -> Option<&str> {
    match namespace.0.as_slice() {
        [name] => Some(name),
        _ => None,
    }
}
