//! A table's entry in Glue, asked for and updated: one request each.

use std::time::Duration;

use aws_sdk_glue::{
    Client,
    config::{Builder, retry::RetryConfig, timeout::TimeoutConfig},
    types::Table,
};
use icepress_catalog::{
    CatalogError,
    aws::{AwsFailure, AwsFailureKind},
};
use icepress_model::{CatalogName, MetadataLocation, Namespace, TableId};

use crate::{
    entry::{metadata_location, moved},
    errors::{into_catalog_error, sorted},
};

/// Versions in a page of a listing.
const VERSIONS: i32 = 100;

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

/// What Glue keeps of a table's entry as it once was.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) number: u64,
    pub(crate) metadata_location: MetadataLocation,
}

impl Entries {
    /// The versions that Glue has of a table's entry, the present one among them, as far as they are of an Iceberg table.
    pub(crate) async fn versions(&self, table: &TableId) -> Result<Vec<Version>, CatalogError> {
        let mut pages = self
            .client
            .get_table_versions()
            .set_catalog_id(self.catalog_id.clone())
            .set_database_name(database_name(&table.namespace).map(str::to_owned))
            .table_name(&table.name)
            .max_results(VERSIONS)
            .into_paginator()
            .send();
        let mut versions = Vec::new();
        while let Some(page) = pages.next().await {
            let page =
                page.map_err(|error| into_catalog_error(sorted(&error), &self.name, Some(table)))?;
            let found = page.table_versions.unwrap_or_default().into_iter();
            versions.extend(found.filter_map(|version| {
                Some(Version {
                    number: version.version_id?.parse().ok()?,
                    metadata_location: metadata_location(&version.table?)?,
                })
            }));
        }
        Ok(versions)
    }

    /// Takes versions of a table's entry away, each by a request of its own: of a batch no emulator knows. Returns how many were
    /// still there.
    pub(crate) async fn forget(
        &self,
        table: &TableId,
        versions: &[Version],
    ) -> Result<u64, CatalogError> {
        let mut forgotten = 0;
        for version in versions {
            let answer = self
                .client
                .delete_table_version()
                .set_catalog_id(self.catalog_id.clone())
                .set_database_name(database_name(&table.namespace).map(str::to_owned))
                .table_name(&table.name)
                .version_id(version.number.to_string())
                .send()
                .await;
            match answer {
                Ok(_) => forgotten += 1,
                Err(error) => {
                    let failure = sorted(&error);
                    if failure.kind != AwsFailureKind::NotFound {
                        return Err(into_catalog_error(failure, &self.name, Some(table)));
                    }
                }
            }
        }
        Ok(forgotten)
    }
}

/// Glue's databases have one level.
pub(crate) fn database_name(namespace: &Namespace) -> Option<&str> {
    match namespace.0.as_slice() {
        [name] => Some(name),
        _ => None,
    }
}
