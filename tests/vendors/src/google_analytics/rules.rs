//! What Google asks of a body: its documented limits, and what it drops without a word.

use super::Stream;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::fmt;

pub(super) const BODY_BYTES_BELOW: usize = 130_000;
const EVENTS_MAX: usize = 25;
const PARAMS_MAX: usize = 25;
const ITEMS_MAX: usize = 200;
const OWN_PARAMS_OF_ITEM_MAX: usize = 10;
const USER_PROPERTIES_MAX: usize = 25;
const AGE_MAX: i64 = 72 * 3_600 * 1_000_000;
const AHEAD_MAX: i64 = 60 * 1_000_000;

const TOP_LEVEL: [&str; 12] = [
    "app_instance_id",
    "client_id",
    "consent",
    "device",
    "events",
    "ip_override",
    "timestamp_micros",
    "user_agent",
    "user_data",
    "user_id",
    "user_location",
    "user_properties",
];
const RESERVED_EVENTS: [&str; 31] = [
    "ad_activeview",
    "ad_click",
    "ad_exposure",
    "ad_query",
    "ad_reward",
    "adunit_exposure",
    "app_clear_data",
    "app_exception",
    "app_install",
    "app_remove",
    "app_store_refund",
    "app_update",
    "app_upgrade",
    "dynamic_link_app_open",
    "dynamic_link_app_update",
    "dynamic_link_first_open",
    "error",
    "firebase_campaign",
    "firebase_in_app_message_action",
    "firebase_in_app_message_dismiss",
    "firebase_in_app_message_impression",
    "first_open",
    "first_visit",
    "notification_dismiss",
    "notification_foreground",
    "notification_open",
    "notification_receive",
    "notification_send",
    "os_update",
    "session_start",
    "user_engagement",
];
const APP_EVENTS: [&str; 2] = ["screen_view", "ad_impression"];
const RESERVED_PREFIXES: [&str; 4] = ["_", "firebase_", "ga_", "google_"];
const RESERVED_USER_PROPERTIES: [&str; 5] =
    ["first_open_time", "first_visit_time", "last_deep_link_referrer", "user_id", "first_open_after_install"];
const NEEDED: [(&str, &[&str]); 14] = [
    ("add_payment_info", &["items"]),
    ("add_shipping_info", &["items"]),
    ("add_to_cart", &["items"]),
    ("add_to_wishlist", &["items"]),
    ("begin_checkout", &["items"]),
    ("purchase", &["transaction_id", "items", "value", "currency"]),
    ("refund", &["transaction_id"]),
    ("remove_from_cart", &["items"]),
    ("search", &["search_term"]),
    ("select_item", &["items"]),
    ("view_cart", &["items"]),
    ("view_item", &["items"]),
    ("view_item_list", &["items"]),
    ("view_promotion", &["items"]),
];
const NUMBERS: [&str; 7] = ["value", "price", "quantity", "discount", "tax", "shipping", "index"];
const PARAMS_OF_ITEM: [&str; 18] = [
    "affiliation",
    "coupon",
    "discount",
    "index",
    "item_brand",
    "item_category",
    "item_category2",
    "item_category3",
    "item_category4",
    "item_category5",
    "item_id",
    "item_list_id",
    "item_list_name",
    "item_name",
    "item_variant",
    "location_id",
    "price",
    "quantity",
];

/// A rule that a body broke.
#[derive(Debug)]
pub(super) struct Broken {
    field: String,
    code: &'static str,
    what: String,
}

impl Broken {
    pub(super) fn new(field: impl Into<String>, code: &'static str, what: impl ToString) -> Self {
        Self { field: field.into(), code, what: what.to_string() }
    }

    /// As the validation server says it.
    pub(super) fn message(&self) -> Value {
        json!({"fieldPath": self.field, "description": self.what, "validationCode": self.code})
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {} ({})", self.field, self.what, self.code)
    }
}

fn invalid<T>(field: impl Into<String>, what: impl ToString) -> Result<T, Broken> {
    Err(Broken::new(field, "VALUE_INVALID", what))
}

/// The secret and the stream in the address.
pub(super) fn check_keys(
    query: &HashMap<String, String>,
    api_secret: &str,
    stream: &Stream,
) -> Result<(), Broken> {
    let (name, id) = match stream {
        Stream::Web(id) => ("measurement_id", id),
        Stream::App(id) => ("firebase_app_id", id),
    };
    if query.get("api_secret").is_none_or(|given| given != api_secret) {
        return invalid("api_secret", "it is missing or unknown");
    }
    if query.get(name) != Some(id) || query.len() != 2 {
        return invalid(name, "it is missing or unknown, or there is more in the query");
    }
    Ok(())
}

/// A whole body.
pub(super) fn check(body: &Value, stream: &Stream, now: i64) -> Result<(), Broken> {
    let Value::Object(body) = body else { return invalid("", "the body is no object") };
    let known = |key: &&String| !TOP_LEVEL.contains(&key.as_str()) && *key != "validation_behavior";
    if let Some(unknown) = body.keys().find(known) {
        return invalid(unknown, "there is no such field");
    }
    check_client(body, stream)?;
    check_user_properties(body.get("user_properties"))?;
    let Some(Value::Array(events)) = body.get("events") else { return invalid("events", "it is missing") };
    if events.is_empty() || events.len() > EVENTS_MAX {
        return Err(Broken::new("events", "EXCEEDED_MAX_ENTITIES", format!("there are {}", events.len())));
    }
    events.iter().try_for_each(|event| check_event(event, stream, now))
}

fn check_client(body: &Map<String, Value>, stream: &Stream) -> Result<(), Broken> {
    let (wanted, other) = match stream {
        Stream::Web(_) => ("client_id", "app_instance_id"),
        Stream::App(_) => ("app_instance_id", "client_id"),
    };
    let id = body.get(wanted).and_then(Value::as_str).unwrap_or_default();
    if id.is_empty() || body.contains_key(other) {
        return Err(Broken::new(
            wanted,
            "VALUE_REQUIRED",
            "it is missing, or the other stream's id is there",
        ));
    }
    let is_hex = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    if matches!(stream, Stream::App(_)) && !is_hex {
        return invalid(wanted, "it is not 32 hexadecimal digits");
    }
    if let Some(user) = body.get("user_id") {
        let fits = |user: &str| !user.is_empty() && user.chars().count() <= 256 && !user.contains('@');
        if !user.as_str().is_some_and(fits) {
            return invalid("user_id", "it is no text of 1 to 256 characters, or an address");
        }
    }
    Ok(())
}

fn check_user_properties(properties: Option<&Value>) -> Result<(), Broken> {
    let Some(properties) = properties else { return Ok(()) };
    let Value::Object(properties) = properties else { return invalid("user_properties", "it is no object") };
    if properties.len() > USER_PROPERTIES_MAX {
        return Err(Broken::new("user_properties", "EXCEEDED_MAX_ENTITIES", properties.len()));
    }
    for (name, property) in properties {
        check_name("user_properties", name, 24)?;
        if RESERVED_USER_PROPERTIES.contains(&name.as_str()) {
            return Err(Broken::new("user_properties", "NAME_RESERVED", name));
        }
        check_value(&format!("user_properties.{name}"), &property["value"], 36)?;
    }
    Ok(())
}

fn check_event(event: &Value, stream: &Stream, now: i64) -> Result<(), Broken> {
    let name = event["name"].as_str().unwrap_or_default();
    check_name("events.name", name, 40)?;
    let is_app = matches!(stream, Stream::App(_));
    if RESERVED_EVENTS.contains(&name) || (!is_app && APP_EVENTS.contains(&name)) {
        return Err(Broken::new("events.name", "NAME_RESERVED", name));
    }
    match event["timestamp_micros"].as_i64() {
        Some(at) if at < now - AGE_MAX => {
            return invalid("events.timestamp_micros", "it is over 72 hours ago");
        }
        Some(at) if at > now + AHEAD_MAX => return invalid("events.timestamp_micros", "it lies ahead"),
        Some(_) => {}
        None => return invalid("events.timestamp_micros", "it is missing"),
    }
    let Value::Object(params) = &event["params"] else { return invalid("events.params", "they are missing") };
    if params.len() > PARAMS_MAX {
        return Err(Broken::new("events.params", "EXCEEDED_MAX_ENTITIES", params.len()));
    }
    params.iter().try_for_each(|(key, value)| check_param(key, value))?;
    let needed = NEEDED.iter().find(|(event, _)| *event == name).map_or(&[][..], |(_, needed)| needed);
    let given = |key: &&&str| params.get(**key).is_none_or(|value| *value == "" || *value == json!([]));
    if let Some(missing) = needed.iter().find(given) {
        return Err(Broken::new(format!("events.params.{missing}"), "VALUE_REQUIRED", format!("of {name}")));
    }
    if params.contains_key("value") && !params.contains_key("currency") {
        return Err(Broken::new("events.params.currency", "VALUE_REQUIRED", "`value` needs it"));
    }
    if params.get("engagement_time_msec").and_then(Value::as_u64).is_none_or(|time| time == 0) {
        return invalid("events.params.engagement_time_msec", "without it the user is not seen");
    }
    Ok(())
}

fn check_param(key: &str, value: &Value) -> Result<(), Broken> {
    check_name("events.params", key, 40)?;
    if key == "firebase_conversion" {
        return Err(Broken::new("events.params", "NAME_RESERVED", key));
    }
    let path = format!("events.params.{key}");
    if key == "items" {
        let Value::Array(items) = value else { return invalid(path, "it is no array") };
        if items.len() > ITEMS_MAX {
            return Err(Broken::new(path, "EXCEEDED_MAX_ENTITIES", items.len()));
        }
        return items.iter().try_for_each(check_item);
    }
    if key == "transaction_id" && value == "" {
        return invalid(path, "all purchases without one count as one");
    }
    if key == "session_id" && value.as_u64().is_none_or(|number| number == 0) {
        return invalid(path, "it is no positive number");
    }
    if key == "currency" {
        let is_code = |text: &str| text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        if !value.as_str().is_some_and(is_code) {
            return invalid(path, format!("{value} is no currency"));
        }
    }
    let characters_max = match key {
        "page_title" => 300,
        "page_referrer" => 420,
        "page_location" => 1000,
        _ => 100,
    };
    check_number(&path, key, value)?;
    check_value(&path, value, characters_max)
}

fn check_item(item: &Value) -> Result<(), Broken> {
    let path = "events.params.items";
    let Value::Object(item) = item else { return invalid(path, "an item is no object") };
    let named = |key: &str| item.get(key).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    if !named("item_id") && !named("item_name") {
        return Err(Broken::new(path, "VALUE_REQUIRED", "an item has neither `item_id` nor `item_name`"));
    }
    let own = item.keys().filter(|key| !PARAMS_OF_ITEM.contains(&key.as_str())).count();
    if own > OWN_PARAMS_OF_ITEM_MAX {
        return Err(Broken::new(path, "EXCEEDED_MAX_ENTITIES", format!("an item has {own} of its own")));
    }
    for (key, value) in item {
        check_name(path, key, 40)?;
        check_number(path, key, value)?;
        check_value(&format!("{path}.{key}"), value, 100)?;
    }
    Ok(())
}

fn check_number(path: &str, key: &str, value: &Value) -> Result<(), Broken> {
    if NUMBERS.contains(&key) && !value.is_number() {
        return invalid(path, format!("`{key}` is no number but {value}"));
    }
    Ok(())
}

fn check_name(path: &str, name: &str, characters_max: usize) -> Result<(), Broken> {
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !starts || !is_word || name.len() > characters_max {
        return Err(Broken::new(path, "NAME_INVALID", name));
    }
    if RESERVED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
        return Err(Broken::new(path, "NAME_RESERVED", name));
    }
    Ok(())
}

/// A text that is not too long, a number or a truth value; Google drops an event with anything else.
fn check_value(path: &str, value: &Value, characters_max: usize) -> Result<(), Broken> {
    match value {
        Value::String(text) if text.chars().count() <= characters_max => Ok(()),
        Value::Number(_) | Value::Bool(_) => Ok(()),
        Value::String(_) => Err(Broken::new(path, "VALUE_OUT_OF_BOUNDS", "the text is too long")),
        other => invalid(path, format!("{other} is no plain value")),
    }
}
