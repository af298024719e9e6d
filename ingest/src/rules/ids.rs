//! Who an event is about, and the id of the message itself.

use super::{Broken, shown};
use pipeline::event::{Event, Flags, Kind, kept_message_id};
use pipeline::json::string;
use std::borrow::Cow;

/// The id of a message, made fit for the log.
#[derive(Clone, Debug)]
pub(crate) struct MessageId<'a> {
    pub(crate) id: Cow<'a, str>,
    /// The client's id where it was too long.
    pub(crate) original: Option<Cow<'a, str>>,
    pub(crate) flags: Flags,
}

impl<'a> MessageId<'a> {
    /// Trims the id; makes a hash of one that is too long, and one where there is none.
    ///
    /// Whole numbers count as their text. See [`kept_message_id`] for the hash.
    pub(crate) fn read(json: Option<&'a str>, make: impl FnOnce() -> String) -> Result<Self, Broken> {
        let given = match json {
            None => None,
            Some(json) => Some(text_or_integer(json).ok_or_else(|| {
                let message = format!("`messageId` is `{}`; it must be a string", shown(json));
                Broken::new("bad_request", "messageId", message)
            })?),
        };
        let Some(id) = given.map(trimmed).filter(|id| !id.is_empty()) else {
            return Ok(Self { id: Cow::Owned(make()), original: None, flags: Flags::MADE_MESSAGE_ID });
        };
        let hash = match kept_message_id(&id) {
            Cow::Borrowed(_) => return Ok(Self { id, original: None, flags: Flags::default() }),
            Cow::Owned(hash) => hash,
        };
        Ok(Self { id: Cow::Owned(hash), original: Some(id), flags: Flags::HASHED_MESSAGE_ID })
    }

    /// Whether the client gave none.
    pub(crate) fn is_made(&self) -> bool {
        self.flags.contains(Flags::MADE_MESSAGE_ID)
    }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

/// Reads an id. An empty one counts as missing, a whole number as its text, so that the user `123`
/// of one client is the user `"123"` of another.
pub(super) fn id<'a>(field: &'static str, json: Option<&'a str>) -> Result<Option<Cow<'a, str>>, Broken> {
    let Some(json) = json else { return Ok(None) };
    let id = text_or_integer(json).ok_or_else(|| {
        let message = format!("`{field}` is `{}`; it must be a string or a whole number", shown(json));
        Broken::new("id_not_string", field, message)
    })?;
    Ok((!id.is_empty()).then_some(id))
}

fn text_or_integer(json: &str) -> Option<Cow<'_, str>> {
    let digits = json.strip_prefix('-').unwrap_or(json);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Cow::Borrowed(json));
    }
    string(json)
}

/// Every call needs a user id or an anonymous id; `group` a group id as well, `alias` both of the
/// ids that it joins.
///
/// The earlier id of an `alias` may be its anonymous id: analytics.js fills in `previousId` from it,
/// and Segment's own examples leave that out (Spec, "Alias", read 2026-11).
pub(super) fn check(event: &Event<'_>) -> Result<(), Broken> {
    if event.user_id.is_none() && event.anonymous_id.is_none() {
        let message = "`userId` and `anonymousId` are missing or empty; an event needs one of them";
        return Err(Broken::new("no_user_anon_id", "userId", message));
    }
    let missing = match event.kind {
        Kind::Group if event.group_id.is_none() => "groupId",
        Kind::Alias if event.user_id.is_none() => "userId",
        Kind::Alias if event.previous_id.is_none() && event.anonymous_id.is_none() => "previousId",
        _ => return Ok(()),
    };
    let message = format!("`{missing}` is missing or empty; calls of type {} need it", event.kind.as_str());
    Err(Broken::new("id_required", missing, message))
}
