//! Digests in the state file.

use async_trait::async_trait;
use icepress_model::{DatabaseId, Epoch, Generation};

use super::{Result, SqliteStore};
use crate::{BucketRow, CensusNote, Digest, DigestStore, Lease, encoding, key, transition};

/// Notes stand beside digests, under keys that no database has: a catalog's name is never empty.
fn key_of_note(database: &DatabaseId, note: CensusNote) -> String {
    let kind = match note {
        CensusNote::Listing => "listing",
        CensusNote::Tags => "tags",
        CensusNote::Begun => "begun",
    };
    format!("/{kind}/{}", key::of_database(database))
}

impl SqliteStore {
    async fn read_digest(&self, key: &str) -> Result<Digest> {
        let digest: Option<Vec<u8>> =
            sqlx::query_scalar("SELECT digest FROM digest WHERE database = ?")
                .bind(key)
                .fetch_optional(&self.file.readers)
                .await
                .map_err(|error| self.file.failed("a digest could not be read", error))?;
        Ok(Digest(digest.unwrap_or_default()))
    }

    async fn write_digest(
        &self,
        lease: &Lease,
        layout: Generation,
        key: &str,
        digest: &Digest,
    ) -> Result<()> {
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
        .bind(&digest.0)
        .execute(&mut *transaction)
        .await
        .map_err(|error| self.file.failed("a digest could not be written", error))?;
        self.file.commit(transaction).await
    }
}

#[async_trait]
impl DigestStore for SqliteStore {
    async fn digest(&self, database: &DatabaseId) -> Result<Digest> {
        self.read_digest(&key::of_database(database)).await
    }

    async fn put_digest(
        &self,
        lease: &Lease,
        layout: Generation,
        database: &DatabaseId,
        digest: &Digest,
    ) -> Result<()> {
        let key = key::of_database(database);
        self.write_digest(lease, layout, &key, digest).await
    }

    async fn census_note(&self, database: &DatabaseId, note: CensusNote) -> Result<Digest> {
        self.read_digest(&key_of_note(database, note)).await
    }

    async fn put_census_note(
        &self,
        lease: &Lease,
        layout: Generation,
        database: &DatabaseId,
        note: CensusNote,
        content: &Digest,
    ) -> Result<()> {
        let key = key_of_note(database, note);
        self.write_digest(lease, layout, &key, content).await
    }
}
