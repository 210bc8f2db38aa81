//! The task queues on SQS: one standard queue for each bucket, each with a dead-letter queue named after it.
//!
//! The message group is the table. On a standard queue that makes SQS share fairly: a table with many messages at work
//! waits behind the others of its bucket. How often a message is received before it dies is the queue's redrive
//! policy, which `infra/` sets.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
    types::{
        Message, MessageSystemAttributeName, QueueAttributeName, SendMessageBatchRequestEntry,
    },
};
use icepress_model::{BucketId, TableId};
use xxhash_rust::xxh3::xxh3_128;

use crate::{CoordinationError, Finding, QueueDepth, Received, TaskMessage, TaskQueue, key, queue};

type Result<T> = std::result::Result<T, CoordinationError>;

/// What stands for the bucket's number in the template of queue URLs.
const BUCKET: &str = "{bucket}";
/// What a dead-letter queue's name adds to its queue's.
const DEAD_LETTERS: &str = "-dlq";
/// The most messages of one request, either way.
const BATCH: usize = 10;
/// The most bytes of one request's messages together.
const BATCH_BYTES: usize = 256 * 1024;
/// The most characters of a message group.
const GROUP_LENGTH: usize = 128;
/// How often a message is sent that SQS failed to take through no fault of ours.
const SEND_TRIES: u32 = 3;
/// The longest that one request waits for a message.
const LONGEST_POLL: Duration = Duration::from_secs(20);
/// The longest that a message stays invisible.
const LONGEST_VISIBILITY: Duration = Duration::from_secs(12 * 60 * 60);

/// The queues of all buckets.
#[derive(Debug, Clone)]
pub struct SqsQueue {
    client: Client,
    url_template: String,
    /// Whether one queue is that of every bucket.
    is_one: bool,
}

impl SqsQueue {
    /// The queues whose URLs are the template with a bucket's number for `{bucket}`, such as
    /// `https://sqs.eu-west-1.amazonaws.com/123456789012/icepress-tasks-{bucket}`.
    pub fn new(client: Client, url_template: impl Into<String>) -> Self {
        Self {
            client,
            url_template: url_template.into(),
            is_one: false,
        }
    }

    /// One queue, of this URL, that serves all buckets.
    pub fn one_for_all(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url_template: url.into(),
            is_one: true,
        }
    }

    fn url(&self, bucket: BucketId) -> Result<String> {
        if self.is_one {
            return Ok(self.url_template.clone());
        }
        if !self.url_template.contains(BUCKET) {
            return Err(configuration(format!(
                "the template of queue URLs '{}' must contain {BUCKET}, as in …/icepress-tasks-{BUCKET}",
                self.url_template
            )));
        }
        Ok(self.url_template.replace(BUCKET, &bucket.to_string()))
    }

    fn dead_letter_url(&self, bucket: BucketId) -> Result<String> {
        Ok(self.url(bucket)? + DEAD_LETTERS)
    }

    /// Sends one batch; the messages that SQS refused or failed to take, with why.
    async fn send_batch(
        &self,
        url: &str,
        entries: Vec<SendMessageBatchRequestEntry>,
    ) -> Result<Vec<(usize, bool, String)>> {
        let output = self
            .client
            .send_message_batch()
            .queue_url(url)
            .set_entries(Some(entries))
            .send()
            .await
            .map_err(|error| failed(url, "messages could not be sent", error))?;
        let failed = output.failed.into_iter().filter_map(|entry| {
            let why = format!("{} {}", entry.code, entry.message.unwrap_or_default());
            Some((entry.id.parse().ok()?, entry.sender_fault, why))
        });
        Ok(failed.collect())
    }

    /// Everything that SQS tells of a bucket's queue.
    async fn attributes(&self, bucket: BucketId) -> Result<Attributes> {
        let url = self.url(bucket)?;
        let output = self
            .client
            .get_queue_attributes()
            .queue_url(&url)
            .attribute_names(QueueAttributeName::All)
            .send()
            .await
            .map_err(|error| failed(&url, "the queue could not be asked", error))?;
        Ok(Attributes(output.attributes.unwrap_or_default()))
    }

    async fn attribute(&self, url: &str, name: QueueAttributeName) -> Result<Option<String>> {
        let output = self
            .client
            .get_queue_attributes()
            .queue_url(url)
            .attribute_names(name.clone())
            .send()
            .await
            .map_err(|error| failed(url, "the queue could not be asked", error))?;
        let attributes = output.attributes.unwrap_or_default();
        Ok(attributes.get(&name).cloned())
    }
}

/// What SQS tells of a queue.
struct Attributes(HashMap<QueueAttributeName, String>);

impl Attributes {
    fn number(&self, name: QueueAttributeName) -> Option<u64> {
        self.0.get(&name)?.parse().ok()
    }

    /// Messages that were not deleted yet, dead ones apart.
    fn messages(&self) -> u64 {
        [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ]
        .into_iter()
        .filter_map(|name| self.number(name))
        .sum()
    }

    fn seconds(&self, name: QueueAttributeName) -> Option<Duration> {
        self.number(name).map(Duration::from_secs)
    }

    /// After how many receives a message dies; `None` where it never does.
    fn receives(&self) -> Option<u32> {
        let policy = self.0.get(&QueueAttributeName::RedrivePolicy)?;
        let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
        let receives = &policy["maxReceiveCount"];
        // AWS takes a number or a text, and gives back what it took.
        let number = receives
            .as_u64()
            .or_else(|| receives.as_str()?.parse().ok())?;
        u32::try_from(number).ok()
    }
}

fn configuration(message: String) -> CoordinationError {
    CoordinationError::Configuration {
        store: "SQS".to_owned(),
        message,
    }
}

pub(crate) fn failed<E, R>(url: &str, what: &str, error: SdkError<E, R>) -> CoordinationError
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    let code = error.code().unwrap_or_default();
    let said = error.message().unwrap_or_default();
    if code.contains("QueueDoesNotExist") || code.contains("NonExistentQueue") {
        return configuration(format!(
            "there is no queue {url}: apply infra/, or correct the template of queue URLs"
        ));
    }
    if code.contains("AccessDenied") {
        return configuration(format!(
            "no permission for queue {url} ({said}): see the policies in infra/"
        ));
    }
    let refused = [
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "InvalidSecurity",
        "ExpiredToken",
        "SignatureDoesNotMatch",
    ];
    if refused.iter().any(|refused| code.contains(refused)) {
        return configuration(format!(
            "the credentials are not accepted ({said}): renew them"
        ));
    }
    CoordinationError::Unavailable {
        store: "SQS".to_owned(),
        message: format!("{what} ({url}): {}", DisplayErrorContext(&error)),
        source: Some(Box::new(error)),
    }
}

/// Whether SQS says that a receipt is not the newest any more, or its message gone. AWS keeps silent about most of
/// these; others don't.
fn is_stale<E: ProvideErrorMetadata, R>(error: &SdkError<E, R>) -> bool {
    let code = error.code().unwrap_or_default();
    let about_receipt = error.message().is_some_and(|message| {
        message.contains("ReceiptHandle") || message.contains("receipt handle")
    });
    code.contains("ReceiptHandleIsInvalid")
        || code.contains("MessageNotInflight")
        || (code.contains("InvalidParameterValue") && about_receipt)
}

/// The message group of a table: its name where SQS can take it, else a hash of it.
fn message_group(table: &TableId) -> String {
    let name = key::of_table(table);
    let fits = name.len() <= GROUP_LENGTH && name.chars().all(|letter| letter.is_ascii_graphic());
    if fits {
        return name;
    }
    format!("{:032x}", xxh3_128(name.as_bytes()))
}

fn whole_seconds(duration: Duration, most: Duration) -> i32 {
    let capped = duration.min(most);
    let seconds = capped.as_secs() + u64::from(capped.subsec_nanos() > 0);
    i32::try_from(seconds).unwrap_or(i32::MAX)
}

/// Splits what is to be sent into requests that SQS takes: by number and by bytes.
pub(crate) fn batches(bodies: &[(usize, String)]) -> Vec<&[(usize, String)]> {
    let mut batches = Vec::new();
    let mut rest = bodies;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take(BATCH).take_while(|(_, body)| {
            bytes += body.len();
            bytes <= BATCH_BYTES
        });
        // One that is too large by itself is SQS's to refuse.
        let (batch, others) = rest.split_at(fits.count().max(1));
        batches.push(batch);
        rest = others;
    }
    batches
}

fn received(bucket: BucketId, message: Message) -> Option<Received> {
    let counted = message
        .attributes
        .as_ref()
        .and_then(|attributes| attributes.get(&MessageSystemAttributeName::ApproximateReceiveCount))
        .and_then(|count| count.parse().ok());
    match TaskMessage::from_body(message.body.as_deref().unwrap_or_default()) {
        Ok(task) => Some(Received {
            message: task,
            bucket,
            receipt: message.receipt_handle.unwrap_or_default(),
            receive_count: counted.unwrap_or(1),
        }),
        // It comes again, and ends among the dead letters.
        Err(error) => {
            tracing::error!(%bucket, %error, "skipped an unreadable message");
            None
        }
    }
}

#[async_trait]
impl TaskQueue for SqsQueue {
    /// By its ARN or its URL.
    fn bucket_of(&self, queue: &str) -> Option<BucketId> {
        let name = queue.rsplit([':', '/']).next()?;
        let (_, template) = self.url_template.rsplit_once('/')?;
        if self.is_one {
            return (name == template).then_some(BucketId(0));
        }
        let (before, after) = template.split_once(BUCKET)?;
        let number = name.strip_prefix(before)?.strip_suffix(after)?;
        // Not every number that parses is one that a URL was made of.
        let bucket = BucketId(number.parse().ok()?);
        (bucket.to_string() == number).then_some(bucket)
    }

    async fn send(&self, bucket: BucketId, messages: &[TaskMessage]) -> Result<Vec<Result<()>>> {
        let url = self.url(bucket)?;
        let mut results: Vec<Result<()>> = messages.iter().map(|_| Ok(())).collect();
        let mut left: Vec<(usize, String)> = messages
            .iter()
            .map(TaskMessage::to_body)
            .enumerate()
            .collect();
        for attempt in 1..=SEND_TRIES {
            let mut again = Vec::new();
            for batch in batches(&left) {
                let entries = batch.iter().map(|(index, body)| {
                    SendMessageBatchRequestEntry::builder()
                        .id(index.to_string())
                        .message_body(body)
                        .message_group_id(message_group(&messages[*index].table))
                        .build()
                        .expect("id and body are set")
                });
                for (index, our_fault, why) in self.send_batch(&url, entries.collect()).await? {
                    if !our_fault && attempt < SEND_TRIES {
                        again.extend(batch.iter().find(|(sent, _)| *sent == index).cloned());
                        continue;
                    }
                    if let Some(result) = results.get_mut(index) {
                        *result = Err(CoordinationError::Unavailable {
                            store: "SQS".to_owned(),
                            message: format!("a message was not taken by {url}: {why}"),
                            source: None,
                        });
                    }
                }
            }
            left = again;
        }
        Ok(results)
    }

    async fn receive(
        &self,
        bucket: BucketId,
        most: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Received>> {
        let url = self.url(bucket)?;
        let mut taken = Vec::new();
        let mut wait = wait;
        while taken.len() < most {
            let poll = if taken.is_empty() {
                wait.min(LONGEST_POLL)
            } else {
                Duration::ZERO
            };
            wait = wait.saturating_sub(poll);
            let wanted = (most - taken.len()).min(BATCH);
            let output = self
                .client
                .receive_message()
                .queue_url(&url)
                .max_number_of_messages(i32::try_from(wanted).unwrap_or(1))
                .wait_time_seconds(whole_seconds(poll, LONGEST_POLL))
                .visibility_timeout(whole_seconds(visibility, LONGEST_VISIBILITY))
                .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
                .send()
                .await
                .map_err(|error| failed(&url, "messages could not be received", error))?;
            let messages = output.messages.unwrap_or_default();
            let empty = messages.is_empty();
            taken.extend(
                messages
                    .into_iter()
                    .filter_map(|message| received(bucket, message)),
            );
            if empty && (!taken.is_empty() || wait.is_zero()) {
                break;
            }
        }
        Ok(taken)
    }

    async fn delete(&self, received: &Received) -> Result<()> {
        let url = self.url(received.bucket)?;
        let outcome = self
            .client
            .delete_message()
            .queue_url(&url)
            .receipt_handle(&received.receipt)
            .send()
            .await;
        match outcome {
            Err(error) if !is_stale(&error) => {
                Err(failed(&url, "a message could not be deleted", error))
            }
            _ => Ok(()),
        }
    }

    async fn change_visibility(&self, received: &Received, visibility: Duration) -> Result<()> {
        let url = self.url(received.bucket)?;
        let outcome = self
            .client
            .change_message_visibility()
            .queue_url(&url)
            .receipt_handle(&received.receipt)
            .visibility_timeout(whole_seconds(visibility, LONGEST_VISIBILITY))
            .send()
            .await;
        match outcome {
            Err(error) if !is_stale(&error) => Err(failed(
                &url,
                "a message's visibility stayed as it was",
                error,
            )),
            _ => Ok(()),
        }
    }

    async fn depth(&self, bucket: BucketId) -> Result<QueueDepth> {
        let attributes = self.attributes(bucket).await?;
        let messages = attributes.messages();
        let visibility = attributes.seconds(QueueAttributeName::VisibilityTimeout);
        Ok(QueueDepth {
            messages,
            dead: match messages {
                0 => 0,
                _ => self.dead_letters(bucket).await?,
            },
            retention: attributes.seconds(QueueAttributeName::MessageRetentionPeriod),
            dies_after: visibility
                .zip(attributes.receives())
                .map(|(visibility, receives)| visibility.saturating_mul(receives)),
        })
    }

    async fn dead_letters(&self, bucket: BucketId) -> Result<u64> {
        let url = self.dead_letter_url(bucket)?;
        let count = self
            .attribute(&url, QueueAttributeName::ApproximateNumberOfMessages)
            .await?;
        Ok(count.and_then(|count| count.parse().ok()).unwrap_or(0))
    }

    async fn redrive(&self, bucket: BucketId) -> Result<u64> {
        let waiting = self.dead_letters(bucket).await?;
        if waiting == 0 {
            return Ok(0);
        }
        let url = self.dead_letter_url(bucket)?;
        let arn = self
            .attribute(&url, QueueAttributeName::QueueArn)
            .await?
            .ok_or_else(|| configuration(format!("queue {url} does not tell its ARN")))?;
        // Without a destination each message goes back to the queue that it came from.
        self.client
            .start_message_move_task()
            .source_arn(arn)
            .send()
            .await
            .map_err(|error| failed(&url, "dead letters could not be moved", error))?;
        Ok(waiting)
    }

    async fn examine(&self, bucket: BucketId, claim: Duration) -> Vec<Finding> {
        let subject = queue::subject(bucket);
        let attributes = match self.attributes(bucket).await {
            Ok(attributes) => attributes,
            Err(error) => {
                let advice = "apply infra/, or ask with a role that may use the queues";
                return vec![Finding::wrong(subject, error.to_string(), advice)];
            }
        };
        let messages = attributes.messages();
        let mut findings = vec![Finding::well(&subject, queue::lies_in_it(messages))];
        if attributes.receives().is_none() {
            findings.push(Finding::wrong(
                &subject,
                "has no redrive policy: a message that always fails is tried for ever",
                "apply infra/ of this version",
            ));
        }
        let visibility = attributes.seconds(QueueAttributeName::VisibilityTimeout);
        if let Some(visibility) = visibility.filter(|visibility| *visibility < claim) {
            findings.push(Finding::doubt(
                &subject,
                format!(
                    "shows a message again after {} s, before a worker's claim of {} s ends",
                    visibility.as_secs(),
                    claim.as_secs()
                ),
                "apply infra/ of this version",
            ));
        }
        let dead = self.dead_letters(bucket).await;
        findings.extend(queue::finding_of_dead(&subject, dead));
        findings
    }
}

#[cfg(test)]
mod tests;
