//! Published rules for Mixpanel's requests (the `pixellint` rule packs), as far as they are about whole
//! requests and whole records.

use regex::Regex;
use serde_json::Value;
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// The rules for `/import`, `/engage` and `/groups`. One of a kind that it does not know is an error
/// when they are read, never passed over; warnings and rules for values deep inside are left out.
#[derive(Debug)]
pub struct RulePacks {
    packs: Vec<(&'static str, Value)>,
    patterns: HashMap<String, Regex>,
}

const NAMES: [(&str, &str); 3] = [
    ("/import", "pixellint-mixpanel-import.json"),
    ("/engage", "pixellint-mixpanel-engage.json"),
    ("/groups", "pixellint-mixpanel-groups.json"),
];
/// What is said of a parameter.
const KNOWN: [&str; 15] = [
    "name",
    "doc",
    "description",
    "fix_hint",
    "requirement",
    "allow_empty",
    "format",
    "json_type",
    "min_items",
    "max_items",
    "max_properties",
    "severity",
    "format_severity",
    // Of every property of an update: not about the record itself.
    "name_pattern",
    "name_pattern_parent",
];

impl RulePacks {
    /// Reads the packs from a folder.
    ///
    /// # Errors
    /// When one cannot be read, or has a rule of a kind that is not known or a broken pattern.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let read = |(path, name)| Ok((path, serde_json::from_slice(&std::fs::read(folder.join(name))?)?));
        Self::of(NAMES.into_iter().map(read).collect::<io::Result<_>>()?)
    }

    /// Packs by the paths that they are about.
    ///
    /// # Errors
    /// When one has a rule of a kind that is not known or a broken pattern.
    pub(super) fn of(packs: Vec<(&'static str, Value)>) -> io::Result<Self> {
        for (path, pack) in &packs {
            for param in blocks(pack).flat_map(|block| list(&block["params"])) {
                let mut kinds = param.as_object().into_iter().flatten().map(|(kind, _)| kind);
                if let Some(unknown) = kinds.find(|kind| !KNOWN.contains(&kind.as_str())) {
                    return Err(io::Error::other(format!("rules of `{path}`: `{unknown}` is not known")));
                }
            }
        }
        let patterns = packs.iter().flat_map(|(_, pack)| blocks(pack)).flat_map(patterns);
        let compiled = patterns.map(|pattern| Ok((pattern.to_owned(), Regex::new(pattern)?)));
        let patterns = compiled.collect::<Result<_, regex::Error>>().map_err(io::Error::other)?;
        Ok(Self { packs, patterns })
    }

    /// Whether a request to this path, a JSON array, keeps the rules.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub(super) fn check(&self, path: &str, records: &[Value]) -> Result<(), String> {
        let pack = self.packs.iter().find(|(known, _)| *known == path).map(|(_, pack)| pack);
        for block in pack.into_iter().flat_map(blocks) {
            if block["scope"].is_null() {
                self.check_block(block, &Value::from(records))?;
            } else {
                records.iter().try_for_each(|record| self.check_block(block, record))?;
            }
        }
        Ok(())
    }

    fn check_block(&self, block: &Value, value: &Value) -> Result<(), String> {
        for param in list(&block["params"]) {
            let name = param["name"].as_str().unwrap_or_default();
            if name.contains("[]") || !param["name_pattern"].is_null() {
                continue;
            }
            match at(value, name) {
                None if param["requirement"] == "required" => return Err(format!("`{name}` is missing")),
                None => {}
                Some(value) => {
                    self.check_param(param, value).map_err(|error| format!("`{name}`: {error}"))?
                }
            }
        }
        list(&block["rules"]).iter().try_for_each(|rule| self.check_rule(rule, value))
    }

    fn check_param(&self, param: &Value, value: &Value) -> Result<(), String> {
        let broken = |rule: &str| Err(format!("`{rule}` of {} does not hold", param[rule]));
        let types =
            param["json_type"].as_array().cloned().unwrap_or_else(|| vec![param["json_type"].clone()]);
        if !types.iter().any(|name| crate::schema::is_a(value, name)) {
            return broken("json_type");
        }
        let entries = value.as_array().map(|list| list.len() as u64);
        let properties = value.as_object().map(|object| object.len() as u64);
        for (rule, size, is_least) in [
            ("min_items", entries, true),
            ("max_items", entries, false),
            ("max_properties", properties, false),
        ] {
            if let (Some(limit), Some(size)) = (param[rule].as_u64(), size)
                && (if is_least { size < limit } else { size > limit })
            {
                return broken(rule);
            }
        }
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        if text.is_empty() && param["allow_empty"] == true {
            return Ok(());
        }
        let format = &param["format"];
        let holds = match format["kind"].as_str() {
            None => true,
            Some("non_empty") => !text.is_empty(),
            Some("integer") => text.parse::<i64>().is_ok(),
            Some("enum") => list(&format["values"]).iter().any(|one| *one == *text),
            Some("regex") => self.is_match(&format["pattern"], &text),
            // Mixpanel takes any text there.
            Some("url") => true,
            Some(_) => false,
        };
        if holds { Ok(()) } else { broken("format") }
    }

    fn check_rule(&self, rule: &Value, value: &Value) -> Result<(), String> {
        let mut params = list(&rule["params"]).iter().filter_map(Value::as_str);
        let holds = match rule["kind"].as_str() {
            Some("forbid_value_pattern") => params.all(|name| {
                !at(value, name)
                    .and_then(Value::as_str)
                    .is_some_and(|text| self.is_match(&rule["pattern"], text))
            }),
            Some("require_one_of") => params.any(|name| at(value, name).is_some()),
            _ => false,
        };
        if holds {
            Ok(())
        } else {
            Err(rule["message"].as_str().unwrap_or("a rule does not hold").to_owned())
        }
    }

    fn is_match(&self, pattern: &Value, text: &str) -> bool {
        let pattern = pattern.as_str().and_then(|pattern| self.patterns.get(pattern));
        pattern.is_some_and(|pattern| pattern.is_match(text))
    }
}

/// The rules for the array (no scope) and for each of its records (`[]`), as sent in a JSON body.
fn blocks(pack: &Value) -> impl Iterator<Item = &Value> {
    let is_plain = |block: &&Value| block["source_param"].is_null();
    let is_ours = |block: &&Value| block["scope"].is_null() || block["scope"] == "[]";
    list(&pack["body"]).iter().filter(is_plain).filter(is_ours)
}

/// The regular expressions of a block.
fn patterns(block: &Value) -> impl Iterator<Item = &str> {
    let of_params = list(&block["params"]).iter().map(|param| &param["format"]["pattern"]);
    let of_rules = list(&block["rules"]).iter().map(|rule| &rule["pattern"]);
    of_params.chain(of_rules).filter_map(Value::as_str)
}

/// The value at a path of names with dots between them.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').filter(|name| !name.is_empty()).try_fold(value, |value, name| value.get(name))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
