//! The dashboard of CloudWatch, as terraform fills it in: `name` is the deployment's, `region` where it is.
//! [Its form](https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html).

use serde_json::{Value as Json, json};

use crate::{
    catalogue::{Dimension, Kind, Metric, Section},
    emf::{DEPLOYMENT, NAMESPACE},
};

/// Columns of the whole, of one widget, and its lines.
const WIDTH: u64 = 24;
const COLUMNS: u64 = 8;
const LINES: u64 = 6;

/// Seconds that one point stands for.
const PERIOD: u64 = 300;

pub(super) fn template() -> String {
    let mut widgets = Vec::new();
    let mut line = 0;
    for section in Section::ALL {
        widgets.push(json!({
            "type": "text", "x": 0, "y": line, "width": WIDTH, "height": 1,
            "properties": { "markdown": format!("## {}", section.title()) },
        }));
        line += 1;
        let mut column = 0;
        for metric in Metric::of(section) {
            if column == WIDTH {
                (column, line) = (0, line + LINES);
            }
            widgets.push(json!({
                "type": "metric", "x": column, "y": line, "width": COLUMNS, "height": LINES,
                "properties": properties(metric),
            }));
            column += COLUMNS;
        }
        line += LINES;
    }
    super::pretty(&json!({ "widgets": widgets }))
}

fn properties(metric: Metric) -> Json {
    let forms = metric.describe().in_cloud_watch.iter();
    let lines: Vec<Json> = forms
        .flat_map(|dimensions| lines(metric, dimensions))
        .collect();
    json!({
        "title": metric.title(),
        "region": "${region}",
        "view": "timeSeries",
        "period": PERIOD,
        "stat": statistics(metric)[0],
        "metrics": lines,
    })
}

fn lines(metric: Metric, dimensions: &[Dimension]) -> Vec<Json> {
    let name = metric.in_cloud_watch();
    if dimensions.is_empty() {
        let of_statistic = |statistic: &&str| json!([NAMESPACE, name, DEPLOYMENT, "${name}", { "stat": statistic, "label": format!("{name} {statistic}") }]);
        return statistics(metric).iter().map(of_statistic).collect();
    }
    let names = dimensions
        .iter()
        .map(|dimension| dimension.in_cloud_watch());
    let schema: Vec<&str> = [NAMESPACE, DEPLOYMENT].into_iter().chain(names).collect();
    let schema = schema.join(",");
    let statistic = statistics(metric)[0];
    let expression = format!(
        "SEARCH('{{{schema}}} MetricName=\"{name}\" {DEPLOYMENT}=\"${{name}}\"', '{statistic}', {PERIOD})"
    );
    vec![json!([{ "expression": expression, "id": "each" }])]
}

fn statistics(metric: Metric) -> &'static [&'static str] {
    match metric.describe().kind {
        Kind::Counter => &["Sum"],
        Kind::Gauge => &["Maximum"],
        Kind::Histogram(_) => &["p50", "p95"],
    }
}
