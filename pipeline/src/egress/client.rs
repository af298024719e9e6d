//! The guarded client.

use super::guard::{Guard, SystemResolver};
use super::hosts::Rerouted;
use super::{
    ANSWER_BYTES_MAX, Answer, HostMap, Http, HttpError, Policy, Refused, Request, Resolver, TIMEOUT,
};
use super::{failure, hosts};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use reqwest::Response;
use reqwest::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// The longest time to a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection is kept without use.
///
/// Some servers close idle connections after 5 s. A request that meets such a close fails, and
/// nobody can tell whether it was taken; so we close first.
const IDLE: Duration = Duration::from_secs(4);

/// The one client for everything that leaves; cheap to clone, and clones share their connections.
///
/// - It connects only to addresses that its [`Policy`] allows, checked where the connection is made.
/// - It follows no redirect: a 3xx is an [`Answer`] like any other.
/// - It knows no proxy, whatever the environment says: a proxy would choose the address.
/// - Time that runs out before there is a connection, after 5 s, is [`Class::NetworkConnect`]: nothing
///   was sent. Later, and for requests that have less time than that, it is [`Class::Timeout`].
/// - It speaks HTTP/1.1 and sends each request once; what is sent again, and when, is the caller's.
/// - An answer is read up to [`ANSWER_BYTES_MAX`]; the rest is left, and the connection closed.
///
/// [`Class::NetworkConnect`]: crate::delivery::Class::NetworkConnect
/// [`Class::Timeout`]: crate::delivery::Class::Timeout
#[derive(Clone)]
pub struct Egress {
    client: reqwest::Client,
    policy: Policy,
}

/// The client cannot be made: the platform's certificates or its TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be made; check that the machine's CA certificates are installed")]
pub struct NoClient(#[source] reqwest::Error);

impl Egress {
    /// Makes a client that asks the operating system for the addresses of a host.
    ///
    /// # Errors
    /// When the machine's certificates cannot be used.
    pub fn new(policy: Policy) -> Result<Self, NoClient> {
        Self::with_resolver(policy, Arc::new(SystemResolver))
    }

    /// Makes a client that asks `resolver` for the addresses of a host.
    ///
    /// # Errors
    /// When the machine's certificates cannot be used.
    pub fn with_resolver(policy: Policy, resolver: Arc<dyn Resolver>) -> Result<Self, NoClient> {
        Self::build(policy, resolver, CONNECT_TIMEOUT)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that makes a client")]
    pub(super) fn build(
        policy: Policy,
        resolver: Arc<dyn Resolver>,
        connect_timeout: Duration,
    ) -> Result<Self, NoClient> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only()
            .dns_resolver(Guard { policy, resolver })
            .connect_timeout(connect_timeout)
            .pool_idle_timeout(IDLE)
            .user_agent(concat!("flowstate/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(NoClient)?;
        Ok(Self { client, policy })
    }

    /// Checks a URL that somebody gave, before it is stored: see [`Policy::check_url`].
    ///
    /// # Errors
    /// Says what is wrong and what is allowed.
    pub fn check_url(&self, url: &Url) -> Result<(), Refused> {
        self.policy.check_url(url)
    }

    /// This client for a connection whose `hosts` point elsewhere.
    ///
    /// # Errors
    /// When there are hosts and the policy is not [`Policy::PrivateToo`]: nobody who only may edit a
    /// connection shall move a vendor's traffic, credentials included, to another host.
    pub fn for_hosts(&self, hosts: HostMap) -> Result<Arc<dyn Http>, Refused> {
        if hosts.is_empty() {
            return Ok(Arc::new(self.clone()));
        }
        if self.policy != Policy::PrivateToo {
            return Err(Refused(hosts::NOT_ALLOWED.into()));
        }
        Ok(Arc::new(Rerouted { egress: self.clone(), hosts }))
    }
}

#[async_trait]
impl Http for Egress {
    async fn send(&self, request: Request) -> Result<Answer, HttpError> {
        let origin = request.url.origin().ascii_serialization();
        // The guard sees host names only; a literal address is connected to without it.
        self.policy.check_url(&request.url).map_err(|refused| failure::blocked(&origin, &refused.0))?;
        let Request { method, url, mut headers, body, timeout } = request;
        // How the body is framed follows from the body.
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        let mut outgoing = reqwest::Request::new(method, url);
        *outgoing.headers_mut() = headers;
        *outgoing.timeout_mut() = Some(timeout.min(TIMEOUT));
        if !body.is_empty() {
            *outgoing.body_mut() = Some(body.into());
        }
        let exchange = async {
            let mut response = self.client.execute(outgoing).await?;
            let body = read(&mut response).await?;
            let headers = std::mem::take(response.headers_mut());
            Ok(Answer { status: response.status().as_u16(), headers, body })
        };
        let began = Instant::now();
        let outcome = exchange.await.map_err(|error| failure::classify(error, &origin));
        measure(&outcome, began.elapsed());
        outcome
    }
}

/// Counts a request by what came of it: the first digit of a status, or why there was none.
fn measure(outcome: &Result<Answer, HttpError>, took: Duration) {
    let outcome = match outcome {
        Ok(answer) => match answer.status / 100 {
            1 | 2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        },
        Err(error) => error.class.as_str(),
    };
    metrics::counter!("flowstate_egress_requests_total", "outcome" => outcome).increment(1);
    metrics::histogram!("flowstate_egress_request_seconds").record(took);
}

/// Reads the body up to [`ANSWER_BYTES_MAX`], without a copy where it comes in one piece.
async fn read(response: &mut Response) -> reqwest::Result<Bytes> {
    let Some(mut body) = response.chunk().await? else { return Ok(Bytes::new()) };
    if body.len() < ANSWER_BYTES_MAX
        && let Some(next) = response.chunk().await?
    {
        let mut whole = BytesMut::from(body);
        whole.extend_from_slice(&next);
        while whole.len() < ANSWER_BYTES_MAX
            && let Some(next) = response.chunk().await?
        {
            whole.extend_from_slice(&next);
        }
        body = whole.freeze();
    }
    body.truncate(ANSWER_BYTES_MAX);
    Ok(body)
}

#[cfg(test)]
mod tests;
