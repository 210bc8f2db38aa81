//! Scheduler and optimizers on real tables, with what goes wrong in the field. Each name carries the case it shows.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "service/kinds.rs"]
mod kinds;
#[path = "service/observe.rs"]
mod observe;
#[path = "service/sketches.rs"]
mod sketches;
#[path = "service/upkeep.rs"]
mod upkeep;

use std::{sync::Arc, time::Duration};

use icepress_coordination::{ClaimOutcome, Received, ReportOutcome, TaskState};
use icepress_model::{Attempt, BucketId, ProcessOutcome, TableId, TaskId};
use icepress_service::{
    Context, Deadline, Event, Handled, Settings,
    embedded::{Stop, TableOutcome, run_once},
    handle, tick,
};
use icepress_tests::{CatalogFault, Lab, MuteQueue, ended, peek, planned, settings_for_tests};

async fn run(lab: &Lab, worker: &str) -> icepress_service::embedded::RunReport {
    run_once(&lab.worker(settings_for_tests(worker)), 2, &Stop::default())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn small_files_become_one_a_partition_with_the_same_rows() {
    let lab = Lab::new(1).await;
    let table = lab.create_table("events", &[]).await;
    lab.append_numbered(&table, &["eu", "us"], 8, 10, 0).await;
    let (before, _) = lab.rows(&table).await;

    let report = run(&lab, "a").await;

    assert_eq!(report.failed, 0, "{report:?}");
    let of_table = &report.tables[0];
    assert_eq!(of_table.outcome, TableOutcome::Compacted);
    assert_eq!(
        (of_table.files_before, of_table.files_after),
        (Some(16), Some(2))
    );
    let (after, files) = lab.rows(&table).await;
    assert_eq!(after, before);
    assert_eq!(files.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn c18_a_second_run_changes_nothing_even_with_a_fresh_memory() {
    let lab = Lab::new(2).await;
    let table = lab.create_table("events", &[]).await;
    lab.append_numbered(&table, &["eu"], 20, 5, 0).await;
    run(&lab, "a").await;
    let settled = lab.load(&table).await.metadata_location;

    let again = run(&lab, "b").await;
    assert_eq!(again.tables[0].outcome, TableOutcome::Unchanged);
    assert_eq!(lab.load(&table).await.metadata_location, settled);

    // Another state file knows nothing of the first: it has to look, and find nothing to do.
    let worker = lab.worker(settings_for_tests("c"));
    let plan = icepress_service::tables::plan(&worker, &table)
        .await
        .unwrap();
    assert!(plan.groups.is_empty(), "{:?}", plan.groups);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_table_is_not_looked_at_and_a_changed_one_is() {
    let lab = Lab::new(3).await;
    let quiet = lab.create_table("quiet", &[]).await;
    let busy = lab.create_table("busy", &[]).await;
    lab.append_numbered(&quiet, &["eu"], 2, 5, 0).await;
    lab.append_numbered(&busy, &["eu"], 2, 5, 0).await;
    run(&lab, "a").await;
    lab.take_events();

    lab.append_numbered(&busy, &["eu"], 1, 5, 100).await;
    run(&lab, "a").await;

    let looked_at: Vec<TableId> = lab
        .take_events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Planned { table, .. } => Some(table),
            _ => None,
        })
        .collect();
    assert_eq!(looked_at, vec![busy]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_tick_plans_what_it_saw_whichever_buckets_come_first() {
    let lab = Lab::new(19).await;
    let mut tables = Vec::new();
    for index in 0..12 {
        let table = lab.create_table(&format!("t{index}"), &[]).await;
        lab.append_numbered(&table, &["eu"], 6, 1, 0).await;
        tables.push(table);
    }
    let worker = lab.worker(settings_for_tests("a"));
    tick(&worker, Deadline::NONE).await.unwrap();

    let mut planned: Vec<TableId> = lab
        .take_events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Planned { table, .. } => Some(table),
            _ => None,
        })
        .collect();
    planned.sort();
    tables.sort();
    assert_eq!(planned, tables, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_tick_takes_no_lease_until_the_bucket_has_rested_long() {
    let lab = Lab::new(21).await;
    let table = lab.create_table("events", &[]).await;
    lab.append_numbered(&table, &["eu"], 6, 1, 0).await;
    run(&lab, "a").await;
    let worker = lab.worker(settings_for_tests("a"));
    let epochs = async || {
        let rows = worker
            .store
            .buckets(worker.settings.buckets)
            .await
            .unwrap()
            .rows;
        rows.iter().map(|row| row.epoch.get()).collect::<Vec<_>>()
    };
    // What the run committed itself is seen once more by a census, which remembers it.
    tick(&worker, Deadline::NONE).await.unwrap();
    let before = epochs().await;

    let report = tick(&worker, Deadline::NONE).await.unwrap();
    assert_eq!(report.swept, worker.settings.buckets.0.get());
    assert_eq!(epochs().await, before, "reads alone");

    lab.clock.advance(worker.settings.longest_rest);
    tick(&worker, Deadline::NONE).await.unwrap();
    let after: Vec<u64> = before.iter().map(|epoch| epoch + 1).collect();
    assert_eq!(epochs().await, after, "once in a while each row says so");

    lab.append_numbered(&table, &["eu"], 6, 1, 100).await;
    let report = run(&lab, "a").await;
    assert_eq!(
        report.compacted, 1,
        "change is seen all the same: {report:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_takes_nothing_for_one_table_holds_up_no_other_and_loses_no_task() {
    let lab = Lab::new(20).await;
    let mute = lab.create_table("mute", &[]).await;
    let heard = lab.create_table("heard", &[]).await;
    for table in [&mute, &heard] {
        lab.append_numbered(table, &["eu"], 6, 1, 0).await;
    }
    let mut worker = lab.worker(settings_for_tests("a"));
    let queue = MuteQueue::around(Arc::clone(&worker.queue));
    worker.queue = Arc::clone(&queue) as _;
    queue.mute(Some(&mute));

    let messages = planned(&worker).await;
    let told: Vec<TableId> = messages.into_iter().map(|message| message.table).collect();
    assert_eq!(told, [heard]);
    assert!(lab.take_events().iter().any(
        |event| matches!(event, Event::Notice { message, .. } if message.contains("lab.tests.mute"))
    ));

    queue.mute(None);
    lab.clock.advance(worker.settings.check_interval * 2);
    let report = run_once(&worker, 2, &Stop::default()).await.unwrap();
    assert_eq!(report.failed, 0, "{report:?}");
    assert_eq!(lab.rows(&mute).await.1.len(), 1, "compacted after all");
}

#[tokio::test(flavor = "multi_thread")]
async fn b05_a_listing_that_breaks_off_removes_and_marks_nothing() {
    let lab = Lab::new(4).await;
    for name in ["a", "b", "c"] {
        let table = lab.create_table(name, &[]).await;
        lab.append_numbered(&table, &["eu"], 2, 5, 0).await;
    }
    run(&lab, "w").await;
    lab.catalog.fail_listings(true);
    for _ in 0..3 {
        let report = run(&lab, "w").await;
        assert_eq!(report.failed, 1, "the broken listing is told: {report:?}");
    }
    lab.catalog.fail_listings(false);
    lab.take_events();
    run(&lab, "w").await;
    let planned = lab
        .take_events()
        .iter()
        .filter(|event| matches!(event, Event::Planned { .. }))
        .count();
    assert_eq!(
        planned, 0,
        "the digest still names all three tables as seen"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn b05_a_dropped_table_is_forgotten_after_two_whole_listings() {
    let lab = Lab::new(5).await;
    let table = lab.create_table("gone", &[]).await;
    lab.append_numbered(&table, &["eu"], 2, 5, 0).await;
    let worker = lab.worker(settings_for_tests("w"));
    run(&lab, "w").await;
    lab.drop_table(&table).await;

    run(&lab, "w").await;
    assert!(worker.store.table(&table).await.unwrap().is_some());
    run(&lab, "w").await;
    run(&lab, "w").await;
    assert!(worker.store.table(&table).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn b05_a_table_that_moved_and_was_dropped_while_its_process_ran_is_forgotten_too() {
    let (lab, table) = Lab::of_small_files(22).await;
    let worker = lab.worker(settings_for_tests("w"));
    let messages = planned(&worker).await;
    assert_eq!(messages.len(), 1);
    // The state that is due when the process ends is one of a table that two listings lacked since.
    lab.append_numbered(&table, &["eu"], 1, 1, 1_000).await;
    tick(&worker, Deadline::NONE).await.unwrap();
    lab.drop_table(&table).await;
    for _ in 0..2 {
        tick(&worker, Deadline::NONE).await.unwrap();
    }
    let handled = handle(&worker, &messages[0], Deadline::NONE).await.unwrap();
    assert_eq!(handled, Handled::Done);
    tick(&worker, Deadline::NONE).await.unwrap();

    let row = worker.store.table(&table).await;
    assert_eq!(row.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_comes_twice_is_worked_on_once() {
    let (lab, table) = Lab::of_small_files(6).await;
    let worker = lab.worker(settings_for_tests("w"));
    let messages = planned(&worker).await;
    assert_eq!(messages.len(), 1);

    for _ in 0..3 {
        let handled = handle(&worker, &messages[0], Deadline::NONE).await.unwrap();
        assert_eq!(handled, Handled::Done);
    }

    let rewrites = lab
        .take_events()
        .iter()
        .filter(|event| matches!(event, Event::GroupStarted { .. }))
        .count();
    assert_eq!(rewrites, 1);
    assert_eq!(lab.load(&table).await.metadata.snapshots().count(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_work_in_other_hands_is_acknowledged_and_sent_anew_if_they_die() {
    let (lab, table) = Lab::of_small_files(7).await;
    let worker = lab.worker(settings_for_tests("w"));
    let message = planned(&worker).await.remove(0);
    let bucket = worker.layout().await.unwrap().home_of(&table).bucket;
    let received = take(&worker, bucket).await;
    claim(&lab, &message.task).await;

    let handled = handle(&worker, &message, Deadline::NONE).await.unwrap();
    assert_eq!(handled, Handled::Done);
    worker.queue.delete(&received).await.unwrap();

    // While the holder lives, nothing is sent, however often somebody looks.
    lab.clock.advance(Duration::from_secs(29));
    assert!(planned(&worker).await.is_empty());
    lab.clock
        .advance(worker.settings.check_interval + Duration::from_secs(2));
    assert_eq!(planned(&worker).await, vec![message]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_is_not_sent_again_and_what_was_lost_is_once_the_queue_is_empty() {
    let (lab, table) = Lab::of_small_files(31).await;
    let worker = lab.worker(settings_for_tests("w"));
    let messages = planned(&worker).await;
    assert_eq!(messages.len(), 1);
    let bucket = worker.layout().await.unwrap().home_of(&table).bucket;
    for _ in 0..5 {
        lab.clock.advance(worker.settings.check_interval * 2);
        tick(&worker, Deadline::NONE).await.unwrap();
        let depth = worker.queue.depth(bucket).await.unwrap();
        assert_eq!(depth.messages, 1, "nobody came to take it");
    }
    let received = take(&worker, bucket).await;
    worker.queue.delete(&received).await.unwrap();
    lab.clock.advance(worker.settings.check_interval * 2);
    assert_eq!(planned(&worker).await, messages);
}

/// Takes the one message of a queue, for long.
async fn take(worker: &Context, bucket: BucketId) -> Received {
    let received = worker
        .queue
        .receive(bucket, 1, Duration::ZERO, Duration::from_secs(6 * 3600))
        .await;
    received.unwrap().remove(0)
}

/// Claims a task as a worker that will die.
async fn claim(lab: &Lab, task: &TaskId) -> Attempt {
    let doomed = lab.worker(settings_for_tests("doomed"));
    let now = lab.ambient.now();
    let claimed = doomed
        .store
        .claim_task(
            task,
            &doomed.settings.worker,
            now,
            now + Duration::from_secs(30),
        )
        .await
        .unwrap();
    match claimed {
        ClaimOutcome::Claimed(row) => row.attempt,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn b10_the_late_report_of_a_dead_workers_attempt_is_refused() {
    let (lab, _) = Lab::of_small_files(8).await;
    let worker = lab.worker(settings_for_tests("w"));
    let message = planned(&worker).await.remove(0);
    let dead_attempt = claim(&lab, &message.task).await;
    lab.clock.advance(Duration::from_secs(31));

    assert_eq!(
        handle(&worker, &message, Deadline::NONE).await.unwrap(),
        Handled::Done
    );
    let task = &worker.store.tasks(&message.task.process).await.unwrap()[0];
    let TaskState::Done(result) = task.state.clone() else {
        panic!("{task:?}")
    };
    let late = worker
        .store
        .report_task(&message.task, dead_attempt, Ok(result))
        .await
        .unwrap();
    assert_eq!(late, ReportOutcome::Stale);
}

#[tokio::test(flavor = "multi_thread")]
async fn b09_what_dead_optimizers_finished_is_committed_by_the_next_sweep() {
    let (lab, table) = Lab::of_small_files(9).await;
    let (before, _) = lab.rows(&table).await;
    let worker = lab.worker(settings_for_tests("w"));
    let message = planned(&worker).await.remove(0);
    // Its last optimizer reports and dies before the commit: no time was left for it.
    let no_time_to_commit = lab.worker(Settings {
        deadline_margin: Duration::from_secs(3600),
        ..settings_for_tests("dying")
    });
    let barely = Deadline::after(&lab.ambient, Duration::from_secs(3600 + 60));
    handle(&no_time_to_commit, &message, barely).await.unwrap();
    let open = worker
        .store
        .process(&message.task.process)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(open.open_tasks, 0);

    lab.clock
        .advance(worker.settings.check_interval + worker.settings.commit_ttl);
    tick(&worker, Deadline::NONE).await.unwrap();

    let (after, files) = lab.rows(&table).await;
    assert_eq!((after, files.len()), (before, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_was_never_sent_is_sent_by_a_later_sweep() {
    let (lab, table) = Lab::of_small_files(10).await;
    let worker = lab.worker(settings_for_tests("w"));
    let message = planned(&worker).await.remove(0);
    let bucket = worker.layout().await.unwrap().home_of(&table).bucket;
    // The message is lost.
    let received = worker
        .queue
        .receive(bucket, 1, Duration::ZERO, Duration::from_secs(60))
        .await
        .unwrap();
    worker.queue.delete(&received[0]).await.unwrap();
    assert!(peek(&worker, bucket).await.is_empty());

    lab.clock.advance(worker.settings.check_interval * 2);
    assert_eq!(planned(&worker).await, vec![message]);
}

#[tokio::test(flavor = "multi_thread")]
async fn c25_a_commit_whose_answer_was_lost_is_found_and_not_repeated() {
    let (lab, table) = Lab::of_small_files(11).await;
    let (before, _) = lab.rows(&table).await;
    lab.catalog.order(CatalogFault::LostAfter);

    let report = run(&lab, "w").await;

    assert_eq!(report.failed, 0, "{report:?}");
    assert_eq!(lab.load(&table).await.metadata.snapshots().count(), 2);
    assert_eq!(lab.rows(&table).await.0, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn c25_a_commit_that_was_lost_before_it_acted_is_tried_again() {
    let (lab, table) = Lab::of_small_files(12).await;
    let (before, _) = lab.rows(&table).await;
    lab.catalog.order(CatalogFault::LostBefore);
    let worker = lab.worker(settings_for_tests("w"));
    let message = planned(&worker).await.remove(0);
    handle(&worker, &message, Deadline::NONE).await.unwrap();

    lab.clock
        .advance(worker.settings.check_interval + worker.settings.commit_ttl);
    tick(&worker, Deadline::NONE).await.unwrap();

    let (after, files) = lab.rows(&table).await;
    assert_eq!((after, files.len()), (before, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn c28_c42_the_loser_of_two_runs_leaves_nothing_behind() {
    let (lab, table) = Lab::of_small_files(13).await;
    let worker = lab.worker(settings_for_tests("w"));
    let message = planned(&worker).await.remove(0);
    // Another Icepress, with a state of its own, compacts the table in between.
    let (before, _) = lab.rows(&table).await;
    let other = lab.stranger(settings_for_tests("other")).await;
    run_once(&other, 1, &Stop::default()).await.unwrap();
    let on_disk = lab.files_on_disk(&table).await;

    handle(&worker, &message, Deadline::NONE).await.unwrap();

    assert!(matches!(
        ended(&lab.take_events()).as_slice(),
        [.., ProcessOutcome::Failed { .. }]
    ));
    assert_eq!(lab.files_on_disk(&table).await, on_disk);
    assert_eq!(lab.rows(&table).await.0, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn c40_a_task_that_kills_every_worker_ends_as_a_failure() {
    let (lab, _) = Lab::of_small_files(21).await;
    let worker = lab.worker(settings_for_tests("w"));
    let message = planned(&worker).await.remove(0);
    for _ in 0..worker.settings.claims_of_task {
        claim(&lab, &message.task).await;
        lab.clock.advance(Duration::from_secs(31));
    }

    let handled = handle(&worker, &message, Deadline::NONE).await.unwrap();

    assert_eq!(handled, Handled::Done);
    let outcomes = ended(&lab.take_events());
    let [ProcessOutcome::Failed { failures, .. }] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    assert!(failures[0].contains("never ended"), "{failures:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn c11_a_table_that_is_dropped_meanwhile_costs_only_itself() {
    let lab = Lab::new(14).await;
    let doomed = lab.create_table("doomed", &[]).await;
    let other = lab.create_table("other", &[]).await;
    for table in [&doomed, &other] {
        lab.append_numbered(table, &["eu"], 8, 10, 0).await;
    }
    let worker = lab.worker(settings_for_tests("w"));
    let messages = planned(&worker).await;
    lab.drop_table(&doomed).await;
    for message in &messages {
        assert_eq!(
            handle(&worker, message, Deadline::NONE).await.unwrap(),
            Handled::Done
        );
    }
    let outcomes = ended(&lab.take_events());
    assert!(
        outcomes
            .iter()
            .any(|o| matches!(o, ProcessOutcome::Abandoned { .. })),
        "{outcomes:?}"
    );
    assert!(
        outcomes
            .iter()
            .any(|o| matches!(o, ProcessOutcome::Committed { .. })),
        "{outcomes:?}"
    );
    assert_eq!(lab.rows(&other).await.1.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_group_is_begun_that_cannot_end() {
    let (lab, _) = Lab::of_small_files(15).await;
    let worker = lab.worker(Settings {
        invocation_limit: Some(Duration::from_secs(900)),
        ..settings_for_tests("w")
    });
    let message = planned(&worker).await.remove(0);
    let nearly_over = Deadline::after(&lab.ambient, Duration::from_secs(3));

    let handled = handle(&worker, &message, nearly_over).await.unwrap();

    assert_eq!(handled, Handled::Again(Duration::ZERO));
    assert!(
        !lab.take_events()
            .iter()
            .any(|event| matches!(event, Event::GroupStarted { .. }))
    );
    assert_eq!(
        handle(&worker, &message, Deadline::NONE).await.unwrap(),
        Handled::Done
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_fits_no_invocation_fails_with_that_reason() {
    let (lab, _) = Lab::of_small_files(16).await;
    let worker = lab.worker(Settings {
        invocation_limit: Some(Duration::from_secs(3)),
        ..settings_for_tests("w")
    });
    let message = planned(&worker).await.remove(0);
    let deadline = Deadline::after(&lab.ambient, Duration::from_secs(3));
    for _ in 0..2 {
        handle(&worker, &message, deadline).await.unwrap();
    }
    let task = &worker.store.tasks(&message.task.process).await.unwrap()[0];
    let TaskState::Failed(failure) = &task.state else {
        panic!("{task:?}")
    };
    assert!(
        failure.message.contains("more than one invocation lasts")
            && failure
                .message
                .contains("the next plan makes smaller groups"),
        "{failure}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_file_fails_its_group_and_the_rest_goes_on() {
    let lab = Lab::new(17).await;
    let table = lab.create_table("events", &[]).await;
    lab.append_numbered(&table, &["eu", "us"], 8, 10, 0).await;
    let (before, files) = lab.rows(&table).await;
    let broken = files.iter().find(|file| !file.is_empty()).unwrap().clone();
    std::fs::write(&broken, b"not parquet at all").unwrap();

    let report = run(&lab, "w").await;

    let of_table = &report.tables[0];
    assert_eq!(of_table.outcome, TableOutcome::Failed);
    assert!(
        of_table.reason.as_ref().unwrap().contains(&broken),
        "{of_table:?}"
    );
    assert_eq!(of_table.files_after, Some(8 + 1));
    assert_eq!(before.len(), 160);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_fails_is_tried_again_after_growing_waits() {
    let (lab, table) = Lab::of_small_files(18).await;
    for file in lab.rows(&table).await.1 {
        std::fs::remove_file(file).unwrap();
    }
    let worker = lab.worker(settings_for_tests("w"));
    let mut waits = Vec::new();
    for failures in 1..=3 {
        let report = run(&lab, "w").await;
        assert_eq!(report.failed, 1, "{report:?}");
        let row = worker.store.table(&table).await.unwrap().unwrap();
        assert_eq!(row.failures, failures);
        let wait = row.due_at.unwrap().since(lab.ambient.now());
        waits.push(wait);
        lab.clock.advance(wait + Duration::from_secs(1));
    }
    assert!(waits.is_sorted(), "{waits:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_plans_and_results_go_to_storage() {
    let (lab, table) = Lab::of_small_files(19).await;
    let (before, _) = lab.rows(&table).await;
    let payloads = lab.folder.path().join("payloads");
    let worker = lab.worker(Settings {
        payload_limit: icepress_model::Bytes(10),
        payload_location: Some(payloads.display().to_string()),
        ..settings_for_tests("w")
    });
    run_once(&worker, 1, &Stop::default()).await.unwrap();
    assert_eq!(lab.rows(&table).await, (before, lab.rows(&table).await.1));
    assert_eq!(lab.rows(&table).await.1.len(), 1);
    assert_eq!(
        std::fs::read_dir(payloads.join("plans")).unwrap().count(),
        1
    );
    assert_eq!(
        std::fs::read_dir(payloads.join("results")).unwrap().count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_workers_on_one_state_do_everything_once() {
    let lab = Lab::new(20).await;
    let mut before = Vec::new();
    for number in 0..6 {
        let table = lab.create_table(&format!("t{number}"), &[]).await;
        lab.append_numbered(&table, &["eu", "us"], 6, 10, 0).await;
        before.push((table.clone(), lab.rows(&table).await.0));
    }
    let runs = (0..4).map(|number| {
        let worker = lab.worker(settings_for_tests(&format!("w{number}")));
        tokio::spawn(async move { run_once(&worker, 1, &Stop::default()).await.unwrap() })
    });
    for run in runs.collect::<Vec<_>>() {
        assert_eq!(run.await.unwrap().failed, 0);
    }
    for (table, rows) in before {
        assert_eq!(lab.rows(&table).await.0, rows);
        assert_eq!(
            lab.load(&table).await.metadata.snapshots().count(),
            2,
            "{table} was done once"
        );
    }
}
