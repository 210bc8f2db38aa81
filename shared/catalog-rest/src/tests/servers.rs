//! Servers as processes of their own, and what tests ask them as other clients would.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use icepress_catalog::config::CatalogProperties;
use icepress_model::{CatalogName, Namespace, TableId, ambient::Ambient};
use icepress_storage::{AwsEnvironment, conformance::emulator};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{HttpClient, RestCatalog};

pub(super) const NAMESPACE: &str = "conformance";

/// Iceberg's own REST server over a SQLite file; ends when dropped.
pub(super) struct JavaServer {
    process: Child,
    pub(super) endpoint: String,
    pub(super) folder: TempDir,
}

impl JavaServer {
    /// Starts one. `None`, with a line printed, where there is no harness; where `CI` is set that fails the test.
    pub(super) fn start(options: &[&str]) -> Option<Self> {
        let java = root().join("target/java");
        if !java.join("classes").is_dir() {
            assert!(!is_ci(), "there is no Java harness: tests/run builds it");
            println!("skipped: there is no Java harness: tests/run builds it");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let class_path = format!("{0}/classes:{0}/lib/*", java.display());
        let mut process = Command::new("java")
            .args([
                "-XX:TieredStopAtLevel=1",
                "-XX:+UseSerialGC",
                "-Xshare:auto",
                "-cp",
                &class_path,
            ])
            .args(["dev.icepress.harness.Main", "rest", "--db"])
            .arg(folder.path().join("catalog.db"))
            .arg("--warehouse")
            .arg(folder.path().join("warehouse"))
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let endpoint = first_line(&mut process);
        Some(Self {
            process,
            endpoint,
            folder,
        })
    }
}

impl Drop for JavaServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A gate that lets rightly signed requests through to `target` alone; ends when dropped.
pub(super) struct SignatureGate {
    process: Child,
    pub(super) endpoint: String,
}

impl SignatureGate {
    /// Starts one that knows a key and its secret.
    pub(super) fn start(target: &str, service: &str, key: &str, secret: &str) -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tests/signature_gate.py");
        let mut process = Command::new(emulator::python()?)
            .arg(script)
            .args([target, service, key, secret])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let endpoint = first_line(&mut process);
        Some(Self { process, endpoint })
    }
}

impl Drop for SignatureGate {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn first_line(process: &mut Child) -> String {
    let mut line = String::new();
    let output = process.stdout.take().unwrap();
    BufReader::new(output).read_line(&mut line).unwrap();
    let line = line.trim().to_owned();
    assert!(line.starts_with("http"), "the server did not start: {line}");
    line
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test harness has no configuration of its own"
)]
fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !value.is_empty())
}

/// A catalog with these properties, on the system's clock and no AWS.
pub(super) fn connect(properties: &[(&str, &str)]) -> Arc<RestCatalog> {
    let nothing = AwsEnvironment::from_config(aws_config::SdkConfig::builder().build());
    connect_with(properties, &nothing, Ambient::system())
}

pub(super) fn connect_with(
    properties: &[(&str, &str)],
    aws: &AwsEnvironment,
    ambient: Ambient,
) -> Arc<RestCatalog> {
    let pairs = properties
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let properties = CatalogProperties::of(CatalogName::from("rest"), pairs);
    let reach = properties.reach(true).unwrap();
    let connected = RestCatalog::connect(&properties, aws, &HttpClient::default(), reach, ambient);
    Arc::new(connected.unwrap())
}

pub(super) fn table(name: &str) -> TableId {
    TableId {
        catalog: CatalogName::from("rest"),
        namespace: Namespace::from_dotted(NAMESPACE),
        name: name.to_owned(),
    }
}

/// Another client of the same server, which speaks by hand.
#[derive(Clone)]
pub(super) struct Other {
    pub(super) base: String,
    client: Client,
    headers: Vec<(&'static str, String)>,
}

impl Other {
    pub(super) fn new(base: impl Into<String>, headers: &[(&'static str, &str)]) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        Self {
            base: base.into(),
            client: Client::new(),
            headers: headers
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned()))
                .collect(),
        }
    }

    /// Status and body of an answer.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    pub(super) async fn get(&self, path: &str) -> Value {
        let (status, body) = self.ask(Method::GET, path, None).await;
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    pub(super) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, body) = self.ask(Method::POST, path, Some(body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {body}");
        body
    }

    pub(super) async fn put(&self, path: &str, body: Value) -> Value {
        let (status, body) = self.ask(Method::PUT, path, Some(body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {body}");
        body
    }

    pub(super) async fn delete(&self, path: &str) {
        let (status, body) = self.ask(Method::DELETE, path, None).await;
        assert!((200..300).contains(&status), "{path}: {status} {body}");
    }

    /// Changes a table without any condition.
    pub(super) async fn update(&self, path: &str, updates: Value) {
        let body = json!({ "requirements": [], "updates": updates });
        self.post(path, body).await;
    }

    /// Makes a table of one column.
    pub(super) async fn create(&self, tables: &str, name: &str) {
        let field = json!({ "id": 1, "name": "id", "type": "long", "required": false });
        let schema = json!({ "type": "struct", "schema-id": 0, "fields": [field] });
        self.post(tables, json!({ "name": name, "schema": schema }))
            .await;
    }
}

/// What of a table a commit of a snapshot must leave as it is, as text; and the metadata file before this one.
pub(super) fn kept(loaded: &Value) -> (String, Option<String>) {
    let metadata = &loaded["metadata"];
    let kept = [
        "table-uuid",
        "location",
        "properties",
        "schemas",
        "current-schema-id",
        "partition-specs",
        "sort-orders",
    ]
    .map(|key| {
        let mut value = metadata[key].clone();
        value.sort_all_objects();
        format!("{key}: {value}")
    });
    let last = metadata["metadata-log"]
        .as_array()
        .and_then(|log| log.last());
    let previous = last.and_then(|entry| entry["metadata-file"].as_str());
    (kept.join("\n"), previous.map(str::to_owned))
}
