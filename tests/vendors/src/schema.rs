//! The part of JSON Schema (2020-12) that our contracts use.

use chrono::DateTime;
use serde_json::{Map, Value};
use std::io;
use std::path::Path;

/// A JSON Schema. A keyword that it does not know is an error when it is read, never passed over.
#[derive(Debug)]
pub struct Schema {
    root: Value,
}

const ANNOTATIONS: [&str; 5] = ["$schema", "$id", "$defs", "title", "description"];
const APPLIED: [&str; 14] = [
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
    "const",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "minItems",
    "minLength",
    "required",
    "type",
];

impl Schema {
    /// Reads a schema from a file.
    ///
    /// # Errors
    /// When the file cannot be read, is no JSON object, or uses a keyword that is not known.
    pub fn read(path: &Path) -> io::Result<Self> {
        let root: Value = serde_json::from_slice(&std::fs::read(path)?)?;
        check_keywords(&root).map_err(|error| io::Error::other(format!("`{}`: {error}", path.display())))?;
        Ok(Self { root })
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
            self.check_keyword(keyword, rule, value, path)?;
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
            "items" => {
                let items = value.as_array().map_or(&[][..], Vec::as_slice);
                let mut items = items.iter().enumerate();
                return items.try_for_each(|(i, item)| self.check(rule, item, &format!("{path}[{i}]")));
            }
            "anyOf" => matching() > 0,
            "oneOf" => matching() == 1,
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
            "format" => value.as_str().is_none_or(|text| DateTime::parse_from_rfc3339(text).is_ok()),
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
}

fn is_a(value: &Value, name: &Value) -> bool {
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

fn check_keywords(schema: &Value) -> Result<(), String> {
    let object = match schema {
        Value::Object(object) => object,
        Value::Bool(_) => return Ok(()),
        _ => return Err(format!("`{schema}` is no schema")),
    };
    for (keyword, rule) in object {
        match (keyword.as_str(), rule) {
            ("properties" | "$defs", Value::Object(schemas)) => {
                schemas.values().try_for_each(check_keywords)?;
            }
            ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                schemas.iter().try_for_each(check_keywords)?;
            }
            ("items", _) => check_keywords(rule)?,
            ("format", _) if rule != "date-time" => return Err(format!("format {rule} is not known")),
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
        check_keywords(&root).expect("its keywords are known");
        Schema { root }
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
    fn an_unknown_keyword_is_an_error() {
        assert!(check_keywords(&json!({"properties": {"a": {"patternProperties": {}}}})).is_err());
    }
}
