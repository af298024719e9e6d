//! What an event becomes at Mixpanel.

use super::object::{self, EVENT_VALUE_BYTES_MAX, Object, raw};
use super::people::{self, Person};
use super::project::{Identity, Project};
use super::{ENGAGE, GROUPS, IMPORT, context, insert_id, traits};
use crate::engine::{Failure, Mapped, Operation};
use crate::vendors::answer;
use pipeline::Micros;
use pipeline::clock::HOUR;
use pipeline::event::{Event, Kind, format_timestamp};
use pipeline::log::Stored;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;

/// An event has fewer properties than this, a profile not more than [`PROFILE_MAX`].
const PROPERTIES_BELOW: usize = 255;
const PROFILE_MAX: usize = 2_000;

/// 1971-01-01T00:00:00Z, before which Mixpanel takes nothing.
const TIME_MIN: Micros = 31_536_000_000_000;
/// How far ahead Mixpanel lets an event be.
const AHEAD_MAX: Micros = HOUR;

/// Names that mean something to Mixpanel, so that a property of a source must not have them.
/// `$ignore` would make it drop the event without a word.
const RESERVED: [&str; 15] = [
    "$anon_id",
    "$bucket",
    "$device_id",
    "$distinct_ids",
    "$group_id",
    "$identified_id",
    "$ignore",
    "$insert_id",
    "$token",
    "$user_id",
    "bucket",
    "distinct_id",
    "id",
    "time",
    "token",
];

/// Events that join people.
const SPECIAL: [&str; 3] = ["$create_alias", "$identify", "$merge"];

pub(super) fn map(stored: &Stored<Event<'_>>, project: &Project) -> Mapped {
    let mapped = Call::new(stored, project).and_then(|call| match call.event.kind {
        Kind::Track => call.track(),
        Kind::Page => call.viewed("Loaded a Page"),
        Kind::Screen => call.viewed("Loaded a Screen"),
        Kind::Identify => call.identify(),
        Kind::Group => call.group(),
        Kind::Alias => call.alias(),
    });
    mapped.unwrap_or_else(Mapped::Refused)
}

/// An event on its way to a project.
struct Call<'a> {
    event: &'a Event<'a>,
    project: &'a Project,
    person: Person<'a>,
    context: Value,
    /// In ms since 1970. With the name and the ids it is what Mixpanel knows a repeat by.
    time: i64,
}

#[derive(Serialize)]
struct EventBody<'a> {
    event: &'a str,
    properties: &'a Object,
}

#[derive(Serialize)]
struct ProfileBody<'a> {
    #[serde(rename = "$distinct_id")]
    distinct_id: &'a str,
    #[serde(rename = "$ip")]
    ip: &'a str,
    #[serde(rename = "$set", skip_serializing_if = "Option::is_none")]
    set: Option<&'a Object>,
    #[serde(rename = "$union", skip_serializing_if = "Option::is_none")]
    union: Option<&'a Object>,
}

#[derive(Serialize)]
struct GroupBody<'a> {
    #[serde(rename = "$group_key")]
    key: &'a str,
    #[serde(rename = "$group_id")]
    id: &'a str,
    #[serde(rename = "$set")]
    set: &'a Object,
}

impl<'a> Call<'a> {
    fn new(stored: &'a Stored<Event<'_>>, project: &'a Project) -> Result<Self, Failure> {
        let event = &stored.record;
        let person = Person::of(event)?;
        let at = event.timestamp(stored.received_at).0;
        if at < TIME_MIN || at > stored.received_at.saturating_add(AHEAD_MAX) {
            return Err(answer::refused(
                format!(
                    "`timestamp` is {}; Mixpanel takes 1971 to one hour after its receipt",
                    format_timestamp(at)
                ),
                "Correct the clock of the source, or send the time of the event as `timestamp`.",
            ));
        }
        let context = event.context.as_deref().and_then(|json| serde_json::from_str(json).ok());
        Ok(Self { event, project, person, context: context.unwrap_or_default(), time: at.div_euclid(1000) })
    }

    fn track(&self) -> Result<Mapped, Failure> {
        let name = self.event.event.as_deref().unwrap_or_default();
        if name.is_empty() {
            return Err(answer::refused("`event` is empty", "Give the event a name."));
        }
        if SPECIAL.contains(&name) {
            return Err(answer::refused(
                format!("`event` is `{name}`, with which Mixpanel joins people"),
                "Use another name, or send an `identify` or `alias` call.",
            ));
        }
        let properties = self.own();
        Ok(operations([self.import(name, insert_id::of_message(&self.event.message_id), properties)?]))
    }

    /// A page or a screen.
    fn viewed(&self, without_name: &str) -> Result<Mapped, Failure> {
        let mut properties = self.own();
        for (key, text) in [("name", &self.event.name), ("category", &self.event.category)] {
            if let Some(text) = text {
                properties.insert(key.to_owned(), raw(text));
            }
        }
        let name = self.event.name.as_deref().filter(|name| !name.is_empty());
        let name = name.map_or(Cow::from(without_name), |name| format!("Viewed {name}").into());
        Ok(operations([self.import(&name, insert_id::of_message(&self.event.message_id), properties)?]))
    }

    /// Joins the two ids where there are two, then sets the traits.
    fn identify(&self) -> Result<Mapped, Failure> {
        let mut all = Vec::new();
        if let (Some(user), Some(device)) = (self.person.user_id, self.person.device_id) {
            match self.project.identity {
                Identity::Simplified => {
                    let id = insert_id::of_pair("link", device, user);
                    all.push(self.import("Identity Linked", id, Object::new())?);
                }
                Identity::Original if people::is_uuid_v4(device) => {
                    let id = insert_id::of_pair("identify", device, user);
                    all.push(self.special(
                        "$identify",
                        id,
                        user,
                        &[("$identified_id", user), ("$anon_id", device)],
                    ));
                }
                Identity::Original => {}
            }
        }
        let set = traits::of_person(self.event.traits.as_deref());
        if !set.is_empty() {
            all.push(self.profile(Some(&set), None)?);
        }
        if all.is_empty() {
            return Ok(Mapped::Skipped("an `identify` without traits and with nothing to join"));
        }
        Ok(Mapped::Operations(all))
    }

    /// Sets the group's traits, and puts the person into it.
    fn group(&self) -> Result<Mapped, Failure> {
        let Some(key) = &self.project.group_key else {
            return Ok(Mapped::Skipped(
                "the connection has no `group_keys`, so Mixpanel would not know the group",
            ));
        };
        let id = self.event.group_id.as_deref().unwrap_or_default();
        if id.is_empty() {
            return Err(answer::refused("`groupId` is empty", "Send the id of the group."));
        }
        let mut all = Vec::new();
        let set = traits::of_group(self.event.traits.as_deref());
        if !set.is_empty() {
            check_size("traits", set.len(), PROFILE_MAX)?;
            all.push(operation(GROUPS, &GroupBody { key, id, set: &set }));
        }
        let union = Object::from([(key.clone(), raw(&[id]))]);
        all.push(self.profile(None, Some(&union))?);
        Ok(Mapped::Operations(all))
    }

    fn alias(&self) -> Result<Mapped, Failure> {
        if self.project.identity == Identity::Simplified {
            return Ok(Mapped::Skipped("the simplified identity model has no aliases"));
        }
        let Some(user) = self.person.user_id else {
            return Err(answer::refused("`userId` is missing", "Send the newer id as `userId`."));
        };
        let older =
            self.event.previous_id.as_deref().map(|id| people::usable("previousId", id)).transpose()?;
        let Some(older) = older.or(self.person.device_id) else {
            return Err(answer::refused("`previousId` is missing", "Send the older id as `previousId`."));
        };
        if older == user {
            return Ok(Mapped::Skipped("both ids of the `alias` are the same"));
        }
        let id = insert_id::of_pair("alias", older, user);
        Ok(operations([self.special("$create_alias", id, older, &[("alias", user)])]))
    }

    /// The source's own properties, as Mixpanel takes them.
    fn own(&self) -> Object {
        let mut own = object::read(self.event.properties.as_deref(), EVENT_VALUE_BYTES_MAX);
        for name in RESERVED {
            own.remove(name);
        }
        // It places the event on the map, so it has to be an address.
        if own.get("ip").is_some_and(|ip| !ip.get().starts_with('"')) {
            own.remove("ip");
        }
        own
    }

    /// An event. A source's own property wins over one of the same name from the context.
    fn import(&self, name: &str, insert_id: String, own: Object) -> Result<Operation, Failure> {
        let mut properties = context::properties(&self.context);
        let group = self.context["groupId"].as_str().filter(|id| !id.is_empty());
        if let (Some(key), Some(id)) = (&self.project.group_key, group) {
            properties.insert(key.clone(), raw(id));
        }
        properties.extend(own);
        self.person.put(self.project.identity, &mut properties);
        properties.insert("time".to_owned(), raw(&self.time));
        properties.insert("$insert_id".to_owned(), raw(&insert_id));
        check_size("properties", properties.len(), PROPERTIES_BELOW - 1)?;
        Ok(operation(IMPORT, &EventBody { event: name, properties: &properties }))
    }

    /// An event that joins ids in the original model.
    fn special(&self, name: &str, insert_id: String, distinct_id: &str, ids: &[(&str, &str)]) -> Operation {
        let ids =
            [("distinct_id", distinct_id), ("$insert_id", &insert_id)].into_iter().chain(ids.iter().copied());
        let mut properties: Object = ids.map(|(name, id)| (name.to_owned(), raw(id))).collect();
        properties.insert("time".to_owned(), raw(&self.time));
        operation(IMPORT, &EventBody { event: name, properties: &properties })
    }

    fn profile(&self, set: Option<&Object>, union: Option<&Object>) -> Result<Operation, Failure> {
        check_size("traits", set.map_or(0, Object::len), PROFILE_MAX)?;
        let distinct_id = self.person.distinct_id(self.project.identity);
        let ip = context::ip(&self.context);
        Ok(operation(ENGAGE, &ProfileBody { distinct_id: &distinct_id, ip, set, union }))
    }
}

fn check_size(field: &str, size: usize, max: usize) -> Result<(), Failure> {
    if size <= max {
        return Ok(());
    }
    Err(answer::refused(
        format!("`{field}` would become {size} at Mixpanel, which takes {max}"),
        format!("Send fewer `{field}`, or put some of them into an object."),
    ))
}

fn operations<const N: usize>(operations: [Operation; N]) -> Mapped {
    Mapped::Operations(operations.into())
}

fn operation(endpoint: usize, body: &impl Serialize) -> Operation {
    let body = serde_json::to_vec(body).expect("text and JSON can be written");
    Operation { endpoint, group: String::new(), body: body.into() }
}
