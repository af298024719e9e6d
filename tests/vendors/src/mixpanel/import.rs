//! Events: what is asked of each, and how repeats are removed.

use super::Project;
use super::identity::{self, People, Wrong};
use super::rules::{self, RECORD_BYTES_MAX};
use serde_json::{Map, Value, json};
use std::collections::HashMap;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// 1971-01-01.
const TIME_MIN_MS: i64 = 31_536_000_000;
const PROPERTIES_BELOW: usize = 255;
/// 8 KB.
const VALUE_BYTES_MAX: usize = 8 * 1024;

/// The events of a project.
#[derive(Default)]
pub(super) struct Events {
    stored: Vec<Value>,
    /// Where in `stored` an event is that is the same by name, distinct id, `$insert_id` and day, and
    /// how often it came.
    known: HashMap<(String, String, String, i64), (usize, u32)>,
}

impl Events {
    pub(super) fn all(&self) -> Vec<Value> {
        self.stored.clone()
    }

    pub(super) fn repeats(&self) -> HashMap<String, u32> {
        let repeated = self.known.iter().filter(|(_, (_, times))| *times > 1);
        repeated.map(|((_, _, insert_id, _), (_, times))| (insert_id.clone(), *times)).collect()
    }

    /// Stores those that keep the rules; describes the others as Mixpanel does.
    pub(super) fn take(
        &mut self,
        records: &[Value],
        project: &Project,
        now: i64,
        people: &mut People,
    ) -> Vec<Value> {
        let mut failed = Vec::new();
        for (index, record) in records.iter().enumerate() {
            match check(record, project, now / 1000) {
                Ok((name, properties)) => {
                    people.join(project.identity, name, properties);
                    self.store(name, properties);
                }
                Err((field, message)) => {
                    let insert_id = record["properties"]["$insert_id"].clone();
                    failed.push(
                        json!({"index": index, "$insert_id": insert_id, "field": field, "message": message}),
                    );
                }
            }
        }
        failed
    }

    fn store(&mut self, name: &str, properties: &Map<String, Value>) {
        let text = |key: &str| properties[key].as_str().unwrap_or_default().to_owned();
        let day = properties["time"].as_i64().unwrap_or_default() / DAY_MS;
        let key = (name.to_owned(), text("distinct_id"), text("$insert_id"), day);
        let properties: Map<String, Value> =
            properties.iter().map(|(key, value)| (key.clone(), rules::stored(value))).collect();
        let event = json!({"event": name, "properties": properties});
        match self.known.get_mut(&key) {
            Some((index, times)) => {
                self.stored[*index] = event;
                *times += 1;
            }
            None => {
                self.known.insert(key, (self.stored.len(), 1));
                self.stored.push(event);
            }
        }
    }
}

/// The name and the properties of an event that keeps the rules.
type Checked<'a> = (&'a str, &'a Map<String, Value>);

fn check<'a>(record: &'a Value, project: &Project, now_ms: i64) -> Result<Checked<'a>, Wrong> {
    if record.to_string().len() > RECORD_BYTES_MAX {
        return Err(("event", "it has more than 1 MB".to_owned()));
    }
    let name = record["event"].as_str().filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| ("event", "it is missing or empty".to_owned()))?;
    let properties = record["properties"].as_object();
    let properties = properties.ok_or_else(|| ("properties", "it is missing or no object".to_owned()))?;
    if properties.len() >= PROPERTIES_BELOW {
        return Err(("properties", format!("there are {} of them", properties.len())));
    }
    match properties.get("time").and_then(Value::as_i64) {
        None => return Err(("properties.time", "must be specified as seconds since epoch".to_owned())),
        Some(time) if !(TIME_MIN_MS..=now_ms + HOUR_MS).contains(&time) => {
            return Err(("properties.time", format!("{time} is before 1971 or over an hour ahead, in ms")));
        }
        Some(_) => {}
    }
    let insert_id = properties.get("$insert_id").and_then(Value::as_str).unwrap_or_default();
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let fits = (1..=36).contains(&insert_id.len()) && insert_id.bytes().all(allowed);
    if !fits || rules::is_placeholder(insert_id) {
        return Err(("properties.$insert_id", format!("`{insert_id}` is no id")));
    }
    identity::check(project.identity, name, properties, &project.token)?;
    let is_special = matches!(name, "$identify" | "$create_alias" | "$merge");
    if properties.contains_key("$ignore") || properties.contains_key("token") && !is_special {
        return Err(("properties", "`$ignore` or `token` is one of them".to_owned()));
    }
    if !is_special && !properties.get("ip").is_some_and(Value::is_string) {
        return Err((
            "properties.ip",
            "it is missing, so the event would lie where our server stands".to_owned(),
        ));
    }
    for (key, value) in properties {
        rules::check_value(value, VALUE_BYTES_MAX)
            .map_err(|error| ("properties", format!("`{key}`: {error}")))?;
    }
    Ok((name, properties))
}
