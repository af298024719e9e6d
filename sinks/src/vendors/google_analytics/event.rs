//! An event as one of Google's.

use super::client::{Options, client};
use super::names;
use super::params::{Form, Params, page_text, text};
use super::recommended::{Recommended, missing};
use crate::engine::Failure;
use crate::vendors::answer::refused;
use pipeline::event::{Event, Kind};
use pipeline::log::Stored;
use serde_json::{Map, Value, json};

/// The names under which Segment's libraries say something to Google Analytics alone.
const INTEGRATIONS: [&str; 4] =
    ["Google Analytics 4", "Google Analytics 4 Cloud", "Actions Google Analytics 4", "Google Analytics"];

/// The JSON objects of an event, read.
pub(super) struct Objects {
    pub(super) properties: Map<String, Value>,
    pub(super) context: Map<String, Value>,
    /// What `integrations` says to Google Analytics.
    pub(super) integration: Map<String, Value>,
}

impl Objects {
    fn read(event: &Event<'_>) -> Self {
        let object = |text: &Option<std::borrow::Cow<'_, str>>| -> Map<String, Value> {
            text.as_deref().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
        };
        let mut integrations = object(&event.integrations);
        let mut ours = INTEGRATIONS.iter().filter_map(|name| integrations.remove(*name));
        let integration =
            ours.find_map(|ours| if let Value::Object(ours) = ours { Some(ours) } else { None });
        Self {
            properties: object(&event.properties),
            context: object(&event.context),
            integration: integration.unwrap_or_default(),
        }
    }

    /// A value under a path of `context`.
    pub(super) fn in_context(&self, path: &[&str]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.context.get(*first)?, |value, key| value.get(key))
    }
}

/// The client and the event, both as JSON; `None` for a call that is no event at Google.
pub(super) fn map(
    stored: &Stored<Event<'_>>,
    is_app: bool,
    options: &Options,
) -> Result<Option<(String, Vec<u8>)>, Box<Failure>> {
    let event = &stored.record;
    if matches!(event.kind, Kind::Identify | Kind::Alias) {
        return Ok(None);
    }
    let mut objects = Objects::read(event);
    let client = client(event, &objects, is_app, options)?;
    let mut params = Params::default();
    session(&objects, &mut params);
    for name in ["session_id", "sessionId", "engagement_time_msec"] {
        objects.properties.remove(name);
    }
    let name = match event.kind {
        Kind::Track => track(event, &mut objects.properties, &mut params, is_app)?,
        Kind::Page => page(event, &mut objects, &mut params),
        Kind::Screen => screen(event, &mut objects.properties, &mut params, is_app),
        Kind::Group | Kind::Identify | Kind::Alias => {
            params.set("group_id", event.group_id.as_deref().and_then(|id| Form::Text.read(&id.into())));
            "join_group".to_owned()
        }
    };
    params.take_fixed(&mut objects.properties);
    if params.get("value").is_some() && params.get("currency").is_none() {
        params.set("currency", Some(options.currency.as_str().into()));
    }
    params.add(&objects.properties);
    // Google has no use for a time that lies ahead; nothing happens after it was received.
    let time = event.timestamp(stored.received_at).0.min(stored.received_at);
    let event = json!({"name": name, "timestamp_micros": time, "params": params.into_value()});
    Ok(Some((client, event.to_string().into_bytes())))
}

/// Without a session an event stands alone; without a time of engagement nobody was there.
fn session(objects: &Objects, params: &mut Params) {
    let session_id = [
        objects.integration.get("sessionId"),
        objects.properties.get("session_id"),
        objects.properties.get("sessionId"),
        objects.context.get("sessionId"),
    ];
    params.set("session_id", session_id.into_iter().flatten().find_map(|id| Form::Positive.read(id)));
    let time = objects.properties.get("engagement_time_msec").and_then(|time| Form::Positive.read(time));
    params.set("engagement_time_msec", Some(time.unwrap_or_else(|| 1.into())));
}

/// A `track` call: an event that Google recommends where it is known and complete, else one of the
/// customer's own.
fn track(
    event: &Event<'_>,
    properties: &mut Map<String, Value>,
    params: &mut Params,
    is_app: bool,
) -> Result<String, Box<Failure>> {
    let called = event.event.as_deref().unwrap_or_default();
    let own = names::event_name(called, is_app).ok_or_else(|| {
        Box::new(refused(
            format!("the event's name `{called}` has no letter and no digit that Google takes"),
            "Name the event with letters of the Latin alphabet.",
        ))
    })?;
    if let Some(recommended) = Recommended::of(&own) {
        let mut rest = properties.clone();
        let mut known = Params::default();
        recommended.take(&mut known, &mut rest);
        known.take_fixed(&mut rest);
        match missing(recommended.name, &known) {
            None => {
                params.append(known);
                *properties = rest;
                return Ok(recommended.name.to_owned());
            }
            Some(_) if recommended.else_own => {}
            Some((param, property)) => {
                let name = recommended.name;
                return Err(Box::new(refused(
                    format!("`{called}` is `{name}` at Google, which needs `{param}`"),
                    format!("Send `{property}` in the properties of `{called}`."),
                )));
            }
        }
    }
    params.take_fixed(properties);
    // Somebody's own event may bear the name of one that Google wants more of.
    Ok(if missing(&own, params).is_none() { own } else { names::own_event(&own) })
}

fn page(event: &Event<'_>, objects: &mut Objects, params: &mut Params) -> String {
    for (param, key) in [("page_location", "url"), ("page_title", "title"), ("page_referrer", "referrer")] {
        let said = objects.properties.remove(key);
        let value = page_text(param, said.as_ref());
        params.set(param, value.or_else(|| page_text(param, objects.in_context(&["page", key]))));
    }
    say_name(event, &mut objects.properties);
    "page_view".to_owned()
}

/// Web streams know no `screen_view`.
fn screen(
    event: &Event<'_>,
    properties: &mut Map<String, Value>,
    params: &mut Params,
    is_app: bool,
) -> String {
    let name = event.name.as_deref().map(Value::from);
    params.set("screen_name", name.and_then(|name| Form::Text.read(&name)));
    params.set("screen_class", properties.remove("screen_class").and_then(|class| Form::Text.read(&class)));
    say_name(event, properties);
    if params.get("screen_name").is_some() {
        properties.remove("name");
    }
    if is_app { "screen_view" } else { "screen" }.to_owned()
}

/// The name and category of a page or screen as properties, where they are none yet.
fn say_name(event: &Event<'_>, properties: &mut Map<String, Value>) {
    for (key, said) in [("name", &event.name), ("category", &event.category)] {
        if let (Some(said), None) = (said, properties.get(key).and_then(text)) {
            properties.insert(key.to_owned(), said.as_ref().into());
        }
    }
}
