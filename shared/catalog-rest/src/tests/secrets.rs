//! Secrets out of the two services as moto plays them.

use icepress_catalog::config::CatalogProperties;
use icepress_model::{CatalogName, ambient::Ambient};
use icepress_storage::conformance::emulator::{Emulator, EmulatorKind};
use serde_json::{Value, json};

use super::servers::Other;
use crate::{HttpClient, Secrets};

/// A request to one of the services as any client would send it; moto looks at no signature.
async fn tell(emulator: &Emulator, service: &str, target: &str, body: Value) -> Value {
    let signed = format!(
        "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=x"
    );
    let headers = [
        ("authorization", signed.as_str()),
        ("x-amz-target", target),
        ("content-type", "application/x-amz-json-1.1"),
    ];
    Other::new(emulator.endpoint(), &headers)
        .post("/", body)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_and_parameters_are_read_wherever_a_catalog_takes_one() {
    let Some(emulator) = Emulator::start(EmulatorKind::Moto) else {
        return;
    };
    let secret = json!({ "Name": "lake", "SecretString": r#"{"id": "me", "password": "pw1"}"# });
    let made = tell(
        &emulator,
        "secretsmanager",
        "secretsmanager.CreateSecret",
        secret,
    )
    .await;
    let arn = made["ARN"].as_str().unwrap().to_owned();
    let whole = json!({ "Name": "whole", "SecretString": "me:pw2" });
    tell(
        &emulator,
        "secretsmanager",
        "secretsmanager.CreateSecret",
        whole,
    )
    .await;
    let parameter = json!({ "Name": "/lake/token", "Value": "pw3", "Type": "SecureString" });
    tell(&emulator, "ssm", "AmazonSSM.PutParameter", parameter).await;

    let aws = emulator.environment().await;
    let (http, ambient) = (HttpClient::default(), Ambient::system());
    let secrets = Secrets {
        http: &http,
        aws: &aws,
        ambient: &ambient,
    };
    let properties = |pairs: &[(&str, &str)]| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        CatalogProperties::of(CatalogName::from("lake"), pairs)
    };
    let resolved = secrets
        .resolve(&properties(&[
            ("jdbc.password", &format!("secret:{arn}#password")),
            ("credential", "secret:whole"),
            ("header.x-token", "ssm:/lake/token"),
            ("warehouse", "s3://lake"),
        ]))
        .await
        .unwrap();
    for (key, expected) in [
        ("jdbc.password", "pw1"),
        ("credential", "me:pw2"),
        ("header.x-token", "pw3"),
        ("warehouse", "s3://lake"),
    ] {
        assert_eq!(resolved.get(key), Some(expected), "{key}");
    }
    assert!(!format!("{resolved:?}").contains("pw"));

    for (value, expected) in [
        ("secret:absent", "secret:absent can't be read"),
        ("ssm:/absent", "ssm:/absent can't be read"),
        (
            "secret:whole#password",
            "no JSON object with a text under 'password'",
        ),
        (
            "secret:lake#absent",
            "no JSON object with a text under 'absent'",
        ),
    ] {
        let error = secrets
            .resolve(&properties(&[("token", value)]))
            .await
            .unwrap_err();
        let error = error.to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("catalog lake: token"), "{error}");
        assert!(!error.contains("pw"), "{error}");
    }
}
