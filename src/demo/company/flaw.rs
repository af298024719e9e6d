//! The mistakes that clients make.

use super::Message;
use serde_json::{Value, json};

/// A mistake in a message, and the code it must be rejected with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flaw {
    /// What the developer did, for people.
    pub(crate) what: &'static str,
    /// The code of the rejection.
    pub(crate) code: &'static str,
    kind: &'static str,
    key: &'static str,
    value: Option<&'static str>,
}

impl Flaw {
    /// All mistakes. `value` is JSON; `None` takes the field away.
    pub(crate) const ALL: [Self; 6] = [
        Self::new("neither userId nor anonymousId", "no_user_anon_id", "track", "ids", None),
        Self::new("a track call without its event", "event_not_defined", "track", "event", None),
        Self::new("an event name that is a number", "event_not_string", "track", "event", Some("42")),
        Self::new("properties as text", "properties_not_object", "track", "properties", Some("\"sku=1\"")),
        Self::new("traits as a list", "traits_not_object", "identify", "traits", Some("[\"vip\"]")),
        Self::new("a page name that is a number", "name_not_string", "page", "name", Some("404")),
    ];

    const fn new(
        what: &'static str,
        code: &'static str,
        kind: &'static str,
        key: &'static str,
        value: Option<&'static str>,
    ) -> Self {
        Self { what, code, kind, key, value }
    }

    /// A message like `from` with this mistake; `nth` makes its id unique.
    pub(super) fn inflict(self, from: &Message, nth: usize) -> Message {
        let mut body = json!({
            "type": self.kind, "messageId": format!("broken-{nth}"),
            "anonymousId": from.body["anonymousId"].as_str().unwrap_or("kiosk"),
            "timestamp": from.body["timestamp"],
        });
        match self.kind {
            "track" => body["event"] = "Product Viewed".into(),
            "page" => body["name"] = "Home".into(),
            _ => body["userId"] = "kiosk".into(),
        }
        let removed = if self.key == "ids" { "anonymousId" } else { self.key };
        match (self.value, body.as_object_mut()) {
            (Some(value), Some(body)) => {
                let value = serde_json::from_str(value).unwrap_or(Value::Null);
                body.insert(self.key.to_owned(), value);
            }
            (None, Some(body)) => drop(body.remove(removed)),
            (_, None) => {}
        }
        Message { body, flaw: Some(self), ..from.clone() }
    }
}
