//! Large objects: parts that are sent while the next one is filled.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::{Bytes as Buffer, BytesMut};
use icepress_model::Bytes;
use tokio::task::JoinSet;

use super::Inner;
use crate::{
    ObjectWriter, PutMode, StorageError, StorageErrorKind, WriteOptions, location::Location,
};

/// S3 takes no more parts of one object.
const MAX_PARTS: i32 = 10_000;
/// And no smaller one but as the last.
const LEAST_PART: Bytes = Bytes::mebibytes(5);

/// An object being written. What stays under one part becomes a plain PutObject.
#[derive(Debug)]
pub(super) struct S3Writer {
    inner: Arc<Inner>,
    location: String,
    options: WriteOptions,
    upload: Option<Upload>,
    /// The part that is being filled.
    filling: BytesMut,
    size: u64,
}

/// A multipart upload under way.
#[derive(Debug)]
struct Upload {
    id: String,
    sent: i32,
    in_flight: JoinSet<Result<CompletedPart, StorageError>>,
    done: Vec<CompletedPart>,
}

impl S3Writer {
    pub(super) fn new(
        inner: Arc<Inner>,
        location: &str,
        options: &WriteOptions,
    ) -> Result<Self, StorageError> {
        Location::s3(location, "write")?;
        Ok(Self {
            inner,
            location: location.to_owned(),
            options: options.clone(),
            upload: None,
            filling: BytesMut::new(),
            size: 0,
        })
    }

    async fn begin(&self) -> Result<Upload, StorageError> {
        let (bucket, key) = Location::s3(&self.location, "write")?;
        let request = self.inner.request("write", &self.location);
        let attributes = &self.inner.options.attributes;
        let custom = attributes.custom();
        let answer = self
            .inner
            .client
            .create_multipart_upload()
            .bucket(bucket)
            .key(key)
            .set_storage_class(self.inner.storage_class(&self.options))
            .set_server_side_encryption(attributes.encryption())
            .set_ssekms_key_id(attributes.kms_key())
            .set_sse_customer_algorithm(custom.algorithm)
            .set_sse_customer_key(custom.key)
            .set_sse_customer_key_md5(custom.md5)
            .set_acl(attributes.acl())
            .set_tagging(attributes.tagging())
            .send()
            .await
            .map_err(|error| request.failed(&error))?;
        let id = answer.upload_id().ok_or_else(|| {
            request.error(
                StorageErrorKind::Other,
                "the answer to CreateMultipartUpload has no UploadId",
            )
        })?;
        Ok(Upload {
            id: id.to_owned(),
            sent: 0,
            in_flight: JoinSet::new(),
            done: Vec::new(),
        })
    }

    /// The size of its parts: as large as they may be, to be few.
    fn part_size(&self) -> usize {
        let options = &self.inner.options;
        let mut size = options.part_size;
        if let Some(in_memory) = self.options.in_memory {
            let at_a_time = options.parts_in_memory.max(2) as u64;
            size = size.min(Bytes(in_memory.get() / at_a_time).max(LEAST_PART));
        }
        usize::try_from(size.get()).unwrap_or(usize::MAX)
    }

    async fn send(&mut self, content: Buffer) -> Result<(), StorageError> {
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => self.begin().await?,
        };
        let sent = self.send_part(&mut upload, content).await;
        self.upload = Some(upload);
        sent
    }

    async fn send_part(&self, upload: &mut Upload, content: Buffer) -> Result<(), StorageError> {
        // The one being filled counts too.
        let at_a_time = self.inner.options.parts_in_memory.max(2) - 1;
        while upload.in_flight.len() >= at_a_time {
            upload.wait_for_one(&self.location).await?;
        }
        if upload.sent == MAX_PARTS {
            let message = format!(
                "it has more than {MAX_PARTS} parts of {}",
                Bytes(self.part_size() as u64)
            );
            return Err(self
                .inner
                .request("write", &self.location)
                .error(StorageErrorKind::Other, message));
        }
        upload.sent += 1;
        let number = upload.sent;
        let (inner, location, id) = (
            Arc::clone(&self.inner),
            self.location.clone(),
            upload.id.clone(),
        );
        upload.in_flight.spawn(async move {
            let (bucket, key) = Location::s3(&location, "write")?;
            let custom = inner.options.attributes.custom();
            let limits = inner.for_body(Bytes(content.len() as u64));
            let answer = inner
                .client
                .upload_part()
                .bucket(bucket)
                .key(key)
                .upload_id(id)
                .part_number(number)
                .set_sse_customer_algorithm(custom.algorithm)
                .set_sse_customer_key(custom.key)
                .set_sse_customer_key_md5(custom.md5)
                .body(ByteStream::from(content))
                .customize()
                .config_override(limits)
                .send()
                .await
                .map_err(|error| inner.request("write", &location).failed(&error))?;
            Ok(CompletedPart::builder()
                .part_number(number)
                .set_e_tag(answer.e_tag)
                .set_checksum_crc32(answer.checksum_crc32)
                .build())
        });
        Ok(())
    }

    async fn complete(&self, mut upload: Upload) -> Result<(), StorageError> {
        let sent = loop {
            match upload.wait_for_one(&self.location).await {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = sent {
            self.abort_upload(upload).await;
            return Err(error);
        }
        upload.done.sort_by_key(CompletedPart::part_number);
        let (bucket, key) = Location::s3(&self.location, "write")?;
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(upload.done))
            .build();
        let custom = self.inner.options.attributes.custom();
        let Err(error) = self
            .inner
            .client
            .complete_multipart_upload()
            .bucket(bucket)
            .key(key)
            .upload_id(&upload.id)
            .multipart_upload(parts)
            .set_sse_customer_algorithm(custom.algorithm)
            .set_sse_customer_key(custom.key)
            .set_sse_customer_key_md5(custom.md5)
            .customize()
            .config_override(self.inner.for_body(Bytes(self.size)))
            .send()
            .await
        else {
            return Ok(());
        };
        // A first try whose answer was lost ends the upload; the second finds none.
        let is_gone = error
            .as_service_error()
            .and_then(|error| error.meta().code())
            == Some("NoSuchUpload");
        if is_gone {
            let head = self.inner.head(bucket, key).send().await;
            let size = head.ok().and_then(|head| head.content_length());
            if size.and_then(|size| u64::try_from(size).ok()) == Some(self.size) {
                return Ok(());
            }
        }
        Err(self.inner.request("write", &self.location).failed(&error))
    }

    /// Gives the parts back. Failing leaves them for the bucket's lifecycle rule.
    async fn abort_upload(&self, mut upload: Upload) {
        upload.in_flight.shutdown().await;
        let Ok((bucket, key)) = Location::s3(&self.location, "write") else {
            return;
        };
        let aborted = self
            .inner
            .client
            .abort_multipart_upload()
            .bucket(bucket)
            .key(key)
            .upload_id(&upload.id)
            .send()
            .await;
        if let Err(error) = aborted {
            let error = self.inner.request("abort", &self.location).failed(&error);
            tracing::warn!(%error, "parts of an upload stay behind");
        }
    }
}

impl Upload {
    /// Waits until one of the parts in flight is there; `false` where there is none.
    async fn wait_for_one(&mut self, location: &str) -> Result<bool, StorageError> {
        match self.in_flight.join_next().await {
            None => Ok(false),
            Some(Ok(Ok(part))) => {
                self.done.push(part);
                Ok(true)
            }
            Some(Ok(Err(error))) => Err(error),
            Some(Err(error)) => Err(StorageError {
                kind: StorageErrorKind::Other,
                action: "write",
                location: location.to_owned(),
                source: Some(Box::new(error)),
            }),
        }
    }
}

#[async_trait]
impl ObjectWriter for S3Writer {
    async fn write(&mut self, mut content: Buffer) -> Result<(), StorageError> {
        let part_size = self.part_size();
        self.size += content.len() as u64;
        while !content.is_empty() {
            // A whole part is not copied.
            if self.filling.is_empty() && content.len() >= part_size {
                let part = content.split_to(part_size);
                self.send(part).await?;
                continue;
            }
            let fits = content.len().min(part_size - self.filling.len());
            self.filling.extend_from_slice(&content.split_to(fits));
            if self.filling.len() == part_size {
                let part = std::mem::take(&mut self.filling).freeze();
                self.send(part).await?;
            }
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<Bytes, StorageError> {
        let rest = std::mem::take(&mut self.filling).freeze();
        if self.upload.is_none() {
            self.inner
                .put(&self.location, rest, PutMode::Overwrite, &self.options)
                .await?;
            return Ok(Bytes(self.size));
        }
        let sent = if rest.is_empty() {
            Ok(())
        } else {
            self.send(rest).await
        };
        if let Some(upload) = self.upload.take() {
            if let Err(error) = sent {
                self.abort_upload(upload).await;
                return Err(error);
            }
            self.complete(upload).await?;
        }
        Ok(Bytes(self.size))
    }

    async fn abort(mut self: Box<Self>) -> Result<(), StorageError> {
        if let Some(upload) = self.upload.take() {
            self.abort_upload(upload).await;
        }
        Ok(())
    }
}
