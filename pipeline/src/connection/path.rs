//! Paths to values inside an event, written as in JavaScript.

use serde_json::Value;
use std::fmt;

/// The most steps of a path.
const STEPS_MAX: usize = 32;
/// The highest index that [`Path::set`] makes an array long enough for.
const INDEX_MAX: usize = 999;

/// A path such as `properties.order.id`, `products[0].price` or `traits['postal code']`.
///
/// The first step is a name; further ones are `.name`, `['any text']`, `["any text"]` or `[number]`.
/// A bare name starts with a letter, `_` or `$` and goes on with these or digits. In quotes, `\` takes
/// the next character as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

/// A path that is not written as one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PathError {
    /// What is wrong and what is allowed.
    pub message: String,
    /// The place in the text, in characters from 0.
    pub at: usize,
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// With the place of the first character that does not fit.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut rest = Rest { characters: text.chars().collect(), at: 0 };
        let mut steps = vec![Step::Name(rest.bare_name()?)];
        while let Some(next) = rest.peek() {
            steps.push(match next {
                '.' => {
                    rest.at += 1;
                    Step::Name(rest.bare_name()?)
                }
                '[' => rest.bracket()?,
                _ => return Err(rest.error("expected `.`, `[` or the end")),
            });
            if steps.len() > STEPS_MAX {
                return Err(rest.error(&format!("a path has at most {STEPS_MAX} steps")));
            }
        }
        Ok(Self(steps))
    }

    /// The first step: the field of the event.
    pub fn field(&self) -> &str {
        match &self.0[0] {
            Step::Name(name) => name,
            Step::Index(_) => unreachable!("a path starts with a name"),
        }
    }

    /// The value it leads to in `root`; `None` where something on the way is missing.
    pub fn get<'v>(&self, root: &'v Value) -> Option<&'v Value> {
        self.0.iter().try_fold(root, |at, step| match step {
            Step::Name(name) => at.as_object()?.get(name),
            Step::Index(index) => at.as_array()?.get(*index),
        })
    }

    /// Puts `value` there. What is missing on the way is made: objects for names, arrays (filled up
    /// with nulls) for indexes. False, and nothing is changed, where another kind of value stands in
    /// the way or an index lies over 999.
    #[must_use]
    pub fn set(&self, root: &mut Value, value: Value) -> bool {
        if !self.can_set(root) {
            return false;
        }
        let mut at = root;
        for step in &self.0 {
            at = match step {
                Step::Name(name) => {
                    if at.is_null() {
                        *at = Value::Object(serde_json::Map::new());
                    }
                    let object = at.as_object_mut().expect("checked before");
                    object.entry(name.as_str()).or_insert(Value::Null)
                }
                Step::Index(index) => {
                    if at.is_null() {
                        *at = Value::Array(Vec::new());
                    }
                    let array = at.as_array_mut().expect("checked before");
                    if array.len() <= *index {
                        array.resize(index + 1, Value::Null);
                    }
                    &mut array[*index]
                }
            };
        }
        *at = value;
        true
    }

    /// Takes the value out; an element of an array closes the gap. `None` where nothing is there.
    pub fn remove(&self, root: &mut Value) -> Option<Value> {
        let (last, way) = self.0.split_last()?;
        let parent = way.iter().try_fold(root, |at, step| match step {
            Step::Name(name) => at.as_object_mut()?.get_mut(name),
            Step::Index(index) => at.as_array_mut()?.get_mut(*index),
        })?;
        match last {
            Step::Name(name) => parent.as_object_mut()?.remove(name),
            Step::Index(index) => {
                let array = parent.as_array_mut()?;
                (*index < array.len()).then(|| array.remove(*index))
            }
        }
    }

    /// Whether all that lies on the way is of the right kind, missing or null.
    fn can_set(&self, root: &Value) -> bool {
        let mut at = Some(root);
        for step in &self.0 {
            let here = at.filter(|value| !value.is_null());
            at = match (step, here) {
                (Step::Index(index), _) if *index > INDEX_MAX => return false,
                (_, None) => None,
                (Step::Name(name), Some(Value::Object(object))) => object.get(name),
                (Step::Index(index), Some(Value::Array(array))) => array.get(*index),
                _ => return false,
            };
        }
        true
    }
}

/// The shortest way to write it.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Name(name) if is_bare(name) => {
                    write!(f, "{}{name}", if at == 0 { "" } else { "." })?;
                }
                Step::Name(name) => {
                    write!(f, "['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))?;
                }
            }
        }
        Ok(())
    }
}

fn starts_name(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '$'
}

fn is_bare(name: &str) -> bool {
    name.starts_with(starts_name) && name.chars().all(|c| starts_name(c) || c.is_ascii_digit())
}

/// The characters that were not read yet.
struct Rest {
    characters: Vec<char>,
    at: usize,
}

impl Rest {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn error(&self, message: &str) -> PathError {
        let found = match self.peek() {
            Some(c) => format!("`{c}`"),
            None => "the end".to_owned(),
        };
        PathError { message: format!("{message}, found {found} at character {}", self.at), at: self.at }
    }

    fn bare_name(&mut self) -> Result<String, PathError> {
        let start = self.at;
        if !self.peek().is_some_and(starts_name) {
            return Err(self.error("expected a name of letters, digits, `_` and `$` (others as `['…']`)"));
        }
        while self.peek().is_some_and(|c| starts_name(c) || c.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(self.characters[start..self.at].iter().collect())
    }

    fn bracket(&mut self) -> Result<Step, PathError> {
        self.at += 1;
        let step = match self.peek() {
            Some(quote @ ('\'' | '"')) => Step::Name(self.quoted(quote)?),
            Some(digit) if digit.is_ascii_digit() => Step::Index(self.index()?),
            _ => return Err(self.error("expected a number or a text in quotes")),
        };
        if self.peek() != Some(']') {
            return Err(self.error("expected `]`"));
        }
        self.at += 1;
        Ok(step)
    }

    fn quoted(&mut self, quote: char) -> Result<String, PathError> {
        self.at += 1;
        let mut name = String::new();
        loop {
            match self.peek() {
                Some(c) if c == quote => break,
                Some('\\') => self.at += 1,
                _ => {}
            }
            let Some(c) = self.peek() else {
                return Err(self.error(&format!("expected `{quote}`")));
            };
            name.push(c);
            self.at += 1;
        }
        self.at += 1;
        Ok(name)
    }

    fn index(&mut self) -> Result<usize, PathError> {
        let start = self.at;
        while self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        let digits: String = self.characters[start..self.at].iter().collect();
        let index = digits.parse().ok().filter(|index| *index <= INDEX_MAX);
        index.ok_or_else(|| PathError {
            message: format!("an index is 0 to {INDEX_MAX}, found `{digits}` at character {start}"),
            at: start,
        })
    }
}

#[cfg(test)]
mod tests;
