//! What Segment asks of a request.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use chrono::DateTime;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

pub(super) const BATCH_BYTES_MAX: usize = 500_000;
const EVENTS_MAX: usize = 2_500;
const EVENT_BYTES_MAX: usize = 32_000;
const MESSAGE_ID_MAX: usize = 100;

/// A message that broke no rule.
pub(super) struct Message {
    pub(super) id: String,
    pub(super) text: Box<str>,
}

/// A rule that a request broke.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) status: u16,
    pub(super) what: String,
}

impl Broken {
    pub(super) fn new(status: u16, what: impl ToString) -> Self {
        Self { status, what: what.to_string() }
    }

    pub(super) fn answer(&self) -> HttpResponse {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        HttpResponse::build(status).json(json!({"success": false, "message": self.what}))
    }
}

/// Basic authentication with the write key and an empty password, and JSON.
pub(super) fn check_headers(headers: &HeaderMap, write_key: &str) -> Result<(), Broken> {
    let header = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
    let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{write_key}:")));
    if header(AUTHORIZATION) != expected {
        return Err(Broken::new(401, "the write key is missing or unknown"));
    }
    if !header(CONTENT_TYPE).starts_with("application/json") {
        return Err(Broken::new(400, format!("the content type is `{}`", header(CONTENT_TYPE))));
    }
    Ok(())
}

/// The messages of a batch, all of which keep the rules.
pub(super) fn messages(body: &[u8]) -> Result<Vec<Message>, Broken> {
    let envelope: HashMap<&str, &RawValue> =
        serde_json::from_slice(body).map_err(|error| Broken::new(400, error))?;
    let sent_at: Option<String> = envelope.get("sentAt").and_then(|raw| serde_json::from_str(raw.get()).ok());
    if !sent_at.is_some_and(|text| is_time(&text)) {
        return Err(Broken::new(400, "`sentAt` is missing or no time"));
    }
    let batch = envelope.get("batch").ok_or_else(|| Broken::new(400, "`batch` is missing"))?;
    let batch: Vec<&RawValue> =
        serde_json::from_str(batch.get()).map_err(|error| Broken::new(400, format!("`batch`: {error}")))?;
    if batch.is_empty() || batch.len() > EVENTS_MAX {
        return Err(Broken::new(400, format!("`batch` has {} messages", batch.len())));
    }
    let at = |index| move |what: String| Broken::new(400, format!("`batch[{index}]`: {what}"));
    batch.into_iter().enumerate().map(|(index, raw)| message(raw.get()).map_err(at(index))).collect()
}

fn message(text: &str) -> Result<Message, String> {
    if text.len() > EVENT_BYTES_MAX {
        return Err(format!("it has {} bytes", text.len()));
    }
    let message: Map<String, Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let word = |key: &str| message.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let needed: &[&str] = match word("type") {
        Some("track") => &["event"],
        Some("group") => &["groupId"],
        Some("alias") => &["previousId"],
        Some("identify" | "page" | "screen") => &[],
        _ => return Err(format!("its `type` is {:?}", message.get("type"))),
    };
    if let Some(missing) = needed.iter().find(|key| word(key).is_none()) {
        return Err(format!("`{missing}` is missing or empty"));
    }
    if word("userId").is_none() && word("anonymousId").is_none() {
        return Err("it has neither `userId` nor `anonymousId`".to_owned());
    }
    let not_objects = ["properties", "traits", "context", "integrations"];
    if let Some(key) = not_objects.iter().find(|key| message.get(**key).is_some_and(|v| !v.is_object())) {
        return Err(format!("`{key}` is no object"));
    }
    if !word("timestamp").is_some_and(is_time) {
        return Err("`timestamp` is missing or no time".to_owned());
    }
    if let Some(ours) = ["writeKey", "sentAt", "receivedAt"].iter().find(|key| message.contains_key(**key)) {
        return Err(format!("`{ours}` does not belong in a message"));
    }
    let id = word("messageId").filter(|id| id.chars().count() <= MESSAGE_ID_MAX);
    let id = id.ok_or("`messageId` is missing, empty or too long")?.to_owned();
    Ok(Message { id, text: text.into() })
}

fn is_time(text: &str) -> bool {
    DateTime::parse_from_rfc3339(text).is_ok()
}
