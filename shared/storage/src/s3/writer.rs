//! Large objects: parts that are sent while the next one is filled.

use std::{collections::VecDeque, ops::Range, sync::Arc};

use async_trait::async_trait;
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{CompletedMultipartUpload, CompletedPart},
};
use bytes::{Bytes as Buffer, BytesMut};
use icepress_model::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::task::JoinSet;

use super::Inner;
use crate::{
    ObjectWriter, PutMode, StorageError, StorageErrorKind, WriteOptions, location::Location,
};

/// S3 takes no more parts of one object.
const MAX_PARTS: i32 = 10_000;
/// And no smaller one but as the last.
pub(crate) const LEAST_PART: Bytes = Bytes::mebibytes(5);
/// The largest part that it copies.
const LARGEST_PART: Bytes = Bytes::mebibytes(5 << 10);
/// What may not stand in the header that names an object, whose folders stay apart.
const IN_A_HEADER: AsciiSet = NON_ALPHANUMERIC
    .remove(b'/')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// An object being written. What stays under one part becomes a plain PutObject.
#[derive(Debug)]
pub(super) struct S3Writer {
    inner: Arc<Inner>,
    location: String,
    options: WriteOptions,
    upload: Option<Upload>,
    /// Parts that are full, up to here.
    parts: i32,
    /// Those of them that have to be sent, or sent again since S3 asked for fewer requests.
    unsent: VecDeque<Part>,
    /// The part that is being filled.
    filling: BytesMut,
    size: u64,
}

/// A multipart upload under way.
#[derive(Debug)]
struct Upload {
    id: String,
    in_flight: JoinSet<Result<CompletedPart, Unsent>>,
    done: Vec<CompletedPart>,
}

/// A part by its number.
#[derive(Debug)]
struct Part {
    number: i32,
    content: Content,
}

/// What becomes a part.
#[derive(Debug)]
enum Content {
    Written(Buffer),
    /// Bytes of another object, which S3 copies by itself.
    Copied {
        source: String,
        range: Range<u64>,
    },
}

/// A part that is not there, and why.
#[derive(Debug)]
struct Unsent {
    part: Part,
    error: StorageError,
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
            parts: 0,
            unsent: VecDeque::new(),
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

    /// Sends a full part.
    async fn send(&mut self, content: Content) -> Result<(), StorageError> {
        if self.parts == MAX_PARTS {
            let message = format!(
                "it has more than {MAX_PARTS} parts of {}",
                Bytes(self.part_size() as u64)
            );
            return Err(self
                .inner
                .request("write", &self.location)
                .error(StorageErrorKind::Other, message));
        }
        self.parts += 1;
        let number = self.parts;
        self.unsent.push_back(Part { number, content });
        self.send_unsent().await
    }

    /// Sends what is full. What can't be sent now stays.
    async fn send_unsent(&mut self) -> Result<(), StorageError> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => self.begin().await?,
        };
        // The one being filled counts too.
        let at_a_time = self.inner.options.parts_in_memory.max(2) - 1;
        let sent = loop {
            if upload.in_flight.len() >= at_a_time {
                match self.wait_for_one(&mut upload).await {
                    Ok(_) => continue,
                    Err(error) => break Err(error),
                }
            }
            let Some(part) = self.unsent.pop_front() else {
                break Ok(());
            };
            let sending = send_part(
                Arc::clone(&self.inner),
                self.location.clone(),
                upload.id.clone(),
                part,
            );
            upload.in_flight.spawn(sending);
        };
        self.upload = Some(upload);
        sent
    }

    /// Waits until one of the parts in flight is there; `false` where there is none. One of which S3 asked for fewer requests
    /// is to be sent again.
    async fn wait_for_one(&mut self, upload: &mut Upload) -> Result<bool, StorageError> {
        match upload.in_flight.join_next().await {
            None => Ok(false),
            Some(Ok(Ok(part))) => {
                upload.done.push(part);
                Ok(true)
            }
            Some(Ok(Err(Unsent { part, error }))) => {
                if error.kind == StorageErrorKind::Throttled {
                    self.unsent.push_front(part);
                }
                Err(error)
            }
            Some(Err(error)) => Err(StorageError {
                kind: StorageErrorKind::Other,
                action: "write",
                location: self.location.clone(),
                source: Some(Box::new(error)),
            }),
        }
    }

    /// Waits for all parts, and makes an object of them.
    async fn complete(&mut self, upload: &mut Upload) -> Result<(), StorageError> {
        while self.wait_for_one(upload).await? {}
        upload.done.sort_by_key(CompletedPart::part_number);
        let (bucket, key) = Location::s3(&self.location, "write")?;
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(upload.done.clone()))
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

/// What is copied in parts of the size that S3 takes, none of them small.
fn parts(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let length = range.end.saturating_sub(range.start);
    let count = length.div_ceil(LARGEST_PART.get()).max(1);
    let at = move |part: u64| {
        range.start + (u128::from(length) * u128::from(part) / u128::from(count)) as u64
    };
    (0..count).map(move |part| at(part)..at(part + 1))
}

/// One part on its way.
async fn send_part(
    inner: Arc<Inner>,
    location: String,
    upload: String,
    part: Part,
) -> Result<CompletedPart, Unsent> {
    let (bucket, key) = match Location::s3(&location, "write") {
        Ok(place) => place,
        Err(error) => return Err(Unsent { part, error }),
    };
    let to = (bucket, key, upload.as_str());
    let done = CompletedPart::builder().part_number(part.number);
    let sent = match &part.content {
        Content::Written(content) => upload_part(&inner, to, part.number, content).await,
        Content::Copied { source, range } => {
            copy_part(&inner, to, part.number, (source, range)).await
        }
    };
    match sent {
        Ok((tag, checksum)) => Ok(done.set_e_tag(tag).set_checksum_crc32(checksum).build()),
        Err(error) => Err(Unsent { part, error }),
    }
}

/// What S3 calls a part that is there, and its checksum.
type Known = (Option<String>, Option<String>);

async fn upload_part(
    inner: &Inner,
    (bucket, key, upload): (&str, &str, &str),
    number: i32,
    content: &Buffer,
) -> Result<Known, StorageError> {
    let custom = inner.options.attributes.custom();
    let limits = inner.for_body(Bytes(content.len() as u64));
    let sent = inner
        .client
        .upload_part()
        .bucket(bucket)
        .key(key)
        .upload_id(upload)
        .part_number(number)
        .set_sse_customer_algorithm(custom.algorithm)
        .set_sse_customer_key(custom.key)
        .set_sse_customer_key_md5(custom.md5)
        .body(ByteStream::from(content.clone()))
        .customize()
        .config_override(limits)
        .send()
        .await;
    match sent {
        Ok(answer) => Ok((answer.e_tag, answer.checksum_crc32)),
        Err(error) => {
            let location = format!("s3://{bucket}/{key}");
            Err(inner.request("write", &location).failed(&error))
        }
    }
}

/// The same of bytes of another object, which lies under the same keys as what is written.
async fn copy_part(
    inner: &Inner,
    (bucket, key, upload): (&str, &str, &str),
    number: i32,
    (source, range): (&str, &Range<u64>),
) -> Result<Known, StorageError> {
    let (from_bucket, from_key) = Location::s3(source, "copy")?;
    let length = Bytes(range.end.saturating_sub(range.start));
    let encoded = utf8_percent_encode(from_key, &IN_A_HEADER);
    let (custom, of_source) = (
        inner.options.attributes.custom(),
        inner.options.attributes.custom(),
    );
    let sent = inner
        .client
        .upload_part_copy()
        .bucket(bucket)
        .key(key)
        .upload_id(upload)
        .part_number(number)
        .copy_source(format!("{from_bucket}/{encoded}"))
        .copy_source_range(format!(
            "bytes={}-{}",
            range.start,
            range.end.saturating_sub(1)
        ))
        .set_sse_customer_algorithm(custom.algorithm)
        .set_sse_customer_key(custom.key)
        .set_sse_customer_key_md5(custom.md5)
        .set_copy_source_sse_customer_algorithm(of_source.algorithm)
        .set_copy_source_sse_customer_key(of_source.key)
        .set_copy_source_sse_customer_key_md5(of_source.md5)
        .customize()
        .config_override(inner.for_body(length))
        .send()
        .await;
    match sent {
        Ok(answer) => Ok(answer
            .copy_part_result
            .map_or((None, None), |result| (result.e_tag, result.checksum_crc32))),
        Err(error) => Err(inner.request("copy", source).failed(&error)),
    }
}

#[async_trait]
impl ObjectWriter for S3Writer {
    async fn write(&mut self, mut content: Buffer) -> Result<(), StorageError> {
        let part_size = self.part_size();
        self.size += content.len() as u64;
        let mut sent = self.send_unsent().await;
        while !content.is_empty() {
            // A whole part is not copied.
            if self.filling.is_empty() && content.len() >= part_size {
                let part = content.split_to(part_size);
                sent = sent.and(self.send(Content::Written(part)).await);
                continue;
            }
            let fits = content.len().min(part_size - self.filling.len());
            self.filling.extend_from_slice(&content.split_to(fits));
            if self.filling.len() == part_size {
                let part = std::mem::take(&mut self.filling).freeze();
                sent = sent.and(self.send(Content::Written(part)).await);
            }
        }
        sent
    }

    fn lead(&self, length: u64) -> u64 {
        let waiting = self.filling.len() as u64;
        let least = LEAST_PART.get();
        // What waits becomes a part before what is copied, and is filled up for that.
        let lead = match waiting {
            0 => 0,
            waiting => least.saturating_sub(waiting),
        };
        match length.saturating_sub(lead) < least {
            true => length,
            false => lead,
        }
    }

    async fn copy(&mut self, source: &str, range: Range<u64>) -> Result<(), StorageError> {
        self.size += range.end.saturating_sub(range.start);
        let mut sent = self.send_unsent().await;
        if !self.filling.is_empty() {
            let part = std::mem::take(&mut self.filling).freeze();
            sent = sent.and(self.send(Content::Written(part)).await);
        }
        for range in parts(range) {
            let source = source.to_owned();
            sent = sent.and(self.send(Content::Copied { source, range }).await);
        }
        sent
    }

    async fn finish(&mut self) -> Result<Bytes, StorageError> {
        let rest = std::mem::take(&mut self.filling).freeze();
        if self.parts == 0 {
            let put = self
                .inner
                .put(
                    &self.location,
                    rest.clone(),
                    PutMode::Overwrite,
                    &self.options,
                )
                .await;
            if let Err(error) = put {
                self.filling = rest.into();
                return Err(error);
            }
            return Ok(Bytes(self.size));
        }
        let sent = match rest.is_empty() {
            true => self.send_unsent().await,
            false => self.send(Content::Written(rest)).await,
        };
        let Some(mut upload) = self.upload.take() else {
            return sent.map(|()| Bytes(self.size));
        };
        let completed = match sent {
            Ok(()) => self.complete(&mut upload).await,
            Err(error) => Err(error),
        };
        if let Err(error) = completed {
            match error.kind {
                StorageErrorKind::Throttled => self.upload = Some(upload),
                _ => self.abort_upload(upload).await,
            }
            return Err(error);
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
