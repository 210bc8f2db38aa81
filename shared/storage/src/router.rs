//! One storage for all locations that its owner allows: each goes to the adapter that its scheme names, and those out of
//! its [`Reach`] go nowhere.

use std::{collections::BTreeMap, ops::Range};

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use icepress_model::{Bytes, ambient::Ambient};
use tokio::sync::OnceCell;

use crate::{
    AwsEnvironment, DeleteOutcome, ListPage, LocalStorage, ObjectInfo, ObjectWriter, PutMode,
    Reach, S3Options, S3Storage, Storage, StorageError, WriteOptions, location::Location,
    s3::LEAST_PART,
};

/// Local files, and S3 once a location of S3 is asked for; both as far as it may reach.
#[derive(Debug)]
pub struct StorageRouter {
    reach: Reach,
    may_delete: bool,
    local: LocalStorage,
    aws: AwsEnvironment,
    s3_options: S3Options,
    ambient: Ambient,
    s3: OnceCell<S3Storage>,
}

impl StorageRouter {
    /// Storage of what lies within `reach`, S3 with `s3_options` and the credentials of `aws`.
    pub fn new(aws: AwsEnvironment, s3_options: S3Options, reach: Reach, ambient: Ambient) -> Self {
        Self {
            reach,
            may_delete: false,
            local: LocalStorage::new(),
            aws,
            s3_options,
            ambient,
            s3: OnceCell::new(),
        }
    }

    /// The same, whose owner says whether what a table needs no more may be deleted with it
    /// ([`Storage::may_delete`]).
    pub fn that_deletes(self, may_delete: bool) -> Self {
        Self { may_delete, ..self }
    }

    /// Who serves the location. The only way to one of the adapters.
    async fn adapter(
        &self,
        location: &str,
        action: &'static str,
    ) -> Result<&dyn Storage, StorageError> {
        self.reach.check(location, action)?;
        match Location::parse(location, action)? {
            Location::Local { .. } => Ok(&self.local),
            Location::S3 { .. } => Ok(self
                .s3
                .get_or_init(|| {
                    S3Storage::connect(&self.aws, self.s3_options.clone(), self.ambient.clone())
                })
                .await),
        }
    }
}

#[async_trait]
impl Storage for StorageRouter {
    fn allows(&self, location: &str) -> Result<(), StorageError> {
        self.reach.check(location, "reach")
    }

    fn may_delete(&self) -> bool {
        self.may_delete
    }

    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError> {
        self.adapter(location, "look at")
            .await?
            .info(location)
            .await
    }

    async fn read(&self, location: &str) -> Result<Buffer, StorageError> {
        self.adapter(location, "read").await?.read(location).await
    }

    async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Buffer, StorageError> {
        self.adapter(location, "read")
            .await?
            .read_range(location, range)
            .await
    }

    async fn read_ranges(
        &self,
        location: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Buffer>, StorageError> {
        self.adapter(location, "read")
            .await?
            .read_ranges(location, ranges)
            .await
    }

    async fn put(
        &self,
        location: &str,
        content: Buffer,
        mode: PutMode,
        options: &WriteOptions,
    ) -> Result<(), StorageError> {
        let adapter = self.adapter(location, "write").await?;
        adapter.put(location, content, mode, options).await
    }

    async fn writer(
        &self,
        location: &str,
        options: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        self.adapter(location, "write")
            .await?
            .writer(location, options)
            .await
    }

    fn copies(&self, source: &str) -> Option<Bytes> {
        // Each kind of storage does from its own; and no catalog has its files in two kinds.
        self.reach.check(source, "copy").ok()?;
        match Location::parse(source, "copy").ok()? {
            Location::Local { .. } => self.local.copies(source),
            Location::S3 { .. } => Some(LEAST_PART),
        }
    }

    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, StorageError> {
        let adapter = self.adapter(prefix, "list").await?;
        let mut page = adapter.list(prefix, next).await?;
        // What only begins with the same letters as a place that is allowed.
        page.objects
            .retain(|object| self.reach.check(&object.location, "list").is_ok());
        Ok(page)
    }

    async fn list_after(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ListPage, StorageError> {
        let adapter = self.adapter(prefix, "list").await?;
        let mut page = adapter.list_after(prefix, after).await?;
        page.objects
            .retain(|object| self.reach.check(&object.location, "list").is_ok());
        Ok(page)
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        self.adapter(folder, "list").await?.folders(folder).await
    }

    fn has_tags(&self, location: &str) -> bool {
        matches!(Location::parse(location, "tag"), Ok(Location::S3 { .. }))
    }

    async fn tags(&self, location: &str) -> Result<BTreeMap<String, String>, StorageError> {
        let adapter = self.adapter(location, "ask for the tags of").await?;
        adapter.tags(location).await
    }

    async fn set_tags(
        &self,
        location: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), StorageError> {
        let adapter = self.adapter(location, "tag").await?;
        adapter.set_tags(location, tags).await
    }

    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        let mut outcomes: Vec<Option<DeleteOutcome>> = Vec::with_capacity(locations.len());
        let (mut on_s3, mut local) = (Vec::new(), Vec::new());
        for (index, location) in locations.iter().enumerate() {
            let allowed = self.reach.check(location, "delete");
            let parsed = allowed.and_then(|()| Location::parse(location, "delete"));
            outcomes.push(match parsed {
                Ok(Location::S3 { .. }) => {
                    on_s3.push(index);
                    None
                }
                Ok(Location::Local { .. }) => {
                    local.push(index);
                    None
                }
                Err(error) => Some(DeleteOutcome {
                    location: location.clone(),
                    result: Err(error),
                }),
            });
        }
        for places in [on_s3, local] {
            let some: Vec<String> = places.iter().map(|&at| locations[at].clone()).collect();
            let Some(first) = some.first() else {
                continue;
            };
            if let Ok(adapter) = self.adapter(first, "delete").await {
                for (at, outcome) in places.into_iter().zip(adapter.delete(&some).await) {
                    outcomes[at] = Some(outcome);
                }
            }
        }
        outcomes.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests;
