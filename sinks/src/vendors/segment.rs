//! Segment, through its HTTP Tracking API.
//!
//! Facts from Segment's documentation, "HTTP API" and "Spec: Common fields" (read 2026-11): Basic
//! authentication with the write key as user name and no password; at most 500 KB and 2,500 events
//! in a batch, 32 KB in an event; `timestamp` is corrected by the receiver by the difference of
//! `sentAt` and the time of receipt; 200 also for a write key that does not exist.

mod check;
mod hops;
pub(super) mod payload;

use super::{answer, manners};
use crate::SettingError;
use crate::engine::{Account, Check, Failure, Manners, Mapped, Operation, Scope, Sink, Verdict};
use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use payload::put_time;
use pipeline::Micros;
use pipeline::control::Secret;
use pipeline::delivery::Class;
use pipeline::egress::{Answer, Http, Request, TIMEOUT};
use pipeline::event::Event;
use pipeline::log::Stored;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use url::Url;

/// A Segment source that events are sent to.
#[derive(Debug)]
pub struct Segment {
    region: Region,
    batch_url: Url,
    write_key: Secret,
    /// Marked as sensitive, so that `Debug` does not show it.
    authorization: HeaderValue,
    manners: Manners,
}

/// Where a workspace keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Region {
    Us,
    Eu,
}

impl Region {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "us" => Some(Self::Us),
            "eu" => Some(Self::Eu),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Us => "the United States",
            Self::Eu => "the European Union",
        }
    }

    fn batch_url(self) -> Url {
        let url = match self {
            Self::Us => "https://api.segment.io/v1/batch",
            Self::Eu => "https://events.eu1.segmentapis.com/v1/batch",
        };
        Url::parse(url).expect("a constant address is an address")
    }
}

impl Segment {
    /// A source: the setting `region` is `us` or `eu`, the credential `write_key` is its write key.
    ///
    /// # Errors
    /// When one of them is missing or wrong.
    pub fn new(account: &Account) -> Result<Self, SettingError> {
        let region = account.settings.get("region").and_then(|region| region.as_str());
        let region =
            region.and_then(Region::parse).ok_or_else(|| invalid("`region`", "it must be `us` or `eu`"))?;
        let write_key = account.credentials.get("write_key");
        let write_key = write_key.ok_or_else(|| invalid("`write_key`", "it is missing"))?.clone();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        if write_key.reveal().is_empty() || !write_key.reveal().bytes().all(allowed) {
            return Err(invalid("`write_key`", "it must be letters, digits and `-_.~`"));
        }
        let basic = BASE64_STANDARD.encode(format!("{}:", write_key.reveal()));
        let mut authorization = HeaderValue::from_str(&format!("Basic {basic}")).expect("base64 is a header");
        authorization.set_sensitive(true);
        let manners = manners::of("segment");
        Ok(Self { region, batch_url: region.batch_url(), write_key, authorization, manners })
    }

    fn batch(&self, payloads: &[&[u8]], now: Micros) -> Request {
        let headers = HeaderMap::from_iter([
            (AUTHORIZATION, self.authorization.clone()),
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        ]);
        let body = envelope(payloads, now);
        Request { method: Method::POST, url: self.batch_url.clone(), headers, body, timeout: TIMEOUT }
    }

    /// What an answer of the batch address means that is no success.
    fn failure(&self, answer: &Answer, now: Micros) -> Failure {
        let mut failure = answer::failure(answer, now);
        failure.detail = failure.detail.replace(self.write_key.reveal(), "…");
        match failure.class {
            Class::AuthRevoked | Class::Permission => {
                failure.remedy = "Replace the connection's write key with the one of an HTTP source. \
                                  Sources that ask for OAuth are not supported."
                    .to_owned();
            }
            Class::RateLimited => {
                let reset = answer::reset_after(&answer.headers, "X-RateLimit-Reset", now);
                failure.retry_after = failure.retry_after.or(reset);
            }
            // The address is Segment's own and fixed: this was not Segment, or not for long.
            Class::NotFound | Class::Gone => {
                failure.class = Class::Transient;
                failure.scope = Scope::Destination;
                failure.remedy = "Check that nothing stands between this machine and Segment.".to_owned();
            }
            _ => {}
        }
        failure
    }
}

fn envelope(payloads: &[&[u8]], now: Micros) -> Bytes {
    let mut body = Vec::with_capacity(payloads.iter().map(|payload| payload.len() + 1).sum::<usize>() + 64);
    body.extend_from_slice(b"{\"batch\":[");
    for (index, payload) in payloads.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(payload);
    }
    body.push(b']');
    put_time(&mut body, "sentAt", now);
    body.push(b'}');
    body.into()
}

fn invalid(setting: &'static str, problem: &str) -> SettingError {
    SettingError { setting, problem: problem.to_owned() }
}

#[async_trait]
impl Sink for Segment {
    fn manners(&self) -> &Manners {
        &self.manners
    }

    fn map(&self, event: &Stored<Event<'static>>) -> Mapped {
        let record = &event.record;
        let named = |id: &Option<_>| id.as_ref().is_some_and(|id: &std::borrow::Cow<'_, str>| !id.is_empty());
        if !named(&record.user_id) && !named(&record.anonymous_id) {
            return Mapped::Refused(answer::refused(
                "it has neither `userId` nor `anonymousId`, and Segment would drop it without a word",
                "Send a `userId` or an `anonymousId` with the event.",
            ));
        }
        let context = record.context.as_deref().unwrap_or("{}");
        let hops = hops::count(context);
        if hops >= hops::HOPS_MAX {
            return Mapped::Refused(answer::refused(
                format!(
                    "`context.flowstate.hops` is {hops}: it has been sent to Segment that often and came back"
                ),
                "Stop the Segment workspace from sending this source's events back.",
            ));
        }
        let context = hops::mark(context, hops + 1);
        let body = payload::payload(event, Some(&context)).into();
        Mapped::Operations(vec![Operation { endpoint: 0, group: String::new(), body }])
    }

    fn request(&self, operations: &[&Operation], now: Micros) -> Request {
        let payloads: Vec<&[u8]> = operations.iter().map(|operation| operation.body.as_ref()).collect();
        self.batch(&payloads, now)
    }

    fn verdicts(&self, operations: &[&Operation], answer: &Answer, now: Micros) -> Vec<Verdict> {
        let verdict = match answer.status {
            200..=299 => Verdict::Delivered,
            _ => Verdict::Failed(self.failure(answer, now)),
        };
        vec![verdict; operations.len()]
    }

    async fn check(&self, http: &dyn Http, now: Micros, sample: bool) -> Check {
        self.prove(http, now, sample).await
    }
}

#[cfg(test)]
mod tests;
