//! Digests in the state file.

use async_trait::async_trait;
use icepress_model::{DatabaseId, Epoch, Generation};

use super::{Result, SqliteStore};
use crate::{BucketRow, CensusRecord, Digest, DigestStore, Lease, encoding, key, transition};

/// Notes stand beside digests, under keys that no database has: a catalog's name is never empty.
fn key_of(database: &DatabaseId, record: CensusRecord) -> String {
    let database = key::of_database(database);
    match record {
        CensusRecord::Digest => database,
        CensusRecord::Note(_) => format!("/{}/{database}", record.kind()),
    }
}

#[async_trait]
impl DigestStore for SqliteStore {
    async fn census_record(&self, database: &DatabaseId, record: CensusRecord) -> Result<Digest> {
        let digest: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT digest FROM digest WHERE database = ?")
                .bind(key_of(database, record))
                .fetch_optional(&self.file.readers)
                .await
                .map_err(|error| self.file.failed("a digest could not be read", error))?;
        Ok(Digest(digest.unwrap_or_default()))
    }

    async fn put_census_record(
        &self,
        lease: &Lease,
        layout: Generation,
        database: &DatabaseId,
        record: CensusRecord,
        content: &Digest,
    ) -> Result<()> {
        let key = &key_of(database, record);
        let mut transaction = self.file.begin().await?;
        let bucket = self.read_bucket(&mut transaction, lease.bucket).await?;
        let bucket = bucket.unwrap_or_else(|| BucketRow::never_leased(lease.bucket));
        let stands = self.read_layout(&mut transaction).await?;
        let written: Option<(i64, i64)> =
            sqlx::query_as("SELECT layout, epoch FROM digest WHERE database = ?")
                .bind(key)
                .fetch_optional(&mut *transaction)
                .await
                .map_err(|error| self.file.failed("a digest could not be read", error))?;
        let number = |stored| u64::try_from(stored).unwrap_or(0);
        let written =
            written.map(|(layout, epoch)| (Generation(number(layout)), Epoch(number(epoch))));
        transition::check_digest(&bucket, lease, layout, stands.as_ref(), written)?;
        sqlx::query(
            "INSERT OR REPLACE INTO digest (database, layout, epoch, digest) VALUES (?, ?, ?, ?)",
        )
        .bind(key)
        .bind(encoding::signed(layout.get()))
        .bind(encoding::signed(lease.epoch.get()))
        .bind(&content.0)
        .execute(&mut *transaction)
        .await
        .map_err(|error| self.file.failed("a digest could not be written", error))?;
        self.file.commit(transaction).await
    }
}
