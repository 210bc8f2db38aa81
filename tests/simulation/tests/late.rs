//! Requests that a slow network brings once more when everything is over: none of them may undo what came after it.
//!
//! A client that waits in vain for an answer sends its request again; the first may still be on its way.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use icepress_coordination::{
    ClaimOutcome, Conclusion, DynamoStore, Home, Lease, NewProcess, NewTask, Payload, StateStore,
    TaskRow, create_state_table, ports::*,
};
use icepress_model::{
    Attempt, BucketCount, BucketId, Generation, Lessons, MetadataLocation, ProcessId,
    ProcessOutcome, SnapshotId, TableId, TaskId, TimestampMs, WorkerId, ambient::Ambient,
};
use icepress_simulation::{connector::Aws, dynamo::Dynamo, network::Network, sqs::Sqs};

const NOW: TimestampMs = TimestampMs(1_760_000_000_000);
const STATE: &str = "state";
const BUCKET: BucketId = BucketId(5);
const HOME: Home = Home {
    bucket: BUCKET,
    layout: Generation(0),
};
const MINUTE: Duration = Duration::from_secs(60);

async fn tasks(store: &dyn StateStore, process: &ProcessId) -> Vec<TaskRow> {
    let mut tasks = store.tasks(process).await.unwrap();
    // Noting twice that a message was sent is harmless.
    tasks.iter_mut().for_each(|task| task.sent_at = None);
    tasks
}

/// A process of three tasks: one done, one at work by its second attempt, one waiting.
async fn live(store: &dyn StateStore, table: &TableId, process: &ProcessId) -> Lease {
    let worker = WorkerId::from("worker");
    let lease = store
        .take_lease(BUCKET, &worker, NOW, MINUTE, MINUTE)
        .await
        .unwrap()
        .unwrap();
    let location = MetadataLocation::from("m1");
    store.mark_due(HOME, table, &location, NOW).await.unwrap();
    let seen = store.table(table).await.unwrap().unwrap();
    let new = NewProcess {
        process: process.clone(),
        kind: icepress_model::ProcessKind::Rewrite,
        table: table.clone(),
        created_at: NOW,
        header: "{}".to_owned(),
        check_at: NOW + MINUTE,
        reservation: None,
        conclusion: Conclusion {
            evaluated_location: Some(location),
            text: "{}".to_owned(),
            next_due_at: None,
            failures: 0,
        },
    };
    let payload = Payload::Inline("{}".to_owned());
    let new_tasks = vec![
        NewTask {
            payload: payload.clone()
        };
        3
    ];
    store
        .start_process(&lease, &seen, &new, &new_tasks)
        .await
        .unwrap();
    for index in 0..2 {
        let task = TaskId {
            process: process.clone(),
            index,
        };
        store.note_sent(&task, NOW).await.unwrap();
        store
            .claim_task(&task, &worker, NOW, NOW + MINUTE)
            .await
            .unwrap();
    }
    let first = TaskId {
        process: process.clone(),
        index: 0,
    };
    store
        .report_task(&first, Attempt(1), Ok(payload))
        .await
        .unwrap();
    let second = TaskId {
        process: process.clone(),
        index: 1,
    };
    let later = NOW + 2 * MINUTE;
    store
        .claim_task(&second, &worker, later, later + MINUTE)
        .await
        .unwrap();
    lease
}

#[tokio::test]
async fn a_write_that_comes_late_undoes_nothing() {
    let (ambient, clock) = Ambient::repeatable(1, NOW);
    let network = Network::direct();
    let dynamo = Dynamo::new(Arc::clone(&ambient.clock), Arc::clone(&network));
    let sqs = Sqs::new(Arc::clone(&ambient.clock), Arc::clone(&network));
    let client = Aws::new(&dynamo, &sqs, &network, "test").dynamodb_client(&ambient.clock);
    create_state_table(&client, STATE, &ambient).await.unwrap();
    let store = DynamoStore::new(client, STATE, ambient.clone());
    let table: TableId = "lake.sales.orders".parse().unwrap();
    let process = ProcessId::from("p1");

    dynamo.start_recording();
    let lease = live(&store, &table, &process).await;
    let record = dynamo.take_record();
    assert!(record.len() > 15, "{}", record.len());
    let (before, row) = (
        tasks(&store, &process).await,
        store.table(&table).await.unwrap(),
    );
    // Longer than transactions remember their tokens.
    clock.advance(20 * MINUTE);
    for (operation, body) in &record {
        // What came of it does not matter: what stands does.
        let _ = dynamo.answer(operation, body);
        assert_eq!(tasks(&store, &process).await, before, "{operation} {body}");
        assert_eq!(
            store.table(&table).await.unwrap(),
            row,
            "{operation} {body}"
        );
        let owner = store
            .buckets(BucketCount(8.try_into().unwrap()))
            .await
            .unwrap();
        let held = owner
            .rows
            .into_iter()
            .find(|row| row.bucket == BUCKET)
            .unwrap();
        assert_eq!(
            (held.epoch, held.owner.as_ref()),
            (lease.epoch, Some(&lease.owner)),
            "{operation} {body}"
        );
    }

    // The same once the process is over.
    for index in 1..3 {
        let task = TaskId {
            process: process.clone(),
            index,
        };
        let now = ambient.now();
        let claimed = store
            .claim_task(&task, &lease.owner, now, now + MINUTE)
            .await
            .unwrap();
        let ClaimOutcome::Claimed(claimed) = claimed else {
            panic!("{claimed:?}");
        };
        let result = Ok(Payload::Inline("{}".to_owned()));
        store
            .report_task(&task, claimed.attempt, result)
            .await
            .unwrap();
    }
    let now = ambient.now();
    let claim = store
        .claim_commit(&process, &lease.owner, now, now + MINUTE)
        .await
        .unwrap()
        .unwrap();
    let location = MetadataLocation::from("m2");
    let outcome = ProcessOutcome::Committed {
        location: location.clone(),
        snapshot_id: SnapshotId(7),
        lessons: Lessons::default(),
    };
    store
        .end_process(&claim, &outcome, Some(&location), None, 0)
        .await
        .unwrap();
    let (row, ended) = (
        store.table(&table).await.unwrap(),
        store.process(&process).await.unwrap(),
    );
    for (operation, body) in &record {
        let _ = dynamo.answer(operation, body);
        assert_eq!(
            store.table(&table).await.unwrap(),
            row,
            "{operation} {body}"
        );
        assert_eq!(
            store.process(&process).await.unwrap(),
            ended,
            "{operation} {body}"
        );
    }
}
