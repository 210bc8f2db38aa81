use icepress_coordination::Severity;

use super::*;

const NOW: TimestampMs = TimestampMs(1_760_000_000_000);

/// A version that was noted from so many minutes ago until so many minutes ago.
fn row(component: Component, version: &str, from: u64, until: u64) -> RunningVersion {
    RunningVersion {
        component,
        version: version.to_owned(),
        first_at: NOW - Duration::from_secs(60 * from),
        last_at: NOW - Duration::from_secs(60 * until),
    }
}

/// The findings as (severity, text), for a command 0.2.0.
fn said(rows: &[RunningVersion], is_deployed: bool) -> Vec<(Severity, String)> {
    let findings = findings(rows, "0.2.0", is_deployed, NOW);
    findings
        .into_iter()
        .map(|finding| (finding.severity, finding.seen))
        .collect()
}

const DAY: u64 = 24 * 60;

use Component::{Optimizer, Run, Scheduler};

#[test]
fn one_version_of_everything_is_well() {
    let rows = [
        row(Scheduler, "0.2.0", 900, 1),
        row(Optimizer, "0.2.0", 800, 300),
    ];
    let all = said(&rows, true);
    let text = "scheduler 0.2.0, noted 1 min ago; optimizer 0.2.0, noted 5 h ago";
    assert_eq!(all, [(Severity::Well, text.to_owned())]);
}

#[test]
fn what_was_replaced_is_no_mix_and_what_goes_on_beside_the_new_one_is() {
    let replaced = [
        row(Scheduler, "0.2.0", 60, 1),
        row(Optimizer, "0.2.0", 50, 2),
        row(Scheduler, "0.1.0", 9 * DAY, 70),
        // An optimizer that had no work since.
        row(Optimizer, "0.1.0", 9 * DAY, 65),
    ];
    let all = said(&replaced, true);
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0].0, Severity::Well);

    // Only the scheduler was deployed anew.
    let half = [
        row(Optimizer, "0.1.0", 9 * DAY, 5),
        row(Scheduler, "0.2.0", 60, 10),
    ];
    let all = said(&half, true);
    assert_eq!(all[0].0, Severity::Doubt);
    assert!(
        all[0]
            .1
            .contains("optimizer 0.1.0 and scheduler 0.2.0 are at work together"),
        "{all:?}"
    );
    // Two builds of one component.
    let builds = [
        row(Optimizer, "0.2.0+a", 60, 1),
        row(Optimizer, "0.2.0+b", 50, 5),
        row(Scheduler, "0.2.0+a", 50, 5),
    ];
    assert_eq!(said(&builds, true)[0].0, Severity::Doubt);
}

#[test]
fn a_scheduler_that_is_gone_or_was_never_there_is_told_where_functions_are_deployed() {
    let gone = [
        row(Optimizer, "0.2.0", 9 * DAY, 60),
        row(Scheduler, "0.2.0", 9 * DAY, 3 * DAY),
    ];
    let all = said(&gone, true);
    let no_scheduler = "no scheduler has lived since: scheduler 0.2.0, noted 72 h ago";
    assert_eq!(all[1], (Severity::Doubt, no_scheduler.to_owned()));
    let never = said(&gone[..1], true);
    assert!(
        never[1].1.contains("no scheduler has noted itself"),
        "{never:?}"
    );
    // A person's machine: nothing has to go on.
    assert_eq!(said(&[], false)[0].0, Severity::Well);
    let once = said(&[row(Run, "0.1.0", 9 * DAY, 8 * DAY)], false);
    assert_eq!(once.len(), 1, "{once:?}");
    assert_eq!(once[0].0, Severity::Well);
    assert_eq!(said(&[row(Run, "0.2.0", 60, 1)], true).len(), 1);
}

#[test]
fn a_command_that_is_older_or_newer_than_what_runs_is_told_so() {
    let told = |version: &str| said(&[row(Scheduler, version, 60, 1)], true)[1].clone();
    let newer = "this command, 0.2.0, is newer than the scheduler, 0.1.0";
    assert_eq!(told("0.1.0"), (Severity::Doubt, newer.to_owned()));
    assert!(told("0.3.1").1.contains("is older than the scheduler"));
    assert!(
        told("0.2.0+abc")
            .1
            .contains("of another build than the scheduler")
    );
    let run = said(&[row(Run, "0.1.0", 60, 1)], false);
    assert!(
        run[1].1.ends_with("newer than `icepress run`, 0.1.0"),
        "{run:?}"
    );
}
