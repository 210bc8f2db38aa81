//! Which versions run, whether they are of one kind, and whether anything runs at all.

use std::time::Duration;

use icepress_coordination::{Component, Finding, RunningVersion};
use icepress_model::TimestampMs;

use super::lasting;
use crate::ground::version::{SIGN_INTERVAL, is_older};

const SUBJECT: &str = "versions";
/// A version that was not noted for so long is gone: what lives notes itself twice in that time.
const GONE: Duration = SIGN_INTERVAL.saturating_mul(2);

/// What the notes say, newest first, to a command of version `ours`. `is_deployed` where schedulers and optimizers are
/// functions, which note themselves.
pub(super) fn findings(
    rows: &[RunningVersion],
    ours: &str,
    is_deployed: bool,
    now: TimestampMs,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let alive: Vec<&RunningVersion> = rows
        .iter()
        .filter(|row| now.since(row.last_at) <= GONE)
        .collect();
    if alive.is_empty() && !is_deployed {
        let seen = match rows.first() {
            Some(last) => format!(
                "nothing that goes on by itself has run lately; {}",
                described(last, now)
            ),
            None => "nothing that goes on by itself has run yet".to_owned(),
        };
        findings.push(Finding::well(SUBJECT, seen));
    }
    let all: Vec<String> = alive.iter().map(|row| described(row, now)).collect();
    match mixed(&alive) {
        Some((one, other)) => findings.push(Finding::doubt(
            SUBJECT,
            format!(
                "{} {} and {} {} are at work together: {}",
                one.component,
                one.version,
                other.component,
                other.version,
                all.join("; ")
            ),
            "deploy one build to all of them; what an old one noted before it went is forgotten in two days",
        )),
        None if !all.is_empty() => findings.push(Finding::well(SUBJECT, all.join("; "))),
        None => {}
    }
    if is_deployed {
        findings.extend(absent(rows, now));
    }
    findings.extend(beside_ours(&alive, ours));
    findings
}

fn described(row: &RunningVersion, now: TimestampMs) -> String {
    let ago = lasting(now.since(row.last_at));
    format!("{} {}, noted {ago} ago", row.component, row.version)
}

/// Two different versions that were alive at the same time: each was noted after the other had come.
fn mixed<'a>(alive: &[&'a RunningVersion]) -> Option<(&'a RunningVersion, &'a RunningVersion)> {
    alive.iter().enumerate().find_map(|(place, one)| {
        let other = alive[place + 1..].iter().find(|other| {
            one.version != other.version
                && one.last_at >= other.first_at
                && other.last_at >= one.first_at
        })?;
        Some((*one, *other))
    })
}

/// That no scheduler lives. Optimizers start only where there is work, and what waits for one is told as stuck work.
fn absent(rows: &[RunningVersion], now: TimestampMs) -> Option<Finding> {
    // Somebody may do the scheduler's work with `icepress --deployed run`.
    let schedules = |row: &&RunningVersion| row.component != Component::Optimizer;
    let seen = match rows.iter().find(schedules) {
        Some(last) if now.since(last.last_at) <= GONE => return None,
        Some(last) => format!("no scheduler has lived since: {}", described(last, now)),
        None => "no scheduler has noted itself: none ran for a month, or only ones that are older than this command".to_owned(),
    };
    let advice = "see that the schedule is enabled and the scheduler's log, or deploy this version";
    Some(Finding::doubt(SUBJECT, seen, advice))
}

/// Whether this command fits to what runs: the newest of each component.
fn beside_ours(alive: &[&RunningVersion], ours: &str) -> Option<Finding> {
    let newest = Component::ALL
        .into_iter()
        .filter_map(|component| alive.iter().find(|row| row.component == component));
    let other = newest.into_iter().find(|row| row.version != ours)?;
    let (component, theirs) = (other.component, &other.version);
    let (how, advice) = if is_older(ours, theirs) {
        ("older than", "update this command")
    } else if is_older(theirs, ours) {
        (
            "newer than",
            "deploy this version, or use a command of theirs",
        )
    } else {
        (
            "of another build than",
            "use a command of the build that is deployed",
        )
    };
    Some(Finding::doubt(
        SUBJECT,
        format!("this command, {ours}, is {how} the {component}, {theirs}").replace("the `", "`"),
        advice,
    ))
}

#[cfg(test)]
mod tests;
