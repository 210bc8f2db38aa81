//! S3 Tables and Glue's REST endpoint, emulated, behind a gate that checks each signature with AWS's own Python library.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use icepress_catalog::{
    Catalog, CatalogError, Located,
    conformance::{self, Forbidden, Lost, Meaningless, said, say},
};
use icepress_model::{DatabaseId, MetadataLocation, Namespace, TableId, ambient::Ambient};
use icepress_storage::{
    AwsEnvironment, PutMode, Reach, S3Options, Storage, StorageRouter, WriteOptions,
    conformance::{
        emulator::{Emulator, EmulatorKind},
        proxy::{Mishap, Proxy},
    },
};
use serde_json::json;

use super::servers::{NAMESPACE, Other, SignatureGate, connect_with, kept, table};
use crate::RestCatalog;

const ACCOUNT: &str = "123456789012";
const SECRET: &str = "secret";

/// Who the other clients say they are; the emulator does not ask further.
fn signed_somehow(service: &str) -> String {
    let scope = format!("{ACCOUNT}/20260101/us-east-1/{service}/aws4_request");
    format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=none")
}

struct S3TablesBench {
    _emulator: Emulator,
    _gate: SignatureGate,
    proxy: Proxy,
    admin: Other,
    arn: String,
    /// The ARN as it stands in a path.
    bucket: String,
    storage: Arc<StorageRouter>,
    catalog: Arc<RestCatalog>,
    registered: AtomicU32,
}

impl S3TablesBench {
    async fn start() -> Option<Self> {
        let emulator = Emulator::start(EmulatorKind::MiniStack)?;
        let aws = emulator.environment().await;
        let gate = SignatureGate::start(emulator.endpoint(), "s3tables", ACCOUNT, SECRET)?;
        let proxy = Proxy::start(&gate.endpoint).await;
        let authorization = signed_somehow("s3tables");
        let admin = Other::new(emulator.endpoint(), &[("authorization", &authorization)]);
        let made = admin.put("/buckets", json!({ "name": "lake" })).await;
        let arn = made["arn"].as_str().unwrap().to_owned();
        let bucket = arn.replace(':', "%3A").replace('/', "%2F");
        admin
            .put(
                &format!("/namespaces/{bucket}"),
                json!({ "namespace": [NAMESPACE] }),
            )
            .await;
        Other::new(
            emulator.endpoint(),
            &[("authorization", &signed_somehow("s3"))],
        )
        .put("/lake", json!(null))
        .await;
        let options = S3Options::default();
        let storage = StorageRouter::new(aws.clone(), options, Reach::s3(), Ambient::system());
        let uri = format!("{}/iceberg", proxy.endpoint());
        let properties = [("type", "s3tables"), ("warehouse", &*arn), ("uri", &*uri)];
        Some(Self {
            catalog: connect_with(&properties, &aws, Ambient::system()),
            _emulator: emulator,
            _gate: gate,
            proxy,
            admin,
            arn,
            bucket,
            storage: Arc::new(storage),
            registered: AtomicU32::new(0),
        })
    }
}

#[async_trait]
impl conformance::Bench for S3TablesBench {
    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog) as Arc<dyn Catalog>
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::clone(&self.storage) as Arc<dyn Storage>
    }

    fn warehouse(&self) -> String {
        format!("s3://lake/{NAMESPACE}")
    }

    fn keeps_a_pointer(&self) -> bool {
        false
    }

    // The emulator makes none.
    fn keeps_a_log(&self) -> bool {
        false
    }

    async fn register(&self, table: &TableId, location: &MetadataLocation) {
        let body = json!({ "name": table.name, "format": "ICEBERG" });
        self.admin
            .put(&format!("/tables/{}/{NAMESPACE}", self.bucket), body)
            .await;
        self.point_to(table, location).await;
    }

    async fn point_to(&self, table: &TableId, location: &MetadataLocation) {
        // In a folder of its own: the emulator takes the newest file of the folder, wherever it is pointed to.
        let content = self.storage.read(location.as_str()).await.unwrap();
        let number = self.registered.fetch_add(1, Ordering::SeqCst);
        let copy = format!("s3://lake/registered-{number}/metadata/v0.metadata.json");
        let options = WriteOptions::default();
        self.storage
            .put(&copy, content, PutMode::CreateOnly, &options)
            .await
            .unwrap();
        let path = format!(
            "/tables/{}/{NAMESPACE}/{}/metadata-location",
            self.bucket, table.name
        );
        let now = self.admin.get(&path).await;
        let body = json!({ "metadataLocation": copy, "versionToken": now["versionToken"] });
        self.admin.put(&path, body).await;
    }

    async fn drop_table(&self, table: &TableId) {
        let path = format!("/tables/{}/{NAMESPACE}/{}", self.bucket, table.name);
        self.admin.delete(&path).await;
    }

    // There are Iceberg tables in a table bucket, and nothing else.
    async fn add_others(&self, _namespace: &Namespace) -> Vec<String> {
        Vec::new()
    }

    async fn entry(&self, table: &TableId) -> (String, Option<String>) {
        let tables = format!("/iceberg/v1/{}/namespaces/{NAMESPACE}/tables", self.bucket);
        kept(&self.admin.get(&format!("{tables}/{}", table.name)).await)
    }

    async fn forbid(
        &self,
        table: &TableId,
        what: Forbidden,
    ) -> Result<Arc<dyn Catalog>, Meaningless> {
        let tables = format!("/iceberg/v1/{}/namespaces/{NAMESPACE}/tables", self.bucket);
        let which = match what {
            Forbidden::Commits => format!("POST {tables}/{} ", table.name),
            Forbidden::Everything => format!("{tables}/{}", table.name),
        };
        let body = r#"{"error":{"message":"Access Denied","type":"forbidden","code":403}}"#;
        let mishap = Mishap::AnsweredInstead(403, body.to_owned());
        self.proxy.plan(&*which, usize::MAX, mishap);
        Ok(self.catalog())
    }

    async fn lose(&self, what: Lost) -> Result<(), Meaningless> {
        self.proxy.plan("POST /iceberg", 1, what.into());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_tables_conform() {
    let Some(bench) = S3TablesBench::start().await else {
        return;
    };
    conformance::check_all(&bench).await;
    assert!(
        bench
            .proxy
            .seen("GET /iceberg/v1/config?warehouse=arn%3Aaws%3As3tables%3A")
            == 1
    );
    assert!(
        bench
            .proxy
            .seen(&format!("/iceberg/v1/{}/namespaces", bench.bucket))
            > 10
    );
    assert!(bench.proxy.seen("x-iceberg-access-delegation") == 0);
    // The server names its endpoint for the files, and keys nobody asked for.
    let there = bench.catalog.list_tables(&database(), None).await.unwrap();
    let some = &there.tables[0].table;
    let storage = bench.catalog.table_storage(some).await.unwrap().unwrap();
    let located = bench.catalog.locate(some, None).await.unwrap();
    let Located::At { location, .. } = located else {
        panic!("{located:?}")
    };
    storage.read(location.as_str()).await.unwrap();

    // Another secret is refused by the gate, in words that say so.
    let aws = bench._emulator.config().await.to_builder();
    let other = aws_credential_types::Credentials::new(ACCOUNT, "guessed", None, None, "test");
    let other = aws_credential_types::provider::SharedCredentialsProvider::new(other);
    let aws = AwsEnvironment::from_config(aws.credentials_provider(other).build());
    let uri = format!("{}/iceberg", bench.proxy.endpoint());
    let properties = [
        ("type", "s3tables"),
        ("warehouse", &*bench.arn),
        ("uri", &*uri),
    ];
    let wrong = connect_with(&properties, &aws, Ambient::system());
    let error = wrong.list_namespaces().await.unwrap_err();
    assert!(
        matches!(error, CatalogError::PermissionDenied { .. }),
        "{error}"
    );
    assert!(
        error.to_string().contains("InvalidSignatureException"),
        "{error}"
    );
}

fn database() -> DatabaseId {
    table("any").database()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn glue_s_rest_endpoint_is_signed_for_and_committed_to() {
    let Some(emulator) = Emulator::start(EmulatorKind::MiniStack) else {
        return;
    };
    let Some(gate) = SignatureGate::start(emulator.endpoint(), "glue", ACCOUNT, SECRET) else {
        return;
    };
    let admin = Other::new(
        format!("{}/iceberg/v1/catalogs/{ACCOUNT}", emulator.endpoint()),
        &[("authorization", &signed_somehow("glue"))],
    );
    admin
        .post("/namespaces", json!({ "namespace": [NAMESPACE] }))
        .await;
    admin
        .create(&format!("/namespaces/{NAMESPACE}/tables"), "t")
        .await;

    let properties = [
        ("type", "rest"),
        ("uri", &*format!("{}/iceberg", gate.endpoint)),
        ("warehouse", ACCOUNT),
        ("rest.sigv4-enabled", "true"),
        ("rest.signing-name", "glue"),
        ("rest.signing-region", "us-east-1"),
    ];
    let catalog = connect_with(
        &properties,
        &emulator.environment().await,
        Ambient::system(),
    );
    assert_eq!(
        catalog.list_namespaces().await.unwrap(),
        [database().namespace]
    );
    let listed = catalog.list_tables(&database(), None).await.unwrap();
    assert_eq!(listed.tables[0].table, table("t"));
    let base = catalog.load(&table("t")).await.unwrap();
    let committed = catalog.commit(&base, say(&base, "by", "us")).await.unwrap();
    assert_eq!(said(&committed, "by").as_deref(), Some("us"));
    let lost = catalog
        .commit(&base, say(&base, "by", "a ghost"))
        .await
        .unwrap_err();
    assert!(
        matches!(lost, icepress_catalog::CommitError::Conflict(_)),
        "{lost}"
    );
    let now = catalog.load(&table("t")).await.unwrap();
    assert_eq!(now.metadata_location, committed.metadata_location);
}
