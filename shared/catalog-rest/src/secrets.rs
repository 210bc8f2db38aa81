//! Secrets that stand in AWS instead of in a configuration: Secrets Manager and Systems Manager's parameters, asked by one
//! small request each, signed and sent as all others are. (Their SDKs would be the two largest that this program has.)

use base64::{Engine as _, engine::general_purpose::STANDARD};
use icepress_catalog::{
    CatalogError,
    config::{CatalogProperties, SecretReference},
};
use icepress_model::ambient::Ambient;
use icepress_storage::AwsEnvironment;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::{
    auth::Auth,
    client::RestClient,
    errors::{Failure, FailureKind},
    http::HttpClient,
    options::{AuthOptions, SigV4Options, aws_domain},
};

const TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.1");

/// Where secrets are asked for, as whoever runs this process.
#[derive(Debug)]
pub struct Secrets<'a> {
    /// Sends the requests.
    pub http: &'a HttpClient,
    /// Region and credentials.
    pub aws: &'a AwsEnvironment,
    /// The time that a signature carries.
    pub ambient: &'a Ambient,
}

/// How one of the two services is asked.
struct Question {
    /// As the signature and the address have it.
    service: &'static str,
    /// As the SDK's configuration of endpoints has it.
    service_id: &'static str,
    target: &'static str,
    body: Value,
}

impl Secrets<'_> {
    /// The same properties with what their references name. What can't be had is an error that names property and
    /// reference.
    pub async fn resolve(
        &self,
        properties: &CatalogProperties,
    ) -> Result<CatalogProperties, CatalogError> {
        let catalog = properties.name().to_string();
        let references = properties
            .secrets()
            .map_err(|error| CatalogError::Configuration {
                catalog: catalog.clone(),
                message: error.to_string(),
            })?;
        let mut secrets = Vec::with_capacity(references.len());
        for (key, reference) in references {
            let secret = self.secret(&reference).await.map_err(|failure| {
                let message = format!("{key}: {reference} can't be read: {}", failure.message);
                let failure = Failure { message, ..failure };
                match failure.kind {
                    FailureKind::Invalid | FailureKind::NotFound => CatalogError::Configuration {
                        catalog: catalog.clone(),
                        message: failure.message,
                    },
                    _ => failure.into_catalog_error(properties.name()),
                }
            })?;
            secrets.push((key, secret));
        }
        Ok(properties.clone().with_secrets(secrets))
    }

    async fn secret(&self, reference: &SecretReference) -> Result<String, Failure> {
        let answer = self.ask(reference).await?;
        let nothing = || Failure::new(FailureKind::Invalid, "the answer has no value in it");
        match reference {
            SecretReference::Parameter { .. } => {
                let value = answer.pointer("/Parameter/Value").and_then(Value::as_str);
                value.map(str::to_owned).ok_or_else(nothing)
            }
            SecretReference::Secret { field, .. } => {
                let text = answer["SecretString"].as_str().map(str::to_owned);
                let binary = || {
                    let bytes = STANDARD.decode(answer["SecretBinary"].as_str()?).ok()?;
                    String::from_utf8(bytes).ok()
                };
                let secret = text.or_else(binary).ok_or_else(nothing)?;
                match field {
                    None => Ok(secret),
                    Some(field) => field_of(&secret, field).ok_or_else(|| {
                        let message = format!("it is no JSON object with a text under '{field}'");
                        Failure::new(FailureKind::Invalid, message)
                    }),
                }
            }
        }
    }

    async fn ask(&self, reference: &SecretReference) -> Result<Value, Failure> {
        let question = match reference {
            SecretReference::Secret { id, .. } => Question {
                service: "secretsmanager",
                service_id: "Secrets Manager",
                target: "secretsmanager.GetSecretValue",
                body: json!({ "SecretId": id }),
            },
            SecretReference::Parameter { name } => Question {
                service: "ssm",
                service_id: "SSM",
                target: "AmazonSSM.GetParameter",
                body: json!({ "Name": name, "WithDecryption": true }),
            },
        };
        let own = self.aws.config().await.region().map(ToString::to_string);
        let region = reference.region().map(str::to_owned).or(own);
        let region = region.ok_or_else(|| {
            let message = "there is no region to ask: name an ARN, or set AWS_REGION";
            Failure::new(FailureKind::Invalid, message)
        })?;
        let service = question.service;
        let url = match self.aws.endpoint_of(question.service_id).await {
            Some(endpoint) => format!("{}/", endpoint.trim_end_matches('/')),
            None => format!("https://{service}.{region}.{}/", aws_domain(&region)),
        };
        let auth = AuthOptions::SigV4(SigV4Options {
            service: service.to_owned(),
            region: Some(region),
        });
        let client = RestClient {
            http: self.http.clone(),
            auth: Auth::new(&auth, self.http, self.aws, self.ambient)?,
            headers: HeaderMap::new(),
            ambient: self.ambient.clone(),
        };
        let headers = HeaderMap::from_iter([
            (CONTENT_TYPE, JSON),
            (TARGET, HeaderValue::from_static(question.target)),
        ]);
        let body = question.body.to_string();
        let answer = client.ask(&url, &headers, body.as_bytes()).await?;
        // Not what it says: it may be the secret.
        serde_json::from_slice(&answer.body)
            .map_err(|_| Failure::new(FailureKind::Invalid, format!("{url} gave no JSON")))
    }
}

/// A field of a secret that is a JSON object.
fn field_of(secret: &str, field: &str) -> Option<String> {
    match serde_json::from_str::<Value>(secret).ok()?.get(field)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
