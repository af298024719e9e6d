//! JSON objects whose values stay byte for byte, except where Mixpanel would refuse them.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeMap;

/// A JSON object.
pub(super) type Object = BTreeMap<String, Box<RawValue>>;

/// Objects and lists have fewer entries than this.
const ENTRIES_BELOW: usize = 255;
/// Objects and lists lie in each other so deep at most.
const DEPTH_MAX: usize = 3;
/// Mixpanel cuts longer texts in events, in bytes.
const TEXT_BYTES_MAX: usize = 255;

/// The most bytes of one property of an event that is a list or an object (8 KB).
pub(super) const EVENT_VALUE_BYTES_MAX: usize = 8_000;
/// The same of a profile (256 KB).
pub(super) const PROFILE_VALUE_BYTES_MAX: usize = 256_000;

/// A value as JSON text.
pub(super) fn raw(value: &(impl Serialize + ?Sized)) -> Box<RawValue> {
    to_raw_value(value).expect("text, numbers and JSON can be written")
}

/// The entries of a JSON object, each as Mixpanel takes it; none where there is no object.
pub(super) fn read(json: Option<&str>, value_bytes_max: usize) -> Object {
    let object: Object = json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let fit = |(name, value): (String, Box<RawValue>)| (name, fitted(value, value_bytes_max));
    object.into_iter().filter(|(name, _)| !name.is_empty()).map(fit).collect()
}

/// The value, cut where it has to be: what lies too deep becomes text, and what is too much is left
/// out from the end.
fn fitted(value: Box<RawValue>, bytes_max: usize) -> Box<RawValue> {
    let text = value.get();
    if !text.starts_with(['{', '[']) {
        return value;
    }
    // Deeper than any parser goes.
    let Ok(parsed) = serde_json::from_str::<Value>(text) else { return raw(cut(text)) };
    if text.len() <= bytes_max && fits(&parsed, 1) {
        return value;
    }
    raw(&shortened(flattened(parsed, 1), bytes_max))
}

fn fits(value: &Value, depth: usize) -> bool {
    match value {
        Value::Array(list) => {
            depth <= DEPTH_MAX
                && list.len() < ENTRIES_BELOW
                && list.iter().all(|inner| fits(inner, depth + 1))
        }
        Value::Object(object) => {
            depth <= DEPTH_MAX
                && object.len() < ENTRIES_BELOW
                && object.values().all(|inner| fits(inner, depth + 1))
        }
        _ => true,
    }
}

fn flattened(value: Value, depth: usize) -> Value {
    let is_nest = value.is_array() || value.is_object();
    if is_nest && depth > DEPTH_MAX {
        return cut(&value.to_string()).into();
    }
    match value {
        Value::Array(list) => {
            list.into_iter().take(ENTRIES_BELOW - 1).map(|inner| flattened(inner, depth + 1)).collect()
        }
        Value::Object(object) => {
            let entries = object.into_iter().take(ENTRIES_BELOW - 1);
            entries.map(|(name, inner)| (name, flattened(inner, depth + 1))).collect()
        }
        scalar => scalar,
    }
}

/// As many entries from the start as there is room for.
fn shortened(value: Value, bytes_max: usize) -> Value {
    let mut left = bytes_max.saturating_sub(2);
    let mut has_room = |bytes: usize| {
        let fits = bytes < left;
        left = left.saturating_sub(bytes + 1);
        fits
    };
    match value {
        Value::Array(list) => {
            list.into_iter().take_while(|inner| has_room(inner.to_string().len())).collect()
        }
        Value::Object(object) => {
            let bytes =
                |name: &str, inner: &Value| Value::from(name).to_string().len() + inner.to_string().len();
            object.into_iter().take_while(|(name, inner)| has_room(bytes(name, inner) + 1)).collect()
        }
        scalar => scalar,
    }
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn one(value: &Value) -> Value {
        let object = json!({ "a": value }).to_string();
        let read = read(Some(&object), EVENT_VALUE_BYTES_MAX);
        serde_json::from_str(read["a"].get()).expect("JSON")
    }

    #[test]
    fn what_mixpanel_takes_stays_byte_for_byte() {
        let object = r#"{"n": 1.10, "big": 12345678901234567890123, "list": [ {"b": {"c": 1.0} } ]}"#;
        let read = read(Some(object), EVENT_VALUE_BYTES_MAX);
        assert_eq!(read["n"].get(), "1.10");
        assert_eq!(read["big"].get(), "12345678901234567890123");
        assert_eq!(read["list"].get(), r#"[ {"b": {"c": 1.0} } ]"#);
    }

    #[test]
    fn what_lies_too_deep_becomes_text() {
        assert_eq!(one(&json!({"b": {"c": {"d": [1]}}})), json!({"b": {"c": {"d": "[1]"}}}));
        let deep = "[".repeat(200) + &"]".repeat(200);
        let object = format!("{{\"a\":{deep}}}");
        let read = read(Some(&object), EVENT_VALUE_BYTES_MAX);
        assert!(read.get("a").is_none_or(|value| value.get().starts_with('"')), "{read:?}");
    }

    #[test]
    fn what_is_too_much_is_left_out_from_the_end() {
        let long: Vec<_> = (0..300).collect();
        assert_eq!(one(&json!(long)).as_array().expect("a list").len(), 254);
        let wide: Vec<_> = (0..100).map(|index| json!({"index": index, "text": "x".repeat(200)})).collect();
        let wide = one(&json!(wide));
        assert!(wide.to_string().len() <= EVENT_VALUE_BYTES_MAX, "{}", wide.to_string().len());
        assert_eq!(wide.as_array().expect("a list").len(), 35, "36 have 36 * 223 bytes and 37 more");
        assert_eq!(one(&json!({"b": "x".repeat(9_000)})), json!({}));
    }
}
