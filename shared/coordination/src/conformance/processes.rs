//! Rules of processes and of the claim on their commit (protocols.md, section 3).

use std::sync::Arc;

use futures::future::join_all;
use icepress_model::{Lessons, ProcessKind, ProcessOutcome, SnapshotId};

use super::*;
use crate::{
    CancelOutcome, CommitClaim, GivenBack, ProcessState, ReportOutcome, Severity, TaskState,
};

/// How a process of a test ends.
fn outcome(committed: Option<&str>) -> ProcessOutcome {
    match committed {
        Some(name) => ProcessOutcome::Committed {
            location: location(name),
            snapshot_id: SnapshotId(42),
            lessons: Lessons::default(),
        },
        None => ProcessOutcome::Failed {
            failures: vec!["tested".to_owned()],
            lessons: Lessons::default(),
        },
    }
}

/// Claims and ends a process whose tasks are all reported.
pub(super) async fn end(
    store: &dyn StateStore,
    process: &str,
    committed: Option<&str>,
    next_due_at: Option<TimestampMs>,
) {
    let claim = claim(store, process, "committer", at(1)).await.unwrap();
    store
        .end_process(
            &claim,
            &outcome(committed),
            committed.map(location).as_ref(),
            next_due_at,
            u32::from(committed.is_none()),
        )
        .await
        .unwrap();
}

async fn claim(
    store: &dyn StateStore,
    process: &str,
    name: &str,
    now: TimestampMs,
) -> Option<CommitClaim> {
    store
        .claim_commit(&process.into(), &worker(name), now, now + TTL)
        .await
        .unwrap()
}

async fn report_all(store: &dyn StateStore, process: &str, tasks: u32) {
    for index in 0..tasks {
        let task = task(process, index);
        let row = claimed(store, &task, "optimizer", NOW).await;
        store
            .report_task(&task, row.attempt, Ok(result("r")))
            .await
            .unwrap();
    }
}

pub(super) async fn a_process_of_300_tasks_starts_whole(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 300).await;
    let process = store.process(&"p1".into()).await.unwrap().unwrap();
    assert_eq!((process.tasks, process.open_tasks), (300, 300));
    assert_eq!(process.state, ProcessState::Running);
    assert_eq!((process.bucket, process.epoch), (BUCKET, held.epoch));
    assert_eq!((&process.table, process.created_at), (&orders, NOW));
    assert_eq!(process.header, r#"{"base":"m1"}"#);
    assert_eq!(process.kind, ProcessKind::Tags);
    let tasks = store.tasks(&"p1".into()).await.unwrap();
    for (index, row) in (0..).zip(&tasks) {
        assert_eq!(row.task, task("p1", index));
        assert_eq!(row.kind, ProcessKind::Tags);
        assert_eq!(row.payload, new_tasks(300)[index as usize].payload);
        assert_eq!((&row.state, row.sent_at), (&TaskState::Queued, None));
        assert_eq!((row.attempt.get(), row.bucket), (0, BUCKET));
    }
    store.note_sent(&task("p1", 7), at(3)).await.unwrap();
    let tasks = store.tasks(&"p1".into()).await.unwrap();
    assert_eq!(tasks[7].sent_at, Some(at(3)));
    let acknowledged = task("p1", 7);
    store.note_acknowledged(&acknowledged).await.unwrap();
    let tasks = store.tasks(&"p1".into()).await.unwrap();
    assert_eq!(tasks[7].sent_at, None);
    let row = row(&*store, &orders).await;
    assert_eq!(row.active_process, Some("p1".into()));
    assert_eq!(row.due_at, Some(at(600)));
    assert_eq!(row.evaluated_location, Some(location("m1")));
    assert_eq!((row.due_location, row.marked_at), (None, None));
    assert_eq!(row.epoch, held.epoch);
}

pub(super) async fn a_table_has_one_process_at_a_time(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = table("orders");
    marked(&*store, &orders, "m1", NOW).await;
    let seen = row(&*store, &orders).await;
    let mut starters = Vec::new();
    for number in 0..4 {
        let (store, held, seen) = (world.store().await, held.clone(), seen.clone());
        let process = new_process(&format!("p{number}"), &orders, "m1");
        starters.push(tokio::spawn(async move {
            store
                .start_process(&held, &seen, &process, &new_tasks(2))
                .await
                .unwrap()
        }));
    }
    let outcomes: Vec<StartOutcome> = join_all(starters)
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let winner = outcomes
        .iter()
        .position(|outcome| *outcome == StartOutcome::Started)
        .expect("one starts");
    let winner = ProcessId(format!("p{winner}"));
    let losers = outcomes
        .iter()
        .filter(|outcome| **outcome == StartOutcome::AlreadyActive(winner.clone()))
        .count();
    assert_eq!(losers, 3, "{outcomes:?}");
    assert_eq!(
        row(&*store, &orders).await.active_process.as_ref(),
        Some(&winner)
    );
    assert_consistent(&*store, &orders, winner.as_str()).await;
}

pub(super) async fn starting_again_after_a_lost_answer_changes_nothing(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = table("orders");
    marked(&*store, &orders, "m1", NOW).await;
    let seen = row(&*store, &orders).await;
    let process = new_process("p1", &orders, "m1");
    for _ in 0..2 {
        let outcome = store
            .start_process(&held, &seen, &process, &new_tasks(2))
            .await
            .unwrap();
        assert_eq!(outcome, StartOutcome::Started);
        // At the second time this stands already: the task is still the first attempt's.
        store
            .claim_task(&task("p1", 0), &worker("w"), NOW, at(60))
            .await
            .unwrap();
    }
    let tasks = store.tasks(&"p1".into()).await.unwrap();
    assert_eq!(tasks[0].attempt.get(), 1);
    assert_consistent(&*store, &orders, "p1").await;
}

pub(super) async fn a_mark_during_a_process_waits_for_its_end(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 1).await;
    marked(&*store, &orders, "m2", at(5)).await;
    let under_way = row(&*store, &orders).await;
    assert_eq!(under_way.due_at, Some(at(600)));
    assert_eq!(under_way.marked_at, Some(at(5)));
    assert_eq!(under_way.active_process, Some("p1".into()));
    assert!(
        store
            .due_tables(BUCKET, at(100), 9)
            .await
            .unwrap()
            .is_empty()
    );

    report_all(&*store, "p1", 1).await;
    end(&*store, "p1", Some("m3"), Some(at(3_000))).await;
    let after = row(&*store, &orders).await;
    assert_eq!(after.due_location, Some(location("m2")));
    assert_eq!((after.due_at, after.marked_at), (Some(at(5)), None));
    assert_eq!(after.committed_location, Some(location("m3")));
    assert_eq!(after.active_process, None);
    assert_eq!(store.due_tables(BUCKET, at(100), 9).await.unwrap().len(), 1);
}

pub(super) async fn a_mark_of_our_own_commit_is_dropped_at_the_end(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 0).await;
    // The census sees our commit before the process is noted as ended.
    marked(&*store, &orders, "m2", at(5)).await;
    end(&*store, "p1", Some("m2"), None).await;
    let after = row(&*store, &orders).await;
    assert_eq!((after.due_at, after.due_location), (None, None));
    assert_eq!(after.failures, 0);
}

pub(super) async fn a_foreign_mark_under_our_own_survives_the_end(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 0).await;
    marked(&*store, &orders, "m2-foreign", at(5)).await;
    marked(&*store, &orders, "m3-ours", at(6)).await;
    end(&*store, "p1", Some("m3-ours"), None).await;
    assert_eq!(row(&*store, &orders).await.due_at, Some(at(5)));
}

pub(super) async fn a_mark_between_looking_and_starting_survives_the_end(
    world: Arc<dyn StoreWorld>,
) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = table("orders");
    marked(&*store, &orders, "m1", NOW).await;
    let seen = row(&*store, &orders).await;
    marked(&*store, &orders, "m2", at(4)).await;
    store
        .start_process(&held, &seen, &new_process("p1", &orders, "m1"), &[])
        .await
        .unwrap();
    let under_way = row(&*store, &orders).await;
    assert_eq!(under_way.due_at, Some(at(600)));
    assert_eq!(under_way.due_location, Some(location("m2")));
    end(&*store, "p1", Some("m3"), None).await;
    let after = row(&*store, &orders).await;
    assert_eq!(after.due_location, Some(location("m2")));
    assert_eq!(after.due_at, Some(NOW));
}

pub(super) async fn a_look_at_a_process_under_way_clears_no_mark(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 0).await;
    marked(&*store, &orders, "m2", at(5)).await;
    let seen = row(&*store, &orders).await;
    store
        .conclude(&held, &seen, &conclusion(Some("m2"), Some(at(1_200))))
        .await
        .unwrap();
    let after = row(&*store, &orders).await;
    assert_eq!(after.due_at, Some(at(1_200)));
    assert_eq!(after.marked_at, Some(at(5)));
    assert_eq!(after.evaluated_location, Some(location("m1")));
    // Without a next look the former one stands: a process under way is never forgotten.
    store
        .conclude(&held, &after, &conclusion(None, None))
        .await
        .unwrap();
    assert_eq!(row(&*store, &orders).await.due_at, Some(at(1_200)));
    end(&*store, "p1", None, None).await;
    let freed = row(&*store, &orders).await;
    assert_eq!((freed.due_at, freed.failures), (Some(at(5)), 1));
}

pub(super) async fn the_commit_is_claimed_by_one_at_a_time(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 1).await;
    assert_eq!(claim(&*store, "p1", "w", NOW).await, None, "a task is open");
    assert_eq!(claim(&*store, "none", "w", NOW).await, None, "no process");
    report_all(&*store, "p1", 1).await;

    let mut claimers = Vec::new();
    for number in 0..8 {
        let store = world.store().await;
        claimers.push(tokio::spawn(async move {
            claim(&*store, "p1", &format!("w{number}"), NOW).await
        }));
    }
    let claims: Vec<CommitClaim> = join_all(claimers)
        .await
        .into_iter()
        .filter_map(Result::unwrap)
        .collect();
    assert_eq!(claims.len(), 1, "{claims:?}");
    assert_eq!(claims[0].claim, 1);
    let ProcessState::Committing { deadline, .. } = &claims[0].process.state else {
        panic!("{:?}", claims[0].process.state);
    };
    assert_eq!(*deadline, NOW + TTL);
    assert_eq!(claim(&*store, "p1", "w", NOW + TTL).await, None, "held");
    let taken_over = claim(&*store, "p1", "w", at(61)).await.expect("it ended");
    assert_eq!(taken_over.claim, 2);
    assert_eq!(
        Some(&taken_over.process),
        store.process(&"p1".into()).await.unwrap().as_ref()
    );
    assert_consistent(&*store, &orders, "p1").await;
}

pub(super) async fn a_commit_given_back_is_free_at_once(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 0).await;
    let first = claim(&*store, "p1", "w", NOW).await.unwrap();
    // Twice is harmless: an answer may be lost.
    for _ in 0..2 {
        store
            .give_back_commit(&first, GivenBack::Tried, at(5))
            .await
            .unwrap();
    }
    let row_now = row(&*store, &orders).await;
    assert_eq!(row_now.due_at, Some(at(5)));
    assert_eq!(row_now.active_process, Some("p1".into()));
    let process = store.process(&"p1".into()).await.unwrap().unwrap();
    assert_eq!(
        (&process.state, process.commit_claims),
        (&ProcessState::Running, 1)
    );
    // Who gave it back may do nothing under it any more.
    assert_fenced(store.extend_commit(&first, at(90)).await, "to prolong");
    let ends = outcome(None);
    let ended = store.end_process(&first, &ends, None, None, 0).await;
    assert_fenced(ended, "to end");

    let second = claim(&*store, "p1", "x", NOW).await.expect("it is free");
    assert_eq!(second.claim, 2);
    let again = store
        .give_back_commit(&first, GivenBack::Tried, at(6))
        .await;
    assert_fenced(again, "an old claim");
    // A look that is due sooner stays. One that waits is no try, whether its answer was heard or not.
    for _ in 0..2 {
        store
            .give_back_commit(&second, GivenBack::Waits, at(900))
            .await
            .unwrap();
    }
    let waits = store.process(&"p1".into()).await.unwrap().unwrap();
    assert_eq!((waits.waits, waits.tries()), (1, 1));
    assert_eq!(row(&*store, &orders).await.due_at, Some(at(5)));
    end(&*store, "p1", None, None).await;
    let again = store
        .give_back_commit(&second, GivenBack::Waits, at(7))
        .await;
    assert_fenced(again, "after the end");
    assert_consistent(&*store, &orders, "p1").await;
}

pub(super) async fn only_the_newest_claim_ends_a_process(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 0).await;
    let old = claim(&*store, "p1", "old", NOW).await.unwrap();
    let new = claim(&*store, "p1", "new", at(61)).await.unwrap();
    assert_fenced(
        store
            .end_process(&old, &outcome(None), None, Some(at(1)), 9)
            .await,
        "the old claim's end",
    );
    assert_eq!(
        row(&*store, &orders).await.active_process,
        Some("p1".into())
    );
    let committed = outcome(Some("m2"));
    for _ in 0..2 {
        // The second time an answer was lost.
        store
            .end_process(&new, &committed, Some(&location("m2")), Some(at(9)), 0)
            .await
            .unwrap();
    }
    assert_fenced(
        store.end_process(&new, &outcome(None), None, None, 9).await,
        "another end",
    );
    let process = store.process(&"p1".into()).await.unwrap().unwrap();
    assert_eq!(process.state, ProcessState::Ended(committed));
    let after = row(&*store, &orders).await;
    assert_eq!(after.active_process, None);
    assert_eq!((after.due_at, after.failures), (Some(at(9)), 0));
    assert_eq!(claim(&*store, "p1", "late", at(999)).await, None);
    assert_consistent(&*store, &orders, "p1").await;

    // A second process of the table is not touched by the first one's late repetition.
    store
        .start_process(&held, &after, &new_process("p2", &orders, "m2"), &[])
        .await
        .unwrap();
    let under_way = row(&*store, &orders).await;
    store
        .end_process(&new, &outcome(Some("m2")), Some(&location("m2")), None, 0)
        .await
        .unwrap();
    assert_eq!(row(&*store, &orders).await, under_way);
}

pub(super) async fn b09_the_next_owner_finds_and_commits_what_was_finished(
    world: Arc<dyn StoreWorld>,
) {
    let store = world.store().await;
    let first = lease(&*store, "first").await;
    let orders = started(&*store, &first, "p1", 3).await;
    // The bucket moves while optimizers are at work; they know nothing of it.
    let running = claimed(&*store, &task("p1", 0), "optimizer", NOW).await;
    let later = first.expires_at + GUARD + TTL;
    let second = store
        .take_lease(BUCKET, &worker("second"), later, TTL, GUARD)
        .await
        .unwrap()
        .expect("the first has ended");
    let accepted = store
        .report_task(&running.task, running.attempt, Ok(result("r0")))
        .await
        .unwrap();
    assert_eq!(accepted, ReportOutcome::Accepted { open_tasks: 2 });
    for index in 1..3 {
        let row = claimed(&*store, &task("p1", index), "optimizer", later).await;
        store
            .report_task(&row.task, row.attempt, Ok(result("r")))
            .await
            .unwrap();
    }
    // Whoever brought it to zero died. The next owner's sweep finds it when the look falls due.
    let due = store.due_tables(BUCKET, at(600), 10).await.unwrap();
    let row = due[0].as_ref().unwrap();
    let process = row.active_process.clone().expect("it is under way");
    assert_eq!(
        store.process(&process).await.unwrap().unwrap().open_tasks,
        0
    );
    let claim = claim(&*store, "p1", second.owner.as_str(), at(600))
        .await
        .expect("nobody holds the commit");
    assert_eq!(claim.process.epoch, first.epoch);
    store
        .end_process(&claim, &outcome(Some("m2")), Some(&location("m2")), None, 0)
        .await
        .unwrap();
    assert_consistent(&*store, &orders, "p1").await;
    let row = super::row(&*store, &orders).await;
    assert_eq!(row.committed_location, Some(location("m2")));
    store
        .conclude(&second, &row, &conclusion(Some("m2"), None))
        .await
        .unwrap();
}

pub(super) async fn processes_are_listed_newest_first(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = table("orders");
    store.force_due(HOME, &orders, NOW).await.unwrap();
    for number in 0..4u64 {
        let seen = row(&*store, &orders).await;
        let process = NewProcess {
            created_at: at(number),
            ..new_process(&format!("p{}", 9 - number), &orders, "m1")
        };
        store
            .start_process(&held, &seen, &process, &[])
            .await
            .unwrap();
        end(&*store, process.process.as_str(), None, None).await;
    }
    let newest = store.processes_of(&orders, 3).await.unwrap();
    let names: Vec<&str> = newest.iter().map(|row| row.process.as_str()).collect();
    assert_eq!(names, ["p6", "p7", "p8"]);
    assert!(newest.iter().all(crate::ProcessRow::has_ended));
    assert!(
        store
            .processes_of(&table("other"), 3)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(super) async fn a_cancelled_process_frees_its_table_and_takes_no_result(
    world: Arc<dyn StoreWorld>,
) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 2).await;
    let at_work = claimed(&*store, &task("p1", 0), "optimizer", NOW).await;
    store
        .mark_due(HOME, &orders, &location("m2"), at(5))
        .await
        .unwrap();

    let cancel = || async { store.cancel_process(&"p1".into(), "asked").await.unwrap() };
    assert_eq!(cancel().await, CancelOutcome::Cancelled);

    let abandoned = ProcessOutcome::Abandoned {
        reason: "asked".to_owned(),
    };
    let process = store.process(&"p1".into()).await.unwrap().unwrap();
    assert_eq!(process.state, ProcessState::Ended(abandoned.clone()));
    let row = store.table(&orders).await.unwrap().unwrap();
    assert_eq!((row.active_process, row.due_at), (None, Some(at(5))));
    let late = store
        .report_task(&task("p1", 0), at_work.attempt, Ok(result("r")))
        .await
        .unwrap();
    assert_eq!(late, ReportOutcome::Stale);
    let next = store
        .claim_task(&task("p1", 1), &worker("w"), NOW, at(60))
        .await
        .unwrap();
    assert_eq!(next, ClaimOutcome::Gone);
    assert_eq!(claim(&*store, "p1", "committer", NOW).await, None);
    assert_eq!(cancel().await, CancelOutcome::EndedBefore(abandoned));
    let unknown = store.cancel_process(&"p9".into(), "asked").await.unwrap();
    assert_eq!(unknown, CancelOutcome::Unknown);
}

pub(super) async fn a_process_that_is_being_committed_is_not_cancelled(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    started(&*store, &held, "p1", 1).await;
    report_all(&*store, "p1", 1).await;
    let claimed = claim(&*store, "p1", "committer", NOW).await.unwrap();
    assert_eq!(
        store.cancel_process(&"p1".into(), "asked").await.unwrap(),
        CancelOutcome::Committing {
            worker: worker("committer"),
            until: NOW + TTL,
        }
    );
    store
        .end_process(
            &claimed,
            &outcome(Some("m2")),
            Some(&location("m2")),
            None,
            0,
        )
        .await
        .unwrap();
}

pub(super) async fn a_sound_store_is_found_well(world: Arc<dyn StoreWorld>) {
    let findings = world.store().await.examine().await;
    let wrong: Vec<_> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Wrong)
        .collect();
    assert!(findings.len() >= 2 && wrong.is_empty(), "{findings:?}");
}
