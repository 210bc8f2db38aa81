//! Iceberg's own REST server, with a proxy before it that loses and changes answers.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_credential_types::provider::ProvideCredentials as _;
use icepress_catalog::{
    Catalog, CatalogError, CommitError, Located,
    conformance::{self, Forbidden, Lost, Meaningless, said, say},
};
use icepress_model::{
    DatabaseId, MetadataLocation, Namespace, TableId,
    ambient::{Ambient, Clock as _, ManualClock},
};
use icepress_storage::{
    AwsEnvironment, LocalStorage, Storage,
    conformance::{
        emulator::{Emulator, EmulatorKind},
        proxy::{Mishap, Proxy},
    },
};
use reqwest::Method;
use serde_json::json;

use super::servers::{JavaServer, NAMESPACE, Other, connect, connect_with, kept, table};
use crate::{
    RestCatalog,
    vended::{Access, VendedCredentials},
};

const TABLES: &str = "/v1/namespaces/conformance/tables";

struct JavaBench {
    server: JavaServer,
    proxy: Proxy,
    other: Other,
    catalog: Arc<RestCatalog>,
}

impl JavaBench {
    async fn start(properties: &[(&str, &str)]) -> Option<Self> {
        let server = JavaServer::start(&[])?;
        let proxy = Proxy::start(&server.endpoint).await;
        let other = Other::new(&server.endpoint, &[]);
        other
            .post("/v1/namespaces", json!({ "namespace": [NAMESPACE] }))
            .await;
        let mut all = vec![("uri", proxy.endpoint())];
        all.extend(properties);
        // Waits between tries take no time.
        let (ambient, _) = Ambient::repeatable(1, Ambient::system().now());
        let catalog = connect_with(&all, &AwsEnvironment::new(), ambient);
        Some(Self {
            server,
            proxy,
            other,
            catalog,
        })
    }

    /// A fresh table, made by the server.
    async fn fresh(&self, name: &str) -> icepress_catalog::LoadedTable {
        self.other.create(TABLES, name).await;
        self.catalog.load(&table(name)).await.unwrap()
    }

    async fn snapshots(&self, name: &str) -> usize {
        let loaded = self.other.get(&format!("{TABLES}/{name}")).await;
        loaded["metadata"]["snapshots"]
            .as_array()
            .map_or(0, Vec::len)
    }
}

#[async_trait]
impl conformance::Bench for JavaBench {
    fn catalog(&self) -> Arc<dyn Catalog> {
        Arc::clone(&self.catalog) as Arc<dyn Catalog>
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(LocalStorage::new())
    }

    fn warehouse(&self) -> String {
        format!(
            "file://{}/warehouse/{NAMESPACE}",
            self.server.folder.path().display()
        )
    }

    fn keeps_a_pointer(&self) -> bool {
        false
    }

    async fn register(&self, table: &TableId, location: &MetadataLocation) {
        let body = json!({ "name": table.name, "metadata-location": location.as_str() });
        self.other
            .post(&format!("/v1/namespaces/{NAMESPACE}/register"), body)
            .await;
        let updates = json!([{ "action": "set-properties", "updates": { "theirs": "kept", "comment": "ü" } }]);
        self.other
            .update(&format!("{TABLES}/{}", table.name), updates)
            .await;
    }

    async fn point_to(&self, table: &TableId, location: &MetadataLocation) {
        self.drop_table(table).await;
        self.register(table, location).await;
    }

    async fn drop_table(&self, table: &TableId) {
        self.other.delete(&format!("{TABLES}/{}", table.name)).await;
    }

    async fn rename_table(&self, from: &TableId, to: &TableId, _location: &MetadataLocation) {
        let name = |table: &TableId| json!({ "namespace": [NAMESPACE], "name": table.name });
        let body = json!({ "source": name(from), "destination": name(to) });
        self.other.post("/v1/tables/rename", body).await;
    }

    async fn add_others(&self, _namespace: &Namespace) -> Vec<String> {
        let field = json!({ "id": 1, "name": "id", "type": "long", "required": false });
        let sql = json!({ "type": "sql", "sql": "select 1", "dialect": "spark" });
        let body = json!({
            "name": "a_view",
            "schema": { "type": "struct", "schema-id": 0, "fields": [field] },
            "view-version": {
                "version-id": 1, "timestamp-ms": 1, "schema-id": 0, "summary": {},
                "representations": [sql], "default-namespace": [NAMESPACE],
            },
            "properties": {},
        });
        self.other
            .post(&format!("/v1/namespaces/{NAMESPACE}/views"), body)
            .await;
        vec!["a_view".to_owned()]
    }

    async fn entry(&self, table: &TableId) -> (String, Option<String>) {
        kept(&self.other.get(&format!("{TABLES}/{}", table.name)).await)
    }

    async fn forbid(
        &self,
        table: &TableId,
        what: Forbidden,
    ) -> Result<Arc<dyn Catalog>, Meaningless> {
        let path = format!("{TABLES}/{}", table.name);
        let which = match what {
            Forbidden::Commits => format!("POST {path} "),
            Forbidden::Everything => path,
        };
        let body = error_body("ForbiddenException", 403);
        let mishap = Mishap::AnsweredInstead(403, body);
        self.proxy.plan(&*which, usize::MAX, mishap);
        Ok(self.catalog())
    }

    async fn lose(&self, what: Lost) -> Result<(), Meaningless> {
        self.proxy.plan("POST /v1/", 1, what.into());
        Ok(())
    }
}

fn error_body(kind: &str, code: u16) -> String {
    json!({ "error": { "message": "said the proxy", "type": kind, "code": code } }).to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn iceberg_s_own_server_conforms() {
    let Some(bench) = JavaBench::start(&[("rest-page-size", "3")]).await else {
        return;
    };
    conformance::check_all(&bench).await;
    c25_the_outcome_of_a_commit_is_told_apart(&bench).await;
    c30_what_a_commit_builds_on_is_compared_and_nothing_else(&bench).await;
    unchanged_tables_cost_a_304(&bench).await;
    namespaces_and_tables_come_in_pages(&bench).await;
    what_is_no_catalog_is_told(&bench).await;
}

/// Each answer that a commit can get, before and after it took effect.
async fn c25_the_outcome_of_a_commit_is_told_apart(bench: &JavaBench) {
    let catalog = &bench.catalog;
    let post = "POST /v1/namespaces/conformance/tables/fate";
    let before = |status, times| {
        let body = error_body("Trouble", status);
        bench
            .proxy
            .plan(post, times, Mishap::AnsweredInstead(status, body));
    };
    let after = |status, times| {
        let body = error_body("Trouble", status);
        bench
            .proxy
            .plan(post, times, Mishap::AnsweredAfterwards(status, body));
    };

    // Tried again, and in.
    let mut base = bench.fresh("fate").await;
    for status in [429, 500, 502, 503, 504] {
        before(status, 2);
        base = catalog
            .commit(&base, say(&base, "after", status))
            .await
            .unwrap();
        assert_eq!(said(&base, "after"), Some(status.to_string()));
    }
    // In already, and found, though the second try was told of a conflict.
    for status in [500, 502, 503, 504] {
        after(status, 1);
        base = catalog
            .commit(&base, say(&base, "after", status))
            .await
            .unwrap();
        assert_eq!(said(&base, "after"), Some(status.to_string()));
    }
    bench.proxy.plan(post, 1, Mishap::AnswerLost);
    base = catalog
        .commit(&base, say(&base, "after", "a lost answer"))
        .await
        .unwrap();
    // Accepted in words that nobody knows.
    bench
        .proxy
        .plan(post, 1, Mishap::AnsweredAfterwards(200, "{}".to_owned()));
    base = catalog
        .commit(&base, say(&base, "after", "{}"))
        .await
        .unwrap();
    assert_eq!(bench.snapshots("fate").await, 11);

    // In, but others came after: nobody may call it the last.
    let sent = bench.proxy.seen(post);
    after(504, 1);
    let change = say(&base, "after", "504 and others");
    // The first try is in; what others do comes before the second.
    let held = Arc::new(tokio::sync::Notify::new());
    bench.proxy.plan(post, 1, Mishap::HeldUp(Arc::clone(&held)));
    let (committing, tried_on) = (Arc::clone(catalog), base.clone());
    let committing = tokio::spawn(async move { committing.commit(&tried_on, change).await });
    while bench.proxy.seen(post) < sent + 2 {
        Ambient::system()
            .clock
            .sleep(Duration::from_millis(20))
            .await;
    }
    let updates = json!([{ "action": "set-properties", "updates": { "a": "b" } }]);
    bench.other.update(&format!("{TABLES}/fate"), updates).await;
    held.notify_one();
    let error = committing.await.unwrap().unwrap_err();
    assert!(
        matches!(error, CommitError::OutcomeUnknown { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("it took effect"), "{error}");

    // Not in, as far as anybody can see.
    for status in [503, 504] {
        let base = bench.fresh(&format!("fate{status}")).await;
        before(status, 3);
        let error = catalog.commit(&base, say(&base, "a", 1)).await.unwrap_err();
        assert!(
            matches!(error, CommitError::OutcomeUnknown { .. }),
            "{error}"
        );
        assert!(error.to_string().contains("unchanged so far"), "{error}");
        assert!(error.to_string().contains(&status.to_string()), "{error}");
    }
    // Certainly not in.
    let base = bench.fresh("fate_refused").await;
    for status in [400, 422, 429] {
        before(status, 3 - usize::from(status != 429) * 2);
        let error = catalog.commit(&base, say(&base, "a", 1)).await.unwrap_err();
        let CommitError::Refused(refused) = &error else {
            panic!("{status}: {error}");
        };
        assert_eq!(refused.is_throttling(), status == 429, "{status}: {error}");
        assert!(error.to_string().contains("said the proxy"), "{error}");
    }
    assert_eq!(bench.snapshots("fate_refused").await, 0);
    // A server that is not there was not asked.
    let nowhere = connect(&[("uri", "http://127.0.0.1:9")]);
    let error = nowhere.commit(&base, say(&base, "a", 1)).await.unwrap_err();
    assert!(
        matches!(
            error,
            CommitError::Refused(CatalogError::Unavailable { .. })
        ),
        "{error}"
    );
}

async fn c30_what_a_commit_builds_on_is_compared_and_nothing_else(bench: &JavaBench) {
    let catalog = &bench.catalog;
    let path = format!("{TABLES}/exact");
    let base = bench.fresh("exact").await;
    let base = catalog.commit(&base, say(&base, "a", 1)).await.unwrap();

    // Another property is nobody's conflict, and stays.
    let updates = json!([{ "action": "set-properties", "updates": { "theirs": "kept" } }]);
    bench.other.update(&path, updates).await;
    let base = catalog.commit(&base, say(&base, "a", 2)).await.unwrap();
    assert_eq!(base.metadata.properties()["theirs"], "kept");

    // Another schema is.
    let fields = json!([
        { "id": 1, "name": "id", "type": "long", "required": false },
        { "id": 2, "name": "more", "type": "string", "required": false },
    ]);
    let schema = json!({ "type": "struct", "schema-id": 1, "fields": fields });
    let updates = json!([
        { "action": "add-schema", "schema": schema, "last-column-id": 2 },
        { "action": "set-current-schema", "schema-id": -1 },
    ]);
    bench.other.update(&path, updates).await;
    let error = catalog.commit(&base, say(&base, "a", 3)).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error}");

    // A snapshot on another branch takes the sequence number: the server calls that a wrong request.
    let base = catalog.load(&table("exact")).await.unwrap();
    let mut on_a_branch = say(&base, "a", "branch");
    for update in &mut on_a_branch.updates {
        if let iceberg::TableUpdate::SetSnapshotRef { ref_name, .. } = update {
            *ref_name = "audit".to_owned();
        }
    }
    let branched = catalog.commit(&base, on_a_branch).await.unwrap();
    assert_eq!(said(&branched, "a").as_deref(), Some("2"), "main stays");
    let error = catalog.commit(&base, say(&base, "a", 4)).await.unwrap_err();
    assert!(matches!(error, CommitError::Conflict(_)), "{error}");
    let base = catalog.load(&table("exact")).await.unwrap();
    catalog.commit(&base, say(&base, "a", 5)).await.unwrap();
}

async fn unchanged_tables_cost_a_304(bench: &JavaBench) {
    let base = bench.fresh("census").await;
    let first = bench.catalog.locate(&table("census"), None).await.unwrap();
    let Located::At { location, tag } = first else {
        panic!("{first:?}")
    };
    assert_eq!(location, base.metadata_location);
    let etag = tag.expect("this server names states");
    let asked = bench.proxy.seen("if-none-match");
    let located = bench.catalog.locate(&table("census"), Some(&etag)).await;
    assert_eq!(located.unwrap(), Located::AsSeen);
    assert_eq!(bench.proxy.seen("if-none-match"), asked + 1);
    // What is asked with is what the server answers 304 to.
    let again = Other::new(&bench.server.endpoint, &[("if-none-match", &etag)]);
    let path = format!("{TABLES}/census?snapshots=refs");
    assert_eq!(again.ask(Method::GET, &path, None).await.0, 304);

    let committed = bench
        .catalog
        .commit(&base, say(&base, "a", 1))
        .await
        .unwrap();
    let moved = bench.catalog.locate(&table("census"), Some(&etag)).await;
    let moved = moved.unwrap();
    assert!(
        matches!(&moved, Located::At { location, .. } if *location == committed.metadata_location),
        "{moved:?}"
    );
    assert_eq!(again.ask(Method::GET, &path, None).await.0, 200);
}

async fn namespaces_and_tables_come_in_pages(bench: &JavaBench) {
    for levels in [
        &["deep"][..],
        &["deep", "er"],
        &["deep", "er", "still"],
        &["other one"],
    ] {
        bench
            .other
            .post("/v1/namespaces", json!({ "namespace": levels }))
            .await;
    }
    let found = bench.catalog.list_namespaces().await.unwrap();
    let mut names: Vec<String> = found
        .iter()
        .map(|namespace| namespace.0.join("/"))
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "conformance",
            "deep",
            "deep/er",
            "deep/er/still",
            "other one"
        ]
    );

    let namespace = Namespace(["deep", "er", "still"].map(str::to_owned).to_vec());
    let path = "/v1/namespaces/deep%2Eer%2Estill/tables";
    for name in ["a", "b c", "d-é", "e", "f", "g", "h"] {
        bench.other.create(path, name).await;
    }
    let database = DatabaseId {
        catalog: bench.catalog.name().clone(),
        namespace,
    };
    let (mut tables, mut next, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let page = bench
            .catalog
            .list_tables(&database, next.as_deref())
            .await
            .unwrap();
        tables.extend(page.tables);
        pages += 1;
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!((tables.len(), pages), (7, 3));
    for listed in tables {
        bench.catalog.load(&listed.table).await.unwrap();
    }
}

async fn what_is_no_catalog_is_told(bench: &JavaBench) {
    // A web server, but no catalog: its "not found" says nothing about tables.
    let body = "<html>nothing here</html>".to_owned();
    bench
        .proxy
        .plan("/lost", 100, Mishap::AnsweredInstead(404, body.clone()));
    let error = bench.catalog.load(&table("lost")).await.unwrap_err();
    assert!(matches!(error, CatalogError::Unavailable { .. }), "{error}");
    let uri = format!("{}/lost", bench.proxy.endpoint());
    let error = connect(&[("uri", &uri)])
        .list_namespaces()
        .await
        .unwrap_err();
    assert!(
        matches!(error, CatalogError::Configuration { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("check uri"), "{error}");
    bench
        .proxy
        .plan("/odd", 100, Mishap::AnsweredInstead(200, body));
    let uri = format!("{}/odd", bench.proxy.endpoint());
    let error = connect(&[("uri", &uri)])
        .list_namespaces()
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("none of Iceberg's REST protocol"),
        "{error}"
    );
}

/// OAuth2 and keys to files, with a server that insists on the one and hands out the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_keys_are_had_and_renewed() {
    const TOKENS: &str = "POST /v1/oauth/tokens";
    const HOUR: Duration = Duration::from_secs(3600);
    let options = [
        "--credential",
        "me:my secret",
        "--token-seconds",
        "3600",
        "--keys-seconds",
        "3600",
    ];
    let Some(server) = JavaServer::start(&options) else {
        return;
    };
    let Some(emulator) = Emulator::start(EmulatorKind::Moto) else {
        return;
    };
    let proxy = Proxy::start(&server.endpoint).await;
    let s3 = Proxy::start(emulator.endpoint()).await;
    let (ambient, clock) = Ambient::repeatable(1, Ambient::system().now());
    let aws = emulator.environment().await;
    let uri = proxy.endpoint();

    for (wrong, said) in [
        (&[("uri", uri)][..], "no token, or one that is over"),
        (
            &[("uri", uri), ("token", "guessed")],
            "no token, or one that is over",
        ),
        (
            &[("uri", uri), ("credential", "me:wrong")],
            "invalid_client: who are you?",
        ),
    ] {
        let error = connect(wrong).list_namespaces().await.unwrap_err();
        assert!(
            matches!(error, CatalogError::PermissionDenied { .. }),
            "{error}"
        );
        assert!(error.to_string().contains(said), "{error}");
    }

    let asked = proxy.seen(TOKENS);
    let properties = [
        ("uri", uri),
        ("credential", "me:my secret"),
        ("s3.endpoint", s3.endpoint()),
    ];
    let catalog = connect_with(&properties, &aws, ambient);
    // Many at once need one token.
    let lists = (0..8).map(|_| {
        let catalog = Arc::clone(&catalog);
        tokio::spawn(async move { catalog.list_namespaces().await.map(drop) })
    });
    for list in lists.collect::<Vec<_>>() {
        list.await.unwrap().unwrap();
    }
    assert_eq!(proxy.seen(TOKENS), asked + 1);
    assert_eq!(
        proxy.bodies(TOKENS).last().unwrap(),
        "grant_type=client_credentials&client_id=me&client_secret=my+secret&scope=catalog"
    );
    // Before the end, and not much before.
    clock.advance(HOUR - Duration::from_secs(310));
    catalog.list_namespaces().await.unwrap();
    assert_eq!(proxy.seen(TOKENS), asked + 1);
    clock.advance(Duration::from_secs(20));
    catalog.list_namespaces().await.unwrap();
    assert_eq!(proxy.seen(TOKENS), asked + 2);
    // Refused in spite of that: once more with a new one, also where something is written.
    let refused = || Mishap::AnsweredInstead(401, error_body("NotAuthorizedException", 401));
    proxy.plan("GET /v1/namespaces", 1, refused());
    catalog.list_namespaces().await.unwrap();
    assert_eq!(proxy.seen(TOKENS), asked + 3);
    let token = proxy.heads("GET /v1/namespaces").last().and_then(|head| {
        head.lines()
            .find_map(|line| line.strip_prefix("authorization: ").map(str::to_owned))
    });
    let other = Other::new(&server.endpoint, &[("authorization", &token.unwrap())]);
    other
        .post("/v1/namespaces", json!({ "namespace": [NAMESPACE] }))
        .await;
    other.create(TABLES, "t").await;
    let base = catalog.load(&table("t")).await.unwrap();
    proxy.plan("POST /v1/namespaces", 1, refused());
    catalog.commit(&base, say(&base, "a", 1)).await.unwrap();
    assert_eq!(proxy.seen(TOKENS), asked + 4);
    // Where no token can be had for a commit, nothing was sent, whatever became of the token.
    clock.advance(HOUR);
    let base = catalog.load(&table("t")).await.unwrap();
    clock.advance(HOUR);
    let trouble = Mishap::AnsweredAfterwards(504, error_body("GatewayTimeout", 504));
    proxy.plan(TOKENS, 3, trouble);
    let error = catalog.commit(&base, say(&base, "a", 2)).await.unwrap_err();
    let is_refused = matches!(
        error,
        CommitError::Refused(CatalogError::Unavailable { .. })
    );
    assert!(is_refused, "{error}");
    // A server that refuses every token.
    proxy.plan("GET /v1/namespaces", 2, refused());
    let error = catalog.list_namespaces().await.unwrap_err();
    assert!(
        matches!(error, CatalogError::PermissionDenied { .. }),
        "{error}"
    );

    // The server's keys end by the clock on the wall.
    let (ambient, clock) = Ambient::repeatable(2, Ambient::system().now());
    let catalog = connect_with(&properties, &aws, ambient);
    keys_are_the_table_s_own_and_renewed(&catalog, &proxy, &s3, &clock).await;
}

/// With keys that live for an hour.
async fn keys_are_the_table_s_own_and_renewed(
    catalog: &RestCatalog,
    proxy: &Proxy,
    s3: &Proxy,
    clock: &ManualClock,
) {
    let loads = || proxy.seen("GET /v1/namespaces/conformance/tables/t ");
    let keys = |first: &str| -> Vec<String> {
        let key_of = |head: &String| {
            let key = head.split("Credential=").nth(1)?.split('/').next()?;
            key.starts_with(first).then(|| key.to_owned())
        };
        s3.heads("authorization")
            .iter()
            .filter_map(key_of)
            .collect()
    };
    catalog.load(&table("t")).await.unwrap();
    let storage = catalog.table_storage(&table("t")).await.unwrap().unwrap();
    let loaded = loads();
    for location in [
        "s3a://lake/data/a",
        "s3://lake/own/a",
        "s3://elsewhere/a",
        "s3://lake/data/b",
    ] {
        let _ = storage.info(location).await;
    }
    assert_eq!(loads(), loaded, "the keys came with the table");
    assert_eq!(keys("LAKE").len(), 2, "{:?}", keys(""));
    assert_eq!(keys("OWN").len(), 1, "the longest prefix");
    assert_eq!(keys("123456789012").len(), 1, "all else with our own");
    assert!(s3.seen("x-amz-security-token: session") == 3);

    // Other keys alone are no reason for another storage: the one there is renews its own.
    catalog.load(&table("t")).await.unwrap();
    let again = catalog.table_storage(&table("t")).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&storage, &again));
    let session = catalog.core.session().await.unwrap();
    let (_, body) = catalog.core.load(&table("t"), None).await.unwrap();
    let access = Access::new(&session.said, None, body.storage_credentials.as_deref());
    let keys = access.keys("s3://lake/own").unwrap();
    let vended = VendedCredentials::new(&catalog.core, &table("t"), "s3://lake/own", keys);
    let first = vended.provide_credentials().await.unwrap();
    assert!(first.access_key_id().starts_with("OWN"));
    assert!(first.expiry().unwrap() > crate::auth::at(clock.now()));
    clock.advance(Duration::from_secs(1800));
    let loaded = loads();
    assert_eq!(vended.provide_credentials().await.unwrap(), first);
    assert_eq!(loads(), loaded);
    clock.advance(Duration::from_secs(1800));
    let renewed = vended.provide_credentials().await.unwrap();
    assert!(renewed.access_key_id().starts_with("OWN"));
    assert_ne!(renewed.access_key_id(), first.access_key_id());
    assert_eq!(loads(), loaded + 1);
}

/// Where files are local no keys matter, and the catalog's own storage is taken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_nothing_about_files_leaves_them_to_us() {
    let Some(bench) = JavaBench::start(&[]).await else {
        return;
    };
    bench.fresh("plain").await;
    assert!(
        bench
            .catalog
            .table_storage(&table("plain"))
            .await
            .unwrap()
            .is_none()
    );
}
