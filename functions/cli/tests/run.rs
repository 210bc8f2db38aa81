//! `icepress run` on what a PyIceberg user has: one table broken, the others good; then everything settled.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use support::{Said, about, icepress, run, warehouse};

fn metadata_files(warehouse: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    for table in ["events", "orders", "customers"] {
        let metadata = warehouse
            .join("warehouse/shop")
            .join(table)
            .join("metadata");
        files.extend(
            fs::read_dir(metadata)
                .unwrap()
                .map(|entry| entry.unwrap().path()),
        );
    }
    files
}

/// The largest manifest of a table, which is no manifest list.
fn a_manifest(warehouse: &Path, table: &str) -> PathBuf {
    metadata_files(warehouse)
        .into_iter()
        .filter(|path| path.starts_with(warehouse.join("warehouse/shop").join(table)))
        .filter(|path| path.to_string_lossy().ends_with("-m0.avro"))
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap()
}

#[test]
fn a_broken_table_beside_good_ones_fails_alone_and_a_second_run_changes_nothing() {
    let (_folder, warehouse) = warehouse();
    let manifest = a_manifest(&warehouse, "orders");
    let whole = fs::read(&manifest).unwrap();
    fs::write(&manifest, &whole[..whole.len() / 2]).unwrap();

    let said = run(&warehouse, &["run", "--once", "--json"]);
    assert_eq!(said.code, 1, "{}", said.stderr);
    let report = said.json();
    assert_eq!(report["failed"], 1, "{report}");
    assert_eq!(report["compacted"], 2, "{report}");
    assert_eq!(
        about(&report, "default.shop.events")["outcome"],
        "compacted"
    );
    assert_eq!(
        about(&report, "default.shop.customers")["outcome"],
        "compacted"
    );
    let broken = about(&report, "default.shop.orders");
    assert_eq!(broken["outcome"], "failed");
    let reason = broken["reason"].as_str().unwrap();
    assert!(
        reason.contains(manifest.file_name().unwrap().to_str().unwrap()),
        "{reason}"
    );
    assert!(!reason.contains('\n'), "{reason}");
    let errors = said.errors();
    assert_eq!(errors.len(), 1, "{}", said.stderr);
    assert!(
        errors[0].starts_with("error: table default.shop.orders: "),
        "{}",
        errors[0]
    );

    let plan = run(&warehouse, &["plan", "shop.orders"]);
    assert_eq!(plan.code, 1);
    assert_eq!(plan.errors().len(), 1, "{}", plan.stderr);
    let listed = run(&warehouse, &["tables", "--json"]).json();
    assert_eq!(about(&listed, "default.shop.orders")["state"], "failing");
    let events = about(&listed, "default.shop.events");
    assert_eq!(events["state"], "settled");
    // What is known is of the look before the rewrite, and says so; nothing is looked at for a list.
    assert_eq!(events["rewritten_since"], true, "{events}");
    let explained = run(&warehouse, &["explain", "shop.events", "--json"]).json();
    assert_eq!(
        explained["table"]["files"], 20,
        "as the run left it: {explained}"
    );
    assert_eq!(explained["table"]["rewritten_since"], false, "{explained}");

    // Mended, it is compacted on the next demand; the others are left as they are.
    fs::write(&manifest, &whole).unwrap();
    let compacted = run(&warehouse, &["compact", "shop.orders", "--json"]);
    assert_eq!(compacted.code, 0, "{}", compacted.stderr);
    assert_eq!(
        compacted.json()["delete_files_after"],
        0,
        "{}",
        compacted.stdout
    );
    for table in ["shop.events", "shop.orders", "shop.customers"] {
        let verified = run(&warehouse, &["verify", table, "--json"]);
        assert_eq!(verified.code, 0, "{}", verified.stderr);
        assert_eq!(verified.json()["same"], true, "{}", verified.stdout);
    }

    let before = metadata_files(&warehouse);
    for state in ["state.db", "another_state.db"] {
        let again = run(&warehouse, &["run", "--once", "--json", "--state", state]);
        assert_eq!(again.code, 0, "{}", again.stderr);
        let report = again.json();
        assert_eq!(report["compacted"], 0, "{report}");
        for table in report["tables"].as_array().unwrap() {
            assert_eq!(table["outcome"], "unchanged", "{report}");
        }
    }
    assert_eq!(metadata_files(&warehouse), before);
}

#[test]
fn a_plan_is_what_a_run_does_and_changes_nothing() {
    let (_folder, warehouse) = warehouse();
    let before = metadata_files(&warehouse);
    let planned = run(&warehouse, &["plan", "default.shop.events", "--json"]);
    assert_eq!(planned.code, 0, "{}", planned.stderr);
    let plan = planned.json();
    assert_eq!(plan["totals"]["data_files"], 2_000);
    let groups = plan["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 20, "one for each partition");
    let files: usize = groups
        .iter()
        .map(|group| group["inputs"].as_array().unwrap().len())
        .sum();
    assert_eq!(files, 2_000);
    let shown = run(&warehouse, &["plan", "shop.events"]);
    assert!(
        shown.stdout.contains("day=2026-01-03/region=eu"),
        "{}",
        shown.stdout
    );
    let explained = run(&warehouse, &["explain", "shop.orders"]);
    assert_eq!(explained.code, 0, "{}", explained.stderr);
    assert_eq!(metadata_files(&warehouse), before);

    // Only what was named is compacted.
    let said = run(&warehouse, &["run", "--once", "--json", "shop.customers"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    let report = said.json();
    assert_eq!(report["tables"].as_array().unwrap().len(), 1, "{report}");
    let changed: Vec<_> = metadata_files(&warehouse)
        .difference(&before)
        .cloned()
        .collect();
    assert!(!changed.is_empty());
    assert!(
        changed
            .iter()
            .all(|path| path.to_string_lossy().contains("/customers/")),
        "{changed:?}"
    );

    let explained = run(&warehouse, &["explain", "shop.customers", "--json"]).json();
    assert_eq!(
        explained["processes"][0]["outcome"]["outcome"], "committed",
        "{explained}"
    );
    assert_eq!(
        explained["plan"]["groups"].as_array().unwrap().len(),
        0,
        "{explained}"
    );
}

#[test]
fn a_run_without_end_works_round_after_round_and_ends_when_it_is_asked_to() {
    let (_folder, warehouse) = warehouse();
    // Free for a moment, it is taken by the run.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let listening = address.to_string();
    let rounds = ["run", "--json", "--interval", "1s", "--catalog", "default"];
    let wanted = [&rounds[..], &["--metrics", &listening]].concat();
    let mut child = icepress(&warehouse, &wanted)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["compacted"], 3, "{first}");
    let second: serde_json::Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(second["compacted"], 0, "{second}");
    let page = metrics_at(address);
    let beside = run(&warehouse, &["run", "--once", "--metrics", &listening]);
    assert_eq!(beside.code, 2, "{}", beside.stderr);
    assert!(beside.stderr.contains(&listening), "{}", beside.stderr);
    let killed = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    drop(lines);
    let said = Said::of(child.wait_with_output().unwrap());
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert!(
        said.stderr.contains("ending after what is in hand"),
        "{}",
        said.stderr
    );
    is_told_to_prometheus(&page);
}

/// What three tables come to that were compacted, each once.
fn is_told_to_prometheus(page: &str) {
    for told in [
        "# TYPE icepress_tick_seconds gauge",
        "icepress_oldest_due_seconds{bucket=\"0\"} ",
        "icepress_group_seconds_bucket{le=\"+Inf\"} ",
    ] {
        assert!(page.contains(told), "{told}: {page}");
    }
    assert!(!page.contains("icepress_tasks_failed_total"), "{page}");
    let number = |name: &str| -> f64 {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let committed = "icepress_processes_ended_total{kind=\"rewrite\",outcome=\"committed\"} ";
    assert_eq!(number(committed), 3.0, "{page}");
    assert_eq!(
        number("icepress_processes_begun_total{kind=\"rewrite\"} "),
        3.0,
        "{page}"
    );
    assert!(number("icepress_read_files_total ") > number("icepress_written_files_total "));
    assert!(number("icepress_written_bytes_total ") > 0.0, "{page}");
    assert!(number("icepress_actual_dollars_total ") > 0.0, "{page}");
    assert!(number("icepress_predicted_dollars_total ") > 0.0, "{page}");
}

#[test]
fn redrive_with_no_dead_letters_brings_back_none() {
    let (_folder, warehouse) = warehouse();
    let said = run(&warehouse, &["redrive", "--json"]);
    assert_eq!(said.code, 0, "{}", said.stderr);
    assert_eq!(said.json()["brought_back"], 0);
}

#[test]
fn buckets_are_resized_between_two_runs() {
    let (_folder, warehouse) = warehouse();
    let first = run(&warehouse, &["run", "--once", "--json"]);
    assert_eq!(first.json()["compacted"], 3, "{}", first.stderr);
    let before = run(&warehouse, &["buckets", "--json"]).json();
    assert_eq!(
        (&before["buckets"], &before["moving"]),
        (&8.into(), &false.into())
    );

    let smaller = run(&warehouse, &["buckets", "resize", "2", "--json"]).json();
    assert_eq!(
        (&smaller["before"], &smaller["after"]),
        (&8.into(), &2.into())
    );
    assert_eq!(
        (&smaller["moved"], &smaller["settled"]),
        (&3.into(), &true.into())
    );
    let again = run(&warehouse, &["buckets", "resize", "2"]);
    assert!(again.stdout.contains("already"), "{}", again.stdout);
    let after = run(&warehouse, &["buckets", "--json"]).json();
    let each = after["each"].as_array().unwrap();
    assert_eq!(each.len(), 2);
    let tables: u64 = each
        .iter()
        .map(|bucket| bucket["tables"].as_u64().unwrap())
        .sum();
    assert_eq!(tables, 3);

    // Nothing is forgotten, and nothing is done twice.
    let second = run(&warehouse, &["run", "--once", "--json"]);
    assert_eq!((second.code, &second.json()["compacted"]), (0, &0.into()));
    let wrong = run(&warehouse, &["buckets", "resize", "100000"]);
    assert_eq!(wrong.code, 2, "{}", wrong.stderr);
    assert!(wrong.stderr.contains("too many"), "{}", wrong.stderr);
}

/// What `GET /metrics` answers; empty where nobody does.
fn metrics_at(address: SocketAddr) -> String {
    let mut page = String::new();
    if let Ok(mut asking) = TcpStream::connect(address) {
        asking.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
        asking.read_to_string(&mut page).unwrap();
    }
    page
}
