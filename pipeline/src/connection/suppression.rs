//! People whose events go nowhere.

use crate::Micros;
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

impl IdentifierKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::UserId, Self::AnonymousId, Self::Email];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserId => "user_id",
            Self::AnonymousId => "anonymous_id",
            Self::Email => "email",
        }
    }

    /// The kind with this word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The value as it is kept and compared: an e-mail address in lower case and without white space
    /// around it, all else as it is.
    pub fn normal(self, value: &str) -> String {
        match self {
            Self::Email => value.trim().to_lowercase(),
            Self::UserId | Self::AnonymousId => value.to_owned(),
        }
    }
}

/// One suppressed identifier as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suppression {
    /// What it identifies a person by.
    pub kind: IdentifierKind,
    /// The identifier; see [`IdentifierKind::normal`].
    pub value: String,
    /// Why, in a person's words.
    pub reason: Option<String>,
    /// Since when.
    pub created_at: Micros,
}

impl Suppression {
    /// The longest identifier, in bytes.
    pub const VALUE_BYTES_MAX: usize = 1_000;
    /// The longest reason, in bytes.
    pub const REASON_BYTES_MAX: usize = 1_000;
}

/// The suppressed identifiers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suppressed {
    identifiers: HashSet<(IdentifierKind, Box<str>)>,
}

impl Suppressed {
    /// A list of these, each value as [`IdentifierKind::normal`] has it.
    pub fn new(identifiers: impl IntoIterator<Item = (IdentifierKind, Box<str>)>) -> Self {
        Self { identifiers: identifiers.into_iter().collect() }
    }

    /// Whether nothing is suppressed, so that nobody need look for identifiers.
    pub fn is_empty(&self) -> bool {
        self.identifiers.is_empty()
    }

    /// Whether this identifier is suppressed; `value` as [`IdentifierKind::normal`] has it.
    pub fn contains(&self, kind: IdentifierKind, value: &str) -> bool {
        self.identifiers.contains(&(kind, Box::from(value)))
    }
}
