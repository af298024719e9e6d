//! The id by which Mixpanel knows an event again: at most 36 of letters, digits and `-`.

use super::people::is_placeholder;
use sha2::{Digest, Sha256};

/// The longest that Mixpanel takes, in bytes.
const LENGTH_MAX: usize = 36;

/// The message id where Mixpanel takes it, else the first 36 hexadecimal digits of its SHA-256.
pub(super) fn of_message(message_id: &str) -> String {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let fits = (1..=LENGTH_MAX).contains(&message_id.len()) && message_id.bytes().all(allowed);
    if fits && !is_placeholder(message_id) {
        return message_id.to_owned();
    }
    hash(&[message_id])
}

/// The same id for every event that joins these two ids, so that repeats count once.
pub(super) fn of_pair(word: &str, one: &str, other: &str) -> String {
    hash(&[word, one, other])
}

fn hash(parts: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            hasher.update([0]);
        }
        hasher.update(part.as_bytes());
    }
    let digits = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    digits[..LENGTH_MAX].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_fits_is_kept_and_any_other_is_hashed() {
        for id in ["m-1", "018f6a0e-6f0a-7c3b-9a3e-1f7b2c0d9e11"] {
            assert_eq!(of_message(id), id);
        }
        assert_eq!(of_message("a_b"), "648fa9b31bc7ff7eb914e7a7180f07e0df0f");
        for id in ["ajs-next-018f6a0e-6f0a-7c3b-9a3e-1f7b2c0d9e11", "with space", "é", "0", "NULL"] {
            let hashed = of_message(id);
            assert_eq!(hashed.len(), 36, "{hashed}");
            assert!(hashed.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hashed}");
        }
    }

    #[test]
    fn pairs_are_told_apart() {
        assert_ne!(of_pair("link", "a", "bc"), of_pair("link", "ab", "c"));
        assert_ne!(of_pair("link", "a", "b"), of_pair("alias", "a", "b"));
        assert_eq!(of_pair("link", "a", "b"), of_pair("link", "a", "b"));
    }
}
