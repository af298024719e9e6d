//! Signed webhooks: every event as one request to an address of the customer's.
//!
//! Signed as "Standard Webhooks", specification 1.0, asks (read 2026-11): `webhook-id` is the same on
//! every attempt and holds no dot, `webhook-timestamp` is the attempt's, `webhook-signature` is an
//! HMAC-SHA256 over `id.timestamp.body`. A receiver says with 410, or with the header
//! `webhook-delivery`, that it wants no more.

mod check;
mod sign;

use crate::SettingError;
use crate::engine::{Account, Check, Manners, Mapped, Operation, Scope, Sink, Verdict};
use crate::vendors::segment::payload::{payload, put_time};
use crate::vendors::{answer, manners};
use async_trait::async_trait;
use bytes::Bytes;
use pipeline::Micros;
use pipeline::clock::SECOND;
use pipeline::delivery::Class;
use pipeline::egress::{Answer, Http, Request};
use pipeline::event::{Event, parse_timestamp};
use pipeline::log::Stored;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use sha2::{Digest, Sha256};
use sign::SigningSecret;
use std::fmt;
use std::time::Duration;
use url::Url;

const ID: HeaderName = HeaderName::from_static("webhook-id");
const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// What a receiver has to say about deliveries: `disable`, or `abort-message`.
const DELIVERY: HeaderName = HeaderName::from_static("webhook-delivery");

/// Receivers are asked to answer first and to work afterwards.
const TIMEOUT: Duration = Duration::from_secs(15);

/// An address that receives every event as a signed request.
///
/// Settings: `url`, and `signing_secret_previous_until` where there is a previous secret. Credentials:
/// `signing_secret` and, while the receiver changes over, `signing_secret_previous`.
pub struct Webhook {
    url: Url,
    secret: SigningSecret,
    previous: Option<Previous>,
    manners: Manners,
}

/// A secret that is going out of use: both sign until then.
struct Previous {
    secret: SigningSecret,
    until: Micros,
}

/// Shows the host alone: the rest of an address may be a secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = self.url.host_str();
        f.debug_struct("Webhook").field("host", &host).finish_non_exhaustive()
    }
}

impl Webhook {
    /// The destination for an account.
    ///
    /// # Errors
    /// When a setting or a credential is missing or cannot be used.
    pub fn new(account: &Account) -> Result<Self, SettingError> {
        let text = |name: &str| account.settings.get(name).and_then(|value| value.as_str()).map(str::trim);
        let secret = |name: &str, shown| {
            let secret = account.credentials.get(name).map(|secret| SigningSecret::read(secret.reveal()));
            secret.transpose().map_err(|problem| invalid(shown, problem))
        };
        let until = text("signing_secret_previous_until").map(|text| {
            let time = parse_timestamp(text);
            time.ok_or_else(|| invalid("`signing_secret_previous_until`", "it is no time in RFC 3339"))
        });
        let previous =
            match (secret("signing_secret_previous", "`signing_secret_previous`")?, until.transpose()?) {
                (Some(secret), Some(until)) => Some(Previous { secret, until }),
                (Some(_), None) => {
                    let problem = "it is missing, and `signing_secret_previous` needs an end";
                    return Err(invalid("`signing_secret_previous_until`", problem));
                }
                (None, _) => None,
            };
        let secret = secret("signing_secret", "`signing_secret`")?;
        Ok(Self {
            url: address(text("url").unwrap_or_default())?,
            secret: secret.ok_or_else(|| invalid("`signing_secret`", "it is missing"))?,
            previous,
            manners: manners::of("webhook"),
        })
    }

    /// The signed request with this id and body.
    fn post(&self, id: &str, body: Bytes, now: Micros) -> Request {
        let timestamp = now / SECOND;
        let mut signature = self.secret.sign(id, timestamp, &body);
        if let Some(previous) = self.previous.as_ref().filter(|previous| now < previous.until) {
            signature = format!("{signature} {}", previous.secret.sign(id, timestamp, &body));
        }
        let header =
            |text: &str| HeaderValue::from_str(text).expect("an id and a signature are visible ASCII");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ID, header(id));
        headers.insert(TIMESTAMP, timestamp.into());
        headers.insert(SIGNATURE, header(&signature));
        Request { method: Method::POST, url: self.url.clone(), headers, body, timeout: TIMEOUT }
    }
}

/// An address that may be posted to. Whether plain HTTP and private addresses are allowed is decided
/// where requests leave.
fn address(text: &str) -> Result<Url, SettingError> {
    let url = Url::parse(text).map_err(|error| invalid("`url`", format!("{error}, expected `https://…`")))?;
    if !matches!(url.scheme(), "https" | "http") || url.host().is_none() {
        return Err(invalid("`url`", "it is no `https` address"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(invalid("`url`", "it may hold no user name, password or fragment"));
    }
    Ok(url)
}

fn invalid(setting: &'static str, problem: impl Into<String>) -> SettingError {
    SettingError { setting, problem: problem.into() }
}

/// The id of a webhook: the event's message id, or a hash of it where it would not do in a header or
/// in what is signed.
fn webhook_id(message_id: &str) -> String {
    if !message_id.is_empty() && message_id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.') {
        return message_id.to_owned();
    }
    let hash: String = Sha256::digest(message_id).iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("msg_{hash}")
}

#[async_trait]
impl Sink for Webhook {
    fn manners(&self) -> &Manners {
        &self.manners
    }

    /// The event in Segment's words, with the time of its receipt. The group is the webhook's id.
    fn map(&self, event: &Stored<Event<'static>>) -> Mapped {
        let mut body = payload(event, event.record.context.as_deref());
        body.pop();
        put_time(&mut body, "receivedAt", event.received_at);
        body.push(b'}');
        let group = webhook_id(&event.record.message_id);
        Mapped::Operations(vec![Operation { endpoint: 0, group, body: body.into() }])
    }

    fn request(&self, operations: &[&Operation], now: Micros) -> Request {
        let operation = operations.first().expect("the engine asks for at least one operation");
        self.post(&operation.group, operation.body.clone(), now)
    }

    /// Only 2xx is a success. Of the others only those that the receiver means for good end a delivery:
    /// whoever deploys, moves or misconfigures a receiver answers 401 or 404 for an hour.
    fn verdicts(&self, operations: &[&Operation], answer: &Answer, now: Micros) -> Vec<Verdict> {
        let said = answer.headers.get(DELIVERY).and_then(|value| value.to_str().ok()).map(str::trim);
        let is_success = (200..300).contains(&answer.status);
        if is_success && said != Some("disable") {
            return vec![Verdict::Delivered; operations.len()];
        }
        let mut failure = answer::failure(answer, now);
        (failure.class, failure.scope, failure.remedy) = match (answer.status, said) {
            (410, _) | (_, Some("disable")) => {
                let remedy = "The receiver wants no more webhooks: remove the destination, or give it another address.";
                (Class::Gone, Scope::Destination, remedy.to_owned())
            }
            (_, Some("abort-message")) => {
                let remedy = "The receiver refuses this event for good: look at its own log.";
                (Class::Validation, Scope::Item, remedy.to_owned())
            }
            (413, _) => (Class::TooLarge, Scope::Item, "Let the receiver take larger bodies.".to_owned()),
            (300..=399, _) => (Class::Transient, Scope::Item, moved(answer)),
            (401 | 403, _) => {
                let remedy = "Check that the receiver verifies with this destination's signing secret.";
                (Class::Transient, Scope::Item, remedy.to_owned())
            }
            (400..=499, _) if failure.class != Class::RateLimited => {
                (Class::Transient, Scope::Item, "Check the address, and the receiver's own log.".to_owned())
            }
            _ => (failure.class, failure.scope, failure.remedy),
        };
        vec![Verdict::Failed(failure); operations.len()]
    }

    async fn check(&self, http: &dyn Http, now: Micros, sample: bool) -> Check {
        Check { steps: check::steps(self, http, now, sample).await }
    }
}

/// What to do about a redirect: nothing signed goes to an address that nobody entered.
fn moved(answer: &Answer) -> String {
    let to = answer.headers.get(LOCATION).and_then(|value| value.to_str().ok());
    let host = to.and_then(|to| Url::parse(to).ok()).and_then(|url| url.host_str().map(str::to_owned));
    let to = host.map(|host| format!(", which is at `{host}`")).unwrap_or_default();
    format!("Redirects are not followed: give the destination the final address{to}.")
}

#[cfg(test)]
mod tests;
