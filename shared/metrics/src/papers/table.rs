//! The document for people.

use crate::{
    catalogue::{Description, Dimension, Metric, Section},
    emf::{DEPLOYMENT, NAMESPACE},
};

pub(super) fn text() -> String {
    let mut text = format!(
        "# Metrics\n\n\
         What Icepress tells of itself. This file is made of the catalogue in [shared/metrics](../shared/metrics/src/catalogue.rs): \
         `{}` writes it anew.\n\n\
         * **The functions** write them into their logs at the end of each invocation, in CloudWatch's embedded metric format: namespace \
         `{NAMESPACE}`, dimension `{DEPLOYMENT}` (the module's `name`) and those of the column *CloudWatch*. What an invocation counted that \
         is killed in the midst of it is lost. Nothing is told that did not happen, so that only what is used is paid for: five of them \
         by a deployment in which nothing changes.\n\
         * **`icepress run --metrics 127.0.0.1:9464`** answers `GET /metrics` with the text that Prometheus reads. Counters begin at 0 with \
         the process.\n\n\
         No metric names a table: how many values each has is bounded. Which tables are behind is said by the log (`waits longest for \
         compaction`), `icepress tables` and `icepress explain`.\n",
        super::COMMAND
    );
    for section in Section::ALL {
        text.push_str(&format!(
            "\n## {}\n\n| metric | kind | unit | labels | CloudWatch | meaning |\n|---|---|---|---|---|---|\n",
            section.title()
        ));
        for metric in Metric::of(section) {
            let described = metric.describe();
            text.push_str(&format!(
                "| `{}` | {} | {} | {} | {} | {} |\n",
                described.name,
                described.kind.name(),
                described.unit.name(),
                labels(described.dimensions),
                in_cloud_watch(metric, &described),
                described.meaning,
            ));
        }
    }
    text.push_str("\n## Labels\n\n| label | values |\n|---|---|\n");
    for dimension in Dimension::ALL {
        text.push_str(&format!(
            "| `{}` | {} |\n",
            dimension.label(),
            dimension.values()
        ));
    }
    text
}

fn labels(dimensions: &[Dimension]) -> String {
    let labels = dimensions
        .iter()
        .map(|dimension| format!("`{}`", dimension.label()));
    labels.collect::<Vec<_>>().join(", ")
}

fn in_cloud_watch(metric: Metric, described: &Description) -> String {
    let name = metric.in_cloud_watch();
    let forms = described.in_cloud_watch.iter().map(|dimensions| {
        let names = dimensions
            .iter()
            .map(|dimension| format!("`{}`", dimension.in_cloud_watch()));
        match names.collect::<Vec<_>>().join(", ") {
            none if none.is_empty() => format!("`{name}`"),
            names => format!("`{name}` by {names}"),
        }
    });
    forms.collect::<Vec<_>>().join("; ")
}
