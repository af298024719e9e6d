//! What is stored reaches the destination, whatever happens in between.

use crate::harness::{Server, Start, WRITE_KEY, until};
use crate::http::Request;
use crate::load::event;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;
use vendors::Failure;
use vendors::segment::FakeSegment;

const SEGMENT_KEY: &str = "write-key-of-segment";

#[test]
fn every_stored_event_is_forwarded_in_order_through_refusals_failures_and_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let segment = FakeSegment::start(SEGMENT_KEY, None).unwrap();
    segment.fail([Failure::rate_limited("1"), Failure::status(500), Failure::status(500)]);
    segment.down(Some(Failure::status(503)));

    // Killed while the destination refuses everything.
    let server = forwarding(dir.path(), &segment);
    send(&server, "before", 300);
    until("three refusals", || (segment.requests().len() >= 3).then_some(()));
    let refused: Vec<_> = segment.requests().iter().take(3).map(|request| request.status).collect();
    assert_eq!(refused, [Some(429), Some(500), Some(500)]);
    server.kill();
    assert_eq!(segment.received(), 0);

    // Killed while it delivers; one answer is lost, so its events must come again.
    segment.down(None);
    segment.fail([Failure::TakeAndReset, Failure::status(500)]);
    let server = forwarding(dir.path(), &segment);
    send(&server, "between", 300);
    until("a first delivery", || (segment.received() > 0).then_some(()));
    server.kill();

    let server = forwarding(dir.path(), &segment);
    send(&server, "after", 300);
    let stored: Vec<String> = server
        .sql("SELECT message_id FROM events ORDER BY log_offset")
        .iter()
        .map(|row| row["message_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(stored.len(), 900);
    until("all events to arrive", || (segment.received() >= stored.len()).then_some(()));
    let (mut arrived, mut expected) = (arrived(&segment), stored);
    assert_eq!(by_user(&arrived), by_user(&expected), "a user's first arrivals are in the order of the log");
    arrived.sort_unstable();
    expected.sort_unstable();
    assert_eq!(arrived, expected);
    assert!(!segment.repeats().is_empty(), "what was not acknowledged is sent again");
    assert_eq!(segment.violations(), Vec::<String>::new());
    assert!(server.stop().success());
}

#[test]
fn events_of_a_test_source_reach_neither_profiles_nor_the_destination() {
    let dir = tempfile::tempdir().unwrap();
    let segment = FakeSegment::start(SEGMENT_KEY, None).unwrap();
    let server = forwarding(dir.path(), &segment);
    let key = server.add_source("staging", &["--test"]);
    let identify = |id: &str, user: &str| {
        let body = json!({ "messageId": id, "userId": user, "traits": { "plan": "pro" } });
        Request::post("/v1/identify").json(&body)
    };
    let staged = identify("staged-1", "tester").write_key(&key);
    until("the new source to be known", || (server.send(&staged).status == 200).then_some(()));
    assert_eq!(server.send(&identify("real-1", "customer").write_key(WRITE_KEY)).status, 200);

    // It was stored first, and the destination reads in order.
    until("the other event to arrive", || (segment.received() > 0).then_some(()));
    assert_eq!(arrived(&segment), ["real-1"]);
    assert_eq!(server.number("SELECT count(*) FROM events"), 2);
    assert_eq!(server.number("SELECT count(*) FROM profiles"), 1);
    assert_eq!(server.number("SELECT count(*) FROM profiles WHERE user_id = 'customer'"), 1);
}

fn forwarding(dir: &Path, segment: &FakeSegment) -> Server {
    Start::on(dir).set("ALLOW_PRIVATE_EGRESS", "true").set("FORWARD_TO", &segment.url()).run()
}

/// Sends so many events in small batches.
fn send(server: &Server, name: &str, events: usize) {
    let events: Vec<_> = (1..=events).map(|number| event(&format!("{name}-{number}"))).collect();
    for batch in events.chunks(25) {
        let reply = server.batch(batch);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
}

/// The ids of each user's events, in their order; see [`event`].
fn by_user(ids: &[String]) -> BTreeMap<u64, Vec<&str>> {
    let mut of_user: BTreeMap<u64, Vec<&str>> = BTreeMap::new();
    for id in ids {
        let number: u64 = id.rsplit('-').next().unwrap().parse().unwrap();
        of_user.entry(number % 97).or_default().push(id);
    }
    of_user
}

/// The ids that the destination has taken, in the order of their first arrival.
fn arrived(segment: &FakeSegment) -> Vec<String> {
    let id = |message: &serde_json::Value| message["messageId"].as_str().unwrap().to_owned();
    segment.messages().iter().map(id).collect()
}
