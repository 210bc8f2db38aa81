//! OAuth2 client credentials (RFC 6749, section 4.4), as Iceberg's clients send them: id and secret in the form.
//!
//! A token is renewed when a tenth of its life, or five minutes, are left; and when the server refuses it.

use std::{fmt, time::Duration};

use icepress_model::ambient::Ambient;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use tokio::sync::Mutex;
use url::form_urlencoded::Serializer;

use super::bearer;
use crate::{
    errors::{Failure, FailureKind},
    http::{HttpClient, Outgoing},
    options::ClientCredentials,
    types::{TokenBody, TokenErrorBody},
};

/// How long before its end a long-lived token is renewed.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// Tokens for client credentials.
pub(crate) struct OAuth2 {
    client: ClientCredentials,
    http: HttpClient,
    ambient: Ambient,
    /// Held while a token is fetched, so that many requests at once ask for one.
    current: Mutex<Option<Token>>,
}

struct Token {
    value: String,
    /// On the monotonic clock; `None` where the server does not say how long it lives.
    renew_at: Option<Duration>,
}

impl OAuth2 {
    pub(super) fn new(client: ClientCredentials, http: HttpClient, ambient: Ambient) -> Self {
        Self {
            client,
            http,
            ambient,
            current: Mutex::new(None),
        }
    }

    /// A token with life left in it.
    pub(super) async fn token(&self) -> Result<String, Failure> {
        let mut current = self.current.lock().await;
        let now = self.ambient.clock.monotonic();
        if let Some(token) = &*current
            && token.renew_at.is_none_or(|at| now < at)
        {
            return Ok(token.value.clone());
        }
        let fetched = self.fetch().await?;
        let value = fetched.value.clone();
        *current = Some(fetched);
        Ok(value)
    }

    /// Forgets the token that was refused. Another one, fetched meanwhile, stays.
    pub(super) async fn forget(&self, refused: Option<&HeaderValue>) -> bool {
        let mut current = self.current.lock().await;
        let is_refused = |token: &Token| bearer(&token.value).ok().as_ref() == refused;
        if current.as_ref().is_some_and(is_refused) {
            *current = None;
        }
        true
    }

    /// Tried once: whoever needs the token tries the whole request again.
    async fn fetch(&self) -> Result<Token, Failure> {
        let client = &self.client;
        let mut headers = HeaderMap::new();
        let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(CONTENT_TYPE, form_type);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let asked_at = self.ambient.clock.monotonic();
        let answer = self
            .http
            .send(Outgoing {
                method: reqwest::Method::POST,
                url: &client.token_uri,
                headers,
                body: Some(form(client).into_bytes()),
                most: None,
            })
            .await?;
        if !(200..300).contains(&answer.status) {
            return Err(self.refused(&answer.failure(&client.token_uri), &answer.body));
        }
        let body: TokenBody = serde_json::from_slice(&answer.body).map_err(|_| {
            let message = format!("{} gave no access_token", client.token_uri);
            Failure::new(FailureKind::NotAuthenticated, message)
        })?;
        let life = body.expires_in.map(Duration::from_secs);
        Ok(Token {
            value: body.access_token,
            renew_at: life.map(|life| asked_at + life.saturating_sub(MARGIN.min(life / 10))),
        })
    }

    /// Token endpoints have errors of their own kind, and any refusal by one means that nobody let us in.
    fn refused(&self, failure: &Failure, body: &[u8]) -> Failure {
        if failure.is_passing() {
            return failure.clone();
        }
        let message = match serde_json::from_slice::<TokenErrorBody>(body) {
            Ok(said) => format!(
                "{} gave no token: {}: check credential and scope",
                self.client.token_uri,
                [Some(said.error), said.error_description]
                    .into_iter()
                    .flatten()
                    .collect::<Vec<_>>()
                    .join(": "),
            ),
            Err(_) => format!(
                "no token: {}: check credential and oauth2-server-uri",
                failure.message
            ),
        };
        Failure::new(FailureKind::NotAuthenticated, message)
    }
}

/// The request's body. Apart, since the serializer may not be held while waiting.
fn form(client: &ClientCredentials) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if let Some(id) = &client.client_id {
        form.append_pair("client_id", id);
    }
    form.append_pair("client_secret", &client.client_secret);
    let parameters = client.parameters.iter();
    form.extend_pairs(parameters.map(|(key, value)| (*key, value.as_str())));
    form.finish()
}

impl fmt::Debug for OAuth2 {
    /// Without tokens.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
