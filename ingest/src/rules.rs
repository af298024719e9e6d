//! The rules an event has to keep, and the event that keeps them.
//!
//! Codes are Segment's ("Delivery overview", discard reasons, read 2026-11), besides
//! `event_too_large` and `batch_too_long`, which are ours because Segment is silent there.

mod consent;
mod ids;
mod times;

pub(crate) use ids::MessageId;

use crate::item::Item;
use crate::shared::Shared;
use crate::text::{cut, is_deeper_than};
use pipeline::event::{Event, Flags, Kind};
use pipeline::json::string;
use std::borrow::Cow;

/// Objects and arrays may lie this deep in each other, the event itself counted.
pub(crate) const DEPTH_MAX: usize = 64;

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The stable word for the rule.
    pub(crate) code: &'static str,
    /// The path of the field, where there is one.
    pub(crate) field: Option<String>,
    /// What is wrong and what is allowed.
    pub(crate) message: String,
}

impl Broken {
    pub(crate) fn new(code: &'static str, field: &str, message: impl Into<String>) -> Self {
        Self { code, field: Some(field.to_owned()), message: message.into() }
    }

    /// The whole item is at fault, not one of its fields.
    pub(crate) fn item(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, field: None, message: message.into() }
    }
}

/// Checks an item and makes the event of it.
///
/// `kind` is the one that the path named; without it the item has to say its `type`.
pub(crate) fn check<'a>(
    kind: Option<Kind>,
    message_id: MessageId<'a>,
    item: Item<'a>,
    shared: &'a Shared<'a>,
) -> Result<Event<'a>, Broken> {
    check_depth(&item)?;
    let said = item.kind.map(kind_of);
    let kind = match (kind, said) {
        (Some(kind), _) => kind,
        (None, Some(said)) => said?,
        (None, None) => {
            let message = format!("`type` is missing; allowed are {}", kinds());
            return Err(Broken::new("bad_request", "type", message));
        }
    };
    let mut event = Event::new(kind, message_id.id);
    event.original_message_id = message_id.original;
    event.flags = message_id.flags;
    event.user_id = ids::id("userId", item.user_id)?;
    event.anonymous_id = ids::id("anonymousId", item.anonymous_id)?;
    event.group_id = ids::id("groupId", item.group_id)?;
    event.previous_id = ids::id("previousId", item.previous_id)?;
    ids::check(&event)?;
    let mut extra = item.extra;
    if let Some(json) = item.kind.filter(|json| string(json).as_deref() != Some(kind.as_str())) {
        extra.0.push((Cow::Borrowed("type"), json));
    }
    name_it(
        &mut event,
        [("event", item.event), ("name", item.name), ("category", item.category)],
        &mut extra.0,
    )?;
    event.properties = object("properties_not_object", "properties", item.properties)?;
    event.traits = object("traits_not_object", "traits", item.traits)?;
    event.integrations = shared.integrations(item.integrations)?;
    event.context = shared.context(item.context)?;
    consent::check(&event)?;
    let times = [item.timestamp, item.original_timestamp, item.sent_at];
    times::fill(&mut event, times, shared, &mut extra.0);
    event.extra = (!extra.0.is_empty()).then(|| Cow::Owned(extra.to_json()));
    Ok(event)
}

fn check_depth(item: &Item<'_>) -> Result<(), Broken> {
    let known = item.nested().into_iter().filter_map(|(name, json)| Some((Cow::Borrowed(name), json?)));
    let others = item.extra.0.iter().map(|(name, json)| (name.clone(), *json));
    for (name, json) in known.chain(others) {
        if is_deeper_than(DEPTH_MAX - 1, json) {
            let message = format!(
                "`{}` is nested too deep; allowed are {DEPTH_MAX} levels, the event's own included",
                shown(&name)
            );
            return Err(Broken::new("bad_request", cut(&name, FIELD_BYTES_MAX), message));
        }
    }
    Ok(())
}

/// A client's own key is not repeated at greater length than this.
const FIELD_BYTES_MAX: usize = 200;

fn kind_of(json: &str) -> Result<Kind, Broken> {
    string(json).as_deref().and_then(Kind::parse).ok_or_else(|| {
        let message = format!("`type` is `{}`; allowed are {}", shown(json), kinds());
        Broken::new("bad_request", "type", message)
    })
}

fn kinds() -> String {
    Kind::ALL.map(Kind::as_str).join(", ")
}

/// A value as a message shows it: no more than its beginning.
pub(crate) fn shown(json: &str) -> &str {
    cut(json, 64)
}

/// Fills in `event`, or `name` and `category`, where the kind has them; otherwise they are extra.
fn name_it<'a>(
    event: &mut Event<'a>,
    fields: [(&'static str, Option<&'a str>); 3],
    extra: &mut Vec<(Cow<'a, str>, &'a str)>,
) -> Result<(), Broken> {
    for (field, json) in fields {
        let Some(json) = json else { continue };
        let code = match (field, event.kind) {
            ("event", Kind::Track) => "event_not_string",
            ("name", Kind::Page | Kind::Screen) => "name_not_string",
            ("category", Kind::Page | Kind::Screen) => "category_not_string",
            _ => {
                extra.push((Cow::Borrowed(field), json));
                continue;
            }
        };
        let Some(text) = string(json) else {
            let message = format!("`{field}` is `{}`; it must be a string", shown(json));
            return Err(Broken::new(code, field, message));
        };
        let text = (!text.is_empty()).then_some(text);
        match field {
            "event" => event.event = text,
            "name" => event.name = text,
            _ => event.category = text,
        }
    }
    if event.kind == Kind::Track && event.event.is_none() {
        let message = "`event` is missing; a track call must name what happened";
        return Err(Broken::new("event_not_defined", "event", message));
    }
    Ok(())
}

fn object<'a>(
    code: &'static str,
    field: &'static str,
    json: Option<&'a str>,
) -> Result<Option<Cow<'a, str>>, Broken> {
    match json {
        Some(json) if !json.starts_with('{') => {
            let message = format!("`{field}` is `{}`; it must be an object", shown(json));
            Err(Broken::new(code, field, message))
        }
        json => Ok(json.map(Cow::Borrowed)),
    }
}

/// The flag for text in which characters were replaced.
pub(crate) fn replaced(yes: bool) -> Flags {
    if yes { Flags::REPLACED_CHARACTERS } else { Flags::default() }
}

#[cfg(test)]
mod tests;
