//! What all clients of AWS share: configuration and credentials, found once by `aws-config`'s chain.

mod ledger;

use std::{fmt, sync::Arc, time::Duration};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, identity::IdentityCache, sts::AssumeRoleProvider,
};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
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

/// Keys that somebody wrote down, instead of those that the chain finds.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKeys {
    /// The access key's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
    /// Where the keys are those of a session.
    pub session_token: Option<String>,
}

impl fmt::Debug for AccessKeys {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessKeys")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// Who works instead of whom the chain finds.
#[derive(Debug)]
enum Caller {
    Role(AssumedRole),
    Keys(AccessKeys),
}

/// AWS as this process sees it: region, credentials (environment, profile, SSO, web identity, container or instance
/// role) and HTTP client. Found at first use, since a laptop with local tables has none; shared by all clones, so that
/// credentials are fetched once and not for each client.
#[derive(Clone, Default)]
pub struct AwsEnvironment {
    found: Arc<OnceCell<SdkConfig>>,
    /// Of which AWS, and as whom.
    caller: Option<Arc<(AwsEnvironment, Caller)>>,
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
            caller: None,
            ledger: RequestLedger::default(),
            limits: TimeLimits::default(),
        }
    }

    /// The same AWS as `role` sees it. Its keys are asked for at the first request, shared by all clients of the outcome,
    /// and renewed before they expire.
    pub fn assuming(&self, role: AssumedRole) -> Self {
        self.called_by(Caller::Role(role))
    }

    /// The same AWS with other keys, if there are any.
    pub fn with_keys(&self, keys: Option<AccessKeys>) -> Self {
        match keys {
            Some(keys) => self.called_by(Caller::Keys(keys)),
            None => self.clone(),
        }
    }

    fn called_by(&self, caller: Caller) -> Self {
        Self {
            found: Arc::default(),
            caller: Some(Arc::new((self.clone(), caller))),
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
                match self.caller.as_deref() {
                    None => {
                        aws_config::defaults(BehaviorVersion::latest())
                            .timeout_config(self.limits.of_requests())
                            .load()
                            .await
                    }
                    Some((of, Caller::Role(role))) => {
                        as_role(Box::pin(of.config()).await, role).await
                    }
                    Some((of, Caller::Keys(keys))) => with_keys(Box::pin(of.config()).await, keys),
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

fn with_keys(shared: &SdkConfig, keys: &AccessKeys) -> SdkConfig {
    let (id, secret) = (keys.id.clone(), keys.secret.clone());
    let token = keys.session_token.clone();
    let keys = Credentials::new(id, secret, token, None, "the catalog's properties");
    shared
        .to_builder()
        .credentials_provider(SharedCredentialsProvider::new(keys))
        .identity_cache(IdentityCache::lazy().build())
        .build()
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
        .credentials_provider(SharedCredentialsProvider::new(provider.build().await))
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

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::ProvideCredentials as _;

    use super::*;

    async fn keys(aws: &AwsEnvironment) -> (String, Option<String>) {
        let provider = aws.config().await.credentials_provider();
        let keys = provider.unwrap().provide_credentials().await.unwrap();
        let token = keys.session_token().map(str::to_owned);
        (keys.access_key_id().to_owned(), token)
    }

    #[tokio::test]
    async fn keys_that_are_given_are_used_instead_of_those_that_were_found() {
        let found = Credentials::new("FOUND", "s", None, None, "test");
        let found = SdkConfig::builder()
            .credentials_provider(SharedCredentialsProvider::new(found))
            .region(Region::new("eu-west-3"))
            .build();
        let aws = AwsEnvironment::from_config(found);
        let given = AccessKeys {
            id: "GIVEN".to_owned(),
            secret: "hidden".to_owned(),
            session_token: Some("t".to_owned()),
        };
        let with_keys = aws.with_keys(Some(given));
        assert_eq!(
            keys(&with_keys).await,
            ("GIVEN".to_owned(), Some("t".to_owned()))
        );
        let region = with_keys.config().await.region().cloned();
        assert_eq!(region, Some(Region::new("eu-west-3")));
        assert_eq!(keys(&aws.with_keys(None)).await, ("FOUND".to_owned(), None));
    }
}
