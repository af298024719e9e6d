//! Who an event is about: everything around the events of a request.

use super::event::Objects;
use super::names;
use super::params::{cut, text};
use crate::SettingError;
use crate::engine::Failure;
use crate::vendors::answer::refused;
use pipeline::event::Event;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use std::net::IpAddr;

/// The longest id of a user, in characters.
const USER_ID_MAX: usize = 256;
/// The longest value of a user property, in characters.
const USER_PROPERTY_MAX: usize = 36;
const USER_PROPERTIES_MAX: usize = 25;
/// A limit of our own, so that the whole request stays within Google's.
const USER_AGENT_MAX: usize = 512;
const DEVICE_MAX: usize = 100;

/// What the connection's settings say about events.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// The currency of amounts that have none.
    pub(super) currency: String,
    user_properties: Vec<String>,
    send_user_id: bool,
    send_ip: bool,
    ad_user_data: Option<String>,
    ad_personalization: Option<String>,
}

impl Options {
    pub(super) fn read(settings: &Map<String, Value>) -> Result<Self, SettingError> {
        let word = |name: &str| settings.get(name).and_then(text);
        let truth = |name: &str, shown, default: bool| match settings.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(truth)) => Ok(*truth),
            Some(_) => {
                Err(SettingError { setting: shown, problem: "it is neither true nor false".to_owned() })
            }
        };
        let currency = word("currency").map_or_else(|| "USD".to_owned(), |code| code.to_ascii_uppercase());
        if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()) {
            let problem = "it is no code of three letters, such as `EUR`".to_owned();
            return Err(SettingError { setting: "`currency`", problem });
        }
        Ok(Self {
            currency,
            user_properties: match settings.get("user_properties") {
                Some(Value::Array(names)) => names.iter().filter_map(text).collect(),
                Some(Value::String(names)) => names
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect(),
                _ => Vec::new(),
            },
            send_user_id: truth("send_user_id", "`send_user_id`", true)?,
            send_ip: truth("send_ip", "`send_ip`", false)?,
            ad_user_data: word("ad_user_data_category"),
            ad_personalization: word("ad_personalization_category"),
        })
    }
}

/// The fields of a request that say who its events are about, as a JSON object.
pub(super) fn client(
    event: &Event<'_>,
    objects: &Objects,
    is_app: bool,
    options: &Options,
) -> Result<String, Box<Failure>> {
    let mut client = Map::new();
    if is_app {
        client.insert("app_instance_id".to_owned(), app_instance_id(objects)?.into());
    } else {
        client.insert("client_id".to_owned(), client_id(event, objects)?.into());
    }
    // Google forbids what tells who somebody is, such as an address.
    if let Some(user_id) = event.user_id.as_deref().filter(|id| options.send_user_id && !id.contains('@')) {
        if user_id.chars().count() > USER_ID_MAX {
            return Err(Box::new(refused(
                format!("`userId` has over the {USER_ID_MAX} characters that Google takes"),
                "Give users a shorter id, or turn off `send_user_id`.",
            )));
        }
        client.insert("user_id".to_owned(), user_id.into());
    }
    let parts = [
        ("consent", consent(objects, options)),
        ("user_properties", user_properties(objects, options)),
        ("ip_override", ip(objects, options)),
        (
            "user_agent",
            objects.context.get("userAgent").and_then(text).map(|text| cut(&text, USER_AGENT_MAX).into()),
        ),
        ("device", is_app.then(|| device(objects)).flatten()),
    ];
    for (name, value) in parts {
        if let Some(value) = value {
            client.insert(name.to_owned(), value);
        }
    }
    Ok(Value::Object(client).to_string())
}

/// The id that Google's tag gave the browser where the event knows it, because otherwise Google counts
/// a second user; else the anonymous id, else the user's. One that is an address, or very long, goes as
/// its hash.
fn client_id(event: &Event<'_>, objects: &Objects) -> Result<String, Box<Failure>> {
    let of_tag = [
        objects.integration.get("clientId"),
        objects.in_context(&["ga", "clientId"]),
        objects.context.get("_ga"),
    ];
    if let Some(id) = of_tag.into_iter().flatten().find_map(text) {
        return Ok(bounded(tag_client_id(&id)));
    }
    let id = event.anonymous_id.as_deref().or(event.user_id.as_deref());
    id.map(bounded).ok_or_else(|| {
        Box::new(refused(
            "the event has neither an `anonymousId` nor a `userId`",
            "Send one of them with every event.",
        ))
    })
}

/// The id in the cookie `_ga`, `GA1.1.1234567890.1795000000`, is its last two parts.
fn tag_client_id(id: &str) -> &str {
    let parts = || id.rmatch_indices('.');
    match (id.starts_with("GA1."), parts().nth(1)) {
        (true, Some((dot, _))) => &id[dot + 1..],
        _ => id,
    }
}

fn bounded(id: &str) -> String {
    if id.chars().count() <= USER_ID_MAX && !id.contains('@') {
        return id.to_owned();
    }
    Sha256::digest(id).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The id that the Firebase SDK gave the app; nobody else can make one.
fn app_instance_id(objects: &Objects) -> Result<String, Box<Failure>> {
    let said = [
        objects.integration.get("appInstanceId"),
        objects.integration.get("firebaseAppInstanceId"),
        objects.in_context(&["firebase", "appInstanceId"]),
    ];
    let is_id = |id: &String| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    said.into_iter().flatten().filter_map(text).find(is_id).ok_or_else(|| {
        Box::new(refused(
            "an app stream needs the app instance id, 32 hexadecimal digits",
            "Ask the Firebase SDK for it in the app and send it as `integrations[\"Google Analytics 4\"].appInstanceId`.",
        ))
    })
}

/// The person's choices in the categories that the settings name; unsaid where the event is silent.
fn consent(objects: &Objects, options: &Options) -> Option<Value> {
    let choices = objects.in_context(&["consent", "categoryPreferences"])?;
    let mut consent = Map::new();
    let categories =
        [("ad_user_data", &options.ad_user_data), ("ad_personalization", &options.ad_personalization)];
    for (name, category) in categories {
        if let Some(granted) = category.as_ref().and_then(|category| choices.get(category)?.as_bool()) {
            consent.insert(name.to_owned(), if granted { "GRANTED" } else { "DENIED" }.into());
        }
    }
    (!consent.is_empty()).then(|| consent.into())
}

/// The traits of `context.traits` that the settings name.
fn user_properties(objects: &Objects, options: &Options) -> Option<Value> {
    let traits = objects.context.get("traits")?;
    let mut properties = Map::new();
    for name in &options.user_properties {
        let value = match traits.get(name) {
            Some(Value::String(text)) if !text.is_empty() => cut(text, USER_PROPERTY_MAX).into(),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => value.clone(),
            _ => continue,
        };
        if let Some(name) = names::user_property_name(name)
            && properties.len() < USER_PROPERTIES_MAX
        {
            properties.insert(name, json!({"value": value}));
        }
    }
    (!properties.is_empty()).then(|| properties.into())
}

fn ip(objects: &Objects, options: &Options) -> Option<Value> {
    let ip: IpAddr = objects.context.get("ip")?.as_str()?.trim().parse().ok()?;
    options.send_ip.then(|| ip.to_string().into())
}

/// What the app's library says of the device.
fn device(objects: &Objects) -> Option<Value> {
    let mut device = Map::new();
    let said: [(&str, &[&str]); 5] = [
        ("operating_system", &["os", "name"]),
        ("operating_system_version", &["os", "version"]),
        ("model", &["device", "model"]),
        ("brand", &["device", "manufacturer"]),
        ("language", &["locale"]),
    ];
    for (name, path) in said {
        if let Some(text) = objects.in_context(path).and_then(text) {
            device.insert(name.to_owned(), cut(&text, DEVICE_MAX).into());
        }
    }
    (!device.is_empty()).then(|| device.into())
}
