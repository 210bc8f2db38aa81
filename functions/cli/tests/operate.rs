//! What whoever is woken up needs: the doctor, what is under way, and giving it up.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use support::{Said, about, icepress, run, warehouse};

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
    let versions = seen(&after.json(), "versions");
    assert_eq!(versions.len(), 1, "{versions:?}");
    let ours = concat!("`icepress run` ", env!("CARGO_PKG_VERSION"));
    assert!(versions[0].1.starts_with(ours), "{versions:?}");
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

#[test]
fn a_blocked_table_waits_and_says_so_until_its_owner_lets_go() {
    let (_folder, warehouse) = warehouse();
    let nothing = run(&warehouse, &["blockers", "--json"]);
    assert_eq!(nothing.json()["blockers"], Value::Array(Vec::new()));
    let block = ["block", "shop.orders", "--for", "2h", "--owner", "spark"];
    let blocked = run(
        &warehouse,
        &[&block[..], &["--reason", "a merge", "--wait", "--json"]].concat(),
    );
    assert_eq!(blocked.code, 0, "{}", blocked.stderr);
    assert_eq!(
        blocked.json()["commits_under_way"],
        Value::Array(Vec::new())
    );
    let blocker = blocked.json()["blocker"].clone();
    assert_eq!(blocker["kind"], "table");
    assert_eq!(blocker["name"], "default.shop.orders");
    let lasts = |blocker: &Value| {
        blocker["expires_at"].as_i64().unwrap() - blocker["created_at"].as_i64().unwrap()
    };
    assert_eq!(lasts(&blocker), 2 * 3_600_000);
    let listed = run(&warehouse, &["blockers"]).stdout;
    assert!(
        listed.contains("spark") && listed.contains("a merge"),
        "{listed}"
    );

    let ran = run(&warehouse, &["run", "--once", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(
        about(&ran.json(), "default.shop.orders")["outcome"],
        "waiting"
    );
    assert_eq!(
        about(&ran.json(), "default.shop.events")["outcome"],
        "compacted"
    );
    assert!(
        ran.stderr
            .contains("waits: spark blocks table default.shop.orders: a merge"),
        "{}",
        ran.stderr
    );
    let tables = run(&warehouse, &["tables", "--json"]).json();
    let orders = about(&tables, "default.shop.orders");
    assert_eq!(orders["state"], "waiting");
    assert_eq!(orders["waits"]["for"], "blocker");
    let doctor = run(&warehouse, &["doctor"]).stdout;
    let told = "doubt  blocker of table default.shop.orders: spark blocks it for ";
    assert!(
        doctor.contains(told) && doctor.contains("more, and 1 table waits for that: a merge"),
        "{doctor}"
    );
    let explained = run(&warehouse, &["explain", "shop.orders"]).stdout;
    assert!(
        explained.contains("it waits: spark blocks") && explained.contains(", until 20"),
        "{explained}"
    );

    let wrong = run(&warehouse, &["unblock", "shop.orders", "--owner", "ann"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    let freed = run(
        &warehouse,
        &["unblock", "shop.orders", "--owner", "spark", "--json"],
    );
    assert_eq!(freed.json()["unblocked"], true, "{}", freed.stderr);
    let ran = run(&warehouse, &["run", "--once", "--json"]);
    assert_eq!(
        about(&ran.json(), "default.shop.orders")["outcome"],
        "compacted"
    );
}

#[test]
fn limits_are_read_from_the_configuration_and_wrong_ones_are_refused() {
    let (_folder, warehouse) = warehouse();
    let file = warehouse.join("icepress.toml");
    fs::write(&file, "[limits.catalog.default]\nmax-tasks = 1\n").unwrap();
    let wrong = run(&warehouse, &["tables"]);
    assert_eq!(wrong.code, 2);
    assert!(
        wrong.stderr.contains("unknown field `max-tasks`"),
        "{}",
        wrong.stderr
    );

    let limits = "[limits.table.\"default.shop.orders\"]\nmax-dollars-a-month = 0\n\n\
                  [limits.database.\"default.shop\"]\nmax-concurrent-tasks = 50\n";
    fs::write(&file, limits).unwrap();
    let ran = run(&warehouse, &["run", "--once", "--json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let report = ran.json();
    assert_eq!(
        about(&report, "default.shop.events")["outcome"],
        "compacted"
    );
    let orders = about(&report, "default.shop.orders");
    assert_eq!(orders["outcome"], "waiting");
    assert!(
        orders["reason"].as_str().unwrap().contains("$0.00 a month"),
        "{orders}"
    );
    let doctor = run(&warehouse, &["doctor", "--json"]);
    assert_eq!(doctor.code, 0, "{}", doctor.stderr);
    let quotas = seen(&doctor.json(), "quota of ");
    assert_eq!(quotas.len(), 2, "{quotas:?}");
    assert_eq!(quotas[0].1, "0 of 50 tasks are under way");
    assert!(
        quotas[1].0 == "doubt" && quotas[1].1.ends_with("1 table waits for it"),
        "{quotas:?}"
    );
    // A person who names the table goes before its quotas.
    let compacted = run(&warehouse, &["compact", "shop.orders", "--json"]);
    assert_eq!(
        compacted.json()["outcome"],
        "compacted",
        "{}",
        compacted.stderr
    );
}

#[test]
fn a_table_that_cannot_be_read_is_no_doubt_about_its_catalog() {
    let (_folder, warehouse) = warehouse();
    let metadata = warehouse.join("warehouse/shop/customers/metadata");
    for entry in fs::read_dir(&metadata).unwrap() {
        let path = entry.unwrap().path();
        if path
            .extension()
            .is_some_and(|extension| extension == "avro")
        {
            fs::write(path, b"not a manifest").unwrap();
        }
    }
    let document = run(&warehouse, &["doctor", "--json"]).json();
    let of_table = seen(&document, "table default.shop.customers");
    assert_eq!(of_table[0].0, "doubt", "{document}");
    let of_catalog: Vec<_> = seen(&document, "catalog default");
    assert!(
        of_catalog.iter().all(|(severity, _)| severity == "well"),
        "{of_catalog:?}"
    );
    assert!(
        of_catalog
            .iter()
            .any(|(_, seen)| seen.contains("can be read")),
        "{of_catalog:?}"
    );
}

#[test]
fn a_catalog_that_shows_no_namespace_is_doubted() {
    let (_folder, warehouse) = warehouse();
    let uri = format!("sqlite:///{}/catalog.db", warehouse.display());
    let toml =
        format!("[catalog.default]\ntype = 'sql'\nuri = '{uri}'\ncatalog-name = 'another'\n");
    fs::write(warehouse.join("icepress.toml"), toml).unwrap();
    let document = run(&warehouse, &["doctor", "--json"]).json();
    let of_catalog = seen(&document, "catalog default");
    let doubt = (
        "doubt".to_owned(),
        "it shows no namespace at all".to_owned(),
    );
    assert!(of_catalog.contains(&doubt), "{of_catalog:?}");
}

/// What a rewrite does not do is said, not left to be found out.
#[test]
fn a_sorted_table_is_told_to_be_kept_in_no_order() {
    let (_folder, warehouse) = warehouse();
    let unsorted = run(&warehouse, &["explain", "shop.orders", "--json"]).json();
    assert_eq!(unsorted["sort_order"], Value::Null);
    // As Spark's `WRITE ORDERED BY` leaves it, in the file that the catalog points to.
    let metadata = warehouse.join("warehouse/shop/orders/metadata");
    for entry in fs::read_dir(&metadata).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".metadata.json") {
            let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let id = json["schemas"][0]["fields"][0]["id"].clone();
            json["sort-orders"] = serde_json::json!([
                { "order-id": 0, "fields": [] },
                { "order-id": 1, "fields": [{ "transform": "identity", "source-id": id, "direction": "asc", "null-order": "nulls-first" }] }
            ]);
            json["default-sort-order-id"] = 1.into();
            fs::write(&path, json.to_string()).unwrap();
        }
    }
    let sorted = run(&warehouse, &["explain", "shop.orders", "--json"]).json();
    let order = sorted["sort_order"].as_str().unwrap();
    assert_eq!(sorted["sort_order_is_kept"], false);
    let told = run(&warehouse, &["explain", "shop.orders"]).stdout;
    assert!(
        told.contains(&format!("sorted by {order}: not kept")),
        "{told}"
    );
}

#[test]
fn snapshots_are_planned_expired_and_gone() {
    let (_folder, warehouse) = warehouse();
    assert_eq!(run(&warehouse, &["run", "--once"]).code, 0);
    let files = || {
        let listed = Command::new("find")
            .args([
                ".",
                "-path",
                "*shop/orders/*",
                "-type",
                "f",
                "-not",
                "-name",
                "*.metadata.json",
            ])
            .current_dir(&warehouse)
            .output()
            .unwrap();
        String::from_utf8(listed.stdout).unwrap().lines().count() as u64
    };
    let all = ["--older-than", "0", "--keep-younger-than", "0", "--json"];
    let words = |first: &[&'static str]| [first, &all[..]].concat();

    // Everything is younger than an hour.
    let young = run(
        &warehouse,
        &[
            "plan",
            "shop.orders",
            "--only",
            "expire",
            "--older-than",
            "0",
        ],
    );
    assert_eq!(young.code, 0, "{}", young.stderr);
    assert!(
        young.stdout.contains("0 snapshots would be expired"),
        "{}",
        young.stdout
    );
    assert!(
        young.stdout.contains("younger than the least age"),
        "{}",
        young.stdout
    );

    let before = files();
    let plan = run(
        &warehouse,
        &words(&["plan", "shop.orders", "--only", "expire"]),
    )
    .json();
    assert_eq!(files(), before, "a plan deletes nothing");
    let report = run(&warehouse, &words(&["maintain", "shop.orders"])).json();
    assert_eq!(report["files"], plan["files"]);
    let deleted: u64 = report["files"]
        .as_object()
        .unwrap()
        .values()
        .map(|counts| counts["files"].as_u64().unwrap())
        .sum();
    assert!(deleted > 3);
    assert_eq!(files(), before - deleted);
    assert_eq!(report["snapshots_kept"], 1);
    let again = run(&warehouse, &words(&["maintain", "shop.orders"])).json();
    assert_eq!(again["snapshots"].as_array().unwrap().len(), 0);
    assert_eq!(files(), before - deleted);
    let verdict = run(&warehouse, &["plan", "shop.orders"]);
    assert_eq!(verdict.code, 0, "{}", verdict.stderr);
}

#[test]
fn a_spoilt_table_is_shown_restored_and_undone() {
    let (_folder, warehouse) = warehouse();
    let snapshot = |metadata: &Path| -> Value {
        let mut files: Vec<_> = fs::read_dir(metadata)
            .unwrap()
            .map(|it| it.unwrap().path())
            .collect();
        files.retain(|path| path.to_string_lossy().ends_with(".metadata.json"));
        files.sort();
        serde_json::from_slice(&fs::read(files.last().unwrap()).unwrap()).unwrap()
    };
    let metadata = warehouse.join("warehouse/shop/orders/metadata");
    let good = snapshot(&metadata)["current-snapshot-id"].as_i64().unwrap();
    assert_eq!(run(&warehouse, &["run", "--once"]).code, 0);
    let spoilt = snapshot(&metadata)["current-snapshot-id"].as_i64().unwrap();
    assert_ne!(good, spoilt);
    let to = good.to_string();

    // Nobody answers, and with --json nobody is asked: nothing is changed.
    let asked = run(&warehouse, &["restore", "shop.orders", "--to", &to]);
    assert_eq!(asked.code, 2, "{}", asked.stderr);
    assert!(
        asked.stdout.contains("undone: 1 commit"),
        "{}",
        asked.stdout
    );
    assert!(
        asked.stdout.contains("by icepress, process"),
        "{}",
        asked.stdout
    );
    assert!(
        asked.stderr.contains("nothing was changed"),
        "{}",
        asked.stderr
    );
    let shown = run(
        &warehouse,
        &["restore", "shop.orders", "--to", &to, "--json"],
    )
    .json();
    assert_eq!(shown["restored"], false);
    assert_eq!(snapshot(&metadata)["current-snapshot-id"], spoilt);

    let done = run(
        &warehouse,
        &["restore", "shop.orders", "--to", &to, "--yes"],
    );
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(snapshot(&metadata)["current-snapshot-id"], good);
    // As it says itself.
    let undo = done
        .stdout
        .split("icepress restore ")
        .nth(1)
        .unwrap()
        .trim();
    let words: Vec<&str> = undo.split(' ').collect();
    let back = run(
        &warehouse,
        &[&["restore"], &words[..], &["--yes", "--json"]].concat(),
    );
    let back = back.json();
    assert_eq!(back["restored"], true);
    assert_eq!(snapshot(&metadata)["current-snapshot-id"], spoilt);
    let again = run(
        &warehouse,
        &[
            "restore",
            "shop.orders",
            "--to",
            &spoilt.to_string(),
            "--yes",
        ],
    );
    assert!(again.stdout.contains("nothing to do"), "{}", again.stdout);
    let wrong = run(
        &warehouse,
        &["restore", "shop.orders", "--to", "tomorrow", "--yes"],
    );
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    assert!(
        wrong.stderr.contains("no tag or branch"),
        "{}",
        wrong.stderr
    );
}

#[test]
fn tags_are_planned_and_made() {
    let (_folder, warehouse) = warehouse();
    let tags = run(
        &warehouse,
        &["plan", "shop.orders", "--only", "tags", "--json"],
    )
    .json();
    assert_eq!(tags["tags"]["created"], serde_json::json!([]));
    // As another writer sets it, in the file that the catalog points to.
    let metadata = warehouse.join("warehouse/shop/orders/metadata");
    for entry in fs::read_dir(&metadata).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(".metadata.json") {
            let mut json: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            json["properties"]["icepress.tag.daily"] = "30d".into();
            fs::write(&path, json.to_string()).unwrap();
        }
    }
    let planned = run(
        &warehouse,
        &["plan", "shop.orders", "--only", "tags", "--json"],
    )
    .json();
    let made = run(
        &warehouse,
        &["maintain", "shop.orders", "--only", "tags", "--json"],
    )
    .json();
    assert_eq!(made, planned);
    let name = made["tags"]["created"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(name.starts_with("icepress-daily-"), "{name}");
    // Everything at once: the tags' part, and expiry's at the top.
    let all = run(&warehouse, &["maintain", "shop.orders", "--json"]).json();
    assert_eq!(all["tags"]["created"], serde_json::json!([]));
    assert!(all["snapshots_kept"].as_u64().unwrap() > 0);
    let shown = run(
        &warehouse,
        &["restore", "shop.orders", "--to", &name, "--json"],
    )
    .json();
    assert_eq!(shown["found"], format!("tag {name}"));
}
