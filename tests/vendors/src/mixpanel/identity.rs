//! Which ids are one person.

use super::rules::is_placeholder;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// How a project joins ids; fixed once it has data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The first event with a `$user_id` and a `$device_id` joins the two.
    Simplified,
    /// The events `$identify` and `$create_alias` join ids.
    Original,
}

/// The ids that were joined.
#[derive(Default)]
pub(super) struct People {
    /// The user id of each other id. The first one stays.
    user_of: BTreeMap<String, String>,
}

/// A field and what is wrong with it.
pub(super) type Wrong = (&'static str, String);

impl People {
    pub(super) fn all(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (id, user) in &self.user_of {
            all.entry(user.clone()).or_default().insert(id.clone());
        }
        all
    }

    /// Joins the ids of an event whose own rules hold.
    pub(super) fn join(&mut self, identity: Identity, name: &str, properties: &Map<String, Value>) {
        let text = |key: &str| properties.get(key).and_then(Value::as_str);
        let pair = match (identity, name) {
            (Identity::Simplified, _) => text("$device_id").zip(text("$user_id")),
            (Identity::Original, "$identify") => text("$anon_id").zip(text("$identified_id")),
            (Identity::Original, "$create_alias") => text("distinct_id").zip(text("alias")),
            (Identity::Original, _) => None,
        };
        if let Some((id, user)) = pair {
            self.user_of.entry(id.to_owned()).or_insert_with(|| user.to_owned());
        }
    }
}

/// What is wrong with the ids of an event.
pub(super) fn check(
    identity: Identity,
    name: &str,
    properties: &Map<String, Value>,
    token: &str,
) -> Result<(), Wrong> {
    let text = |key: &str| properties.get(key).and_then(Value::as_str);
    let Some(distinct_id) = text("distinct_id") else {
        return Err(("properties.distinct_id", "it is missing or no text".to_owned()));
    };
    let ids = ["$user_id", "$device_id", "$anon_id", "$identified_id", "alias"];
    for (field, id) in [("distinct_id", Some(distinct_id))].into_iter().chain(ids.map(|key| (key, text(key))))
    {
        let is_special = field == "distinct_id" || field.starts_with('$') || name == "$create_alias";
        if id.is_some_and(|id| is_special && (is_placeholder(id) || id.len() > 255)) {
            return Err(("properties.distinct_id", format!("`{field}` is a placeholder or too long")));
        }
    }
    match (identity, name) {
        (Identity::Simplified, "$identify" | "$create_alias" | "$merge") => {
            Err(("event", "it does nothing in the simplified model".to_owned()))
        }
        (Identity::Simplified, _) => {
            let expected = match (text("$user_id"), text("$device_id")) {
                (Some(user), _) => user.to_owned(),
                (None, Some(device)) => format!("$device:{device}"),
                (None, None) => {
                    return Err(("properties.$user_id", "there is neither user nor device".to_owned()));
                }
            };
            if distinct_id != expected {
                return Err(("properties.distinct_id", format!("it is not `{expected}`")));
            }
            Ok(())
        }
        (Identity::Original, "$identify" | "$create_alias" | "$merge") if text("token") != Some(token) => {
            Err(("properties.token", "it is missing or unknown".to_owned()))
        }
        (Identity::Original, "$identify") => {
            let is_uuid = text("$anon_id").is_some_and(|id| id.len() == 36 && id.as_bytes()[14] == b'4');
            if !is_uuid || text("$identified_id").is_none() {
                return Err((
                    "properties.$anon_id",
                    "`$identify` needs a random UUID and `$identified_id`".to_owned(),
                ));
            }
            Ok(())
        }
        (Identity::Original, "$create_alias") if text("alias").is_none() => {
            Err(("properties.alias", "it is missing".to_owned()))
        }
        (Identity::Original, _) if text("$user_id").or(text("$device_id")).is_some() => {
            Err(("properties.$user_id", "it means nothing in the original model".to_owned()))
        }
        (Identity::Original, _) => Ok(()),
    }
}
