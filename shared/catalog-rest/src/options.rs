//! The properties of a REST catalog, under the names that Iceberg's Java client and PyIceberg use.
//!
//! They are read twice: as the user wrote them, to ask the server for its configuration; and with what the server said
//! laid around them, for everything after.

use icepress_catalog::config::{CatalogProperties, ConfigurationError};
use icepress_model::without_login;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use crate::names::Separator;

/// Asks the server for credentials for a table's files with each table.
const DELEGATION: HeaderName = HeaderName::from_static("x-iceberg-access-delegation");
/// What PyIceberg asks for where nothing is said.
const VENDED: &str = "vended-credentials";
/// The services of AWS that speak the protocol at an address of their own.
const GLUE: &str = "glue";
const S3_TABLES: &str = "s3tables";

/// Where the catalog is and how to speak to it.
#[derive(Debug, Clone)]
pub(crate) struct RestOptions {
    /// Without a slash at its end; `/v1/…` follows.
    pub(crate) uri: String,
    pub(crate) warehouse: Option<String>,
    /// What the server put between `/v1/` and a path, as it stands there.
    pub(crate) prefix: Option<String>,
    pub(crate) separator: Separator,
    /// Sent with each request.
    pub(crate) headers: HeaderMap,
    /// Whether the server is asked for keys to tables' files. Others that it hands out are left: whoever signs with a
    /// role of AWS means to read with it.
    pub(crate) wants_keys: bool,
    pub(crate) auth: AuthOptions,
    /// Items in a page of a listing; the server's own choice where nothing is said.
    pub(crate) page_size: Option<u32>,
    /// Whether namespaces have one level, as AWS's services have, so that nobody need ask for children.
    pub(crate) is_flat: bool,
}

/// How requests are made known as ours.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum AuthOptions {
    /// Not at all.
    None,
    /// A token that somebody else renews.
    Token(String),
    /// User and password.
    Basic(String, String),
    /// OAuth2 client credentials.
    ClientCredentials(ClientCredentials),
    /// AWS's signature.
    SigV4(SigV4Options),
}

/// What is sent to the token endpoint.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClientCredentials {
    pub(crate) token_uri: String,
    pub(crate) client_id: Option<String>,
    pub(crate) client_secret: String,
    /// `scope`, `audience`, `resource`.
    pub(crate) parameters: Vec<(&'static str, String)>,
}

/// What is signed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SigV4Options {
    /// The service's name.
    pub(crate) service: String,
    /// `None`: the region that `aws-config` finds.
    pub(crate) region: Option<String>,
}

impl RestOptions {
    pub(crate) fn new(properties: &CatalogProperties) -> Result<Self, ConfigurationError> {
        let aws = aws_service(properties);
        let signs = properties
            .boolean("rest.sigv4-enabled")?
            .unwrap_or_else(|| aws.is_some() || auth_type(properties).as_deref() == Some("sigv4"));
        let region = region(properties);
        let uri = uri(properties, aws, region.as_deref())?;
        let sigv4 = signs.then(|| SigV4Options {
            service: aws
                .map(str::to_owned)
                .or_else(|| properties.get("rest.signing-name").map(str::to_owned))
                // The names of Java's defaults: a REST catalog behind API Gateway.
                .unwrap_or_else(|| "execute-api".to_owned()),
            region,
        });
        let page_size = properties
            .get("rest-page-size")
            .map(|text| match text.parse() {
                Ok(size) if size > 0 => Ok(size),
                _ => Err(properties.wrong(
                    "rest-page-size",
                    format!("is '{text}': it should be a number, like 1000"),
                )),
            })
            .transpose()?;
        if aws == Some(S3_TABLES) {
            bucket_arn(properties)?;
        }
        let headers = headers(properties, sigv4.is_some())?;
        let delegation = headers
            .get(DELEGATION)
            .and_then(|value| value.to_str().ok());
        Ok(Self {
            warehouse: properties.get("warehouse").map(str::to_owned),
            prefix: properties
                .get("prefix")
                .map(|prefix| prefix.trim_matches('/').to_owned())
                .filter(|prefix| !prefix.is_empty()),
            separator: properties
                .get("namespace-separator")
                .map_or_else(Separator::default, Separator::new),
            wants_keys: delegation.is_some_and(|asked| asked.contains(VENDED)),
            headers,
            auth: auth(properties, &uri, sigv4)?,
            page_size,
            is_flat: aws.is_some(),
            uri,
        })
    }
}

/// The kind of authentication, by Java's `rest.auth.type` or PyIceberg's `auth.type`.
fn auth_type(properties: &CatalogProperties) -> Option<String> {
    properties
        .first(&["rest.auth.type", "auth.type"])
        .map(|kind| kind.to_lowercase())
}

/// Which service of AWS it is, if it is one: by the short form `type = "s3tables"`, the class name, or the signing name.
fn aws_service(properties: &CatalogProperties) -> Option<&'static str> {
    let is_s3_tables = |text: &str| text.eq_ignore_ascii_case(S3_TABLES);
    let class = properties.get("catalog-impl").unwrap_or_default();
    if properties.get("type").is_some_and(is_s3_tables)
        || class.ends_with(".S3TablesCatalog")
        || properties
            .get("rest.signing-name")
            .is_some_and(is_s3_tables)
    {
        return Some(S3_TABLES);
    }
    let name = properties.get("rest.signing-name");
    name.is_some_and(|name| name.eq_ignore_ascii_case(GLUE))
        .then_some(GLUE)
}

fn region(properties: &CatalogProperties) -> Option<String> {
    properties
        .first(&["rest.signing-region", "client.region"])
        .or_else(|| {
            // arn:aws:s3tables:REGION:ACCOUNT:bucket/NAME
            let arn = properties.get("warehouse")?.strip_prefix("arn:")?;
            let region = arn.split(':').nth(2)?;
            (!region.is_empty()).then(|| region.to_owned())
        })
}

fn uri(
    properties: &CatalogProperties,
    aws: Option<&str>,
    region: Option<&str>,
) -> Result<String, ConfigurationError> {
    // In AWS's own wrapper of S3 Tables the uri is not used, and an endpoint may be named.
    let uri = match (properties.first(&["uri", "s3tables.endpoint"]), aws, region) {
        (Some(uri), _, _) => uri,
        (None, Some(service), Some(region)) => {
            format!("https://{service}.{region}.{}/iceberg", aws_domain(region))
        }
        (None, Some(service), None) => {
            let key = "rest.signing-region";
            let message = format!(
                "is missing: {service} has an endpoint in each region; it should look like eu-west-1"
            );
            return Err(properties.wrong(key, message));
        }
        (None, None, _) => {
            return Err(properties.wrong(
                "uri",
                "is missing: it should look like https://catalog.example.com/iceberg".to_owned(),
            ));
        }
    };
    let is_http = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    match Url::parse(&uri) {
        Ok(url) if is_http(&url) && url.query().is_none() => {
            let uri = uri.trim_end_matches('/');
            // Java and PyIceberg take it without the version; many paste it with one.
            Ok(uri.strip_suffix("/v1").unwrap_or(uri).to_owned())
        }
        _ => Err(properties.wrong(
            "uri",
            format!(
                "is '{}': it should look like https://catalog.example.com/iceberg",
                without_login(&uri)
            ),
        )),
    }
}

/// Where AWS's services of a region are.
pub(crate) fn aws_domain(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else {
        "amazonaws.com"
    }
}

fn bucket_arn(properties: &CatalogProperties) -> Result<(), ConfigurationError> {
    const SHAPE: &str = "arn:aws:s3tables:eu-west-1:123456789012:bucket/NAME";
    let arn = properties.required("warehouse", SHAPE)?;
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", _, S3_TABLES, _, _, bucket] if bucket.starts_with("bucket/") => Ok(()),
        _ => Err(properties.wrong(
            "warehouse",
            format!("is '{arn}': it should look like {SHAPE}"),
        )),
    }
}

fn headers(properties: &CatalogProperties, signs: bool) -> Result<HeaderMap, ConfigurationError> {
    let mut headers = HeaderMap::new();
    // With AWS's signature the caller's own role is what reaches the files.
    if !signs {
        headers.insert(DELEGATION, HeaderValue::from_static(VENDED));
    }
    for (name, value) in properties.beginning_with("header.") {
        let key = format!("header.{name}");
        let wrong = || properties.wrong(&key, "can't be sent as an HTTP header".to_owned());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        if value.is_empty() {
            headers.remove(&name);
            continue;
        }
        let mut value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}

fn auth(
    properties: &CatalogProperties,
    uri: &str,
    sigv4: Option<SigV4Options>,
) -> Result<AuthOptions, ConfigurationError> {
    let kind = auth_type(properties);
    if let Some(kind) = &kind
        && !matches!(
            kind.as_str(),
            "none" | "noop" | "basic" | "oauth2" | "legacyoauth2" | "sigv4"
        )
    {
        let message = format!("is '{kind}': supported are none, basic, oauth2 and sigv4");
        return Err(properties.wrong("rest.auth.type", message));
    }
    let credential = credential(properties);
    if let Some(sigv4) = sigv4 {
        let other = ["credential", "token"]
            .into_iter()
            .find(|key| properties.get(key).is_some());
        return match other {
            Some(key) => Err(properties.wrong(
                key,
                "can't be used together with rest.sigv4-enabled: a request is signed or has a token".to_owned(),
            )),
            None => Ok(AuthOptions::SigV4(sigv4)),
        };
    }
    match kind.as_deref() {
        Some("none" | "noop") => return Ok(AuthOptions::None),
        Some("basic") => return basic(properties),
        _ => {}
    }
    if let Some((client_id, client_secret)) = credential {
        let token_uri = properties
            .first(&[
                "oauth2-server-uri",
                "auth.oauth2.token_url",
                "auth.oauth2.token-url",
            ])
            .unwrap_or_else(|| format!("{uri}/v1/oauth/tokens"));
        if Url::parse(&token_uri).is_err() {
            let message = format!(
                "is '{}': it should look like https://login.example.com/oauth2/token",
                without_login(&token_uri)
            );
            return Err(properties.wrong("oauth2-server-uri", message));
        }
        let scope = properties.first(&["scope", "auth.oauth2.scope"]);
        let optional = |key| properties.get(key).map(str::to_owned);
        let parameters = [
            ("scope", Some(scope.unwrap_or_else(|| "catalog".to_owned()))),
            ("audience", optional("audience")),
            ("resource", optional("resource")),
        ];
        return Ok(AuthOptions::ClientCredentials(ClientCredentials {
            token_uri,
            client_id,
            client_secret,
            parameters: parameters
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?)))
                .collect(),
        }));
    }
    match properties.get("token") {
        Some(token) => Ok(AuthOptions::Token(token.to_owned())),
        None if kind.as_deref().is_some_and(|kind| kind.ends_with("oauth2")) => Err(properties
            .wrong(
                "credential",
                "is missing: it should look like CLIENT_ID:CLIENT_SECRET (or set token)".to_owned(),
            )),
        None => Ok(AuthOptions::None),
    }
}

/// Client id, if there is one, and secret.
fn credential(properties: &CatalogProperties) -> Option<(Option<String>, String)> {
    if let Some(credential) = properties.get("credential") {
        return Some(match credential.split_once(':') {
            Some((id, secret)) => (Some(id.to_owned()), secret.to_owned()),
            None => (None, credential.to_owned()),
        });
    }
    let first = |name: &str| {
        let other = name.replace('_', "-");
        properties.first(&[
            &format!("auth.oauth2.{name}"),
            &format!("auth.oauth2.{other}"),
        ])
    };
    Some((first("client_id"), first("client_secret")?))
}

fn basic(properties: &CatalogProperties) -> Result<AuthOptions, ConfigurationError> {
    let get = |name: &str| {
        let keys = [
            &*format!("rest.auth.basic.{name}"),
            &*format!("auth.basic.{name}"),
        ];
        properties.first(&keys).ok_or_else(|| {
            properties.wrong(
                keys[0],
                "is missing, and rest.auth.type is basic".to_owned(),
            )
        })
    };
    Ok(AuthOptions::Basic(get("username")?, get("password")?))
}

impl std::fmt::Debug for AuthOptions {
    /// Without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Token(_) => f.write_str("Token"),
            Self::Basic(..) => f.write_str("Basic"),
            Self::ClientCredentials(client) => client.fmt(f),
            Self::SigV4(options) => options.fmt(f),
        }
    }
}

impl std::fmt::Debug for ClientCredentials {
    /// Without secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientCredentials")
            .field("token_uri", &self.token_uri)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
