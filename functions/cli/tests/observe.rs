//! Tables that are only observed: what `run`, `tables`, `explain` and `report` say of them, and what people do all the same.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, path::PathBuf};

use support::{about, run, warehouse};

/// A warehouse with the demo's three tables, not compacted, and modes for them.
fn observed(modes: &str) -> (tempfile::TempDir, PathBuf) {
    let (folder, warehouse) = warehouse();
    set(&warehouse, modes);
    (folder, warehouse)
}

fn set(warehouse: &std::path::Path, modes: &str) {
    fs::write(warehouse.join("icepress.toml"), modes).unwrap();
}

#[test]
fn what_is_observed_is_reported_and_worked_on_when_its_mode_or_a_person_says_so() {
    let (_folder, warehouse) = observed("mode = 'observe'\n");
    let nothing = run(&warehouse, &["report", "--json"]).json();
    assert_eq!(nothing["sum"]["states"]["new"], 3, "{nothing}");
    assert_eq!(nothing["sum"]["modes"]["observe"], 3, "{nothing}");

    let ran = run(&warehouse, &["run", "--once", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let ran = ran.json();
    assert_eq!(
        (&ran["compacted"], &ran["failed"]),
        (&0.into(), &0.into()),
        "{ran}"
    );
    let events = about(&ran, "default.shop.events");
    assert_eq!(events["outcome"], "observed", "{ran}");
    assert_eq!(events["files_after"], 2_000, "{ran}");
    assert_eq!(
        run(&warehouse, &["processes", "--json"]).json()["processes"],
        serde_json::json!([])
    );

    let reported = run(&warehouse, &["report", "--json", "--limit", "2"]);
    assert_eq!(reported.code, 0, "{}", reported.stderr);
    let report = reported.json();
    let sum = &report["sum"];
    assert_eq!(
        (&sum["evaluated"], &sum["with_work"]),
        (&3.into(), &3.into()),
        "{report}"
    );
    assert!(sum["dollars"].as_f64().unwrap() > 0.0, "{report}");
    assert!(
        sum["frees"].as_u64().unwrap() > 0,
        "two tables have deletes: {report}"
    );
    assert_eq!(report["databases"]["default.shop"]["tables"], 3, "{report}");
    assert_eq!(report["tables"].as_array().unwrap().len(), 2, "{report}");
    assert_eq!(report["more_tables"], 1, "{report}");
    let plan = run(&warehouse, &["plan", "shop.events", "--json"]).json();
    let whole = run(
        &warehouse,
        &["report", "--json", "--database", "shop", "--limit", "0"],
    )
    .json();
    let events = about(&whole, "default.shop.events");
    assert_eq!(
        (&events["state"], &events["mode"]),
        (&"observed".into(), &"observe".into())
    );
    let groups = plan["groups"].as_array().unwrap();
    assert_eq!(events["would"]["groups"], groups.len(), "{whole}");
    assert_eq!(events["would"]["files"], 2_000, "{whole}");
    let none = run(&warehouse, &["report", "--json", "--database", "elsewhere"]).json();
    assert_eq!(none["sum"]["tables"], 0, "{none}");
    let shown = run(&warehouse, &["report"]).stdout;
    assert!(
        shown.starts_with("default: would rewrite ") && shown.contains("and free "),
        "{shown}"
    );

    let listed = run(&warehouse, &["tables", "--state", "observed", "--json"]).json();
    assert_eq!(listed["tables"].as_array().unwrap().len(), 3, "{listed}");
    assert_eq!(
        about(&listed, "default.shop.events")["rewritten_since"],
        false
    );
    let explained = run(&warehouse, &["explain", "shop.events"]).stdout;
    for part in [
        "mode: observe, set for all tables",
        "state: observed",
        "would rewrite",
    ] {
        assert!(explained.contains(part), "{part} in {explained}");
    }

    // A person's own word counts, and is told what it went against.
    let compacted = run(&warehouse, &["compact", "shop.orders", "--json"]);
    assert_eq!(
        compacted.json()["outcome"],
        "compacted",
        "{}",
        compacted.stderr
    );
    assert!(
        compacted.stderr.contains("only observed"),
        "{}",
        compacted.stderr
    );
    let maintained = run(&warehouse, &["maintain", "shop.orders", "--only", "expire"]);
    assert_eq!(maintained.code, 0, "{}", maintained.stderr);
    assert!(
        maintained.stderr.contains("only observed"),
        "{}",
        maintained.stderr
    );

    // By name, and nothing else is begun.
    set(
        &warehouse,
        "[mode]\ndefault = 'observe'\n[mode.table]\n'default.shop.ev*' = 'maintain'\n",
    );
    let ran = run(&warehouse, &["run", "--once", "--json"]).json();
    assert_eq!(
        about(&ran, "default.shop.events")["outcome"],
        "compacted",
        "{ran}"
    );
    assert_eq!(
        about(&ran, "default.shop.customers")["outcome"],
        "observed",
        "{ran}"
    );
    assert_eq!(ran["compacted"], 1, "{ran}");
    let report = run(&warehouse, &["report", "--json"]).json();
    assert_eq!(
        report["sum"]["modes"],
        serde_json::json!({"observe": 2, "maintain": 1})
    );
    assert_eq!(report["sum"]["with_work"], 1, "{report}");

    // All of them, as a laptop does where nothing is said.
    set(&warehouse, "");
    let ran = run(&warehouse, &["run", "--once", "--json"]).json();
    assert_eq!(
        about(&ran, "default.shop.customers")["outcome"],
        "compacted",
        "{ran}"
    );
    let report = run(&warehouse, &["report"]).stdout;
    assert!(
        report.starts_with("default: nothing would be done"),
        "{report}"
    );
}

#[test]
fn a_mode_that_is_none_is_told_with_the_one_that_was_meant() {
    let (_folder, warehouse) = observed("mode = 'obsrve'\n");
    let said = run(&warehouse, &["run", "--once"]);
    assert_eq!(said.code, 2, "{}", said.stderr);
    for part in ["icepress.toml", "'obsrve'", "did you mean 'observe'?"] {
        assert!(said.stderr.contains(part), "{part} in {}", said.stderr);
    }
}
