//! Requests and answers for people to read, without secrets.
//!
//! What is hidden: the secrets of the connection wherever they stand, as they are, percent-encoded,
//! escaped as in JSON, or within base64; the values of headers that are marked as sensitive or are
//! known to hold secrets; and the values of query parameters named like secrets. A secret that nobody
//! named, such as a token that the vendor has just made, is not recognised within a body.

mod pattern;

use crate::egress::{Answer, Request};
use bytes::Bytes;
use pattern::Pattern;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use std::borrow::Cow;
use url::Url;

/// Shorter secrets are not looked for: they would be found in half of all texts.
pub const SECRET_BYTES_MIN: usize = 6;
/// From this length on, four characters of a secret are shown to recognise it by.
const HINT_FROM: usize = 24;
/// From this length on, a part of a URL that is a secret is taken for one: shorter ones are words.
const PART_BYTES_MIN: usize = 16;
/// Stands where a text was cut.
const CUT: &str = "…";

/// Header names that hold secrets, beside those with a [`SECRET_WORDS`] in them.
const SECRET_HEADERS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "set-cookie", "x-auth"];
/// Words that a header or a query parameter with a secret has in its name.
const SECRET_WORDS: [&str; 12] = [
    "token",
    "secret",
    "password",
    "passwd",
    "credential",
    "api-key",
    "api_key",
    "apikey",
    "access-key",
    "access_key",
    "signature",
    "private",
];
/// Query parameters that hold secrets, beside those with a [`SECRET_WORDS`] in them.
const SECRET_PARAMETERS: [&str; 7] = ["key", "sig", "auth", "code", "pass", "pwd", "jwt"];

/// Hides the secrets of one connection. Its `Debug` shows how many there are.
pub struct Redactor {
    secrets: Vec<Hidden>,
    /// For each byte, whether a secret can begin with it.
    begins: [bool; 256],
}

/// One secret.
struct Hidden {
    patterns: Vec<Pattern>,
    /// What stands in its place.
    mark: String,
}

impl Redactor {
    /// Hides these secrets: a connection's credentials and all that was derived from them.
    ///
    /// Of a secret that is a URL, as those of some webhooks are, its path and the long parts of its
    /// path and query are hidden too. Secrets shorter than [`SECRET_BYTES_MIN`] are not looked for.
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut hidden = Vec::new();
        for secret in secrets {
            let secret = secret.trim();
            if secret.len() >= SECRET_BYTES_MIN {
                let patterns = parts(secret).iter().flat_map(|part| Pattern::all(part)).collect();
                hidden.push(Hidden { patterns, mark: mark(secret) });
            }
        }
        let patterns = || hidden.iter().flat_map(|hidden| &hidden.patterns);
        let begins = std::array::from_fn(|byte| patterns().any(|pattern| pattern.begins_with(byte as u8)));
        Self { secrets: hidden, begins }
    }

    /// The text with a mark, such as `[secret …x7Qe]`, in place of each secret.
    pub fn text(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        self.write(text, usize::MAX, &mut out);
        out
    }

    /// A request as people read it: method and URL, headers, body; at most `bytes_max` bytes.
    pub fn request(&self, request: &Request, bytes_max: usize) -> String {
        let head = format!("{} {}\n{}", request.method, url(&request.url), headers(&request.headers));
        self.message(&head, &request.headers, &request.body, bytes_max)
    }

    /// An answer as people read it: status, headers, body; at most `bytes_max` bytes.
    pub fn answer(&self, answer: &Answer, bytes_max: usize) -> String {
        let head = format!("{}\n{}", answer.status, headers(&answer.headers));
        self.message(&head, &answer.headers, &answer.body, bytes_max)
    }

    fn message(&self, head: &str, headers: &HeaderMap, body: &Bytes, bytes_max: usize) -> String {
        let mut out = String::new();
        self.write(head, bytes_max, &mut out);
        if !body.is_empty() {
            self.write("\n", bytes_max, &mut out);
            self.write(&readable(headers, body), bytes_max, &mut out);
        }
        if out.len() > bytes_max {
            out.truncate(out.floor_char_boundary(bytes_max.saturating_sub(CUT.len())));
            out.push_str(CUT);
        }
        out
    }

    /// Appends the text to `out` without its secrets, until `out` is longer than `bytes_max`. The
    /// text is searched before it is cut, because a part of a secret would not be recognised.
    fn write(&self, text: &str, bytes_max: usize, out: &mut String) {
        let mut at = 0;
        while at < text.len() && out.len() <= bytes_max {
            if let Some((mut end, mark)) = self.find(text, at) {
                // Another secret may begin within this one and end behind it.
                let mut inside = at + 1;
                while inside < end {
                    end = end.max(self.find(text, inside).map_or(0, |(end, _)| end));
                    inside += 1;
                }
                out.push_str(mark);
                at = end;
                continue;
            }
            let next = text[at..].chars().next().expect("the text goes on and this is a boundary");
            let visible = if next.is_control() && next != '\n' && next != '\t' { '\u{fffd}' } else { next };
            out.push(visible);
            at += next.len_utf8();
        }
    }

    /// The longest secret at this place, by where it ends.
    fn find(&self, text: &str, at: usize) -> Option<(usize, &str)> {
        if !self.begins[usize::from(text.as_bytes()[at])] {
            return None;
        }
        let ends = self.secrets.iter().flat_map(|hidden| {
            let ends = hidden.patterns.iter().filter_map(|pattern| pattern.end(text.as_bytes(), at));
            ends.map(|end| (text.ceil_char_boundary(end), hidden.mark.as_str()))
        });
        ends.max_by_key(|&(end, _)| end)
    }
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} secrets)", self.secrets.len())
    }
}

/// The secret and, where it is a URL, what alone makes it one.
fn parts(secret: &str) -> Vec<String> {
    let mut parts = vec![secret.to_owned()];
    if let Ok(url) = Url::parse(secret)
        && url.has_host()
    {
        let path = url[url::Position::BeforePath..].to_owned();
        let segments = url.path().split('/').map(str::to_owned);
        let values = url.query_pairs().map(|(_, value)| value.into_owned());
        parts.extend(segments.chain(values).filter(|part| part.len() >= PART_BYTES_MIN));
        parts.extend(Some(path).filter(|path| path.len() >= SECRET_BYTES_MIN));
        parts.push(url.into());
    }
    parts
}

fn mark(secret: &str) -> String {
    let length = secret.len();
    let hint =
        secret.get(length.saturating_sub(4)..).filter(|hint| hint.bytes().all(|c| c.is_ascii_alphanumeric()));
    match hint {
        Some(hint) if length >= HINT_FROM => format!("[secret …{hint}]"),
        _ => "[secret]".to_owned(),
    }
}

/// The URL without its password and the values of parameters that are named like secrets.
fn url(url: &Url) -> String {
    let user = if url.username().is_empty() && url.password().is_none() { "" } else { "[hidden]@" };
    let host = &url[url::Position::BeforeHost..url::Position::AfterPath];
    let mut shown = format!("{}://{user}{host}", url.scheme());
    for (index, parameter) in url.query().unwrap_or_default().split('&').enumerate() {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        if index > 0 || !parameter.is_empty() {
            shown.push(if index == 0 { '?' } else { '&' });
        }
        shown.push_str(name);
        if !value.is_empty() {
            shown.push('=');
            shown.push_str(if names_secret(name, &SECRET_PARAMETERS) { "[hidden]" } else { value });
        }
    }
    shown
}

fn headers(headers: &HeaderMap) -> String {
    let line = |(name, value): (&HeaderName, &HeaderValue)| {
        let hidden = value.is_sensitive() || names_secret(name.as_str(), &SECRET_HEADERS);
        let value = if hidden { "[hidden]".into() } else { String::from_utf8_lossy(value.as_bytes()) };
        format!("{name}: {value}\n")
    };
    headers.iter().map(line).collect()
}

fn names_secret(name: &str, whole: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    whole.contains(&name.as_str()) || SECRET_WORDS.iter().any(|word| name.contains(word))
}

/// The body as text, or how much there is of what is no text.
fn readable<'a>(headers: &HeaderMap, body: &'a Bytes) -> Cow<'a, str> {
    let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok());
    if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
        return format!("[{} bytes {encoding}]", body.len()).into();
    }
    if body.contains(&0) {
        return format!("[{} bytes, no text]", body.len()).into();
    }
    String::from_utf8_lossy(body)
}

#[cfg(test)]
mod tests;
