use icepress_coordination::Severity;
use icepress_model::{Bytes, NanoDollars, TableId};

use super::*;

const NOW: TimestampMs = TimestampMs(1_760_000_000_000);
const HOUR: std::time::Duration = std::time::Duration::from_secs(3_600);

fn row(name: &str) -> TableRow {
    let table: TableId = name.parse().unwrap();
    let home = icepress_coordination::Home {
        bucket: icepress_model::BucketId(0),
        layout: icepress_model::Generation(1),
    };
    TableRow::unknown(home, table)
}

/// The line about a blocker, beside these tables.
fn of(blocker: &Blocker, tables: &[TableRow]) -> Finding {
    let mut held = Held::new(vec![blocker.clone()]);
    tables.iter().for_each(|row| held.add(row));
    let mut said = held.blockers(NOW);
    assert_eq!(said.len(), 1);
    said.remove(0)
}

fn waits(waits_for: WaitsFor) -> Waiting {
    Waiting {
        waits_for,
        reason: "a reason".to_owned(),
        quota_of: None,
        until: Some(NOW + HOUR),
        since: NOW,
    }
}

#[test]
fn a_blocker_is_told_with_owner_end_and_tables_and_is_a_doubt_where_some_wait_for_it() {
    let tables = [row("lake.sales.a"), row("lake.sales.b"), row("lake.hr.c")];
    let mut blocker = Blocker {
        scope: Scope::Database(tables[0].table.database()),
        owner: "nightly".to_owned(),
        reason: "a merge".to_owned(),
        created_at: NOW,
        expires_at: NOW + 2 * HOUR,
    };
    let said = of(&blocker, &tables);
    assert_eq!(said.severity, Severity::Well);
    assert_eq!(said.subject, "blocker of database lake.sales");
    let seen = "nightly blocks it for 2 h more, and 0 tables wait for that: a merge";
    assert_eq!(said.seen, seen);

    let [mut a, mut b, mut c] = tables.clone();
    for (row, waits_for) in [
        (&mut a, WaitsFor::Blocker),
        (&mut b, WaitsFor::Window),
        (&mut c, WaitsFor::Blocker),
    ] {
        row.conclusion = Some(serde_json::json!({ "waits": waits(waits_for) }).to_string());
    }
    let said = of(&blocker, &[a, b, c]);
    assert_eq!(said.severity, Severity::Doubt);
    assert!(
        said.seen.contains("1 table waits for that"),
        "{}",
        said.seen
    );
    assert!(said.advice.unwrap().contains("--owner nightly"));

    blocker.expires_at = TimestampMs(i64::MAX);
    let said = of(&blocker, &tables);
    assert_eq!(said.severity, Severity::Doubt);
    assert!(said.seen.contains("without an end"), "{}", said.seen);
}

#[test]
fn what_is_taken_of_a_quota_is_told_for_what_it_limits_alone() {
    let row = QuotaRow::unused(Scope::Catalog("lake".into()));
    let mut quota = Quota {
        tasks: Some(50),
        ..Quota::default()
    };
    assert_eq!(taken(&row, &quota, NOW), "0 of 50 tasks are under way");
    quota.bytes_a_day = Some(Bytes::mebibytes(3));
    quota.cost_a_month = Some(NanoDollars::from_dollars(300.0));
    let all = taken(&row, &quota, NOW);
    assert_eq!(all.matches(" of ").count(), 3, "{all}");
    assert!(all.contains("$300.00 are spent"), "{all}");

    let short = Waiting {
        until: None,
        ..waits(WaitsFor::Tasks)
    };
    let said = held_back("quota of catalog lake".to_owned(), all, 1, &short, NOW);
    assert_eq!(said.severity, Severity::Doubt);
    assert!(
        said.seen.ends_with("; 1 table waits for it"),
        "{}",
        said.seen
    );
    assert!(
        said.advice
            .unwrap()
            .starts_with("there is more when a task ends")
    );
}

#[test]
fn a_long_list_is_cut_and_what_is_no_trouble_goes_first() {
    let mut all: Vec<Finding> = (0..LISTED + 5)
        .map(|number| Finding::well(format!("blocker {number}"), "stands"))
        .collect();
    all.push(Finding::doubt("blocker last", "stands", "look"));
    shorten(&mut all, "blockers", "look");
    assert_eq!(all.len(), LISTED + 1);
    assert_eq!(all[0].subject, "blocker last");
    assert_eq!(all[LISTED].seen, "6 more");
}
