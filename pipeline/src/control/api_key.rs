//! Keys to the management API, and what each may do.

use super::{ControlError, KeyHash, check_word};
use crate::Micros;

/// A key to the management API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey {
    /// Unique, 1 to 64 of `a-z 0-9 - _`.
    pub name: String,
    /// The hash of the key.
    pub hash: KeyHash,
    /// The first characters of the key, to recognise it by.
    pub prefix: String,
    /// What it may do, each scope once, in the order of [`Scope::ALL`].
    pub scopes: Vec<Scope>,
    /// From when on it is not taken any more; `None` for never.
    pub expires_at: Option<Micros>,
    /// When it was last used, up to a minute late; `None` before its first use.
    pub last_used_at: Option<Micros>,
    /// When it was added.
    pub created_at: Micros,
}

impl ApiKey {
    /// The longest name, in characters.
    pub const NAME_MAX: usize = 64;

    /// Checks that `name` may be a key's name.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] with a message that says what is allowed.
    pub fn check_name(name: &str) -> Result<(), ControlError> {
        check_word("an API key's name", name, Self::NAME_MAX)
    }

    /// Whether it may do what needs this scope.
    pub fn allows(&self, scope: Scope) -> bool {
        self.scopes.iter().any(|&held| held == scope || held == Scope::Admin)
    }

    /// Whether it has expired.
    pub fn is_expired(&self, now: Micros) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// Something that an API key may do. A scope includes no other, but for [`Scope::Admin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// See how things stand: sources, connections, replays, accounts, commits. Nothing of a person.
    Read,
    /// Read what people did: events, rejected events, SQL, dead letters, suppressions.
    EventsRead,
    /// Put events into the log: admit rejected ones.
    EventsWrite,
    /// Add, enable and disable sources; the answer shows a new source's write key.
    SourcesWrite,
    /// Decide what goes out: connections, replays, dead letters, suppressions.
    ConnectionsWrite,
    /// All of it, and API keys.
    Admin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 6] = [
        Self::Read,
        Self::EventsRead,
        Self::EventsWrite,
        Self::SourcesWrite,
        Self::ConnectionsWrite,
        Self::Admin,
    ];

    /// The word for it in commands and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::EventsRead => "events:read",
            Self::EventsWrite => "events:write",
            Self::SourcesWrite => "sources:write",
            Self::ConnectionsWrite => "connections:write",
            Self::Admin => "admin",
        }
    }

    /// The scope with this word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(scopes: &[Scope], expires_at: Option<Micros>) -> ApiKey {
        ApiKey {
            name: "ci".into(),
            hash: KeyHash::of("key"),
            prefix: "fs_api_abcd".into(),
            scopes: scopes.to_vec(),
            expires_at,
            last_used_at: None,
            created_at: 0,
        }
    }

    #[test]
    fn a_key_may_do_what_it_was_given_and_nothing_else() {
        for held in Scope::ALL {
            assert_eq!(Scope::parse(held.as_str()), Some(held));
            for needed in Scope::ALL {
                let allowed = held == needed || held == Scope::Admin;
                assert_eq!(key(&[held], None).allows(needed), allowed, "{held:?} {needed:?}");
            }
        }
        assert_eq!(Scope::parse("everything"), None);
        assert!(!key(&[], None).allows(Scope::Read));
    }

    #[test]
    fn a_key_expires_at_its_time() {
        assert!(!key(&[], None).is_expired(Micros::MAX));
        assert!(!key(&[], Some(5)).is_expired(4));
        assert!(key(&[], Some(5)).is_expired(5));
    }
}
