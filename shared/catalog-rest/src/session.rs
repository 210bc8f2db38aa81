//! What holds for all requests to one server, once it was asked for its configuration: addresses, and who we are.

use std::collections::BTreeSet;

use icepress_catalog::{
    CatalogError,
    config::{CatalogProperties, ConfigurationError},
};
use icepress_model::{Namespace, TableId, ambient::Ambient};
use icepress_storage::AwsEnvironment;
use reqwest::header::HeaderMap;
use serde::de::DeserializeOwned;
use url::form_urlencoded::Serializer;

use crate::{
    auth::Auth,
    client::RestClient,
    endpoints::Endpoints,
    errors::{Failure, FailureKind},
    http::HttpClient,
    names::segment,
    options::{AuthOptions, RestOptions},
    types::{Config, ServerConfig},
};

/// A server that told its configuration.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) client: RestClient,
    pub(crate) options: RestOptions,
    /// The catalog's properties with the server's around them.
    pub(crate) properties: CatalogProperties,
    /// What the server itself said, defaults and overrides: only keys to storage that come from here are used.
    pub(crate) said: Config,
    endpoints: Option<BTreeSet<String>>,
}

/// What a session is made of.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) properties: CatalogProperties,
    pub(crate) options: RestOptions,
    /// Where the server may send us.
    pub(crate) endpoints: Endpoints,
    pub(crate) http: HttpClient,
    pub(crate) aws: AwsEnvironment,
    pub(crate) ambient: Ambient,
}

impl Opening {
    /// Asks the server for its configuration (`GET /v1/config`).
    pub(crate) async fn open(&self) -> Result<Session, CatalogError> {
        let name = self.properties.name();
        let failed = |failure: Failure| failure.into_catalog_error(name);
        let misconfigured = |error: ConfigurationError| CatalogError::Configuration {
            catalog: name.to_string(),
            message: error.to_string(),
        };
        let mut url = format!("{}/v1/config", self.options.uri);
        if let Some(warehouse) = &self.options.warehouse {
            url = with_query(url, &[("warehouse", warehouse)]);
        }
        let asking = self.client(&self.options).map_err(failed)?;
        let answer =
            asking
                .get(&url, &HeaderMap::new())
                .await
                .map_err(|failure| match failure.kind {
                    FailureKind::NotFound | FailureKind::Invalid => CatalogError::Configuration {
                        catalog: name.to_string(),
                        message: format!("{}: check uri and warehouse", failure.message),
                    },
                    _ => failed(failure),
                })?;
        let config: ServerConfig = parse(&answer.body, &url).map_err(failed)?;
        let present = |pairs: std::collections::BTreeMap<String, Option<String>>| -> Config {
            pairs
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?)))
                .collect()
        };
        let (defaults, overrides) = (present(config.defaults), present(config.overrides));
        let mut said = defaults.clone();
        said.extend(overrides.clone());
        let properties = self.properties.merged(defaults, overrides);
        let options = RestOptions::new(&properties).map_err(misconfigured)?;
        self.check_moves(&options)?;
        Ok(Session {
            // The first client's token holds on, unless the server sends us elsewhere.
            client: if options.auth == self.options.auth {
                RestClient {
                    headers: options.headers.clone(),
                    ..asking
                }
            } else {
                self.client(&options).map_err(failed)?
            },
            options,
            properties,
            said,
            endpoints: config
                .endpoints
                .map(|endpoints| endpoints.into_iter().collect()),
        })
    }

    /// Whether the server moves itself, or its tokens, only where it may.
    fn check_moves(&self, options: &RestOptions) -> Result<(), CatalogError> {
        let catalog_moves = Some(("uri", options.uri.as_str()));
        let tokens_move = match &options.auth {
            AuthOptions::ClientCredentials(client) => {
                Some(("oauth2-server-uri", client.token_uri.as_str()))
            }
            _ => None,
        };
        for (what, address) in catalog_moves.into_iter().chain(tokens_move) {
            self.endpoints
                .check(what, address)
                .map_err(|message| CatalogError::Configuration {
                    catalog: self.properties.name().to_string(),
                    message,
                })?;
        }
        Ok(())
    }

    fn client(&self, options: &RestOptions) -> Result<RestClient, Failure> {
        Ok(RestClient {
            auth: Auth::new(&options.auth, &self.http, &self.aws, &self.ambient)?,
            http: self.http.clone(),
            headers: options.headers.clone(),
            ambient: self.ambient.clone(),
        })
    }
}

impl Session {
    /// The address of `path`, which is encoded already, with a query.
    pub(crate) fn url(&self, path: &str, query: &[(&str, &str)]) -> String {
        let prefix = self
            .options
            .prefix
            .as_deref()
            .map(|prefix| format!("{prefix}/"));
        let prefix = prefix.unwrap_or_default();
        with_query(format!("{}/v1/{prefix}{path}", self.options.uri), query)
    }

    pub(crate) fn tables_path(&self, namespace: &Namespace) -> String {
        format!(
            "namespaces/{}/tables",
            self.options.separator.segment(namespace)
        )
    }

    pub(crate) fn table_path(&self, table: &TableId) -> String {
        format!(
            "{}/{}",
            self.tables_path(&table.namespace),
            segment(&table.name)
        )
    }

    /// Whether the server says that it can do this; `false` where it says nothing.
    pub(crate) fn offers(&self, endpoint: &str) -> bool {
        self.endpoints
            .as_ref()
            .is_some_and(|endpoints| endpoints.contains(endpoint))
    }
}

fn with_query(url: String, query: &[(&str, &str)]) -> String {
    if query.is_empty() {
        return url;
    }
    let mut written = Serializer::new(String::new());
    written.extend_pairs(query);
    format!("{url}?{}", written.finish())
}

/// An answer's body. One that can't be read is no answer of a catalog.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8], url: &str) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| {
        let message = format!(
            "{url} gave an answer that is none of Iceberg's REST protocol ({error}): check uri"
        );
        Failure::new(FailureKind::Invalid, message)
    })
}
