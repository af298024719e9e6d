//! Whose event it is, in the words of both identity models.

use super::object::{Object, raw};
use super::project::Identity;
use crate::engine::Failure;
use crate::vendors::answer;
use pipeline::event::Event;
use std::borrow::Cow;

/// What Mixpanel takes for nobody, whatever the case of its letters.
const PLACEHOLDERS: [&str; 17] = [
    "00000000-0000-0000-0000-000000000000",
    "anon",
    "anonymous",
    "nil",
    "none",
    "null",
    "n/a",
    "na",
    "undefined",
    "unknown",
    "<nil>",
    "0",
    "-1",
    "true",
    "false",
    "[]",
    "{}",
];

/// Mixpanel cuts longer texts, which would make one person of two.
const ID_BYTES_MAX: usize = 255;

/// What stands in front of the distinct id of a device.
const DEVICE: &str = "$device:";

/// Whether Mixpanel refuses this as an id.
pub(super) fn is_placeholder(id: &str) -> bool {
    let id = id.trim();
    id.is_empty() || PLACEHOLDERS.iter().any(|placeholder| placeholder.eq_ignore_ascii_case(id))
}

/// The person of an event: a user, a device, or both.
pub(super) struct Person<'a> {
    pub(super) user_id: Option<&'a str>,
    pub(super) device_id: Option<&'a str>,
}

impl<'a> Person<'a> {
    /// The ids of an event. An anonymous id that Mixpanel would refuse is left out where there is a
    /// user id, because it would join everybody who has it.
    ///
    /// # Errors
    /// When there is no id, or none that Mixpanel takes.
    pub(super) fn of(event: &'a Event<'_>) -> Result<Self, Failure> {
        let user_id = event.user_id.as_deref().map(|id| usable("userId", id)).transpose()?;
        let device_id = match event.anonymous_id.as_deref().map(|id| usable("anonymousId", id)) {
            Some(Err(failure)) if user_id.is_none() => return Err(failure),
            Some(Ok(id)) => Some(id),
            Some(Err(_)) | None => None,
        };
        if user_id.is_none() && device_id.is_none() {
            return Err(answer::refused(
                "it has neither `userId` nor `anonymousId`",
                "Send a `userId` or an `anonymousId` with the event.",
            ));
        }
        Ok(Self { user_id, device_id })
    }

    /// The one id under which Mixpanel files the event.
    pub(super) fn distinct_id(&self, identity: Identity) -> Cow<'a, str> {
        match (self.user_id, self.device_id, identity) {
            (Some(user), _, _) => user.into(),
            (None, Some(device), Identity::Simplified) => format!("{DEVICE}{device}").into(),
            (None, device, _) => device.unwrap_or_default().into(),
        }
    }

    /// Writes the ids into an event's properties.
    pub(super) fn put(&self, identity: Identity, properties: &mut Object) {
        properties.insert("distinct_id".to_owned(), raw(&self.distinct_id(identity)));
        if identity == Identity::Simplified {
            let ids = [("$user_id", self.user_id), ("$device_id", self.device_id)];
            let ids = ids.into_iter().filter_map(|(name, id)| Some((name.to_owned(), raw(&id?))));
            properties.extend(ids);
        }
    }
}

/// An id as Mixpanel takes it.
///
/// # Errors
/// When it is a placeholder or too long.
pub(super) fn usable<'a>(field: &str, id: &'a str) -> Result<&'a str, Failure> {
    if is_placeholder(id) {
        return Err(answer::refused(
            format!("`{field}` is `{id}`, which Mixpanel takes for nobody"),
            format!("Send the person's own `{field}`, or leave it out."),
        ));
    }
    if id.len() + DEVICE.len() > ID_BYTES_MAX {
        let max = ID_BYTES_MAX - DEVICE.len();
        return Err(answer::refused(
            format!("`{field}` has {} bytes, and Mixpanel would cut it", id.len()),
            format!("Send an id of at most {max} bytes."),
        ));
    }
    Ok(id)
}

/// Whether this is a random UUID (RFC 9562, version 4), the only anonymous id that the original model
/// joins with a user.
pub(super) fn is_uuid_v4(id: &str) -> bool {
    let is_valid = |(index, byte): (usize, u8)| match index {
        8 | 13 | 18 | 23 => byte == b'-',
        14 => byte == b'4',
        19 => b"89abAB".contains(&byte),
        _ => byte.is_ascii_hexdigit(),
    };
    id.len() == 36 && id.bytes().enumerate().all(is_valid)
}
