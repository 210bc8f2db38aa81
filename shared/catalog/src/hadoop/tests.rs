use std::{
    fs::Permissions,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType,
    ScalarAttributeType,
};
use bytes::Bytes as Buffer;
use iceberg::{TableCreation, TableUpdate, spec::Schema};
use icepress_model::{
    CatalogName, DatabaseId, MetadataLocation, Namespace, TableId, ambient::Ambient,
};
use icepress_storage::{
    AwsEnvironment, LocalStorage, PutMode, Reach, S3Options, S3Storage, Storage, StorageRouter,
    WriteOptions,
    conformance::{
        emulator::{Emulator, EmulatorKind},
        proxy::{Mishap, Proxy},
    },
};

use super::{HadoopCatalog, hadoop_path, versions::Versions};
use crate::{
    Catalog, CatalogError, CommitError, LoadedTable, Located, TableChange,
    config::CatalogProperties,
    conformance::{self, Bench as _, Forbidden, Lost, Meaningless},
    metadata::stage_new_table,
};

/// A warehouse, and hands of others in it.
struct HadoopBench {
    catalog: Arc<HadoopCatalog>,
    storage: Arc<dyn Storage>,
    warehouse: String,
    /// What lies where in the catalog's own names.
    places: Mutex<Vec<(MetadataLocation, MetadataLocation)>>,
    /// What is between here and the bucket; none before a local disk.
    proxy: Option<Proxy>,
    /// Folders that nobody may look into or write to, until the end.
    closed: Mutex<Vec<PathBuf>>,
}

impl Drop for HadoopBench {
    fn drop(&mut self) {
        for folder in self.closed.get_mut().unwrap() {
            std::fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
        }
    }
}

impl HadoopBench {
    async fn new(
        warehouse: &str,
        storage: Arc<dyn Storage>,
        aws: AwsEnvironment,
        properties: &[(&str, &str)],
    ) -> Self {
        let properties = properties
            .iter()
            .chain(&[("warehouse", warehouse)])
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect::<Vec<_>>();
        let properties = CatalogProperties::of(CatalogName::from("h"), properties);
        let connected =
            HadoopCatalog::connect(&properties, &aws, Arc::clone(&storage), Ambient::system());
        Self {
            catalog: Arc::new(connected.await.unwrap()),
            storage,
            warehouse: warehouse.to_owned(),
            places: Mutex::default(),
            proxy: None,
            closed: Mutex::default(),
        }
    }

    async fn local(warehouse: &str) -> Self {
        let config = aws_config::SdkConfig::builder()
            .behavior_version(aws_config::BehaviorVersion::latest())
            .build();
        let aws = AwsEnvironment::from_config(config);
        Self::new(warehouse, Arc::new(LocalStorage::new()), aws, &[]).await
    }

    /// The metadata folder of a table.
    fn folder(&self, table: &TableId) -> String {
        format!("{}/{}/metadata", self.warehouse(), table.name)
    }

    async fn put(&self, location: &str, content: impl Into<Buffer>) {
        self.storage
            .put(
                location,
                content.into(),
                PutMode::Overwrite,
                &WriteOptions::default(),
            )
            .await
            .unwrap();
    }

    async fn keep_as(&self, table: &TableId, location: &MetadataLocation, number: u64) {
        let place = match self.storage.read(location.as_str()).await {
            Ok(content) => {
                let place = format!("{}/v{number}.metadata.json", self.folder(table));
                self.put(&place, content).await;
                place
            }
            // A hint that leads nowhere.
            Err(_) => {
                self.put(&format!("{}/version-hint.text", self.folder(table)), "99")
                    .await;
                format!("{}/v99.metadata.json", self.folder(table))
            }
        };
        let mut places = self.places.lock().unwrap();
        places.push((location.clone(), MetadataLocation(place)));
    }

    async fn names(&self, table: &TableId) -> Vec<String> {
        let folder = format!("{}/", self.folder(table));
        let page = self.storage.list(&folder, None).await.unwrap();
        page.objects
            .into_iter()
            .map(|object| object.location[folder.len()..].to_owned())
            .collect()
    }

    /// A new table of the catalog.
    async fn new_table(&self, name: &str, properties: &[(&str, &str)]) -> LoadedTable {
        let table = TableId {
            catalog: CatalogName::from("h"),
            namespace: Namespace::from_dotted("conformance"),
            name: name.to_owned(),
        };
        let properties = properties
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let creation = TableCreation::builder()
            .name(name.to_owned())
            .location(format!("{}/{name}", self.warehouse()))
            .schema(Schema::builder().build().unwrap())
            .properties(properties.collect::<std::collections::HashMap<_, _>>())
            .build();
        let staged = stage_new_table(&*self.storage, &Ambient::system(), &table, creation)
            .await
            .unwrap();
        self.register(&table, &staged.location).await;
        self.catalog.load(&table).await.unwrap()
    }
}

#[async_trait]
impl conformance::Bench for HadoopBench {
    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog) as Arc<dyn Catalog>
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage)
    }

    /// The folder of the namespace that the suite works in.
    fn warehouse(&self) -> String {
        format!("{}/conformance", self.warehouse)
    }

    async fn register(&self, table: &TableId, location: &MetadataLocation) {
        self.keep_as(table, location, 1).await;
        self.put(&format!("{}/version-hint.text", self.folder(table)), "1")
            .await;
    }

    async fn point_to(&self, table: &TableId, location: &MetadataLocation) {
        let now = self.catalog.newest(table).await.unwrap();
        // As a client that died before it wrote the hint.
        self.keep_as(table, location, now.number + 1).await;
    }

    fn place_of(&self, location: &MetadataLocation) -> MetadataLocation {
        let places = self.places.lock().unwrap();
        let mut found = places.iter().rev().filter(|(known, _)| known == location);
        found.next().expect("it was put there").1.clone()
    }

    async fn drop_table(&self, table: &TableId) {
        let names = self.names(table).await;
        let files: Vec<String> = names
            .into_iter()
            .map(|name| format!("{}/{name}", self.folder(table)))
            .collect();
        for outcome in self.storage.delete(&files).await {
            outcome.result.unwrap();
        }
    }

    /// Folders can be moved, though Java's catalog never does.
    async fn rename_table(&self, from: &TableId, to: &TableId, location: &MetadataLocation) {
        let content = self.storage.read(location.as_str()).await.unwrap();
        self.drop_table(from).await;
        self.put(&format!("{}/v1.metadata.json", self.folder(to)), content)
            .await;
    }

    async fn add_others(&self, _namespace: &Namespace) -> Vec<String> {
        // A namespace, a folder that looks like a table's and is none, and a file.
        for other in [
            "below/t/metadata/v1.metadata.json",
            "plain/metadata/x.txt",
            "file",
        ] {
            self.put(&format!("{}/{other}", self.warehouse()), "{}")
                .await;
        }
        Vec::new()
    }

    async fn entry(&self, table: &TableId) -> (String, Option<String>) {
        let mut foreign = self.names(table).await;
        foreign.retain(|name| !name.starts_with('v'));
        let newest = self.catalog.newest(table).await.unwrap();
        let previous = newest.number - 1;
        let previous =
            (previous > 0).then(|| format!("{}/v{previous}.metadata.json", self.folder(table)));
        (format!("{foreign:?}"), previous)
    }

    async fn forbid(
        &self,
        table: &TableId,
        what: Forbidden,
    ) -> Result<Arc<dyn Catalog>, Meaningless> {
        let folder = self.folder(table);
        if let Some(proxy) = &self.proxy {
            let path = folder.trim_start_matches("s3:/");
            let which = match what {
                Forbidden::Commits => format!("PUT {path}/"),
                Forbidden::Everything => format!("{path}/"),
            };
            let refused = "<Error><Code>AccessDenied</Code></Error>".to_owned();
            proxy.plan(&*which, usize::MAX, Mishap::AnsweredInstead(403, refused));
            return Ok(self.catalog());
        }
        if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
            return Err(Meaningless("no file is closed to root"));
        }
        let mode = match what {
            Forbidden::Commits => 0o555,
            Forbidden::Everything => 0o000,
        };
        let folder = PathBuf::from(folder.trim_start_matches("file://"));
        std::fs::set_permissions(&folder, Permissions::from_mode(mode)).unwrap();
        self.closed.lock().unwrap().push(folder);
        Ok(self.catalog())
    }

    async fn lose(&self, what: Lost) -> Result<(), Meaningless> {
        let Some(proxy) = &self.proxy else {
            return Err(Meaningless(
                "a local disk is asked by calls that return: nothing is on its way that could be lost",
            ));
        };
        // The next file that must not be there yet: who registers tables here does not ask for that.
        proxy.plan("if-none-match: *", 1, what.into());
        Ok(())
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_hadoop_catalog_conforms_on_a_local_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut bench = HadoopBench::local(&format!("file://{}/wh/", folder.path().display())).await;
    bench.warehouse = format!("file://{}/wh", folder.path().display());
    conformance::check_all(&bench).await;

    let mut namespaces: Vec<String> = bench
        .catalog
        .list_namespaces()
        .await
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    // A table that was taken away file by file leaves its empty folder.
    namespaces
        .retain(|namespace| !namespace.contains("dropped") && !namespace.contains("old_name"));
    assert_eq!(
        namespaces,
        [
            "conformance",
            "conformance.below",
            "conformance.plain",
            "conformance.plain.metadata"
        ]
    );
}

async fn on_s3(kind: EmulatorKind, lock: bool) {
    let Some(emulator) = Emulator::start(kind) else {
        return;
    };
    let config = emulator.config().await;
    new_bucket(&config).await;
    let proxy = Proxy::start(emulator.endpoint()).await;
    let s3 = connect_s3(&config, proxy.endpoint()).await;
    let mut properties = Vec::new();
    if lock {
        create_lock_table(&config).await;
        properties.extend([
            (
                "lock-impl",
                "org.apache.iceberg.aws.dynamodb.DynamoDbLockManager",
            ),
            ("lock.table", "locks"),
        ]);
    }
    let aws = AwsEnvironment::from_config(config);
    let mut bench = HadoopBench::new("s3://lake/wh", Arc::new(s3), aws, &properties).await;
    bench.proxy = Some(proxy);
    conformance::check_all(&bench).await;
}

/// The bucket `lake`.
async fn new_bucket(config: &aws_config::SdkConfig) {
    let s3 = aws_sdk_s3::config::Builder::from(config).force_path_style(true);
    let client = aws_sdk_s3::Client::from_conf(s3.build());
    client.create_bucket().bucket("lake").send().await.unwrap();
}

/// Storage on the emulator, over a proxy's endpoint.
async fn connect_s3(config: &aws_config::SdkConfig, endpoint: &str) -> S3Storage {
    let config = config.to_builder().endpoint_url(endpoint).build();
    let aws = AwsEnvironment::from_config(config);
    S3Storage::connect(&aws, S3Options::default(), Ambient::system()).await
}

async fn create_lock_table(config: &aws_config::SdkConfig) {
    let key = KeySchemaElement::builder()
        .attribute_name("entityId")
        .key_type(KeyType::Hash);
    let kind = AttributeDefinition::builder()
        .attribute_name("entityId")
        .attribute_type(ScalarAttributeType::S);
    aws_sdk_dynamodb::Client::new(config)
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
async fn the_hadoop_catalog_conforms_on_s3() {
    on_s3(EmulatorKind::MiniStack, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_hadoop_catalog_conforms_on_s3_under_a_lock() {
    on_s3(EmulatorKind::Moto, true).await;
}

#[tokio::test]
async fn the_file_is_named_by_its_compression_and_the_hint_follows() {
    let folder = tempfile::tempdir().unwrap();
    let bench = HadoopBench::local(&folder.path().display().to_string()).await;
    let base = bench
        .new_table("t", &[("write.metadata.compression-codec", "gzip")])
        .await;
    // Hadoop's checksum of a hint that is about to change.
    let metadata = bench.folder(&base.table);
    bench
        .put(&format!("{metadata}/.version-hint.text.crc"), "crc")
        .await;
    let second = bench.catalog.commit(&base, change("a")).await.unwrap();
    assert!(
        second
            .metadata_location
            .as_str()
            .ends_with("/v2.gz.metadata.json")
    );
    let third = bench.catalog.commit(&second, change("b")).await.unwrap();
    assert!(
        third
            .metadata_location
            .as_str()
            .ends_with("/v3.gz.metadata.json")
    );
    let names = bench.names(&base.table).await;
    assert!(
        !names.contains(&".version-hint.text.crc".to_owned()),
        "{names:?}"
    );
    let hint = format!("{metadata}/version-hint.text");
    assert_eq!(bench.storage.read(&hint).await.unwrap(), "3");

    // A hint from further ahead is left alone; an old one, or none, is only where one begins to look.
    let versions = Versions::new(
        &*bench.storage,
        &metadata[..metadata.len() - "/metadata".len()],
    );
    versions.hint_at(2).await;
    let location = |location: &str| Some(MetadataLocation::from(location));
    for hint in ["3", "1", "no number"] {
        bench
            .put(&format!("{metadata}/version-hint.text"), hint)
            .await;
        let newest = versions.newest().await.unwrap().unwrap();
        assert_eq!(
            location(&newest.location),
            Some(third.metadata_location.clone()),
            "{hint}"
        );
    }
    // The old form of the name.
    let content = bench
        .storage
        .read(third.metadata_location.as_str())
        .await
        .unwrap();
    bench
        .put(&format!("{metadata}/v4.metadata.json.gz"), content)
        .await;
    let loaded = bench.catalog.load(&base.table).await.unwrap();
    assert!(
        loaded
            .metadata_location
            .as_str()
            .ends_with("/v4.metadata.json.gz")
    );
    assert_eq!(
        bench.catalog.locate(&base.table, None).await.unwrap(),
        Located::At {
            location: loaded.metadata_location,
            tag: None
        }
    );
}

#[tokio::test]
async fn a_table_made_anew_under_the_same_number_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let bench = HadoopBench::local(&folder.path().display().to_string()).await;
    let base = bench.new_table("t", &[]).await;
    bench.drop_table(&base.table).await;
    let again = bench.new_table("t", &[]).await;
    assert_eq!(again.metadata_location, base.metadata_location);
    let error = bench.catalog.commit(&base, change("a")).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error}");
    bench.catalog.commit(&again, change("a")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c25_a_put_that_is_never_answered_rightly() {
    let Some(emulator) = Emulator::start(EmulatorKind::MiniStack) else {
        return;
    };
    let config = emulator.config().await;
    new_bucket(&config).await;
    let direct = connect_s3(&config, emulator.endpoint()).await;
    let proxy = Proxy::start(emulator.endpoint()).await;
    let storage = connect_s3(&config, proxy.endpoint()).await;
    let aws = AwsEnvironment::from_config(config);
    let bench = HadoopBench::new("s3://lake/wh", Arc::new(storage), aws, &[]).await;
    let base = bench.new_table("t", &[]).await;
    // Every try is carried out or finds the first one's file, and none is answered rightly.
    let failure = "<Error><Code>InternalError</Code></Error>".to_owned();
    proxy.plan(
        "PUT /lake/wh/conformance/t/metadata/v2",
        100,
        Mishap::AnsweredAfterwards(500, failure.clone()),
    );
    let committed = bench.catalog.commit(&base, change("a")).await.unwrap();
    assert!(
        committed
            .metadata_location
            .as_str()
            .ends_with("/v2.metadata.json")
    );
    assert!(
        direct
            .info(committed.metadata_location.as_str())
            .await
            .is_ok()
    );

    // None arrives: nobody knows.
    proxy.plan(
        "PUT /lake/wh/conformance/t/metadata/v3",
        100,
        Mishap::AnsweredInstead(500, failure),
    );
    let error = bench
        .catalog
        .commit(&committed, change("b"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, CommitError::OutcomeUnknown { .. }),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lock_is_java_s_row_and_is_waited_for() {
    let Some(emulator) = Emulator::start(EmulatorKind::Moto) else {
        return;
    };
    let config = emulator.config().await;
    create_lock_table(&config).await;
    let locks = aws_sdk_dynamodb::Client::new(&config);
    let folder = tempfile::tempdir().unwrap();
    let aws = AwsEnvironment::from_config(config);
    let properties = [
        (
            "lock-impl",
            "org.apache.iceberg.aws.dynamodb.DynamoDbLockManager",
        ),
        ("lock.table", "locks"),
        ("lock.acquire-timeout-ms", "300"),
    ];
    let warehouse = format!("file://{}", folder.path().display());
    let bench = HadoopBench::new(&warehouse, Arc::new(LocalStorage::new()), aws, &properties).await;
    let base = bench.new_table("t", &[]).await;
    let entity = format!(
        "file:{}/conformance/t/metadata/v2.metadata.json",
        folder.path().display()
    );
    let row = [
        ("entityId", AttributeValue::S(entity.clone())),
        ("ownerId", AttributeValue::S("java".to_owned())),
        ("version", AttributeValue::S("1".to_owned())),
        ("leaseDurationMs", AttributeValue::N("60000".to_owned())),
    ];
    let mut put = locks.put_item().table_name("locks");
    for (name, value) in row {
        put = put.item(name, value);
    }
    put.send().await.unwrap();
    let error = bench.catalog.commit(&base, change("a")).await.unwrap_err();
    assert!(
        matches!(
            &error,
            CommitError::Refused(CatalogError::Unavailable { .. })
        ) && error.to_string().contains(&entity),
        "{error}"
    );
    let key = AttributeValue::S(entity);
    let delete = locks.delete_item().table_name("locks").key("entityId", key);
    delete.send().await.unwrap();
    bench.catalog.commit(&base, change("a")).await.unwrap();
    let left = locks.scan().table_name("locks").send().await.unwrap();
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn a_listing_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let bench = HadoopBench::local(&folder.path().display().to_string()).await;
    for index in 0..501 {
        let file = format!(
            "{}/t{index:03}/metadata/v1.metadata.json",
            bench.warehouse()
        );
        bench.put(&file, "{}").await;
    }
    let database = DatabaseId {
        catalog: CatalogName::from("h"),
        namespace: Namespace::from_dotted("conformance"),
    };
    let first = bench.catalog.list_tables(&database, None).await.unwrap();
    assert_eq!(first.tables.len(), 500);
    let second = bench
        .catalog
        .list_tables(&database, first.next.as_deref())
        .await
        .unwrap();
    assert_eq!(second.tables.len(), 1);
    assert_eq!(second.tables[0].table.name, "t500");
    assert_eq!(second.next, None);
}

#[test]
fn paths_are_written_as_hadoop_writes_them() {
    for (location, path) in [
        ("file:///tmp/a//b/", "file:/tmp/a/b"),
        ("file:/tmp/a", "file:/tmp/a"),
        ("/tmp//a/", "/tmp/a"),
        ("s3://bucket/a//b", "s3://bucket/a/b"),
        ("s3a://bucket/a:b/c", "s3a://bucket/a:b/c"),
        ("/tmp/a:b", "/tmp/a:b"),
    ] {
        assert_eq!(hadoop_path(location), path, "{location}");
    }
}

#[tokio::test]
async fn old_versions_go_once_the_hint_is_past_them() {
    let folder = tempfile::tempdir().unwrap();
    let warehouse = folder.path().display().to_string();
    let aws = AwsEnvironment::new();
    let (options, ambient) = (S3Options::default(), Ambient::system());
    let router = StorageRouter::new(aws.clone(), options, Reach::local(), ambient);
    let storage = Arc::new(router.that_deletes(true));
    let bench = HadoopBench::new(&warehouse, storage, aws, &[]).await;
    let properties = [
        ("write.metadata.delete-after-commit.enabled", "true"),
        ("write.metadata.previous-versions-max", "1"),
    ];
    let mut state = bench.new_table("t", &properties).await;
    for turn in 0..3 {
        let change = conformance::say(&state, "turn", turn);
        state = bench.catalog.commit(&state, change).await.unwrap();
    }
    let versions = |names: Vec<String>| -> Vec<String> {
        let versions = names.into_iter().filter(|name| name.starts_with('v'));
        versions
            .filter(|name| name.ends_with(".metadata.json"))
            .collect()
    };
    let names = versions(bench.names(&state.table).await);
    assert_eq!(names, ["v3.metadata.json", "v4.metadata.json"]);

    // Readers begin where the hint is: where it can't be moved on, what it points to is needed yet.
    let folder = format!("{}/t", bench.warehouse());
    let versions = Versions::new(&*bench.storage, &folder);
    assert!(versions.hint_at(4).await);
    let hint = versions.file_of("version-hint.text");
    std::fs::remove_file(&hint).unwrap();
    std::fs::create_dir(&hint).unwrap();
    assert!(!versions.hint_at(5).await);
}
