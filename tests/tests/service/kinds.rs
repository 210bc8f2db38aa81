//! Kinds of upkeep beside expiry, each by itself on a real table: what was done, that it is done once, and what is told of it.

use std::time::Duration;

use icepress_model::{ProcessKind, TableId, TimestampMs};
use icepress_service::{
    Context, Upkeep,
    embedded::{RunReport, Stop, TableOutcome, run_once},
    orphans, tables,
};
use icepress_storage::{PutMode, WriteOptions};
use icepress_tests::{Lab, settings_for_tests};
use icepress_upkeep::OrphanRequest;

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(super) async fn run(context: &Context) -> RunReport {
    let report = run_once(context, 2, &Stop::default()).await.unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    report
}

/// What a run did to the only table beside rewrites.
pub(super) async fn maintained(context: &Context) -> Vec<String> {
    run(context).await.tables.remove(0).maintained
}

/// A second run does nothing.
async fn is_settled(context: &Context, table: &TableId) -> bool {
    let before = context.store.processes_of(table, 99).await.unwrap().len();
    let outcome = run(context).await.tables[0].outcome;
    let after = context.store.processes_of(table, 99).await.unwrap().len();
    (outcome, after) == (TableOutcome::Unchanged, before)
}

/// What `icepress explain` says of the table's upkeep, and the kinds of its processes, the newest first.
async fn explained(context: &Context, table: &TableId) -> (Upkeep, Vec<ProcessKind>) {
    let (upkeep, kinds) = explained_of(context, table).await;
    (upkeep.unwrap(), kinds)
}

/// The same where there may be nothing to say of it.
async fn explained_of(context: &Context, table: &TableId) -> (Option<Upkeep>, Vec<ProcessKind>) {
    let explained = tables::explain(context, table).await.unwrap();
    let upkeep = Upkeep::of(&explained.row.unwrap());
    let kinds = explained.processes.iter().map(|process| process.kind);
    (upkeep, kinds.collect())
}

/// A table of eight small files with these properties, and who works on it.
async fn table_with(seed: u64, properties: &[(&str, &str)]) -> (Lab, TableId, Context) {
    let lab = Lab::new(seed).await;
    let table = lab.create_table("events", properties).await;
    lab.append_numbered(&table, &["eu"], 8, 10, 0).await;
    let worker = lab.worker(settings_for_tests("a"));
    (lab, table, worker)
}

async fn tags(lab: &Lab, table: &TableId) -> Vec<String> {
    let refs = lab.load(table).await.metadata.refs().unwrap();
    refs.into_keys().filter(|name| name != "main").collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn recovery_points_are_made_when_their_day_begins_and_a_table_at_rest_costs_no_commit() {
    let properties = [
        ("icepress.maintain.tags", "true"),
        ("icepress.tag.daily", "2d"),
    ];
    let (lab, table, worker) = table_with(71, &properties).await;
    // Its oldest state, as a table that is younger than its day has no other.
    let did = maintained(&worker).await;
    let first = tags(&lab, &table).await;
    assert_eq!(did, [format!("tagged {}", first[0])]);
    assert!(is_settled(&worker, &table).await);
    let (upkeep, kinds) = explained(&worker, &table).await;
    assert_eq!(kinds, [ProcessKind::Tags, ProcessKind::Rewrite]);
    let midnight = upkeep.later[&ProcessKind::Tags];
    assert!(midnight > lab.ambient.now() && midnight <= lab.ambient.now() + DAY);
    assert_eq!(midnight.get() % 86_400_000, 0, "by UTC");
    let row = worker.store.table(&table).await.unwrap().unwrap();
    assert_eq!(row.due_at, Some(midnight), "nobody looks before");

    // The rewrite's state, and then there is nothing new until the first is over.
    lab.clock.advance(DAY);
    let did = maintained(&worker).await;
    let second = tags(&lab, &table).await;
    assert_eq!((did.len(), second.len()), (1, 2), "{did:?}");
    assert!(is_settled(&worker, &table).await);
    lab.clock.advance(2 * DAY);
    let did = maintained(&worker).await;
    assert!(did[0].contains("whose time is over"), "{did:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_table_says_of_its_tags_and_nobody_can_read_is_refused_by_its_name() {
    let properties = [
        ("icepress.maintain.tags", "true"),
        ("icepress.tag.dayly", "2d"),
    ];
    let (lab, table, worker) = table_with(72, &properties).await;
    let report = run(&worker).await;
    assert_eq!(report.tables[0].outcome, TableOutcome::Compacted);
    assert!(tags(&lab, &table).await.is_empty());
    let (upkeep, kinds) = explained(&worker, &table).await;
    assert_eq!(kinds, [ProcessKind::Rewrite]);
    let why = &upkeep.refused[&ProcessKind::Tags];
    assert!(why.contains("icepress.tag.dayly"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_go_when_they_pass_their_age_where_the_table_and_its_keeper_both_say_so() {
    let lab = Lab::new(73).await;
    // Long after everything else, so that no clock has to be moved.
    let (day, midnight) = ("2999-01-01", TimestampMs(32_472_144_000_000));
    let of_table = [
        ("icepress.age-out.field", "region"),
        ("icepress.age-out.keep", "5d"),
        ("icepress.age-out.base", "now"),
    ];
    let on = ("icepress.maintain.age-out", "true");
    let said = lab.create_table("said", &of_table).await;
    let switched = lab.create_table("switched", &[on]).await;
    let both = [&of_table[..], &[on]].concat();
    let table = lab.create_table("both", &both).await;
    let worker = lab.worker(settings_for_tests("a"));
    for table in [&said, &switched, &table] {
        lab.append_numbered(table, &["2020-01-01", day], 1, 10, 0)
            .await;
    }
    run(&worker).await;
    for table in [&said, &switched] {
        assert_eq!(
            lab.rows(table).await.1.len(),
            2,
            "{table}: one of the two says nothing"
        );
    }
    let (rows, files) = lab.rows(&table).await;
    assert_eq!((rows.len(), files.len()), (10, 1));
    assert!(rows.iter().all(|row| row.region == day));
    let (upkeep, kinds) = explained(&worker, &table).await;
    assert_eq!(kinds, [ProcessKind::AgeOut]);
    let next = upkeep.later[&ProcessKind::AgeOut];
    assert_eq!(next, midnight + 5 * DAY);
    let processes = worker.store.processes_of(&table, 9).await.unwrap();
    let told = format!("{:?}", processes[0].state);
    assert!(told.contains("let go of 1 files with 10 rows"), "{told}");
    assert!(is_settled(&worker, &table).await);
    let row = worker.store.table(&table).await.unwrap().unwrap();
    assert_eq!(row.due_at, Some(next));
}

/// The append of that number: one file of one partition.
async fn append_one(lab: &Lab, table: &TableId, number: i64) {
    lab.append_numbered(table, &["eu"], 1, 10, 10 * number)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn manifests_are_written_anew_once_planning_pays_for_it() {
    let lab = Lab::new(74).await;
    let properties = [
        ("icepress.maintain.manifests", "true"),
        // Not so many files that they were worth rewriting.
        ("icepress.min-input-files", "100"),
    ];
    let table = lab.create_table("events", &properties).await;
    let worker = lab.worker(settings_for_tests("a"));
    for number in 0..2 {
        append_one(&lab, &table, number).await;
    }
    run(&worker).await;
    assert!(is_settled(&worker, &table).await);
    assert_eq!(worker.store.processes_of(&table, 9).await.unwrap().len(), 0);
    for number in 2..16 {
        append_one(&lab, &table, number).await;
    }
    let before = lab.rows(&table).await;
    let did = maintained(&worker).await;
    assert_eq!(did, ["wrote 16 manifests anew as 1, left 0 alone"]);
    assert_eq!(lab.rows(&table).await.0, before.0);
    assert!(is_settled(&worker, &table).await);
    let (upkeep, kinds) = explained_of(&worker, &table).await;
    assert_eq!((upkeep, &kinds[..]), (None, &[ProcessKind::Manifests][..]));

    // What can't be read is refused by its name.
    let count = ("commit.manifest.min-count-to-merge", "many");
    let refused = lab.create_table("refused", &[properties[0], count]).await;
    lab.append_numbered(&refused, &["eu"], 1, 10, 0).await;
    run(&worker).await;
    let (upkeep, _) = explained(&worker, &refused).await;
    let why = &upkeep.refused[&ProcessKind::Manifests];
    assert!(why.contains(count.0), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_counted_for_the_current_snapshot_and_from_the_last_statistics_on() {
    let (lab, table, worker) = table_with(75, &[("icepress.maintain.statistics", "true")]).await;
    let did = maintained(&worker).await;
    assert_eq!(did, ["counted 1 partitions, from all manifests"]);
    let of_current = |loaded: &icepress_catalog::LoadedTable| {
        let id = loaded.metadata.current_snapshot_id().unwrap();
        let file = loaded.metadata.partition_statistics_for_snapshot(id);
        file.map(|file| file.statistics_path.clone())
    };
    let file = of_current(&lab.load(&table).await).unwrap();
    assert!(
        lab.files_on_disk(&table)
            .await
            .keys()
            .any(|path| file.ends_with(path))
    );
    assert!(is_settled(&worker, &table).await);
    let (_, kinds) = explained_of(&worker, &table).await;
    assert_eq!(kinds, [ProcessKind::Statistics, ProcessKind::Rewrite]);

    // Not for each commit: once a day.
    lab.append_numbered(&table, &["us"], 1, 10, 500).await;
    assert!(maintained(&worker).await.is_empty());
    let (upkeep, _) = explained(&worker, &table).await;
    let next = upkeep.later[&ProcessKind::Statistics];
    assert!(next.since(lab.ambient.now()) <= DAY);
    lab.clock.advance(DAY);
    let did = maintained(&worker).await;
    assert_eq!(did, ["counted 2 partitions, from the last statistics on"]);
    assert!(is_settled(&worker, &table).await);
}

/// A file in a table's data folder that nothing refers to.
async fn stray(lab: &Lab, table: &TableId) -> String {
    let location = lab.load(table).await.metadata.location().to_owned();
    let path = format!("{location}/data/stray.parquet");
    let content = bytes::Bytes::from_static(b"of a writer that died");
    let options = WriteOptions::default();
    lab.storage
        .put(&path, content, PutMode::CreateOnly, &options)
        .await
        .unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_nothing_refers_to_go_at_the_second_look_a_week_later() {
    let (lab, table, worker) = table_with(76, &[("icepress.maintain.orphans", "true")]).await;
    lab.disk.let_delete();
    // The disk tells a file's age by this machine's clock.
    lab.clock.advance(4 * DAY);
    let stray = stray(&lab, &table).await;
    let is_there = || async { lab.storage.info(&stray).await.is_ok() };
    let did = maintained(&worker).await;
    // Not page by page, each held until the last has come.
    assert!(lab.disk.lists_in_order() > 0);
    assert!(
        did[0].ends_with("wrote down 1 that a later run deletes if it finds them again"),
        "{did:?}"
    );
    assert!(is_there().await && is_settled(&worker, &table).await);
    let (upkeep, kinds) = explained(&worker, &table).await;
    assert_eq!(kinds[0], ProcessKind::Orphans);
    let next = upkeep.later[&ProcessKind::Orphans];
    // From when the run began.
    let gone_by = (lab.ambient.now() + 7 * DAY).since(next);
    assert!(gone_by < Duration::from_secs(3600), "{gone_by:?}");
    lab.clock.advance(7 * DAY);
    let before = lab.rows(&table).await;
    let did = maintained(&worker).await;
    assert!(did[0].contains("deleted 1 of 21"), "{did:?}");
    assert!(!is_there().await);
    assert_eq!(lab.rows(&table).await, before);
    assert!(is_settled(&worker, &table).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn c32_a_table_that_shares_its_folder_is_refused_with_both_tables_named_and_nothing_goes() {
    let on = ("icepress.maintain.orphans", "true");
    let (lab, table, worker) = table_with(77, &[on]).await;
    lab.disk.let_delete();
    let forbidden = lab
        .create_table("forbidden", &[on, ("gc.enabled", "false")])
        .await;
    lab.append_numbered(&forbidden, &["eu"], 1, 10, 0).await;
    let folder = lab.load(&table).await.metadata.location().to_owned();
    let within = [("write.data.path", format!("{folder}/data/theirs"))];
    let within = within.each_ref().map(|(key, path)| (*key, path.as_str()));
    lab.create_table("guest", &within).await;
    lab.clock.advance(4 * DAY);
    let stray = stray(&lab, &table).await;
    for _ in 0..2 {
        run_once(&worker, 2, &Stop::default()).await.unwrap();
        lab.clock.advance(8 * DAY);
    }
    assert!(lab.storage.info(&stray).await.is_ok());
    let processes = worker.store.processes_of(&table, 1).await.unwrap();
    let told = format!("{:?}", processes[0].state);
    assert!(
        told.contains("lab.tests.events") && told.contains("lab.tests.guest"),
        "{told}"
    );
    let (upkeep, _) = explained(&worker, &forbidden).await;
    assert!(
        upkeep.refused[&ProcessKind::Orphans].contains("gc.enabled"),
        "{upkeep:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn c32_a_second_search_asks_only_tables_that_moved_where_they_lie() {
    let lab = Lab::new(78).await;
    let mut tables = Vec::new();
    for name in ["searched", "moves", "stays"] {
        let table = lab.create_table(name, &[]).await;
        lab.append_numbered(&table, &["eu"], 1, 10, 0).await;
        tables.push(table);
    }
    let [searched, moves, stays] = &tables[..] else {
        unreachable!("three were made")
    };
    lab.disk.let_delete();
    let worker = lab.worker(settings_for_tests("a"));
    let search = async || {
        lab.catalog.take_loaded();
        let request = OrphanRequest::default();
        let plan = orphans::plan(&worker, searched, &request).await.unwrap();
        assert_eq!(
            (plan.survey.tables_asked, plan.survey.unasked),
            (2, Vec::new())
        );
        lab.catalog.take_loaded()
    };
    let asked = search().await;
    assert!(asked.contains(moves) && asked.contains(stays), "{asked:?}");
    lab.append_numbered(moves, &["eu"], 1, 10, 10).await;
    let asked = search().await;
    assert!(asked.contains(moves) && !asked.contains(stays), "{asked:?}");
    // One that is there since is asked as any, and heard.
    let folder = lab.load(searched).await.metadata.location().to_owned();
    let within = format!("{folder}/data/theirs");
    lab.create_table("guest", &[("write.data.path", &within)])
        .await;
    let refused = orphans::plan(&worker, searched, &OrphanRequest::default()).await;
    assert!(refused.unwrap_err().to_string().contains("lab.tests.guest"));
}
