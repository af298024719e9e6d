//! What an answer means where a vendor's documents say nothing special.

use crate::engine::{Failure, Scope};
use chrono::DateTime;
use pipeline::Micros;
use pipeline::clock::SECOND;
use pipeline::delivery::Class;
use pipeline::egress::Answer;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use std::time::Duration;

/// How much of a vendor's words is kept, in bytes.
const DETAIL_BYTES_MAX: usize = 2048;

/// The longest wait that a vendor is believed to mean; the engine waits less.
const WAIT_MAX: Duration = Duration::from_secs(24 * 3600);

/// What an answer that is no success says, told by its status (RFC 9110, section 15).
///
/// 400, 413 and 422 are about the request as a whole; everything else is about the destination. 503
/// with a `Retry-After` asks for fewer requests, as 429 does. A sink changes what its vendor means
/// differently.
pub(crate) fn failure(answer: &Answer, now: Micros) -> Failure {
    let retry_after = retry_after(&answer.headers, now);
    let (class, scope, remedy) = match answer.status {
        400 | 422 => (Class::Validation, Scope::Batch, "Change the event at its source."),
        401 => (Class::AuthRevoked, Scope::Destination, "Replace the connection's credential."),
        403 => (Class::Permission, Scope::Destination, "Give the credential the permission that it lacks."),
        404 => (Class::NotFound, Scope::Destination, "Check the connection's settings."),
        408 | 425 => (Class::Transient, Scope::Destination, ""),
        410 => (Class::Gone, Scope::Destination, "Remove the destination, or give it a new address."),
        413 => (Class::TooLarge, Scope::Batch, "Send less in one event."),
        429 => (Class::RateLimited, Scope::Destination, ""),
        503 if retry_after.is_some() => (Class::RateLimited, Scope::Destination, ""),
        500..=599 => (Class::Transient, Scope::Destination, ""),
        _ => (Class::Unknown, Scope::Destination, ""),
    };
    Failure {
        class,
        scope,
        retry_after,
        status: Some(answer.status),
        vendor_code: None,
        detail: detail(answer),
        remedy: remedy.to_owned(),
    }
}

/// An event that the vendor would not take, told without asking.
pub(crate) fn refused(detail: impl Into<String>, remedy: impl Into<String>) -> Failure {
    Failure {
        class: Class::Validation,
        scope: Scope::Item,
        retry_after: None,
        status: None,
        vendor_code: None,
        detail: cut(detail.into()),
        remedy: remedy.into(),
    }
}

/// The text up to 2 KB, whole characters.
pub(crate) fn cut(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(DETAIL_BYTES_MAX));
    text
}

/// The status and the start of the body.
fn detail(answer: &Answer) -> String {
    let body = &answer.body[..answer.body.len().min(DETAIL_BYTES_MAX)];
    let body = String::from_utf8_lossy(body);
    let body = body.trim();
    if body.is_empty() {
        return format!("it answered {}", answer.status);
    }
    cut(format!("it answered {}: {body}", answer.status))
}

/// The wait that `Retry-After` asks for: seconds or an HTTP date (RFC 9110, section 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: Micros) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds).min(WAIT_MAX));
    }
    Some(until(DateTime::parse_from_rfc2822(text).ok()?.timestamp_micros(), now))
}

/// The wait until the time in a header such as `X-RateLimit-Reset`: seconds from now, or seconds
/// since 1970 where there are too many for a wait.
pub(crate) fn reset_after(headers: &HeaderMap, name: &str, now: Micros) -> Option<Duration> {
    let seconds: i64 = headers.get(name)?.to_str().ok()?.trim().parse().ok()?;
    if seconds < 1_000_000_000 {
        return Some(Duration::from_secs(u64::try_from(seconds).ok()?).min(WAIT_MAX));
    }
    Some(until(seconds.saturating_mul(SECOND), now))
}

fn until(time: Micros, now: Micros) -> Duration {
    let wait = u64::try_from(time.saturating_sub(now)).unwrap_or(0);
    Duration::from_micros(wait).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderName;

    const NOW: Micros = 1_445_412_470 * SECOND; // 2015-10-21T07:27:50Z

    fn headers(name: &'static str, text: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), text.parse().expect("a header"))])
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let read = |text: &str| retry_after(&headers("retry-after", text), NOW);
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(read("Wed, 21 Oct 2015 07:20:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("18446744073709551615"), Some(WAIT_MAX));
        assert_eq!(read("99999999999999999999999"), None);
        assert_eq!(read("soon"), None);
        assert_eq!(read("-3"), None);
    }

    #[test]
    fn a_reset_is_read_as_a_wait_and_as_a_time() {
        let read = |text: &str| reset_after(&headers("x-ratelimit-reset", text), "X-RateLimit-Reset", NOW);
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("1445412480"), Some(Duration::from_secs(10)));
        assert_eq!(read("1445412460"), Some(Duration::ZERO));
        assert_eq!(read("9223372036854775807"), Some(WAIT_MAX));
        assert_eq!(read("-1"), None);
        assert_eq!(read("soon"), None);
    }

    #[test]
    fn an_answer_is_kept_up_to_2_kb_in_whole_characters() {
        for body in ["é".repeat(4_000).into_bytes(), vec![0xff; 4_000]] {
            let answer = Answer { status: 400, headers: HeaderMap::new(), body: body.into() };
            let detail = failure(&answer, NOW).detail;
            assert!(detail.starts_with("it answered 400: ") && detail.len() > 1_900, "{detail}");
            assert!(detail.len() <= DETAIL_BYTES_MAX, "{}", detail.len());
        }
        let empty = Answer { status: 500, headers: HeaderMap::new(), body: " \n".into() };
        assert_eq!(failure(&empty, NOW).detail, "it answered 500");
    }

    #[test]
    fn a_status_tells_what_is_done_about_it() {
        for (status, class, scope) in [
            (302, Class::Unknown, Scope::Destination),
            (400, Class::Validation, Scope::Batch),
            (401, Class::AuthRevoked, Scope::Destination),
            (403, Class::Permission, Scope::Destination),
            (404, Class::NotFound, Scope::Destination),
            (408, Class::Transient, Scope::Destination),
            (410, Class::Gone, Scope::Destination),
            (413, Class::TooLarge, Scope::Batch),
            (418, Class::Unknown, Scope::Destination),
            (429, Class::RateLimited, Scope::Destination),
            (500, Class::Transient, Scope::Destination),
            (503, Class::Transient, Scope::Destination),
        ] {
            let answer = Answer { status, headers: HeaderMap::new(), body: "".into() };
            let failure = failure(&answer, NOW);
            assert_eq!((failure.class, failure.scope), (class, scope), "{status}");
        }
        let busy = Answer { status: 503, headers: headers("retry-after", "5"), body: "".into() };
        assert_eq!(failure(&busy, NOW).class, Class::RateLimited);
    }
}
