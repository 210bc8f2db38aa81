//! SQS as our adapter sees it: standard queues, each with a dead-letter queue.
//!
//! It keeps the promises of a standard queue and no others: messages come in any order, twice, or in part of a batch
//! only; an old receipt is accepted in silence and does nothing.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use icepress_model::ambient::Clock;
use serde_json::{Value, json};

use crate::{dynamo::Refusal, network::Network};

type Result<T> = std::result::Result<T, Refusal>;

/// The account in the queues' URLs and ARNs.
const ACCOUNT: &str = "123456789012";
/// Where the queues are.
const ENDPOINT: &str = "https://sqs.us-east-1.amazonaws.com";

/// How far the service strays within what it promises, as chances in a million.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueWhims {
    /// A message that was sent once arrives twice.
    pub doubled: u64,
    /// A message that was taken never arrives: its retention ran out, or a person purged the queue.
    pub vanishes: u64,
    /// One message of a batch is not taken.
    pub not_taken: u64,
    /// A message arrives late.
    pub late: u64,
    /// The longest that it is late.
    pub latest: Duration,
}

#[derive(Debug, Clone)]
struct Message {
    body: String,
    visible_from: Duration,
    receives: u32,
    receipt: Option<u64>,
}

#[derive(Debug, Default)]
struct Queue {
    messages: BTreeMap<u64, Message>,
    dead_letters: Option<String>,
    max_receives: u32,
    /// For a dead-letter queue: where each message came from.
    sources: BTreeMap<u64, String>,
}

#[derive(Debug, Default)]
struct State {
    queues: BTreeMap<String, Queue>,
    next: u64,
    whims: QueueWhims,
}

/// All queues.
pub struct Sqs {
    state: Mutex<State>,
    clock: Arc<dyn Clock>,
    network: Arc<Network>,
}

impl fmt::Debug for Sqs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sqs").finish_non_exhaustive()
    }
}

impl Sqs {
    /// A service without queues, whose own clock is `clock`.
    pub fn new(clock: Arc<dyn Clock>, network: Arc<Network>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            clock,
            network,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets how far it strays.
    pub fn set_whims(&self, whims: QueueWhims) {
        self.state().whims = whims;
    }

    /// Makes a queue with its dead-letter queue (`-dlq`), whose messages die after so many receives.
    pub fn create(&self, name: &str, max_receives: u32) {
        let mut state = self.state();
        let dead = format!("{name}-dlq");
        state.queues.insert(dead.clone(), Queue::default());
        state.queues.insert(
            name.to_owned(),
            Queue {
                dead_letters: Some(dead),
                max_receives,
                ..Queue::default()
            },
        );
    }

    /// The URL of a queue.
    pub fn url(name: &str) -> String {
        format!("{ENDPOINT}/{ACCOUNT}/{name}")
    }

    /// The template of URLs for queues named with a bucket's number after `prefix`.
    pub fn url_template(prefix: &str) -> String {
        format!("{ENDPOINT}/{ACCOUNT}/{prefix}{{bucket}}")
    }

    /// Messages in a queue, seen or not.
    pub fn count(&self, name: &str) -> usize {
        self.state()
            .queues
            .get(name)
            .map_or(0, |queue| queue.messages.len())
    }

    /// Answers a request: the operation's name and its JSON body.
    pub fn answer(&self, operation: &str, body: &Value) -> Result<Value> {
        let mut state = self.state();
        match operation {
            "SendMessageBatch" => self.send(&mut state, body),
            "ReceiveMessage" => self.receive(&mut state, body),
            "DeleteMessage" => delete(&mut state, body),
            "ChangeMessageVisibility" => self.change_visibility(&mut state, body),
            "GetQueueAttributes" => attributes(&mut state, body, self.clock.monotonic()),
            "StartMessageMoveTask" => self.redrive(&mut state, body),
            other => Err(refusal(
                "UnsupportedOperation",
                format!("{other} is not simulated"),
            )),
        }
    }

    fn send(&self, state: &mut State, body: &Value) -> Result<Value> {
        let name = queue_name(body)?;
        queue(state, &name)?;
        let entries = body["Entries"].as_array().cloned().unwrap_or_default();
        if entries.is_empty() {
            return Err(refusal(
                "EmptyBatchRequest",
                "There should be at least one entry",
            ));
        }
        if entries.len() > 10 {
            return Err(refusal(
                "TooManyEntriesInBatchRequest",
                "Maximum number of entries per request are 10",
            ));
        }
        let bytes: usize = entries
            .iter()
            .map(|entry| entry["MessageBody"].as_str().map_or(0, str::len))
            .sum();
        if bytes > 1024 * 1024 {
            return Err(refusal(
                "BatchRequestTooLong",
                "Batch requests cannot be longer than 1048576 bytes",
            ));
        }
        let (mut taken, mut failed) = (Vec::new(), Vec::new());
        for entry in entries {
            let id = entry["Id"].clone();
            if self.network.happens(state.whims.not_taken) {
                failed.push(json!({
                    "Id": id, "SenderFault": false, "Code": "InternalError", "Message": "try again",
                }));
                continue;
            }
            let text = entry["MessageBody"].as_str().unwrap_or_default().to_owned();
            let copies = if self.network.happens(state.whims.vanishes) {
                0
            } else {
                1 + u32::from(self.network.happens(state.whims.doubled))
            };
            for _ in 0..copies {
                let late = match self.network.engine() {
                    Some(engine) if engine.happens(state.whims.late) => {
                        engine.duration_up_to(state.whims.latest)
                    }
                    _ => Duration::ZERO,
                };
                let message = Message {
                    body: text.clone(),
                    visible_from: self.clock.monotonic() + late,
                    receives: 0,
                    receipt: None,
                };
                state.next += 1;
                let number = state.next;
                queue(state, &name)?.messages.insert(number, message);
            }
            taken.push(json!({ "Id": id, "MessageId": format!("m{}", state.next), "MD5OfMessageBody": "0" }));
        }
        Ok(json!({ "Successful": taken, "Failed": failed }))
    }

    fn receive(&self, state: &mut State, body: &Value) -> Result<Value> {
        let name = queue_name(body)?;
        let most = body["MaxNumberOfMessages"].as_u64().unwrap_or(1);
        if !(1..=10).contains(&most) {
            return Err(refusal(
                "InvalidParameterValue",
                "MaxNumberOfMessages must be between 1 and 10",
            ));
        }
        let visibility = body["VisibilityTimeout"].as_u64().unwrap_or(30);
        let now = self.clock.monotonic();
        let source = queue(state, &name)?;
        let mut visible: Vec<u64> = source
            .messages
            .iter()
            .filter(|(_, message)| message.visible_from <= now)
            .map(|(number, _)| *number)
            .collect();
        let (dead_letters, max_receives) = (source.dead_letters.clone(), source.max_receives);
        let mut received = Vec::new();
        while !visible.is_empty() && (received.len() as u64) < most {
            let index = self
                .network
                .engine()
                .map_or(0, |engine| engine.below(visible.len() as u64) as usize);
            let number = visible.remove(index);
            state.next += 1;
            let receipt = state.next;
            let source = queue(state, &name)?;
            let Some(message) = source.messages.get_mut(&number) else {
                continue;
            };
            message.receives += 1;
            if max_receives > 0 && message.receives > max_receives {
                let moved = source.messages.remove(&number);
                if let (Some(dead), Some(mut moved)) = (&dead_letters, moved) {
                    moved.receives = 0;
                    moved.receipt = None;
                    let dead = queue(state, dead)?;
                    dead.messages.insert(number, moved);
                    dead.sources.insert(number, name.clone());
                }
                continue;
            }
            message.visible_from = now + Duration::from_secs(visibility);
            message.receipt = Some(receipt);
            received.push(json!({
                "MessageId": format!("m{number}"),
                "ReceiptHandle": format!("{number}.{receipt}"),
                "Body": message.body,
                "MD5OfBody": "0",
                "Attributes": { "ApproximateReceiveCount": message.receives.to_string() },
            }));
        }
        Ok(if received.is_empty() {
            json!({})
        } else {
            json!({ "Messages": received })
        })
    }

    fn change_visibility(&self, state: &mut State, body: &Value) -> Result<Value> {
        let (name, number, receipt) = receipt_of(body)?;
        let seconds = body["VisibilityTimeout"].as_u64().unwrap_or(0);
        if seconds > 43_200 {
            return Err(refusal(
                "InvalidParameterValue",
                "VisibilityTimeout must be at most 43200",
            ));
        }
        let now = self.clock.monotonic();
        let message = queue(state, &name)?.messages.get_mut(&number);
        match message {
            Some(message) if message.receipt == Some(receipt) && message.visible_from > now => {
                message.visible_from = now + Duration::from_secs(seconds);
                Ok(json!({}))
            }
            Some(message) if message.receipt == Some(receipt) => Err(refusal(
                "MessageNotInflight",
                "The specified message isn't in flight",
            )),
            Some(_) => Ok(json!({})),
            None => Err(refusal(
                "InvalidParameterValue",
                "Value for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.",
            )),
        }
    }

    fn redrive(&self, state: &mut State, body: &Value) -> Result<Value> {
        let arn = body["SourceArn"].as_str().unwrap_or_default();
        let name = arn.rsplit(':').next().unwrap_or_default().to_owned();
        let now = self.clock.monotonic();
        let dead = queue(state, &name)?;
        let (messages, sources) = (
            std::mem::take(&mut dead.messages),
            std::mem::take(&mut dead.sources),
        );
        for (number, mut message) in messages {
            let Some(source) = sources.get(&number) else {
                continue;
            };
            message.visible_from = now;
            queue(state, source)?.messages.insert(number, message);
        }
        Ok(json!({ "TaskHandle": "t" }))
    }
}

fn delete(state: &mut State, body: &Value) -> Result<Value> {
    let (name, number, receipt) = receipt_of(body)?;
    let messages = &mut queue(state, &name)?.messages;
    let newest = messages
        .get(&number)
        .is_some_and(|message| message.receipt == Some(receipt));
    if newest {
        messages.remove(&number);
    }
    Ok(json!({}))
}

fn attributes(state: &mut State, body: &Value, now: Duration) -> Result<Value> {
    let name = queue_name(body)?;
    let queue = queue(state, &name)?;
    let hidden = queue
        .messages
        .values()
        .filter(|message| message.visible_from > now)
        .count();
    let mut all = json!({
        "ApproximateNumberOfMessages": (queue.messages.len() - hidden).to_string(),
        "ApproximateNumberOfMessagesNotVisible": hidden.to_string(),
        "ApproximateNumberOfMessagesDelayed": "0",
        "MessageRetentionPeriod": "345600",
        "QueueArn": format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"),
        "VisibilityTimeout": "900",
    });
    if let Some(dead) = &queue.dead_letters {
        let target = format!("arn:aws:sqs:us-east-1:{ACCOUNT}:{dead}");
        let policy =
            json!({ "deadLetterTargetArn": target, "maxReceiveCount": queue.max_receives });
        all["RedrivePolicy"] = json!(policy.to_string());
    }
    let wanted = body["AttributeNames"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    if wanted.iter().any(|wanted| wanted == "All") {
        return Ok(json!({ "Attributes": all }));
    }
    let mut found = json!({});
    for wanted in wanted {
        let wanted = wanted.as_str().unwrap_or_default().to_owned();
        let value = all.get(&wanted).cloned();
        found[&wanted] = value
            .ok_or_else(|| refusal("InvalidAttributeName", format!("{wanted} is not simulated")))?;
    }
    Ok(json!({ "Attributes": found }))
}

fn refusal(code: &'static str, message: impl Into<String>) -> Refusal {
    Refusal {
        code,
        message: message.into(),
        more: serde_json::Map::new(),
    }
}

fn queue<'a>(state: &'a mut State, name: &str) -> Result<&'a mut Queue> {
    state
        .queues
        .get_mut(name)
        .ok_or_else(|| refusal("QueueDoesNotExist", "The specified queue does not exist."))
}

fn queue_name(body: &Value) -> Result<String> {
    let url = body["QueueUrl"].as_str().unwrap_or_default();
    url.rsplit('/')
        .next()
        .map(str::to_owned)
        .ok_or_else(|| refusal("InvalidAddress", format!("{url} is no queue's URL")))
}

fn receipt_of(body: &Value) -> Result<(String, u64, u64)> {
    let text = body["ReceiptHandle"].as_str().unwrap_or_default();
    let numbers = text
        .split_once('.')
        .and_then(|(number, receipt)| Some((number.parse().ok()?, receipt.parse().ok()?)));
    let (number, receipt) = numbers.ok_or_else(|| {
        refusal(
            "ReceiptHandleIsInvalid",
            format!("The input receipt handle \"{text}\" is invalid."),
        )
    })?;
    Ok((queue_name(body)?, number, receipt))
}
