//! Making the state table, for tests and for local use. In an account `infra/` makes it, with the same keys.

use std::time::Duration;

use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType,
        Projection, ProjectionType, ScalarAttributeType, TableStatus, TimeToLiveSpecification,
    },
};
use icepress_model::ambient::Ambient;

use super::{DynamoStore, Result, tables::DUE_INDEX};
use crate::CoordinationError;

fn attribute(name: &str, kind: ScalarAttributeType) -> AttributeDefinition {
    AttributeDefinition::builder()
        .attribute_name(name)
        .attribute_type(kind)
        .build()
        .expect("name and type are set")
}

fn key(name: &str, kind: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder()
        .attribute_name(name)
        .key_type(kind)
        .build()
        .expect("name and type are set")
}

/// Makes the state table unless it is there, billed on demand, and returns once it can be used.
pub async fn create_state_table(client: &Client, name: &str, ambient: &Ambient) -> Result<()> {
    let store = DynamoStore::new(client.clone(), name, ambient.clone());
    let due = GlobalSecondaryIndex::builder()
        .index_name(DUE_INDEX)
        .key_schema(key("due_bucket", KeyType::Hash))
        .key_schema(key("due_at", KeyType::Range))
        .projection(
            Projection::builder()
                .projection_type(ProjectionType::All)
                .build(),
        )
        .build()
        .expect("name and keys are set");
    let created = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("pk", ScalarAttributeType::S))
        .attribute_definitions(attribute("sk", ScalarAttributeType::S))
        .attribute_definitions(attribute("due_bucket", ScalarAttributeType::S))
        .attribute_definitions(attribute("due_at", ScalarAttributeType::N))
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .global_secondary_indexes(due)
        .send()
        .await;
    if let Err(error) = created {
        let there = error
            .as_service_error()
            .is_some_and(|error| error.is_resource_in_use_exception());
        if !there {
            return Err(store.failed("the state table could not be made", error));
        }
        return wait_until_active(&store, client, name, ambient).await;
    }
    wait_until_active(&store, client, name, ambient).await?;
    let ttl = TimeToLiveSpecification::builder()
        .attribute_name("ttl")
        .enabled(true)
        .build()
        .expect("name and switch are set");
    client
        .update_time_to_live()
        .table_name(name)
        .time_to_live_specification(ttl)
        .send()
        .await
        .map_err(|error| store.failed("rows could not be given a time to live", error))?;
    Ok(())
}

async fn wait_until_active(
    store: &DynamoStore,
    client: &Client,
    name: &str,
    ambient: &Ambient,
) -> Result<()> {
    for _ in 0..120 {
        let table = client
            .describe_table()
            .table_name(name)
            .send()
            .await
            .map_err(|error| store.failed("the state table could not be looked at", error))?
            .table;
        let status = table.and_then(|table| table.table_status);
        if status == Some(TableStatus::Active) {
            return Ok(());
        }
        ambient.clock.sleep(Duration::from_secs(1)).await;
    }
    Err(CoordinationError::Unavailable {
        store: "DynamoDB".to_owned(),
        message: format!("table '{name}' is still being made after two minutes"),
        source: None,
    })
}
