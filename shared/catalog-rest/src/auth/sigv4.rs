//! AWS's signature, version 4, by `aws-sigv4` with the credentials that `aws-config`'s chain finds.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use aws_credential_types::{Credentials, provider::ProvideCredentials as _};
use aws_sigv4::{
    http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use icepress_model::{TimestampMs, ambient::Ambient, with_causes};
use icepress_storage::AwsEnvironment;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::Mutex;

use super::Unsigned;
use crate::{
    errors::{Failure, FailureKind},
    options::SigV4Options,
};

/// How long before their end credentials are fetched anew.
const MARGIN: Duration = Duration::from_secs(60);

/// Signs for one service in one region.
pub(crate) struct SigV4 {
    options: SigV4Options,
    aws: AwsEnvironment,
    ambient: Ambient,
    /// The chain may ask a metadata service each time: what it found is kept while it lasts.
    found: Mutex<Option<Credentials>>,
}

impl SigV4 {
    pub(super) fn new(options: SigV4Options, aws: AwsEnvironment, ambient: Ambient) -> Self {
        Self {
            options,
            aws,
            ambient,
            found: Mutex::new(None),
        }
    }

    pub(super) async fn sign(
        &self,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), Failure> {
        let refused = |message: String| Failure::new(FailureKind::NotAuthenticated, message);
        let region = self.region().await?;
        let identity = Identity::from(self.credentials().await?);
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&region)
            .name(&self.options.service)
            .time(at(self.ambient.now()))
            .settings(settings)
            .build()
            .map_err(|error| refused(with_causes(&error)))?
            .into();
        // Host and AWS's own headers are signed in any case; others may be changed on the way by proxies.
        let signed = headers
            .iter()
            .filter(|(name, _)| *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-"))
            .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
        let body = SignableBody::Bytes(request.body);
        let signable = SignableRequest::new(request.method, request.url, signed, body)
            .map_err(|error| refused(with_causes(&error)))?;
        let (instructions, _) = sign(signable, &parameters)
            .map_err(|error| refused(with_causes(&error)))?
            .into_parts();
        let (added, _) = instructions.into_parts();
        for header in added {
            let mut value = HeaderValue::from_str(header.value())
                .map_err(|error| refused(error.to_string()))?;
            value.set_sensitive(header.sensitive());
            headers.insert(HeaderName::from_static(header.name()), value);
        }
        Ok(())
    }

    /// After a refusal: what is known may be old.
    pub(super) async fn forget(&self) -> bool {
        self.found
            .lock()
            .await
            .take()
            .is_some_and(|found| found.expiry().is_some())
    }

    async fn region(&self) -> Result<String, Failure> {
        if let Some(region) = &self.options.region {
            return Ok(region.clone());
        }
        let found = self.aws.config().await.region();
        found.map(ToString::to_string).ok_or_else(|| {
            let message = "there is no region to sign for: set rest.signing-region or AWS_REGION";
            Failure::new(FailureKind::NotAuthenticated, message)
        })
    }

    async fn credentials(&self) -> Result<Credentials, Failure> {
        let mut found = self.found.lock().await;
        let soon = at(self.ambient.now()) + MARGIN;
        if let Some(credentials) = &*found
            && credentials.expiry().is_none_or(|expiry| soon < expiry)
        {
            return Ok(credentials.clone());
        }
        let refused = |message: String| Failure::new(FailureKind::NotAuthenticated, message);
        let provider = self.aws.config().await.credentials_provider();
        let provider = provider
            .ok_or_else(|| refused("no AWS credentials are configured to sign with".to_owned()))?;
        let credentials = provider.provide_credentials().await.map_err(|error| {
            refused(format!(
                "no AWS credentials to sign with: {}",
                with_causes(&error)
            ))
        })?;
        *found = Some(credentials.clone());
        Ok(credentials)
    }
}

/// A time of ours as the SDK has it.
pub(crate) fn at(time: TimestampMs) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(time.get()).unwrap_or(0))
}

impl fmt::Debug for SigV4 {
    /// Without credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigV4")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
