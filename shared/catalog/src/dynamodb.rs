//! Iceberg's own catalog on DynamoDB: the table that Java's `DynamoDbCatalog` keeps and PyIceberg reads.
//!
//! A row a table: hash key `identifier` (`namespace.table`), range key `namespace`, its properties flattened as `p.…`, and
//! `v`, a UUID that is new at every write. Namespaces are rows under the identifier `NAMESPACE`. An index by namespace
//! has the keys alone, so a listing asks for the rows in batches. The commit is in `swap`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    config::{Builder, Region, retry::RetryConfig},
    types::{AttributeValue, KeysAndAttributes},
};
use icepress_model::{
    CatalogName, DatabaseId, MetadataLocation, Namespace, TableId, ambient::Ambient,
};
use icepress_storage::{AwsEnvironment, Storage};

use crate::{
    Catalog, CatalogError, CommitError, ListedTable, LoadedTable, TableChange, TablePage,
    aws::AwsFailure,
    config::CatalogProperties,
    metadata::{load_at, stage_metadata},
    swap::swap,
};

mod errors;
mod rows;
mod swap;

use errors::sorted;
use rows::{
    IDENTIFIER, METADATA_LOCATION, NAMESPACE, Row, Rows, TABLE_TYPE, key_of, metadata_location,
    text,
};
use swap::RowPointer;

/// The identifier of the rows that are namespaces.
const NAMESPACE_ROWS: &str = "NAMESPACE";
/// The index by namespace.
const INDEX: &str = "namespace-identifier";

/// The table's name, unless `dynamodb.table-name` (Java) or `table-name` (PyIceberg) says another.
const TABLE: &str = "iceberg";
/// Tables in a page of a listing: as many rows as one request can ask for.
const PAGE: i32 = 100;
/// Tries of one request by the SDK. The commit is tried by `swap` instead.
const ATTEMPTS: u32 = 6;
/// The longest wait before the second try; doubles from try to try.
const FIRST_BACKOFF: Duration = Duration::from_millis(100);

/// A catalog in a DynamoDB table.
#[derive(Debug)]
pub struct DynamoDbCatalog {
    rows: Rows,
    storage: Arc<dyn Storage>,
    ambient: Ambient,
}

impl DynamoDbCatalog {
    /// The catalog that the properties name (`dynamodb.table-name`, `dynamodb.endpoint`, `dynamodb.region`,
    /// `client.region`), with the credentials of `aws`. Sends nothing.
    pub async fn connect(
        properties: &CatalogProperties,
        aws: &AwsEnvironment,
        storage: Arc<dyn Storage>,
        ambient: Ambient,
    ) -> Self {
        let mut builder = Builder::from(aws.config().await)
            .interceptor(aws.ledger().clone())
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_initial_backoff(FIRST_BACKOFF),
            );
        if let Some(endpoint) = properties.get("dynamodb.endpoint") {
            builder = builder.endpoint_url(endpoint);
        }
        if let Some(region) = properties.first(&["dynamodb.region", "client.region"]) {
            builder = builder.region(Region::new(region));
        }
        Self {
            rows: Rows {
                name: properties.name().clone(),
                client: Client::from_conf(builder.build()),
                table: properties
                    .first(&["dynamodb.table-name", "table-name"])
                    .unwrap_or_else(|| TABLE.to_owned()),
            },
            storage,
            ambient,
        }
    }

    /// Where the tables of these rows lie; those that are gone or no Iceberg tables are left out.
    async fn locations(
        &self,
        mut keys: Vec<Row>,
    ) -> Result<HashMap<String, MetadataLocation>, CatalogError> {
        let mut found = HashMap::new();
        let mut attempt = 0;
        while !keys.is_empty() {
            let wanted = KeysAndAttributes::builder()
                .set_keys(Some(keys))
                .consistent_read(true)
                .projection_expression("#identifier, #type, #location")
                .expression_attribute_names("#identifier", IDENTIFIER)
                .expression_attribute_names("#type", TABLE_TYPE)
                .expression_attribute_names("#location", METADATA_LOCATION)
                .build();
            let wanted = wanted.map_err(|error| self.rows.failed(AwsFailure::invalid(&error)))?;
            let answer = self
                .rows
                .client
                .batch_get_item()
                .request_items(&self.rows.table, wanted)
                .send()
                .await
                .map_err(|error| self.rows.failed(sorted(&error)))?;
            let rows = answer
                .responses
                .unwrap_or_default()
                .remove(&self.rows.table);
            for row in rows.unwrap_or_default() {
                if let (Some(identifier), Some(location)) =
                    (text(&row, IDENTIFIER), metadata_location(&row))
                {
                    found.insert(identifier.to_owned(), location);
                }
            }
            // What DynamoDB did not get to.
            let left = answer
                .unprocessed_keys
                .unwrap_or_default()
                .remove(&self.rows.table);
            keys = left.map(|left| left.keys).unwrap_or_default();
            if !keys.is_empty() {
                attempt += 1;
                let longest = FIRST_BACKOFF.saturating_mul(1 << attempt.min(6));
                self.ambient.clock.sleep(self.ambient.jitter(longest)).await;
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl Catalog for DynamoDbCatalog {
    fn name(&self) -> &CatalogName {
        &self.rows.name
    }

    async fn list_namespaces(&self) -> Result<Vec<Namespace>, CatalogError> {
        let mut namespaces = Vec::new();
        let mut last = None;
        loop {
            let page = self
                .rows
                .client
                .query()
                .table_name(&self.rows.table)
                .consistent_read(true)
                .key_condition_expression("#identifier = :namespaces")
                .projection_expression("#namespace")
                .expression_attribute_names("#identifier", IDENTIFIER)
                .expression_attribute_names("#namespace", NAMESPACE)
                .expression_attribute_values(
                    ":namespaces",
                    AttributeValue::S(NAMESPACE_ROWS.to_owned()),
                )
                .set_exclusive_start_key(last)
                .send()
                .await
                .map_err(|error| self.rows.failed(sorted(&error)))?;
            let rows = page.items.unwrap_or_default();
            namespaces.extend(
                rows.iter()
                    .filter_map(|row| text(row, NAMESPACE).map(Namespace::from_dotted)),
            );
            last = page.last_evaluated_key.filter(|key| !key.is_empty());
            if last.is_none() {
                return Ok(namespaces);
            }
        }
    }

    async fn list_tables(
        &self,
        database: &DatabaseId,
        next: Option<&str>,
    ) -> Result<TablePage, CatalogError> {
        let namespace = database.namespace.to_string();
        let page = self
            .rows
            .client
            .query()
            .table_name(&self.rows.table)
            .index_name(INDEX)
            .key_condition_expression("#namespace = :namespace")
            .expression_attribute_names("#namespace", NAMESPACE)
            .expression_attribute_values(":namespace", AttributeValue::S(namespace.clone()))
            .set_exclusive_start_key(next.map(|identifier| key_of(identifier, &namespace)))
            .limit(PAGE)
            .send()
            .await
            .map_err(|error| self.rows.failed(sorted(&error)))?;
        let identifiers: Vec<String> = page
            .items
            .unwrap_or_default()
            .iter()
            .filter_map(|row| text(row, IDENTIFIER))
            .filter(|identifier| *identifier != NAMESPACE_ROWS)
            .map(str::to_owned)
            .collect();
        let keys = identifiers
            .iter()
            .map(|identifier| key_of(identifier, &namespace))
            .collect();
        let mut locations = self.locations(keys).await?;
        let prefix = format!("{namespace}.");
        let tables = identifiers
            .into_iter()
            .filter_map(|identifier| {
                let location = locations.remove(&identifier)?;
                Some(ListedTable {
                    table: TableId {
                        catalog: self.rows.name.clone(),
                        namespace: database.namespace.clone(),
                        name: identifier.strip_prefix(&prefix)?.to_owned(),
                    },
                    metadata_location: Some(location),
                })
            })
            .collect();
        Ok(TablePage {
            tables,
            next: page
                .last_evaluated_key
                .as_ref()
                .and_then(|key| text(key, IDENTIFIER))
                .map(str::to_owned),
        })
    }

    async fn load(&self, table: &TableId) -> Result<LoadedTable, CatalogError> {
        let row = self.rows.get(table).await?;
        let metadata_location =
            metadata_location(&row).ok_or_else(|| CatalogError::NotIceberg(table.clone()))?;
        load_at(&*self.storage, table, metadata_location).await
    }

    async fn commit(
        &self,
        base: &LoadedTable,
        change: TableChange,
    ) -> Result<LoadedTable, CommitError> {
        let staged = stage_metadata(&*self.storage, &self.ambient, base, change).await?;
        let pointer = RowPointer {
            rows: &self.rows,
            base,
            staged: &staged,
            new_version: self.ambient.uuid().to_string(),
            at: self.ambient.now(),
        };
        let swapped = swap(&pointer, base, &staged, &*self.storage, &self.ambient).await;
        staged.settle(&*self.storage, base, swapped).await
    }
}

#[cfg(test)]
mod tests;
