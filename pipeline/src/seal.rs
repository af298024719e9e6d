//! Secrets at rest: sealed under a master key that is kept apart from them.
//!
//! Each secret is encrypted with XChaCha20-Poly1305 under a data key of its own, and the data key
//! under the current master key of a [`Keyring`]. A new master key therefore means to wrap the data
//! keys anew ([`Keyring::rewrap`]); the secrets themselves are not touched.
//!
//! To rotate: [`Keyring::add_key`], [`Keyring::save`], rewrap and store every [`Sealed`], then
//! [`Keyring::keep_current`] and save again. A crash in between loses nothing, because the old key
//! stays until the last step. Where the operator gives the keys, the operator puts the new key before
//! the old one and takes the old one away at the end.

mod key;
mod key_file;
mod sealed;

pub use key::KeyId;
pub use sealed::Sealed;

use key::MasterKey;
use rand::TryRng;
use rand::rngs::SysRng;
use std::path::{Path, PathBuf};

/// The master keys: the first seals, all of them open.
///
/// Its `Debug` shows the ids only. The keys are overwritten in memory when it is dropped, as far as
/// a program can tell.
#[derive(Clone, Debug)]
pub struct Keyring {
    keys: Vec<MasterKey>,
}

/// Why master keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The text holds no key.
    #[error("no master key is given: write 64 hexadecimal digits, as `openssl rand -hex 32` prints them")]
    Empty,
    /// A word of the text is no key. It is not repeated.
    #[error(
        "master key {position} of the list is not 64 hexadecimal digits: make one with `openssl rand -hex 32`; \
         several are separated by spaces, the current one first"
    )]
    Malformed {
        /// Which word, counted from 1.
        position: usize,
    },
    /// The key file can be read by others than its owner.
    #[error(
        "the master key file `{}` can be read by others (mode {mode:04o}): run `chmod 600` on it, and \
         rotate the key if others had access", path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The key file holds no usable keys.
    #[error("the master key file `{}` cannot be used; restore it from its backup", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with its text.
        #[source]
        source: Box<Self>,
    },
    /// The key file cannot be read or written.
    #[error("the master key file `{}` cannot be read or written", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The machine gives no randomness.
    #[error("the machine gives no randomness to make a key from")]
    Randomness(#[source] std::io::Error),
}

/// Why something cannot be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// A newer version of the program sealed it.
    #[error("the secret was sealed by a newer version (format {0}; this version knows format 1): upgrade")]
    Newer(u8),
    /// Its master key is not at hand.
    #[error(
        "the secret was sealed with master key `{needed}`, and the keys at hand are {at_hand}: restore that key, \
         or enter the secret again"
    )]
    UnknownKey {
        /// The key that it needs.
        needed: KeyId,
        /// The keys of the ring.
        at_hand: String,
    },
    /// The bytes are not those that were sealed.
    #[error("the sealed secret is damaged: restore it from a backup, or enter the secret again")]
    Damaged,
    /// The data key opens and the secret does not: the bytes or their place are wrong.
    #[error(
        "the sealed secret of `{0}` is damaged, or was sealed for something else: restore it from a backup, \
         or enter the secret again"
    )]
    DamagedOrMisplaced(String),
    /// The machine gives no randomness.
    #[error("the machine gives no randomness to seal with")]
    Randomness(#[source] std::io::Error),
}

/// A secret that was opened. Its `Debug` shows nothing, and its bytes are overwritten when dropped.
pub struct Opened(Vec<u8>);

impl Opened {
    /// The secret. Use it, and keep it nowhere.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Opened(…)")
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        key::wipe(&mut self.0);
    }
}

impl Keyring {
    /// Reads keys as an operator gives them: 64 hexadecimal digits each, the current one first,
    /// separated by spaces, commas or lines. What follows a `#` on a line is a remark.
    ///
    /// # Errors
    /// [`KeyringError::Empty`] and [`KeyringError::Malformed`]; neither repeats the text.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
        let words = lines.flat_map(|line| line.split([' ', '\t', ','])).filter(|word| !word.is_empty());
        let mut ring = Self { keys: Vec::new() };
        for (index, word) in words.enumerate() {
            let key = MasterKey::parse(word).ok_or(KeyringError::Malformed { position: index + 1 })?;
            if ring.find(key.id()).is_none() {
                ring.keys.push(key);
            }
        }
        if ring.keys.is_empty() { Err(KeyringError::Empty) } else { Ok(ring) }
    }

    /// Reads the keys of a file; `None` where there is no such file.
    ///
    /// # Errors
    /// [`KeyringError::Exposed`] when others than its owner may read it, [`KeyringError::File`] when
    /// it holds something else, [`KeyringError::Io`].
    pub fn load(path: &Path) -> Result<Option<Self>, KeyringError> {
        key_file::load(path)
    }

    /// Reads the keys of a file, and makes a file with a new key where there is none: readable by its
    /// owner only, file and directory fsynced before this returns.
    ///
    /// Where secrets are sealed already, a missing file means that their key is lost; call
    /// [`Keyring::load`] then.
    ///
    /// # Errors
    /// As [`Keyring::load`], and [`KeyringError::Randomness`].
    pub fn load_or_make(path: &Path) -> Result<Self, KeyringError> {
        key_file::load_or_make(path)
    }

    /// Replaces the keys of a file by these, all of them or none.
    ///
    /// # Errors
    /// [`KeyringError::Io`]; the file is then as it was, or as it should be.
    pub fn save(&self, path: &Path) -> Result<(), KeyringError> {
        key_file::save(self, path)
    }

    /// A ring with one new key.
    ///
    /// # Errors
    /// [`KeyringError::Randomness`].
    pub fn random() -> Result<Self, KeyringError> {
        Ok(Self { keys: vec![MasterKey::random().map_err(KeyringError::Randomness)?] })
    }

    /// Makes a new key, which is the current one from now on.
    ///
    /// # Errors
    /// [`KeyringError::Randomness`].
    pub fn add_key(&mut self) -> Result<KeyId, KeyringError> {
        self.keys.insert(0, MasterKey::random().map_err(KeyringError::Randomness)?);
        Ok(self.current())
    }

    /// Forgets all keys but the current one: the end of a rotation, once everything is rewrapped.
    pub fn keep_current(&mut self) {
        self.keys.truncate(1);
    }

    /// The key that seals.
    pub fn current(&self) -> KeyId {
        self.keys[0].id()
    }

    /// All keys, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().map(MasterKey::id)
    }

    /// Seals a secret for one place, its `context`, such as `connection/<id>`: it opens there only, so
    /// that a sealed secret moved to another row is no use.
    ///
    /// # Errors
    /// [`SealError::Randomness`].
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Sealed, SealError> {
        sealed::seal(&self.keys[0], context, plain)
    }

    /// Opens what [`Keyring::seal`] made for the same context.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`], [`SealError::Damaged`], [`SealError::DamagedOrMisplaced`].
    pub fn open(&self, context: &str, sealed: &Sealed) -> Result<Opened, SealError> {
        sealed::open(self.key_of(sealed)?, context, sealed).map(Opened)
    }

    /// The same secret under the current master key; `None` when it is already.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`], [`SealError::Damaged`], [`SealError::Randomness`].
    pub fn rewrap(&self, sealed: &Sealed) -> Result<Option<Sealed>, SealError> {
        if sealed.key_id() == self.current() {
            return Ok(None);
        }
        sealed::rewrap(self.key_of(sealed)?, &self.keys[0], sealed).map(Some)
    }

    fn key_of(&self, sealed: &Sealed) -> Result<&MasterKey, SealError> {
        let needed = sealed.key_id();
        self.find(needed).ok_or_else(|| {
            let at_hand: Vec<_> = self.ids().map(|id| format!("`{id}`")).collect();
            SealError::UnknownKey { needed, at_hand: at_hand.join(", ") }
        })
    }

    fn find(&self, id: KeyId) -> Option<&MasterKey> {
        self.keys.iter().find(|key| key.id() == id)
    }
}

/// Random bytes of the operating system.
fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    SysRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
