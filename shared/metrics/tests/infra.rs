//! What stands in `infra/` of metrics and alarms: made of the catalogue, and held against it and against the runbooks.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

use icepress_metrics::{Dimension, Metric, papers};

/// What AWS tells of its own, and alarms are built on too.
const OF_AWS: [&str; 4] = [
    "ApproximateNumberOfMessagesVisible",
    "Duration",
    "Errors",
    "Throttles",
];

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands after `key = "` in each line, up to the next quote.
fn values<'a>(text: &'a str, key: &str) -> Vec<&'a str> {
    let of_line = |line: &'a str| {
        let (before, after) = line.split_once('=')?;
        let value = after.trim().strip_prefix('"')?;
        (before.trim() == key).then(|| value.split('"').next().unwrap())
    };
    text.lines().filter_map(of_line).collect()
}

#[test]
fn what_is_made_of_the_catalogue_is_as_it_would_be_made_now() {
    for paper in papers::all() {
        assert!(
            read(paper.path) == paper.text,
            "{} is not what the catalogue says: write it anew with `{}`",
            paper.path,
            papers::COMMAND
        );
    }
}

#[test]
fn each_alarm_is_on_a_metric_that_there_is() {
    let alarms = read("infra/modules/alarms/main.tf");
    let ours: Vec<String> = Metric::ALL.map(Metric::in_cloud_watch).to_vec();
    let mut found = values(&alarms, "metric");
    found.extend(values(&alarms, "metric_name"));
    assert!(found.len() > 10, "{found:?}");
    for metric in found {
        let is_known = OF_AWS.contains(&metric) || ours.iter().any(|one| one == metric);
        assert!(is_known, "nobody tells of {metric}");
    }
}

/// Alarms by a dimension that CloudWatch is not told of are never lit.
#[test]
fn each_alarm_is_on_dimensions_by_which_the_metric_is_told() {
    let alarms = read("infra/modules/alarms/main.tf");
    let ours = &alarms[alarms.find("  ours = ").unwrap()..alarms.find("  lambda = ").unwrap()];
    let mut checked = 0;
    for alarm in ours.split("runbook ").skip(1) {
        let name = values(alarm, "metric")[0];
        let metric = Metric::ALL
            .into_iter()
            .find(|metric| metric.in_cloud_watch() == name);
        let dimensions = alarm
            .lines()
            .find(|line| line.trim().starts_with("dimensions"))
            .unwrap();
        let named: Vec<Dimension> = Dimension::ALL
            .into_iter()
            .filter(|one| dimensions.contains(&format!("{} =", one.in_cloud_watch())))
            .collect();
        let told = metric.unwrap().describe().in_cloud_watch;
        assert!(
            told.contains(&named.as_slice()),
            "{name} is not told by {dimensions}"
        );
        checked += 1;
    }
    assert!(checked >= 9, "{checked}");
}

#[test]
fn each_alarm_names_a_runbook_and_each_runbook_has_an_alarm() {
    let alarms = read("infra/modules/alarms/main.tf");
    let written: BTreeSet<String> = read("infra/runbooks.md")
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(str::to_owned)
        .collect();
    let mut named: BTreeSet<String> = values(&alarms, "runbook")
        .into_iter()
        .map(str::to_owned)
        .collect();
    named.extend(
        alarms
            .split("${local.runbooks}")
            .skip(1)
            .map(|after| after.split('"').next().unwrap().to_owned())
            .filter(|name| !name.starts_with("${")),
    );
    assert_eq!(named, written);
    for section in read("infra/runbooks.md").split("\n## ").skip(1) {
        for part in ["**It means**", "**Look**", "**Do**"] {
            assert!(section.contains(part), "{part} is missing: {section}");
        }
    }
}
