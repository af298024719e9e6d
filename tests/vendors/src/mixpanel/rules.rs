//! What Mixpanel takes as ids and values.

use serde_json::Value;

const PLACEHOLDERS: &str = "00000000-0000-0000-0000-000000000000|anon|anonymous|nil|none|null|n/a|na|\
                            undefined|unknown|<nil>|0|-1|true|false|[]|{}";
/// 1 MB.
pub(super) const RECORD_BYTES_MAX: usize = 1024 * 1024;
const TEXT_BYTES_MAX: usize = 255;
const DEPTH_MAX: usize = 3;
const ENTRIES_BELOW: usize = 255;

/// Whether Mixpanel takes this for nobody.
pub(super) fn is_placeholder(id: &str) -> bool {
    PLACEHOLDERS.split('|').any(|placeholder| placeholder == id.to_lowercase())
}

/// What is wrong with a property's value.
pub(super) fn check_value(value: &Value, bytes_max: usize) -> Result<(), String> {
    let is_nest = value.is_array() || value.is_object();
    if is_nest && value.to_string().len() > bytes_max {
        return Err(format!("it has more than {bytes_max} bytes"));
    }
    check_nest(value, 1)
}

fn check_nest(value: &Value, depth: usize) -> Result<(), String> {
    let inner: Vec<&Value> = match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(object) => object.values().collect(),
        _ => return Ok(()),
    };
    if depth > DEPTH_MAX {
        return Err(format!("its nesting is deeper than {DEPTH_MAX}"));
    }
    if inner.len() >= ENTRIES_BELOW {
        return Err(format!("it has {} entries in one object or list", inner.len()));
    }
    inner.into_iter().try_for_each(|inner| check_nest(inner, depth + 1))
}

/// The value as it is stored: long texts are cut.
pub(super) fn stored(value: &Value) -> Value {
    match value {
        Value::String(text) => text[..text.floor_char_boundary(TEXT_BYTES_MAX)].into(),
        other => other.clone(),
    }
}
