//! People whose events go nowhere.

use super::lookup::member;
use pipeline::connection::{IdentifierKind, Suppressed};
use pipeline::event::Event;

/// The word for the identifier of this event that is suppressed, if one is.
pub(super) fn reason(suppressed: &Suppressed, event: &Event<'_>) -> Option<&'static str> {
    if suppressed.is_empty() {
        return None;
    }
    let has = |kind, id: &Option<_>| id.as_deref().is_some_and(|id| suppressed.contains(kind, id));
    if has(IdentifierKind::UserId, &event.user_id) {
        return Some("suppressed_user_id");
    }
    if has(IdentifierKind::AnonymousId, &event.anonymous_id) {
        return Some("suppressed_anonymous_id");
    }
    // The older id of an alias may be of either kind.
    if has(IdentifierKind::UserId, &event.previous_id) || has(IdentifierKind::AnonymousId, &event.previous_id)
    {
        return Some("suppressed_previous_id");
    }
    let email = |email: String| suppressed.contains(IdentifierKind::Email, &email);
    emails(event).any(email).then_some("suppressed_email")
}

/// The event's e-mail addresses, in lower case.
fn emails(event: &Event<'_>) -> impl Iterator<Item = String> {
    let traits = event.context.as_deref().and_then(|context| member(context, "traits"));
    [event.traits.as_deref(), traits, event.properties.as_deref()]
        .into_iter()
        .flatten()
        .filter_map(|object| member(object, "email"))
        .filter_map(|email| serde_json::from_str::<String>(email).ok())
        .map(|email| email.to_lowercase())
}
