use super::*;
use reqwest::header::{HeaderName, HeaderValue};

const NOW: Micros = 1_700_000_000_000_000;

fn read(headers: &[(&'static str, &'static str)]) -> Option<(u64, u64)> {
    let header = |&(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value));
    let headers = headers.iter().map(header).collect();
    remaining(&headers, NOW).map(|remaining| (remaining.requests, remaining.renewed_in.as_millis() as u64))
}

#[test]
fn the_headers_of_many_vendors_are_read() {
    for (headers, found) in [
        ([("x-ratelimit-remaining", "12"), ("x-ratelimit-reset", "1700000060")], Some((12, 60_000))),
        ([("x-ratelimit-remaining", "12"), ("x-ratelimit-reset", "1700000060000")], Some((12, 60_000))),
        ([("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "30")], Some((0, 30_000))),
        ([("x-ratelimit-remaining", "1"), ("x-ratelimit-reset-after", "0.25")], Some((1, 250))),
        ([("x-rate-limit-remaining", "699"), ("x-rate-limit-reset", "7")], Some((699, 7_000))),
        ([("ratelimit-remaining", "3"), ("ratelimit-reset", "59")], Some((3, 59_000))),
        (
            [("x-hubspot-ratelimit-remaining", "90"), ("x-hubspot-ratelimit-interval-milliseconds", "10000")],
            Some((90, 10_000)),
        ),
        ([("x-ratelimit-remaining", "12"), ("x-ratelimit-reset", "1600000000")], Some((12, 0))),
        ([("x-ratelimit-remaining", "many"), ("x-ratelimit-reset", "30")], None),
        ([("x-ratelimit-remaining", "-1"), ("x-ratelimit-reset", "30")], None),
        ([("x-ratelimit-remaining", "NaN"), ("x-ratelimit-reset", "30")], None),
        ([("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "inf")], None),
        ([("x-ratelimit-remaining", "1"), ("x-ratelimit-reset", "soon")], None),
        ([("x-ratelimit-remaining", "1"), ("retry-after", "30")], None),
    ] {
        assert_eq!(read(&headers), found, "{headers:?}");
    }
    assert_eq!(read(&[]), None);
}
