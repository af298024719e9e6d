//! The part of JSON Schema (2020-12) that our contracts use.

use chrono::DateTime;
use regex::Regex;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// A JSON Schema. A keyword that it does not know is an error when it is read, never passed over.
#[derive(Debug)]
pub struct Schema {
    root: Value,
    /// By their text.
    patterns: HashMap<String, Pattern>,
}

/// A regular expression with look-aheads right after `^`, which are all that schemas need: `^(?!a)b`
/// means "not `^a`, and `^b`".
#[derive(Debug)]
struct Pattern {
    unwanted: Vec<Regex>,
    wanted: Regex,
}

impl Pattern {
    fn parse(text: &str) -> Result<Self, regex::Error> {
        let mut rest = text.to_owned();
        let mut unwanted = Vec::new();
        while let Some((ahead, behind)) = rest.strip_prefix("^(?!").and_then(|rest| rest.split_once(')')) {
            unwanted.push(Regex::new(&format!("^(?:{ahead})"))?);
            rest = format!("^{behind}");
        }
        Ok(Self { unwanted, wanted: Regex::new(&rest)? })
    }

    fn is_match(&self, text: &str) -> bool {
        self.wanted.is_match(text) && !self.unwanted.iter().any(|unwanted| unwanted.is_match(text))
    }
}

const ANNOTATIONS: [&str; 5] = ["$schema", "$id", "$defs", "title", "description"];
const APPLIED: [&str; 22] = [
    "$ref",
    "additionalProperties",
    "allOf",
    "anyOf",
    "oneOf",
    "const",
    "enum",
    "exclusiveMinimum",
    "format",
    "items",
    "maximum",
    "maxItems",
    "maxLength",
    "maxProperties",
    "minimum",
    "minItems",
    "minLength",
    "not",
    "pattern",
    "propertyNames",
    "required",
    "type",
];
const FORMATS: [&str; 3] = ["date-time", "ipv4", "ipv6"];

impl Schema {
    /// Reads a schema from a file.
    ///
    /// # Errors
    /// When the file cannot be read, is no JSON object, or uses a keyword that is not known.
    pub fn read(path: &Path) -> io::Result<Self> {
        let root: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        Self::parse(root).map_err(|error| io::Error::other(format!("`{}`: {error}", path.display())))
    }

    fn parse(root: Value) -> Result<Self, String> {
        let mut patterns = HashMap::new();
        check_keywords(&root, &mut patterns)?;
        Ok(Self { root, patterns })
    }

    /// Whether `value` is as the schema says.
    ///
    /// # Errors
    /// The first thing that is not, with the path to it.
    pub fn validate(&self, value: &Value) -> Result<(), String> {
        self.check(&self.root, value, "$")
    }

    fn check(&self, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
        let Value::Object(schema) = schema else {
            return if *schema == Value::Bool(false) { Err(format!("{path}: not allowed")) } else { Ok(()) };
        };
        for (keyword, rule) in schema {
            if keyword == "additionalProperties" {
                self.check_additional(rule, schema.get("properties"), value, path)?;
            } else {
                self.check_keyword(keyword, rule, value, path)?;
            }
        }
        Ok(())
    }

    fn check_keyword(&self, keyword: &str, rule: &Value, value: &Value, path: &str) -> Result<(), String> {
        let rules = || rule.as_array().map_or(&[][..], Vec::as_slice);
        let matching = || rules().iter().filter(|rule| self.check(rule, value, path).is_ok()).count();
        let characters = || value.as_str().map(|text| text.chars().count() as u64);
        let elements = || value.as_array().map(|array| array.len() as u64);
        let holds = match keyword {
            "$ref" => {
                let pointer = rule.as_str().and_then(|text| text.strip_prefix('#')).unwrap_or("/missing");
                let target = self.root.pointer(pointer).ok_or_else(|| format!("{rule}: no such schema"))?;
                return self.check(target, value, path);
            }
            "allOf" => return rules().iter().try_for_each(|rule| self.check(rule, value, path)),
            "properties" => return self.check_properties(rule, value, path),
            "propertyNames" => {
                let mut names = value.as_object().into_iter().flat_map(Map::keys);
                return names.try_for_each(|name| {
                    self.check(rule, &Value::from(name.as_str()), &format!("{path}.{name}"))
                });
            }
            "items" => {
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                let mut items = items.iter().enumerate();
                return items.try_for_each(|(i, item)| self.check(rule, item, &format!("{path}[{i}]")));
            }
            "anyOf" => matching() > 0,
            "oneOf" => matching() == 1,
            "not" => self.check(rule, value, path).is_err(),
            "const" => value == rule,
            "enum" => rules().contains(value),
            "type" => rule
                .as_str()
                .map_or_else(|| rules().iter().any(|name| is_a(value, name)), |_| is_a(value, rule)),
            "required" => rules().iter().all(|name| value.as_object().is_none_or(|object| has(object, name))),
            "minLength" => characters().is_none_or(|length| Some(length) >= rule.as_u64()),
            "maxLength" => characters().is_none_or(|length| Some(length) <= rule.as_u64()),
            "minItems" => elements().is_none_or(|length| Some(length) >= rule.as_u64()),
            "maxItems" => elements().is_none_or(|length| Some(length) <= rule.as_u64()),
            "minimum" => value.as_f64().is_none_or(|number| Some(number) >= rule.as_f64()),
            "maximum" => value.as_f64().is_none_or(|number| Some(number) <= rule.as_f64()),
            "exclusiveMinimum" => value.as_f64().is_none_or(|number| Some(number) > rule.as_f64()),
            "maxProperties" => {
                value.as_object().is_none_or(|object| Some(object.len() as u64) <= rule.as_u64())
            }
            "pattern" => {
                let pattern = rule.as_str().and_then(|text| self.patterns.get(text));
                value.as_str().is_none_or(|text| pattern.is_some_and(|pattern| pattern.is_match(text)))
            }
            "format" => value.as_str().is_none_or(|text| is_formatted(rule, text)),
            _ => true,
        };
        if holds { Ok(()) } else { Err(format!("{path}: breaks `{keyword}: {rule}`")) }
    }

    fn check_properties(&self, rules: &Value, value: &Value, path: &str) -> Result<(), String> {
        let (Some(rules), Some(object)) = (rules.as_object(), value.as_object()) else { return Ok(()) };
        rules.iter().try_for_each(|(name, rule)| match object.get(name) {
            Some(value) => self.check(rule, value, &format!("{path}.{name}")),
            None => Ok(()),
        })
    }

    fn check_additional(
        &self,
        rule: &Value,
        named: Option<&Value>,
        value: &Value,
        path: &str,
    ) -> Result<(), String> {
        let is_named = |name: &str| named.is_some_and(|named| named.get(name).is_some());
        let mut others = value.as_object().into_iter().flatten().filter(|(name, _)| !is_named(name));
        others.try_for_each(|(name, value)| self.check(rule, value, &format!("{path}.{name}")))
    }
}

fn is_formatted(rule: &Value, text: &str) -> bool {
    match rule.as_str() {
        Some("ipv4") => text.parse::<Ipv4Addr>().is_ok(),
        Some("ipv6") => text.parse::<Ipv6Addr>().is_ok(),
        _ => DateTime::parse_from_rfc3339(text).is_ok(),
    }
}

pub(crate) fn is_a(value: &Value, name: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("string") => value.is_string(),
        Some("number") => value.is_number(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    }
}

fn has(object: &Map<String, Value>, name: &Value) -> bool {
    name.as_str().is_some_and(|name| object.contains_key(name))
}

/// Refuses keywords that are not known, and gathers the patterns.
fn check_keywords(schema: &Value, patterns: &mut HashMap<String, Pattern>) -> Result<(), String> {
    let object = match schema {
        Value::Object(object) => object,
        Value::Bool(_) => return Ok(()),
        _ => return Err(format!("`{schema}` is no schema")),
    };
    for (keyword, rule) in object {
        match (keyword.as_str(), rule) {
            ("properties" | "$defs", Value::Object(schemas)) => {
                schemas.values().try_for_each(|schema| check_keywords(schema, patterns))?;
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                schemas.iter().try_for_each(|schema| check_keywords(schema, patterns))?;
            }
            ("items" | "not" | "additionalProperties" | "propertyNames", _) => {
                check_keywords(rule, patterns)?;
            }
            ("pattern", Value::String(text)) => {
                let pattern = Pattern::parse(text).map_err(|error| error.to_string())?;
                patterns.insert(text.clone(), pattern);
            }
            ("pattern", _) => return Err(format!("pattern {rule} is no text")),
            ("format", _) if !FORMATS.iter().any(|format| rule == format) => {
                return Err(format!("format {rule} is not known"));
            }
            (known, _) if ANNOTATIONS.contains(&known) || APPLIED.contains(&known) => {}
            _ => return Err(format!("keyword `{keyword}` is not known")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn schema(root: Value) -> Schema {
        Schema::parse(root).expect("its keywords are known")
    }

    #[test]
    fn what_breaks_the_schema_is_named_with_its_path() {
        let schema = schema(json!({
            "$defs": {"id": {"type": "string", "minLength": 1, "maxLength": 3}},
            "required": ["ids"],
            "properties": {
                "ids": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/id"}},
                "at": {"type": ["string", "null"], "format": "date-time"},
                "kind": {"oneOf": [{"const": "a"}, {"const": "b"}]},
            },
        }));
        assert_eq!(schema.validate(&json!({"ids": ["abc"], "at": null, "kind": "a", "more": 1})), Ok(()));
        for (value, broken) in [
            (json!({}), "$: breaks `required"),
            (json!({"ids": []}), "$.ids: breaks `minItems"),
            (json!({"ids": ["abc", "abcd"]}), "$.ids[1]: breaks `maxLength"),
            (json!({"ids": [7]}), "$.ids[0]: breaks `type"),
            (json!({"ids": ["a"], "at": "yesterday"}), "$.at: breaks `format"),
            (json!({"ids": ["a"], "kind": "c"}), "$.kind: breaks `oneOf"),
        ] {
            let error = schema.validate(&value).expect_err("it breaks the schema");
            assert!(error.starts_with(broken), "{error}");
        }
    }

    #[test]
    fn names_numbers_and_patterns_are_held_against_the_schema() {
        let schema = schema(json!({
            "not": {"required": ["never"]},
            "maxProperties": 3,
            "propertyNames": {"pattern": "^(?!_)(?!ga_)[a-z_]+$"},
            "properties": {
                "ip": {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
                "n": {"minimum": 1, "maximum": 3},
            },
            "additionalProperties": {"exclusiveMinimum": 0},
        }));
        assert_eq!(schema.validate(&json!({"ip": "::1", "n": 3, "more": 0.5})), Ok(()));
        for (value, broken) in [
            (json!({"never": 1}), "$: breaks `not"),
            (json!({"a": 1, "b": 1, "c": 1, "d": 1}), "$: breaks `maxProperties"),
            (json!({"_a": 1}), "$._a: breaks `pattern"),
            (json!({"ga_a": 1}), "$.ga_a: breaks `pattern"),
            (json!({"A": 1}), "$.A: breaks `pattern"),
            (json!({"ip": "1.2.3"}), "$.ip: breaks `anyOf"),
            (json!({"n": 4}), "$.n: breaks `maximum"),
            (json!({"n": 0}), "$.n: breaks `minimum"),
            (json!({"more": 0}), "$.more: breaks `exclusiveMinimum"),
        ] {
            let error = schema.validate(&value).expect_err("it breaks the schema");
            assert!(error.starts_with(broken), "{error}");
        }
    }

    #[test]
    fn an_unknown_keyword_is_an_error() {
        assert!(Schema::parse(json!({"properties": {"a": {"patternProperties": {}}}})).is_err());
        assert!(Schema::parse(json!({"properties": {"a": {"pattern": "("}}})).is_err());
    }
}
