//! What a person agreed to.

use super::lookup::member;
use pipeline::connection::Consent;

/// What an event says about consent to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Given {
    /// The person agreed to all of its categories, or it has none.
    Yes,
    /// The person did not.
    No,
    /// The event says nothing about consent.
    Unknown,
}

/// Whether an event with this `context` was sent with consent to the destination's categories.
///
/// Only `true` is consent; a category that is not listed has none (Segment, "Configure Consent
/// Management", read 2026-11).
pub(super) fn given(consent: &Consent, context: Option<&str>) -> Given {
    if consent.categories.is_empty() {
        return Given::Yes;
    }
    let preferences = context
        .and_then(|context| member(context, "consent"))
        .and_then(|consent| member(consent, "categoryPreferences"))
        .filter(|preferences| *preferences != "null");
    let Some(preferences) = preferences else { return Given::Unknown };
    let all = consent.categories.iter().all(|category| member(preferences, category) == Some("true"));
    if all { Given::Yes } else { Given::No }
}
