//! S3, and what speaks its protocol.
//!
//! The SDK retries what is worth it (time-outs, 5xx, `SlowDown`), with exponential backoff and jitter. Two things are
//! added: a body that breaks off in the middle is asked for again, and a conditional write whose answer was lost is
//! recognised as ours by a token in the object's metadata, where the SDK's second try would have found it "taken".

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::{Builder, Region, retry::RetryConfig},
    operation::{
        head_object::builders::HeadObjectFluentBuilder,
        list_objects_v2::{ListObjectsV2Output, builders::ListObjectsV2FluentBuilder},
        put_object::PutObjectError,
    },
    primitives::ByteStream,
    types::StorageClass,
};
use bytes::Bytes as Buffer;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use icepress_model::{Bytes, TimestampMs, ambient::Ambient, with_causes};

use crate::{
    AwsEnvironment, DeleteOutcome, ListPage, ListedObject, ObjectInfo, ObjectWriter, PutMode,
    Storage, StorageError, StorageErrorKind, TimeLimits, WriteOptions,
    aws::endpoint_of,
    location::Location,
    ranges::{cut, joined},
};

mod attributes;
mod delete;
mod errors;
mod options;
mod tags;
mod writer;

pub use attributes::{Encryption, MOST_TAGS, WriteAttributes};
use errors::Request;
pub use options::S3Options;
pub(crate) use writer::LEAST_PART;
use writer::S3Writer;

/// Tries of one request by the SDK.
const ATTEMPTS: u32 = 8;
/// Tries where the SDK does not try again by itself.
const OWN_ATTEMPTS: u32 = 4;
/// The longest wait before the second try; doubles from try to try.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// The longest wait before any try.
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);
/// Requests of one call for several ranges that run at a time.
const RANGES_AT_A_TIME: usize = 8;
/// Under this name an object's metadata says which conditional write made it.
const WRITE_TOKEN: &str = "icepress-write";

/// Objects on S3.
#[derive(Debug, Clone)]
pub struct S3Storage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    region: Option<String>,
    options: S3Options,
    limits: TimeLimits,
    ambient: Ambient,
}

impl S3Storage {
    /// A client with the credentials of `aws`.
    pub async fn connect(aws: &AwsEnvironment, options: S3Options, ambient: Ambient) -> Self {
        let shared = aws.config().await;
        let has_endpoint = options.endpoint.is_some() || endpoint_of(shared, "S3").is_some();
        let region = options
            .region
            .clone()
            .or_else(|| shared.region().map(ToString::to_string))
            // Servers that are not AWS seldom care, but the signature needs one.
            .or_else(|| has_endpoint.then(|| "us-east-1".to_owned()));
        let mut builder = Builder::from(shared)
            .force_path_style(options.path_style.unwrap_or(has_endpoint))
            .retry_config(
                RetryConfig::standard()
                    .with_max_attempts(ATTEMPTS)
                    .with_initial_backoff(FIRST_BACKOFF)
                    .with_max_backoff(LONGEST_BACKOFF),
            )
            .interceptor(aws.ledger().clone());
        builder.set_region(region.clone().map(Region::new));
        if let Some(endpoint) = &options.endpoint {
            builder = builder.endpoint_url(endpoint);
        }
        Self {
            inner: Arc::new(Inner {
                client: Client::from_conf(builder.build()),
                region,
                options,
                limits: *aws.limits(),
                ambient,
            }),
        }
    }
}

impl Inner {
    fn request<'a>(&'a self, action: &'static str, location: &'a str) -> Request<'a> {
        Request {
            action,
            location,
            region: self.region.as_deref(),
        }
    }

    async fn back_off(&self, attempt: u32) {
        let longest = FIRST_BACKOFF.saturating_mul(1 << attempt.min(6));
        self.ambient.clock.sleep(self.ambient.jitter(longest)).await;
    }

    fn storage_class(&self, options: &WriteOptions) -> Option<StorageClass> {
        let class = options
            .storage_class
            .as_ref()
            .or(self.options.storage_class.as_ref());
        class.map(|class| StorageClass::from(class.as_str()))
    }

    /// The object, or the bytes `range` of it.
    async fn get(&self, location: &str, range: Option<Range<u64>>) -> Result<Buffer, StorageError> {
        let request = self.request("read", location);
        let (bucket, key) = Location::s3(location, "read")?;
        let mut attempt = 0;
        let content = loop {
            attempt += 1;
            let custom = self.options.attributes.custom();
            let response =
                self.client
                    .get_object()
                    .bucket(bucket)
                    .key(key)
                    .set_sse_customer_algorithm(custom.algorithm)
                    .set_sse_customer_key(custom.key)
                    .set_sse_customer_key_md5(custom.md5)
                    .set_range(range.as_ref().map(|range| {
                        format!("bytes={}-{}", range.start, range.end.saturating_sub(1))
                    }))
                    .send()
                    .await
                    .map_err(|error| request.failed(&error))?;
            let size = response.content_length().unwrap_or_default();
            let size = Bytes(u64::try_from(size).unwrap_or_default());
            let patience = self.limits.whole + self.limits.moving(size);
            let why = match TimeLimits::within(patience, response.body.collect()).await {
                Some(Ok(body)) => break body.into_bytes(),
                Some(Err(error)) => with_causes(&error),
                None => format!("it took longer than {} s", patience.as_secs()),
            };
            if attempt == OWN_ATTEMPTS {
                let message = format!("it broke off: {why}");
                return Err(request.error(StorageErrorKind::Other, message));
            }
            self.back_off(attempt).await;
        };
        match range {
            // A range that goes beyond the end is answered with what there is.
            Some(range) if content.len() as u64 != range.end - range.start => Err(request.error(
                StorageErrorKind::OutOfRange,
                format!(
                    "bytes {}..{} were asked for, {} came",
                    range.start,
                    range.end,
                    content.len()
                ),
            )),
            _ => Ok(content),
        }
    }

    async fn put(
        &self,
        location: &str,
        content: Buffer,
        mode: PutMode,
        options: &WriteOptions,
    ) -> Result<(), StorageError> {
        let request = self.request("write", location);
        let (bucket, key) = Location::s3(location, "write")?;
        let token = (mode == PutMode::CreateOnly).then(|| self.ambient.uuid().to_string());
        let mut attempt = 0;
        loop {
            attempt += 1;
            let attributes = &self.options.attributes;
            let custom = attributes.custom();
            let mut put = self
                .client
                .put_object()
                .bucket(bucket)
                .key(key)
                .set_storage_class(self.storage_class(options))
                .set_server_side_encryption(attributes.encryption())
                .set_ssekms_key_id(attributes.kms_key())
                .set_sse_customer_algorithm(custom.algorithm)
                .set_sse_customer_key(custom.key)
                .set_sse_customer_key_md5(custom.md5)
                .set_acl(attributes.acl())
                .set_tagging(attributes.tagging())
                .body(ByteStream::from(content.clone()));
            if let Some(token) = &token {
                put = put.if_none_match("*").metadata(WRITE_TOKEN, token);
            }
            let sent = put
                .customize()
                .config_override(self.for_body(Bytes(content.len() as u64)))
                .send();
            let Err(error) = sent.await else {
                return Ok(());
            };
            // Another conditional write of the same name is under way: who of us wins shows a moment later.
            let code = error.as_service_error().and_then(code_of);
            if code == Some("ConditionalRequestConflict") && attempt < OWN_ATTEMPTS {
                self.back_off(attempt).await;
                continue;
            }
            let error = request.failed(&error);
            if error.kind == StorageErrorKind::AlreadyExists
                && let Some(token) = &token
                && self.token_of(bucket, key).await.as_ref() == Some(token)
            {
                return Ok(());
            }
            return Err(error);
        }
    }

    /// The settings of a request that has so much to do with bytes.
    fn for_body(&self, size: Bytes) -> Builder {
        Builder::new().timeout_config(self.limits.of_body(size))
    }

    /// Asks for an object without its content.
    fn head(&self, bucket: &str, key: &str) -> HeadObjectFluentBuilder {
        let custom = self.options.attributes.custom();
        self.client
            .head_object()
            .bucket(bucket)
            .key(key)
            .set_sse_customer_algorithm(custom.algorithm)
            .set_sse_customer_key(custom.key)
            .set_sse_customer_key_md5(custom.md5)
    }

    /// Which conditional write made the object.
    async fn token_of(&self, bucket: &str, key: &str) -> Option<String> {
        let head = self.head(bucket, key).send().await.ok()?;
        head.metadata()?.get(WRITE_TOKEN).cloned()
    }
}

fn code_of(error: &PutObjectError) -> Option<&str> {
    error.meta().code()
}

#[async_trait]
impl Storage for S3Storage {
    async fn info(&self, location: &str) -> Result<ObjectInfo, StorageError> {
        let request = self.inner.request("look at", location);
        let (bucket, key) = Location::s3(location, "look at")?;
        let head = self
            .inner
            .head(bucket, key)
            .send()
            .await
            .map_err(|error| request.failed(&error))?;
        let is_restored = head
            .restore()
            .is_some_and(|restore| restore.contains("ongoing-request=\"false\""));
        let is_in_glacier = matches!(
            head.storage_class(),
            Some(StorageClass::Glacier | StorageClass::DeepArchive)
        );
        Ok(ObjectInfo {
            size: Bytes(
                u64::try_from(head.content_length().unwrap_or_default()).unwrap_or_default(),
            ),
            modified: timestamp(head.last_modified()),
            archived: head.archive_status().is_some() || (is_in_glacier && !is_restored),
        })
    }

    async fn read(&self, location: &str) -> Result<Buffer, StorageError> {
        self.inner.get(location, None).await
    }

    async fn read_range(&self, location: &str, range: Range<u64>) -> Result<Buffer, StorageError> {
        let mut contents = self.read_ranges(location, &[range]).await?;
        Ok(contents.pop().unwrap_or_default())
    }

    async fn read_ranges(
        &self,
        location: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Buffer>, StorageError> {
        let requests = joined(ranges);
        let contents: Vec<Buffer> = stream::iter(requests.clone())
            .map(|range| self.inner.get(location, Some(range)))
            .buffered(RANGES_AT_A_TIME)
            .try_collect()
            .await?;
        ranges
            .iter()
            .map(|range| {
                cut(range, &requests, &contents).ok_or_else(|| {
                    let message = format!("bytes {}..{} make no range", range.start, range.end);
                    self.inner
                        .request("read", location)
                        .error(StorageErrorKind::OutOfRange, message)
                })
            })
            .collect()
    }

    fn copies(&self, source: &str) -> Option<Bytes> {
        Location::s3(source, "copy").ok().map(|_| LEAST_PART)
    }

    async fn put(
        &self,
        location: &str,
        content: Buffer,
        mode: PutMode,
        options: &WriteOptions,
    ) -> Result<(), StorageError> {
        self.inner.put(location, content, mode, options).await
    }

    async fn writer(
        &self,
        location: &str,
        options: &WriteOptions,
    ) -> Result<Box<dyn ObjectWriter>, StorageError> {
        let writer = S3Writer::new(Arc::clone(&self.inner), location, options)?;
        Ok(Box::new(writer))
    }

    async fn list(&self, prefix: &str, next: Option<&str>) -> Result<ListPage, StorageError> {
        let request = self.inner.request("list", prefix);
        let (page, objects) = self
            .page(prefix, |list| {
                list.set_continuation_token(next.map(str::to_owned))
            })
            .await?;
        let next = match (page.is_truncated(), page.next_continuation_token) {
            (Some(true), None) => return Err(request.error(StorageErrorKind::Other, CUT_SHORT)),
            (Some(true), next) => next,
            _ => None,
        };
        Ok(ListPage { objects, next })
    }

    async fn list_after(
        &self,
        prefix: &str,
        after: Option<&str>,
    ) -> Result<ListPage, StorageError> {
        let request = self.inner.request("list", prefix);
        let key = after.map(|after| Location::s3(after, "list")).transpose()?;
        let key = key.map(|(_, key)| key.to_owned());
        let (page, objects) = self
            .page(prefix, |list| {
                list.set_start_after(key.filter(|key| !key.is_empty()))
            })
            .await?;
        let next = match (page.is_truncated(), objects.last()) {
            (Some(true), None) => return Err(request.error(StorageErrorKind::Other, CUT_SHORT)),
            (Some(true), Some(last)) => Some(last.location.clone()),
            _ => None,
        };
        Ok(ListPage { objects, next })
    }

    async fn folders(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        let request = self.inner.request("list", folder);
        let (bucket, key) = Location::s3(folder, "list")?;
        let key = key.trim_end_matches('/');
        let prefix = if key.is_empty() {
            String::new()
        } else {
            format!("{key}/")
        };
        let mut names = Vec::new();
        let mut next = None;
        loop {
            let page = self
                .inner
                .client
                .list_objects_v2()
                .bucket(bucket)
                .prefix(&prefix)
                .delimiter("/")
                .set_continuation_token(next)
                .send()
                .await
                .map_err(|error| request.failed(&error))?;
            names.extend(page.common_prefixes().iter().filter_map(|below| {
                let name = below.prefix()?.strip_prefix(&prefix)?;
                Some(name.trim_end_matches('/').to_owned())
            }));
            let is_whole = page.is_truncated() != Some(true);
            next = page.next_continuation_token;
            if is_whole || next.is_none() {
                return Ok(names);
            }
        }
    }

    fn has_tags(&self, _location: &str) -> bool {
        true
    }

    async fn tags(&self, location: &str) -> Result<BTreeMap<String, String>, StorageError> {
        tags::of(&self.inner, location).await
    }

    async fn set_tags(
        &self,
        location: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<(), StorageError> {
        tags::set(&self.inner, location, tags).await
    }

    async fn delete(&self, locations: &[String]) -> Vec<DeleteOutcome> {
        delete::delete_all(&self.inner, locations).await
    }
}

/// What a listing is that ends without saying where it goes on.
const CUT_SHORT: &str = "there is more, and it does not say where";

impl S3Storage {
    /// A page of a listing, as it came, and its objects with scheme and bucket as `prefix` has them.
    async fn page(
        &self,
        prefix: &str,
        from: impl FnOnce(ListObjectsV2FluentBuilder) -> ListObjectsV2FluentBuilder,
    ) -> Result<(ListObjectsV2Output, Vec<ListedObject>), StorageError> {
        let request = self.inner.request("list", prefix);
        let (bucket, key) = Location::s3(prefix, "list")?;
        let list = self.inner.client.list_objects_v2();
        let page = from(list.bucket(bucket).prefix(key))
            .send()
            .await
            .map_err(|error| request.failed(&error))?;
        let root = &prefix[..prefix.len() - key.len()];
        let slash = if root.ends_with('/') { "" } else { "/" };
        let listed = page.contents().iter().map(|object| ListedObject {
            location: format!("{root}{slash}{}", object.key().unwrap_or_default()),
            size: Bytes(u64::try_from(object.size().unwrap_or_default()).unwrap_or_default()),
            modified: timestamp(object.last_modified()),
        });
        let objects = listed.collect();
        Ok((page, objects))
    }
}

fn timestamp(time: Option<&aws_sdk_s3::primitives::DateTime>) -> TimestampMs {
    TimestampMs(
        time.and_then(|time| time.to_millis().ok())
            .unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests;
