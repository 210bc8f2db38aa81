use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use icepress_model::{Epoch, TaskId, ambient::Ambient};
use icepress_storage::conformance::emulator::{Emulator, EmulatorKind};

use super::*;
use crate::conformance::{MAX_RECEIVES, QUEUE_RULES, QueueWorld};

/// Queues of two buckets with names of their own.
#[derive(Debug)]
struct World {
    queue: SqsQueue,
    ambient: Ambient,
}

static WORLDS: AtomicU32 = AtomicU32::new(0);

impl World {
    async fn new(emulator: &Emulator) -> Arc<Self> {
        let client = Client::new(&emulator.config().await);
        let world = WORLDS.fetch_add(1, Ordering::Relaxed);
        let mut template = None;
        for bucket in [1, 2] {
            let name = format!("world-{world}-tasks-{bucket}");
            let dead = client
                .create_queue()
                .queue_name(format!("{name}{DEAD_LETTERS}"))
                .send()
                .await
                .unwrap()
                .queue_url
                .unwrap();
            let queue = SqsQueue::new(client.clone(), "");
            let arn = queue
                .attribute(&dead, QueueAttributeName::QueueArn)
                .await
                .unwrap()
                .unwrap();
            let policy =
                format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"{MAX_RECEIVES}"}}"#);
            let url = client
                .create_queue()
                .queue_name(&name)
                .set_attributes(Some(HashMap::from([(
                    QueueAttributeName::RedrivePolicy,
                    policy,
                )])))
                .send()
                .await
                .unwrap()
                .queue_url
                .unwrap();
            let (base, _) = url.rsplit_once('/').unwrap();
            template = Some(format!("{base}/world-{world}-tasks-{BUCKET}"));
        }
        Arc::new(Self {
            queue: SqsQueue::new(client, template.unwrap()),
            ambient: Ambient::system(),
        })
    }
}

#[async_trait]
impl QueueWorld for World {
    async fn queue(&self) -> Arc<dyn TaskQueue> {
        Arc::new(self.queue.clone())
    }

    async fn pass(&self, time: Duration) {
        self.ambient.clock.sleep(time).await;
    }
}

async fn check_all(kind: EmulatorKind) {
    let Some(emulator) = Emulator::start(kind) else {
        return;
    };
    // The rules mostly wait for messages to be seen again: they do so side by side.
    let mut running = Vec::new();
    for (name, rule) in QUEUE_RULES {
        let world = World::new(&emulator).await;
        running.push((*name, tokio::spawn(rule(world))));
    }
    let mut failures = Vec::new();
    for (name, rule) in running {
        match rule.await {
            Ok(()) => println!("{kind:?} {name}: ok"),
            Err(error) => failures.push(format!("{name}: {error}")),
        }
    }
    assert!(failures.is_empty(), "{kind:?}: {failures:#?}");
    let nowhere = SqsQueue::new(
        Client::new(&emulator.config().await),
        format!("{}/{}/none-{BUCKET}", emulator.endpoint(), "123456789012"),
    );
    let error = nowhere.dead_letters(BucketId(3)).await.unwrap_err();
    assert!(
        matches!(&error, CoordinationError::Configuration { message, .. } if message.contains("none-3-dlq")),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_holds_on_moto() {
    check_all(EmulatorKind::Moto).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_holds_on_ministack() {
    check_all(EmulatorKind::MiniStack).await;
}

fn offline(template: &str) -> SqsQueue {
    let config = aws_sdk_sqs::Config::builder()
        .behavior_version(aws_sdk_sqs::config::BehaviorVersion::latest())
        .region(aws_sdk_sqs::config::Region::new("us-east-1"))
        .build();
    SqsQueue::new(Client::from_conf(config), template)
}

#[test]
fn a_queue_s_bucket_is_read_off_its_name() {
    let queue = offline("https://sqs.eu-west-1.amazonaws.com/123456789012/icepress-tasks-{bucket}");
    let arn = |name: &str| format!("arn:aws:sqs:eu-west-1:123456789012:{name}");
    assert_eq!(
        queue.bucket_of(&arn("icepress-tasks-17")),
        Some(BucketId(17))
    );
    assert_eq!(
        queue.bucket_of(&queue.url(BucketId(0)).unwrap()),
        Some(BucketId(0))
    );
    for other in [
        "icepress-tasks-17-dlq",
        "icepress-tasks-",
        "icepress-tasks-017",
        "icepress-tasks-+1",
        "orders-17",
    ] {
        assert_eq!(queue.bucket_of(&arn(other)), None, "{other}");
    }
}

#[test]
fn a_template_without_a_bucket_is_refused() {
    let error = offline("https://sqs/1/icepress-tasks").url(BucketId(1));
    assert!(error.unwrap_err().to_string().contains(BUCKET));
}

#[test]
fn batches_keep_to_number_and_bytes() {
    let bodies = |sizes: &[usize]| -> Vec<(usize, String)> {
        sizes
            .iter()
            .map(|size| "x".repeat(*size))
            .enumerate()
            .collect()
    };
    let sizes = |sizes: &[usize]| -> Vec<usize> {
        let bodies = bodies(sizes);
        batches(&bodies).iter().map(|batch| batch.len()).collect()
    };
    assert_eq!(sizes(&[]), [0usize; 0]);
    assert_eq!(sizes(&[100; 25]), [10, 10, 5]);
    assert_eq!(sizes(&[200_000, 62_144, 1]), [2, 1]);
    assert_eq!(sizes(&[1, 300_000, 1]), [1, 1, 1]);
}

#[test]
fn a_group_is_the_table_s_name_or_a_hash_that_sqs_takes() {
    let table = |name: &str| -> TableId { format!("lake.sales.{name}").parse().unwrap() };
    assert_eq!(message_group(&table("orders")), "lake/sales/orders");
    for odd in [&"long".repeat(40), "täble", "a b"] {
        let group = message_group(&table(odd));
        assert_eq!(group.len(), 32);
        assert!(group.chars().all(|letter| letter.is_ascii_hexdigit()));
    }
    assert_ne!(message_group(&table("a b")), message_group(&table("a c")));
}

#[test]
fn a_body_is_json_that_reads_back() {
    let message = TaskMessage {
        task: TaskId {
            process: "p1".into(),
            index: 3,
        },
        table: "lake.sales.orders".parse().unwrap(),
        epoch: Epoch(9),
    };
    let body = message.to_body();
    assert_eq!(TaskMessage::from_body(&body).unwrap(), message);
    let error = TaskMessage::from_body("{}").unwrap_err().to_string();
    assert!(error.contains("no task message"), "{error}");
}
