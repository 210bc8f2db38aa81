//! The last gate, and what losing comes to: damaged files between rewrite and commit, rows that are not the same, groups
//! that shrink, and writers whose anomalies are their own.
#![allow(missing_docs, clippy::unwrap_used)]

use std::{collections::BTreeSet, time::Duration};

use icepress_coordination::{Payload, ProcessState, TaskMessage};
use icepress_model::{GroupTask, ProcessOutcome, RewriteFailureKind, TableId};
use icepress_service::{
    Context, Deadline, Handled, Settings,
    embedded::{Stop, run_once},
    handle, tick,
};
use icepress_tests::{CatalogFault, Lab, Row, ended, planned, settings_for_tests};

/// Two groups, of `eu` and of `us`; the first that is rewritten is damaged before the second one commits both.
async fn damaged(seed: u64, damage: impl FnOnce(&str)) -> (Lab, TableId, Context, String) {
    let lab = Lab::new(seed).await;
    let table = lab.create_table("events", &[]).await;
    lab.append_numbered(&table, &["eu", "us"], 8, 10, 0).await;
    let worker = lab.worker(settings_for_tests("w"));
    let messages = planned(&worker).await;
    let before: BTreeSet<String> = lab.files_on_disk(&table).await.into_keys().collect();
    handle(&worker, &messages[0], Deadline::NONE).await.unwrap();
    let after = lab.files_on_disk(&table).await;
    let new = after.into_keys().find(|file| !before.contains(file));
    let new = new.unwrap();
    damage(&new);
    handle(&worker, &messages[1], Deadline::NONE).await.unwrap();
    (lab, table, worker, new)
}

async fn assert_stopped(seed: u64, damage: impl FnOnce(&str), expected: &str) {
    let (lab, table, worker, file) = damaged(seed, damage).await;
    let outcomes = ended(&lab.take_events());
    let [ProcessOutcome::PartlyCommitted { failures, .. }] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    let [failure] = failures.as_slice() else {
        panic!("{failures:?}")
    };
    assert!(failure.contains(expected), "{failure}");
    assert!(failure.contains(&file), "{failure}");
    assert!(
        failure.contains("group 0 (region=") || failure.contains("group 1 (region="),
        "{failure}"
    );
    // The good group is in, the damaged file was not touched, and the rows are all there.
    let (rows, files) = lab.rows(&table).await;
    assert_eq!((rows.len(), files.len()), (160, 9));
    assert!(!files.contains(&file));
    assert!(lab.disk.deleted().is_empty());
    // People see it, and the table is not tried again at once: it would end the same way.
    let past = worker.store.processes_of(&table, 1).await.unwrap();
    assert!(format!("{:?}", past[0].state).contains(expected));
    let row = worker.store.table(&table).await;
    let row = row.unwrap().unwrap();
    assert_eq!(row.failures, 1);
    assert!(row.due_at.unwrap().since(lab.ambient.now()) > Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_damaged_after_the_rewrite_stops_its_group_alone() {
    assert_stopped(
        1,
        |file| std::fs::remove_file(file).unwrap(),
        "does not exist",
    )
    .await;
    let cut = |file: &str| {
        let content = std::fs::read(file).unwrap();
        std::fs::write(file, &content[..content.len() / 2]).unwrap();
    };
    assert_stopped(2, cut, "bytes, not").await;
    // The same size, other bytes: only a look at the very file tells.
    let flip = |file: &str| {
        let written = std::fs::metadata(file).unwrap().modified().unwrap();
        let mut content = std::fs::read(file).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 0xFF;
        std::fs::write(file, content).unwrap();
        let opened = std::fs::File::options().write(true).open(file).unwrap();
        opened
            .set_modified(written + Duration::from_secs(1))
            .unwrap();
    };
    assert_stopped(3, flip, "was written again after the rewrite").await;
}

/// A file that is whole in every way, with one value changed on its way to storage: counts and bounds fit.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_not_the_same_are_found_by_their_hash() {
    for (seed, mode, is_found) in [(11, "all", true), (12, "off", false)] {
        let lab = Lab::new(seed).await;
        let properties = [
            ("icepress.verify-rows", mode),
            ("write.parquet.compression-codec", "uncompressed"),
        ];
        let table = lab.create_table("events", &properties).await;
        lab.append_numbered(&table, &["eu"], 8, 10, 0).await;
        let before = lab.rows(&table).await.0;
        let worker = lab.worker(settings_for_tests("w"));
        let messages = planned(&worker).await;
        lab.disk.edit_data(b"note 33", b"note 34");
        let handled = handle(&worker, &messages[0], Deadline::NONE).await.unwrap();
        assert_eq!(handled, Handled::Done);
        let outcomes = ended(&lab.take_events());
        let after = lab.rows(&table).await.0;
        if is_found {
            let [ProcessOutcome::Failed { failures, .. }] = outcomes.as_slice() else {
                panic!("{outcomes:?}")
            };
            let failure = &failures[0];
            assert!(
                failure.contains("group 0 (region=eu): the 80 rows that were read have hash"),
                "{failure}"
            );
            let tasks = worker.store.tasks(&messages[0].task.process).await.unwrap();
            let kind = format!("{:?}", RewriteFailureKind::WrongRows);
            assert!(format!("{:?}", tasks[0].state).contains(&kind));
            let kept = failure.rsplit(": ").next().unwrap();
            assert!(std::fs::metadata(kept).is_ok(), "{kept} is kept");
            assert_eq!(after, before);
        } else {
            // What nobody looks at goes in: this is what the option is for.
            assert!(
                matches!(outcomes.as_slice(), [ProcessOutcome::Committed { .. }]),
                "{outcomes:?}"
            );
            assert_ne!(after, before);
        }
    }
}

/// Without a fault every mode commits, and a result tells the hash where the rows were compared. How many values each column
/// has in the old files and in the new ones it tells in every mode, for the commit to judge.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_the_same_pass() {
    for (seed, mode) in [(13, "all"), (14, "off")] {
        rows_that_are_the_same_pass_in(seed, mode).await;
    }
}

async fn rows_that_are_the_same_pass_in(seed: u64, mode: &str) {
    let lab = Lab::new(seed).await;
    let table = lab
        .create_table("events", &[("icepress.verify-rows", mode)])
        .await;
    lab.append_numbered(&table, &["eu"], 8, 10, 0).await;
    lab.delete_ids(&table, "eu", &[3, 4]).await;
    let worker = lab.worker(settings_for_tests("w"));
    let messages = planned(&worker).await;
    handle(&worker, &messages[0], Deadline::NONE).await.unwrap();
    assert!(matches!(
        ended(&lab.take_events()).as_slice(),
        [ProcessOutcome::Committed { .. }]
    ));
    assert_eq!(lab.rows(&table).await.0.len(), 78);
    let tasks = worker.store.tasks(&messages[0].task.process).await.unwrap();
    let state = format!("{:?}", tasks[0].state);
    let has_hash = state.contains("rows-hash\\\":\\\"");
    assert_eq!(has_hash, mode == "all", "{state}");
    assert!(state.contains("\\\"after\\\":78"), "{state}");
}

/// A compaction that tries the same large groups again and again loses to a busy writer for ever.
#[tokio::test(flavor = "multi_thread")]
async fn c05_groups_shrink_after_a_loss() {
    let lab = Lab::new(21).await;
    let table = lab.create_table("events", &[]).await;
    lab.append_numbered(&table, &["eu"], 40, 2, 0).await;
    let worker = lab.worker(settings_for_tests("w"));
    let lost = planned(&worker).await;
    assert_eq!(lost.len(), 1);
    // Somebody else replaces all its files.
    let other = lab.stranger(settings_for_tests("other")).await;
    run_once(&other, 1, &Stop::default()).await.unwrap();
    handle(&worker, &lost[0], Deadline::NONE).await.unwrap();
    let outcomes = ended(&lab.take_events());
    let [.., ProcessOutcome::Failed { lessons, .. }] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    assert_eq!(lessons.lost_files, 40);
    let row = worker.store.table(&table).await;
    let row = row.unwrap().unwrap();
    assert_eq!(row.failures, 0, "losing a race is no failure of the table");
    let pause = row.due_at.unwrap().since(lab.ambient.now());
    assert!(pause < Duration::from_secs(10), "{pause:?}");

    lab.append_numbered(&table, &["eu"], 40, 2, 100).await;
    lab.clock.advance(Duration::from_secs(10));
    let mut messages = planned(&worker).await;
    // The lost group's own message lies there still.
    messages.retain(|message| message.task.process != lost[0].task.process);
    assert!(messages.len() >= 2, "{messages:?}");
    for message in &messages {
        let sizes = group_sizes(&worker, message).await;
        assert!(sizes.iter().all(|files| *files <= 20), "{sizes:?}");
    }
    for message in &messages {
        handle(&worker, message, Deadline::NONE).await.unwrap();
    }
    assert!(lab.rows(&table).await.1.len() <= 3);
    assert_eq!(lab.rows(&table).await.0.len(), 160);
}

/// A commit that lost all its races holds up nobody: its claim is given back at once, and not left to run out.
#[tokio::test(flavor = "multi_thread")]
async fn c05_a_commit_that_lost_every_race_is_tried_again_within_seconds() {
    let (lab, table) = Lab::of_small_files(23).await;
    let worker = lab.worker(settings_for_tests("w"));
    let (before, _) = lab.rows(&table).await;
    let message = planned(&worker).await.remove(0);
    let id = &message.task.process;
    let mut longest = Duration::from_secs(4);
    // More often than the claims that a commit may let run out, and by whoever comes: who rewrote, or who sweeps.
    for claims in 1..=worker.settings.commit_claims + 1 {
        for _ in 0..worker.settings.commit.attempts {
            lab.catalog.order(CatalogFault::Conflict);
        }
        if claims == 1 {
            handle(&worker, &message, Deadline::NONE).await.unwrap();
        } else {
            tick(&worker, Deadline::NONE).await.unwrap();
        }
        let process = worker.store.process(id).await.unwrap().unwrap();
        assert_eq!(process.state, ProcessState::Running, "claim {claims}");
        assert_eq!(process.commit_claims, claims);
        let row = worker.store.table(&table).await.unwrap().unwrap();
        assert_eq!(row.active_process.as_ref(), Some(id));
        let pause = row.due_at.unwrap().since(lab.ambient.now());
        assert!(pause <= longest, "claim {claims}: {pause:?}");
        lab.clock.advance(pause + Duration::from_millis(1));
        longest = (longest * 2).min(worker.settings.check_interval);
    }

    tick(&worker, Deadline::NONE).await.unwrap();

    let outcomes = ended(&lab.take_events());
    let [ProcessOutcome::Committed { .. }] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    let (after, files) = lab.rows(&table).await;
    assert_eq!((after, files.len()), (before, 1));
}

/// Nor is it tried for ever: a process that loses for as long as the settings allow is given up, and its table planned
/// anew.
#[tokio::test(flavor = "multi_thread")]
async fn c05_a_commit_that_never_wins_is_given_up_in_the_end() {
    let (lab, table) = Lab::of_small_files(24).await;
    let worker = lab.worker(Settings {
        commit_claims: 2,
        commit_patience: Duration::from_secs(60),
        ..settings_for_tests("w")
    });
    let message = planned(&worker).await.remove(0);
    for _ in 0..2 * worker.settings.commit.attempts {
        lab.catalog.order(CatalogFault::Conflict);
    }
    handle(&worker, &message, Deadline::NONE).await.unwrap();
    lab.clock.advance(Duration::from_secs(60));
    tick(&worker, Deadline::NONE).await.unwrap();

    let outcomes = ended(&lab.take_events());
    let [ProcessOutcome::Failed { failures, .. }] = outcomes.as_slice() else {
        panic!("{outcomes:?}")
    };
    assert!(failures[0].contains("5 times"), "{failures:?}");
    let row = worker.store.table(&table).await.unwrap().unwrap();
    assert_eq!((row.active_process, row.failures), (None, 1));
    assert!(row.due_at.is_some());
}

async fn group_sizes(worker: &Context, message: &TaskMessage) -> Vec<usize> {
    let tasks = worker.store.tasks(&message.task.process).await.unwrap();
    let groups = tasks.into_iter().map(|task| match task.payload {
        Payload::Inline(text) => serde_json::from_str::<GroupTask>(&text).unwrap(),
        Payload::Stored(location) => panic!("{location}: too large for the test"),
    });
    groups.map(|task| task.group.inputs.len()).collect()
}

/// A group that cannot get smaller is tried again soon too, ever less often, and its first commit ends that: with the pause
/// of a table that is broken, a writer that never rests keeps upkeep away for minutes.
#[tokio::test(flavor = "multi_thread")]
async fn c05_a_small_group_that_lost_is_tried_again_soon() {
    let lab = Lab::new(22).await;
    let table = lab.create_table("events", &[]).await;
    let worker = lab.worker(settings_for_tests("w"));
    let other = lab.stranger(settings_for_tests("other")).await;
    let (mut pauses, mut seen) = (Vec::new(), Vec::new());
    for (round, wins) in [(0, false), (1, false), (2, false), (3, true)] {
        // Five files each time, of which the last winner wrote one.
        let files = if round == 0 { 5 } else { 4 };
        lab.append_numbered(&table, &["eu"], files, 2, round * 100)
            .await;
        let mut messages = planned(&worker).await;
        messages.retain(|message| !seen.contains(&message.task));
        let [message] = messages.as_slice() else {
            panic!("no group after {pauses:?}, or several: {messages:?}")
        };
        seen.push(message.task.clone());
        if !wins {
            run_once(&other, 1, &Stop::default()).await.unwrap();
        }
        handle(&worker, message, Deadline::NONE).await.unwrap();
        let row = worker.store.table(&table).await;
        let row = row.unwrap().unwrap();
        let failures = if wins { 0 } else { round + 1 };
        assert_eq!(i64::from(row.failures), failures);
        if let Some(due) = row.due_at.filter(|_| !wins) {
            let pause = due.since(lab.ambient.now());
            pauses.push(pause);
            lab.clock.advance(pause);
        }
    }
    assert_eq!(pauses.len(), 3);
    assert!(pauses[0] <= Duration::from_secs(4), "{pauses:?}");
    assert!(
        pauses[2] >= Duration::from_secs(8) && pauses[2] <= Duration::from_secs(16),
        "{pauses:?}"
    );
}

/// Under snapshot isolation an UPDATE that was begun before a DELETE of the same row and commits after it brings the row
/// back: the writer's own anomaly. A rewrite in between makes it neither better nor worse.
///
/// Seen to fail on a reader that applies equality deletes to rows that are newer: the updated row goes.
#[tokio::test(flavor = "multi_thread")]
async fn c44_a_writers_own_anomaly_is_the_same_with_us_and_without() {
    let mut seen = Vec::new();
    for with_us in [false, true] {
        let lab = Lab::new(31).await;
        let table = lab.create_table("events", &[]).await;
        lab.append_numbered(&table, &["eu"], 8, 10, 0).await;
        let rest = async |lab: &Lab| {
            if with_us {
                let worker = lab.worker(settings_for_tests("w"));
                run_once(&worker, 1, &Stop::default()).await.unwrap();
            }
        };
        rest(&lab).await;
        // The DELETE commits; the UPDATE, which read the row before, deletes it once more and writes it anew.
        lab.delete_ids(&table, "eu", &[5, 6]).await;
        rest(&lab).await;
        lab.delete_ids(&table, "eu", &[5]).await;
        let updated = Row {
            note: Some("updated".to_owned()),
            ..Row::numbered(5, "eu")
        };
        lab.append(&table, &[vec![updated.clone()]]).await;
        // Both versions are judged by the same reader, once all deletes are applied.
        let last = lab.stranger(settings_for_tests("last")).await;
        run_once(&last, 1, &Stop::default()).await.unwrap();
        let rows = lab.rows(&table).await.0;
        assert!(rows.contains(&updated) && rows.iter().all(|row| row.id != 6));
        seen.push(rows);
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0].len(), 79);
}

/// Every group is too much for the optimizer at work, however small: it is halved down to one file, those are left alone
/// and told of, and nothing is tried again.
#[tokio::test(flavor = "multi_thread")]
async fn c40_what_never_fits_is_made_smaller_down_to_one_file_and_then_left_alone() {
    let lab = Lab::new(40).await;
    let off = ("icepress.light-rewrites", "false");
    let table = lab.create_table("events", &[off]).await;
    lab.append_numbered(&table, &["eu"], 4, 10, 0).await;
    let even: Vec<i64> = (0..40).step_by(2).collect();
    lab.delete_ids(&table, "eu", &even).await;
    let planner = lab.worker(settings_for_tests("planner"));
    let hurried = lab.worker(Settings {
        invocation_limit: Some(Duration::from_secs(1)),
        ..settings_for_tests("hurried")
    });
    let (mut sizes, mut last) = (Vec::new(), None);
    for _ in 0..12 {
        let messages = planned(&planner).await;
        let row = planner.store.table(&table).await.unwrap().unwrap();
        if row.active_process.is_some() && row.active_process != last {
            last = row.active_process;
            let of_last = |message: &&TaskMessage| Some(&message.task.process) == last.as_ref();
            let mut files = Vec::new();
            for task in planner.store.tasks(last.as_ref().unwrap()).await.unwrap() {
                let Payload::Inline(text) = &task.payload else {
                    panic!("{task:?}")
                };
                let task: GroupTask = serde_json::from_str(text).unwrap();
                files.push(task.group.inputs.len());
            }
            sizes.push(files);
            for message in messages.iter().filter(of_last) {
                let soon = Deadline::after(&lab.ambient, Duration::from_secs(1));
                let handled = handle(&hurried, message, soon).await.unwrap();
                assert_eq!(handled, Handled::Done);
            }
        }
        let settings = &planner.settings;
        lab.clock
            .advance(settings.check_interval + settings.commit_ttl);
    }
    let largest = sizes.iter().filter_map(|files| files.iter().max());
    assert_eq!(largest.collect::<Vec<_>>(), [&4, &2, &1], "{sizes:?}");
    let alone = sizes.iter().flatten().filter(|files| **files == 1);
    assert_eq!(alone.count(), 4, "each file, and once: {sizes:?}");
    let told = ended(&lab.take_events());
    assert_eq!(told.len(), 3, "{told:?}");
    let ProcessOutcome::Failed { failures, .. } = &told[2] else {
        panic!("{told:?}")
    };
    assert!(failures[0].contains("optimizer_memory_mb"), "{failures:?}");
    let row = planner.store.table(&table).await.unwrap().unwrap();
    assert_eq!(row.due_at, None, "nothing is tried again");
    let conclusion = row.conclusion.unwrap();
    assert!(
        conclusion.contains(r#""reason":"too-much""#),
        "{conclusion}"
    );
    // Whoever has the time does what others could not.
    assert!(
        run_once(
            &lab.stranger(settings_for_tests("patient")).await,
            1,
            &Stop::default()
        )
        .await
        .is_ok()
    );
    assert_eq!(lab.rows(&table).await.1.len(), 1);
}
