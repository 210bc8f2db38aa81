//! Bucket leases in DynamoDB.

use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use icepress_model::{BucketCount, BucketId, TimestampMs, WorkerId};

use super::{
    DynamoStore, Result,
    item::{Item, Key, LAYOUT, all_buckets, buckets_together, item_of},
    requests::{Stored, unreadable},
};
use crate::{
    BucketRow, Buckets, Lease, LeaseStore,
    encoding::{self, Columns, Fields as _},
    transition,
};

fn encode(row: &BucketRow) -> Result<Item> {
    let columns = Columns::default()
        .number("bucket", row.bucket.0)
        .text_if("owner", row.owner.as_ref().map(WorkerId::as_str))
        .number("epoch", encoding::signed(row.epoch.get()))
        .number("expires_at", row.expires_at.get())
        .number("last_swept_at", row.last_swept_at.get())
        .number("last_begun_at", row.last_begun_at.get());
    item_of(&Key::bucket(row.bucket), &columns)
}

impl DynamoStore {
    async fn read_bucket(&self, bucket: BucketId) -> Result<Stored<BucketRow>> {
        let stored = self
            .get_stored(&Key::bucket(bucket), |item| {
                encoding::decode_bucket(bucket, item)
            })
            .await?;
        Ok(Stored {
            row: stored
                .row
                .unwrap_or_else(|| BucketRow::never_leased(bucket)),
            rev: stored.rev,
            ttl: stored.ttl,
        })
    }
}

#[async_trait]
impl LeaseStore for DynamoStore {
    // The layout and the first buckets are one request, and mostly all that is needed.
    async fn buckets(&self, first: BucketCount) -> Result<Buckets> {
        let mut items = self.query(&buckets_together(0), "").await?;
        let layout = items
            .iter()
            .find(|item| item.text("sk").ok().flatten().as_deref() == Some(LAYOUT))
            .map(encoding::decode_layout)
            .transpose()
            .map_err(|message| unreadable(&Key::layout(), message))?;
        let count = layout.map_or(first, |layout| layout.swept());
        let others = all_buckets(count.0.get())
            .skip(1)
            .map(|pk| async move { self.query(&pk, "").await });
        items.extend(try_join_all(others).await?.into_iter().flatten());
        let mut rows: Vec<Option<BucketRow>> = count
            .all()
            .map(|bucket| Some(BucketRow::never_leased(bucket)))
            .collect();
        for item in items {
            // The key says which bucket it is, whatever else can't be read.
            let number = item.text("sk").ok().flatten();
            let number = number.and_then(|number| number.parse::<u32>().ok());
            let Some(bucket) = number.filter(|number| *number < count.0.get()) else {
                continue;
            };
            rows[bucket as usize] = match encoding::decode_bucket(BucketId(bucket), &item) {
                Ok(row) => Some(row),
                Err(message) => {
                    tracing::error!(bucket, message, "left out an unreadable bucket");
                    None
                }
            };
        }
        Ok(Buckets {
            layout,
            rows: rows.into_iter().flatten().collect(),
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
        let mut race = self.race(format!("bucket {bucket} could not be taken"));
        loop {
            let before = self.read_bucket(bucket).await?;
            let Some(after) = transition::take_lease(&before.row, owner, now, ttl, guard) else {
                return Ok(None);
            };
            if self.put(encode(&after)?, before.rev).await? {
                return Ok(Some(Lease {
                    bucket,
                    owner: owner.clone(),
                    epoch: after.epoch,
                    expires_at: after.expires_at,
                }));
            }
            race.lost().await?;
        }
    }

    async fn renew_lease(&self, lease: &Lease, now: TimestampMs, ttl: Duration) -> Result<Lease> {
        let mut race = self.race(format!("bucket {} could not be renewed", lease.bucket));
        loop {
            let before = self.read_bucket(lease.bucket).await?;
            let after = transition::renew_lease(&before.row, lease, now, ttl)?;
            if self.put(encode(&after)?, before.rev).await? {
                return Ok(Lease {
                    expires_at: after.expires_at,
                    ..lease.clone()
                });
            }
            race.lost().await?;
        }
    }

    async fn release_lease(&self, lease: &Lease, swept_at: Option<TimestampMs>) -> Result<()> {
        let mut race = self.race(format!("bucket {} could not be let go", lease.bucket));
        loop {
            let before = self.read_bucket(lease.bucket).await?;
            let Some(after) = transition::release_lease(&before.row, lease, swept_at)? else {
                return Ok(());
            };
            if self.put(encode(&after)?, before.rev).await? {
                return Ok(());
            }
            race.lost().await?;
        }
    }
}
