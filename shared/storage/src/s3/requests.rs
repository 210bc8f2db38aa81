//! Requests by kind, as the bill counts them: each try is one.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextRef,
    },
    error::BoxError,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;

/// How many requests were sent, tries included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// GetObject.
    pub get: u64,
    /// HeadObject.
    pub head: u64,
    /// PutObject, and beginning and ending a multipart upload, which cost the same.
    pub put: u64,
    /// UploadPart.
    pub part: u64,
    /// ListObjectsV2.
    pub list: u64,
    /// DeleteObjects and AbortMultipartUpload, which are free.
    pub delete: u64,
}

/// Counts while requests are sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Counter(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    get: AtomicU64,
    head: AtomicU64,
    put: AtomicU64,
    part: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
}

impl Counter {
    pub(super) fn counts(&self) -> RequestCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        RequestCounts {
            get: read(&self.0.get),
            head: read(&self.0.head),
            put: read(&self.0.put),
            part: read(&self.0.part),
            list: read(&self.0.list),
            delete: read(&self.0.delete),
        }
    }
}

impl Intercept for Counter {
    fn name(&self) -> &'static str {
        "icepress-request-counter"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let counts = &self.0;
        let count = match cfg.load::<Metadata>().map(Metadata::name) {
            Some("GetObject") => &counts.get,
            Some("HeadObject") => &counts.head,
            Some("PutObject" | "CreateMultipartUpload" | "CompleteMultipartUpload") => &counts.put,
            Some("UploadPart") => &counts.part,
            Some("ListObjectsV2") => &counts.list,
            Some("DeleteObjects" | "AbortMultipartUpload") => &counts.delete,
            _ => return Ok(()),
        };
        count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}
