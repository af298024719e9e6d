//! Changes that a connection makes to events before the vendor's own mapping.

mod editing;
mod field;
mod json;
mod path;
#[cfg(test)]
mod tests;

pub use path::{Path, PathError, Step};

use editing::Editing;
use field::Field;
use pipeline::connection::Rule;
use pipeline::event::Event;
use pipeline::log::Stored;
use serde_json::Value;

/// The rules of a connection's routing, compiled. They are applied one after the other.
///
/// JSON text that no rule changes stays as it is, byte for byte. In a field that is changed, members
/// keep their order and untouched values their text (a price of `1.50` stays `1.50`); only blanks
/// between members may go.
///
/// A rule that does not fit an event does nothing to it and loses nothing:
/// - what is not there is not moved or copied; `null` counts as there for [`Rule::Rename`] only;
/// - what a path goes through is made where it is missing or `null`, but a value of another kind is
///   not replaced;
/// - an element may be put in place of another or after the last one of a list; taking one out moves
///   up those after it;
/// - `user_id`, `anonymous_id`, `group_id`, `previous_id`, `event`, `name` and `category` take text
///   and numbers, ids no empty text; `properties`, `traits`, `context`, `integrations` and `extra`
///   take objects. The other fields can only be copied.
///
/// Selection and the order of a person's events go by the event as it came in.
#[derive(Clone, Debug, Default)]
pub struct Mapping {
    rules: Vec<Compiled>,
}

#[derive(Clone, Debug)]
enum Compiled {
    Rename {
        from: Path,
        to: Path,
    },
    Drop {
        path: Path,
    },
    /// The value is JSON text.
    Set {
        path: Path,
        value: String,
    },
    Copy {
        from: Vec<Path>,
        to: Path,
    },
}

/// What is wrong with a rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`mapping[{rule}].{field}`: {message}")]
pub struct MappingError {
    /// Which rule, from 0.
    pub rule: usize,
    /// Which of its fields, such as `to` or `from[1]`.
    pub field: String,
    /// The place in the field's text, in characters from 0.
    pub at: usize,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Mapping {
    /// Compiles rules.
    ///
    /// # Errors
    /// When a path cannot be read, names no field of an event, or one that cannot take what the rule
    /// puts there.
    pub fn compile(rules: &[Rule]) -> Result<Self, MappingError> {
        let compiled = rules.iter().enumerate().map(|(rule, text)| {
            compile(text).map_err(|(field, error)| MappingError {
                rule,
                field,
                at: error.at,
                message: error.message,
            })
        });
        Ok(Self { rules: compiled.collect::<Result<_, _>>()? })
    }

    /// Whether there are no rules, so that every event stays as it is.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The event after all rules.
    pub fn apply(&self, event: Stored<Event<'static>>) -> Stored<Event<'static>> {
        if self.is_empty() {
            return event;
        }
        let mut event = event;
        let texts = Field::OBJECTS.map(|field| field.object_mut(&mut event.record).and_then(Option::take));
        let mut editing = Editing::new(event, &texts);
        for rule in &self.rules {
            editing.apply(rule);
        }
        let (mut event, changed) = editing.finish();
        for ((field, text), changed) in Field::OBJECTS.into_iter().zip(texts).zip(changed) {
            if let Some(place) = field.object_mut(&mut event.record) {
                *place = changed.unwrap_or(text);
            }
        }
        event
    }
}

type FieldError = (String, PathError);

fn compile(rule: &Rule) -> Result<Compiled, FieldError> {
    match rule {
        Rule::Rename { from, to } => {
            Ok(Compiled::Rename { from: writable("from", from)?, to: writable("to", to)? })
        }
        Rule::Drop { path } => Ok(Compiled::Drop { path: writable("path", path)? }),
        Rule::Set { path, value } => {
            let path = writable("path", path)?;
            let refused = |message| ("value".to_owned(), PathError { at: 0, message });
            takes(&path, value).map_err(refused)?;
            Ok(Compiled::Set { path, value: value.to_string() })
        }
        Rule::Copy { from, to } => {
            let paths = from
                .iter()
                .enumerate()
                .map(|(index, text)| Path::parse(text).map_err(|error| (format!("from[{index}]"), error)));
            let from: Vec<Path> = paths.collect::<Result<_, _>>()?;
            if from.is_empty() {
                let message = "at least one path is needed".to_owned();
                return Err(("from".to_owned(), PathError { at: 0, message }));
            }
            Ok(Compiled::Copy { from, to: writable("to", to)? })
        }
    }
}

/// A path to something that may be changed.
fn writable(field: &str, text: &str) -> Result<Path, FieldError> {
    let path = Path::parse(text).map_err(|error| (field.to_owned(), error))?;
    if path.field.is_writable() {
        return Ok(path);
    }
    let message = format!("`{}` can be copied, but not changed", path.field.as_str());
    Err((field.to_owned(), PathError { at: 0, message }))
}

/// Whether the field at the beginning of the path can be this value; text further inside can be any.
fn takes(path: &Path, value: &Value) -> Result<(), String> {
    let name = path.field.as_str();
    let fits = match value {
        _ if !path.steps.is_empty() => true,
        Value::String(text) => path.field.is_text() && !(path.field.is_id() && text.is_empty()),
        Value::Number(_) => path.field.is_text(),
        Value::Object(_) => path.field.is_object(),
        Value::Null | Value::Bool(_) | Value::Array(_) => false,
    };
    match fits {
        true => Ok(()),
        false if path.field.is_object() => Err(format!("`{name}` can only be an object")),
        false => Err(format!("`{name}` can only be text that is not empty, or a number")),
    }
}
