//! What all clients of AWS share: configuration and credentials, found once by `aws-config`'s chain.

use std::{fmt, sync::Arc};

use aws_config::{BehaviorVersion, SdkConfig};
use tokio::sync::OnceCell;

/// AWS as this process sees it: region, credentials (environment, profile, SSO, web identity, container or instance
/// role) and HTTP client. Found at first use, since a laptop with local tables has none; shared by all clones, so that
/// credentials are fetched once and not for each client.
#[derive(Clone, Default)]
pub struct AwsEnvironment {
    found: Arc<OnceCell<SdkConfig>>,
}

impl AwsEnvironment {
    /// What the chain finds.
    pub fn new() -> Self {
        Self::default()
    }

    /// A configuration that is made already.
    pub fn from_config(config: SdkConfig) -> Self {
        Self {
            found: Arc::new(OnceCell::new_with(Some(config))),
        }
    }

    /// The configuration.
    pub async fn config(&self) -> &SdkConfig {
        self.found
            .get_or_init(|| aws_config::load_defaults(BehaviorVersion::latest()))
            .await
    }
}

impl fmt::Debug for AwsEnvironment {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsEnvironment")
            .field("is_found", &self.found.initialized())
            .finish_non_exhaustive()
    }
}
