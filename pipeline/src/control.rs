//! The control store: small, mutable, transactional state. No row for each event or delivery.
//!
//! [`Control`] is the contract; [`sqlite`] keeps it in one file in the data directory.

mod api_key;
#[cfg(test)]
mod conformance;
mod keys;
mod secret;
pub mod sqlite;

pub use api_key::{ApiKey, Scope};
pub use keys::Keys;
pub use secret::Secret;

use crate::Micros;
use crate::log::INTERNAL_SOURCE;
use async_trait::async_trait;

/// The SHA-256 of a secret key. Keys themselves are shown once and never kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl KeyHash {
    /// The hash of `key`.
    pub fn of(key: &str) -> Self {
        use sha2::Digest;
        Self(sha2::Sha256::digest(key.as_bytes()).into())
    }
}

/// Where a source's events come from, which decides how far its key is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// The key is public: it stands in a page or an app.
    Browser,
    /// The key is secret: it is kept on the company's own servers.
    Server,
}

impl SourceKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Browser, Self::Server];

    /// The word for it in commands and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Server => "server",
        }
    }

    /// The kind with this word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Where events come from: an app with a write key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Unique, 1 to 64 of `a-z 0-9 - _`; it stands in the `source` column for ever.
    pub name: String,
    /// How far its key is trusted.
    pub kind: SourceKind,
    /// Whether it was made for tests and is kept apart from profiles and destinations.
    pub test: bool,
    /// Whether it may send.
    pub enabled: bool,
    /// The hash of its write key.
    pub write_key_hash: KeyHash,
    /// The first characters of its write key, to recognise it by.
    pub write_key_prefix: String,
    /// When it was added.
    pub created_at: Micros,
}

impl Source {
    /// The longest name, in characters.
    pub const NAME_MAX: usize = 64;

    /// Checks that `name` may be a source's name.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] with a message that says what is allowed.
    pub fn check_name(name: &str) -> Result<(), ControlError> {
        if name == INTERNAL_SOURCE {
            return Err(ControlError::Invalid(format!(
                "`{name}` is the name of what the server itself records: choose another"
            )));
        }
        check_word("a source's name", name, Self::NAME_MAX)
    }
}

/// Checks that `word`, which is `what`, has 1 to `longest` of the characters that names have.
fn check_word(what: &str, word: &str, longest: usize) -> Result<(), ControlError> {
    let allowed = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || c == b'_';
    if (1..=longest).contains(&word.len()) && word.bytes().all(allowed) {
        return Ok(());
    }
    let shown: String = word.chars().take(80).collect();
    Err(ControlError::Invalid(format!(
        "{what} is 1 to {longest} of a-z, 0-9, `-` and `_`, and `{shown}` is not"
    )))
}

/// Why the control store could not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// A source or key of that name exists. Choose another name.
    #[error("`{0}` exists already")]
    Exists(String),
    /// There is no such source or key.
    #[error("there is no `{0}`")]
    Unknown(String),
    /// The value breaks a rule; the message says which.
    #[error("{0}")]
    Invalid(String),
    /// The database failed. Try again; see the message.
    #[error("the control store failed: {0}")]
    Store(#[from] sqlx::Error),
}

/// The control store.
///
/// Every write is durable and atomic when it returns. Reads see all writes that returned before,
/// of other processes too.
#[async_trait]
pub trait Control: Send + Sync {
    /// Adds a source. [`ControlError::Exists`] when its name or its key is taken;
    /// [`ControlError::Invalid`] when its name breaks the rule.
    async fn add_source(&self, source: Source) -> Result<(), ControlError>;
    /// All sources by name.
    async fn sources(&self) -> Result<Vec<Source>, ControlError>;
    /// Lets a source send, or not. [`ControlError::Unknown`] when there is none of that name.
    async fn set_source_enabled(&self, name: &str, enabled: bool) -> Result<(), ControlError>;
    /// A number that changes with every change to sources or keys, in whatever process.
    async fn version(&self) -> Result<i64, ControlError>;
    /// Adds an API key. [`ControlError::Exists`] when its name or the key is taken;
    /// [`ControlError::Invalid`] when its name breaks the rule.
    async fn add_api_key(&self, key: ApiKey) -> Result<(), ControlError>;
    /// All API keys by name.
    async fn api_keys(&self) -> Result<Vec<ApiKey>, ControlError>;
    /// Removes an API key. [`ControlError::Unknown`] when there is none of that name.
    async fn revoke_api_key(&self, name: &str) -> Result<(), ControlError>;
    /// Notes when keys were used, where that is later than what is known. Keys that are gone are
    /// left out, and [`Control::version`] stays.
    async fn api_keys_used(&self, used: &[(KeyHash, Micros)]) -> Result<(), ControlError>;
}
