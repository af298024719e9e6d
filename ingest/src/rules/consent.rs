//! What a consent has to look like, so that it can be obeyed: Segment, "Consent in Segment
//! Connections" and "Delivery overview" (read 2026-11).

use super::{Broken, shown};
use crate::object::Object;
use memchr::memmem::Finder;
use pipeline::event::Event;
use std::sync::LazyLock;

/// The event that tells of a changed consent, and so must bring one.
const PREFERENCE_UPDATED: &str = "Segment Consent Preference Updated";

/// Checks `context.consent` and `context.device.advertisingId`, as far as they are there.
pub(super) fn check(event: &Event<'_>) -> Result<(), Broken> {
    let preference_updated = event.event.as_deref() == Some(PREFERENCE_UPDATED);
    let context = event.context.as_deref().unwrap_or("{}");
    // Few events have either; a name that is written with escapes is not worth a parse of all.
    static NAMES: LazyLock<[Finder<'static>; 2]> =
        LazyLock::new(|| ["\"consent\"", "\"advertisingId\""].map(Finder::new));
    if !preference_updated && NAMES.iter().all(|name| name.find(context.as_bytes()).is_none()) {
        return Ok(());
    }
    let context = Object::parse(context).unwrap_or_default();
    check_device(&context)?;
    let consent = object(&context, "consent", "bad_request", "context.consent")?;
    let Some(consent) = consent else {
        return if preference_updated { Err(no_preferences()) } else { Ok(()) };
    };
    const PREFERENCES: &str = "context.consent.categoryPreferences";
    let code = "consent_categorypreferences_fields_should_be_object";
    let Some(preferences) = object(&consent, "categoryPreferences", code, PREFERENCES)? else {
        let empty = consent.0.is_empty() && !preference_updated;
        return if empty { Ok(()) } else { Err(no_preferences()) };
    };
    for (category, json) in &preferences.0 {
        if !matches!(*json, "true" | "false") {
            let path = format!("{PREFERENCES}.{}", shown(category));
            let message = format!("`{path}` is `{}`; it must be true or false", shown(json));
            return Err(Broken::new("consent_categorypreferences_fields_should_be_bool", &path, message));
        }
    }
    match consent.get("version").filter(|json| *json != "null") {
        Some(json) if !json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            let path = "context.consent.version";
            let message = format!("`{path}` is `{}`; it must be a number", shown(json));
            Err(Broken::new("consent_version_should_be_number", path, message))
        }
        _ => Ok(()),
    }
}

fn check_device(context: &Object<'_>) -> Result<(), Broken> {
    let device = context.get("device").and_then(Object::parse).unwrap_or_default();
    match device.get("advertisingId") {
        Some(json) if json != "null" && !json.starts_with('"') => {
            let path = "context.device.advertisingId";
            let message = format!("`{path}` is `{}`; it must be a string", shown(json));
            Err(Broken::new("device_advertisingid_should_be_string", path, message))
        }
        _ => Ok(()),
    }
}

fn no_preferences() -> Broken {
    let path = "context.consent.categoryPreferences";
    let message = format!("`{path}` is missing; a consent must say what it allows");
    Broken::new("consent_categorypreferences_should_exist", path, message)
}

fn object<'a>(
    parent: &Object<'a>,
    key: &str,
    code: &'static str,
    path: &str,
) -> Result<Option<Object<'a>>, Broken> {
    let Some(json) = parent.get(key).filter(|json| *json != "null") else { return Ok(None) };
    Object::parse(json).map(Some).ok_or_else(|| {
        let message = format!("`{path}` is `{}`; it must be an object", shown(json));
        Broken::new(code, path, message)
    })
}
