//! What vendors say in headers about how much they still take.

#[cfg(test)]
mod tests;

use pipeline::Micros;
use reqwest::header::HeaderMap;
use std::time::Duration;

/// How many requests a vendor still takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// So many requests.
    pub requests: u64,
    /// In this time from the answer; then it takes more.
    pub renewed_in: Duration,
}

/// What a header says about when a vendor takes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// A number of s: from now, or since 1970 where it is large, then also in ms.
    Seconds,
    /// A number of ms from now: the length of the vendor's window, which is the longest it may last.
    Milliseconds,
}

/// The headers that are known: how many requests are left, when there are more, and how that is
/// written. Names are compared without regard to case.
///
/// From the vendors' pages on rate limits, read 2026-11: GitHub, Intercom and many others write
/// `X-RateLimit-…` (Discord adds `-Reset-After`), Zendesk and X write `X-Rate-Limit-…`, Klaviyo and
/// others follow draft-ietf-httpapi-ratelimit-headers-07, HubSpot names its window.
pub const REMAINING: [(&str, &str, Reset); 5] = [
    ("x-ratelimit-remaining", "x-ratelimit-reset-after", Reset::Seconds),
    ("x-ratelimit-remaining", "x-ratelimit-reset", Reset::Seconds),
    ("x-rate-limit-remaining", "x-rate-limit-reset", Reset::Seconds),
    ("ratelimit-remaining", "ratelimit-reset", Reset::Seconds),
    ("x-hubspot-ratelimit-remaining", "x-hubspot-ratelimit-interval-milliseconds", Reset::Milliseconds),
];

/// From here on a number of seconds is a time since 1970 (this one is in September 2001).
const SINCE_1970: f64 = 1e9;
/// From here on it is in ms.
const SINCE_1970_MS: f64 = 1e12;

/// How many requests the vendor still takes by the headers of its answer, which came at the time of
/// day `now`. `None` where it does not say, or says what cannot be read.
pub fn remaining(headers: &HeaderMap, now: Micros) -> Option<Remaining> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    REMAINING.into_iter().find_map(|(left, reset, form)| {
        let left = number(left).filter(|left| left.is_finite() && *left >= 0.0)?;
        let renewed_in = seconds_until(number(reset)?, form, now);
        Some(Remaining { requests: left as u64, renewed_in: Duration::try_from_secs_f64(renewed_in).ok()? })
    })
}

/// Seconds from `now`; 0 for a time that is over.
fn seconds_until(reset: f64, form: Reset, now: Micros) -> f64 {
    let now = now as f64 / 1e6;
    let seconds = match form {
        Reset::Milliseconds => reset / 1e3,
        Reset::Seconds if reset >= SINCE_1970_MS => reset / 1e3 - now,
        Reset::Seconds if reset >= SINCE_1970 => reset - now,
        Reset::Seconds => reset,
    };
    seconds.max(0.0)
}
