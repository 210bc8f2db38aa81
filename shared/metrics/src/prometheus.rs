//! The text that Prometheus reads ([exposition format](https://prometheus.io/docs/instrumenting/exposition_formats/) 0.0.4).

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{
        DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, prometheus_text::encode,
    },
    metrics::{MetricType, exemplar::Exemplar},
    registry::Registry,
};

use crate::{
    catalogue::{Description, Kind, Metric},
    recorder::{Labels, Value, Values},
};

/// The text's content type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is said to who asks.
pub fn text(values: Values) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Reading(values)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

/// Values as they were when somebody asked.
#[derive(Debug)]
struct Reading(Values);

impl Collector for Reading {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for metric in Metric::ALL {
            let described = metric.describe();
            let mut values = self.0.of(metric).peekable();
            let is_told = described.is_told_from_the_start();
            if values.peek().is_none() && !is_told {
                continue;
            }
            // The encoder appends it to counters.
            let name = described.name.strip_suffix("_total");
            let name = name.unwrap_or(described.name);
            let kind = type_of(described.kind);
            let mut of_metric = encoder.encode_descriptor(name, described.meaning, None, kind)?;
            if values.peek().is_none() {
                encode_value(&mut of_metric, &described, &Value::Sum(0.0))?;
            }
            for (labels, value) in values {
                if labels.is_empty() {
                    encode_value(&mut of_metric, &described, value)?;
                } else {
                    let labels = Named(labels);
                    let mut of_labels = of_metric.encode_family(&labels)?;
                    encode_value(&mut of_labels, &described, value)?;
                }
            }
        }
        Ok(())
    }
}

impl Description {
    /// A counter that has one value is told before anything happened, so that the first time can be seen as a change.
    fn is_told_from_the_start(&self) -> bool {
        self.kind == Kind::Counter && self.dimensions.is_empty()
    }
}

fn type_of(kind: Kind) -> MetricType {
    match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram(_) => MetricType::Histogram,
    }
}

fn encode_value(
    encoder: &mut MetricEncoder<'_>,
    described: &Description,
    value: &Value,
) -> fmt::Result {
    match value {
        Value::Sum(sum) => encoder.encode_counter(sum, NO_EXEMPLAR),
        Value::Level(level) => encoder.encode_gauge(level),
        Value::Measured(measured) => {
            let Kind::Histogram(bounds) = described.kind else {
                return Err(fmt::Error);
            };
            let bounds = bounds.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(measured.below.iter().copied()).collect();
            let count = measured.below.iter().sum();
            encoder.encode_histogram::<NoLabelSet>(measured.sum, count, &buckets, None)
        }
    }
}

const NO_EXEMPLAR: Option<&Exemplar<NoLabelSet, f64>> = None;

/// Labels under the names that Prometheus has for them.
#[derive(Debug)]
struct Named<'a>(&'a Labels);

impl EncodeLabelSet for Named<'_> {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelSetEncoder<'_>,
    ) -> fmt::Result {
        let labels = self.0.iter();
        let labels: Vec<(&str, &str)> = labels
            .map(|(dimension, value)| (dimension.label(), value.as_str()))
            .collect();
        labels.encode(encoder)
    }
}
