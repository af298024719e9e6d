//! Paths into events, as they are written in JavaScript.

#[cfg(test)]
mod tests;

use super::field::Field;
use std::fmt;

/// More steps than any event has levels.
const STEPS_MAX: usize = 32;

/// A path into an event, such as `properties.order.id`, `traits.address['postal code']` or
/// `properties.products[0].price`. The first word is a field of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    pub(super) field: Field,
    pub(super) steps: Vec<Step>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The member of an object with this name.
    Key(Box<str>),
    /// The element of a list, from 0.
    Index(usize),
}

/// What is wrong with a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {at}: {message}")]
pub struct PathError {
    /// The place in the text, in characters from 0.
    pub at: usize,
    /// What is wrong and what is allowed.
    pub message: String,
}

impl Path {
    /// Reads a path.
    ///
    /// Words are letters, digits, `_` and `$` and do not begin with a digit; anything else is written
    /// in brackets and quotes, in which `\` keeps the meaning of the next character off.
    ///
    /// # Errors
    /// When the text is no path, its first word no field of an event, or a field that has no parts is
    /// followed by more.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut input = Input { text: text.chars().collect(), at: 0 };
        let name = input.word()?;
        let Some(field) = Field::parse(&name) else {
            let known: Vec<_> = Field::ALL.into_iter().map(|(_, name)| name).collect();
            let message = format!("`{name}` is no field of an event; there are {}", known.join(", "));
            return Err(PathError { at: 0, message });
        };
        let mut steps = Vec::new();
        while let Some(next) = input.peek() {
            if !field.is_object() {
                return input.fail(format!("`{name}` has no parts"));
            }
            if steps.len() == STEPS_MAX {
                return input.fail(format!("a path has at most {STEPS_MAX} steps"));
            }
            input.at += 1;
            steps.push(match next {
                '.' => Step::Key(input.word()?.into()),
                '[' => input.bracket()?,
                _ => {
                    input.at -= 1;
                    return input.fail(format!(
                        "`{next}` cannot stand here; names with other signs than letters, digits, `_` and \
                         `$` are written as ['…']"
                    ));
                }
            });
        }
        // An element of a field itself cannot be: all of them are objects.
        if let Some(Step::Index(index)) = steps.first() {
            let message = format!("`{name}` is an object, so [{index}] has to be ['{index}']");
            return Err(PathError { at: name.chars().count(), message });
        }
        Ok(Self { field, steps })
    }
}

struct Input {
    text: Vec<char>,
    at: usize,
}

impl Input {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn fail<T>(&self, message: String) -> Result<T, PathError> {
        Err(PathError { at: self.at, message })
    }

    fn word(&mut self) -> Result<String, PathError> {
        match self.peek() {
            Some(first) if first.is_ascii_digit() => {
                return self.fail("an element is written as [0], and a name of digits as ['0']".to_owned());
            }
            Some(first) if is_word(first) => {}
            _ => {
                return self
                    .fail("a name is missing; other names than words are written as ['…']".to_owned());
            }
        }
        let start = self.at;
        while self.peek().is_some_and(is_word) {
            self.at += 1;
        }
        Ok(self.text[start..self.at].iter().collect())
    }

    /// What follows an opening bracket.
    fn bracket(&mut self) -> Result<Step, PathError> {
        let step = match self.peek() {
            Some(quote @ ('\'' | '"')) => Step::Key(self.quoted(quote)?.into()),
            Some(first) if first.is_ascii_digit() => Step::Index(self.number()?),
            _ => {
                return self
                    .fail("in brackets stands a name in quotes or the number of an element".to_owned());
            }
        };
        if self.peek() != Some(']') {
            return self.fail("a `]` is missing".to_owned());
        }
        self.at += 1;
        Ok(step)
    }

    fn quoted(&mut self, quote: char) -> Result<String, PathError> {
        let mut name = String::new();
        loop {
            self.at += 1;
            match self.peek() {
                Some('\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(sign @ ('\\' | '\'' | '"')) => name.push(sign),
                        _ => return self.fail("after `\\` stands `\\` or a quote".to_owned()),
                    }
                }
                Some(end) if end == quote => {
                    self.at += 1;
                    return Ok(name);
                }
                Some(sign) => name.push(sign),
                None => return self.fail(format!("a closing {quote} is missing")),
            }
        }
    }

    fn number(&mut self) -> Result<usize, PathError> {
        let start = self.at;
        while self.peek().is_some_and(|sign| sign.is_ascii_digit()) {
            self.at += 1;
        }
        let digits: String = self.text[start..self.at].iter().collect();
        let none = |_| PathError { at: start, message: format!("no list has an element {digits}") };
        digits.parse().map_err(none)
    }
}

fn is_word(sign: char) -> bool {
    sign.is_alphanumeric() || sign == '_' || sign == '$'
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field.as_str())?;
        self.steps.iter().try_for_each(|step| step.fmt(f))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(index) => write!(f, "[{index}]"),
            Self::Key(name)
                if !name.starts_with(|first: char| first.is_ascii_digit())
                    && !name.is_empty()
                    && name.chars().all(is_word) =>
            {
                write!(f, ".{name}")
            }
            Self::Key(name) => {
                write!(f, "['{}']", name.replace('\\', "\\\\").replace('\'', "\\'"))
            }
        }
    }
}
