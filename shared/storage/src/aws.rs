//! What all clients of AWS share: configuration and credentials, found once by `aws-config`'s chain.

mod ledger;

use std::{fmt, sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, identity::IdentityCache, sts::AssumeRoleProvider,
};
use aws_types::service_config::ServiceConfigKey;
pub use ledger::{RequestLedger, RequestTotals};
use tokio::sync::OnceCell;

use crate::TimeLimits;

/// A role to work as, of this account or another. Iceberg's `client.assume-role.…` say the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssumedRole {
    /// Its ARN.
    pub arn: String,
    /// What the other account asks for besides.
    pub external_id: Option<String>,
    /// The session's name, which that account's logs show.
    pub session_name: String,
    /// How long a session lasts before a new one is asked for; 15 minutes to 12 hours.
    pub session_length: Duration,
    /// The session's tags.
    pub tags: Vec<(String, String)>,
    /// The region of the clients that work as the role; `None` for the one they would have anyway.
    pub region: Option<String>,
}

/// AWS as this process sees it: region, credentials (environment, profile, SSO, web identity, container or instance
/// role) and HTTP client. Found at first use, since a laptop with local tables has none; shared by all clones, so that
/// credentials are fetched once and not for each client.
#[derive(Clone, Default)]
pub struct AwsEnvironment {
    found: Arc<OnceCell<SdkConfig>>,
    /// Whose credentials are used to become whom.
    role: Option<Arc<(AwsEnvironment, AssumedRole)>>,
    ledger: RequestLedger,
    limits: TimeLimits,
}

impl AwsEnvironment {
    /// What the chain finds.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with other limits on how long requests take.
    pub fn with_limits(self, limits: TimeLimits) -> Self {
        Self { limits, ..self }
    }

    /// How long requests may take; those of the configuration's clients already have these limits.
    pub fn limits(&self) -> &TimeLimits {
        &self.limits
    }

    /// A configuration that is made already.
    pub fn from_config(config: SdkConfig) -> Self {
        Self {
            found: Arc::new(OnceCell::new_with(Some(config))),
            role: None,
            ledger: RequestLedger::default(),
            limits: TimeLimits::default(),
        }
    }

    /// The same AWS as `role` sees it. Its keys are asked for at the first request, shared by all clients of the outcome,
    /// and renewed before they expire.
    pub fn assuming(&self, role: AssumedRole) -> Self {
        Self {
            found: Arc::default(),
            role: Some(Arc::new((self.clone(), role))),
            ledger: self.ledger.clone(),
            limits: self.limits,
        }
    }

    /// Where every client that is made for this environment counts its requests: each takes it as an interceptor.
    pub fn ledger(&self) -> &RequestLedger {
        &self.ledger
    }

    /// Another server than AWS that is configured for a service (`AWS_ENDPOINT_URL_…`, a profile's `services`) or for all.
    /// `service_id` is the service's name in the SDK, like `Secrets Manager`.
    pub async fn endpoint_of(&self, service_id: &str) -> Option<String> {
        endpoint_of(self.config().await, service_id)
    }

    /// The configuration.
    pub async fn config(&self) -> &SdkConfig {
        self.found
            .get_or_init(|| async {
                match self.role.as_deref() {
                    None => {
                        aws_config::defaults(BehaviorVersion::latest())
                            .timeout_config(self.limits.of_requests())
                            .load()
                            .await
                    }
                    Some((caller, role)) => as_role(Box::pin(caller.config()).await, role).await,
                }
            })
            .await
    }
}

/// Of a configuration that was found. The chain asks for all services, so theirs goes last.
pub(crate) fn endpoint_of(shared: &SdkConfig, service_id: &str) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id(service_id)
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build();
    let own = shared
        .service_config()
        .zip(key.ok())
        .and_then(|(services, key)| services.load_config(key));
    own.or_else(|| shared.endpoint_url().map(str::to_owned))
}

async fn as_role(caller: &SdkConfig, role: &AssumedRole) -> SdkConfig {
    let mut provider = AssumeRoleProvider::builder(&role.arn)
        .configure(caller)
        .session_name(&role.session_name)
        .session_length(role.session_length);
    if let Some(id) = &role.external_id {
        provider = provider.external_id(id);
    }
    if !role.tags.is_empty() {
        provider = provider.tags(role.tags.iter().cloned());
    }
    let region = role.region.clone().map(Region::new);
    if caller.region().is_none()
        && let Some(region) = &region
    {
        provider = provider.region(region.clone());
    }
    let region = region.or_else(|| caller.region().cloned());
    caller
        .to_builder()
        .credentials_provider(
            aws_credential_types::provider::SharedCredentialsProvider::new(provider.build().await),
        )
        // One for all clients: otherwise each would ask for keys of its own.
        .identity_cache(IdentityCache::lazy().build())
        .region(region)
        .build()
}

impl fmt::Debug for AwsEnvironment {
    /// Without the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsEnvironment")
            .field("is_found", &self.found.initialized())
            .finish_non_exhaustive()
    }
}
