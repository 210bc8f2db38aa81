//! Rules of tasks and attempts (protocols.md, section 3).

use std::{collections::BTreeMap, sync::Arc};

use futures::future::join_all;
use icepress_model::{Attempt, RewriteFailure, RewriteFailureKind};

use super::*;
use crate::{GivenBack, ReportOutcome, TaskState};

fn failure() -> RewriteFailure {
    RewriteFailure {
        kind: RewriteFailureKind::CorruptFile,
        message: "s3://lake/a.parquet: no Parquet footer".to_owned(),
    }
}

async fn task_row(store: &dyn StateStore, task: &TaskId) -> TaskRow {
    let tasks = store.tasks(&task.process).await.unwrap();
    tasks.into_iter().find(|row| row.task == *task).unwrap()
}

pub(super) async fn a_task_goes_through_claim_and_report(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 2).await;
    let first = task("p1", 0);
    let row = claimed(&*store, &first, "w", NOW).await;
    assert_eq!(row.attempt, Attempt(1));
    assert_eq!(row.payload, new_tasks(1)[0].payload);
    assert_eq!(
        row.state,
        TaskState::Running {
            worker: worker("w"),
            deadline: NOW + TTL
        }
    );
    assert_eq!(task_row(&*store, &first).await, row);

    store
        .extend_claim(&first, Attempt(1), at(300))
        .await
        .unwrap();
    let held_until = store
        .claim_task(&first, &worker("v"), at(299), at(900))
        .await
        .unwrap();
    assert_eq!(held_until, ClaimOutcome::Held { until: at(300) });

    let report = store
        .report_task(&first, Attempt(1), Ok(result("r0")))
        .await
        .unwrap();
    assert_eq!(report, ReportOutcome::Accepted { open_tasks: 1 });
    assert_eq!(
        task_row(&*store, &first).await.state,
        TaskState::Done(result("r0"))
    );
    let again = store
        .claim_task(&first, &worker("v"), at(900), at(999))
        .await
        .unwrap();
    assert_eq!(again, ClaimOutcome::Finished);
    assert_fenced(
        store.extend_claim(&first, Attempt(1), at(999)).await,
        "a claim on what is done",
    );

    let second = task("p1", 1);
    let row = claimed(&*store, &second, "w", NOW).await;
    let report = store
        .report_task(&second, row.attempt, Err(failure()))
        .await
        .unwrap();
    assert_eq!(report, ReportOutcome::Accepted { open_tasks: 0 });
    assert_eq!(
        task_row(&*store, &second).await.state,
        TaskState::Failed(failure())
    );
    assert_consistent(&*store, &orders, "p1").await;
}

pub(super) async fn a_task_past_its_deadline_is_claimed_anew(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    started(&*store, &held, "p1", 1).await;
    let task = task("p1", 0);
    claimed(&*store, &task, "dies", NOW).await;
    let at_deadline = store
        .claim_task(&task, &worker("next"), NOW + TTL, at(999))
        .await
        .unwrap();
    assert_eq!(at_deadline, ClaimOutcome::Held { until: NOW + TTL });
    let next = claimed(&*store, &task, "next", at(61)).await;
    assert_eq!(next.attempt, Attempt(2));
    assert_fenced(
        store.extend_claim(&task, Attempt(1), at(999)).await,
        "the dead attempt's claim",
    );
}

pub(super) async fn b10_late_and_doubled_reports_are_stale(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 2).await;
    let task = task("p1", 0);
    let report = async |attempt, name: &str| {
        store
            .report_task(&task, Attempt(attempt), Ok(result(name)))
            .await
            .unwrap()
    };
    assert_eq!(report(0, "unclaimed").await, ReportOutcome::Stale);
    assert_eq!(report(1, "unclaimed").await, ReportOutcome::Stale);
    claimed(&*store, &task, "slow", NOW).await;
    claimed(&*store, &task, "fast", at(61)).await;
    assert_eq!(report(1, "late").await, ReportOutcome::Stale);
    assert_eq!(report(3, "forged").await, ReportOutcome::Stale);
    assert_eq!(
        report(2, "good").await,
        ReportOutcome::Accepted { open_tasks: 1 }
    );
    assert_eq!(report(2, "doubled").await, ReportOutcome::Stale);
    assert_eq!(report(1, "later").await, ReportOutcome::Stale);
    assert_eq!(
        task_row(&*store, &task).await.state,
        TaskState::Done(result("good"))
    );
    let given_back = store
        .return_task(&task, Attempt(2), GivenBack::Tried)
        .await
        .unwrap();
    assert_eq!(given_back, ReportOutcome::Stale);
    assert_consistent(&*store, &orders, "p1").await;
}

pub(super) async fn a_task_given_back_is_claimed_at_once(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 1).await;
    let task = task("p1", 0);
    claimed(&*store, &task, "w", NOW).await;
    for _ in 0..2 {
        let outcome = store
            .return_task(&task, Attempt(1), GivenBack::Tried)
            .await
            .unwrap();
        assert_eq!(outcome, ReportOutcome::Accepted { open_tasks: 1 });
    }
    assert_eq!(task_row(&*store, &task).await.state, TaskState::Queued);
    let late = store
        .report_task(&task, Attempt(1), Ok(result("late")))
        .await
        .unwrap();
    assert_eq!(late, ReportOutcome::Stale);
    assert_fenced(
        store.extend_claim(&task, Attempt(1), at(99)).await,
        "a claim that was given back",
    );
    let next = claimed(&*store, &task, "v", NOW).await;
    assert_eq!(next.attempt, Attempt(2));
    let old = store
        .return_task(&task, Attempt(1), GivenBack::Tried)
        .await
        .unwrap();
    assert_eq!(old, ReportOutcome::Stale);
    store
        .return_task(&task, Attempt(2), GivenBack::Tried)
        .await
        .unwrap();
    let old = store
        .return_task(&task, Attempt(1), GivenBack::Tried)
        .await
        .unwrap();
    assert_eq!(old, ReportOutcome::Stale);
    assert_consistent(&*store, &orders, "p1").await;
}

pub(super) async fn c56_a_task_that_waits_uses_up_no_try_and_no_message(
    world: Arc<dyn StoreWorld>,
) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 1).await;
    let task = task("p1", 0);
    let tried = |row: TaskRow| (row.attempt.get(), row.waits, row.tries());
    claimed(&*store, &task, "w", NOW).await;
    store.note_sent(&task, NOW).await.unwrap();
    store
        .return_task(&task, Attempt(1), GivenBack::Tried)
        .await
        .unwrap();
    let row = task_row(&*store, &task).await;
    assert_eq!(row.sent_at, Some(NOW), "its message comes back");
    assert_eq!(tried(row), (1, 0, 1));
    claimed(&*store, &task, "w", NOW).await;
    // Twice is harmless: an answer may be lost.
    for _ in 0..2 {
        let outcome = store
            .return_task(&task, Attempt(2), GivenBack::Waits)
            .await
            .unwrap();
        assert_eq!(outcome, ReportOutcome::Accepted { open_tasks: 1 });
    }
    let row = task_row(&*store, &task).await;
    assert_eq!(row.sent_at, None, "another has to be sent");
    assert_eq!(tried(row), (2, 1, 1));
    let next = claimed(&*store, &task, "v", NOW).await;
    assert_eq!(tried(next), (3, 1, 2));
    let late = store
        .return_task(&task, Attempt(2), GivenBack::Waits)
        .await
        .unwrap();
    assert_eq!(late, ReportOutcome::Stale);
    assert_consistent(&*store, &orders, "p1").await;
}

pub(super) async fn a_task_without_a_process_is_gone(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let unknown = task("nobody's", 3);
    let claim = store
        .claim_task(&unknown, &worker("w"), NOW, at(60))
        .await
        .unwrap();
    assert_eq!(claim, ClaimOutcome::Gone);
    let report = store
        .report_task(&unknown, Attempt(1), Ok(result("r")))
        .await
        .unwrap();
    assert_eq!(report, ReportOutcome::Stale);
    assert_eq!(
        store
            .return_task(&unknown, Attempt(1), GivenBack::Tried)
            .await
            .unwrap(),
        ReportOutcome::Stale
    );
    assert_fenced(
        store.extend_claim(&unknown, Attempt(1), at(60)).await,
        "a claim on nothing",
    );
    store.note_sent(&unknown, NOW).await.unwrap();
    store.note_acknowledged(&unknown).await.unwrap();
    assert_eq!(store.tasks(&unknown.process).await.unwrap(), []);
    assert_eq!(store.process(&unknown.process).await.unwrap(), None);
    // Nothing of all that made a row.
    let claim = store
        .claim_task(&unknown, &worker("w"), NOW, at(60))
        .await
        .unwrap();
    assert_eq!(claim, ClaimOutcome::Gone);
}

pub(super) async fn of_eight_claimers_exactly_one_wins(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    started(&*store, &held, "p1", 1).await;
    for round in 0..3u32 {
        let now = at(u64::from(round) * 100);
        let mut claimers = Vec::new();
        for number in 0..8 {
            let store = world.store().await;
            claimers.push(tokio::spawn(async move {
                store
                    .claim_task(
                        &task("p1", 0),
                        &worker(&format!("w{number}")),
                        now,
                        now + TTL,
                    )
                    .await
                    .unwrap()
            }));
        }
        let outcomes: Vec<ClaimOutcome> = join_all(claimers)
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        let won: Vec<&TaskRow> = outcomes
            .iter()
            .filter_map(|outcome| match outcome {
                ClaimOutcome::Claimed(row) => Some(row),
                ClaimOutcome::Held { until } if *until == now + TTL => None,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(won.len(), 1, "{outcomes:?}");
        assert_eq!(won[0].attempt, Attempt(round + 1));
        assert_eq!(&task_row(&*store, &task("p1", 0)).await, won[0]);
    }
}

pub(super) async fn of_eight_reporters_exactly_one_sees_zero(world: Arc<dyn StoreWorld>) {
    let store = world.store().await;
    let held = lease(&*store, "a").await;
    let orders = started(&*store, &held, "p1", 24).await;
    let mut reporters = Vec::new();
    for number in 0..8u32 {
        let store = world.store().await;
        reporters.push(tokio::spawn(async move {
            let mut counts = Vec::new();
            for index in (number..24).step_by(8) {
                let row = claimed(&*store, &task("p1", index), "w", NOW).await;
                let outcome = store
                    .report_task(&row.task, row.attempt, Ok(result("r")))
                    .await
                    .unwrap();
                match outcome {
                    ReportOutcome::Accepted { open_tasks } => counts.push(open_tasks),
                    ReportOutcome::Stale => panic!("task {index} was not accepted"),
                }
            }
            counts
        }));
    }
    let mut seen = BTreeMap::new();
    for counts in join_all(reporters).await {
        for count in counts.unwrap() {
            *seen.entry(count).or_insert(0) += 1;
        }
    }
    assert_eq!(seen.get(&0), Some(&1), "{seen:?}");
    assert_eq!(seen.values().sum::<u32>(), 24);
    assert_consistent(&*store, &orders, "p1").await;
}
