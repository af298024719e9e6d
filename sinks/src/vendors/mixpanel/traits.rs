//! Traits in the names that Mixpanel shows in the profile of a person or a group.

use super::object::{self, Object, PROFILE_VALUE_BYTES_MAX, raw};
use chrono::DateTime;
use pipeline::Micros;
use pipeline::clock::SECOND;
use pipeline::event::parse_timestamp;
use serde_json::Value;

const NAMES: [(&str, &str); 7] = [
    ("email", "$email"),
    ("firstName", "$first_name"),
    ("lastName", "$last_name"),
    ("name", "$name"),
    ("phone", "$phone"),
    ("username", "$username"),
    ("avatar", "$avatar"),
];

/// The profile of a person.
///
/// The traits of [`NAMES`] and `createdAt` get Mixpanel's names; `address` stays and is also told as
/// `$city`, `$region` and, where it is two letters, `$country_code`. The rest passes as it is. A name
/// that is given in Mixpanel's own way wins.
pub(super) fn of_person(traits: Option<&str>) -> Object {
    let mut profile = object::read(traits, PROFILE_VALUE_BYTES_MAX);
    for (from, to) in NAMES {
        rename(&mut profile, from, to);
    }
    for from in ["createdAt", "created_at"] {
        if let Some(created) = profile.get(from).and_then(|value| created(value.get())) {
            profile.remove(from);
            profile.entry("$created".to_owned()).or_insert(raw(&created));
        }
    }
    let text = |profile: &Object, name: &str| {
        profile.get(name).and_then(|value| serde_json::from_str::<String>(value.get()).ok())
    };
    if !profile.contains_key("$name") {
        let parts = [text(&profile, "$first_name"), text(&profile, "$last_name")];
        let name = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
        if !name.is_empty() {
            profile.insert("$name".to_owned(), raw(&name));
        }
    }
    let address: Value = profile
        .get("address")
        .map_or(Value::Null, |value| serde_json::from_str(value.get()).unwrap_or_default());
    let country = address["country"].as_str().filter(|country| is_country_code(country));
    let places = [
        ("$city", address["city"].as_str()),
        ("$region", address["state"].as_str()),
        ("$country_code", country),
    ];
    for (name, place) in places {
        if let Some(place) = place {
            profile.entry(name.to_owned()).or_insert(raw(place));
        }
    }
    profile
}

/// The profile of a group: `name` is what Mixpanel shows.
pub(super) fn of_group(traits: Option<&str>) -> Object {
    let mut profile = object::read(traits, PROFILE_VALUE_BYTES_MAX);
    rename(&mut profile, "name", "$name");
    profile
}

fn rename(profile: &mut Object, from: &str, to: &str) {
    if let Some(value) = profile.remove(from) {
        profile.entry(to.to_owned()).or_insert(value);
    }
}

fn is_country_code(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// A time as Mixpanel reads it, in UTC: from ISO 8601, or from seconds or ms since 1970.
fn created(json: &str) -> Option<String> {
    let at: Micros = match serde_json::from_str(json).ok()? {
        Value::String(text) => parse_timestamp(&text)?,
        Value::Number(number) => {
            let number = number.as_i64()?;
            // As ms this would be before 1973; as seconds, after the year 5138.
            let micros = if number.abs() < 100_000_000_000 { SECOND } else { SECOND / 1000 };
            number.checked_mul(micros)?
        }
        _ => return None,
    };
    Some(DateTime::from_timestamp_micros(at)?.format("%Y-%m-%dT%H:%M:%S").to_string())
}
