//! What runs, in DynamoDB.

use async_trait::async_trait;
use icepress_model::TimestampMs;

use super::{
    DynamoStore, Result,
    item::{Key, VERSIONS, item_of, number},
    requests::Stored,
};
use crate::{Component, CoordinationError, RunningVersion, VersionStore, encoding, versions};

#[async_trait]
impl VersionStore for DynamoStore {
    async fn note_version(
        &self,
        component: Component,
        version: &str,
        now: TimestampMs,
    ) -> Result<()> {
        let key = Key::version(component, version);
        let before = match self.get_stored(&key, encoding::decode_version).await {
            Ok(before) => before,
            // It goes by itself, and is told of where it is read.
            Err(CoordinationError::UnreadableRow { .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let Stored { row, rev, .. } = before;
        let Some(noted) = versions::noted(row.as_ref(), component, version, now) else {
            return Ok(());
        };
        let mut item = item_of(&key, &encoding::encode_version(&noted))?;
        let ttl = noted.last_at + self.retention;
        item.insert("ttl".to_owned(), number(ttl.get() / 1_000));
        // Where somebody else's write came first, that one says it.
        self.put(item, rev).await?;
        Ok(())
    }

    async fn versions(&self, now: TimestampMs) -> Result<Vec<RunningVersion>> {
        let mut all = Vec::new();
        for item in self.query(VERSIONS, "").await? {
            match encoding::decode_version(&item) {
                Ok(row) => all.push(row),
                Err(error) => tracing::error!(%error, "left out an unreadable note of a version"),
            }
        }
        Ok(versions::newest_first(all, now, self.retention))
    }
}
