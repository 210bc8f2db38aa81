use std::{collections::BTreeMap, path::Path, sync::Arc};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    types::{
        AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement,
        KeyType, Projection, ProjectionType, ScalarAttributeType,
    },
};
use iceberg::{TableCreation, TableUpdate, spec::Schema};
use icepress_model::{
    CatalogName, DatabaseId, MetadataLocation, Namespace, TableId, ambient::Ambient,
};
use icepress_storage::{
    LocalStorage, Storage,
    conformance::{
        emulator::{Emulator, EmulatorKind, python},
        proxy::{Mishap, Proxy},
    },
};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::{
    DynamoDbCatalog, INDEX,
    rows::{IDENTIFIER, NAMESPACE, key, key_of, text},
};
use crate::{
    Catalog, CatalogError, CommitError, LoadedTable, TableChange,
    config::CatalogProperties,
    conformance::{self, Bench as _, Forbidden, Lost, Meaningless},
    metadata::stage_new_table,
};

const DATABASE: &str = "conformance";
const UPDATE: &str = "UpdateItem";

/// An emulated DynamoDB with Java's table in it, whose Iceberg tables lie in a local folder. The catalog reaches it over a
/// proxy, others don't.
struct DynamoBench {
    emulator: Emulator,
    proxy: Proxy,
    client: Client,
    catalog: Arc<DynamoDbCatalog>,
    folder: TempDir,
}

/// The table as Java's `DynamoDbCatalog` makes it.
async fn create_table(client: &Client, name: &str) {
    let key = |name: &str, kind: KeyType| {
        KeySchemaElement::builder()
            .attribute_name(name)
            .key_type(kind)
            .build()
            .unwrap()
    };
    let attribute = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .unwrap()
    };
    let keys_only = Projection::builder()
        .projection_type(ProjectionType::KeysOnly)
        .build();
    let index = GlobalSecondaryIndex::builder()
        .index_name(INDEX)
        .key_schema(key(NAMESPACE, KeyType::Hash))
        .key_schema(key(IDENTIFIER, KeyType::Range))
        .projection(keys_only)
        .build()
        .unwrap();
    client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key(IDENTIFIER, KeyType::Hash))
        .key_schema(key(NAMESPACE, KeyType::Range))
        .attribute_definitions(attribute(IDENTIFIER))
        .attribute_definitions(attribute(NAMESPACE))
        .global_secondary_indexes(index)
        .send()
        .await
        .unwrap();
}

async fn connect(emulator: &Emulator, properties: &[(&str, &str)]) -> Arc<DynamoDbCatalog> {
    let properties = properties
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let properties = CatalogProperties::of(CatalogName::from("c"), properties);
    let storage = Arc::new(LocalStorage::new());
    let aws = emulator.environment().await;
    Arc::new(DynamoDbCatalog::connect(&properties, &aws, storage, Ambient::system()).await)
}

impl DynamoBench {
    async fn start(kind: EmulatorKind) -> Option<Self> {
        let emulator = Emulator::start(kind)?;
        let client = Client::new(&emulator.config().await);
        create_table(&client, "lake").await;
        let proxy = Proxy::start(emulator.endpoint()).await;
        let properties = [
            ("dynamodb.endpoint", proxy.endpoint()),
            ("dynamodb.table-name", "lake"),
        ];
        let catalog = connect(&emulator, &properties).await;
        let bench = Self {
            emulator,
            proxy,
            client,
            catalog,
            folder: tempfile::tempdir().unwrap(),
        };
        bench
            .put("NAMESPACE", &[("p.default_location", "/nowhere")])
            .await;
        Some(bench)
    }

    async fn put(&self, identifier: &str, values: &[(&str, &str)]) {
        let mut row = key_of(identifier, DATABASE);
        for (name, value) in values {
            row.insert((*name).to_owned(), AttributeValue::S((*value).to_owned()));
        }
        let version = Ambient::system().uuid().to_string();
        row.insert("v".to_owned(), AttributeValue::S(version));
        row.insert("created_at".to_owned(), AttributeValue::N("1".to_owned()));
        row.insert("updated_at".to_owned(), AttributeValue::N("1".to_owned()));
        self.client
            .put_item()
            .table_name("lake")
            .set_item(Some(row))
            .send()
            .await
            .unwrap();
    }

    async fn new_table(&self, name: &str) -> LoadedTable {
        let table = TableId {
            catalog: CatalogName::from("c"),
            namespace: Namespace::from_dotted(DATABASE),
            name: name.to_owned(),
        };
        let creation = TableCreation::builder()
            .name(name.to_owned())
            .location(format!("{}/{name}", self.warehouse()))
            .schema(Schema::builder().build().unwrap())
            .build();
        let staged = stage_new_table(&LocalStorage::new(), &Ambient::system(), &table, creation)
            .await
            .unwrap();
        self.register(&table, &staged.location).await;
        self.catalog.load(&table).await.unwrap()
    }

    fn metadata_files(&self, name: &str) -> usize {
        std::fs::read_dir(self.folder.path().join(name).join("metadata"))
            .unwrap()
            .count()
    }

    /// The same catalog without a proxy: nothing of it gets lost or refused.
    async fn direct(&self) -> Arc<DynamoDbCatalog> {
        connect(&self.emulator, &[("dynamodb.table-name", "lake")]).await
    }
}

fn change(key: &str) -> TableChange {
    TableChange {
        requirements: Vec::new(),
        updates: vec![TableUpdate::SetProperties {
            updates: [(key.to_owned(), "x".to_owned())].into(),
        }],
    }
}

#[async_trait]
impl conformance::Bench for DynamoBench {
    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog) as Arc<dyn Catalog>
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(LocalStorage::new())
    }

    fn warehouse(&self) -> String {
        self.folder.path().display().to_string()
    }

    async fn register(&self, table: &TableId, location: &MetadataLocation) {
        self.put(
            &table.name_in_catalog(),
            &[
                ("p.table_type", "ICEBERG"),
                ("p.metadata_location", location.as_str()),
                ("p.theirs", "kept"),
                ("another", "ü"),
            ],
        )
        .await;
    }

    async fn point_to(&self, table: &TableId, location: &MetadataLocation) {
        // As a client that renews no version.
        self.client
            .update_item()
            .table_name("lake")
            .set_key(Some(key(table)))
            .update_expression("SET #l = :l")
            .expression_attribute_names("#l", "p.metadata_location")
            .expression_attribute_values(":l", AttributeValue::S(location.to_string()))
            .send()
            .await
            .unwrap();
    }

    async fn drop_table(&self, table: &TableId) {
        self.client
            .delete_item()
            .table_name("lake")
            .set_key(Some(key(table)))
            .send()
            .await
            .unwrap();
    }

    async fn add_others(&self, namespace: &Namespace) -> Vec<String> {
        let hudi = [("p.table_type", "HUDI"), ("p.metadata_location", "/x")];
        self.put(&format!("{namespace}.hudi"), &hudi).await;
        self.put(&format!("{namespace}.bare"), &[]).await;
        vec!["hudi".to_owned(), "bare".to_owned()]
    }

    async fn entry(&self, table: &TableId) -> (String, Option<String>) {
        let row = self.catalog.rows.get(table).await.unwrap();
        let previous = text(&row, "p.previous_metadata_location").map(str::to_owned);
        let foreign: BTreeMap<_, _> = row
            .iter()
            .filter(|(name, _)| {
                !matches!(
                    name.as_str(),
                    "v" | "updated_at" | "p.metadata_location" | "p.previous_metadata_location"
                )
            })
            .collect();
        (format!("{foreign:?}"), previous)
    }

    async fn forbid(
        &self,
        table: &TableId,
        what: Forbidden,
    ) -> Result<Arc<dyn Catalog>, Meaningless> {
        let named = format!("\"{}\"", table.name_in_catalog());
        let targets = match what {
            Forbidden::Commits => &[UPDATE][..],
            // The row's own requests: a batch has those of others too.
            Forbidden::Everything => &["DynamoDB_20120810.GetItem", UPDATE],
        };
        for target in targets {
            let refused = failure("AccessDeniedException");
            let mishap = Mishap::AnsweredInstead(400, refused);
            self.proxy.plan((*target, &*named), usize::MAX, mishap);
        }
        Ok(self.catalog())
    }

    async fn lose(&self, what: Lost) -> Result<(), Meaningless> {
        self.proxy.plan(UPDATE, 1, what.into());
        Ok(())
    }
}

fn failure(code: &str) -> String {
    format!("{{\"__type\":\"{code}\",\"message\":\"said so\"}}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dynamodb_catalog_conforms_on_moto() {
    if let Some(bench) = DynamoBench::start(EmulatorKind::Moto).await {
        conformance::check_all(&bench).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dynamodb_catalog_conforms_on_ministack() {
    let Some(bench) = DynamoBench::start(EmulatorKind::MiniStack).await else {
        return;
    };
    conformance::check_all(&bench).await;

    // A listing in pages.
    for index in 0..101 {
        let location = format!("/nowhere/{index}");
        let iceberg = [
            ("p.table_type", "ICEBERG"),
            ("p.metadata_location", location.as_str()),
        ];
        bench
            .put(&format!("{DATABASE}.many{index:03}"), &iceberg)
            .await;
    }
    let database = DatabaseId {
        catalog: CatalogName::from("c"),
        namespace: Namespace::from_dotted(DATABASE),
    };
    let first = bench.catalog.list_tables(&database, None).await.unwrap();
    let second = bench
        .catalog
        .list_tables(&database, first.next.as_deref())
        .await
        .unwrap();
    let many: Vec<_> = [first.tables, second.tables]
        .concat()
        .into_iter()
        .filter(|listed| listed.table.name.starts_with("many"))
        .collect();
    assert_eq!(many.len(), 101);
    assert_eq!(
        many[100].metadata_location,
        Some(MetadataLocation::from("/nowhere/100"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c25_a_failure_after_the_commit_is_told_from_one_that_nobody_can_judge() {
    let Some(bench) = DynamoBench::start(EmulatorKind::Moto).await else {
        return;
    };
    let (proxy, catalog, direct) = (&bench.proxy, &bench.catalog, bench.direct().await);
    let base = bench.new_table("lost").await;
    let failure = failure("InternalServerError");
    proxy.plan(UPDATE, 1, Mishap::AnsweredAfterwards(500, failure.clone()));
    let committed = catalog.commit(&base, change("lost")).await.unwrap();
    let now = direct.load(&base.table).await.unwrap();
    assert_eq!(now.metadata_location, committed.metadata_location);
    assert_eq!(proxy.seen(UPDATE), 2, "it was tried a second time");

    // Nobody knows: then nothing is deleted.
    proxy.plan(UPDATE, 100, Mishap::AnsweredInstead(500, failure));
    let error = catalog.commit(&committed, change("a")).await.unwrap_err();
    assert!(
        matches!(error, CommitError::OutcomeUnknown { .. }),
        "{error}"
    );
    assert_eq!(bench.metadata_files("lost"), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_lost_after_an_unknown_try_is_told_from_a_commit_that_is_in() {
    let Some(bench) = DynamoBench::start(EmulatorKind::Moto).await else {
        return;
    };
    let (proxy, catalog, direct) = (&bench.proxy, &bench.catalog, bench.direct().await);
    let base = bench.new_table("race").await;
    let commit = |base: &LoadedTable| {
        let (catalog, base) = (Arc::clone(catalog), base.clone());
        tokio::spawn(async move { catalog.commit(&base, change("ours")).await })
    };
    let gate = Arc::new(Notify::new());
    let until_seen = async |count: usize| {
        while proxy.seen(UPDATE) < count {
            tokio::task::yield_now().await;
        }
    };

    // The first try never arrives; before the second one does, somebody else commits on the same base.
    let failure = failure("InternalServerError");
    proxy.plan(UPDATE, 1, Mishap::AnsweredInstead(500, failure));
    proxy.plan(UPDATE, 1, Mishap::HeldUp(Arc::clone(&gate)));
    let ours = commit(&base);
    until_seen(2).await;
    let theirs = direct.commit(&base, change("theirs")).await.unwrap();
    gate.notify_one();
    let error = ours.await.unwrap().unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error}");
    assert_eq!(bench.metadata_files("race"), 2, "ours is taken away");

    // Ours gets in although its answer is lost, and somebody builds upon it before we look.
    proxy.plan(UPDATE, 1, Mishap::AnswerLost);
    proxy.plan(UPDATE, 1, Mishap::HeldUp(Arc::clone(&gate)));
    let ours = commit(&theirs);
    until_seen(4).await;
    let now = direct.load(&base.table).await.unwrap();
    assert!(now.metadata.properties().contains_key("ours"));
    direct.commit(&now, change("theirs-2")).await.unwrap();
    gate.notify_one();
    let ours = ours.await.unwrap().unwrap();
    assert_eq!(ours.metadata_location, now.metadata_location);
}

/// Each half of the condition alone lets a writer be overwritten that came between our look at the row and the swap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_swap_asks_for_the_location_and_the_version_that_were_seen() {
    let Some(bench) = DynamoBench::start(EmulatorKind::Moto).await else {
        return;
    };
    let (proxy, catalog) = (&bench.proxy, &bench.catalog);
    let set_version = async |table: &TableId, expression: &str| {
        let update = bench
            .client
            .update_item()
            .table_name("lake")
            .set_key(Some(key(table)))
            .update_expression(expression);
        let update = match expression.starts_with("SET") {
            true => update.expression_attribute_values(":v", AttributeValue::S("theirs".into())),
            false => update,
        };
        update.send().await.unwrap();
    };
    for (case, name) in ["moved", "renewed", "versioned"].iter().enumerate() {
        let base = bench.new_table(name).await;
        let table = base.table.clone();
        let staged = bench.new_table(&format!("{name}_elsewhere")).await;
        if case == 2 {
            set_version(&table, "REMOVE v").await;
        }
        let gate = Arc::new(Notify::new());
        proxy.plan(UPDATE, 1, Mishap::HeldUp(Arc::clone(&gate)));
        let before = proxy.seen(UPDATE);
        let ours = {
            let catalog = Arc::clone(catalog);
            tokio::spawn(async move { catalog.commit(&base, change("ours")).await })
        };
        while proxy.seen(UPDATE) == before {
            tokio::task::yield_now().await;
        }
        match case {
            // By a client that renews no version.
            0 => bench.point_to(&table, &staged.metadata_location).await,
            // There and back again, as a rollback to the same metadata file is.
            _ => set_version(&table, "SET v = :v").await,
        }
        let theirs = bench.catalog.rows.get(&table).await.unwrap();
        gate.notify_one();
        let error = ours.await.unwrap().unwrap_err();
        assert!(matches!(error, CommitError::Conflict(_)), "{name}: {error}");
        let now = bench.catalog.rows.get(&table).await.unwrap();
        assert_eq!(now, theirs, "{name}");
        assert_eq!(bench.metadata_files(name), 1, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dynamodb_table_that_is_not_there_is_named() {
    let Some(emulator) = Emulator::start(EmulatorKind::Moto) else {
        return;
    };
    let nowhere = connect(&emulator, &[("table-name", "nowhere")]).await;
    let error = nowhere.list_namespaces().await.unwrap_err();
    assert!(
        matches!(&error, CatalogError::Configuration { .. })
            && error.to_string().contains("'nowhere'"),
        "{error}"
    );
}

/// What PyIceberg does with its DynamoDB catalog, as a program; prints what it sees at the end. It can't commit.
const PYICEBERG: &str = r#"
import sys
from pyiceberg.catalog.dynamodb import DynamoDbCatalog
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField
folder, step = sys.argv[1:]
catalog = DynamoDbCatalog("c", **{"table-name": "made", "warehouse": f"file://{folder}/py"})
if step == "make":
    catalog.create_namespace("db")
    catalog.create_table("db.t", Schema(NestedField(1, "id", LongType())))
table = catalog.load_table("db.t")
print(table.metadata_location, table.properties.get("ours"))
"#;

fn pyiceberg(python: &Path, endpoint: &str, folder: &Path, step: &str) -> String {
    let output = std::process::Command::new(python)
        .args(["-c", PYICEBERG])
        .arg(folder)
        .arg(step)
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", "123456789012")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test]
async fn a_catalog_that_pyiceberg_made_is_used_as_it_is() {
    let (Some(python), Some(emulator)) = (python(), Emulator::start(EmulatorKind::Moto)) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let made = pyiceberg(&python, emulator.endpoint(), folder.path(), "make");
    let catalog = connect(&emulator, &[("table-name", "made")]).await;
    let database = DatabaseId {
        catalog: CatalogName::from("c"),
        namespace: Namespace::from_dotted("db"),
    };
    assert_eq!(
        catalog.list_namespaces().await.unwrap(),
        std::slice::from_ref(&database.namespace)
    );
    let listed = catalog.list_tables(&database, None).await.unwrap().tables;
    assert_eq!(listed.len(), 1);
    let location = listed[0].metadata_location.as_ref().unwrap();
    assert_eq!(made, format!("{location} None"));
    let base = catalog.load(&listed[0].table).await.unwrap();
    let committed = catalog.commit(&base, change("ours")).await.unwrap();
    let seen = pyiceberg(&python, emulator.endpoint(), folder.path(), "look");
    assert_eq!(seen, format!("{} x", committed.metadata_location));
}
