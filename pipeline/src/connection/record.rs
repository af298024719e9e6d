//! A connection as it is kept.

use super::Routing;
use crate::Micros;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// An authorised link to one account at a vendor, and as a destination also what it gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    /// `con_` and a UUID of version 7 in 32 hexadecimal digits.
    pub id: Arc<str>,
    /// A name that people chose: unique, 1 to [`Connection::NAME_MAX`] characters.
    pub name: String,
    /// The name of the vendor.
    pub vendor: String,
    /// The settings, by the names of the vendor's facts.
    pub settings: Map<String, Value>,
    /// Other addresses for hosts of the vendor: from the name in the vendor's facts to an address such
    /// as `http://127.0.0.1:8900`. Empty but for proxies and tests.
    pub hosts: BTreeMap<String, String>,
    /// Which events it gets, and in what shape.
    pub routing: Routing,
    /// The sealed credentials, by the names of the vendor's facts.
    pub credentials: BTreeMap<String, Credential>,
    /// Whether it is delivered to.
    pub state: State,
    /// Why it is not, where that was not a person's choice.
    pub reason: Option<Reason>,
    /// Grows by one with each change of name, settings, hosts, routing or credentials; from 1.
    pub version: u64,
    /// Where its live lanes begin; `None` before it is enabled for the first time.
    pub start: Option<Start>,
    /// What the last check found, as the console shows it.
    pub last_check: Option<Value>,
    /// When it was made.
    pub created_at: Micros,
    /// When it was changed last, its state included.
    pub updated_at: Micros,
}

impl Connection {
    /// The longest name, in characters.
    pub const NAME_MAX: usize = 100;
}

/// Whether a connection is delivered to. Only in [`State::Enabled`] do its cursors move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// It was never enabled.
    Draft,
    /// It is delivered to.
    Enabled,
    /// A person paused it. Events wait.
    Paused,
    /// The vendor refuses its credentials. Events wait for new ones.
    Held,
    /// The receiver wants no more requests. Events wait for a person.
    Disabled,
}

impl State {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Draft, Self::Enabled, Self::Paused, Self::Held, Self::Disabled];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "draft",
            Self::Enabled => "enabled",
            Self::Paused => "paused",
            Self::Held => "held",
            Self::Disabled => "disabled",
        }
    }

    /// The state with this word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// Why a connection is held or disabled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// The word of the [`crate::delivery::Class`], such as `auth_revoked`.
    pub class: String,
    /// What happened, in the vendor's words where there are any; no secret.
    pub text: String,
    /// What a person should do.
    pub remedy: String,
    /// Since when.
    pub since: Micros,
}

/// Where the live lanes of a connection begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// The first events.
    pub from: StartFrom,
    /// When it was asked for. A lane that began before this time begins anew.
    pub asked_at: Micros,
}

/// The first events of a live lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StartFrom {
    /// Those that come in after the start was asked for.
    Now,
    /// All.
    Beginning,
    /// Those that came in at this time or later, in µs since 1970.
    Time(Micros),
}

/// A credential as it is kept: nobody can read it without the master key.
///
/// Its `Debug` shows neither the credential nor its ciphertext.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// The sealed bytes; see [`crate::seal::Sealed`].
    pub sealed: Vec<u8>,
    /// What is shown of it.
    pub summary: Summary,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credential").field(&self.summary).finish()
    }
}

/// What is shown of a credential, to recognise it by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Its first characters; `None` where it is too short to show any.
    pub prefix: Option<String>,
    /// Its last four characters; `None` where it is too short to show any.
    pub last_four: Option<String>,
    /// When it was entered.
    pub created_at: Micros,
}

impl Summary {
    /// A shorter credential shows nothing of itself, in characters.
    pub const LENGTH_MIN: usize = 16;
    /// How far into a credential a word that says what it is may reach, such as `sk_live_`.
    const WORD_MAX: usize = 9;

    /// What is shown of `credential`: never more than a quarter of it from its start, and four
    /// characters from its end.
    pub fn of(credential: &str, created_at: Micros) -> Self {
        let characters: Vec<char> = credential.chars().collect();
        if characters.len() < Self::LENGTH_MIN {
            return Self { prefix: None, last_four: None, created_at };
        }
        let word = characters.iter().take(Self::WORD_MAX).rposition(|c| *c == '_').map_or(0, |at| at + 1);
        let prefix = (word + 4).min(characters.len() / 4);
        Self {
            prefix: Some(characters[..prefix].iter().collect()),
            last_four: Some(characters[characters.len() - 4..].iter().collect()),
            created_at,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_of_a_credential_is_shown_and_nothing_of_a_short_one() {
        let shown = |credential: &str| {
            let summary = Summary::of(credential, 0);
            (summary.prefix.unwrap_or_default(), summary.last_four.unwrap_or_default())
        };
        assert_eq!(shown("123456789012345"), (String::new(), String::new()));
        assert_eq!(shown("1234567890123456"), ("1234".into(), "3456".into()));
        assert_eq!(
            shown("sk_live_abcdefghijklmnopqrstuvwxyz012345678912345"),
            ("sk_live_abcd".into(), "2345".into())
        );
        assert_eq!(shown("sk_live_abcdefgh"), ("sk_l".into(), "efgh".into()));
        assert_eq!(shown("abcdefghijklmnopqrst_uvwxyz01234"), ("abcd".into(), "1234".into()));
        assert_eq!(shown("ééééééééééééééé"), (String::new(), String::new()), "characters, not bytes");
    }

    #[test]
    fn debug_shows_no_ciphertext() {
        let credential = Credential { sealed: b"canary".to_vec(), summary: Summary::of("short", 7) };
        let shown = format!("{credential:?}");
        assert!(!shown.contains("canary") && !shown.contains("99, 97, 110"), "{shown}");
    }
}
