//! Google Analytics 4, through its Measurement Protocol.
//!
//! Facts from Google's documentation, "Measurement Protocol (Google Analytics 4)": "Protocol
//! reference", "Send events", "Validate events" and "Events" (read 2026-11). Google answers 2xx to
//! everything, a wrong secret too, and drops in silence what breaks its rules; so the rules are kept
//! here. A request is about one client, has at most 25 events and less than 130 kB. Nothing is
//! recognised as a repeat but a `purchase` with the same transaction id. Events over 72 hours old are
//! taken with a wrong time.

mod check;
mod client;
mod event;
mod names;
mod params;
mod recommended;

use crate::SettingError;
use crate::engine::{Account, Check, Manners, Mapped, Operation, Scope, Sink, Verdict};
use crate::vendors::{answer, manners};
use async_trait::async_trait;
use bytes::Bytes;
use client::Options;
use pipeline::Micros;
use pipeline::control::Secret;
use pipeline::delivery::Class;
use pipeline::egress::{Answer, Http, Request, TIMEOUT};
use pipeline::event::Event;
use pipeline::log::Stored;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use url::Url;
use url::form_urlencoded::byte_serialize;

/// A stream of a Google Analytics 4 property that events are sent to.
///
/// Settings: one of `measurement_id` and `firebase_app_id`; and, each of them optional, `region`
/// (`global` or `eu`), `currency`, `user_properties`, `send_user_id`, `send_ip`,
/// `ad_user_data_category` and `ad_personalization_category`. Credential: `api_secret`.
#[derive(Debug)]
pub struct GoogleAnalytics {
    host: &'static str,
    stream: Stream,
    api_secret: Secret,
    options: Options,
    manners: Manners,
}

/// Which kind of stream events go to, and its id.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Stream {
    Web(String),
    App(String),
}

impl GoogleAnalytics {
    /// The destination for an account.
    ///
    /// # Errors
    /// When a setting or the credential is missing or cannot be used.
    pub fn new(account: &Account) -> Result<Self, SettingError> {
        let settings = &account.settings;
        let text = |name: &str| {
            settings.get(name).and_then(|value| value.as_str()).map(str::trim).filter(|text| !text.is_empty())
        };
        let stream = match (text("measurement_id"), text("firebase_app_id")) {
            (Some(id), None) => Stream::Web(checked_id("`measurement_id`", id)?),
            (None, Some(id)) => Stream::App(checked_id("`firebase_app_id`", id)?),
            _ => return Err(invalid("`measurement_id`", "give either it or `firebase_app_id`")),
        };
        let host = match text("region").unwrap_or("global") {
            "global" => "www.google-analytics.com",
            "eu" => "region1.google-analytics.com",
            other => return Err(invalid("`region`", format!("`{other}` is neither `global` nor `eu`"))),
        };
        let api_secret = account.credentials.get("api_secret");
        let api_secret = api_secret.ok_or_else(|| invalid("`api_secret`", "it is missing"))?.clone();
        let manners = manners::of("google_analytics");
        Ok(Self { host, stream, api_secret, options: Options::read(settings)?, manners })
    }

    /// The address of an endpoint. It holds the secret, as Google wants it.
    fn url(&self, path: &str) -> Url {
        let secret: String = byte_serialize(self.api_secret.reveal().as_bytes()).collect();
        let (name, id) = match &self.stream {
            Stream::Web(id) => ("measurement_id", id),
            Stream::App(id) => ("firebase_app_id", id),
        };
        // Google asks for the colons of a Firebase app id as they are, not percent-encoded.
        Url::parse(&format!("https://{}{path}?api_secret={secret}&{name}={id}", self.host))
            .expect("made of a known host, an encoded secret and a checked id")
    }

    fn post(&self, path: &str, body: Vec<u8>) -> Request {
        let json = HeaderValue::from_static("application/json");
        Request {
            method: Method::POST,
            url: self.url(path),
            headers: HeaderMap::from_iter([(CONTENT_TYPE, json)]),
            body: body.into(),
            timeout: TIMEOUT,
        }
    }
}

fn checked_id(setting: &'static str, id: &str) -> Result<String, SettingError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:.".contains(&byte);
    if !id.bytes().all(allowed) || id.len() > 100 {
        return Err(invalid(setting, "an id has letters, digits and `-_:.`, at most 100 of them"));
    }
    Ok(id.to_owned())
}

fn invalid(setting: &'static str, problem: impl Into<String>) -> SettingError {
    SettingError { setting, problem: problem.into() }
}

#[async_trait]
impl Sink for GoogleAnalytics {
    fn manners(&self) -> &Manners {
        &self.manners
    }

    /// One event of the protocol. The group is the body's other fields as JSON: who it is about.
    fn map(&self, event: &Stored<Event<'static>>) -> Mapped {
        let is_app = matches!(self.stream, Stream::App(_));
        match event::map(event, is_app, &self.options) {
            Ok(Some((group, body))) => {
                Mapped::Operations(vec![Operation { endpoint: 0, group, body: Bytes::from(body) }])
            }
            Ok(None) => Mapped::Skipped("Google Analytics has no event for `identify` and `alias`"),
            Err(failure) => Mapped::Refused(*failure),
        }
    }

    fn request(&self, operations: &[&Operation], _now: Micros) -> Request {
        let client = operations.first().map_or("", |operation| operation.group.as_str());
        let mut body = Vec::from(client.strip_suffix('}').unwrap_or_default());
        body.extend_from_slice(b",\"events\":[");
        for (index, operation) in operations.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&operation.body);
        }
        body.extend_from_slice(b"]}");
        self.post("/mp/collect", body)
    }

    /// Google asks not to repeat a request that it answered with a 4xx.
    fn verdicts(&self, operations: &[&Operation], answer: &Answer, now: Micros) -> Vec<Verdict> {
        if (200..300).contains(&answer.status) {
            return vec![Verdict::Delivered; operations.len()];
        }
        let mut failure = answer::failure(answer, now);
        failure.detail = failure.detail.replace(self.api_secret.reveal(), "…");
        if (400..500).contains(&answer.status) && !matches!(answer.status, 408 | 413 | 425 | 429) {
            failure.class = Class::Validation;
            failure.scope = Scope::Batch;
            failure.remedy = "Look at the answer: Google refuses this request as it is.".to_owned();
        }
        if failure.scope == Scope::Batch && operations.len() == 1 {
            failure.scope = Scope::Item;
        }
        vec![Verdict::Failed(failure); operations.len()]
    }

    async fn check(&self, http: &dyn Http, now: Micros, sample: bool) -> Check {
        Check { steps: check::steps(self, http, now, sample).await }
    }
}

#[cfg(test)]
mod tests;
