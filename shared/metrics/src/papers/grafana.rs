//! The dashboard of Grafana on a Prometheus that scrapes `icepress run`: to be imported as it is.

use serde_json::{Value as Json, json};

use crate::catalogue::{Description, Kind, Metric, Section, Unit};

/// Columns of the whole, of one panel, and its lines.
const WIDTH: u64 = 24;
const COLUMNS: u64 = 8;
const LINES: u64 = 7;

pub(super) fn dashboard() -> String {
    let mut panels = Vec::new();
    let mut line = 0;
    // What nothing feeds where there are no functions is not shown.
    for section in Section::ALL
        .into_iter()
        .filter(|one| *one != Section::Functions)
    {
        panels.push(json!({
            "id": panels.len() + 1,
            "type": "row",
            "title": section.title(),
            "collapsed": false,
            "gridPos": { "x": 0, "y": line, "w": WIDTH, "h": 1 },
            "panels": [],
        }));
        line += 1;
        let mut column = 0;
        for metric in Metric::of(section) {
            if column == WIDTH {
                (column, line) = (0, line + LINES);
            }
            let place = json!({ "x": column, "y": line, "w": COLUMNS, "h": LINES });
            panels.push(panel(metric, panels.len() + 1, &place));
            column += COLUMNS;
        }
        line += LINES;
    }
    super::pretty(&json!({
        "title": "Icepress",
        "uid": "icepress",
        "tags": ["icepress", "iceberg"],
        "schemaVersion": 39,
        "refresh": "1m",
        "time": { "from": "now-24h", "to": "now" },
        "templating": { "list": [{
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
        }] },
        "panels": panels,
    }))
}

fn panel(metric: Metric, id: usize, place: &Json) -> Json {
    let described = metric.describe();
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let targets = queries(&described).into_iter().enumerate();
    let targets: Vec<Json> = targets
        .map(|(index, (expression, legend))| {
            let reference = ["A", "B"][index.min(1)];
            json!({ "refId": reference, "datasource": source, "expr": expression, "legendFormat": legend })
        })
        .collect();
    json!({
        "id": id,
        "type": "timeseries",
        "title": metric.title(),
        "description": described.meaning,
        "datasource": source,
        "gridPos": place,
        "fieldConfig": { "defaults": { "unit": unit(described.unit), "min": 0 }, "overrides": [] },
        "targets": targets,
    })
}

/// What is asked for, each with the name of its lines.
fn queries(described: &Description) -> Vec<(String, String)> {
    let name = described.name;
    let labels = described
        .dimensions
        .iter()
        .map(|dimension| dimension.label());
    let labels: Vec<&str> = labels.collect();
    let by = match labels.as_slice() {
        [] => String::new(),
        labels => format!(" by ({})", labels.join(", ")),
    };
    let legend = match labels.as_slice() {
        [] => name.to_owned(),
        labels => {
            let each = labels.iter().map(|label| format!("{{{{{label}}}}}"));
            each.collect::<Vec<_>>().join(" ")
        }
    };
    match described.kind {
        Kind::Counter => vec![(
            format!("sum{by} (increase({name}[$__rate_interval]))"),
            legend,
        )],
        Kind::Gauge => vec![(format!("max{by} ({name})"), legend)],
        Kind::Histogram(_) => [0.5, 0.95]
            .into_iter()
            .map(|share| {
                let rate = format!("sum by (le) (rate({name}_bucket[$__rate_interval]))");
                let percent = (share * 100.0) as u64;
                (
                    format!("histogram_quantile({share}, {rate})"),
                    format!("p{percent}"),
                )
            })
            .collect(),
    }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "s",
        Unit::Bytes => "bytes",
        Unit::Count => "short",
        Unit::Ratio => "percentunit",
        Unit::Dollars => "currencyUSD",
    }
}
