//! What whoever is woken up needs: the doctor, what is under way, and giving it up.
#![allow(clippy::unwrap_used)]

mod support;

use std::{fs, path::PathBuf};

use serde_json::Value;
use support::{Said, icepress, run};

/// A warehouse with the demo's three tables, not compacted.
fn warehouse() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let made = run(
        folder.path(),
        &["demo", "--json", "--no-run", "--warehouse", "w"],
    );
    assert_eq!(made.code, 0, "{}", made.stderr);
    let warehouse = folder.path().join("w");
    (folder, warehouse)
}

/// What a doctor's document says about a subject.
fn seen(document: &Value, subject: &str) -> Vec<(String, String)> {
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = document["findings"].as_array().unwrap();
    findings
        .iter()
        .filter(|finding| text(finding, "subject").starts_with(subject))
        .map(|finding| (text(finding, "severity"), text(finding, "seen")))
        .collect()
}

#[test]
fn the_doctor_finds_a_sound_system_well_and_says_what_is_not() {
    let (_folder, warehouse) = warehouse();
    let before = run(&warehouse, &["doctor", "--json"]).json();
    assert_eq!(before["worst"], "doubt");
    assert_eq!(seen(&before, "schedulers")[0].0, "doubt", "nobody ran yet");

    // A table that fails is told of, and does not make the system wrong.
    let metadata = warehouse.join("warehouse/shop/orders/metadata");
    let whole: Vec<(PathBuf, Vec<u8>)> = fs::read_dir(&metadata)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "avro")
        })
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    for (path, _) in &whole {
        fs::write(path, b"not a manifest").unwrap();
    }
    let ran = run(&warehouse, &["run", "--once"]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let ill = run(&warehouse, &["doctor"]);
    assert_eq!(ill.code, 0, "{}", ill.stderr);
    assert!(
        ill.stdout
            .contains("doubt  table default.shop.orders: failed 1 times in a row")
            && ill.stdout.contains("icepress explain default.shop.orders"),
        "{}",
        ill.stdout
    );

    for (path, content) in &whole {
        fs::write(path, content).unwrap();
    }
    let mended = run(&warehouse, &["compact", "shop.orders"]);
    assert_eq!(mended.code, 0, "{}", mended.stderr);
    let after = run(&warehouse, &["doctor", "--json"]);
    assert_eq!(after.code, 0, "{}", after.stderr);
    assert_eq!(after.json()["worst"], "well", "{}", after.stdout);
}

#[test]
fn the_doctor_names_a_catalog_that_cannot_be_listed() {
    let (_folder, warehouse) = warehouse();
    let catalog = fs::read_dir(&warehouse)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "db"))
        .unwrap();
    // The catalog is a database still, but one without its table.
    fs::remove_file(&catalog).unwrap();
    fs::write(&catalog, b"").unwrap();
    let said = run(&warehouse, &["doctor", "--json"]);
    assert_ne!(said.code, 0, "{}", said.stdout);
}

#[test]
fn nothing_under_way_is_said_and_an_unknown_process_is_refused() {
    let (_folder, warehouse) = warehouse();
    let none = run(&warehouse, &["processes", "--json"]);
    assert_eq!(none.json()["processes"], Value::Array(Vec::new()));
    assert_eq!(
        run(&warehouse, &["processes", "shop.orders"]).stdout,
        "no process is under way\n"
    );
    let unknown = run(&warehouse, &["cancel", "p-1"]);
    assert_eq!(unknown.code, 2);
    assert!(
        unknown.errors()[0].contains("there is no process p-1"),
        "{}",
        unknown.stderr
    );
}

#[test]
fn a_deployed_system_is_found_by_the_functions_own_variables() {
    let folder = tempfile::tempdir().unwrap();
    let missing = run(folder.path(), &["--deployed", "doctor"]);
    assert_eq!(missing.code, 2);
    assert!(
        missing.errors()[0].contains("ICEPRESS_QUEUE_URL_TEMPLATE is not set"),
        "{}",
        missing.stderr
    );
    let both = icepress(folder.path(), &["--deployed", "--state", "x.db", "doctor"]);
    let both = Said::of({ both }.output().unwrap());
    assert_eq!(both.code, 2, "{}", both.stderr);
    assert!(both.stderr.contains("--state"), "{}", both.stderr);
}
