//! One master key and its id.

use sha2::{Digest, Sha256};
use std::fmt;
use std::io;

/// What a key's id is the beginning of: the SHA-256 of this and the key.
const ID_DOMAIN: &[u8] = b"flowstate master key id 1";

/// A master key's name: eight hexadecimal digits that follow from the key and do not lead back.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 256 bits that wrap data keys. Its `Debug` shows the id.
#[derive(Clone)]
pub(super) struct MasterKey {
    bytes: [u8; 32],
    id: KeyId,
}

impl MasterKey {
    pub(super) fn random() -> io::Result<Self> {
        Ok(Self::new(super::random()?))
    }

    /// `None` unless the text is 64 hexadecimal digits.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits: Option<Vec<u8>> = text.chars().map(|c| Some(c.to_digit(16)? as u8)).collect();
        let mut digits = digits.filter(|digits| digits.len() == 64)?;
        let key = Self::new(std::array::from_fn(|at| digits[2 * at] << 4 | digits[2 * at + 1]));
        wipe(&mut digits);
        Some(key)
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// The text that [`MasterKey::parse`] reads.
    pub(super) fn to_hex(&self) -> String {
        self.bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn new(bytes: [u8; 32]) -> Self {
        let hash: [u8; 32] = Sha256::new().chain_update(ID_DOMAIN).chain_update(bytes).finalize().into();
        Self { bytes, id: KeyId([hash[0], hash[1], hash[2], hash[3]]) }
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.id, f)
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

/// Overwrites a secret that is no longer needed. Copies that the compiler made elsewhere remain.
pub(super) fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // Without a reader, the compiler might leave the writes out.
    std::hint::black_box(bytes);
}
