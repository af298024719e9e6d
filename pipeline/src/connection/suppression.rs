//! People whose events go nowhere.

use std::collections::HashSet;

/// What an identifier identifies a person by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IdentifierKind {
    /// `user_id`.
    UserId,
    /// `anonymous_id`.
    AnonymousId,
    /// An e-mail address in traits or context traits, compared in lower case.
    Email,
}

/// The suppressed identifiers at one moment.
#[derive(Clone, Debug, Default)]
pub struct Suppressed {
    identifiers: HashSet<(IdentifierKind, Box<str>)>,
}

impl Suppressed {
    /// A list of these.
    pub fn new(identifiers: impl IntoIterator<Item = (IdentifierKind, Box<str>)>) -> Self {
        Self { identifiers: identifiers.into_iter().collect() }
    }

    /// Whether nothing is suppressed, so that nobody need look for identifiers.
    pub fn is_empty(&self) -> bool {
        self.identifiers.is_empty()
    }

    /// Whether this identifier is suppressed.
    pub fn contains(&self, kind: IdentifierKind, value: &str) -> bool {
        self.identifiers.contains(&(kind, Box::from(value)))
    }
}
