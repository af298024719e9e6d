//! What was entered, against a vendor's facts.

use super::{Field, Kind, Rule, Vendor};
use crate::event::parse_timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use url::Url;

/// The longest text that is taken, in bytes: room for a private key.
const TEXT_BYTES_MAX: usize = 8 * 1024;
/// The most texts that a list takes.
const LIST_MAX: usize = 100;

/// Settings and credentials that hold to a vendor's facts: trimmed, with the defaults filled in, and
/// nothing else in them.
#[derive(Clone, PartialEq)]
pub struct Checked {
    /// The settings, by name.
    pub settings: Map<String, Value>,
    /// The credentials, by name, in the clear.
    pub credentials: BTreeMap<String, String>,
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.credentials.keys().collect();
        f.debug_struct("Checked").field("settings", &self.settings).field("credentials", &names).finish()
    }
}

/// One thing that is wrong with what was entered. It never repeats a value that was entered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("`{field}` {rule}, for example `{example}`")]
pub struct FieldError {
    /// Where it was entered, such as `settings.region`.
    pub field: String,
    /// What has to hold.
    pub rule: String,
    /// One that is right.
    pub example: String,
}

impl Vendor {
    /// Checks what was entered for a connection.
    ///
    /// Blank text and `null` count as not entered, and a whole number where text is expected as its
    /// digits.
    ///
    /// # Errors
    /// Everything that is wrong, in the order of the form: show it beside the fields.
    pub fn check(
        &self,
        settings: &Map<String, Value>,
        credentials: &BTreeMap<String, String>,
    ) -> Result<Checked, Vec<FieldError>> {
        let credentials =
            credentials.iter().map(|(name, text)| (name.clone(), text.as_str().into())).collect();
        let mut errors = Vec::new();
        let settings = entered(self, "settings", settings, &mut errors);
        let credentials = entered(self, "credentials", &credentials, &mut errors);
        for rule in &self.rules {
            errors.extend(self.broken(rule, &settings, &credentials));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let text = |value: Value| match value {
            Value::String(text) => text,
            other => other.to_string(),
        };
        let kept = |(name, value): (String, Option<Value>)| Some((name, value?));
        Ok(Checked {
            settings: settings.into_iter().filter_map(kept).collect(),
            credentials: credentials.into_iter().filter_map(kept).map(|(n, v)| (n, text(v))).collect(),
        })
    }

    /// What is wrong by a rule about several fields.
    fn broken(&self, rule: &Rule, settings: &Entered, credentials: &Entered) -> Option<FieldError> {
        let entered = |path: &str| match path.split_once('.')? {
            ("settings", name) => settings.get(name),
            (_, name) => credentials.get(name),
        };
        let (field, rule) = match rule {
            Rule::ExactlyOneOf { fields, rule } => {
                let mut given = fields.iter().filter(|field| entered(field).is_some());
                match (given.next(), given.next()) {
                    (None, _) => (fields.first()?, rule),
                    (Some(_), None) => return None,
                    (Some(_), Some(second)) => (second, rule),
                }
            }
            Rule::Requires { field, is, needs, rule } => {
                let value = entered(field)?;
                if is.is_some() && is != value {
                    return None;
                }
                (needs.iter().find(|field| entered(field).is_none())?, rule)
            }
        };
        let example = self.field(field).map_or_else(String::new, |field| as_text(&field.example));
        Some(FieldError { field: field.clone(), rule: rule.clone(), example })
    }

    /// The field with this path, such as `settings.region`; `None` for any other.
    pub fn field(&self, path: &str) -> Option<&Field> {
        let (group, name) = path.split_once('.')?;
        self.fields(group).iter().find(|field| field.name == name)
    }

    /// The fields of `settings` or of `credentials`.
    fn fields(&self, group: &str) -> &[Field] {
        if group == "settings" { &self.settings } else { &self.credentials }
    }
}

/// What was entered by name; `None` where it was wrong, so that rules do not call it missing.
type Entered = BTreeMap<String, Option<Value>>;

fn entered(
    vendor: &Vendor,
    group: &str,
    given: &Map<String, Value>,
    errors: &mut Vec<FieldError>,
) -> Entered {
    let fields = vendor.fields(group);
    let mut entered = Entered::new();
    for field in fields {
        let wrong = |rule: String| FieldError {
            field: format!("{group}.{}", field.name),
            rule,
            example: as_text(&field.example),
        };
        match given.get(&field.name).filter(|value| !is_blank(value)) {
            Some(value) => {
                let value = value_of(field, value);
                if value.is_none() {
                    errors.push(wrong(field.rule.clone()));
                }
                entered.insert(field.name.clone(), value);
            }
            None if field.default.is_some() => {
                entered.insert(field.name.clone(), field.default.clone());
            }
            None if field.required => errors.push(wrong(format!("is missing, it {}", field.rule))),
            None => {}
        }
    }
    let unknown = given.keys().filter(|name| fields.iter().all(|field| field.name != **name));
    errors.extend(unknown.map(|name| not_known(vendor, group, name)));
    entered
}

/// What to say of a name that no field of the group has.
fn not_known(vendor: &Vendor, group: &str, name: &str) -> FieldError {
    let other = if group == "settings" { "credentials" } else { "settings" };
    let elsewhere = vendor.fields(other).iter().any(|field| field.name == name);
    let known: Vec<_> = vendor.fields(group).iter().map(|field| format!("`{}`", field.name)).collect();
    let (rule, example) = match (elsewhere, vendor.fields(group).first()) {
        (true, _) => (format!("belongs to the {other}"), format!("{other}.{name}")),
        (false, Some(first)) => {
            (format!("is not known, the {group} are {}", known.join(", ")), format!("{group}.{}", first.name))
        }
        (false, None) => (format!("is not known, there are no {group}"), String::from("{}")),
    };
    FieldError { field: format!("{group}.{name}"), rule, example }
}

fn is_blank(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// The value as it is kept; `None` where it breaks the field's rule.
fn value_of(field: &Field, value: &Value) -> Option<Value> {
    match field.kind {
        Kind::Text => text_of(field, value).map(Value::String),
        Kind::Choice => {
            let text = value.as_str()?.trim();
            field.choices.iter().any(|choice| choice.value == text).then(|| text.into())
        }
        Kind::Url => text_of(field, value).filter(|text| is_address(text)).map(Value::String),
        Kind::Time => text_of(field, value).filter(|text| parse_timestamp(text).is_some()).map(Value::String),
        Kind::Number => {
            let number = value.as_f64()?;
            let fits = field.min.is_none_or(|min| number >= min) && field.max.is_none_or(|max| number <= max);
            fits.then(|| value.clone())
        }
        Kind::Boolean => value.is_boolean().then(|| value.clone()),
        Kind::List => {
            let texts = value.as_array().filter(|texts| texts.len() <= LIST_MAX)?;
            texts.iter().map(|text| text_of(field, text).map(Value::String)).collect()
        }
    }
}

fn text_of(field: &Field, value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) if !number.is_f64() => number.to_string(),
        _ => return None,
    };
    let fits =
        text.len() <= TEXT_BYTES_MAX && field.pattern.as_ref().is_none_or(|pattern| pattern.matches(&text));
    fits.then_some(text)
}

/// Whether the text is an address as [`Kind::Url`] has it. White space and control characters, which
/// the parser would take out without a word, are not.
fn is_address(text: &str) -> bool {
    let is_plain = |url: &Url| {
        matches!(url.scheme(), "https" | "http")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
    };
    !text.contains(|c: char| c.is_whitespace() || c.is_control())
        && Url::parse(text).is_ok_and(|url| is_plain(&url))
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
