//! The one HTTP client for everything that leaves.
//!
//! [`Egress`] follows no redirects, reads no proxy from the environment, bounds time and size, and
//! connects only where its [`Policy`] allows. Everything else speaks to the trait [`Http`]; for our own
//! server on this machine there is [`local_client`].

mod address;
mod client;
mod failure;
mod guard;
mod hosts;
mod policy;

pub use client::{Egress, NoClient};
pub use guard::Resolver;
pub use hosts::{HostMap, HostMapError};
pub use policy::{Policy, Refused};

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;
use std::fmt;
use std::time::Duration;
use url::Url;

/// The longest time to a vendor's whole answer.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// Where requests leave: the guarded client, or what stands for it in a simulation.
#[async_trait]
pub trait Http: Send + Sync {
    /// Sends one request and reads the answer, its body up to [`ANSWER_BYTES_MAX`].
    async fn send(&self, request: Request) -> Result<Answer, HttpError>;
}

/// How much of an answer's body is read.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// A request to a vendor. Headers that hold a secret are marked as sensitive.
///
/// Its `Debug` shows neither path, header values nor body, which may all hold secrets.
#[derive(Clone)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// Where it goes, by the host name of the vendor's facts.
    pub url: Url,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as it is sent.
    pub body: Bytes,
    /// How long the whole exchange may take, at most [`TIMEOUT`].
    pub timeout: Duration,
}

/// A vendor's answer, whatever its status.
///
/// Its `Debug` shows neither header values nor body: a vendor may answer with a token.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, cut at [`ANSWER_BYTES_MAX`].
    pub body: Bytes,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("origin", &self.url.origin().ascii_serialization())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Why no answer came. `detail` holds no address with a query and no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct HttpError {
    /// One of `timeout`, the `network_…` classes, and `blocked_egress`.
    pub class: crate::delivery::Class,
    /// What went wrong, in one line.
    pub detail: String,
}

/// A plain client for our own server on this machine, which the command line, the demo and the
/// benchmark speak to. It has no [`Policy`]: nothing that goes to a vendor may use it.
///
/// # Errors
/// When the platform's certificates cannot be read.
#[expect(clippy::disallowed_methods, reason = "it stays on this machine")]
pub fn local_client() -> reqwest::Result<reqwest::Client> {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .timeout(TIMEOUT)
        .user_agent(concat!("flowstate/", env!("CARGO_PKG_VERSION")))
        .build()
}
