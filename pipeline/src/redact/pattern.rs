//! What a secret looks like on its way: as it is, percent-encoded, escaped in JSON, in base64.

/// One form of a secret: a sequence of characters, each of which may be written in several ways.
pub(super) struct Pattern {
    /// Bytes of the secret as it is, or characters of its base64.
    units: Vec<Unit>,
}

#[derive(Clone, Copy)]
enum Unit {
    /// This byte.
    Byte(u8),
    /// This character of base64, in either alphabet.
    Base64(u8),
    /// Any character of base64: one that the secret shares with what follows.
    AnyBase64,
}

impl Pattern {
    /// All forms of a secret.
    ///
    /// In base64 it has three, because its first byte may stand at any place of a group of three: the
    /// whole of `user:secret` in `Authorization: Basic`, or a whole JSON body, may be encoded.
    pub(super) fn all(secret: &str) -> Vec<Self> {
        let plain = Self { units: secret.bytes().map(Unit::Byte).collect() };
        let mut patterns = vec![plain];
        patterns.extend((0..3).map(|before| Self::base64(secret.as_bytes(), before)));
        patterns
    }

    /// The form in base64 behind so many other bytes of its group of three.
    ///
    /// A character holds six bits. The first that is the secret's alone begins the form; the one
    /// before it, which holds up to four bits of the secret's first byte, is left.
    fn base64(secret: &[u8], before: usize) -> Self {
        let padded = [&[0; 2][..before], secret].concat();
        let skipped = [0, 2, 3][before];
        let mut units = encode(&padded).skip(skipped).map(Unit::Base64).collect::<Vec<_>>();
        if padded.len() % 3 != 0 {
            units.pop();
            units.push(Unit::AnyBase64);
        }
        Self { units }
    }

    /// Whether the form can begin with this byte of a text.
    pub(super) fn begins_with(&self, byte: u8) -> bool {
        matches!(byte, b'%' | b'\\' | b'+') || self.units.first().is_some_and(|unit| unit.is(byte))
    }

    /// Where the form ends that begins at `start`; the furthest, if it can be read in several ways.
    pub(super) fn end(&self, text: &[u8], start: usize) -> Option<usize> {
        if !self.begins_with(*text.get(start)?) {
            return None;
        }
        // The places up to which the units so far can be read: one, but for secrets that contain
        // escapes themselves.
        let mut places = vec![start];
        for &unit in &self.units {
            let mut next = Vec::new();
            for &place in &places {
                for (byte, length) in spellings(&text[place..]) {
                    if unit.is(byte) && !next.contains(&(place + length)) {
                        next.push(place + length);
                    }
                }
            }
            if next.is_empty() {
                return None;
            }
            places = next;
        }
        places.into_iter().max()
    }
}

impl Unit {
    fn is(self, byte: u8) -> bool {
        match self {
            Self::Byte(wanted) => byte == wanted,
            Self::Base64(b'+' | b'-') => matches!(byte, b'+' | b'-'),
            Self::Base64(b'/' | b'_') => matches!(byte, b'/' | b'_'),
            Self::Base64(wanted) => byte == wanted,
            Self::AnyBase64 => byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte),
        }
    }
}

/// The bytes that the beginning of the text may stand for, each with how much of the text it takes.
fn spellings(text: &[u8]) -> impl Iterator<Item = (u8, usize)> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let hex = |high, low| Some(digit(high)? << 4 | digit(low)?);
    let raw = text.first().map(|&byte| (byte, 1));
    let encoded = match *text {
        [b'%', a, b, ..] => hex(a, b).map(|byte| (byte, 3)),
        [b'\\', b'u', b'0', b'0', a @ b'0'..=b'7', b, ..] => hex(a, b).map(|byte| (byte, 6)),
        [b'\\', escaped, ..] => unescape(escaped).map(|byte| (byte, 2)),
        // A blank in a form.
        [b'+', ..] => Some((b' ', 1)),
        _ => None,
    };
    raw.into_iter().chain(encoded)
}

/// What a character behind a backslash stands for in JSON (RFC 8259, section 7).
fn unescape(escaped: u8) -> Option<u8> {
    Some(match escaped {
        b'"' | b'\\' | b'/' => escaped,
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'f' => 12,
        b'r' => b'\r',
        _ => return None,
    })
}

/// Base64 without padding (RFC 4648, section 4).
pub(super) fn encode(bytes: &[u8]) -> impl Iterator<Item = u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    bytes.chunks(3).flat_map(|group| {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        (0..=group.len()).map(move |at| ALPHABET[(bits >> (18 - 6 * at) & 63) as usize])
    })
}
