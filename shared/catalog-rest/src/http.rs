//! Sending one request: one connection pool for a process, and one set of limits on how long a server may be silent.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::{Bytes as Buffer, BytesMut};
use icepress_model::{Bytes, without_login};
use icepress_storage::TimeLimits;
use reqwest::{
    Method, Response,
    header::{ETAG, HeaderMap, RETRY_AFTER},
    redirect::Policy,
};

use crate::errors::{Failure, FailureKind};

/// The connection pool of all REST catalogs of a process. Made at first use, so that a process without one neither
/// reads the system's certificates nor holds a pool.
#[derive(Debug, Clone, Default)]
pub struct HttpClient {
    made: Arc<OnceLock<reqwest::Client>>,
    limits: TimeLimits,
}

/// A request as it goes out.
#[derive(Debug)]
pub(crate) struct Outgoing<'a> {
    pub(crate) method: Method,
    pub(crate) url: &'a str,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    /// The longest answer that may be read.
    pub(crate) most: Option<Bytes>,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Buffer,
}

impl Answer {
    pub(crate) fn failure(&self, url: &str) -> Failure {
        Failure::of_answer(self.status, self.retry_after.as_deref(), &self.body, url)
    }
}

impl HttpClient {
    /// A pool that is not made yet, whose requests take no longer than `limits` say.
    pub fn new(limits: TimeLimits) -> Self {
        Self {
            made: Arc::default(),
            limits,
        }
    }

    pub(crate) fn limits(&self) -> &TimeLimits {
        &self.limits
    }

    fn client(&self) -> Result<&reqwest::Client, Failure> {
        if let Some(client) = self.made.get() {
            return Ok(client);
        }
        // Another library of the process may have chosen already; reqwest takes what there is.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let client = reqwest::Client::builder()
            .user_agent(concat!("icepress/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(self.limits.connect)
            // A token must not follow to wherever an answer points.
            .redirect(Policy::none())
            .build()
            .map_err(|error| Failure::of_error(&error))?;
        Ok(self.made.get_or_init(|| client))
    }

    /// One try.
    pub(crate) async fn send(&self, request: Outgoing<'_>) -> Result<Answer, Failure> {
        let url = without_login(request.url);
        // A server reads and writes metadata files of megabytes before it answers to a change.
        let limit = match request.method {
            Method::GET => self.limits.answer,
            _ => self.limits.attempt,
        };
        let mut building = self
            .client()?
            .request(request.method, request.url)
            .headers(request.headers);
        if let Some(body) = request.body {
            building = building.body(body);
        }
        let response = TimeLimits::within(limit, building.send()).await;
        let response = response
            .ok_or_else(|| silent(&url, limit))?
            .map_err(|error| Failure::of_error(&error).about(&url))?;
        let text = |name| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        Ok(Answer {
            status: response.status().as_u16(),
            etag: text(ETAG),
            retry_after: text(RETRY_AFTER),
            body: self.body(response, &url, request.most).await?,
        })
    }

    /// The whole body, for as long as more of it comes.
    async fn body(
        &self,
        mut response: Response,
        url: &str,
        most: Option<Bytes>,
    ) -> Result<Buffer, Failure> {
        let limit = self.limits.answer;
        let mut body = BytesMut::new();
        let check = |bytes: u64| match most.filter(|most| bytes > most.get()) {
            None => Ok(()),
            Some(most) => {
                let message = format!("{url}: the answer has more than {most}");
                Err(Failure::new(FailureKind::TooLarge(most), message))
            }
        };
        check(response.content_length().unwrap_or_default())?;
        loop {
            let more = TimeLimits::within(limit, response.chunk()).await;
            let more = more
                .ok_or_else(|| silent(url, limit))?
                .map_err(|error| Failure::of_error(&error).about(url))?;
            match more {
                Some(more) => {
                    check((body.len() + more.len()) as u64)?;
                    body.extend_from_slice(&more);
                }
                None => return Ok(body.freeze()),
            }
        }
    }
}

fn silent(url: &str, limit: Duration) -> Failure {
    let message = format!("{url}: no answer within {} s", limit.as_secs());
    Failure::new(FailureKind::Unknown, message)
}
