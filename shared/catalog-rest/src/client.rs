//! Requests to one server: signed, and tried again where that may help.

use std::time::Duration;

use icepress_model::{Bytes, ambient::Ambient, without_login};
use icepress_storage::TimeLimits;
use reqwest::{
    Method,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue},
};

use crate::{
    auth::{Auth, Unsigned},
    errors::{Failure, FailureKind},
    http::{Answer, HttpClient, Outgoing},
};

/// Tries of a request that only reads.
const ATTEMPTS: u32 = 4;
/// The longest wait before the second try; doubles from try to try.
const FIRST_BACKOFF: Duration = Duration::from_millis(200);

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
        self.read(&Method::GET, url, more, None, None).await
    }

    /// The same where no more than `most` of an answer may be read.
    pub(crate) async fn get_up_to(&self, url: &str, most: Bytes) -> Result<Answer, Failure> {
        self.read(&Method::GET, url, &HeaderMap::new(), None, Some(most))
            .await
    }

    /// The same by a POST, which is how some services are asked.
    pub(crate) async fn ask(
        &self,
        url: &str,
        more: &HeaderMap,
        body: &[u8],
    ) -> Result<Answer, Failure> {
        self.read(&Method::POST, url, more, Some(body), None).await
    }

    async fn read(
        &self,
        method: &Method,
        url: &str,
        more: &HeaderMap,
        body: Option<&[u8]>,
        most: Option<Bytes>,
    ) -> Result<Answer, Failure> {
        let whole = self.http.limits().whole;
        let asked = self.again_and_again(method, url, more, body, most);
        let answer = TimeLimits::within(whole, asked).await;
        answer.unwrap_or_else(|| {
            let url = without_login(url);
            let message = format!("{url}: no answer within {} s", whole.as_secs());
            Err(Failure::new(FailureKind::Unknown, message))
        })
    }

    async fn again_and_again(
        &self,
        method: &Method,
        url: &str,
        more: &HeaderMap,
        body: Option<&[u8]>,
        most: Option<Bytes>,
    ) -> Result<Answer, Failure> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            let failure = match self.once(method, url, more, body, most).await {
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
        self.once(&Method::POST, url, &HeaderMap::new(), Some(body), None)
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
        most: Option<Bytes>,
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
                    most,
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
