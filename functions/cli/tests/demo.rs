//! `icepress demo` from beginning to end.
#![allow(clippy::unwrap_used)]

mod support;

use std::fs;

use serde_json::Value;
use support::{about, run};

fn number(object: &Value, key: &str) -> u64 {
    object[key]
        .as_u64()
        .unwrap_or_else(|| panic!("{key} in {object}"))
}

#[test]
fn the_demo_compacts_three_tables_keeps_their_rows_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let said = run(folder.path(), &["demo", "--json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let document = said.json();
    assert_eq!(document["tables"].as_array().unwrap().len(), 3);
    for (table, files_before, delete_files_before) in [
        ("default.shop.events", 2_000, 0),
        ("default.shop.orders", 24, 15),
        ("default.shop.customers", 13, 9),
    ] {
        let seen = about(&document, table);
        assert_eq!(seen["outcome"], "compacted", "{seen}");
        assert_eq!(seen["same_rows"], true, "{seen}");
        assert_eq!(seen["rows_before"], seen["rows"], "{seen}");
        assert_eq!(seen["rows_after"], seen["rows"], "{seen}");
        assert!(number(seen, "rows") > 1_000, "{seen}");
        assert_eq!(number(seen, "files_before"), files_before, "{seen}");
        assert_eq!(
            number(seen, "delete_files_before"),
            delete_files_before,
            "{seen}"
        );
        assert_eq!(number(seen, "delete_files_after"), 0, "{seen}");
        assert!(number(seen, "files_after") * 5 < files_before, "{seen}");
        assert!(
            number(seen, "row_groups_after") < number(seen, "row_groups_before"),
            "{seen}"
        );
        assert!(
            number(seen, "bytes_after") < number(seen, "bytes_before"),
            "{seen}"
        );
        assert!(
            seen["health_after"].as_f64() > seen["health_before"].as_f64(),
            "{seen}"
        );
        assert_eq!(number(seen, "groups_left"), 0, "{seen}");
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn the_same_seed_gives_the_same_rows_and_another_seed_others() {
    let folder = tempfile::tempdir().unwrap();
    let hashes = |name: &str, seed: &str| -> Vec<Vec<u8>> {
        let said = run(
            folder.path(),
            &[
                "demo",
                "--json",
                "--no-run",
                "--seed",
                seed,
                "--warehouse",
                name,
            ],
        );
        assert_eq!(said.code, 0, "{}", said.stderr);
        let data = folder.path().join(name).join("warehouse/shop");
        [
            "events/data/day=2026-01-01/region=ap/00000-0.parquet",
            "orders/data/ordered_on_month=2026-02/00003-rows.parquet",
            "customers/data/late.parquet",
        ]
        .into_iter()
        .map(|file| fs::read(data.join(file)).unwrap_or_else(|error| panic!("{file}: {error}")))
        .collect()
    };
    let first = hashes("a", "7");
    assert_eq!(first, hashes("b", "7"));
    let other = hashes("c", "8");
    assert!(
        first
            .iter()
            .zip(&other)
            .all(|(one, another)| one != another)
    );
}
