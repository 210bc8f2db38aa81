//! What every object that is written gets besides its content, as Iceberg's `S3FileIO` gives it: encryption, an access
//! list, tags.

use std::fmt;

use aws_sdk_s3::types::{ObjectCannedAcl, ServerSideEncryption};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

/// Tags that S3 takes of one object.
pub const MOST_TAGS: usize = 10;

/// How objects are encrypted on the server's side.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Encryption {
    /// As the bucket has it.
    #[default]
    OfBucket,
    /// By keys of S3.
    S3,
    /// By a key of KMS; `None` is the account's own for S3.
    Kms(Option<String>),
    /// By two layers of it.
    DualKms(Option<String>),
    /// By a key that is sent with each request, reads included.
    Custom {
        /// The key, in base64.
        key: String,
        /// Its MD5, in base64.
        md5: String,
    },
}

/// What is written besides the content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WriteAttributes {
    /// How it is encrypted.
    pub encryption: Encryption,
    /// A canned access list, like `bucket-owner-full-control`.
    pub acl: Option<String>,
    /// Tags, [`MOST_TAGS`] at the most.
    pub tags: Vec<(String, String)>,
}

impl WriteAttributes {
    /// Canned access lists that S3 knows.
    pub fn known_acls() -> &'static [&'static str] {
        ObjectCannedAcl::values()
    }

    pub(super) fn encryption(&self) -> Option<ServerSideEncryption> {
        match self.encryption {
            Encryption::OfBucket | Encryption::Custom { .. } => None,
            Encryption::S3 => Some(ServerSideEncryption::Aes256),
            Encryption::Kms(_) => Some(ServerSideEncryption::AwsKms),
            Encryption::DualKms(_) => Some(ServerSideEncryption::AwsKmsDsse),
        }
    }

    pub(super) fn kms_key(&self) -> Option<String> {
        match &self.encryption {
            Encryption::Kms(key) | Encryption::DualKms(key) => key.clone(),
            _ => None,
        }
    }

    pub(super) fn acl(&self) -> Option<ObjectCannedAcl> {
        self.acl.as_deref().map(ObjectCannedAcl::from)
    }

    /// As the header has them.
    pub(super) fn tagging(&self) -> Option<String> {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let tags = self.tags.iter();
        let tags: Vec<String> = tags
            .map(|(key, value)| format!("{}={}", encoded(key), encoded(value)))
            .collect();
        (!tags.is_empty()).then(|| tags.join("&"))
    }

    /// The algorithm, key and MD5 that go with each request, where the key is the user's own.
    pub(super) fn custom(&self) -> CustomKey {
        match &self.encryption {
            Encryption::Custom { key, md5 } => CustomKey {
                algorithm: Some("AES256".to_owned()),
                key: Some(key.clone()),
                md5: Some(md5.clone()),
            },
            _ => CustomKey::default(),
        }
    }
}

/// The three headers of a user's own key; nothing where there is none.
#[derive(Default)]
pub(super) struct CustomKey {
    pub(super) algorithm: Option<String>,
    pub(super) key: Option<String>,
    pub(super) md5: Option<String>,
}

impl fmt::Debug for Encryption {
    /// Without the key that is a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfBucket => f.write_str("OfBucket"),
            Self::S3 => f.write_str("S3"),
            Self::Kms(key) => f.debug_tuple("Kms").field(key).finish(),
            Self::DualKms(key) => f.debug_tuple("DualKms").field(key).finish(),
            Self::Custom { .. } => f.write_str("Custom"),
        }
    }
}
