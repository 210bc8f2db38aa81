//! Attempts that end otherwise than they were to: their files are nobody's, and go (case C28).

use std::sync::Arc;

use icepress_coordination::{CoordinationError, TaskState};
use icepress_service::Handled;
use icepress_tests::ended;

use super::*;

/// A table that is planned; what is told of the first file that was written, when its worker looks at it.
async fn begun(
    seed: u64,
    settings: Settings,
) -> (Lab, TableId, Context, icepress_coordination::TaskMessage) {
    let lab = Lab::new(seed).await;
    let table = tables(&lab, &["t"]).await.remove(0);
    let worker = lab.worker(settings);
    let message = planned(&worker).await.remove(0);
    (lab, table, worker, message)
}

#[tokio::test(flavor = "multi_thread")]
async fn c28_an_attempt_that_its_deadline_cuts_leaves_no_file() {
    let (lab, table, worker, message) = begun(70, settings_for_tests("a")).await;
    let before = lab.files_on_disk(&table).await;
    let process = message.task.process.to_string();
    let (clock, disk, folder) = (
        Arc::clone(&lab.clock),
        Arc::clone(&lab.disk),
        lab.folder.path().to_owned(),
    );
    let seen = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let was_there = Arc::clone(&seen);
    lab.disk.meddle_at_look_at(&process, move || async move {
        let written = disk
            .list(&format!("{}/t/data/", folder.display()), None)
            .await;
        let written = written.unwrap().objects.len();
        was_there.store(written == 7, std::sync::atomic::Ordering::SeqCst);
        clock.advance(Duration::from_secs(600));
    });
    let deadline = Deadline::after(&lab.ambient, Duration::from_secs(300));
    let handled = handle(&worker, &message, deadline).await.unwrap();
    assert!(matches!(handled, Handled::Again(_)), "{handled:?}");
    assert!(
        seen.load(std::sync::atomic::Ordering::SeqCst),
        "a file was written"
    );
    assert_eq!(lab.files_on_disk(&table).await, before);
    let task = worker
        .store
        .tasks(&message.task.process)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(
        (task.state, task.attempt, task.waits),
        (TaskState::Queued, Attempt(1), 0)
    );

    handle(&worker, &message, Deadline::NONE).await.unwrap();
    assert_eq!(files(&lab, &table).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn c28_an_attempt_that_lost_its_claim_leaves_no_file_and_disturbs_nobody() {
    let (lab, table, worker, message) = begun(71, settings_for_tests("a")).await;
    let before = lab.files_on_disk(&table).await;
    let (clock, store) = (Arc::clone(&lab.clock), Arc::clone(&worker.store));
    let (task, ambient) = (message.task.clone(), lab.ambient.clone());
    let ttl = worker.settings.claim_ttl;
    lab.disk
        .meddle_at_look_at(&message.task.process.to_string(), move || async move {
            // Whoever is at it stood still, and somebody else has the task. Then the first wants to prolong his claim.
            let later = ambient.now() + ttl * 2;
            let claimed = store
                .claim_task(&task, &"other".into(), later, later + ttl)
                .await;
            assert!(
                matches!(claimed, Ok(icepress_coordination::ClaimOutcome::Claimed(_))),
                "{claimed:?}"
            );
            clock.advance(ttl);
        });
    let handled = handle(&worker, &message, Deadline::NONE).await;
    assert!(
        matches!(handled, Err(CoordinationError::Fenced(_))),
        "{handled:?}"
    );
    assert_eq!(lab.files_on_disk(&table).await, before);
    let task = worker
        .store
        .tasks(&message.task.process)
        .await
        .unwrap()
        .remove(0);
    assert_eq!(task.attempt, Attempt(2));
    assert!(matches!(task.state, TaskState::Running { worker, .. } if worker == "other".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn c28_a_process_whose_table_is_gone_leaves_no_file() {
    for (seed, may_delete) in [(72, true), (73, false)] {
        let settings = Settings {
            may_delete,
            ..settings_for_tests("a")
        };
        let (lab, table, worker, message) = begun(seed, settings).await;
        let before = lab.files_on_disk(&table).await.len();
        lab.drop_table(&table).await;
        lab.take_events();
        handle(&worker, &message, Deadline::NONE).await.unwrap();
        let outcomes = ended(&lab.take_events());
        assert!(
            matches!(outcomes[..], [ProcessOutcome::Abandoned { .. }]),
            "{outcomes:?}"
        );
        let left = lab.files_on_disk(&table).await.len();
        assert_eq!(left, before + usize::from(!may_delete));
    }
}
