//! The same requests get the same answers from the simulated services and from the emulators.
//!
//! Where there is no Python environment for the emulators the test says so and is skipped.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, collections::HashMap, fmt::Debug, sync::Arc, time::Duration};

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    primitives::Blob,
    types::{
        AttributeValue, ConditionCheck, Delete, DeleteRequest, KeysAndAttributes, Put, PutRequest,
        ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update, WriteRequest,
    },
};
use aws_sdk_sqs::types::{
    MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
};
use icepress_coordination::create_state_table;
use icepress_model::{
    TimestampMs,
    ambient::{Ambient, ManualClock},
};
use icepress_simulation::{connector::Aws, dynamo::Dynamo, network::Network, sqs::Sqs};
use icepress_storage::conformance::emulator::{Emulator, EmulatorKind};

const TABLE: &str = "state";
const RECEIVES: &str = "2";

type Item = HashMap<String, AttributeValue>;

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: i64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn key(pk: &str, sk: &str) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

fn item(pk: &str, sk: &str, rev: i64) -> Item {
    let mut item = key(pk, sk);
    item.insert("rev".to_owned(), number(rev));
    item
}

fn due(sk: &str, bucket: &str, at: i64) -> Item {
    let mut item = item("tables#1", sk, 1);
    item.insert("due_bucket".to_owned(), text(bucket));
    item.insert("due_at".to_owned(), number(at));
    item
}

fn shown(item: &Item) -> String {
    let sorted: BTreeMap<_, _> = item.iter().collect();
    format!("{sorted:?}")
}

fn all(items: &[Item]) -> String {
    items.iter().map(shown).collect::<Vec<_>>().join(" ")
}

/// What came of a request: its answer in our words, or the error's name.
fn said<T, E, R: Debug>(
    outcome: Result<T, SdkError<E, R>>,
    answer: impl FnOnce(T) -> String,
) -> String
where
    E: ProvideErrorMetadata + Debug,
{
    match outcome {
        Ok(output) => answer(output),
        Err(error) => {
            let code = error.code().unwrap_or("without a name");
            // What queues' errors were called before SQS spoke JSON, and still are by some.
            let code = code.rsplit('.').next().unwrap_or(code);
            let code = code.replace("NonExistentQueue", "QueueDoesNotExist");
            format!("error {code}")
        }
    }
}

/// A sequence of requests to DynamoDB, with what each came to.
async fn talk_to_dynamodb(client: &aws_sdk_dynamodb::Client) -> Vec<String> {
    let mut told = Vec::new();
    let put = |item: Item, condition: &'static str| {
        let request = client
            .put_item()
            .table_name(TABLE)
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let request = match condition {
            "new" => request
                .condition_expression("attribute_not_exists(#pk)")
                .expression_attribute_names("#pk", "pk"),
            "rev" => request
                .condition_expression("#rev = :rev")
                .expression_attribute_names("#rev", "rev")
                .expression_attribute_values(":rev", number(1)),
            _ => request,
        };
        request.send()
    };
    told.push(said(put(item("a", "1", 1), "new").await, |_| {
        "put".to_owned()
    }));
    told.push(said(put(item("a", "1", 2), "new").await, |_| {
        "put".to_owned()
    }));
    told.push(said(put(item("a", "1", 2), "rev").await, |_| {
        "put".to_owned()
    }));
    told.push(said(put(item("a", "1", 3), "rev").await, |_| {
        "put".to_owned()
    }));
    told.push(said(put(item("a", "none", 3), "rev").await, |_| {
        "put".to_owned()
    }));
    let refused = put(item("a", "1", 3), "rev")
        .await
        .unwrap_err()
        .into_service_error();
    if let aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(
        failed,
    ) = refused
    {
        told.push(format!(
            "stands {}",
            shown(&failed.item.unwrap_or_default())
        ));
    }
    let mut large = item("a", "large", 1);
    large.insert(
        "blob".to_owned(),
        AttributeValue::B(Blob::new(vec![7; 410 * 1024])),
    );
    told.push(said(put(large, "").await, |_| "put".to_owned()));
    let mut fits = item("a", "fits", 1);
    fits.insert("blob".to_owned(), AttributeValue::B(Blob::new(vec![7; 3])));
    told.push(said(put(fits, "").await, |_| "put".to_owned()));

    let get = |pk: &str, sk: &str| {
        client
            .get_item()
            .table_name(TABLE)
            .set_key(Some(key(pk, sk)))
            .consistent_read(true)
            .send()
    };
    for sk in ["1", "fits", "nothing"] {
        let found = get("a", sk).await;
        told.push(said(found, |output| {
            output.item.map_or("none".to_owned(), |item| shown(&item))
        }));
    }

    let count_down = |sk: &str, least: i64| {
        client
            .update_item()
            .table_name(TABLE)
            .set_key(Some(key("a", sk)))
            .update_expression("SET #rev = #rev - :one, #state = :state")
            .condition_expression(
                "#rev > :least AND (#state <> :ended OR attribute_not_exists(#state))",
            )
            .expression_attribute_names("#rev", "rev")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":state", text("running"))
            .expression_attribute_values(":ended", text("ended"))
            .expression_attribute_values(":least", number(least))
            .send()
    };
    told.push(said(count_down("1", 1).await, |_| "updated".to_owned()));
    told.push(said(count_down("1", 1).await, |_| "updated".to_owned()));
    told.push(said(count_down("nothing", 0).await, |_| {
        "updated".to_owned()
    }));
    told.push(said(get("a", "1").await, |output| {
        shown(&output.item.unwrap_or_default())
    }));

    // --- transactions ---
    let check = |sk: &str, rev: i64| {
        let check = ConditionCheck::builder()
            .table_name(TABLE)
            .set_key(Some(key("a", sk)))
            .condition_expression("#rev = :rev")
            .expression_attribute_names("#rev", "rev")
            .expression_attribute_values(":rev", number(rev))
            .build()
            .unwrap();
        TransactWriteItem::builder().condition_check(check).build()
    };
    let create = |sk: &str| {
        let put = Put::builder()
            .table_name(TABLE)
            .set_item(Some(item("t", sk, 1)))
            .condition_expression("attribute_not_exists(#pk)")
            .expression_attribute_names("#pk", "pk")
            .build()
            .unwrap();
        TransactWriteItem::builder().put(put).build()
    };
    let raise = |sk: &str| {
        let update = Update::builder()
            .table_name(TABLE)
            .set_key(Some(key("t", sk)))
            .update_expression("SET #rev = #rev + :one")
            .condition_expression("attribute_exists(#rev)")
            .expression_attribute_names("#rev", "rev")
            .expression_attribute_values(":one", number(1))
            .build()
            .unwrap();
        TransactWriteItem::builder().update(update).build()
    };
    let remove = |sk: &str| {
        let delete = Delete::builder()
            .table_name(TABLE)
            .set_key(Some(key("t", sk)))
            .condition_expression("attribute_exists(#pk)")
            .expression_attribute_names("#pk", "pk")
            .build()
            .unwrap();
        TransactWriteItem::builder().delete(delete).build()
    };
    for (token, actions) in [
        ("one", vec![check("1", 1), create("x"), create("y")]),
        ("one", vec![check("1", 1), create("x"), create("y")]),
        ("one", vec![check("1", 1), create("z")]),
        ("two", vec![check("1", 9), create("z"), create("x")]),
        ("three", vec![raise("x"), remove("y")]),
        ("four", vec![raise("y"), remove("x")]),
        ("five", vec![create("w"), remove("w")]),
    ] {
        let outcome = client
            .transact_write_items()
            .set_transact_items(Some(actions))
            .client_request_token(token)
            .send()
            .await;
        use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
        let line = match outcome {
            Ok(_) => "transacted".to_owned(),
            Err(error) => match error.as_service_error() {
                Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                    let codes = cancelled
                        .cancellation_reasons()
                        .iter()
                        .map(|reason| reason.code());
                    format!("cancelled {:?}", codes.collect::<Vec<_>>())
                }
                _ => format!("error {}", error.code().unwrap_or("without a name")),
            },
        };
        told.push(format!("{token}: {line}"));
    }

    // --- queries ---
    for number in 0..7 {
        let bucket = if number < 5 { "1" } else { "2" };
        client
            .put_item()
            .table_name(TABLE)
            .set_item(Some(due(&format!("q{number}"), bucket, 100 - number)))
            .send()
            .await
            .unwrap();
    }
    for (condition, forward, limit) in [
        ("#pk = :pk", true, 100),
        ("#pk = :pk", false, 2),
        ("#pk = :pk AND begins_with(#sk, :low)", true, 100),
        ("#pk = :pk AND #sk BETWEEN :low AND :high", true, 100),
    ] {
        let query = client
            .query()
            .table_name(TABLE)
            .consistent_read(true)
            .scan_index_forward(forward)
            .limit(limit)
            .key_condition_expression(condition)
            .expression_attribute_names("#pk", "pk")
            .expression_attribute_values(":pk", text("tables#1"));
        let query = if condition.contains("#sk") {
            query
                .expression_attribute_names("#sk", "sk")
                .expression_attribute_values(":low", text("q3"))
        } else {
            query
        };
        let query = if condition.contains(":high") {
            query.expression_attribute_values(":high", text("q5"))
        } else {
            query
        };
        told.push(said(query.send().await, |page| {
            let next = page.last_evaluated_key.filter(|key| !key.is_empty());
            format!(
                "{} then {:?}",
                all(&page.items.unwrap_or_default()),
                next.map(|key| shown(&key))
            )
        }));
    }
    let mut from = None;
    loop {
        let page = client
            .query()
            .table_name(TABLE)
            .index_name("due")
            .limit(2)
            .key_condition_expression("#bucket = :bucket AND #due <= :until")
            .expression_attribute_names("#bucket", "due_bucket")
            .expression_attribute_names("#due", "due_at")
            .expression_attribute_values(":bucket", text("1"))
            .expression_attribute_values(":until", number(99))
            .set_exclusive_start_key(from)
            .send()
            .await
            .unwrap();
        told.push(format!("due {}", all(&page.items.unwrap_or_default())));
        from = page.last_evaluated_key.filter(|key| !key.is_empty());
        if from.is_none() {
            break;
        }
    }
    let nowhere = client
        .get_item()
        .table_name("nowhere")
        .set_key(Some(key("a", "1")))
        .send();
    told.push(said(nowhere.await, |_| "got".to_owned()));
    let no_index = client
        .query()
        .table_name(TABLE)
        .index_name("none")
        .key_condition_expression("#pk = :pk")
        .expression_attribute_names("#pk", "pk")
        .expression_attribute_values(":pk", text("a"))
        .send();
    // moto says ResourceNotFoundException where AWS and MiniStack say ValidationException.
    let no_index = said(no_index.await, |_| "queried".to_owned());
    told.push(no_index.replace("ResourceNotFoundException", "ValidationException"));

    // --- batches ---
    let writes = ["b1", "b2", "b3"].map(|sk| {
        let put = PutRequest::builder()
            .set_item(Some(item("b", sk, 1)))
            .build()
            .unwrap();
        WriteRequest::builder().put_request(put).build()
    });
    let written = client
        .batch_write_item()
        .request_items(TABLE, writes.to_vec())
        .send()
        .await;
    told.push(said(written, |output| {
        format!(
            "left {}",
            output.unprocessed_items.unwrap_or_default().len()
        )
    }));
    let delete = DeleteRequest::builder()
        .set_key(Some(key("b", "b2")))
        .build()
        .unwrap();
    let delete = WriteRequest::builder().delete_request(delete).build();
    let written = client
        .batch_write_item()
        .request_items(TABLE, vec![delete.clone()])
        .send()
        .await;
    told.push(said(written, |_| "written".to_owned()));
    let twice = client
        .batch_write_item()
        .request_items(TABLE, vec![delete.clone(), delete])
        .send();
    told.push(said(twice.await, |_| "written".to_owned()));
    let keys = ["b1", "b2", "b3"].map(|sk| key("b", sk));
    let wanted = KeysAndAttributes::builder()
        .set_keys(Some(keys.to_vec()))
        .consistent_read(true)
        .build()
        .unwrap();
    let got = client
        .batch_get_item()
        .request_items(TABLE, wanted)
        .send()
        .await;
    told.push(said(got, |output| {
        let mut items: Vec<String> = output
            .responses
            .unwrap_or_default()
            .into_values()
            .flatten()
            .map(|item| shown(&item))
            .collect();
        items.sort();
        items.join(" ")
    }));
    told
}

/// A sequence of requests to SQS, with what each came to. The queue is `tasks-1`.
async fn talk_to_sqs(client: &aws_sdk_sqs::Client, url: &str) -> Vec<String> {
    let mut told = Vec::new();
    let entry = |id: &str| {
        SendMessageBatchRequestEntry::builder()
            .id(id)
            .message_body(format!("body {id}"))
            .build()
            .unwrap()
    };
    let sent = client
        .send_message_batch()
        .queue_url(url)
        .set_entries(Some(vec![entry("0")]))
        .send()
        .await;
    told.push(said(sent, |output| {
        let ids: Vec<&str> = output
            .successful
            .iter()
            .map(|entry| entry.id.as_str())
            .collect();
        format!("sent {ids:?}, failed {}", output.failed.len())
    }));
    let too_many = (0..11).map(|id| entry(&id.to_string())).collect();
    let sent = client
        .send_message_batch()
        .queue_url(url)
        .set_entries(Some(too_many))
        .send();
    told.push(said(sent.await, |_| "sent".to_owned()));
    let receive = |visibility: i32| {
        client
            .receive_message()
            .queue_url(url)
            .max_number_of_messages(10)
            .visibility_timeout(visibility)
            .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
            .send()
    };
    let mut receipt = String::new();
    for (visibility, give_back) in [
        (60, false),
        (60, true),
        (60, true),
        (60, false),
        (60, false),
    ] {
        let received = receive(visibility)
            .await
            .unwrap()
            .messages
            .unwrap_or_default();
        for message in &received {
            let count = &message.attributes.as_ref().unwrap()
                [&MessageSystemAttributeName::ApproximateReceiveCount];
            told.push(format!(
                "received {:?}, time {count}",
                message.body.as_deref().unwrap()
            ));
            receipt = message.receipt_handle.clone().unwrap();
        }
        if received.is_empty() {
            told.push("nothing to see".to_owned());
        }
        if give_back || !received.is_empty() {
            let changed = client
                .change_message_visibility()
                .queue_url(url)
                .receipt_handle(&receipt)
                .visibility_timeout(0)
                .send();
            let line = said(changed.await, |_| "given back".to_owned());
            if !line.starts_with("error") {
                told.push(line);
            }
        }
    }
    let dead = format!("{url}-dlq");
    let waiting = client
        .get_queue_attributes()
        .queue_url(&dead)
        .attribute_names(QueueAttributeName::ApproximateNumberOfMessages)
        .send()
        .await;
    told.push(said(waiting, |output| {
        format!("dead {:?}", output.attributes)
    }));
    let nowhere = client
        .receive_message()
        .queue_url(format!("{url}-none"))
        .send()
        .await;
    told.push(said(nowhere, |_| "received".to_owned()));
    told
}

async fn of_the_simulation() -> (Vec<String>, Vec<String>) {
    let start = TimestampMs(1_760_000_000_000);
    let (ambient, _clock): (Ambient, Arc<ManualClock>) = Ambient::repeatable(1, start);
    let network = Network::direct();
    let dynamo = Dynamo::new(Arc::clone(&ambient.clock), Arc::clone(&network));
    let sqs = Sqs::new(Arc::clone(&ambient.clock), Arc::clone(&network));
    sqs.create("tasks-1", RECEIVES.parse().unwrap());
    let aws = Aws::new(&dynamo, &sqs, &network, "test");
    let client = aws.dynamodb_client(&ambient.clock);
    create_state_table(&client, TABLE, &ambient).await.unwrap();
    let url = Sqs::url_template("tasks-").replace("{bucket}", "1");
    let queues = aws.sqs_client(&ambient.clock);
    (
        talk_to_dynamodb(&client).await,
        talk_to_sqs(&queues, &url).await,
    )
}

async fn of_an_emulator(kind: EmulatorKind) -> Option<(Vec<String>, Vec<String>)> {
    let emulator = Emulator::start(kind)?;
    let config = emulator.config().await;
    let ambient = Ambient::system();
    let client = aws_sdk_dynamodb::Client::new(&config);
    create_state_table(&client, TABLE, &ambient).await.unwrap();
    let queues = aws_sdk_sqs::Client::new(&config);
    let dead = queues
        .create_queue()
        .queue_name("tasks-1-dlq")
        .send()
        .await
        .unwrap();
    let arn = queues
        .get_queue_attributes()
        .queue_url(dead.queue_url.unwrap())
        .attribute_names(QueueAttributeName::QueueArn)
        .send()
        .await
        .unwrap()
        .attributes
        .unwrap()[&QueueAttributeName::QueueArn]
        .clone();
    let policy = format!(r#"{{"deadLetterTargetArn":"{arn}","maxReceiveCount":"{RECEIVES}"}}"#);
    let queue = queues
        .create_queue()
        .queue_name("tasks-1")
        .attributes(QueueAttributeName::RedrivePolicy, policy)
        .send()
        .await
        .unwrap();
    let url = queue.queue_url.unwrap();
    let told = (
        talk_to_dynamodb(&client).await,
        talk_to_sqs(&queues, &url).await,
    );
    ambient.clock.sleep(Duration::ZERO).await;
    Some(told)
}

fn assert_same(kind: EmulatorKind, service: &str, ours: &[String], theirs: &[String]) {
    let differ: Vec<String> = ours
        .iter()
        .zip(theirs)
        .enumerate()
        .filter(|(_, (ours, theirs))| ours != theirs)
        .map(|(number, (ours, theirs))| {
            format!("answer {number}:\n  simulated {ours}\n  {kind:?} {theirs}")
        })
        .collect();
    assert!(differ.is_empty(), "{service}:\n{}", differ.join("\n"));
    assert_eq!(
        ours.len(),
        theirs.len(),
        "{service} of {kind:?}: {theirs:#?}"
    );
}

async fn compare(kind: EmulatorKind) {
    let Some((dynamodb, sqs)) = of_an_emulator(kind).await else {
        return;
    };
    let (our_dynamodb, our_sqs) = of_the_simulation().await;
    assert_same(kind, "DynamoDB", &our_dynamodb, &dynamodb);
    assert_same(kind, "SQS", &our_sqs, &sqs);
}

#[tokio::test]
async fn moto_gives_the_same_answers() {
    compare(EmulatorKind::Moto).await;
}

#[tokio::test]
async fn ministack_gives_the_same_answers() {
    compare(EmulatorKind::MiniStack).await;
}
