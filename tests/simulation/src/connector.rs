//! The AWS clients' way to the simulated services: an HTTP connector that answers from memory.

use std::{fmt, sync::Arc};

use aws_sdk_dynamodb::config::{
    BehaviorVersion, HttpClient, Region, RuntimeComponents, SharedHttpClient,
    StalledStreamProtectionConfig,
    http::{HttpRequest, HttpResponse},
    retry::{RetryConfig, RetryPartition},
};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use icepress_model::ambient::Clock;
use serde_json::{Value, json};

use crate::{
    ambient::ClockSleep,
    dynamo::{Dynamo, Refusal},
    network::{Cut, Delivery, Network, Service},
    sqs::Sqs,
};

/// Both services, as one machine reaches them.
#[derive(Debug, Clone)]
pub struct Aws {
    dynamo: Arc<Dynamo>,
    sqs: Arc<Sqs>,
    network: Arc<Network>,
    sender: Arc<str>,
}

impl Aws {
    /// The services as `sender` reaches them.
    pub fn new(dynamo: &Arc<Dynamo>, sqs: &Arc<Sqs>, network: &Arc<Network>, sender: &str) -> Self {
        Self {
            dynamo: Arc::clone(dynamo),
            sqs: Arc::clone(sqs),
            network: Arc::clone(network),
            sender: Arc::from(sender),
        }
    }

    /// A DynamoDB client that waits on `clock`. It tries again as ours in production do, but without chance of its own.
    pub fn dynamodb_client(&self, clock: &Arc<dyn Clock>) -> aws_sdk_dynamodb::Client {
        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .http_client(SharedHttpClient::new(self.clone()))
            .sleep_impl(ClockSleep(Arc::clone(clock)))
            .retry_config(RetryConfig::standard().with_use_static_exponential_base(true))
            .retry_partition(RetryPartition::custom("simulated").build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .allow_no_auth()
            .build();
        aws_sdk_dynamodb::Client::from_conf(config)
    }

    /// An SQS client likewise.
    pub fn sqs_client(&self, clock: &Arc<dyn Clock>) -> aws_sdk_sqs::Client {
        let config = aws_sdk_sqs::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .http_client(SharedHttpClient::new(self.clone()))
            .sleep_impl(ClockSleep(Arc::clone(clock)))
            .retry_config(RetryConfig::standard().with_use_static_exponential_base(true))
            .retry_partition(RetryPartition::custom("simulated").build())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .allow_no_auth()
            .build();
        aws_sdk_sqs::Client::from_conf(config)
    }
}

impl HttpClient for Aws {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Aws {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request
            .headers()
            .get("x-amz-target")
            .unwrap_or_default()
            .to_owned();
        let body: Value = request
            .body()
            .bytes()
            .and_then(|bytes| serde_json::from_slice(bytes).ok())
            .map_or(Value::Null, sorted);
        let aws = self.clone();
        HttpConnectorFuture::new(async move { aws.carry(target, body).await })
    }
}

impl Aws {
    async fn carry(&self, target: String, body: Value) -> Result<HttpResponse, ConnectorError> {
        let (prefix, operation) = target.split_once('.').unwrap_or(("", &target));
        let service = if prefix.starts_with("DynamoDB") {
            Service::DynamoDb
        } else {
            Service::Sqs
        };
        let what = Summary {
            operation: operation.to_owned(),
            subject: subject(&body),
        };
        let effect = {
            let (aws, operation) = (self.clone(), operation.to_owned());
            let what = what.clone();
            move || {
                let answer = match service {
                    Service::DynamoDb => aws.dynamo.answer(&operation, &body),
                    _ => aws.sqs.answer(&operation, &body),
                };
                if let Some(engine) = aws.network.engine() {
                    match &answer {
                        Ok(answer) => {
                            let answer = answer.to_string();
                            engine.note(format_args!(
                                "{}: {what}: {}",
                                aws.sender,
                                crate::engine::short(answer.as_bytes())
                            ));
                        }
                        Err(refusal) => {
                            engine.note(format_args!("{}: {what}: {}", aws.sender, refusal.code));
                            // A request that no service understands is wrong, or the simulation is too poor for it.
                            if matches!(
                                refusal.code,
                                "ValidationException" | "UnknownOperationException"
                            ) {
                                engine.violated(format!("{what}: {}", refusal.message));
                            }
                        }
                    }
                }
                answer
            }
        };
        let answer = self
            .network
            .call(service, &self.sender, &what, Delivery::Usual, effect)
            .await;
        match answer {
            Ok(Ok(value)) => response(200, &value),
            Ok(Err(refusal)) => response(400, &error_body(service, &refusal)),
            Err(Cut::Throttled) => {
                let code = match service {
                    Service::DynamoDb => "ProvisionedThroughputExceededException",
                    _ => "RequestThrottled",
                };
                response(
                    400,
                    &json!({ "__type": code, "message": "too many requests" }),
                )
            }
            Err(Cut::ServerError) => response(
                500,
                &json!({ "__type": "InternalServerError", "message": "something went wrong" }),
            ),
            Err(Cut::NoAnswer) => Err(ConnectorError::timeout("nothing was heard".into())),
        }
    }
}

fn error_body(service: Service, refusal: &Refusal) -> Value {
    let prefix = match service {
        Service::DynamoDb => "com.amazonaws.dynamodb.v20120810#",
        _ => "com.amazonaws.sqs#",
    };
    let mut body =
        json!({ "__type": format!("{prefix}{}", refusal.code), "message": refusal.message });
    // What goes wrong within a transaction is told under a capital letter.
    if refusal.code == "TransactionCanceledException" {
        body["Message"] = json!(refusal.message);
    }
    for (name, value) in &refusal.more {
        body[name] = value.clone();
    }
    body
}

fn response(status: u16, body: &Value) -> Result<HttpResponse, ConnectorError> {
    let status =
        StatusCode::try_from(status).map_err(|error| ConnectorError::other(error.into(), None))?;
    let mut response = HttpResponse::new(status, SdkBody::from(body.to_string()));
    response
        .headers_mut()
        .insert("content-type", "application/x-amz-json-1.0");
    response
        .headers_mut()
        .insert("x-amzn-requestid", "simulated");
    Ok(response)
}

/// The same with every object's fields in order: the clients send them in an order of their own at each start.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(values) => values.into_iter().map(sorted).collect(),
        Value::Object(fields) => {
            let mut fields: Vec<(String, Value)> = fields.into_iter().collect();
            fields.sort_by(|(a, _), (b, _)| a.cmp(b));
            let fields = fields
                .into_iter()
                .map(|(name, value)| (name, sorted(value)));
            Value::Object(fields.collect())
        }
        other => other,
    }
}

/// A request in few words, for the trace.
#[derive(Debug, Clone)]
struct Summary {
    operation: String,
    subject: String,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.operation, self.subject)
    }
}

/// What a request is about: its key, or what its first part writes.
fn subject(body: &Value) -> String {
    let key = |value: &Value| {
        let part = |name: &str| value[name]["S"].as_str().map(str::to_owned);
        if let Some(entity) = part("entityId") {
            return Some(format!("lock {entity}"));
        }
        Some(format!("{} {}", part("pk")?, part("sk")?))
    };
    if let Some(found) = key(&body["Key"]).or_else(|| key(&body["Item"])) {
        return found;
    }
    if let Some(actions) = body["TransactItems"].as_array() {
        let keys = actions.iter().filter_map(|action| {
            let (kind, action) = action.as_object()?.iter().next()?;
            let key = key(&action["Key"]).or_else(|| key(&action["Item"]))?;
            Some(format!("{kind} {key}"))
        });
        return keys.collect::<Vec<_>>().join(", ");
    }
    if let Some(queue) = body["QueueUrl"].as_str() {
        let name = queue.rsplit('/').next().unwrap_or_default();
        let receipt = body["ReceiptHandle"].as_str().unwrap_or_default();
        return format!("{name} {receipt}");
    }
    let values = body["ExpressionAttributeValues"].to_string();
    if values.len() < 200 {
        values
    } else {
        String::new()
    }
}
