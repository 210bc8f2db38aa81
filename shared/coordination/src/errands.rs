//! The port for errands: what a tick hands to further runs of the scheduler. At least once, in no order, and none of them
//! is needed: what is lost, a later tick hands out anew.

use std::fmt::Debug;

use async_trait::async_trait;
use aws_sdk_sqs::{
    Client,
    types::{QueueAttributeName, SendMessageBatchRequestEntry},
};
use icepress_model::{BucketId, DatabaseId, Epoch};
use serde::{Deserialize, Serialize};

use crate::{CoordinationError, sqs};

type Result<T> = std::result::Result<T, CoordinationError>;

/// A piece of a tick.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Errand {
    /// Look after a bucket.
    Bucket {
        /// Which.
        bucket: BucketId,
        /// Its epoch when it was handed out: whoever finds a later one knows that somebody has been there since.
        epoch: Epoch,
        /// Of its databases, those to be listed.
        databases: Vec<DatabaseId>,
    },
    /// List a database that is too long for its bucket's turn, from where the last one got.
    Listing {
        /// Which.
        database: DatabaseId,
    },
}

impl Errand {
    /// The message as it stands in a queue: JSON.
    pub fn to_body(&self) -> String {
        serde_json::to_string(self).expect("ids and numbers always have a JSON form")
    }

    /// Reads what [`Errand::to_body`] wrote.
    pub fn from_body(body: &str) -> Result<Self> {
        serde_json::from_str(body).map_err(|error| CoordinationError::UnreadableRow {
            row: format!("message {body:.200}"),
            message: format!("it is no errand: {error}"),
        })
    }
}

/// Where errands are left for others.
#[async_trait]
pub trait Errands: Send + Sync + Debug {
    /// How many wait or are being done, as far as can be told.
    async fn waiting(&self) -> Result<u64>;

    /// Leaves errands for others. Returns how many were taken.
    async fn leave(&self, errands: &[Errand]) -> Result<u64>;
}

/// The queue of errands on SQS, which wakes the scheduler function.
#[derive(Debug, Clone)]
pub struct SqsErrands {
    client: Client,
    url: String,
}

impl SqsErrands {
    /// The queue of that URL.
    pub fn new(client: Client, url: impl Into<String>) -> Self {
        Self {
            client,
            url: url.into(),
        }
    }
}

#[async_trait]
impl Errands for SqsErrands {
    async fn waiting(&self) -> Result<u64> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let output = self
            .client
            .get_queue_attributes()
            .queue_url(&self.url)
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await
            .map_err(|error| sqs::failed(&self.url, "the queue could not be asked", error))?;
        let attributes = output.attributes.unwrap_or_default();
        let numbers = names.iter().filter_map(|name| attributes.get(name));
        Ok(numbers
            .filter_map(|number| number.parse::<u64>().ok())
            .sum())
    }

    async fn leave(&self, errands: &[Errand]) -> Result<u64> {
        let bodies: Vec<(usize, String)> =
            errands.iter().map(Errand::to_body).enumerate().collect();
        let mut taken = 0;
        for batch in sqs::batches(&bodies) {
            let entries = batch.iter().map(|(index, body)| {
                SendMessageBatchRequestEntry::builder()
                    .id(index.to_string())
                    .message_body(body)
                    .build()
                    .expect("id and body are set")
            });
            let output = self
                .client
                .send_message_batch()
                .queue_url(&self.url)
                .set_entries(Some(entries.collect()))
                .send()
                .await
                .map_err(|error| sqs::failed(&self.url, "errands could not be left", error))?;
            taken += output.successful.len() as u64;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use icepress_model::{CatalogName, Namespace};

    use super::*;

    #[test]
    fn an_errand_is_read_as_it_was_written_and_other_text_is_refused() {
        let database = DatabaseId {
            catalog: CatalogName::from("lake"),
            namespace: Namespace(vec!["a.b".to_owned(), "c".to_owned()]),
        };
        let errands = [
            Errand::Bucket {
                bucket: BucketId(7),
                epoch: Epoch(3),
                databases: vec![database.clone()],
            },
            Errand::Listing { database },
        ];
        for errand in errands {
            assert_eq!(Errand::from_body(&errand.to_body()).unwrap(), errand);
        }
        assert!(Errand::from_body(r#"{"source":"aws.scheduler"}"#).is_err());
    }
}
