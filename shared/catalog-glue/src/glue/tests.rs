use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use aws_sdk_glue::{
    Client,
    types::{Column, DatabaseInput, SerDeInfo, StorageDescriptor, TableInput},
};
use iceberg::{TableCreation, TableUpdate, spec::Schema};
use icepress_catalog::{
    Catalog, CatalogError, CommitError, LoadedTable, TableChange,
    config::CatalogProperties,
    conformance::{self, Bench as _, Forbidden, Lost, Meaningless},
    metadata::stage_new_table,
};
use icepress_model::{CatalogName, MetadataLocation, Namespace, TableId, ambient::Ambient};
use icepress_storage::{
    AwsEnvironment, LocalStorage, S3Options, S3Storage, Storage,
    conformance::{
        emulator::{Emulator, EmulatorKind},
        proxy::{Mishap, Proxy},
    },
};
use tempfile::TempDir;
use tokio::sync::Notify;

use super::GlueCatalog;

const DATABASE: &str = "conformance";

/// An emulated Glue with one database, whose tables lie in a local folder. The catalog reaches it over a proxy, others
/// don't.
struct GlueBench {
    emulator: Emulator,
    proxy: Proxy,
    client: Client,
    catalog: Arc<GlueCatalog>,
    folder: TempDir,
}

impl GlueBench {
    async fn start(kind: EmulatorKind, properties: &[(&str, &str)]) -> Option<Self> {
        let emulator = Emulator::start(kind)?;
        let client = Client::new(&emulator.config().await);
        let input = DatabaseInput::builder().name(DATABASE).build().unwrap();
        client
            .create_database()
            .database_input(input)
            .send()
            .await
            .unwrap();
        let proxy = Proxy::start(emulator.endpoint()).await;
        let properties = [&[("glue.endpoint", proxy.endpoint())], properties].concat();
        let catalog = connect(&emulator, &properties).await;
        Some(Self {
            emulator,
            proxy,
            client,
            catalog,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    /// The table's metadata and parameters as another client would write them.
    async fn update(
        &self,
        table: &TableId,
        change: impl FnOnce(&mut std::collections::HashMap<String, String>),
    ) {
        let entry = self
            .client
            .get_table()
            .database_name(DATABASE)
            .name(&table.name)
            .send()
            .await
            .unwrap();
        let entry = entry.table.unwrap();
        let mut parameters = entry.parameters.unwrap();
        change(&mut parameters);
        let input = TableInput::builder()
            .name(&table.name)
            .set_storage_descriptor(entry.storage_descriptor)
            .set_parameters(Some(parameters))
            .build()
            .unwrap();
        self.client
            .update_table()
            .database_name(DATABASE)
            .table_input(input)
            .send()
            .await
            .unwrap();
    }

    async fn new_table(&self, name: &str) -> LoadedTable {
        let table = TableId {
            catalog: CatalogName::from("glue"),
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
}

async fn connect(emulator: &Emulator, properties: &[(&str, &str)]) -> Arc<GlueCatalog> {
    let properties = properties
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let properties = CatalogProperties::of(CatalogName::from("glue"), properties);
    let storage = Arc::new(LocalStorage::new());
    let aws = emulator.environment().await;
    Arc::new(
        GlueCatalog::connect(&properties, &aws, storage, Ambient::system())
            .await
            .unwrap(),
    )
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
impl conformance::Bench for GlueBench {
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
        let column = |name: &str| {
            Column::builder()
                .name(name)
                .r#type("bigint")
                .comment("by another client")
                .parameters("iceberg.field.id", "1")
                .build()
                .unwrap()
        };
        let descriptor = StorageDescriptor::builder()
            .columns(column("id"))
            .location("/not/what/iceberg/says")
            .input_format("theirs")
            .serde_info(
                SerDeInfo::builder()
                    .name("serde")
                    .parameters("k", "v")
                    .build(),
            )
            .parameters("CrawlerSchemaSerializerVersion", "1.0")
            .build();
        let input = TableInput::builder()
            .name(&table.name)
            .description("said by hand")
            .owner("somebody")
            .retention(7)
            .table_type("EXTERNAL_TABLE")
            .storage_descriptor(descriptor)
            .partition_keys(column("day"))
            .parameters("table_type", "ICEBERG")
            .parameters("metadata_location", location.as_str())
            .parameters("theirs", "kept")
            .parameters("comment", "ü")
            .build()
            .unwrap();
        self.client
            .create_table()
            .database_name(DATABASE)
            .table_input(input)
            .send()
            .await
            .unwrap();
    }

    async fn point_to(&self, table: &TableId, location: &MetadataLocation) {
        self.update(table, |parameters| {
            parameters.insert("metadata_location".to_owned(), location.to_string());
        })
        .await;
    }

    async fn drop_table(&self, table: &TableId) {
        self.client
            .delete_table()
            .database_name(DATABASE)
            .name(&table.name)
            .send()
            .await
            .unwrap();
    }

    async fn add_others(&self, _namespace: &Namespace) -> Vec<String> {
        for (name, kind) in [("hive", None), ("hudi", Some("HUDI"))] {
            let mut input = TableInput::builder()
                .name(name)
                .parameters("metadata_location", "/nowhere");
            if let Some(kind) = kind {
                input = input.parameters("table_type", kind);
            }
            let input = input.build().unwrap();
            self.client
                .create_table()
                .database_name(DATABASE)
                .table_input(input)
                .send()
                .await
                .unwrap();
        }
        vec!["hive".to_owned(), "hudi".to_owned()]
    }

    async fn entry(&self, table: &TableId) -> (String, Option<String>) {
        let entry = self
            .client
            .get_table()
            .database_name(DATABASE)
            .name(&table.name)
            .send()
            .await
            .unwrap();
        let entry = entry.table.unwrap();
        let mut parameters: BTreeMap<String, String> =
            entry.parameters.unwrap().into_iter().collect();
        parameters.remove("metadata_location");
        let previous = parameters.remove("previous_metadata_location");
        let foreign = format!(
            "{:?} {:?} {} {:?} {:?} {:?} {parameters:?}",
            entry.description,
            entry.owner,
            entry.retention,
            entry.table_type,
            entry.storage_descriptor,
            entry.partition_keys,
        );
        (foreign, previous)
    }

    async fn forbid(
        &self,
        table: &TableId,
        what: Forbidden,
    ) -> Result<Arc<dyn Catalog>, Meaningless> {
        let target = match what {
            Forbidden::Commits => UPDATE,
            Forbidden::Everything => "AWSGlue.",
        };
        let named = format!("\"Name\":\"{}\"", table.name);
        let refused = Mishap::AnsweredInstead(400, json_error("AccessDeniedException"));
        self.proxy.plan((target, &*named), usize::MAX, refused);
        Ok(self.catalog())
    }

    async fn lose(&self, what: Lost) -> Result<(), Meaningless> {
        self.proxy.plan(UPDATE, 1, what.into());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_glue_catalog_conforms_on_moto() {
    if let Some(bench) = GlueBench::start(EmulatorKind::Moto, &[]).await {
        conformance::check_all(&bench).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_glue_catalog_conforms_on_ministack() {
    if let Some(bench) = GlueBench::start(EmulatorKind::MiniStack, &[]).await {
        conformance::check_all(&bench).await;
    }
}

const LOCK: [(&str, &str); 2] = [
    (
        "lock-impl",
        "org.apache.iceberg.aws.dynamodb.DynamoDbLockManager",
    ),
    ("lock.table", "locks"),
];

async fn create_lock_table(locks: &aws_sdk_dynamodb::Client) {
    let key = KeySchemaElement::builder()
        .attribute_name("entityId")
        .key_type(KeyType::Hash);
    let kind = AttributeDefinition::builder()
        .attribute_name("entityId")
        .attribute_type(ScalarAttributeType::S);
    locks
        .create_table()
        .table_name("locks")
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key.build().unwrap())
        .attribute_definitions(kind.build().unwrap())
        .send()
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_glue_catalog_conforms_under_a_lock() {
    let Some(bench) = GlueBench::start(EmulatorKind::MiniStack, &LOCK).await else {
        return;
    };
    let locks = aws_sdk_dynamodb::Client::new(&bench.emulator.config().await);
    let base = bench.new_table("early").await;
    let error = bench.catalog.commit(&base, change("a")).await.unwrap_err();
    assert!(
        error.to_string().contains("locks") && error.to_string().contains("entityId"),
        "{error}"
    );
    assert_eq!(bench.metadata_files("early"), 1);

    create_lock_table(&locks).await;
    conformance::check_all(&bench).await;
    let left = locks.scan().table_name("locks").send().await.unwrap();
    assert_eq!(left.count(), 0, "every lock was released");
}

/// A fresh table, and a catalog of which nothing gets lost or refused.
async fn with_table(name: &str) -> Option<(GlueBench, Arc<GlueCatalog>, LoadedTable)> {
    let bench = GlueBench::start(EmulatorKind::Moto, &[]).await?;
    let direct = connect(&bench.emulator, &[]).await;
    let base = bench.new_table(name).await;
    Some((bench, direct, base))
}

const UPDATE: &str = "AWSGlue.UpdateTable";

fn json_error(code: &str) -> String {
    format!("{{\"__type\":\"{code}\",\"Message\":\"said so\"}}")
}

/// Of what Glue can say after a commit that is in; that it says nothing is the suite's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c25_a_commit_that_was_answered_wrongly_is_found() {
    let Some((bench, direct, base)) = with_table("lost").await else {
        return;
    };
    let mut last = base;
    for mishap in [
        Mishap::AnsweredAfterwards(500, json_error("InternalServiceException")),
        Mishap::AnsweredAfterwards(400, json_error("OperationTimeoutException")),
    ] {
        bench.proxy.plan(UPDATE, 1, mishap);
        let committed = bench.catalog.commit(&last, change("lost")).await.unwrap();
        let now = direct.load(&last.table).await.unwrap();
        assert_eq!(now.metadata_location, committed.metadata_location);
        last = committed;
    }
    assert_eq!(bench.proxy.seen(UPDATE), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c25_an_outcome_that_nobody_knows_deletes_nothing() {
    let Some((bench, _, base)) = with_table("unknown").await else {
        return;
    };
    let (proxy, catalog) = (&bench.proxy, Arc::clone(&bench.catalog));
    proxy.plan(
        UPDATE,
        100,
        Mishap::AnsweredInstead(500, json_error("InternalServiceException")),
    );
    let error = catalog.commit(&base, change("a")).await.unwrap_err();
    assert!(
        matches!(error, CommitError::OutcomeUnknown { .. }),
        "{error}"
    );
    assert_eq!(
        bench.metadata_files("unknown"),
        2,
        "the file stays: a table may point to it yet"
    );

    // Nothing can be read either.
    proxy.plan("AWSGlue.GetTable", 100, Mishap::AnswerLost);
    let error = catalog.commit(&base, change("a")).await.unwrap_err();
    assert!(
        matches!(
            error,
            CommitError::Refused(CatalogError::Unavailable { .. })
        ),
        "{error}"
    );
    assert_eq!(
        bench.metadata_files("unknown"),
        2,
        "before the swap nothing is unknown"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_lost_after_an_unknown_try_is_told_from_a_commit_that_is_in() {
    let Some((bench, direct, base)) = with_table("race").await else {
        return;
    };
    let (proxy, catalog) = (&bench.proxy, Arc::clone(&bench.catalog));
    let table = base.table.clone();
    let staged = direct.commit(&base, change("theirs")).await.unwrap();
    bench.point_to(&table, &base.metadata_location).await;
    let commit = |base: &LoadedTable| {
        let (catalog, base) = (Arc::clone(&catalog), base.clone());
        tokio::spawn(async move { catalog.commit(&base, change("ours")).await })
    };

    // The first try never arrives; before the second one does, somebody else commits on the same base.
    let gate = Arc::new(Notify::new());
    proxy.plan(
        UPDATE,
        1,
        Mishap::AnsweredInstead(500, json_error("InternalServiceException")),
    );
    proxy.plan(UPDATE, 1, Mishap::HeldUp(Arc::clone(&gate)));
    let ours = commit(&base);
    while proxy.seen(UPDATE) < 2 {
        tokio::task::yield_now().await;
    }
    bench.point_to(&table, &staged.metadata_location).await;
    gate.notify_one();
    let error = ours.await.unwrap().unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error}");
    assert_eq!(
        bench.metadata_files("race"),
        2,
        "ours is taken away: base and theirs remain"
    );

    // Ours gets in although its answer is lost, and somebody builds upon it before we look.
    proxy.plan(UPDATE, 1, Mishap::AnswerLost);
    proxy.plan(UPDATE, 1, Mishap::HeldUp(Arc::clone(&gate)));
    let theirs = direct.load(&table).await.unwrap();
    let ours = commit(&theirs);
    while proxy.seen(UPDATE) < 4 {
        tokio::task::yield_now().await;
    }
    let now = direct.load(&table).await.unwrap();
    assert!(now.metadata.properties().contains_key("ours"));
    direct.commit(&now, change("theirs-2")).await.unwrap();
    gate.notify_one();
    let ours = ours.await.unwrap().unwrap();
    assert_eq!(ours.metadata_location, now.metadata_location);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_certainly_failed_is_told_apart() {
    let Some((bench, _, base)) = with_table("refused").await else {
        return;
    };
    let (proxy, catalog) = (&bench.proxy, Arc::clone(&bench.catalog));
    proxy.plan(
        UPDATE,
        1,
        Mishap::AnsweredInstead(400, json_error("EntityNotFoundException")),
    );
    let error = catalog.commit(&base, change("a")).await.unwrap_err();
    assert!(matches!(error, CommitError::NoSuchTable(_)), "{error}");
    proxy.plan(
        UPDATE,
        1,
        Mishap::AnsweredInstead(400, json_error("ConcurrentModificationException")),
    );
    let error = catalog.commit(&base, change("a")).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error}");
    proxy.plan(
        UPDATE,
        100,
        Mishap::AnsweredInstead(400, json_error("ThrottlingException")),
    );
    let error = catalog.commit(&base, change("a")).await.unwrap_err();
    assert!(
        matches!(error, CommitError::Refused(CatalogError::Throttled { .. })),
        "{error}"
    );
    assert_eq!(
        bench.metadata_files("refused"),
        1,
        "what certainly failed is taken away"
    );

    proxy.plan(
        "AWSGlue.GetTable",
        2,
        Mishap::AnsweredInstead(400, json_error("ThrottlingException")),
    );
    catalog.load(&base.table).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c43_every_update_carries_version_and_skips_the_archive() {
    let Some((bench, _, base)) = with_table("c43").await else {
        return;
    };
    let (proxy, catalog) = (&bench.proxy, &bench.catalog);
    let mut base = base;
    for _ in 0..3 {
        base = catalog.commit(&base, change("a")).await.unwrap();
    }
    let bodies = proxy.bodies(UPDATE);
    assert_eq!(bodies.len(), 3);
    for body in bodies {
        let json: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert_eq!(json["SkipArchive"], true);
        assert!(json["VersionId"].is_string(), "{body}");
    }
}

/// Of versions that others left, those go whose metadata files the table's log does not name; never what came since.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_that_lead_nowhere_are_forgotten() {
    let Some((bench, catalog, base)) = with_table("versions").await else {
        return;
    };
    let next = catalog.commit(&base, change("a")).await.unwrap();
    let point = async |location: &str| {
        let location = location.to_owned();
        let moved = bench.update(&base.table, |parameters| {
            parameters.insert("metadata_location".to_owned(), location);
        });
        moved.await;
    };
    for gone in ["s3://gone/1.metadata.json", "s3://gone/2.metadata.json"] {
        point(gone).await;
    }
    // In the log of what is current, and current.
    point(base.metadata_location.as_str()).await;
    point(next.metadata_location.as_str()).await;
    let now = catalog.load(&base.table).await.unwrap();
    point("s3://newer/1.metadata.json").await;
    let left = async || {
        let versions = catalog.entries.versions(&base.table).await.unwrap();
        let locations = versions
            .into_iter()
            .map(|it| it.metadata_location.to_string());
        locations.collect::<Vec<_>>()
    };
    let has = |versions: &[String], part: &str| versions.iter().any(|it| it.contains(part));
    let before = left().await;
    assert!(
        has(&before, "gone/1") && has(&before, "gone/2"),
        "{before:?}"
    );
    assert_eq!(catalog.forget_versions(&now, 1).await.unwrap(), 1);
    let after = left().await;
    assert!(!has(&after, "gone/1") && has(&after, "gone/2"), "{after:?}");
    assert_eq!(catalog.forget_versions(&now, 100).await.unwrap(), 1);
    let after = left().await;
    assert!(!has(&after, "gone") && has(&after, "newer"), "{after:?}");
    assert!(has(&after, base.metadata_location.as_str()), "{after:?}");
    assert_eq!(catalog.forget_versions(&now, 100).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_follows_glue_s_pages() {
    // Neither emulator pages GetTables, so two pages are made up.
    let Some((bench, _, base)) = with_table("pages").await else {
        return;
    };
    let (proxy, catalog) = (&bench.proxy, &bench.catalog);
    let page = |name: &str, next: &str| {
        let table = format!(
            r#"{{"Name":"{name}","Parameters":{{"table_type":"iceberg","metadata_location":"/{name}"}}}}"#
        );
        Mishap::AnsweredInstead(
            200,
            format!(r#"{{"TableList":[{table},{{"Name":"hive"}}],"NextToken":"{next}"}}"#),
        )
    };
    proxy.plan("AWSGlue.GetTables", 1, page("a", "more"));
    proxy.plan("AWSGlue.GetTables", 1, page("b", ""));
    let database = base.table.database();
    let first = catalog.list_tables(&database, None).await.unwrap();
    assert_eq!(first.next.as_deref(), Some("more"));
    assert_eq!(first.tables.len(), 1);
    let second = catalog
        .list_tables(&database, first.next.as_deref())
        .await
        .unwrap();
    assert_eq!(second.next, None);
    assert_eq!(second.tables[0].table.name, "b");
    assert_eq!(
        second.tables[0]
            .metadata_location
            .as_ref()
            .unwrap()
            .as_str(),
        "/b"
    );
    let sent: serde_json::Value =
        serde_json::from_str(&proxy.bodies("AWSGlue.GetTables")[1]).unwrap();
    assert_eq!(sent["NextToken"], "more");

    let two_levels = TableId {
        namespace: Namespace::from_dotted("a.b"),
        ..base.table
    };
    assert!(matches!(
        catalog.load(&two_levels).await.unwrap_err(),
        CatalogError::NoSuchTable(_)
    ));
}

/// A writer that sees the lock free just before our swap arrives would send Glue no version, and overwrite us.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_is_held_until_the_swap_is_answered() {
    let Some(bench) = GlueBench::start(EmulatorKind::Moto, &[]).await else {
        return;
    };
    let locks = aws_sdk_dynamodb::Client::new(&bench.emulator.config().await);
    create_lock_table(&locks).await;
    let proxy = Proxy::start(bench.emulator.endpoint()).await;
    let properties = [("glue.endpoint", proxy.endpoint()), LOCK[0], LOCK[1]];
    let catalog = connect(&bench.emulator, &properties).await;
    let base = bench.new_table("held").await;
    let gate = Arc::new(Notify::new());
    proxy.plan(UPDATE, 1, Mishap::HeldUp(Arc::clone(&gate)));
    let ours = tokio::spawn(async move { catalog.commit(&base, change("held")).await });
    while proxy.seen(UPDATE) < 1 {
        tokio::task::yield_now().await;
    }
    let during = locks.scan().table_name("locks").send().await.unwrap();
    gate.notify_one();
    let committed = ours.await.unwrap().unwrap();
    let after = locks.scan().table_name("locks").send().await.unwrap();
    assert_eq!((during.count(), after.count()), (1, 0));
    let owner = during.items()[0]["ownerId"].as_s().unwrap();
    assert_eq!(owner, committed.metadata_location.as_str());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_gets_its_lock_too_late_changes_nothing() {
    let Some(bench) = GlueBench::start(EmulatorKind::Moto, &[]).await else {
        return;
    };
    let locks = aws_sdk_dynamodb::Client::new(&bench.emulator.config().await);
    create_lock_table(&locks).await;
    let proxy = Proxy::start(bench.emulator.endpoint()).await;
    let catalog = connect(
        &bench.emulator,
        &[
            ("glue.endpoint", proxy.endpoint()),
            ("dynamodb.endpoint", proxy.endpoint()),
            LOCK[0],
            LOCK[1],
        ],
    )
    .await;
    let base = bench.new_table("late").await;
    // The row is written, and the answer comes when half of its lease is over: others may believe us dead any moment.
    let gate = Arc::new(Notify::new());
    proxy.plan("PutItem", 1, Mishap::HeldUp(Arc::clone(&gate)));
    let ours = {
        let base = base.clone();
        tokio::spawn(async move { catalog.commit(&base, change("late")).await })
    };
    while proxy.seen("PutItem") < 1 {
        tokio::task::yield_now().await;
    }
    let clock = Ambient::system().clock;
    clock.sleep(std::time::Duration::from_millis(2100)).await;
    gate.notify_one();
    let error = ours.await.unwrap().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("half of the commit lock's lease"),
        "{error}"
    );
    assert_eq!(proxy.seen(UPDATE), 0);
    assert_eq!(bench.metadata_files("late"), 1);
    let left = locks.scan().table_name("locks").send().await.unwrap();
    assert_eq!(left.count(), 0, "and the lock is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_a_catalog_s_aws_is_reached_as_its_role() {
    // moto keeps every account's things apart, and knows an account by the role that was assumed in it.
    let Some(emulator) = Emulator::start(EmulatorKind::Moto) else {
        return;
    };
    let proxy = Proxy::start(emulator.endpoint()).await;
    let own = emulator.config().await;
    let own = own.to_builder().endpoint_url(proxy.endpoint()).build();
    let properties = CatalogProperties::of(
        CatalogName::from("theirs"),
        [
            (
                "client.assume-role.arn",
                "arn:aws:iam::210987654321:role/upkeep",
            ),
            ("client.assume-role.external-id", "between us"),
            ("client.assume-role.session-name", "icepress-night"),
            ("client.assume-role.timeout-sec", "1800"),
            ("client.assume-role.region", "eu-west-1"),
            (
                "lock-impl",
                "org.apache.iceberg.aws.dynamodb.DynamoDbLockManager",
            ),
            ("lock.table", "locks"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned())),
    );
    let role = properties.assumed_role().unwrap().unwrap();
    let aws = AwsEnvironment::from_config(own.clone()).assuming(role);

    let theirs = Client::new(aws.config().await);
    let input = DatabaseInput::builder().name("theirs").build().unwrap();
    theirs
        .create_database()
        .database_input(input)
        .send()
        .await
        .unwrap();
    let storage = S3Storage::connect(&aws, S3Options::default(), Ambient::system()).await;
    let catalog = GlueCatalog::connect(
        &properties,
        &aws,
        Arc::new(LocalStorage::new()),
        Ambient::system(),
    );
    let catalog = catalog.await.unwrap();
    assert_eq!(
        catalog.list_namespaces().await.unwrap(),
        [Namespace::from_dotted("theirs")]
    );
    let ours = Client::new(&own).get_databases().send().await.unwrap();
    assert!(
        ours.database_list.is_empty(),
        "our own account has no such database"
    );

    // A table of theirs, its files on their S3, committed to under their lock (whose table is not there).
    storage.list("s3://bucket/x", None).await.unwrap_err();
    let table = TableId {
        catalog: CatalogName::from("theirs"),
        namespace: Namespace::from_dotted("theirs"),
        name: "t".to_owned(),
    };
    let folder = tempfile::tempdir().unwrap();
    let creation = TableCreation::builder()
        .name("t".to_owned())
        .location(folder.path().display().to_string())
        .schema(Schema::builder().build().unwrap())
        .build();
    let staged = stage_new_table(&LocalStorage::new(), &Ambient::system(), &table, creation)
        .await
        .unwrap();
    let input = TableInput::builder()
        .name("t")
        .parameters("table_type", "ICEBERG")
        .parameters("metadata_location", staged.location.as_str())
        .build()
        .unwrap();
    theirs
        .create_table()
        .database_name("theirs")
        .table_input(input)
        .send()
        .await
        .unwrap();
    let base = catalog.load(&table).await.unwrap();
    let error = catalog.commit(&base, change("a")).await.unwrap_err();
    assert!(error.to_string().contains("lock table locks"), "{error}");

    let asked = proxy.bodies("/sts/");
    assert_eq!(asked.len(), 1, "all clients share one session: {asked:?}");
    for part in [
        "RoleArn=arn%3Aaws%3Aiam%3A%3A210987654321%3Arole%2Fupkeep",
        "ExternalId=between%20us",
        "RoleSessionName=icepress-night",
        "DurationSeconds=1800",
    ] {
        assert!(asked[0].contains(part), "{asked:?}");
    }
    // Credential=KEY/DATE/REGION/SERVICE/aws4_request
    let own_key = "Credential=123456789012/";
    for service in ["glue", "s3", "dynamodb"] {
        let heads = proxy.heads(&format!("/eu-west-1/{service}/aws4_request"));
        assert!(!heads.is_empty(), "{service}");
        for head in heads {
            assert!(
                !head.contains(own_key) && head.contains("x-amz-security-token"),
                "{head}"
            );
        }
    }
    assert_eq!(
        proxy.heads(&format!("{own_key}2")).len(),
        2,
        "the role's and our own listing"
    );
}
