//! JSON as text: where its values begin and end, without making anything of them.
//!
//! Every event is gone through more than once, so this is quick: strings are passed over by what ends
//! them. What it takes is exactly RFC 8259, to any depth; numbers are of any size.

mod nesting;
#[cfg(test)]
mod tests;

use memchr::memchr;
use nesting::Nesting;
use std::borrow::Cow;

/// A place in JSON text.
///
/// Its methods return `None`, and stand anywhere, where the text does not go on as asked.
#[derive(Debug)]
pub struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// The beginning of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// How many bytes lie before it.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is no white space.
    #[inline]
    pub fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte()? {
                byte if byte > b' ' => return Some(byte),
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                byte => return Some(byte),
            }
        }
    }

    /// Passes over `byte`.
    #[inline]
    pub fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Passes over a value and returns its text.
    pub fn value(&mut self) -> Option<&'a str> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'{' | b'[' => self.nested()?,
            first => self.scalar(first)?,
        }
        self.text.get(start..self.at)
    }

    /// Passes over a string and returns what it stands for; borrowed unless it has escapes.
    pub fn string(&mut self) -> Option<Cow<'a, str>> {
        self.expect(b'"')?;
        let start = self.at;
        let has_escapes = self.rest_of_string()?;
        if !has_escapes {
            return self.text.get(start..self.at - 1).map(Cow::Borrowed);
        }
        serde_json::from_str(self.text.get(start - 1..self.at)?).ok().map(Cow::Owned)
    }

    /// Goes through an object: `entry` is called with each key, and must pass over its value.
    pub fn object(&mut self, mut entry: impl FnMut(&mut Self, Cow<'a, str>) -> Option<()>) -> Option<()> {
        self.expect(b'{')?;
        if self.expect(b'}').is_some() {
            return Some(());
        }
        loop {
            let key = self.string()?;
            self.expect(b':')?;
            entry(self, key)?;
            if self.expect(b',').is_none() {
                return self.expect(b'}');
            }
        }
    }

    /// Passes over an object or an array and all that lies in it.
    fn nested(&mut self) -> Option<()> {
        let mut nesting = Nesting::default();
        loop {
            let first = self.peek()?;
            if matches!(first, b'{' | b'[') {
                self.at += 1;
                let is_object = first == b'{';
                if self.peek()? != if is_object { b'}' } else { b']' } {
                    nesting.enter(is_object);
                    if is_object {
                        self.key()?;
                    }
                    continue;
                }
                self.at += 1;
            } else {
                self.scalar(first)?;
            }
            // A value has ended, and with it perhaps those that it lies in.
            loop {
                let Some(in_object) = nesting.is_object() else { return Some(()) };
                let byte = self.peek()?;
                self.at += 1;
                if byte == b',' {
                    if in_object {
                        self.key()?;
                    }
                    break;
                }
                if byte != if in_object { b'}' } else { b']' } {
                    return None;
                }
                nesting.leave();
            }
        }
    }

    #[inline(always)]
    fn key(&mut self) -> Option<()> {
        self.expect(b'"')?;
        self.rest_of_string()?;
        self.expect(b':')
    }

    #[inline(always)]
    fn scalar(&mut self, first: u8) -> Option<()> {
        if first != b'"' {
            return self.number_or_literal(first);
        }
        self.at += 1;
        self.rest_of_string().map(drop)
    }

    fn number_or_literal(&mut self, first: u8) -> Option<()> {
        match first {
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            _ => None,
        }
    }

    /// Passes over a string whose opening quote is behind, and says whether it has escapes.
    #[inline(always)]
    fn rest_of_string(&mut self) -> Option<bool> {
        let bytes = self.text.as_bytes();
        let end = plain_until(bytes, self.at)?;
        if bytes[end] == b'"' {
            self.at = end + 1;
            return Some(false);
        }
        self.at = end;
        self.rest_with_escapes()?;
        Some(true)
    }

    #[cold]
    fn rest_with_escapes(&mut self) -> Option<()> {
        let bytes = self.text.as_bytes();
        loop {
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    return Some(());
                }
                b'\\' => match bytes.get(self.at + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 2,
                    b'u' => {
                        let digits = bytes.get(self.at + 2..self.at + 6)?;
                        digits.iter().all(u8::is_ascii_hexdigit).then(|| self.at += 6)?;
                    }
                    _ => return None,
                },
                _ => return None,
            }
            self.at = plain_until(bytes, self.at)?;
        }
    }

    fn number(&mut self) -> Option<()> {
        if self.byte() == Some(b'-') {
            self.at += 1;
        }
        match self.byte()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return None,
        }
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.byte() {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.byte().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    fn literal(&mut self, literal: &str) -> Option<()> {
        let rest = &self.text.as_bytes()[self.at..];
        rest.starts_with(literal.as_bytes()).then(|| self.at += literal.len())
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// Where, from `at` on, the first byte stands that is no plain part of a string: a quote, a backslash or
/// a control character. Eight bytes at a time: most strings are short.
#[inline]
fn plain_until(bytes: &[u8], mut at: usize) -> Option<usize> {
    while let Some(eight) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let special = special(u64::from_le_bytes(*eight));
        if special != 0 {
            return Some(at + special.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes.get(at..)?;
    rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).map(|more| at + more)
}

/// Sets the upper bit of each byte that is no plain part of a string. Behind the first of these, others
/// may be set, too (Hacker's Delight, 6-1).
#[inline]
fn special(eight: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    let zeros = |bytes: u64| bytes.wrapping_sub(ONES) & !bytes;
    let controls = eight.wrapping_sub(ONES * 0x20) & !eight;
    let quotes = zeros(eight ^ (ONES * u64::from(b'"')));
    let backslashes = zeros(eight ^ (ONES * u64::from(b'\\')));
    (controls | quotes | backslashes) & (ONES << 7)
}

/// The string that this JSON string stands for, borrowed unless it has escapes; `None` for any other
/// value.
pub fn string(json: &str) -> Option<Cow<'_, str>> {
    if json.len() < 2 || !json.starts_with('"') || !json.ends_with('"') {
        return None;
    }
    let inner = json.get(1..json.len() - 1)?;
    if memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str(json).ok().map(Cow::Owned)
}
