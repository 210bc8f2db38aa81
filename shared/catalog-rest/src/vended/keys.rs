//! Keys to a table's files, out of a load's answer: which hold for which locations, how long, and how new ones are had.

use std::{fmt, sync::Arc};

use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, Result, error::CredentialsError, future},
};
use icepress_catalog::CatalogError;
use icepress_model::{TableId, TimestampMs};
use reqwest::header::HeaderMap;
use tokio::sync::Mutex;

use super::{Config, Core, MadeOf, StorageCredential, s3_settings};
use crate::{auth::at, session::parse, types::CredentialsBody};

const ACCESS_KEY: &str = "s3.access-key-id";
const SECRET_KEY: &str = "s3.secret-access-key";
const SESSION_TOKEN: &str = "s3.session-token";
const EXPIRES: &str = "s3.session-token-expires-at-ms";
/// How long before their end keys are renewed, if they live so long at all.
const MARGIN_MS: i64 = 5 * 60 * 1000;
/// How long keys are used that come without an end: those of AWS live for 15 minutes at the least.
const UNTOLD_LIFE_MS: i64 = 10 * 60 * 1000;
/// What a server that can renew credentials alone says that it offers.
const CREDENTIALS_ENDPOINT: &str =
    "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials";

/// What a server says about a table's files, by prefix of location; that of all locations is the empty one.
#[derive(Debug)]
pub(crate) struct Access {
    by_prefix: Vec<(String, Config)>,
}

impl Access {
    /// Out of what the server says for the catalog, for the table, and for prefixes.
    pub(crate) fn new(
        catalog: &Config,
        table: Option<&Config>,
        credentials: Option<&[StorageCredential]>,
    ) -> Self {
        let mut everywhere = catalog.clone();
        everywhere.extend(table.cloned().unwrap_or_default());
        let mut by_prefix = vec![(String::new(), everywhere.clone())];
        for credential in credentials.unwrap_or_default() {
            // Those of other stores (`gs`, `abfss`) lead nowhere here.
            if credential.config.contains_key(ACCESS_KEY) {
                let mut config = everywhere.clone();
                config.extend(credential.config.clone());
                by_prefix.push((credential.prefix.clone(), config));
            }
        }
        Self { by_prefix }
    }

    /// Leaves the settings alone.
    pub(super) fn forget_keys(&mut self) {
        self.by_prefix.truncate(1);
        for (_, config) in &mut self.by_prefix {
            config.remove(ACCESS_KEY);
        }
    }

    pub(super) fn is_nothing(&self) -> bool {
        let says_nothing = |(_, config): &(String, Config)| {
            Keys::of(config).is_none() && s3_settings(config).is_empty()
        };
        self.by_prefix.iter().all(says_nothing)
    }

    pub(super) fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.by_prefix.iter().map(|(prefix, _)| prefix.as_str())
    }

    fn config(&self, prefix: &str) -> Option<&Config> {
        let found = self.by_prefix.iter().find(|(known, _)| known == prefix);
        found.map(|(_, config)| config)
    }

    pub(super) fn settings(&self, prefix: &str) -> Config {
        self.config(prefix).map(s3_settings).unwrap_or_default()
    }

    pub(crate) fn keys(&self, prefix: &str) -> Option<Keys> {
        Keys::of(self.config(prefix)?)
    }

    pub(super) fn made_of(&self) -> MadeOf {
        let entry = |(prefix, config): &(String, Config)| {
            (
                prefix.clone(),
                (s3_settings(config), Keys::of(config).is_some()),
            )
        };
        self.by_prefix.iter().map(entry).collect()
    }
}

/// Keys to S3.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Keys {
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
    expires_at: Option<TimestampMs>,
}

impl Keys {
    fn of(config: &Config) -> Option<Self> {
        Some(Self {
            access_key: config.get(ACCESS_KEY)?.clone(),
            secret_key: config.get(SECRET_KEY)?.clone(),
            session_token: config.get(SESSION_TOKEN).cloned(),
            expires_at: config
                .get(EXPIRES)
                .and_then(|text| text.parse().ok())
                .map(TimestampMs),
        })
    }

    /// Until when keys are used that were given at `given_at`.
    pub(super) fn use_until(&self, given_at: TimestampMs) -> TimestampMs {
        match self.expires_at {
            None => TimestampMs(given_at.get().saturating_add(UNTOLD_LIFE_MS)),
            Some(end) => {
                let life = end.get().saturating_sub(given_at.get()).max(0);
                TimestampMs(end.get() - MARGIN_MS.min(life / 2))
            }
        }
    }
}

impl fmt::Debug for Keys {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("access_key", &self.access_key)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The keys for one prefix of one table, renewed for as long as somebody asks.
pub(crate) struct VendedCredentials {
    core: Arc<Core>,
    table: TableId,
    prefix: String,
    current: Mutex<(Keys, TimestampMs)>,
}

impl VendedCredentials {
    /// Begins with `keys`, which were given a moment ago.
    pub(crate) fn new(core: &Arc<Core>, table: &TableId, prefix: &str, keys: Keys) -> Self {
        let use_until = keys.use_until(core.ambient.now());
        Self {
            core: Arc::clone(core),
            table: table.clone(),
            prefix: prefix.to_owned(),
            current: Mutex::new((keys, use_until)),
        }
    }

    async fn credentials(&self) -> Result {
        let mut current = self.current.lock().await;
        if self.core.ambient.now() >= current.1 {
            let asked_at = self.core.ambient.now();
            let keys = self
                .fetch()
                .await
                .map_err(CredentialsError::provider_error)?;
            let keys = keys.ok_or_else(|| {
                CredentialsError::not_loaded(format!(
                    "the catalog hands out no keys for table {} any more",
                    self.table
                ))
            })?;
            let use_until = keys.use_until(asked_at);
            *current = (keys, use_until);
        }
        let (keys, use_until) = &*current;
        Ok(Credentials::new(
            &keys.access_key,
            &keys.secret_key,
            keys.session_token.clone(),
            Some(at(*use_until)),
            "the table's catalog",
        ))
    }

    async fn fetch(&self) -> std::result::Result<Option<Keys>, CatalogError> {
        let session = self.core.session().await?;
        if !self.prefix.is_empty() && session.offers(CREDENTIALS_ENDPOINT) {
            let url = session.url(
                &format!("{}/credentials", session.table_path(&self.table)),
                &[],
            );
            let failed = |failure: crate::errors::Failure| failure.into_table_error(&self.table);
            let answer = session
                .client
                .get(&url, &HeaderMap::new())
                .await
                .map_err(failed)?;
            let body: CredentialsBody = parse(&answer.body, &url).map_err(failed)?;
            let access = Access::new(&session.said, None, Some(&body.storage_credentials));
            return Ok(access.keys(&self.prefix));
        }
        let (_, body) = self.core.load(&self.table, None).await?;
        let credentials = body.storage_credentials.as_deref();
        let access = Access::new(&session.said, body.config.as_ref(), credentials);
        Ok(access.keys(&self.prefix))
    }
}

impl ProvideCredentials for VendedCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.credentials())
    }
}

impl fmt::Debug for VendedCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VendedCredentials")
            .field("table", &self.table)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
