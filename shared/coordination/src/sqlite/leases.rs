//! Bucket leases in the state file.

use std::time::Duration;

use async_trait::async_trait;
use icepress_model::{BucketCount, BucketId, TimestampMs, WorkerId};

use super::{Result, SqliteStore};
use crate::{BucketRow, Buckets, LayoutStore as _, Lease, LeaseStore, encoding, transition};

#[async_trait]
impl LeaseStore for SqliteStore {
    async fn buckets(&self, first: BucketCount) -> Result<Buckets> {
        let layout = self.layout().await?;
        let count = layout.map_or(first, |layout| layout.swept());
        let rows = sqlx::query("SELECT * FROM bucket WHERE bucket < ?")
            .bind(count.0.get())
            .fetch_all(&self.file.readers)
            .await
            .map_err(|error| self.file.failed("buckets could not be read", error))?;
        let mut buckets: Vec<Option<BucketRow>> = count
            .all()
            .map(|bucket| Some(BucketRow::never_leased(bucket)))
            .collect();
        for row in rows {
            use sqlx::Row as _;
            let number: u32 = row
                .try_get("bucket")
                .map_err(|error| self.file.failed("buckets could not be read", error))?;
            buckets[number as usize] = match encoding::decode_bucket(BucketId(number), &row) {
                Ok(bucket) => Some(bucket),
                Err(message) => {
                    tracing::error!(bucket = number, message, "left out an unreadable bucket");
                    None
                }
            };
        }
        Ok(Buckets {
            layout,
            rows: buckets.into_iter().flatten().collect(),
        })
    }

    async fn take_lease(
        &self,
        bucket: BucketId,
        owner: &WorkerId,
        now: TimestampMs,
        ttl: Duration,
        guard: Duration,
    ) -> Result<Option<Lease>> {
        let mut transaction = self.file.begin().await?;
        let before = self
            .read_bucket(&mut transaction, bucket)
            .await?
            .unwrap_or_else(|| BucketRow::never_leased(bucket));
        let Some(after) = transition::take_lease(&before, owner, now, ttl, guard) else {
            return Ok(None);
        };
        self.write_bucket(&mut transaction, &after).await?;
        self.file.commit(transaction).await?;
        Ok(Some(Lease {
            bucket,
            owner: owner.clone(),
            epoch: after.epoch,
            expires_at: after.expires_at,
        }))
    }

    async fn renew_lease(&self, lease: &Lease, now: TimestampMs, ttl: Duration) -> Result<Lease> {
        let mut transaction = self.file.begin().await?;
        let before = self.leased(&mut transaction, lease).await?;
        let after = transition::renew_lease(&before, lease, now, ttl)?;
        self.write_bucket(&mut transaction, &after).await?;
        self.file.commit(transaction).await?;
        Ok(Lease {
            expires_at: after.expires_at,
            ..lease.clone()
        })
    }

    async fn release_lease(&self, lease: &Lease, swept_at: Option<TimestampMs>) -> Result<()> {
        let mut transaction = self.file.begin().await?;
        let before = self
            .read_bucket(&mut transaction, lease.bucket)
            .await?
            .unwrap_or_else(|| BucketRow::never_leased(lease.bucket));
        let Some(after) = transition::release_lease(&before, lease, swept_at)? else {
            return Ok(());
        };
        self.write_bucket(&mut transaction, &after).await?;
        self.file.commit(transaction).await
    }
}
