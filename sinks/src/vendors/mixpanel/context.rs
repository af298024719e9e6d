//! What Mixpanel's own libraries would know, from an event's context.

use super::object::{Object, raw};
use serde_json::Value;
use std::net::IpAddr;

/// A place in the context and the property it becomes.
const PROPERTIES: [(&str, &str); 17] = [
    ("/page/url", "$current_url"),
    ("/page/referrer", "$referrer"),
    ("/os/name", "$os"),
    ("/os/version", "$os_version"),
    ("/device/manufacturer", "$manufacturer"),
    ("/device/model", "$model"),
    ("/app/version", "$app_version_string"),
    ("/app/build", "$app_build_number"),
    ("/screen/height", "$screen_height"),
    ("/screen/width", "$screen_width"),
    ("/network/carrier", "$carrier"),
    ("/network/wifi", "$wifi_enabled"),
    ("/locale", "$locale"),
    ("/timezone", "timezone"),
    ("/library/name", "mp_lib"),
    ("/library/version", "$lib_version"),
    ("/campaign/name", "utm_campaign"),
];

/// The person's address, or `0`, which keeps Mixpanel from taking ours for it.
pub(super) fn ip(context: &Value) -> &str {
    let ip = context["ip"].as_str().filter(|ip| ip.parse::<IpAddr>().is_ok());
    ip.unwrap_or("0")
}

/// The properties of an event.
pub(super) fn properties(context: &Value) -> Object {
    let mut properties = Object::new();
    for (place, name) in PROPERTIES {
        if let Some(value) = context.pointer(place).filter(|value| is_told(value)) {
            properties.insert(name.to_owned(), raw(value));
        }
    }
    for (name, value) in context["campaign"].as_object().into_iter().flatten() {
        if name != "name" && is_told(value) {
            properties.insert(format!("utm_{name}"), raw(value));
        }
    }
    properties.insert("ip".to_owned(), raw(ip(context)));
    properties
}

/// Whether this is a value and says something.
fn is_told(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::Number(_) | Value::Bool(_) => true,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}
