//! Sending requests: one connection pool for a process, one way to sign, time out and try again.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes as Buffer;
use icepress_model::ambient::Ambient;
use reqwest::{
    Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};

use crate::{
    auth::{Auth, Unsigned},
    errors::{Failure, FailureKind},
};

/// Tries of a request that only reads.
const ATTEMPTS: u32 = 4;
/// The longest wait before the second try; doubles from try to try.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one try may take, with the whole answer. A server reads and writes metadata files of megabytes meanwhile.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// The connection pool of all REST catalogs of a process. Made at first use, so that a process without one neither
/// reads the system's certificates nor holds a pool.
#[derive(Debug, Clone, Default)]
pub struct HttpClient {
    made: Arc<OnceLock<reqwest::Client>>,
}

/// A request as it goes out.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    retry_after: Option<String>,
    pub(crate) body: Buffer,
}

impl Answer {
    pub(crate) fn failure(&self, url: &str) -> Failure {
        Failure::of_answer(self.status, self.retry_after.as_deref(), &self.body, url)
    }
}

impl HttpClient {
    /// A pool that is not made yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn client(&self) -> Result<&reqwest::Client, Failure> {
        if let Some(client) = self.made.get() {
            return Ok(client);
        }
        // Another library of the process may have chosen already; reqwest takes what there is.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("icepress/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A token must not follow to wherever an answer points.
            .redirect(Policy::none())
            .build()
            .map_err(|error| Failure::of_error(&error))?;
        Ok(self.made.get_or_init(|| client))
    }

    /// One try.
    pub(crate) async fn send(&self, request: Outgoing<'_>) -> Result<Answer, Failure> {
        let mut building = self
            .client()?
            .request(request.method, request.url)
            .headers(request.headers);
        if let Some(body) = request.body {
            building = building.body(body);
        }
        let failed = |error: reqwest::Error| {
            let mut failure = Failure::of_error(&error);
            if !failure.message.contains(request.url) {
                failure.message = format!("{}: {}", request.url, failure.message);
            }
            failure
        };
        let response = building.send().await.map_err(failed)?;
        let text = |name| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let (status, etag) = (response.status().as_u16(), text(ETAG));
        let retry_after = text(RETRY_AFTER);
        let body = response.bytes().await.map_err(failed)?;
        Ok(Answer {
            status,
            etag,
            retry_after,
            body,
        })
    }
}

/// A client of one server.
#[derive(Debug)]
pub(crate) struct RestClient {
    pub(crate) http: HttpClient,
    pub(crate) auth: Auth,
    /// Sent with each request.
    pub(crate) headers: HeaderMap,
    pub(crate) ambient: Ambient,
}

impl RestClient {
    /// A read, tried again where that may help. `Ok` for statuses of 2xx and 304.
    pub(crate) async fn get(&self, url: &str, more: &HeaderMap) -> Result<Answer, Failure> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let failure = match self.once(&Method::GET, url, more, None).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            if !failure.is_passing() || attempt == ATTEMPTS {
                return Err(failure);
            }
            self.back_off(attempt, &failure).await;
        }
    }

    /// A write, tried once: whether to try again is for the caller to know.
    pub(crate) async fn post(&self, url: &str, body: &[u8]) -> Result<Answer, Failure> {
        self.once(&Method::POST, url, &HeaderMap::new(), Some(body))
            .await
    }

    /// Waits before try number `attempt + 1`, as long as the server asks for.
    pub(crate) async fn back_off(&self, attempt: u32, failure: &Failure) {
        let backoff = FIRST_BACKOFF.saturating_mul(1 << attempt.min(6));
        let wait = failure.retry_after.unwrap_or_default() + self.ambient.jitter(backoff);
        self.ambient.clock.sleep(wait).await;
    }

    /// One try; and one more with a new token where the old one is refused, which changes nothing.
    async fn once(
        &self,
        method: &Method,
        url: &str,
        more: &HeaderMap,
        body: Option<&[u8]>,
    ) -> Result<Answer, Failure> {
        let mut is_renewed = false;
        loop {
            let mut headers = self.headers.clone();
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
            if body.is_some() {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            headers.extend(
                more.iter()
                    .map(|(name, value)| (name.clone(), value.clone())),
            );
            let unsigned = Unsigned {
                method: method.as_str(),
                url,
                body: body.unwrap_or_default(),
            };
            let signed = self.auth.sign(&unsigned, &mut headers).await;
            signed.map_err(Failure::before_sending)?;
            let authorization = headers.get(AUTHORIZATION).cloned();
            let answer = self
                .http
                .send(Outgoing {
                    method: method.clone(),
                    url,
                    headers,
                    body: body.map(<[u8]>::to_vec),
                })
                .await?;
            if matches!(answer.status, 200..300 | 304) {
                return Ok(answer);
            }
            let failure = answer.failure(url);
            if failure.kind == FailureKind::NotAuthenticated
                && !is_renewed
                && self.auth.renew(authorization.as_ref()).await
            {
                is_renewed = true;
                continue;
            }
            return Err(failure);
        }
    }
}
