//! What a record keeps of a failure, a request and an answer: at most 2 KB each, and no secret.

use crate::engine::sink::Failure;
use pipeline::control::Secret;
use pipeline::delivery::Record;
use pipeline::egress::{Answer, Request};
use reqwest::header::CONTENT_ENCODING;

/// The most that a record keeps of each, in bytes.
const BYTES_MAX: usize = 2_048;

/// Writes into a record why its events were not taken.
pub(super) fn describe(record: &mut Record, failure: &Failure) {
    record.class = Some(failure.class);
    record.status = failure.status;
    record.vendor_code.clone_from(&failure.vendor_code);
    record.reason = Some(reason(failure));
}

/// What happened and what to do.
fn reason(failure: &Failure) -> String {
    let text = match failure.remedy.as_str() {
        "" => failure.detail.clone(),
        remedy => format!("{}. {remedy}", failure.detail.trim_end_matches('.')),
    };
    cut(text)
}

/// The request: method, host, and the beginning of the body. Path and query may hold a secret.
pub(super) fn request(request: &Request, secrets: &[Secret]) -> String {
    let host = request.url.host_str().unwrap_or_default();
    let body = match request.headers.get(CONTENT_ENCODING) {
        Some(_) => format!("{} bytes, compressed", request.body.len()),
        None => text(&request.body, secrets),
    };
    cut(format!("{} {host}\n{body}", request.method))
}

/// The answer: status and the beginning of the body.
pub(super) fn answer(answer: &Answer, secrets: &[Secret]) -> String {
    cut(format!("{}\n{}", answer.status, text(&answer.body, secrets)))
}

/// The beginning of a body with the secrets taken out. A secret that the end cuts goes with it.
fn text(body: &[u8], secrets: &[Secret]) -> String {
    let longest = secrets.iter().map(|secret| secret.reveal().len()).max().unwrap_or(0);
    let mut text = String::from_utf8_lossy(&body[..body.len().min(BYTES_MAX + longest)]).into_owned();
    for secret in secrets {
        text = text.replace(secret.reveal(), "[secret]");
    }
    text
}

fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use reqwest::header::HeaderMap;

    #[test]
    fn no_secret_stands_in_a_record_not_even_one_that_is_cut_off() {
        let secret = Secret::given("0123456789abcdefghij").expect("a secret");
        let body = format!("{}0123456789abcdefghij{}", "x".repeat(BYTES_MAX - 10), "y".repeat(100));
        let answer = Answer { status: 400, headers: HeaderMap::new(), body: Bytes::from(body) };
        let text = super::answer(&answer, &[secret]);
        assert!(text.len() <= BYTES_MAX && !text.contains("0123"), "{text}");
    }
}
