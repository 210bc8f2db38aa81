//! What people keep back on purpose: blockers in force, and quotas that leave nothing for now.

use std::collections::BTreeMap;

use icepress_coordination::{
    CoordinationError, Finding, TableRow,
    limits::{Blocker, Quota, QuotaRow},
};
use icepress_model::{Scope, TimestampMs};

use super::{LISTED, lasting};
use crate::{Context, Waiting, WaitsFor};

/// What keeps tables back, counted over those that wait.
#[derive(Debug, Default)]
pub(super) struct Held {
    blockers: Vec<Blocking>,
    /// Tables that wait for each scope's quota, with what one of them was told.
    quotas: BTreeMap<String, (usize, Waiting)>,
}

/// A blocker in force.
#[derive(Debug)]
struct Blocking {
    blocker: Blocker,
    /// Tables in its scope that wait for its end.
    kept: usize,
}

/// Scopes whose quotas keep tables waiting that are told apart. Each table may have one of its own.
const SCOPES: usize = 1_000;

impl Held {
    pub(super) fn new(blockers: Vec<Blocker>) -> Self {
        let blockers = blockers
            .into_iter()
            .map(|blocker| Blocking { blocker, kept: 0 });
        Self {
            blockers: blockers.collect(),
            quotas: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, row: &TableRow) {
        let waits = Waiting::of(row);
        let waits_for = waits.as_ref().map(|waits| waits.waits_for);
        for blocking in &mut self.blockers {
            let waits = waits_for == Some(WaitsFor::Blocker);
            blocking.kept += usize::from(waits && blocking.blocker.scope.covers(&row.table));
        }
        if let Some(waits) = waits
            && let (WaitsFor::Quota | WaitsFor::Tasks, Some(scope)) =
                (waits.waits_for, &waits.quota_of)
            && (self.quotas.len() < SCOPES || self.quotas.contains_key(scope))
        {
            let scope = scope.clone();
            self.quotas.entry(scope).or_insert((0, waits)).0 += 1;
        }
    }

    /// A line for each blocker in force.
    pub(super) fn blockers(&self, now: TimestampMs) -> Vec<Finding> {
        let blockers = self.blockers.iter();
        let mut findings = blockers.map(|blocking| of_blocker(blocking, now)).collect();
        shorten(&mut findings, "blockers", "see `icepress blockers`");
        findings
    }

    /// A line for each quota that is configured or keeps a table waiting.
    pub(super) async fn quotas(self, context: &Context) -> Result<Vec<Finding>, CoordinationError> {
        let mut findings = of_quotas(context, self.quotas).await?;
        shorten(&mut findings, "quotas", "see `icepress tables`");
        Ok(findings)
    }
}

/// Those that matter most, and how many more there are.
fn shorten(findings: &mut Vec<Finding>, subject: &str, advice: &str) {
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let more = findings.len().saturating_sub(LISTED);
    findings.truncate(LISTED);
    if more > 0 {
        findings.push(Finding::doubt(subject, format!("{more} more"), advice));
    }
}

fn of_blocker(blocking: &Blocking, now: TimestampMs) -> Finding {
    let Blocking { blocker, kept } = blocking;
    let kept = *kept;
    let Blocker {
        scope,
        owner,
        reason,
        ..
    } = blocker;
    let subject = format!("blocker of {scope}");
    // Of one whose row can't be read nobody knows the end.
    let ends = blocker.expires_at != TimestampMs(i64::MAX);
    let left = match ends {
        true => format!("for {} more", lasting(blocker.expires_at.since(now))),
        false => "without an end".to_owned(),
    };
    let seen = format!(
        "{owner} blocks it {left}, and {} for that: {reason}",
        waiting_tables(kept)
    );
    match (ends, kept) {
        (true, 0) => Finding::well(subject, seen),
        (true, _) => Finding::doubt(
            subject,
            seen,
            format!("it ends by itself; `icepress unblock … --owner {owner}` takes it away now"),
        ),
        (false, _) => Finding::doubt(
            subject,
            seen,
            format!("mend or remove its row: `icepress unblock … --owner {owner}`"),
        ),
    }
}

async fn of_quotas(
    context: &Context,
    mut kept: BTreeMap<String, (usize, Waiting)>,
) -> Result<Vec<Finding>, CoordinationError> {
    let now = context.ambient.now();
    let (scopes, quotas): (Vec<Scope>, Vec<Quota>) = context.settings.limits.quotas().unzip();
    let rows = context.store.quotas(&scopes).await?;
    let mut findings = Vec::new();
    for (row, quota) in rows.iter().zip(&quotas) {
        let subject = format!("quota of {}", row.scope);
        let taken = taken(row, quota, now);
        findings.push(match kept.remove(&row.scope.to_string()) {
            None => Finding::well(subject, taken),
            Some((number, waits)) => held_back(subject, taken, number, &waits, now),
        });
    }
    // Those that tables have in their own properties: what is limited, and what is taken, stands in the reason.
    for (scope, (number, waits)) in kept {
        let subject = format!("quota of {scope}");
        findings.push(held_back(
            subject,
            waits.reason.clone(),
            number,
            &waits,
            now,
        ));
    }
    Ok(findings)
}

/// What is taken of each resource that a quota limits.
fn taken(row: &QuotaRow, quota: &Quota, now: TimestampMs) -> String {
    let tasks = quota
        .tasks
        .map(|most| format!("{} of {most} tasks are under way", row.tasks()));
    let bytes = quota.bytes_a_day.map(|most| {
        format!(
            "{} of {most} are rewritten or promised today",
            row.bytes_of_day(now)
        )
    });
    let cost = quota.cost_a_month.map(|most| {
        format!(
            "{} of {most} are spent or promised this month",
            row.cost_of_month(now)
        )
    });
    let all: Vec<String> = [tasks, bytes, cost].into_iter().flatten().collect();
    all.join(", ")
}

fn held_back(
    subject: String,
    taken: String,
    tables: usize,
    waits: &Waiting,
    now: TimestampMs,
) -> Finding {
    let until = match waits.until {
        Some(until) => format!("there is more in {}", lasting(until.since(now))),
        None => "there is more when a task ends".to_owned(),
    };
    Finding::doubt(
        subject,
        format!("{taken}; {} for it", waiting_tables(tables)),
        format!("{until}; raise it where that is too late, or compact a table by hand"),
    )
}

fn waiting_tables(number: usize) -> String {
    match number {
        1 => "1 table waits".to_owned(),
        number => format!("{number} tables wait"),
    }
}

#[cfg(test)]
mod tests;
