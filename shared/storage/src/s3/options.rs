//! How S3 is to be reached and written.

use icepress_model::Bytes;

use super::WriteAttributes;

/// Settings of an S3 client. Credentials are not among them: they come from `aws-config`'s chain alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Options {
    /// Another server than AWS; `None` leaves it to `aws-config` (which knows `AWS_ENDPOINT_URL_S3`).
    pub endpoint: Option<String>,
    /// The region; `None` leaves it to `aws-config`.
    pub region: Option<String>,
    /// Whether the bucket stands in the path instead of the host name; `None` does so where an endpoint is set.
    pub path_style: Option<bool>,
    /// The storage class of what is written, unless the write says otherwise; `None` sends none.
    pub storage_class: Option<String>,
    /// The size of a part of a large object. S3 takes 10,000 parts an object.
    pub part_size: Bytes,
    /// Parts of one object that may be in memory at a time: one is filled while the others are sent. At least 2.
    pub parts_in_memory: usize,
    /// What is written besides the content.
    pub attributes: WriteAttributes,
}

impl Default for S3Options {
    /// AWS, Intelligent-Tiering, and parts of 64 MiB, since each uploaded part costs as much as a whole object.
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            path_style: None,
            storage_class: Some("INTELLIGENT_TIERING".to_owned()),
            part_size: Bytes::mebibytes(64),
            parts_in_memory: 2,
            attributes: WriteAttributes::default(),
        }
    }
}
