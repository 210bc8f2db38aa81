//! One storage for all locations: each goes to the adapter that its scheme names.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes as Buffer;
use icepress_model::ambient::Ambient;
use tokio::sync::OnceCell;

use crate::{
    AwsEnvironment, DeleteOutcome, ListPage, LocalStorage, ObjectInfo, ObjectWriter, PutMode,
    S3Options, S3Storage, Storage, StorageError, WriteOptions, location::Location,
};

/// Local files, and S3 once a location of S3 is asked for.
#[derive(Debug)]
pub struct StorageRouter {
    local: LocalStorage,
    aws: AwsEnvironment,
    s3_options: S3Options,
    ambient: Ambient,
    s3: OnceCell<S3Storage>,
}

impl StorageRouter {
    /// Storage that reaches S3 with `s3_options` and the credentials of `aws`.
    pub fn new(aws: AwsEnvironment, s3_options: S3Options, ambient: Ambient) -> Self {
        Self {
            local: LocalStorage::new(),
            aws,
            s3_options,
            ambient,
            s3: OnceCell::new(),
        }
    }

    async fn adapter(
        &self,
        location: &str,
        action: &'static str,
    ) -> Result<&dyn Storage, StorageError> {
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

    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, StorageError> {
        self.adapter(prefix, "list").await?.list(prefix, next).await
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        self.adapter(folder, "list").await?.folders(folder).await
    }

    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        let is_on_s3 = |location: &String| {
            matches!(Location::parse(location, "delete"), Ok(Location::S3 { .. }))
        };
        let (on_s3, others): (Vec<String>, Vec<String>) =
            locations.iter().cloned().partition(is_on_s3);
        // Whatever is no location at all, the local adapter refuses one by one.
        let mut outcomes_of_others = self.local.delete(&others).await.into_iter();
        let mut outcomes_on_s3 = match on_s3.first() {
            None => Vec::new(),
            Some(first) => match self.adapter(first, "delete").await {
                Ok(s3) => s3.delete(&on_s3).await,
                Err(_) => Vec::new(),
            },
        }
        .into_iter();
        locations
            .iter()
            .filter_map(|location| {
                if is_on_s3(location) {
                    outcomes_on_s3.next()
                } else {
                    outcomes_of_others.next()
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests;
