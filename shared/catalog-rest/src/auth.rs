//! How requests are made known as ours: a token, OAuth2 client credentials, or AWS's signature.

mod oauth2;
mod sigv4;

use icepress_model::ambient::Ambient;
use icepress_storage::AwsEnvironment;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};

use crate::{
    errors::{Failure, FailureKind},
    http::HttpClient,
    options::AuthOptions,
};
use oauth2::OAuth2;
use sigv4::SigV4;
pub(crate) use sigv4::at;

/// A request that is about to be sent.
#[derive(Debug)]
pub(crate) struct Unsigned<'a> {
    pub(crate) method: &'a str,
    /// Encoded, as it will be sent.
    pub(crate) url: &'a str,
    pub(crate) body: &'a [u8],
}

/// What makes requests known as ours.
#[derive(Debug)]
pub(crate) enum Auth {
    None,
    /// A header that stays as it is.
    Fixed(HeaderValue),
    OAuth2(OAuth2),
    SigV4(SigV4),
}

impl Auth {
    pub(crate) fn new(
        options: &AuthOptions,
        http: &HttpClient,
        aws: &AwsEnvironment,
        ambient: &Ambient,
    ) -> Result<Self, Failure> {
        Ok(match options {
            AuthOptions::None => Self::None,
            AuthOptions::Token(token) => Self::Fixed(bearer(token)?),
            AuthOptions::Basic(user, password) => Self::Fixed(basic(user, password)?),
            AuthOptions::ClientCredentials(client) => {
                Self::OAuth2(OAuth2::new(client.clone(), http.clone(), ambient.clone()))
            }
            AuthOptions::SigV4(options) => {
                Self::SigV4(SigV4::new(options.clone(), aws.clone(), ambient.clone()))
            }
        })
    }

    /// Adds to `headers` what the request needs. The headers that are there may become part of what is signed.
    pub(crate) async fn sign(
        &self,
        request: &Unsigned<'_>,
        headers: &mut HeaderMap,
    ) -> Result<(), Failure> {
        match self {
            Self::None => {}
            Self::Fixed(value) => {
                headers.insert(AUTHORIZATION, value.clone());
            }
            Self::OAuth2(oauth2) => {
                headers.insert(AUTHORIZATION, bearer(&oauth2.token().await?)?);
            }
            Self::SigV4(sigv4) => sigv4.sign(request, headers).await?,
        }
        Ok(())
    }

    /// After a 401: whether another try would carry something else than the one that was refused.
    pub(crate) async fn renew(&self, refused: Option<&HeaderValue>) -> bool {
        match self {
            Self::OAuth2(oauth2) => oauth2.forget(refused).await,
            Self::SigV4(sigv4) => sigv4.forget().await,
            Self::None | Self::Fixed(_) => false,
        }
    }
}

fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    header(&format!("Bearer {token}"))
}

fn basic(user: &str, password: &str) -> Result<HeaderValue, Failure> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    header(&format!(
        "Basic {}",
        STANDARD.encode(format!("{user}:{password}"))
    ))
}

fn header(text: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_str(text).map_err(|_| {
        let message = "the token can't be sent as an HTTP header: it has a line break or control character in it";
        Failure::new(FailureKind::NotAuthenticated, message)
    })?;
    value.set_sensitive(true);
    Ok(value)
}
