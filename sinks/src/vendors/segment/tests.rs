//! The sink against the fake vendor, over HTTP, and its mapping by itself.

use super::*;
use crate::engine::StepState;
use crate::vendors::conformance::{self, Loopback, NOW, Subject, conformance};
use pipeline::event::{Flags, Kind};
use pipeline::log::PartitionId;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::net::SocketAddr;
use vendors::Schema;
use vendors::segment::FakeSegment;

const KEY: &str = "wk-secret-5f1c0a9d2b7e";

struct Fake(FakeSegment);

impl Subject for Fake {
    type Sink = Segment;

    const VENDOR: &'static str = "segment";

    fn start() -> Self {
        let schema = conformance::specs().map(|specs| {
            Schema::read(&specs.join("segment/segment-tracking.contract.schema.json")).expect("a schema")
        });
        Self(FakeSegment::start(KEY, schema).expect("a fake"))
    }

    fn account() -> Account {
        conformance::account(json!({"region": "us"}), &[("write_key", KEY)])
    }

    fn wrong_account() -> Option<Account> {
        Some(conformance::account(json!({"region": "us"}), &[("write_key", "wk-unknown-77aa12bc34de")]))
    }

    fn sink(account: &Account) -> Segment {
        Segment::new(account).expect("a sink")
    }

    fn hosts(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![("api.segment.io", self.0.address()), ("cdn.segment.com", self.0.address())]
    }

    fn kept(&self) -> usize {
        self.0.received()
    }

    fn violations(&self) -> Vec<String> {
        self.0.violations()
    }

    fn stop(&mut self) {
        self.0.stop();
    }
}

conformance!(Fake);

fn stored(event: Event<'static>) -> Stored<Event<'static>> {
    let partition = PartitionId("00000000000000aa".into());
    Stored { partition, offset: 1, received_at: NOW, source: "web".into(), test: false, record: event }
}

#[test]
fn json_text_is_passed_on_byte_for_byte() {
    let mut event = Event::new(Kind::Track, "m-1");
    event.user_id = Some("u-1".into());
    event.properties = Some(r#"{"total": 1.10, "big": 12345678901234567890123}"#.into());
    event.context = Some(r#"{"n": 1.0}"#.into());
    event.extra = Some(r#"{"channel":"server","writeKey":"theirs","n":1.0,"userId":"other"}"#.into());
    let mapped = Fake::sink(&Fake::account()).map(&stored(event));
    let Mapped::Operations(operations) = mapped else { panic!("{mapped:?}") };
    let text = String::from_utf8_lossy(&operations[0].body).into_owned();
    assert!(text.contains(r#","properties":{"total": 1.10, "big": 12345678901234567890123},"#), "{text}");
    assert!(text.contains(r#","context":{"flowstate":{"hops":1},"n": 1.0},"#), "{text}");
    assert!(text.ends_with(r#","channel":"server","n":1.0}"#), "{text}");
}

#[test]
fn settings_are_refused_with_what_is_allowed() {
    for (settings, key, message) in [
        (json!({}), KEY, "`region`: it must be `us` or `eu`"),
        (json!({"region": "in"}), KEY, "`region`: it must be `us` or `eu`"),
        (json!({"region": "eu"}), "wk-secret/../5f1c0a9d", "`write_key`: it must be letters, digits"),
    ] {
        let error = Segment::new(&conformance::account(settings, &[("write_key", key)])).expect_err("wrong");
        assert!(error.to_string().starts_with(message), "{error}");
        assert!(!error.to_string().contains(key), "{error}");
    }
    let none = Account { credentials: [].into(), ..Fake::account() };
    assert_eq!(Segment::new(&none).expect_err("wrong").to_string(), "`write_key`: it is missing");
}

#[test]
fn each_region_has_its_host() {
    for (region, url) in
        [("us", "https://api.segment.io/v1/batch"), ("eu", "https://events.eu1.segmentapis.com/v1/batch")]
    {
        let sink = Segment::new(&conformance::account(json!({"region": region}), &[("write_key", KEY)]));
        let operation = Operation { endpoint: 0, group: String::new(), body: "{}".into() };
        let request = sink.expect("a sink").request(&[&operation, &operation], NOW);
        assert_eq!((request.url.as_str(), request.method.as_str()), (url, "POST"));
        assert_eq!(request.body, r#"{"batch":[{},{}],"sentAt":"2026-01-15T12:00:00.000Z"}"#);
        let basic = format!("Basic {}", BASE64_STANDARD.encode(format!("{KEY}:")));
        assert_eq!(request.headers[AUTHORIZATION], basic);
        assert!(request.headers[AUTHORIZATION].is_sensitive());
    }
}

#[tokio::test]
async fn a_check_says_that_the_region_is_not_proven() {
    let fake = Fake::start();
    let sink = Fake::sink(&Fake::account());
    let check = sink.check(&Loopback::new(fake.hosts()), NOW, true).await;
    let states: Vec<_> = check.steps.iter().map(|step| (step.name, step.state)).collect();
    assert_eq!(
        states,
        [
            ("reachable", StepState::Passed),
            ("authenticated", StepState::Passed),
            ("object_exists", StepState::Unprovable),
            ("sample_event", StepState::Unprovable),
        ]
    );
    assert_eq!(fake.0.messages()[0]["event"], "Flowstate Connection Tested");
}

#[tokio::test]
async fn an_event_over_the_limit_is_asked_about_and_its_batch_halved() {
    let fake = Fake::start();
    let (sink, http) = (Fake::sink(&Fake::account()), Loopback::new(fake.hosts()));
    let mut event = Event::new(Kind::Track, "m-1");
    event.user_id = Some("u-1".into());
    event.event = Some("Grown".into());
    event.properties = Some(format!(r#"{{"text":"{}"}}"#, "x".repeat(33_000)).into());
    let Mapped::Operations(operations) = sink.map(&stored(event)) else { panic!("it is refused") };
    assert!(operations[0].body.len() <= sink.manners().endpoints[0].operation_bytes_max);
    let answer = http.send(sink.request(&[&operations[0]], NOW)).await.expect("an answer");
    let verdicts = sink.verdicts(&[&operations[0]], &answer, NOW);
    let [Verdict::Failed(failure)] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!((failure.class, failure.scope), (Class::Validation, Scope::Batch));
    assert_eq!((fake.0.received(), fake.0.violations().len()), (0, 1));
}

#[test]
fn limits_are_within_those_of_the_contract() {
    let Some(specs) = conformance::specs() else {
        return conformance::skip("limits_are_within_those_of_the_contract");
    };
    let text = std::fs::read_to_string(specs.join("contracts/segment.json")).expect("a contract");
    let contract: Value = serde_json::from_str(&text).expect("JSON");
    let (limits, told) = (Fake::sink(&Fake::account()).manners().endpoints[0], &contract["ops"]["batch"]);
    assert_eq!(told["our_items"], limits.operations_max);
    assert!(
        told["max_bytes"].as_u64().is_some_and(|max| limits.batch_bytes_max as u64 + 100 < max),
        "{told}"
    );
    for (region, host) in contract["hosts"].as_object().expect("hosts") {
        let url = Region::parse(region).expect("a region").batch_url();
        assert_eq!(url.as_str(), format!("{}{}", host.as_str().unwrap(), told["path"].as_str().unwrap()));
    }
}

fn text() -> impl Strategy<Value = Option<String>> {
    proptest::option::of(".{1,20}")
}

fn object() -> impl Strategy<Value = Option<Map<String, Value>>> {
    let value = prop_oneof![
        any::<i64>().prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(Value::Null),
        Just(json!({"a": [1, {"b": "c"}]})),
    ];
    proptest::option::of(
        proptest::collection::btree_map(".{1,8}", value, 0..5).prop_map(|map| map.into_iter().collect()),
    )
}

proptest! {
    #[test]
    fn no_field_of_an_event_is_lost_or_altered_on_the_way(
        kind in 0..6_usize,
        original in proptest::option::of(NOW - 1_000_000_000_000..NOW),
        texts in proptest::collection::vec(text(), 7),
        objects in proptest::collection::vec(object(), 4),
        extra in object(),
    ) {
        let mut event = Event::new(Kind::ALL[kind], "m-1");
        let mut expected = extra.clone().unwrap_or_default();
        event.extra = extra.map(|extra| Value::Object(extra).to_string().into());
        event.original_timestamp = original;
        event.sent_at = Some(NOW);
        if let Some(original) = original {
            expected.insert("originalTimestamp".into(), iso(original).into());
        }
        expected.insert("timestamp".into(), iso(original.unwrap_or(NOW)).into());
        expected.insert("type".into(), event.kind.as_str().into());
        expected.insert("messageId".into(), "m-1".into());
        let fields = [
            ("anonymousId", &mut event.anonymous_id),
            ("userId", &mut event.user_id),
            ("groupId", &mut event.group_id),
            ("previousId", &mut event.previous_id),
            ("event", &mut event.event),
            ("name", &mut event.name),
            ("category", &mut event.category),
        ];
        for ((key, field), text) in fields.into_iter().zip(texts) {
            if let Some(text) = text {
                expected.insert(key.into(), text.clone().into());
                *field = Some(text.into());
            }
        }
        if let (Kind::Alias, None, Some(older)) = (event.kind, &event.previous_id, &event.anonymous_id) {
            expected.insert("previousId".into(), older.to_string().into());
        }
        let fields = [
            ("properties", &mut event.properties),
            ("traits", &mut event.traits),
            ("context", &mut event.context),
            ("integrations", &mut event.integrations),
        ];
        for ((key, field), object) in fields.into_iter().zip(objects) {
            if let Some(object) = object {
                let object = Value::Object(object);
                *field = Some(object.to_string().into());
                expected.insert(key.into(), object);
            }
        }
        prop_assert_eq!(event.timestamp(NOW).1, Flags::default());
        let stored = stored(event);
        let sent: Value = serde_json::from_slice(&payload::payload(&stored, stored.record.context.as_deref())).expect("JSON");
        prop_assert_eq!(sent, Value::Object(expected));
    }
}

fn iso(at: i64) -> String {
    let mut out = Vec::new();
    put_time(&mut out, "t", at);
    String::from_utf8(out).expect("text")[6..].trim_matches('"').to_owned()
}
