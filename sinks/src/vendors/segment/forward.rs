//! The destination that is named by one URL.

use super::payload::{payload, put_time};
use super::{BATCH_BYTES_MAX, EVENTS_MAX};
use crate::{Limits, Outcome, SettingError, Sink, http};
use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use pipeline::Clock;
use pipeline::event::Event;
use pipeline::log::Stored;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use url::{Host, Url};

/// Segment's 32 KB, read generously: what it may still take is not refused here.
const EVENT_BYTES_MAX: usize = 32 * 1024;

/// Where the setting names no path.
const PATH: &str = "/v1/batch";

const EXAMPLE: &str = "`https://WRITE_KEY@api.segment.io`";

/// A Segment source that events are sent to.
#[derive(Debug)]
pub struct Forward {
    url: Url,
    /// Marked as sensitive, so that `Debug` does not show it.
    authorization: HeaderValue,
    client: reqwest::Client,
    clock: Clock,
}

impl Forward {
    /// A source named by a URL such as `https://WRITE_KEY@api.segment.io`; in the European Union
    /// `https://WRITE_KEY@events.eu1.segmentapis.com`. Without a path it is `/v1/batch`.
    ///
    /// # Errors
    /// When a part of the URL is missing or wrong. The message does not repeat the URL.
    pub fn from_url(url: &str, client: reqwest::Client, clock: Clock) -> Result<Self, SettingError> {
        let mut url = Url::parse(url.trim())
            .map_err(|error| invalid("segment URL", format!("{error}, expected {EXAMPLE}")))?;
        let loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => return Err(invalid("segment URL host", format!("it is missing, expected {EXAMPLE}"))),
        };
        if url.scheme() != "https" && !(url.scheme() == "http" && loopback) {
            let scheme = url.scheme();
            return Err(invalid(
                "segment URL scheme",
                format!("`{scheme}` would show the write key, use `https`"),
            ));
        }
        if url.password().is_some() {
            return Err(invalid(
                "segment URL password",
                "there must be none, the write key is the user name",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("segment URL query", format!("there must be none, expected {EXAMPLE}")));
        }
        let authorization = authorization(url.username())?;
        if url.path() == "/" {
            url.set_path(PATH);
        }
        url.set_username("").map_err(|()| invalid("segment URL host", format!("expected {EXAMPLE}")))?;
        Ok(Self { url, authorization, client, clock })
    }
}

fn authorization(username: &str) -> Result<HeaderValue, SettingError> {
    const SETTING: &str = "segment URL user name";
    if username.is_empty() {
        return Err(invalid(SETTING, format!("the write key is missing, expected {EXAMPLE}")));
    }
    if !username.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte)) {
        return Err(invalid(SETTING, "a write key holds only letters, digits and `-_.~`"));
    }
    let credentials = BASE64_STANDARD.encode(format!("{username}:"));
    let mut value = HeaderValue::from_str(&format!("Basic {credentials}")).expect("base64 is a valid header");
    value.set_sensitive(true);
    Ok(value)
}

fn invalid(setting: &'static str, problem: impl Into<String>) -> SettingError {
    SettingError { setting, problem: problem.into() }
}

#[async_trait]
impl Sink for Forward {
    fn integration(&self) -> &'static str {
        "Segment.io"
    }

    fn limits(&self) -> Limits {
        Limits { events_max: EVENTS_MAX, batch_bytes_max: BATCH_BYTES_MAX, event_bytes_max: EVENT_BYTES_MAX }
    }

    fn payload(&self, event: &Stored<Event<'static>>) -> Bytes {
        payload(event, event.record.context.as_deref()).into()
    }

    async fn send(&self, payloads: &[Bytes]) -> Outcome {
        let mut body =
            Vec::with_capacity(payloads.iter().map(|payload| payload.len() + 1).sum::<usize>() + 64);
        body.extend_from_slice(b"{\"batch\":[");
        for (index, payload) in payloads.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(payload);
        }
        body.push(b']');
        put_time(&mut body, "sentAt", self.clock.now());
        body.push(b'}');
        let request = self
            .client
            .post(self.url.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(body);
        http::send(request, &self.clock).await
    }
}

#[cfg(test)]
mod tests;
