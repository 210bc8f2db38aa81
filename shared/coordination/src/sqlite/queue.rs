//! The task queues in the SQLite file.

use std::time::Duration;

use async_trait::async_trait;
use icepress_model::{BucketId, TimestampMs};
use sqlx::Row;

use super::{Result, SqliteFile};
use crate::{Finding, QueueDepth, Received, TaskMessage, TaskQueue, key, queue};

/// The queues of all buckets, in the state file.
#[derive(Debug, Clone)]
pub struct SqliteQueue {
    file: SqliteFile,
}

/// Of the messages that can be seen, the next ones: the tables take turns, and one that has many messages at work
/// comes after one that has few.
const NEXT_MESSAGES: &str = "
    WITH busy AS (
        SELECT message_group, count(*) AS at_work FROM message
        WHERE bucket = ?1 AND dead = 0 AND visible_at > ?2 AND receive_count > 0
        GROUP BY message_group
    ), turns AS (
        SELECT m.id, m.body, m.receive_count,
               row_number() OVER (PARTITION BY m.message_group ORDER BY m.id)
                   + coalesce(busy.at_work, 0) AS turn
        FROM message m LEFT JOIN busy ON busy.message_group = m.message_group
        WHERE m.bucket = ?1 AND m.dead = 0 AND m.visible_at <= ?2
    )
    SELECT id, body, receive_count FROM turns ORDER BY turn, id LIMIT ?3";

impl SqliteQueue {
    pub(super) fn new(file: SqliteFile) -> Self {
        Self { file }
    }

    async fn count(&self, bucket: BucketId, are_dead: bool) -> Result<u64> {
        let count: i64 =
            sqlx::query_scalar("SELECT count(*) FROM message WHERE bucket = ? AND dead = ?")
                .bind(bucket.0)
                .bind(are_dead)
                .fetch_one(&self.file.readers)
                .await
                .map_err(|error| self.file.failed("messages could not be counted", error))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    /// Lets messages die that were received too often and seen to no end.
    async fn bury(&self, bucket: BucketId, now: TimestampMs) -> Result<()> {
        let mut transaction = self.file.begin().await?;
        sqlx::query(
            "UPDATE message SET dead = 1, receipt = NULL
             WHERE bucket = ? AND dead = 0 AND visible_at <= ? AND receive_count >= ?",
        )
        .bind(bucket.0)
        .bind(now.get())
        .bind(self.file.options.max_receives)
        .execute(&mut *transaction)
        .await
        .map_err(|error| self.file.failed("no message could be taken", error))?;
        self.file.commit(transaction).await
    }

    /// Whether anything can be seen: a read, so that idle workers don't fight over the write lock.
    async fn anything_visible(&self, bucket: BucketId, now: TimestampMs) -> Result<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM message WHERE bucket = ? AND dead = 0 AND visible_at <= ?)",
        )
        .bind(bucket.0)
        .bind(now.get())
        .fetch_one(&self.file.readers)
        .await
        .map_err(|error| self.file.failed("the queue could not be read", error))
    }

    async fn take(
        &self,
        bucket: BucketId,
        most: usize,
        visibility: Duration,
    ) -> Result<Vec<Received>> {
        let now = self.file.ambient.now();
        if !self.anything_visible(bucket, now).await? {
            return Ok(Vec::new());
        }
        self.bury(bucket, now).await?;
        let failed = |error| self.file.failed("no message could be taken", error);
        let mut transaction = self.file.begin().await?;
        let rows = sqlx::query(NEXT_MESSAGES)
            .bind(bucket.0)
            .bind(now.get())
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(&mut *transaction)
            .await
            .map_err(failed)?;
        let mut received = Vec::with_capacity(rows.len());
        for row in rows {
            let id: i64 = row.try_get("id").map_err(failed)?;
            let body: String = row.try_get("body").map_err(failed)?;
            let receive_count: u32 = row.try_get("receive_count").map_err(failed)?;
            let receipt = self.file.ambient.uuid().simple().to_string();
            sqlx::query(
                "UPDATE message SET visible_at = ?, receive_count = receive_count + 1, receipt = ?
                 WHERE id = ?",
            )
            .bind((now + visibility).get())
            .bind(&receipt)
            .bind(id)
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
            match TaskMessage::from_body(&body) {
                Ok(message) => received.push(Received {
                    message,
                    bucket,
                    receipt,
                    receive_count: receive_count + 1,
                }),
                // It comes again, and ends among the dead letters.
                Err(error) => tracing::error!(%bucket, %error, "skipped an unreadable message"),
            }
        }
        self.file.commit(transaction).await?;
        Ok(received)
    }
}

#[async_trait]
impl TaskQueue for SqliteQueue {
    async fn send(&self, bucket: BucketId, messages: &[TaskMessage]) -> Result<Vec<Result<()>>> {
        let now = self.file.ambient.now();
        let mut transaction = self.file.begin().await?;
        for message in messages {
            sqlx::query(
                "INSERT INTO message (bucket, message_group, body, visible_at, receive_count)
                 VALUES (?, ?, ?, ?, 0)",
            )
            .bind(bucket.0)
            .bind(key::of_table(&message.table))
            .bind(message.to_body())
            .bind(now.get())
            .execute(&mut *transaction)
            .await
            .map_err(|error| self.file.failed("no message could be sent", error))?;
        }
        self.file.commit(transaction).await?;
        Ok(messages.iter().map(|_| Ok(())).collect())
    }

    async fn receive(
        &self,
        bucket: BucketId,
        most: usize,
        wait: Duration,
        visibility: Duration,
    ) -> Result<Vec<Received>> {
        let clock = &self.file.ambient.clock;
        let until = clock.monotonic() + wait;
        loop {
            let received = self.take(bucket, most, visibility).await?;
            let left = until.saturating_sub(clock.monotonic());
            if !received.is_empty() || left.is_zero() {
                return Ok(received);
            }
            clock.sleep(left.min(self.file.options.poll_interval)).await;
        }
    }

    async fn delete(&self, received: &Received) -> Result<()> {
        sqlx::query("DELETE FROM message WHERE receipt = ?")
            .bind(&received.receipt)
            .execute(&self.file.writer)
            .await
            .map_err(|error| self.file.failed("a message could not be deleted", error))?;
        Ok(())
    }

    async fn change_visibility(&self, received: &Received, visibility: Duration) -> Result<()> {
        let visible_at = self.file.ambient.now() + visibility;
        sqlx::query("UPDATE message SET visible_at = ? WHERE receipt = ?")
            .bind(visible_at.get())
            .bind(&received.receipt)
            .execute(&self.file.writer)
            .await
            .map_err(|error| self.file.failed("a message could not be changed", error))?;
        Ok(())
    }

    async fn depth(&self, bucket: BucketId) -> Result<QueueDepth> {
        Ok(QueueDepth {
            messages: self.count(bucket, false).await?,
            dead: self.count(bucket, true).await?,
            retention: None,
            dies_after: None,
        })
    }

    async fn dead_letters(&self, bucket: BucketId) -> Result<u64> {
        self.count(bucket, true).await
    }

    async fn redrive(&self, bucket: BucketId) -> Result<u64> {
        let moved = sqlx::query(
            "UPDATE message SET dead = 0, receive_count = 0, receipt = NULL, visible_at = ?
             WHERE bucket = ? AND dead = 1",
        )
        .bind(self.file.ambient.now().get())
        .bind(bucket.0)
        .execute(&self.file.writer)
        .await
        .map_err(|error| self.file.failed("dead letters could not be moved", error))?;
        Ok(moved.rows_affected())
    }

    async fn examine(&self, bucket: BucketId, _claim: Duration) -> Vec<Finding> {
        let subject = queue::subject(bucket);
        let waiting = match self.count(bucket, false).await {
            Ok(waiting) => Finding::well(&subject, queue::lies_in_it(waiting)),
            Err(error) => Finding::wrong(&subject, error.to_string(), "check the state file"),
        };
        let dead = queue::finding_of_dead(&subject, self.dead_letters(bucket).await);
        std::iter::once(waiting).chain(dead).collect()
    }
}
