//! Keys as they are made and shown once.

use super::KeyHash;
use rand::TryRng;
use rand::rngs::SysRng;

/// Characters behind a key's prefix: 43 of base 62 hold 256 bits.
const LENGTH: usize = 43;
const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A write key or an API key in the clear.
///
/// Its `Debug` shows only the first characters; [`Secret::reveal`] is the one way to the rest.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The shortest key that may be given from outside, in characters.
    pub const LENGTH_MIN: usize = 16;
    /// The longest key that may be given from outside, in characters.
    pub const LENGTH_MAX: usize = 200;

    /// Makes a write key, `fs_write_…`, from the machine's random source.
    ///
    /// # Errors
    /// When the machine has no randomness to give.
    pub fn write_key() -> std::io::Result<Self> {
        Self::random("fs_write_")
    }

    /// Makes an API key, `fs_api_…`, from the machine's random source.
    ///
    /// # Errors
    /// When the machine has no randomness to give.
    pub fn api_key() -> std::io::Result<Self> {
        Self::random("fs_api_")
    }

    /// A key that was given from outside. `None` unless it is 16 to 200 of the visible ASCII
    /// characters other than the colon, which ends a user name in HTTP's Basic authentication.
    pub fn given(key: &str) -> Option<Self> {
        let allowed = |c: u8| c.is_ascii_graphic() && c != b':';
        let long_enough = (Self::LENGTH_MIN..=Self::LENGTH_MAX).contains(&key.len());
        (long_enough && key.bytes().all(allowed)).then(|| Self(key.to_owned()))
    }

    /// A credential for a vendor, of whatever form: the vendor's facts say what it has to be.
    pub fn credential(text: String) -> Self {
        Self(text)
    }

    /// The whole key. Show it once, and keep it nowhere.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is kept of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }

    /// The first characters, to recognise it by: the word in front and four more, never over a
    /// third of it.
    pub fn prefix(&self) -> String {
        let word = self.0.rfind('_').map_or(0, |at| at + 1);
        self.0.chars().take((word + 4).min(self.0.len() / 3)).collect()
    }

    fn random(word: &str) -> std::io::Result<Self> {
        let mut key = String::from(word);
        let mut bytes = [0; 64];
        while key.len() < word.len() + LENGTH {
            SysRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other)?;
            // 248 = 4 * 62: bytes above are left out, so that every character is as likely.
            let fair = bytes.iter().filter(|&&byte| byte < 248);
            let missing = word.len() + LENGTH - key.len();
            key.extend(fair.take(missing).map(|&byte| char::from(BASE62[usize::from(byte % 62)])));
        }
        Ok(Self(key))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Of a short credential, nothing can be spared.
        let shown = if self.0.len() < Self::LENGTH_MIN { String::new() } else { self.prefix() };
        write!(f, "{shown}…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_long_of_base_62_and_never_the_same() {
        let keys: Vec<_> = (0..100).map(|_| Secret::write_key().unwrap()).collect();
        for key in &keys {
            let rest = key.reveal().strip_prefix("fs_write_").unwrap();
            assert_eq!(rest.len(), LENGTH);
            assert!(rest.bytes().all(|c| c.is_ascii_alphanumeric()), "{rest}");
        }
        let distinct: std::collections::HashSet<_> = keys.iter().map(|key| key.hash()).collect();
        assert_eq!(distinct.len(), keys.len());
        assert!(Secret::api_key().unwrap().reveal().starts_with("fs_api_"));
    }

    #[test]
    fn debug_and_prefix_give_no_key_away() {
        let key = Secret::write_key().unwrap();
        assert_eq!(key.prefix().len(), "fs_write_".len() + 4);
        assert!(key.reveal().starts_with(&key.prefix()));
        assert_eq!(format!("{key:?}"), format!("{}…", key.prefix()));
        assert_eq!(format!("{:?}", Secret::credential("hunter2".into())), "…");
        assert_eq!(Secret::given("0123456789abcdef_x").unwrap().prefix(), "012345");
    }

    #[test]
    fn given_keys_must_be_long_and_fit_into_a_header() {
        assert!(Secret::given("0123456789abcdef").is_some());
        for wrong in
            ["", "short", "0123456789abcde", "0123456789abcde:", "0123456789 abcdef", "0123456789abcdé…"]
        {
            assert_eq!(Secret::given(wrong), None, "{wrong}");
        }
    }
}
