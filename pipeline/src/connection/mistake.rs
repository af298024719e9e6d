//! What is wrong with what a person gave.

use serde::Serialize;

/// One wrong field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mistake {
    /// The field, such as `routing.rate_cap` or `credentials.api_key`.
    pub field: String,
    /// What is wrong or what is allowed. It never repeats a credential.
    pub rule: String,
    /// A value that would be taken; empty where none can be given.
    pub example: String,
    /// The place in the field's text, in characters from 0, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<usize>,
}

impl Mistake {
    /// A field with its rule and an example.
    pub fn new(field: impl Into<String>, rule: impl Into<String>, example: impl Into<String>) -> Self {
        Self { field: field.into(), rule: rule.into(), example: example.into(), at: None }
    }

    /// The same, pointing at a character.
    #[must_use]
    pub fn at(self, at: Option<usize>) -> Self {
        Self { at, ..self }
    }
}
