//! Rules of queues (protocols.md, section 3). Real queues keep whole seconds, so the times here do too.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use icepress_model::{BucketId, Epoch};

use super::*;
use crate::{Received, Severity, TaskMessage};

const BUCKET: BucketId = BucketId(1);
/// Long enough for a slow machine to act within it.
const SHORT: Duration = Duration::from_secs(6);
const LONG: Duration = Duration::from_secs(120);
const PAST_SHORT: Duration = Duration::from_millis(6_500);

fn message(index: u32) -> TaskMessage {
    TaskMessage {
        task: task("p1", index),
        table: table("orders"),
        epoch: Epoch(3),
    }
}

async fn send(queue: &dyn TaskQueue, messages: &[TaskMessage]) {
    let results = queue.send(BUCKET, messages).await.unwrap();
    assert_eq!(results.len(), messages.len());
    for result in results {
        result.unwrap();
    }
}

async fn receive_one(queue: &dyn TaskQueue, visibility: Duration) -> Option<Received> {
    let wait = Duration::from_secs(1);
    let mut received = queue.receive(BUCKET, 1, wait, visibility).await.unwrap();
    assert!(received.len() <= 1, "{received:?}");
    received.pop()
}

async fn received(queue: &dyn TaskQueue, visibility: Duration) -> Received {
    receive_one(queue, visibility)
        .await
        .expect("a message can be seen")
}

pub(super) async fn a_message_is_seen_by_one_until_it_is_deleted(world: Arc<dyn QueueWorld>) {
    let queue = world.queue().await;
    assert_eq!(receive_one(&*queue, LONG).await, None);
    send(&*queue, &[message(0)]).await;
    let first = received(&*queue, LONG).await;
    assert_eq!(first.message, message(0));
    assert_eq!((first.bucket, first.receive_count), (BUCKET, 1));
    assert_eq!(receive_one(&*queue, LONG).await, None, "it is another's");
    queue.delete(&first).await.unwrap();
    assert_eq!(receive_one(&*queue, LONG).await, None, "it is done");
    queue.delete(&first).await.unwrap();
}

pub(super) async fn an_unacknowledged_message_comes_again_and_is_counted(
    world: Arc<dyn QueueWorld>,
) {
    let queue = world.queue().await;
    send(&*queue, &[message(0)]).await;
    received(&*queue, SHORT).await;
    world.pass(PAST_SHORT).await;
    let again = received(&*queue, LONG).await;
    assert_eq!((again.message, again.receive_count), (message(0), 2));
}

pub(super) async fn a_message_given_back_is_seen_at_once(world: Arc<dyn QueueWorld>) {
    let queue = world.queue().await;
    send(&*queue, &[message(0)]).await;
    let first = received(&*queue, LONG).await;
    queue
        .change_visibility(&first, Duration::ZERO)
        .await
        .unwrap();
    assert_eq!(received(&*queue, LONG).await.receive_count, 2);
}

pub(super) async fn a_longer_visibility_keeps_a_message_away(world: Arc<dyn QueueWorld>) {
    let queue = world.queue().await;
    send(&*queue, &[message(0)]).await;
    let first = received(&*queue, SHORT).await;
    queue.change_visibility(&first, LONG).await.unwrap();
    world.pass(PAST_SHORT).await;
    assert_eq!(receive_one(&*queue, LONG).await, None);
    queue.delete(&first).await.unwrap();
}

pub(super) async fn an_old_receipt_deletes_nothing(world: Arc<dyn QueueWorld>) {
    let queue = world.queue().await;
    send(&*queue, &[message(0)]).await;
    let old = received(&*queue, SHORT).await;
    world.pass(PAST_SHORT).await;
    let new = received(&*queue, LONG).await;
    assert_ne!(old.receipt, new.receipt);
    queue.delete(&old).await.unwrap();
    queue.delete(&new).await.unwrap();
    assert_eq!(receive_one(&*queue, LONG).await, None);
    // Deleting and changing what is gone are no errors.
    queue.delete(&new).await.unwrap();
    queue.change_visibility(&new, LONG).await.unwrap();
    assert_eq!(queue.dead_letters(BUCKET).await.unwrap(), 0);
}

/// The worst that a look at the bucket's queue finds.
async fn severity(queue: &dyn TaskQueue) -> Severity {
    let findings = queue.examine(BUCKET, Duration::ZERO).await;
    let worst = findings.iter().map(|finding| finding.severity).max();
    worst.expect("something was looked at")
}

pub(super) async fn messages_die_and_can_be_redriven(world: Arc<dyn QueueWorld>) {
    let queue = world.queue().await;
    assert_eq!(queue.dead_letters(BUCKET).await.unwrap(), 0);
    assert_eq!(queue.redrive(BUCKET).await.unwrap(), 0);
    assert_eq!(severity(&*queue).await, Severity::Well);
    send(&*queue, &[message(0)]).await;
    for count in 1..=MAX_RECEIVES {
        let received = received(&*queue, LONG).await;
        assert_eq!(received.receive_count, count);
        queue
            .change_visibility(&received, Duration::ZERO)
            .await
            .unwrap();
    }
    assert_eq!(receive_one(&*queue, LONG).await, None, "it has died");
    assert_eq!(queue.dead_letters(BUCKET).await.unwrap(), 1);
    assert_eq!(queue.dead_letters(BucketId(2)).await.unwrap(), 0);
    assert_eq!(severity(&*queue).await, Severity::Doubt);

    queue.redrive(BUCKET).await.unwrap();
    // A queue may take a while over it.
    let mut back = None;
    for _ in 0..30 {
        back = receive_one(&*queue, LONG).await;
        if back.is_some() {
            break;
        }
    }
    let back = back.expect("it comes back");
    assert_eq!(back.message, message(0));
    assert_eq!(queue.dead_letters(BUCKET).await.unwrap(), 0);
    queue.delete(&back).await.unwrap();
    assert_eq!(receive_one(&*queue, LONG).await, None);
}

pub(super) async fn a_queue_tells_how_much_lies_in_it(world: Arc<dyn QueueWorld>) {
    let queue = world.queue().await;
    assert_eq!(queue.depth(BUCKET).await.unwrap().messages, 0);
    send(&*queue, &[message(0), message(1), message(2)]).await;
    let taken = received(&*queue, LONG).await;
    let depth = queue.depth(BUCKET).await.unwrap();
    assert_eq!((depth.messages, depth.dead), (3, 0), "one is out of sight");
    assert_eq!(queue.depth(BucketId(2)).await.unwrap().messages, 0);
    queue.delete(&taken).await.unwrap();
    assert_eq!(queue.depth(BUCKET).await.unwrap().messages, 2);
    for _ in 0..MAX_RECEIVES {
        let mut taken = Vec::new();
        while let Some(received) = receive_one(&*queue, LONG).await {
            taken.push(received);
        }
        for received in taken {
            let visibility = Duration::ZERO;
            queue
                .change_visibility(&received, visibility)
                .await
                .unwrap();
        }
    }
    assert_eq!(receive_one(&*queue, LONG).await, None, "both have died");
    send(&*queue, &[message(0)]).await;
    let depth = queue.depth(BUCKET).await.unwrap();
    assert_eq!((depth.messages, depth.dead), (1, 2));
}

pub(super) async fn twenty_five_messages_are_sent_in_order_of_results(world: Arc<dyn QueueWorld>) {
    let queue = world.queue().await;
    send(&*queue, &[]).await;
    let sent: Vec<TaskMessage> = (0..25).map(message).collect();
    send(&*queue, &sent).await;
    let mut seen = BTreeSet::new();
    for _ in 0..50 {
        let received = queue
            .receive(BUCKET, 100, Duration::from_secs(1), LONG)
            .await
            .unwrap();
        for received in received {
            assert!(seen.insert(received.message.task.index), "one came twice");
            queue.delete(&received).await.unwrap();
        }
        if seen.len() == sent.len() {
            break;
        }
    }
    assert_eq!(seen, (0..25).collect());
}

pub(super) async fn queues_of_buckets_are_apart(world: Arc<dyn QueueWorld>) {
    let queue = world.queue().await;
    send(&*queue, &[message(0)]).await;
    let other = queue
        .receive(BucketId(2), 10, Duration::ZERO, LONG)
        .await
        .unwrap();
    assert_eq!(other, []);
    assert_eq!(received(&*queue, LONG).await.message, message(0));
}

pub(super) async fn a_long_table_name_is_sent(world: Arc<dyn QueueWorld>) {
    let queue = world.queue().await;
    let long = TaskMessage {
        table: table(&"täble ".repeat(40)),
        ..message(0)
    };
    send(&*queue, std::slice::from_ref(&long)).await;
    assert_eq!(received(&*queue, LONG).await.message, long);
}
