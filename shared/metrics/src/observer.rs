//! Counts what happens, and tells it on.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use icepress_model::{ProcessKind, ambient::Ambient};
use icepress_service::{BucketTurn, Event, Observer};

use crate::{
    catalogue::{Dimension, Metric},
    recorder::Values,
    standing::Standing,
};

/// Stands before another observer and counts what it hears.
#[derive(Debug)]
pub struct MetricsObserver {
    next: Arc<dyn Observer>,
    ambient: Ambient,
    counted: Mutex<Counted>,
}

#[derive(Debug, Default)]
struct Counted {
    values: Values,
    standing: Standing,
}

impl MetricsObserver {
    /// Before `next`, which hears everything as before.
    pub fn before(next: Arc<dyn Observer>, ambient: Ambient) -> Self {
        Self {
            next,
            ambient,
            counted: Mutex::default(),
        }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the metrics stand at now.
    pub fn values(&self) -> Values {
        let mut counted = self.counted();
        let mut values = counted.values.clone();
        counted.standing.record(&mut values, self.ambient.now());
        values
    }

    /// What was counted since this was called last; it begins anew from nothing.
    pub fn take(&self) -> Values {
        let mut counted = self.counted();
        let mut values = std::mem::take(&mut counted.values);
        counted.standing.record(&mut values, self.ambient.now());
        counted.standing.clear();
        values
    }

    /// Names the tables in the log whose files have waited longest for their compaction, if any has.
    pub fn name_worst_tables(&self) {
        let worst = self.counted().standing.worst(self.ambient.now());
        if !worst.is_empty() {
            tracing::info!(tables = %worst, "waits longest for compaction");
        }
    }

    /// Counts the first invocation of a function's instance.
    pub(crate) fn count_cold_start(&self, component: &str) {
        let labels = [(Dimension::Component, component)];
        self.counted().values.add(Metric::ColdStarts, labels, 1.0);
    }
}

impl Observer for MetricsObserver {
    fn observe(&self, event: &Event) {
        self.next.observe(event);
        let now = self.ambient.now();
        let mut counted = self.counted();
        let Counted { values, standing } = &mut *counted;
        match event {
            Event::Planned {
                table,
                plan,
                process,
                price,
                oldest,
            } => {
                looked_at(values, plan);
                match process {
                    None => standing.ended(table),
                    Some(process) => {
                        begun(values, ProcessKind::Rewrite);
                        values.add(Metric::DollarsPredicted, [], price.dollars());
                        standing.begun(table, process, *oldest, now);
                    }
                }
            }
            Event::Observed { table, plan, .. } => {
                looked_at(values, plan);
                standing.ended(table);
            }
            Event::UpkeepBegun { kind, .. } => begun(values, *kind),
            Event::HandedOver { .. } => begun(values, ProcessKind::Rewrite),
            Event::Refused { .. } => values.add(Metric::TablesRefused, [], 1.0),
            Event::Waiting { waits_for, .. } => {
                let labels = [(Dimension::Reason, waits_for.name())];
                values.add(Metric::Waits, labels, 1.0);
            }
            Event::Repeats { .. } => values.add(Metric::PlansRepeated, [], 1.0),
            Event::TableFailed { .. } => values.add(Metric::TablesFailed, [], 1.0),
            Event::ListingFailed { .. } => values.add(Metric::ListingsFailed, [], 1.0),
            Event::GroupFinished {
                read,
                result: Ok(result),
                ..
            } => {
                let files_out = result.file_paths().len();
                values.add(Metric::FilesRead, [], read.files as f64);
                values.add(Metric::BytesRead, [], read.bytes.get() as f64);
                values.add(Metric::FilesWritten, [], files_out as f64);
                values.add(Metric::BytesWritten, [], result.bytes_out.get() as f64);
                values.add(Metric::DollarsActual, [], read.price.dollars());
                values.measure(Metric::GroupSeconds, result.seen.took_ms as f64 / 1_000.0);
            }
            Event::TaskFailed { kind, .. } => {
                let labels = [(Dimension::Kind, kind.name())];
                values.add(Metric::TasksFailed, labels, 1.0);
            }
            Event::ProcessEnded {
                table,
                kind,
                outcome,
                removed_delete_files,
                ..
            } => {
                standing.ended(table);
                let labels = [
                    (Dimension::Kind, kind.name()),
                    (Dimension::Outcome, outcome.name()),
                ];
                values.add(Metric::ProcessesEnded, labels, 1.0);
                values.add(Metric::DeleteFilesRemoved, [], *removed_delete_files as f64);
                for (cause, groups) in outcome.lessons().into_iter().flat_map(|all| &all.causes) {
                    let cause = cause.to_string();
                    let labels = [(Dimension::Cause, cause.as_str())];
                    values.add(Metric::GroupsLost, labels, *groups as f64);
                }
            }
            Event::UnderWay {
                table,
                process,
                stage,
                since,
            } => standing.looked_after(table, process, (*stage, *since), now),
            Event::BucketLookedAfter {
                bucket,
                turn,
                oldest_due,
            } => {
                match turn {
                    BucketTurn::Completed => values.add(Metric::BucketsCompleted, [], 1.0),
                    BucketTurn::Unfinished => missed(values, "unfinished"),
                    BucketTurn::HeldByAnother => missed(values, "held-by-another"),
                }
                let waited = match (turn, oldest_due) {
                    (_, Some(since)) => Some(now.since(*since).as_secs_f64()),
                    (BucketTurn::Completed, None) => Some(0.0),
                    // Nobody looked what is due in it.
                    (BucketTurn::Unfinished | BucketTurn::HeldByAnother, None) => None,
                };
                if let Some(waited) = waited {
                    let bucket = bucket.to_string();
                    let labels = [(Dimension::Bucket, bucket.as_str())];
                    values.set(Metric::OldestDue, labels, waited);
                }
            }
            Event::BucketFailed { .. } => missed(values, "failed"),
            Event::TickEnded {
                took,
                limit,
                longest_rest,
                ..
            } => {
                values.set(Metric::TickSeconds, [], took.as_secs_f64());
                if let Some(limit) = limit.filter(|limit| !limit.is_zero()) {
                    let used = took.as_secs_f64() / limit.as_secs_f64();
                    values.set(Metric::TickUsed, [], used);
                }
                if let Some(rest) = longest_rest {
                    values.set(Metric::BucketRest, [], rest.as_secs_f64());
                }
            }
            Event::DatabaseListed { .. }
            | Event::TableUnchanged { .. }
            | Event::GroupStarted { .. }
            | Event::GroupFinished { result: Err(_), .. }
            | Event::Notice { .. } => {}
        }
    }
}

fn begun(values: &mut Values, kind: ProcessKind) {
    let labels = [(Dimension::Kind, kind.name())];
    values.add(Metric::ProcessesBegun, labels, 1.0);
}

fn missed(values: &mut Values, outcome: &str) {
    values.add(Metric::BucketsMissed, [(Dimension::Outcome, outcome)], 1.0);
}

fn looked_at(values: &mut Values, plan: &icepress_model::TablePlan) {
    let health = match plan.health.score {
        score if score < 50.0 => "poor",
        score if score < 80.0 => "fair",
        _ => "good",
    };
    values.add(Metric::TablesEvaluated, [], 1.0);
    let bytes = plan.totals.data_bytes.get() as f64;
    values.add(Metric::BytesEvaluated, [(Dimension::Health, health)], bytes);
}
