//! One HTTP request and what its answer means: the same for every vendor that speaks HTTP plainly.

use crate::Outcome;
use chrono::DateTime;
use pipeline::Clock;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{RequestBuilder, Response};
use std::time::Duration;

/// How much of a refusal is kept.
const REASON_BYTES_MAX: usize = 2048;

/// Sends `request` and classifies the answer.
///
/// 2xx is delivered; 400, 413 and 422 are refused; 401 and 403 unauthorized; 429 rate limited.
/// Everything else, a redirect or a 404 too, is a fault that a person or time will mend: the events
/// are kept and sent again. The URL and the vendor's body stay out of everything but a refusal.
pub(crate) async fn send(request: RequestBuilder, clock: &Clock) -> Outcome {
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) if error.is_timeout() && !error.is_connect() => return Outcome::TimedOut,
        Err(error) => return Outcome::Unavailable { reason: chain(&error.without_url()), retry_after: None },
    };
    let status = answer.status().as_u16();
    let retry_after = retry_after(answer.headers(), clock);
    match status {
        200..=299 => Outcome::Delivered,
        400 | 413 | 422 => Outcome::Refused { status, reason: excerpt(answer).await },
        401 | 403 => Outcome::Unauthorized { status },
        429 => Outcome::RateLimited { retry_after },
        _ => Outcome::Unavailable { reason: format!("it answered {status}"), retry_after },
    }
}

/// The `Retry-After` of an answer: seconds or an HTTP date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, clock: &Clock) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?.timestamp_micros();
    Some(Duration::from_micros(u64::try_from(until.saturating_sub(clock.now())).unwrap_or(0)))
}

/// The start of the answer's body.
async fn excerpt(mut answer: Response) -> String {
    let mut body = Vec::new();
    while body.len() < REASON_BYTES_MAX {
        match answer.chunk().await {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) | Err(_) => break,
        }
    }
    let mut reason = String::from_utf8_lossy(&body).into_owned();
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}

/// An error with all its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::clock::SECOND;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let clock = Clock::given(1_445_412_470 * SECOND); // 2015-10-21T07:27:50Z
        let read = |text: &str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a header"))]), &clock)
        };
        assert_eq!(read("120"), Some(Duration::from_secs(120)));
        assert_eq!(read("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(read("Wed, 21 Oct 2015 07:20:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("soon"), None);
        assert_eq!(read("-3"), None);
    }
}
