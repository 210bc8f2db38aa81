//! Tables that are only observed: seen and priced, and nothing is begun for them by itself.

use std::{sync::Arc, time::Duration};

use icepress_coordination::{TableRow, limits::Limits};
use icepress_model::{ProcessOutcome, TableId};
use icepress_service::{
    Context, Deadline, Event, Mode, Observed, Settings,
    embedded::{RunReport, Stop, TableOutcome, run_once},
    handle, mode_of_row, tables, tick,
};
use icepress_tests::{Lab, ended, planned, settings_for_tests};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Settings under these modes, as `icepress.toml` has them.
fn under(mode: &str) -> Settings {
    Settings {
        modes: Arc::new(
            toml::from_str::<toml::Table>(mode).unwrap()["mode"]
                .clone()
                .try_into()
                .unwrap(),
        ),
        ..settings_for_tests("a")
    }
}

fn observing() -> Settings {
    under("mode = 'observe'")
}

async fn run(context: &Context) -> RunReport {
    run_once(context, 2, &Stop::default()).await.unwrap()
}

async fn row(context: &Context, table: &TableId) -> TableRow {
    context.store.table(table).await.unwrap().unwrap()
}

async fn processes(context: &Context, table: &TableId) -> usize {
    context.store.processes_of(table, 99).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observed_table_is_priced_and_nothing_is_begun_or_written() {
    let (lab, table) = Lab::of_small_files(81).await;
    let before = (
        lab.load(&table).await.metadata_location,
        lab.files_on_disk(&table).await,
    );
    let worker = lab.worker(observing());

    let report = run(&worker).await;

    let seen = &report.tables[0];
    assert_eq!(seen.outcome, TableOutcome::Observed, "{report:?}");
    assert!(
        seen.reason.as_ref().unwrap().contains("in 8 files"),
        "{report:?}"
    );
    assert_eq!((report.compacted, report.failed), (0, 0));
    assert_eq!(processes(&worker, &table).await, 0);
    assert!(planned(&worker).await.is_empty(), "no message was sent");
    let after = (
        lab.load(&table).await.metadata_location,
        lab.files_on_disk(&table).await,
    );
    assert_eq!(after, before);
    let plan = tables::plan(&worker, &table).await.unwrap();
    let row = row(&worker, &table).await;
    let observed = Observed::of(&row).unwrap();
    assert_eq!((observed.groups, observed.files), (1, 8));
    assert_eq!(observed.bytes, plan.groups[0].bytes_to_read());
    assert!(observed.price.get() > 0 && observed.has_work());
    assert_eq!((row.due_at, row.evaluated_location), (None, Some(before.0)));

    // It is at rest: nobody looks again before it changes, and the next run says the same of it.
    lab.take_events();
    let again = run(&worker).await;
    assert_eq!(again.tables[0].outcome, TableOutcome::Observed);
    let looked = |event: &Event| matches!(event, Event::Observed { .. });
    assert!(!lab.take_events().iter().any(looked));
    lab.append_numbered(&table, &["eu"], 2, 10, 1_000).await;
    run(&worker).await;
    let row = self::row(&worker, &table).await;
    assert_eq!(Observed::of(&row).unwrap().files, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mode_that_changes_has_work_begin_and_tables_with_none_stay_at_rest() {
    let (lab, table) = Lab::of_small_files(82).await;
    let sound = lab.create_table("sound", &[]).await;
    lab.append_numbered(&sound, &["eu"], 1, 10, 0).await;
    let own = lab
        .create_table("own", &[("icepress.mode", "observe")])
        .await;
    lab.append_numbered(&own, &["eu"], 8, 10, 0).await;
    let (rows, _) = lab.rows(&table).await;
    run(&lab.worker(observing())).await;
    lab.take_events();

    let worker = lab.worker(settings_for_tests("a"));
    let report = run(&worker).await;

    let outcome = |name: &TableId| {
        let mut tables = report.tables.iter();
        tables.find(|seen| seen.table == *name).unwrap().outcome
    };
    assert_eq!(outcome(&table), TableOutcome::Compacted, "{report:?}");
    assert_eq!(
        outcome(&own),
        TableOutcome::Observed,
        "its own property says so"
    );
    assert_eq!(
        mode_of_row(&worker.settings, &row(&worker, &own).await),
        Mode::Observe
    );
    assert_eq!(lab.rows(&table).await.0, rows);
    assert!(Observed::of(&row(&worker, &table).await).is_none());
    let looked_at = |event: &Event| match event {
        Event::Planned { table, .. } | Event::Observed { table, .. } => Some(table.clone()),
        _ => None,
    };
    let mut looked_at: Vec<TableId> = lab.take_events().iter().filter_map(looked_at).collect();
    looked_at.dedup();
    assert_eq!(looked_at, vec![table], "the others have nothing to begin");
    assert_eq!(processes(&worker, &sound).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_with_stars_and_the_property_of_a_table_choose_who_is_worked_on() {
    let lab = Lab::new(83).await;
    let mut tables = Vec::new();
    for (name, properties) in [
        ("orders_eu", &[][..]),
        ("clicks", &[][..]),
        ("own", &[("icepress.mode", "Maintain")][..]),
        ("wrong", &[("icepress.mode", "maintian")][..]),
    ] {
        let table = lab.create_table(name, properties).await;
        lab.append_numbered(&table, &["eu"], 8, 10, 0).await;
        tables.push(table);
    }
    let modes = "[mode]\ndefault = 'observe'\n[mode.table]\n'lab.tests.orders*' = 'maintain'";
    let worker = lab.worker(under(modes));
    let report = run(&worker).await;
    let of = |name: &str| {
        let mut tables = report.tables.iter();
        tables.find(|seen| seen.table.name == name).unwrap()
    };
    assert_eq!(
        of("orders_eu").outcome,
        TableOutcome::Compacted,
        "{report:?}"
    );
    assert_eq!(of("own").outcome, TableOutcome::Compacted);
    assert_eq!(of("clicks").outcome, TableOutcome::Observed);
    assert_eq!(of("wrong").outcome, TableOutcome::Failed);
    let reason = of("wrong").reason.as_ref().unwrap();
    assert!(
        reason.contains("'maintian'") && reason.contains("'maintain'"),
        "{reason}"
    );
    assert_eq!(processes(&worker, &tables[3]).await, 0);

    // Somebody else's tables are let go one name after another.
    let report = run(&lab.worker(under(
        "[mode]\ndefault = 'observe'\n[mode.database]\n'lab.t*' = 'maintain'",
    )))
    .await;
    let clicks = report
        .tables
        .iter()
        .find(|seen| seen.table.name == "clicks")
        .unwrap();
    assert_eq!(clicks.outcome, TableOutcome::Compacted, "{report:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_under_way_ends_when_its_table_is_only_observed_and_none_follows() {
    let (lab, table) = Lab::of_small_files(84).await;
    let messages = planned(&lab.worker(settings_for_tests("a"))).await;
    let worker = lab.worker(observing());
    tick(&worker, Deadline::NONE).await.unwrap();
    assert!(row(&worker, &table).await.active_process.is_some());
    for message in messages {
        handle(&worker, &message, Deadline::NONE).await.unwrap();
    }
    let outcome = ended(&lab.take_events()).pop().unwrap();
    assert!(
        matches!(outcome, ProcessOutcome::Committed { .. }),
        "{outcome:?}"
    );
    assert_eq!(lab.rows(&table).await.1.len(), 1);
    lab.append_numbered(&table, &["eu"], 8, 10, 500).await;
    let report = run(&worker).await;
    assert_eq!(
        report.tables[0].outcome,
        TableOutcome::Observed,
        "{report:?}"
    );
    assert_eq!(processes(&worker, &table).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn upkeep_is_observed_too() {
    let lab = Lab::new(85).await;
    lab.disk.let_delete();
    let table = lab
        .create_table("events", &[("icepress.maintain.expire", "true")])
        .await;
    for first in [0, 100] {
        lab.append_numbered(&table, &["eu"], 4, 10, first).await;
    }
    let worker = lab.worker(settings_for_tests("a"));
    assert_eq!(
        run(&worker).await.tables[0].outcome,
        TableOutcome::Compacted
    );
    lab.clock.advance(6 * DAY);
    let worker = lab.worker(observing());
    let begun = processes(&worker, &table).await;
    let report = run(&worker).await;
    assert_eq!(
        report.tables[0].outcome,
        TableOutcome::Observed,
        "{report:?}"
    );
    assert_eq!(processes(&worker, &table).await, begun);
    assert_eq!(lab.load(&table).await.metadata.snapshots().len(), 3);
    let observed = Observed::of(&row(&worker, &table).await).unwrap();
    assert!(observed.groups == 0 && observed.has_work(), "{observed:?}");
    assert!(observed.all_freed().get() > 0, "{observed:?}");

    let report = run(&lab.worker(settings_for_tests("a"))).await;
    assert_eq!(
        report.tables[0].outcome,
        TableOutcome::Maintained,
        "{report:?}"
    );
    assert_eq!(lab.load(&table).await.metadata.snapshots().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_asks_for_by_name_is_done() {
    let (lab, table) = Lab::of_small_files(89).await;
    let by_hand = Settings {
        by_hand: true,
        ..observing()
    };
    let observing = lab.worker(observing());
    run(&observing).await;
    let named = tables::compact(&observing, &table, false, 2, &Stop::default()).await;
    assert_eq!(
        named.unwrap().outcome,
        TableOutcome::Observed,
        "as of `icepress run TABLE`"
    );
    let by_hand = tables::compact(&lab.worker(by_hand), &table, false, 2, &Stop::default()).await;
    assert_eq!(by_hand.unwrap().outcome, TableOutcome::Compacted);
    let after = run(&observing).await;
    assert_eq!(
        after.tables[0].outcome,
        TableOutcome::Unchanged,
        "{after:?}"
    );
    let ruling = tables::ruling(&observing, &table).await.unwrap();
    assert_eq!(ruling.mode, Mode::Observe);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_observed_table_is_priced_whole_whatever_its_window_and_its_quotas_are() {
    let (lab, table) = Lab::of_small_files(86).await;
    let limits = "[catalog.lab]\nmax-bytes-a-day = 1\nmaintenance-window = '00:00-00:05'";
    let limits: Limits = toml::from_str(limits).unwrap();
    let settings = Settings {
        limits: Arc::new(limits),
        ..observing()
    };
    let worker = lab.worker(settings);
    run(&worker).await;
    let observed = Observed::of(&row(&worker, &table).await).unwrap();
    assert_eq!(observed.files, 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_too_large_for_a_scheduler_is_handed_to_nobody_while_it_is_observed() {
    for (seed, settings, properties) in [
        (87, observing(), &[][..]),
        (
            88,
            settings_for_tests("a"),
            &[("icepress.mode", "observe")][..],
        ),
    ] {
        let lab = Lab::new(seed).await;
        let table = lab.create_table("events", properties).await;
        lab.append_numbered(&table, &["eu"], 8, 10, 0).await;
        // Its metadata file has room, and its manifests have not.
        let metadata = lab
            .storage
            .info(lab.load(&table).await.metadata_location.as_str())
            .await;
        let memory = icepress_model::Bytes(metadata.unwrap().size.get() * 9 + 1);
        let settings = Settings {
            hands_over: true,
            plan_memory: memory,
            ..settings
        };
        let worker = lab.worker(settings);
        tick(&worker, Deadline::NONE).await.unwrap();
        assert_eq!(processes(&worker, &table).await, 0, "{properties:?}");
        let conclusion = row(&worker, &table).await.conclusion.unwrap();
        assert!(conclusion.contains("more memory"), "{conclusion}");
        assert!(planned(&worker).await.is_empty());
    }
}
