//! CloudWatch's embedded metric format: values as lines of a function's log, of which CloudWatch makes metrics. It needs no right but that
//! to write the log.
//!
//! [Specification](https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html): a
//! document has at most 100 metrics, and each of them at most 100 values.

use std::collections::BTreeMap;

use icepress_model::TimestampMs;
use serde_json::{Map, Value as Json, json};

use crate::{
    catalogue::Metric,
    recorder::{Labels, Value, Values},
};

/// The namespace of all deployments.
pub const NAMESPACE: &str = "Icepress";

/// The dimension that every metric has: the deployment's name.
pub const DEPLOYMENT: &str = "Deployment";

/// Metrics of one document.
const MOST_METRICS: usize = 100;

/// The lines for these values, each a whole document.
pub fn documents(values: &Values, deployment: &str, now: TimestampMs) -> Vec<Json> {
    let mut together: BTreeMap<Labels, Vec<(Metric, Value)>> = BTreeMap::new();
    for metric in Metric::ALL {
        for dimensions in metric.describe().in_cloud_watch {
            for (labels, value) in values.by(metric, dimensions) {
                together.entry(labels).or_default().push((metric, value));
            }
        }
    }
    let chunks = together.iter().flat_map(|(labels, metrics)| {
        let chunks = metrics.chunks(MOST_METRICS);
        chunks.map(move |metrics| document(labels, metrics, deployment, now))
    });
    chunks.collect()
}

fn document(
    labels: &Labels,
    metrics: &[(Metric, Value)],
    deployment: &str,
    now: TimestampMs,
) -> Json {
    let names = labels
        .keys()
        .map(|dimension| dimension.in_cloud_watch())
        .collect::<Vec<_>>();
    let dimensions: Vec<&str> = std::iter::once(DEPLOYMENT).chain(names).collect();
    let definitions: Vec<Json> = metrics
        .iter()
        .map(|(metric, _)| {
            let unit = metric.describe().unit.in_cloud_watch();
            json!({ "Name": metric.in_cloud_watch(), "Unit": unit })
        })
        .collect();
    let mut members = Map::new();
    members.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now.get(),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [dimensions],
                "Metrics": definitions,
            }],
        }),
    );
    members.insert(DEPLOYMENT.to_owned(), deployment.into());
    for (dimension, value) in labels {
        let name = dimension.in_cloud_watch().to_owned();
        members.insert(name, value.as_str().into());
    }
    for (metric, value) in metrics {
        let value = match value {
            Value::Sum(value) | Value::Level(value) => json!(value),
            Value::Measured(measured) => json!(measured.samples),
        };
        members.insert(metric.in_cloud_watch(), value);
    }
    Json::Object(members)
}
