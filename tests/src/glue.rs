//! Glue on an emulator as a home for tables, with the commit lock, behind a proxy that loses requests and answers.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_glue::types::{DatabaseInput, TableInput};
use icepress_catalog::{Catalog, config::CatalogProperties};
use icepress_catalog_glue::GlueCatalog;
use icepress_model::{CatalogName, MetadataLocation, TableId, ambient::Ambient};
use icepress_storage::{
    LocalStorage, Storage,
    conformance::{
        emulator::{Emulator, EmulatorKind},
        proxy::Proxy,
    },
};

use crate::{FaultyStorage, Home, Lab, ShiftedClock};

const LOCKS: &str = "locks";

/// A running Glue with a lock table.
#[derive(Debug)]
pub struct EmulatedGlue {
    emulator: Emulator,
    client: aws_sdk_glue::Client,
    /// What Icepress's requests pass through.
    pub proxy: Proxy,
}

impl EmulatedGlue {
    /// Starts one; `None`, with a line printed, where there is no interpreter for it.
    pub async fn start() -> Option<Arc<Self>> {
        let emulator = Emulator::start(EmulatorKind::Moto)?;
        let config = emulator.config().await;
        let client = aws_sdk_glue::Client::new(&config);
        let database = DatabaseInput::builder().name("tests").build().unwrap();
        let request = client.create_database().database_input(database);
        request.send().await.unwrap();
        let key = KeySchemaElement::builder()
            .attribute_name("entityId")
            .key_type(KeyType::Hash);
        let attribute = AttributeDefinition::builder()
            .attribute_name("entityId")
            .attribute_type(ScalarAttributeType::S);
        aws_sdk_dynamodb::Client::new(&config)
            .create_table()
            .table_name(LOCKS)
            .billing_mode(BillingMode::PayPerRequest)
            .key_schema(key.build().unwrap())
            .attribute_definitions(attribute.build().unwrap())
            .send()
            .await
            .unwrap();
        let proxy = Proxy::start(emulator.endpoint()).await;
        Some(Arc::new(Self {
            emulator,
            client,
            proxy,
        }))
    }

    /// A laboratory whose tables are in this Glue. Others reach it directly, Icepress by the proxy.
    pub async fn lab(self: &Arc<Self>, seed: u64) -> Lab {
        let (ambient, clock) = ShiftedClock::ambient(seed);
        let storage = FaultyStorage::around(Arc::new(LocalStorage::new()));
        let direct = self.connect(self.emulator.endpoint(), &storage, &ambient);
        let home = Arc::new(GlueHome {
            glue: Arc::clone(self),
            catalog: direct.await,
        });
        let proxied = self.connect(self.proxy.endpoint(), &storage, &ambient);
        let catalog = proxied.await;
        let folder = tempfile::tempdir().unwrap();
        Lab::at(folder, (ambient, clock), storage, home, catalog).await
    }

    async fn connect(
        &self,
        endpoint: &str,
        storage: &Arc<FaultyStorage>,
        ambient: &Ambient,
    ) -> Arc<GlueCatalog> {
        let properties = [
            ("glue.endpoint", endpoint),
            ("dynamodb.endpoint", endpoint),
            (
                "lock-impl",
                "org.apache.iceberg.aws.dynamodb.DynamoDbLockManager",
            ),
            ("lock.table", LOCKS),
            ("lock.heartbeat-timeout-ms", "3000"),
        ];
        let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let properties = CatalogProperties::of(CatalogName::from("lab"), properties);
        let aws = self.emulator.environment().await;
        let storage = Arc::clone(storage) as Arc<dyn Storage>;
        let catalog = GlueCatalog::connect(&properties, &aws, storage, ambient.clone()).await;
        Arc::new(catalog.unwrap())
    }
}

#[derive(Debug)]
struct GlueHome {
    glue: Arc<EmulatedGlue>,
    catalog: Arc<GlueCatalog>,
}

#[async_trait]
impl Home for GlueHome {
    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog) as Arc<dyn Catalog>
    }

    async fn register(&self, table: &TableId, location: &MetadataLocation) {
        let input = TableInput::builder()
            .name(&table.name)
            .table_type("EXTERNAL_TABLE")
            .parameters("table_type", "ICEBERG")
            .parameters("metadata_location", location.as_str())
            .build()
            .unwrap();
        self.glue
            .client
            .create_table()
            .database_name("tests")
            .table_input(input)
            .send()
            .await
            .unwrap();
    }

    async fn unregister(&self, table: &TableId) {
        self.glue
            .client
            .delete_table()
            .database_name("tests")
            .name(&table.name)
            .send()
            .await
            .unwrap();
    }
}
