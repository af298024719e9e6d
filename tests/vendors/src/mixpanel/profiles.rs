//! The profiles of people and groups.

use super::Project;
use super::rules::{self, RECORD_BYTES_MAX};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

const PROPERTIES_MAX: usize = 2_000;
/// 256 KB.
const VALUE_BYTES_MAX: usize = 256 * 1024;

/// The profiles of people.
#[derive(Default)]
pub(super) struct Profiles(BTreeMap<String, Map<String, Value>>);

/// The profiles of groups.
#[derive(Default)]
pub(super) struct Groups(BTreeMap<(String, String), Map<String, Value>>);

impl Profiles {
    pub(super) fn all(&self) -> BTreeMap<String, Value> {
        self.0.iter().map(|(id, profile)| (id.clone(), profile.clone().into())).collect()
    }

    /// Applies all updates, or none and says what is wrong with the first that breaks a rule.
    pub(super) fn take(&mut self, records: &[Value], project: &Project) -> Result<(), String> {
        for (index, record) in records.iter().enumerate() {
            check_update(record, project).map_err(|error| format!("record {index}: {error}"))?;
            let id = record["$distinct_id"].as_str().unwrap_or_default();
            if id.is_empty() || rules::is_placeholder(id) {
                return Err(format!("record {index}: `$distinct_id` is missing or a placeholder"));
            }
            if !record["$ip"].is_string() {
                return Err(format!(
                    "record {index}: without `$ip` the person would live where our server stands"
                ));
            }
        }
        for record in records {
            let id = record["$distinct_id"].as_str().unwrap_or_default();
            apply(self.0.entry(id.to_owned()).or_default(), record);
        }
        Ok(())
    }
}

impl Groups {
    pub(super) fn all(&self) -> BTreeMap<(String, String), Value> {
        self.0.iter().map(|(id, profile)| (id.clone(), profile.clone().into())).collect()
    }

    /// As [`Profiles::take`].
    pub(super) fn take(&mut self, records: &[Value], project: &Project) -> Result<(), String> {
        for (index, record) in records.iter().enumerate() {
            check_update(record, project).map_err(|error| format!("record {index}: {error}"))?;
            if !project.group_keys.iter().any(|key| record["$group_key"] == **key) {
                return Err(format!("record {index}: the project has no group key {}", record["$group_key"]));
            }
            if record["$group_id"].as_str().is_none_or(str::is_empty) {
                return Err(format!("record {index}: `$group_id` is missing"));
            }
        }
        for record in records {
            let text = |key: &str| record[key].as_str().unwrap_or_default().to_owned();
            apply(self.0.entry((text("$group_key"), text("$group_id"))).or_default(), record);
        }
        Ok(())
    }
}

fn check_update(record: &Value, project: &Project) -> Result<(), String> {
    let record = record.as_object().ok_or("it is no object")?;
    if Value::from(record.clone()).to_string().len() > RECORD_BYTES_MAX {
        return Err("it has more than 1 MB".to_owned());
    }
    if record.get("$token").and_then(Value::as_str) != Some(&project.token) {
        return Err("token, missing or unknown".to_owned());
    }
    let named = ["$token", "$distinct_id", "$ip", "$group_key", "$group_id"];
    let updates: Vec<_> = record.iter().filter(|(key, _)| !named.contains(&key.as_str())).collect();
    let [(update, values)] = updates[..] else {
        return Err(format!("it has {} updates", updates.len()));
    };
    let values = values.as_object().filter(|values| !values.is_empty());
    let values = values.ok_or_else(|| format!("`{update}` is empty or no object"))?;
    match update.as_str() {
        "$set" if values.len() <= PROPERTIES_MAX => {}
        "$union" if values.values().all(Value::is_array) => {}
        other => return Err(format!("`{other}` is too large, wrong or not known to the fake")),
    }
    values.iter().try_for_each(|(key, value)| {
        rules::check_value(value, VALUE_BYTES_MAX).map_err(|error| format!("`{key}`: {error}"))
    })
}

fn apply(profile: &mut Map<String, Value>, record: &Value) {
    for (key, value) in record["$set"].as_object().into_iter().flatten() {
        profile.insert(key.clone(), value.clone());
    }
    for (key, values) in record["$union"].as_object().into_iter().flatten() {
        let list = profile.entry(key.clone()).or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(list) = list else { continue };
        for value in values.as_array().into_iter().flatten() {
            if !list.contains(value) {
                list.push(value.clone());
            }
        }
    }
}
