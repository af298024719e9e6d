//! The destination against the fake vendor, over HTTP.

use super::*;
use pipeline::clock::SECOND;
use pipeline::event::Kind;
use pipeline::log::PartitionId;
use serde_json::json;
use std::time::Duration;
use vendors::Failure;
use vendors::segment::FakeSegment;

const KEY: &str = "wk-secret-5f1c";
const NOW: i64 = 1_768_478_400 * SECOND; // 2026-01-15T12:00:00Z

fn segment(url: &str) -> Result<Forward, SettingError> {
    let client = pipeline::egress::client().expect("a client");
    Forward::from_url(url, client, Clock::given(NOW))
}

fn stored(event: Event<'static>) -> Stored<Event<'static>> {
    let partition = PartitionId("00000000000000aa".into());
    Stored { partition, offset: 1, received_at: NOW, source: "web".into(), test: false, record: event }
}

fn order() -> Event<'static> {
    let mut event = Event::new(Kind::Track, "m-1");
    event.user_id = Some("u-\"42\"".into());
    event.event = Some("Order Completed".into());
    event.original_timestamp = Some(NOW - 3605 * SECOND);
    event.sent_at = Some(NOW - 3600 * SECOND);
    event.properties = Some(r#"{"total": 1.10, "big": 12345678901234567890123}"#.into());
    event.context = Some(r#"{"ip":"203.0.113.7"}"#.into());
    event.extra = Some(r#"{"channel":"server","writeKey":"theirs","n":1.0,"userId":"other"}"#.into());
    event
}

#[tokio::test]
async fn an_event_arrives_at_segment_as_it_came() {
    let fake = FakeSegment::start(KEY, None).expect("a fake");
    let segment = segment(&fake.url()).expect("a sink");
    let payloads = [segment.payload(&stored(order()))];
    assert_eq!(segment.send(&payloads).await, Outcome::Delivered);
    assert_eq!(fake.violations(), [""; 0]);
    let expected = json!({
        "type": "track", "messageId": "m-1", "userId": "u-\"42\"", "event": "Order Completed",
        "timestamp": "2026-01-15T11:59:55.000Z", "originalTimestamp": "2026-01-15T10:59:55.000Z",
        "properties": {"total": 1.10, "big": 12345678901234567890123_f64},
        "context": {"ip": "203.0.113.7"}, "channel": "server", "n": 1.0,
    });
    assert_eq!(fake.messages(), [expected]);
}

#[tokio::test]
async fn every_answer_has_its_outcome() {
    let fake = FakeSegment::start(KEY, None).expect("a fake");
    let segment = segment(&fake.url()).expect("a sink");
    let payloads = [segment.payload(&stored(order()))];
    let refused = |status| Outcome::Refused { status, reason: "told to fail".to_owned() };
    let limited = |seconds| Outcome::RateLimited { retry_after: Some(Duration::from_secs(seconds)) };
    let unavailable =
        |status: u16| Outcome::Unavailable { reason: format!("it answered {status}"), retry_after: None };
    for (failure, outcome) in [
        (Failure::status(400), refused(400)),
        (Failure::status(413), refused(413)),
        (Failure::status(401), Outcome::Unauthorized { status: 401 }),
        (Failure::status(403), Outcome::Unauthorized { status: 403 }),
        (Failure::status(500), unavailable(500)),
        (Failure::status(404), unavailable(404)),
        (Failure::status(302), unavailable(302)),
        (Failure::rate_limited("7"), limited(7)),
        (Failure::rate_limited("Thu, 15 Jan 2026 12:01:00 GMT"), limited(60)),
    ] {
        fake.fail([failure]);
        assert_eq!(segment.send(&payloads).await, outcome);
    }
    for failure in [Failure::Reset, Failure::TakeAndReset] {
        fake.fail([failure]);
        let outcome = segment.send(&payloads).await;
        assert!(matches!(outcome, Outcome::Unavailable { .. }), "{outcome:?}");
    }
    assert_eq!(segment.send(&payloads).await, Outcome::Delivered);
    assert_eq!(fake.repeats(), [("m-1".to_owned(), 2)], "taken before the connection broke, and again");
}

#[test]
fn a_url_is_refused_with_the_part_that_is_wrong() {
    for (url, message) in [
        ("wk-secret-5f1c", "segment URL: relative URL without a base"),
        ("https://api.segment.io", "segment URL user name: the write key is missing"),
        ("http://wk-secret-5f1c@api.segment.io", "segment URL scheme: `http` would show the write key"),
        ("ftp://wk-secret-5f1c@127.0.0.1", "segment URL scheme: `ftp`"),
        ("https://wk-secret-5f1c:pw@api.segment.io", "segment URL password: there must be none"),
        ("https://wk-secret-5f1c@api.segment.io?x=1", "segment URL query: there must be none"),
        ("https://wk-secret-5f1c%20@api.segment.io", "segment URL user name: a write key holds only"),
        ("mailto:wk-secret-5f1c", "segment URL host: it is missing"),
    ] {
        let error = segment(url).expect_err(url).to_string();
        assert!(error.starts_with(message), "{error}");
        assert!(!error.contains(KEY), "{error}");
    }
    let default = segment("https://k@api.segment.io").expect("a sink");
    assert_eq!(default.url.as_str(), "https://api.segment.io/v1/batch");
    let own_path = segment("https://k@events.eu1.segmentapis.com/v2/b").expect("a sink");
    assert_eq!(own_path.url.as_str(), "https://events.eu1.segmentapis.com/v2/b");
}

#[tokio::test]
async fn the_write_key_is_never_shown() {
    let mut fake = FakeSegment::start(KEY, None).expect("a fake");
    let segment = segment(&fake.url()).expect("a sink");
    fake.stop();
    let outcome = segment.send(&[segment.payload(&stored(order()))]).await;
    let shown = format!("{segment:?} {outcome:?}");
    assert!(matches!(outcome, Outcome::Unavailable { .. }), "{outcome:?}");
    assert!(!shown.contains(KEY) && !shown.contains(&BASE64_STANDARD.encode(format!("{KEY}:"))), "{shown}");
}
