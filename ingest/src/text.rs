//! JSON as text: what has to be known of it before it is parsed.

use memchr::{memchr, memchr2, memmem};

use std::borrow::Cow;

/// The text of a request, in which NUL and lone surrogates are replaced by U+FFFD.
///
/// Neither can stand in a column of text, and JSON can name both (RFC 8259, section 8.2). An escape
/// and its replacement have the same length, so that every part keeps its place.
pub(crate) struct Text<'a> {
    raw: &'a str,
    clean: Cow<'a, str>,
    /// Where escapes were replaced, ascending.
    replaced: Vec<u32>,
}

impl<'a> Text<'a> {
    /// Looks through `raw`, which is shorter than 4 GiB, and replaces what must be.
    pub(crate) fn new(raw: &'a str) -> Self {
        let replaced = unwanted_escapes(raw.as_bytes());
        if replaced.is_empty() {
            return Self { raw, clean: Cow::Borrowed(raw), replaced };
        }
        let mut clean = raw.as_bytes().to_vec();
        for &at in &replaced {
            clean[at as usize..at as usize + 6].copy_from_slice(b"\\uFFFD");
        }
        let clean = String::from_utf8(clean).expect("ASCII took the place of ASCII");
        Self { raw, clean: Cow::Owned(clean), replaced }
    }

    /// The text to work with.
    pub(crate) fn clean(&self) -> &str {
        &self.clean
    }

    /// Whether something was replaced in `part`, which is a part of [`Text::clean`].
    pub(crate) fn replaced_in(&self, part: &str) -> bool {
        if self.replaced.is_empty() {
            return false;
        }
        let start = self.offset_of(part);
        let next = self.replaced.partition_point(|&at| (at as usize) < start);
        self.replaced.get(next).is_some_and(|&at| (at as usize) < start + part.len())
    }

    /// What the client wrote where `part` of [`Text::clean`] stands.
    pub(crate) fn raw_of(&self, part: &str) -> &'a str {
        let start = self.offset_of(part);
        self.raw.get(start..start + part.len()).unwrap_or_default()
    }

    fn offset_of(&self, part: &str) -> usize {
        (part.as_ptr() as usize).wrapping_sub(self.clean.as_ptr() as usize)
    }
}

/// Where `\u0000` and surrogates without their other half stand.
fn unwanted_escapes(text: &[u8]) -> Vec<u32> {
    let mut found = Vec::new();
    if memmem::find(text, b"\\u").is_none() {
        return found;
    }
    // Backslashes stand in strings only, so going from one to the next keeps in step with escapes.
    let mut at = 0;
    while let Some(next) = text.get(at..).and_then(|rest| memchr(b'\\', rest)) {
        let start = at + next;
        at = match code_unit(text, start) {
            None => start + 2,
            Some(0xD800..=0xDBFF) if matches!(code_unit(text, start + 6), Some(0xDC00..=0xDFFF)) => {
                start + 12
            }
            Some(0 | 0xD800..=0xDFFF) => {
                found.push(start as u32);
                start + 6
            }
            Some(_) => start + 6,
        };
    }
    found
}

/// The UTF-16 code unit that is written as `\uXXXX` at `at`.
fn code_unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit: u16, digit| {
        Some(unit << 4 | u16::try_from(char::from(*digit).to_digit(16)?).ok()?)
    })
}

/// Whether objects and arrays lie more than `max` deep in each other in `json`.
pub(crate) fn is_deeper_than(max: usize, json: &str) -> bool {
    let json = json.as_bytes();
    // An ordinary event has fewer brackets in all than it may have inside each other.
    if brackets(json) <= max {
        return false;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while let Some(byte) = json.get(at) {
        at += 1;
        match byte {
            b'{' | b'[' => {
                depth += 1;
                if depth > max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            b'"' => at = end_of_string(json, at),
            _ => {}
        }
    }
    false
}

/// How many objects and arrays begin, those counted that stand in strings. The two brackets differ in one
/// bit; parts of 255 bytes are counted in a byte each, so that many are counted at once.
fn brackets(json: &[u8]) -> usize {
    let count = |part: &[u8]| part.iter().fold(0_u8, |count, byte| count + u8::from(byte | 0x20 == b'{'));
    json.chunks(255).map(|part| usize::from(count(part))).sum()
}

/// The place behind the string whose first character stands at `at`.
fn end_of_string(json: &[u8], mut at: usize) -> usize {
    while let Some(next) = json.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        if json[at + next] == b'"' {
            return at + next + 1;
        }
        at += next + 2;
    }
    json.len()
}

/// Appends `text` to `out` as a JSON string.
pub(crate) fn put_string(out: &mut String, text: &str) {
    if text.bytes().any(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f)) {
        out.push_str(&serde_json::Value::from(text).to_string());
        return;
    }
    out.push('"');
    out.push_str(text);
    out.push('"');
}

/// `text`, cut at a character's end to at most `max` bytes.
pub(crate) fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests;
