//! A server that sends us elsewhere: nothing may go there that the user did not allow.

use std::sync::{Arc, Mutex};

use icepress_catalog::{Catalog as _, CatalogError};
use icepress_model::ambient::Ambient;
use icepress_storage::AwsEnvironment;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::servers::{connect_with, table};

/// Answers every request with what is kept for its path, and notes the path.
struct Canned {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Canned {
    async fn start(answer: impl Fn(&str) -> Value + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match client.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => break,
                    }
                }
                let head = String::from_utf8_lossy(&head);
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let body = answer(&path).to_string();
                noted.lock().unwrap().push(path);
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
                );
                let _ = client.write_all(answer.as_bytes()).await;
            }
        });
        Self { endpoint, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A table as a load answers, with `config` beside it.
fn a_table(config: Value) -> Value {
    let fields = json!([{ "id": 1, "name": "id", "required": false, "type": "long" }]);
    json!({
        "metadata-location": "s3://lake/t/metadata/1.metadata.json",
        "metadata": {
            "format-version": 2, "table-uuid": "6f1c2c8e-1111-4222-8333-444455556666", "location": "s3://lake/t",
            "last-sequence-number": 0, "last-updated-ms": 1, "last-column-id": 1, "current-schema-id": 0,
            "schemas": [{ "type": "struct", "schema-id": 0, "fields": fields }], "default-spec-id": 0,
            "partition-specs": [{ "spec-id": 0, "fields": [] }], "last-partition-id": 999, "default-sort-order-id": 0,
            "sort-orders": [{ "order-id": 0, "fields": [] }], "properties": {}, "snapshots": [],
        },
        "config": config,
    })
}

/// One that says `overrides` in its configuration and `config` with each table.
async fn server(overrides: Value, config: Value) -> Canned {
    Canned::start(move |path| {
        if path.starts_with("/v1/config") {
            json!({ "defaults": {}, "overrides": overrides })
        } else {
            a_table(config.clone())
        }
    })
    .await
}

async fn loaded(server: &Canned, more: &[(&str, &str)]) -> Result<(), CatalogError> {
    let mut properties = vec![("uri", &*server.endpoint)];
    properties.extend(more);
    let catalog = connect_with(&properties, &AwsEnvironment::new(), Ambient::system());
    catalog.load(&table("t")).await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_moves_neither_itself_nor_tokens_nor_files_to_where_the_user_allows_nothing() {
    let elsewhere = Canned::start(|_| a_table(json!({}))).await;
    let there = elsewhere.endpoint.as_str();
    let nothing = || json!({});
    for (what, overrides, config, more) in [
        ("uri", json!({ "uri": there }), nothing(), &[][..]),
        (
            "uri",
            json!({ "uri": format!("{there}/deep") }),
            nothing(),
            &[],
        ),
        (
            "s3.endpoint",
            json!({ "s3.endpoint": there }),
            nothing(),
            &[],
        ),
        (
            "s3.endpoint",
            nothing(),
            json!({ "s3.endpoint": there }),
            &[],
        ),
        (
            "s3.endpoint",
            nothing(),
            json!({ "s3.endpoint": there }),
            &[("allowed-endpoints", "http://127.0.0.1:1")],
        ),
    ] {
        let server = server(overrides.clone(), config.clone()).await;
        let error = loaded(&server, more).await.unwrap_err();
        let said = error.to_string();
        assert!(
            matches!(error, CatalogError::Configuration { .. }),
            "{what}: {said}"
        );
        assert!(
            said.contains(there) && said.contains("allowed-endpoints"),
            "{what}: {said}"
        );
        assert_eq!(elsewhere.asked(), [""; 0], "{what}");

        let mut more = more.to_vec();
        more.retain(|(key, _)| *key != "allowed-endpoints");
        more.push(("allowed-endpoints", there));
        loaded(&server, &more).await.unwrap();
        elsewhere.asked.lock().unwrap().clear();
    }
}

/// The secret of a client's own is worth more than a table.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_does_not_say_where_the_client_s_secret_goes() {
    let elsewhere = Canned::start(|_| json!({ "access_token": "x", "token_type": "bearer" })).await;
    let there = format!("{}/token", elsewhere.endpoint);
    let server = Canned::start({
        let there = there.clone();
        move |path| match path {
            "/v1/oauth/tokens" => json!({ "access_token": "x", "token_type": "bearer" }),
            path if path.starts_with("/v1/config") => {
                json!({ "defaults": {}, "overrides": { "oauth2-server-uri": there } })
            }
            _ => a_table(json!({})),
        }
    })
    .await;
    let error = loaded(&server, &[("credential", "me:hidden")])
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&there) && error.contains("oauth2-server-uri"),
        "{error}"
    );
    assert_eq!(elsewhere.asked(), [""; 0]);
}
