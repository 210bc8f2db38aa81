//! Sums are of all tables, and of however many those with most to rewrite are kept.

use icepress_coordination::TableRow;
use icepress_model::{BucketId, Generation, TableId, TimestampMs};
use serde_json::json;

use super::*;

fn known(number: u64, conclusion: Option<serde_json::Value>) -> (String, Known) {
    let table: TableId = format!("lake.shop{}.t{number:06}", number % 2)
        .parse()
        .unwrap();
    let home = icepress_coordination::Home {
        bucket: BucketId(0),
        layout: Generation(1),
    };
    let row = conclusion.map(|conclusion| TableRow {
        conclusion: Some(conclusion.to_string()),
        ..TableRow::unknown(home, table.clone())
    });
    let known = Known::new(&table, None, row.as_ref(), TimestampMs(0));
    (table.database().to_string(), known)
}

fn would_rewrite(bytes: u64) -> serde_json::Value {
    let observed = Observed {
        groups: 1,
        files: 10,
        bytes: Bytes(bytes),
        price: NanoDollars(500_000_000),
        frees: Bytes(3),
        ..Observed::default()
    };
    json!({"totals": {"data_files": 12, "data_bytes": bytes}, "health": {"score": 40.0}, "observed": observed})
}

#[test]
fn of_many_tables_all_are_summed_and_those_with_most_to_rewrite_are_kept() {
    let mut report = Report::of(&CatalogName::from("lake"));
    let mut most = 0;
    for number in 0..10_000 {
        let (database, known) = known(number, Some(would_rewrite((number * 7_777) % 10_007)));
        report.add(database, &known, Mode::Observe, 3);
        most = most.max(report.tables.len());
    }
    report.shorten(3);
    assert!(most <= 2 * 3 + TOGETHER, "{most} were in memory");
    let bytes: Vec<u64> = report
        .tables
        .iter()
        .map(|it| it.would.bytes.get())
        .collect();
    assert!(
        bytes.len() == 3 && bytes.is_sorted_by(|a, b| a >= b),
        "{bytes:?}"
    );
    assert!(bytes[2] > 9_900, "{bytes:?}");
    assert_eq!(report.more_tables, 9_997);
    assert_eq!((report.sum.with_work, report.sum.files), (10_000, 100_000));
    assert_eq!(report.sum.price(), NanoDollars(5_000_000_000_000));
    assert_eq!(report.databases["lake.shop0"].tables, 5_000);
}

#[test]
fn what_is_said_has_the_sum_the_states_and_the_modes() {
    let mut report = Report::of(&CatalogName::from("lake"));
    let tables = [
        Some(would_rewrite(1 << 30)),
        Some(json!({"totals": {"data_files": 1}, "observed": Observed::default()})),
        Some(json!({"refused": "tested"})),
        None,
    ];
    for (number, conclusion) in tables.into_iter().enumerate() {
        let (database, known) = known(number as u64, conclusion);
        let mode = if number == 2 {
            Mode::Maintain
        } else {
            Mode::Observe
        };
        report.add(database, &known, mode, 20);
    }
    report.shorten(20);
    let text = of_report(&report);
    for part in [
        "lake: would rewrite 1.0 GiB in 10 files for $0.500000, and free 3 B, in 1 table",
        "4 tables: 2 evaluated, 1 new, 1 refused, 2 observed",
        "mode: observe 3 tables, maintain 1 table",
        "lake.shop1",
        "icepress compact TABLE",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(report.tables.len(), 1);
    let nothing = of_report(&Report::of(&CatalogName::from("lake")));
    assert!(
        nothing.starts_with("lake: nothing would be done"),
        "{nothing}"
    );
}
