//! Routing as a person gives it: read and checked at the edge, with every mistake named.

use super::{Routing, Rule};
use crate::condition::Compiler;
use crate::connection::{Mistake, Path, PathError};
use crate::event::Kind;
use serde_json::{Value, json};

/// The longest condition, in bytes.
const CONDITION_BYTES_MAX: usize = 16 << 10;
/// The most names of events, rules of a mapping and categories of consent.
const ENTRIES_MAX: usize = 500;

/// The fields of an event that a path may start with.
const FIELDS: [&str; 15] = [
    "type",
    "event",
    "name",
    "category",
    "message_id",
    "user_id",
    "anonymous_id",
    "group_id",
    "previous_id",
    "timestamp",
    "properties",
    "traits",
    "context",
    "integrations",
    "source",
];

/// The fields that no rule may change: who sent what, and the id that every attempt repeats.
const FIXED: [&str; 3] = ["type", "message_id", "source"];

/// Each field of a routing with its rule and an example.
const RULES: [(&str, &str, &str); 8] = [
    ("kinds", "must be a list of kinds of call", r#"["track", "identify"]"#),
    ("names", "must be a list of names of `track` events", r#"["Order Completed"]"#),
    (
        "condition",
        "must be a SQL condition over the columns of `events`, or null",
        "properties->>'currency' = 'EUR'",
    ),
    (
        "mapping",
        "must be a list of rules, each an object with one of `rename`, `drop`, `set`, `copy`",
        r#"[{"drop": {"path": "traits.phone"}}]"#,
    ),
    ("rate_cap", "must be a number of events in a second, over 0, or null", "10"),
    ("order", "must be `per_user`, `none`, `strict`, or null for the vendor's default", "per_user"),
    ("ambiguous", "must be `hold`, `resend`, or null for the vendor's default", "hold"),
    (
        "consent",
        "must be an object with `categories`, a list of texts, and `required`, true or false",
        r#"{"categories": ["Advertising"], "required": true}"#,
    ),
];

impl Routing {
    /// Reads a routing from JSON and checks it; the compiler checks the condition.
    ///
    /// # Errors
    /// Every mistake, with fields named as `routing.…`.
    pub fn parse(value: &Value, compiler: &dyn Compiler) -> Result<Self, Vec<Mistake>> {
        let Some(fields) = value.as_object() else {
            return Err(vec![Mistake::new("routing", "must be an object", r#"{"kinds": ["track"]}"#)]);
        };
        let mut mistakes: Vec<_> = fields.iter().filter_map(|(name, value)| misread(name, value)).collect();
        if mistakes.is_empty() {
            // What was read one by one can also be read as a whole.
            match serde_json::from_value::<Self>(value.clone()) {
                Ok(routing) => {
                    mistakes = routing.check(compiler);
                    if mistakes.is_empty() {
                        return Ok(routing);
                    }
                }
                Err(error) => mistakes.push(Mistake::new("routing", format!("cannot be read: {error}"), "")),
            }
        }
        Err(mistakes)
    }

    /// Every mistake; empty when there is none.
    pub fn check(&self, compiler: &dyn Compiler) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        for (at, kind) in self.kinds.iter().enumerate() {
            if Kind::parse(kind).is_none() {
                let allowed: Vec<_> = Kind::ALL.iter().map(|kind| format!("`{}`", kind.as_str())).collect();
                let rule = format!("must be one of {}", allowed.join(", "));
                mistakes.push(Mistake::new(format!("routing.kinds[{at}]"), rule, "track"));
            }
        }
        let texts = [("names", &self.names), ("consent.categories", &self.consent.categories)];
        for (field, texts) in texts {
            if let Some(at) = texts.iter().position(|text| text.trim().is_empty()) {
                let example = if field == "names" { "Order Completed" } else { "Advertising" };
                mistakes.push(Mistake::new(
                    format!("routing.{field}[{at}]"),
                    "must be a text, not empty",
                    example,
                ));
            }
        }
        let counts = [
            ("names", self.names.len()),
            ("mapping", self.mapping.len()),
            ("consent.categories", self.consent.categories.len()),
        ];
        for (field, _) in counts.into_iter().filter(|(_, count)| *count > ENTRIES_MAX) {
            let rule = format!("must have at most {ENTRIES_MAX} entries");
            mistakes.push(Mistake::new(format!("routing.{field}"), rule, ""));
        }
        if self.consent.required && self.consent.categories.is_empty() {
            let rule = "must name at least one category, because `required` is true";
            mistakes.push(Mistake::new("routing.consent.categories", rule, r#"["Advertising"]"#));
        }
        if self.rate_cap.is_some_and(|cap| !cap.is_finite() || cap <= 0.0) {
            mistakes.push(Mistake::new("routing.rate_cap", "must be a number over 0", "10"));
        }
        mistakes.extend(
            self.condition
                .as_deref()
                .and_then(|condition| check_condition("routing.condition", condition, compiler)),
        );
        for (at, rule) in self.mapping.iter().enumerate() {
            mistakes.extend(rule.check().into_iter().map(|mistake| Mistake {
                field: format!("routing.mapping[{at}].{}", mistake.field),
                ..mistake
            }));
        }
        mistakes
    }
}

impl Rule {
    /// Every mistake; empty when there is none. Fields are named from the rule on, as `rename.from`.
    pub fn check(&self) -> Vec<Mistake> {
        let mistakes = match self {
            Self::Rename { from, to } => {
                vec![check_path("rename.from", from, true), check_path("rename.to", to, true)]
            }
            Self::Drop { path } => vec![check_path("drop.path", path, true)],
            Self::Set { path, .. } => vec![check_path("set.path", path, true)],
            Self::Copy { from, to } => {
                let none = from.is_empty().then(|| {
                    Mistake::new(
                        "copy.from",
                        "must have at least one path",
                        r#"["properties.total", "properties.value"]"#,
                    )
                });
                let each = from.iter().enumerate();
                let each = each.map(|(at, path)| check_path(&format!("copy.from[{at}]"), path, false));
                [none].into_iter().chain(each).chain([check_path("copy.to", to, true)]).collect()
            }
        };
        mistakes.into_iter().flatten().collect()
    }
}

/// What is wrong with a condition, if anything.
pub(crate) fn check_condition(field: &str, condition: &str, compiler: &dyn Compiler) -> Option<Mistake> {
    const EXAMPLE: &str = "event = 'Order Completed' AND properties->>'currency' = 'EUR'";
    if condition.len() > CONDITION_BYTES_MAX {
        return Some(Mistake::new(field, format!("must have at most {CONDITION_BYTES_MAX} bytes"), EXAMPLE));
    }
    let error = compiler.compile(condition).err()?;
    Some(Mistake::new(field, format!("is no condition: {}", error.message), EXAMPLE).at(error.at))
}

/// What cannot be read as the field `name` of a routing, if anything.
fn misread(name: &str, value: &Value) -> Option<Mistake> {
    let Some((_, rule, example)) = RULES.iter().find(|(field, _, _)| *field == name) else {
        let allowed: Vec<_> = RULES.iter().map(|(field, _, _)| format!("`{field}`")).collect();
        let name: String = name.chars().take(80).collect();
        let rule = format!("is not known, allowed are {}", allowed.join(", "));
        return Some(Mistake::new(format!("routing.{name}"), rule, ""));
    };
    if let ("mapping", Some(rules)) = (name, value.as_array()) {
        let wrong = |value: &Value| serde_json::from_value::<Rule>(value.clone()).err();
        let (at, error) = rules.iter().enumerate().find_map(|(at, value)| Some((at, wrong(value)?)))?;
        let example = r#"{"rename": {"from": "properties.total", "to": "properties.value"}}"#;
        return Some(Mistake::new(format!("routing.mapping[{at}]"), format!("is no rule: {error}"), example));
    }
    let wrong = serde_json::from_value::<Routing>(json!({ name: value })).is_err();
    wrong.then(|| Mistake::new(format!("routing.{name}"), *rule, *example))
}

fn check_path(field: &str, text: &str, changes: bool) -> Option<Mistake> {
    const EXAMPLE: &str = "properties.order.id";
    let path = match Path::parse(text) {
        Ok(path) => path,
        Err(PathError { message, at }) => {
            return Some(Mistake::new(field, format!("is no path: {message}"), EXAMPLE).at(Some(at)));
        }
    };
    if !FIELDS.contains(&path.field()) {
        let allowed: Vec<_> = FIELDS.iter().map(|field| format!("`{field}`")).collect();
        let rule = format!("must begin with a field of the event: {}", allowed.join(", "));
        return Some(Mistake::new(field, rule, EXAMPLE).at(Some(0)));
    }
    if changes && FIXED.contains(&path.field()) {
        let rule = format!("`{}` cannot be changed", path.field());
        return Some(Mistake::new(field, rule, EXAMPLE).at(Some(0)));
    }
    None
}

#[cfg(test)]
mod tests;
