//! What is lost is sent again, and nothing else is, however long it waits (issue of a backlog of thousands).

use std::collections::BTreeMap;

use icepress_service::Handled;

use super::*;

const BACKLOG: usize = 2_000;

async fn state(lab: &Lab) -> SqliteConnection {
    let file = lab.folder.path().join("state.db");
    SqliteConnection::connect(&format!("sqlite://{}", file.display()))
        .await
        .unwrap()
}

/// How many messages of each table lie in the one queue. Whoever takes them out to count them is one more who received them.
async fn queued(lab: &Lab) -> BTreeMap<String, i64> {
    let counts: Vec<(String, i64)> = sqlx::query_as(
        "SELECT replace(message_group, 'lab/tests/', ''), count(*) FROM message GROUP BY message_group",
    )
    .fetch_all(&mut state(lab).await)
    .await
    .unwrap();
    counts.into_iter().collect()
}

/// Takes all messages of a table out of the queue, as a queue does that loses them.
async fn lose(lab: &Lab, name: &str) {
    let lost = sqlx::query("DELETE FROM message WHERE message_group LIKE '%/' || ?").bind(name);
    let lost = lost.execute(&mut state(lab).await).await.unwrap();
    assert!(lost.rows_affected() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_backlog_of_thousands_only_what_is_lost_is_sent_again() {
    let lab = Lab::new(80).await;
    let lost = tables(&lab, &["lost"]).await.remove(0);
    let worker = lab.worker(Settings {
        buckets: BucketCount(1.try_into().unwrap()),
        ..settings_for_tests("a")
    });
    let pass = async |time: Duration| {
        lab.clock.advance(time);
        tick(&worker, Deadline::NONE).await.unwrap();
    };
    let check = worker.settings.check_interval * 2;
    tick(&worker, Deadline::NONE).await.unwrap();
    assert_eq!(queued(&lab).await["lost"], 1);
    let backlog = tables(&lab, &["backlog"]).await.remove(0);
    let process = start(&lab, &worker, &backlog, BACKLOG).await;
    pass(check).await;
    assert_eq!(queued(&lab).await["backlog"], BACKLOG as i64);
    // Its message is gone, and nothing tells: the queue is full of others, about as old.
    lose(&lab, "lost").await;
    for _ in 0..2 {
        pass(check).await;
    }
    let all = BTreeMap::from([("backlog".to_owned(), BACKLOG as i64)]);
    assert_eq!(queued(&lab).await, all);

    // For hours nobody works any of it off: a backlog, however old, is no loss.
    for _ in 0..3 {
        pass(Duration::from_secs(3600)).await;
    }
    assert_eq!(queued(&lab).await, all);

    // Somebody takes out what was sent long after what is lost: that has been passed, and it alone is sent again.
    let task = TaskId {
        process: process.clone(),
        index: 0,
    };
    worker
        .store
        .note_sent(&task, lab.ambient.now())
        .await
        .unwrap();
    let until = lab.ambient.now() + Duration::from_secs(36_000);
    let claimed = worker
        .store
        .claim_task(&task, &"other".into(), lab.ambient.now(), until)
        .await;
    claimed.unwrap();
    for _ in 0..2 {
        pass(check).await;
    }
    let mut with_the_lost = all.clone();
    with_the_lost.insert("lost".to_owned(), 1);
    assert_eq!(queued(&lab).await, with_the_lost);
    // Once is enough.
    pass(check).await;
    assert_eq!(queued(&lab).await, with_the_lost);

    // A queue that is empty has lost all that is open, but what somebody works on.
    lose(&lab, "backlog").await;
    lose(&lab, "lost").await;
    pass(check).await;
    with_the_lost.insert("backlog".to_owned(), BACKLOG as i64 - 1);
    assert_eq!(queued(&lab).await, with_the_lost);

    // What was sent again is worked off like any other.
    let row = known(&worker, &lost).await;
    let process = row.active_process.unwrap();
    let message = icepress_coordination::TaskMessage {
        epoch: worker.store.process(&process).await.unwrap().unwrap().epoch,
        task: TaskId { process, index: 0 },
        table: lost.clone(),
    };
    let handled = handle(&worker, &message, Deadline::NONE).await.unwrap();
    assert_eq!(handled, Handled::Done);
    assert_eq!(files(&lab, &lost).await, 1);
}
