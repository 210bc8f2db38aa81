//! That every metric is fed, and what goes out.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use icepress_coordination::Component;
use icepress_model::{
    BucketId, Bytes, FailureCause, GroupResult, Health, Inspection, Lessons, NanoDollars,
    PlanTotals, ProcessId, ProcessKind, ProcessOutcome, TableId, TablePlan, TaskId, TimestampMs,
    ambient::{Ambient, ManualClock, SeededRandomness},
};
use icepress_service::{
    BucketTurn, Event, GroupRead, Observed, Observer, Stage, TickReport, WaitsFor,
};

use super::*;
use crate::emf::documents;

const NOW: TimestampMs = TimestampMs(1_800_000_000_000);

/// Hears nothing.
#[derive(Debug)]
struct Deaf;

impl Observer for Deaf {
    fn observe(&self, _: &Event) {}
}

fn observer() -> (MetricsObserver, Arc<ManualClock>) {
    let clock = ManualClock::new(NOW);
    let ambient = Ambient {
        clock: Arc::clone(&clock) as _,
        random: Arc::new(SeededRandomness::new(1)),
    };
    (MetricsObserver::before(Arc::new(Deaf), ambient), clock)
}

fn table(name: &str) -> TableId {
    format!("glue.shop.{name}").parse().unwrap()
}

fn ago(hours: i64) -> TimestampMs {
    TimestampMs(NOW.get() - hours * 3_600_000)
}

fn plan(score: f64, bytes: u64) -> Arc<TablePlan> {
    Arc::new(TablePlan {
        base: None,
        groups: Vec::new(),
        left_alone: Vec::new(),
        health: Health {
            score,
            amoro_score: score,
        },
        totals: PlanTotals {
            data_bytes: Bytes(bytes),
            ..PlanTotals::default()
        },
        follow_up: false,
        settings: Vec::new(),
    })
}

fn planned(name: &str, process: Option<&str>, oldest: Option<TimestampMs>) -> Event {
    Event::Planned {
        table: table(name),
        plan: plan(60.0, 1_000),
        process: process.map(ProcessId::from),
        price: NanoDollars(2_000_000_000),
        oldest,
    }
}

fn under_way(name: &str, process: &str, stage: Stage, since: TimestampMs) -> Event {
    Event::UnderWay {
        table: table(name),
        process: ProcessId::from(process),
        stage,
        since,
    }
}

fn ended(name: &str, outcome: ProcessOutcome) -> Event {
    Event::ProcessEnded {
        table: table(name),
        process: ProcessId::from("p"),
        kind: ProcessKind::Rewrite,
        outcome,
        removed_delete_files: 4,
    }
}

fn failed() -> ProcessOutcome {
    let mut lessons = Lessons::default();
    lessons.count(FailureCause::Conflict, 3);
    ProcessOutcome::Failed {
        failures: vec!["a race was lost".to_owned()],
        lessons,
    }
}

fn group_finished() -> Event {
    Event::GroupFinished {
        table: table("orders"),
        process: ProcessId::from("p"),
        index: 0,
        read: GroupRead {
            files: 12,
            bytes: Bytes(4_096),
            price: NanoDollars(500_000_000),
        },
        result: Ok(GroupResult {
            data_files: vec![serde_json::json!({ "file_path": "s3://lake/one" })],
            bytes_out: Bytes(2_048),
            seen: Inspection {
                took_ms: 7_000,
                ..Inspection::default()
            },
            ..GroupResult::default()
        }),
    }
}

fn tick_ended() -> Event {
    Event::TickEnded {
        report: TickReport::default(),
        took: Duration::from_secs(12),
        limit: Some(Duration::from_secs(48)),
        longest_rest: Some(Duration::from_secs(600)),
    }
}

fn looked_after(bucket: u32, oldest_due: Option<TimestampMs>) -> Event {
    Event::BucketLookedAfter {
        bucket: BucketId(bucket),
        turn: BucketTurn::Completed,
        oldest_due,
    }
}

/// One of each that anything is counted of.
fn everything() -> Vec<Event> {
    let message = "it broke".to_owned();
    vec![
        planned("orders", Some("p"), Some(ago(50))),
        Event::Observed {
            table: table("seen"),
            plan: plan(20.0, 7),
            observed: Observed::default(),
        },
        under_way("clicks", "q", Stage::Queued, ago(2)),
        Event::Refused {
            table: table("views"),
            reason: message.clone(),
        },
        Event::Waiting {
            table: table("orders"),
            task: None,
            waits_for: WaitsFor::Quota,
            reason: message.clone(),
            until: None,
        },
        Event::Repeats {
            table: table("orders"),
            message: message.clone(),
        },
        Event::TableFailed {
            table: table("orders"),
            message: message.clone(),
        },
        Event::ListingFailed {
            database: "glue.shop".to_owned(),
            message: message.clone(),
        },
        Event::BucketFailed {
            bucket: BucketId(3),
            message: message.clone(),
        },
        group_finished(),
        Event::TaskFailed {
            table: table("orders"),
            task: TaskId {
                process: ProcessId::from("p"),
                index: 0,
            },
            kind: ProcessKind::Rewrite,
            reason: message,
        },
        ended("others", failed()),
        looked_after(1, Some(ago(3))),
        tick_ended(),
    ]
}

fn level(values: &Values, metric: Metric) -> Vec<(Vec<&str>, f64)> {
    let of = values.of(metric).map(|(labels, value)| {
        let labels = labels.values().map(String::as_str).collect();
        match value {
            Value::Sum(value) | Value::Level(value) => (labels, *value),
            Value::Measured(measured) => (labels, measured.sum),
        }
    });
    of.collect()
}

#[test]
fn every_metric_is_fed_by_something_that_happens() {
    let (metrics, _) = observer();
    metrics.count_cold_start("scheduler");
    for event in everything() {
        metrics.observe(&event);
    }
    let values = metrics.values();
    for metric in Metric::ALL {
        let fed = level(&values, metric);
        assert!(!fed.is_empty(), "nothing feeds {metric:?}");
        for (labels, _) in values.of(metric) {
            let labels: Vec<Dimension> = labels.keys().copied().collect();
            assert_eq!(labels, metric.describe().dimensions, "{metric:?}");
        }
    }
    let hours = |hours: u32| f64::from(hours) * 3_600.0;
    assert_eq!(level(&values, Metric::OldestDue), [(vec!["1"], hours(3))]);
    assert_eq!(
        level(&values, Metric::OldestProcess),
        [(vec!["queued"], hours(2))]
    );
    assert_eq!(
        level(&values, Metric::CompactionLag),
        [(vec!["glue"], hours(50))]
    );
    assert_eq!(level(&values, Metric::TickUsed), [(vec![], 0.25)]);
    assert_eq!(
        level(&values, Metric::BytesEvaluated),
        [(vec!["fair"], 1_000.0), (vec!["poor"], 7.0)]
    );
    assert_eq!(
        level(&values, Metric::GroupsLost),
        [(vec!["conflict"], 3.0)]
    );
    assert_eq!(level(&values, Metric::DollarsPredicted), [(vec![], 2.0)]);
    assert_eq!(level(&values, Metric::DollarsActual), [(vec![], 0.5)]);
}

#[test]
fn names_follow_the_rules_of_prometheus_and_are_told_apart_in_cloud_watch_too() {
    let mut names = BTreeSet::new();
    for metric in Metric::ALL {
        let described = metric.describe();
        let name = described.name;
        assert!(name.starts_with("icepress_"), "{name}");
        assert_eq!(
            name.ends_with("_total"),
            described.kind == Kind::Counter,
            "{name}: counters alone end so"
        );
        let base = name.strip_suffix("_total").unwrap_or(name);
        if described.unit != Unit::Count {
            assert!(base.ends_with(described.unit.name()), "{name}");
        }
        let mut dimensions = described.dimensions.to_vec();
        dimensions.sort();
        assert_eq!(dimensions, described.dimensions, "{name}: in their order");
        for told_apart in described.in_cloud_watch {
            let is_known = |dimension| described.dimensions.contains(dimension);
            assert!(told_apart.iter().all(is_known), "{name}");
        }
        assert!(described.meaning.ends_with('.'), "{name}");
        assert!(names.insert(name), "{name} twice");
        assert!(names.insert(metric.in_cloud_watch().leak()), "{name} twice");
    }
    assert_eq!(
        Metric::ProcessesEnded.in_cloud_watch(),
        "ProcessesEnded",
        "what alarms are written with"
    );
    let of_sections: usize = Section::ALL.map(|one| Metric::of(one).count()).iter().sum();
    assert_eq!(of_sections, Metric::ALL.len());
}

#[test]
fn what_is_taken_is_a_document_for_each_set_of_labels_and_then_nothing() {
    let (metrics, _) = observer();
    for event in everything() {
        metrics.observe(&event);
    }
    metrics.observe(&looked_after(2, Some(ago(9))));
    metrics.observe(&looked_after(3, None));
    let taken = metrics.take();
    assert!(metrics.take().is_empty(), "standing ages begin anew too");

    let documents = documents(&taken, "lake", NOW);
    let mut seen = BTreeSet::new();
    for document in &documents {
        let told = &document["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(document["_aws"]["Timestamp"], NOW.get());
        assert_eq!(told["Namespace"], "Icepress");
        let dimensions = told["Dimensions"][0].as_array().unwrap();
        assert_eq!(dimensions[0], "Deployment");
        assert!(dimensions.len() <= 30);
        for dimension in dimensions {
            let value = document[dimension.as_str().unwrap()].as_str().unwrap();
            assert!(!value.is_empty() && value.is_ascii(), "{value}");
        }
        let metrics = told["Metrics"].as_array().unwrap();
        assert!(!metrics.is_empty() && metrics.len() <= 100);
        for metric in metrics {
            let name = metric["Name"].as_str().unwrap();
            let value = &document[name];
            assert!(value.is_number() || value.is_array(), "{name}: {value}");
            seen.insert(name.to_owned());
        }
    }
    let missing = Metric::ALL.map(Metric::in_cloud_watch);
    let missing: Vec<&String> = missing
        .iter()
        .filter(|name| !seen.contains(*name))
        .collect();
    assert_eq!(missing, ["ColdStarts"], "nobody counted one here");

    let whole = documents
        .iter()
        .find(|document| document["OldestDueSeconds"].is_number())
        .unwrap();
    assert_eq!(whole["Deployment"], "lake");
    assert_eq!(
        whole["OldestDueSeconds"], 32_400.0,
        "of all buckets the longest"
    );
    assert_eq!(whole["GroupSeconds"], serde_json::json!([7.0]));
    let queued = documents
        .iter()
        .find(|document| document["Stage"] == "queued")
        .unwrap();
    assert_eq!(queued["OldestProcessSeconds"], 7_200.0);
}

#[test]
fn an_invocation_tells_what_it_counted_and_an_instance_begins_once() {
    let ambient = Ambient::system();
    let metrics = FunctionMetrics::new(Some("lake"), Component::Optimizer, &ambient);
    let observer = metrics.observer();
    let first = metrics.invocation();
    observer.observe(&group_finished());
    let told = first.lines();
    drop(first);
    let lines: Vec<serde_json::Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 1, "{told}");
    assert_eq!(lines[0]["ColdStarts"], 1.0);
    assert_eq!(lines[0]["WrittenFiles"], 1.0);

    let second = metrics.invocation();
    observer.observe(&group_finished());
    let told = second.lines();
    assert!(told.contains("\"WrittenFiles\":1.0"), "{told}");
    assert!(!told.contains("ColdStarts"), "{told}");

    let nameless = FunctionMetrics::new(None, Component::Optimizer, &ambient);
    nameless.observer().observe(&group_finished());
    assert_eq!(nameless.invocation().lines(), "");
}

#[test]
fn who_did_not_look_does_not_say_that_nothing_is_due() {
    let (metrics, _) = observer();
    for turn in [BucketTurn::Unfinished, BucketTurn::HeldByAnother] {
        metrics.observe(&Event::BucketLookedAfter {
            bucket: BucketId(1),
            turn,
            oldest_due: None,
        });
    }
    let values = metrics.values();
    assert_eq!(level(&values, Metric::OldestDue), []);
    assert_eq!(
        level(&values, Metric::BucketsMissed),
        [(vec!["held-by-another"], 1.0), (vec!["unfinished"], 1.0)]
    );
    metrics.observe(&looked_after(1, None));
    let values = metrics.values();
    assert_eq!(level(&values, Metric::OldestDue), [(vec!["1"], 0.0)]);
}

#[test]
fn a_document_has_no_more_measurements_than_it_may() {
    let (metrics, _) = observer();
    for _ in 0..250 {
        metrics.observe(&group_finished());
    }
    let documents = documents(&metrics.take(), "lake", NOW);
    let measured = documents[0]["GroupSeconds"].as_array().unwrap();
    assert_eq!(measured.len(), MOST_SAMPLES);
    assert_eq!(documents[0]["ReadFiles"], 3_000.0, "counts lose nothing");
}

#[test]
fn prometheus_reads_types_labels_and_counters_from_the_start() {
    let (metrics, _) = observer();
    let text = prometheus::text(metrics.values()).unwrap();
    assert!(text.contains("\nicepress_read_files_total 0"), "{text}");
    assert!(!text.contains("icepress_tick_seconds"), "no tick yet");

    for event in everything() {
        metrics.observe(&event);
    }
    let text = prometheus::text(metrics.values()).unwrap();
    for line in [
        "# TYPE icepress_processes_ended_total counter",
        "icepress_processes_ended_total{kind=\"rewrite\",outcome=\"failed\"} 1.0",
        "# TYPE icepress_tick_seconds gauge",
        "icepress_tick_seconds 12.0",
        "icepress_oldest_due_seconds{bucket=\"1\"} 10800.0",
        "# TYPE icepress_group_seconds histogram",
        "icepress_group_seconds_bucket{le=\"5\"} 0",
        "icepress_group_seconds_bucket{le=\"15\"} 1",
        "icepress_group_seconds_bucket{le=\"+Inf\"} 1",
        "icepress_group_seconds_sum 7.0",
        "icepress_group_seconds_count 1",
    ] {
        assert!(text.lines().any(|told| told == line), "{line}: {text}");
    }
    let helps = text.lines().filter(|line| line.starts_with("# HELP "));
    assert_eq!(helps.count(), Metric::ALL.len() - 1, "no cold start here");
}

#[test]
fn ages_grow_until_the_process_ends_or_nobody_looks_after_it_any_more() {
    let (metrics, clock) = observer();
    metrics.observe(&planned("orders", Some("p"), Some(ago(1))));
    metrics.observe(&under_way("orders", "p", Stage::Running, ago(1)));
    metrics.observe(&under_way("clicks", "q", Stage::Running, ago(3)));
    clock.advance(Duration::from_secs(1_800));
    let values = metrics.values();
    let hour = 3_600.0;
    assert_eq!(
        level(&values, Metric::OldestProcess),
        [(vec!["running"], 3.5 * hour)]
    );
    assert_eq!(
        level(&values, Metric::CompactionLag),
        [(vec!["glue"], 1.5 * hour)],
        "what was looked after keeps what its plan said"
    );

    metrics.observe(&ended("clicks", failed()));
    let values = metrics.values();
    assert_eq!(
        level(&values, Metric::OldestProcess),
        [(vec!["running"], 1.5 * hour)]
    );

    clock.advance(Duration::from_secs(3_600));
    let values = metrics.values();
    assert_eq!(level(&values, Metric::OldestProcess), []);
    assert_eq!(level(&values, Metric::CompactionLag), []);
}

#[test]
fn of_too_many_tables_the_oldest_are_remembered() {
    let (metrics, _) = observer();
    for number in 0..1_500_u32 {
        // The oldest comes first, and the youngest last.
        let oldest = TimestampMs(ago(100).get() + i64::from(number));
        let name = format!("t{number}");
        metrics.observe(&planned(&name, Some("p"), Some(oldest)));
    }
    let values = metrics.values();
    assert_eq!(
        level(&values, Metric::CompactionLag),
        [(vec!["glue"], 360_000.0)]
    );
}
