//! The id under which a client's message is kept.

use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt::Write;

/// A message id of more characters is kept as its hash.
pub const MESSAGE_ID_CHARS_MAX: usize = 100;

/// The id under which the client's `id` is kept: itself, or its SHA-256 in hexadecimal where it has
/// more than [`MESSAGE_ID_CHARS_MAX`] characters. The same id always gives the same hash, so that it
/// is recognised when it is sent again.
pub fn kept_message_id(id: &str) -> Cow<'_, str> {
    if id.len() <= MESSAGE_ID_CHARS_MAX || id.chars().count() <= MESSAGE_ID_CHARS_MAX {
        return Cow::Borrowed(id);
    }
    Cow::Owned(hexadecimal(&Sha256::digest(id.as_bytes())))
}

/// The id of an imported event that has none of its own: a hash of the file it stands in (by content,
/// not by name), of its line number there, and of the line. So a second run finds the same ids.
pub fn message_id_of_line(file: &str, number: u64, line: &str) -> String {
    let mut hash = Sha256::new();
    hash.update((file.len() as u64).to_be_bytes());
    hash.update(file.as_bytes());
    hash.update(number.to_be_bytes());
    hash.update(line.as_bytes());
    hexadecimal(&hash.finalize())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a string does not fail");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::{kept_message_id, message_id_of_line};

    #[test]
    fn the_id_of_a_line_depends_on_file_number_and_text_only() {
        let id = message_id_of_line("f", 1, "{}");
        assert_eq!(id, message_id_of_line("f", 1, "{}"));
        assert_eq!(id.len(), 64);
        for other in [
            message_id_of_line("g", 1, "{}"),
            message_id_of_line("f", 2, "{}"),
            message_id_of_line("f", 1, "[]"),
        ] {
            assert_ne!(id, other);
        }
    }

    #[test]
    fn only_ids_over_a_hundred_characters_are_hashed() {
        for kept in ["", "m1", &"x".repeat(100), &"ü".repeat(100)] {
            assert_eq!(kept_message_id(kept), kept);
        }
        // `printf 'x%.0s' $(seq 101) | sha256sum`
        let hash = kept_message_id(&"x".repeat(101)).into_owned();
        assert_eq!(hash, "c675a2e604b0cd1229c036e3ce0c87422980a245e295bbc605a507a2299752db");
        assert_eq!(kept_message_id(&hash), hash);
    }
}
