//! A queue that takes no messages for some tables, as one does whose permission or network is gone.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use icepress_coordination::{
    CoordinationError, Finding, QueueDepth, Received, TaskMessage, TaskQueue,
};
use icepress_model::{BucketId, TableId};

type Result<T> = std::result::Result<T, CoordinationError>;

/// Passes everything on, but sends nothing for the table that it is mute for.
#[derive(Debug)]
pub struct MuteQueue {
    inner: Arc<dyn TaskQueue>,
    mute_for: Mutex<Option<TableId>>,
}

impl MuteQueue {
    /// Around `inner`, and mute for nobody.
    pub fn around(inner: Arc<dyn TaskQueue>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            mute_for: Mutex::default(),
        })
    }

    /// From now on, sends that concern `table` fail whole; `None` ends it.
    pub fn mute(&self, table: Option<&TableId>) {
        *self.mute_for.lock().unwrap() = table.cloned();
    }
}

#[async_trait]
impl TaskQueue for MuteQueue {
    async fn send(&self, bucket: BucketId, messages: &[TaskMessage]) -> Result<Vec<Result<()>>> {
        let mute_for = self.mute_for.lock().unwrap().clone();
        if messages
            .iter()
            .any(|message| Some(&message.table) == mute_for.as_ref())
        {
            return Err(CoordinationError::Unavailable {
                store: "the queue".to_owned(),
                message: "it does not answer".to_owned(),
                source: None,
            });
        }
        self.inner.send(bucket, messages).await
    }

    async fn receive(
        &self,
        bucket: BucketId,
        most: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Received>> {
        self.inner.receive(bucket, most, wait, visibility).await
    }

    async fn delete(&self, received: &Received) -> Result<()> {
        self.inner.delete(received).await
    }

    async fn change_visibility(&self, received: &Received, visibility: Duration) -> Result<()> {
        self.inner.change_visibility(received, visibility).await
    }

    async fn depth(&self, bucket: BucketId) -> Result<QueueDepth> {
        self.inner.depth(bucket).await
    }

    async fn dead_letters(&self, bucket: BucketId) -> Result<u64> {
        self.inner.dead_letters(bucket).await
    }

    async fn redrive(&self, bucket: BucketId) -> Result<u64> {
        self.inner.redrive(bucket).await
    }

    async fn examine(&self, bucket: BucketId, claim: Duration) -> Vec<Finding> {
        self.inner.examine(bucket, claim).await
    }
}
