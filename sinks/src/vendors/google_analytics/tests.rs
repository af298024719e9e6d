//! The sink against the fake vendor, over HTTP.

use super::*;
use crate::engine::StepState;
use crate::vendors::conformance::{Loopback, NOW, Subject, account, conformance, specs, stored};
use serde_json::{Value, json};
use std::net::SocketAddr;
use vendors::Schema;
use vendors::google_analytics::{FakeGoogleAnalytics, Stream as FakeStream};

const HOST: &str = "www.google-analytics.com";
const API_SECRET: &str = "wQ3/uE+secret&of=ga4";
const MEASUREMENT_ID: &str = "G-ABCDE12345";
const APP_ID: &str = "1:1234567890:android:0a1b2c3d4e5f";

struct GoogleSubject(FakeGoogleAnalytics);

fn fake(stream: FakeStream) -> FakeGoogleAnalytics {
    let schema = specs().map(|specs| Schema::read(&specs.join("ga4/ga4-mp.schema.json")).expect("a schema"));
    FakeGoogleAnalytics::start(API_SECRET, stream, schema, || NOW).expect("a fake")
}

fn dropped(fake: &FakeGoogleAnalytics) -> Vec<String> {
    fake.dropped().iter().map(|dropped| format!("{}: {}", dropped.why, dropped.body)).collect()
}

impl Subject for GoogleSubject {
    type Sink = GoogleAnalytics;
    const VENDOR: &'static str = "google_analytics";

    fn start() -> Self {
        Self(fake(FakeStream::Web(MEASUREMENT_ID.to_owned())))
    }

    fn account() -> Account {
        account(json!({"measurement_id": MEASUREMENT_ID}), &[("api_secret", API_SECRET)])
    }

    fn wrong_account() -> Option<Account> {
        None
    }

    fn sink(account: &Account) -> GoogleAnalytics {
        GoogleAnalytics::new(account).expect("a sink")
    }

    fn hosts(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![(HOST, self.0.address())]
    }

    fn kept(&self) -> usize {
        self.0.events().len()
    }

    fn violations(&self) -> Vec<String> {
        dropped(&self.0)
    }

    fn stop(&mut self) {
        self.0.stop();
    }
}

conformance!(GoogleSubject);

fn operation(sink: &GoogleAnalytics, event: &Value) -> Operation {
    match sink.map(&stored(event)) {
        Mapped::Operations(mut operations) => operations.remove(0),
        other => panic!("{event} became {other:?}"),
    }
}

fn app() -> GoogleAnalytics {
    let settings = json!({"firebase_app_id": APP_ID, "region": "eu"});
    GoogleAnalytics::new(&account(settings, &[("api_secret", API_SECRET)])).expect("a sink")
}

#[test]
fn the_address_holds_the_encoded_secret_and_an_app_id_with_its_colons() {
    let web = GoogleSubject::sink(&GoogleSubject::account());
    let secret = "wQ3%2FuE%2Bsecret%26of%3Dga4";
    let expected = format!("https://{HOST}/mp/collect?api_secret={secret}&measurement_id={MEASUREMENT_ID}");
    assert_eq!(web.url("/mp/collect").as_str(), expected);
    let expected = format!(
        "https://region1.google-analytics.com/mp/collect?api_secret={secret}&firebase_app_id={APP_ID}"
    );
    assert_eq!(app().url("/mp/collect").as_str(), expected);
}

#[tokio::test]
async fn events_of_one_client_share_a_request() {
    let subject = GoogleSubject::start();
    let sink = GoogleSubject::sink(&GoogleSubject::account());
    let event = |id: &str| json!({"type": "track", "messageId": id, "anonymousId": "a-1", "event": "Ping"});
    let operations = [operation(&sink, &event("m-1")), operation(&sink, &event("m-2"))];
    assert_eq!(operations[0].group, operations[1].group);
    let http = Loopback::new(subject.hosts());
    let operations: Vec<_> = operations.iter().collect();
    let answer = http.send(sink.request(&operations, NOW)).await.expect("an answer");
    assert_eq!(sink.verdicts(&operations, &answer, NOW), [Verdict::Delivered, Verdict::Delivered]);
    assert_eq!(subject.violations(), [""; 0]);
    let taken = subject.0.events();
    assert_eq!(taken.len(), 2);
    assert_eq!((&taken[1]["client_id"], &taken[1]["name"]), (&json!("a-1"), &json!("ping")));
}

/// The reason why a check can prove no key, and why the rules are kept here.
#[tokio::test]
async fn google_answers_yes_to_a_wrong_secret_and_drops_the_event() {
    let subject = GoogleSubject::start();
    let wrong = account(json!({"measurement_id": MEASUREMENT_ID}), &[("api_secret", "another")]);
    let sink = GoogleSubject::sink(&wrong);
    let event = json!({"type": "track", "messageId": "m-1", "anonymousId": "a-1", "event": "Ping"});
    let operation = operation(&sink, &event);
    let answer =
        Loopback::new(subject.hosts()).send(sink.request(&[&operation], NOW)).await.expect("an answer");
    assert_eq!(sink.verdicts(&[&operation], &answer, NOW), [Verdict::Delivered]);
    assert_eq!(subject.kept(), 0);
    assert!(subject.violations()[0].starts_with("`api_secret`"), "{:?}", subject.violations());
}

#[test]
fn different_clients_do_not_share_a_request() {
    let sink = GoogleSubject::sink(&GoogleSubject::account());
    let same =
        json!({"type": "track", "messageId": "m", "anonymousId": "a-1", "userId": "u-1", "event": "Ping"});
    let group = |change: fn(&mut Value)| {
        let mut event = same.clone();
        change(&mut event);
        operation(&sink, &event).group
    };
    let first = group(|_| {});
    assert_eq!(first, group(|event| event["event"] = "Pong".into()));
    assert_ne!(first, group(|event| event["anonymousId"] = "a-2".into()));
    assert_ne!(first, group(|event| event["userId"] = "u-2".into()));
    assert_ne!(first, group(|event| event["context"] = json!({"userAgent": "Mozilla/5.0"})));
}

#[tokio::test]
async fn an_app_stream_takes_screens_of_a_known_installation() {
    let fake = fake(FakeStream::App(APP_ID.to_owned()));
    let sink = app();
    let mut event = json!({"type": "screen", "messageId": "m-1", "userId": "u-1", "name": "Home"});
    let Mapped::Refused(failure) = sink.map(&stored(&event)) else { panic!("no installation is known") };
    assert!(failure.detail.contains("app instance id"), "{failure:?}");
    assert!(failure.remedy.contains("appInstanceId"), "{failure:?}");
    event["integrations"] =
        json!({"Google Analytics 4": {"appInstanceId": "0123456789abcdef0123456789ABCDEF"}});
    event["context"] = json!({"os": {"name": "Android", "version": "16"}, "device": {"model": "Pixel 10"}});
    let operation = operation(&sink, &event);
    let http = Loopback::new(vec![("region1.google-analytics.com", fake.address())]);
    http.send(sink.request(&[&operation], NOW)).await.expect("an answer");
    assert_eq!(dropped(&fake), [""; 0]);
    let taken = fake.events();
    assert_eq!(
        (&taken[0]["name"], &taken[0]["params"]["screen_name"]),
        (&json!("screen_view"), &json!("Home"))
    );
    assert_eq!(taken[0]["device"]["model"], "Pixel 10");
}

#[tokio::test]
async fn the_largest_request_stays_below_130_kb() {
    let subject = GoogleSubject::start();
    let settings = json!({"measurement_id": MEASUREMENT_ID, "user_properties": ["a", "b"]});
    let sink = GoogleSubject::sink(&account(settings, &[("api_secret", API_SECRET)]));
    let escaped = "\u{1}".repeat(600);
    let product = json!({"product_id": "€".repeat(100), "name": "€".repeat(100)});
    let event = json!({
        "type": "track", "messageId": "m-1", "anonymousId": "\u{1}".repeat(256), "userId": "\u{1}".repeat(256),
        "event": "Order Completed",
        "properties": {"order_id": "A-1", "total": 1, "products": vec![product; 150]},
        "context": {"userAgent": escaped, "traits": {"a": escaped, "b": escaped}},
    });
    let operation = operation(&sink, &event);
    let limits = sink.manners().endpoints[0];
    assert!(operation.body.len() > limits.batch_bytes_max * 8 / 10, "{} bytes", operation.body.len());
    assert!(operation.body.len() <= limits.operation_bytes_max, "{} bytes", operation.body.len());
    let around = sink.request(&[&operation], NOW).body.len() - operation.body.len();
    assert!(limits.batch_bytes_max + around + limits.operations_max < 130_000, "{around} bytes around");
    let http = Loopback::new(subject.hosts());
    http.send(sink.request(&[&operation], NOW)).await.expect("an answer");
    assert_eq!(subject.violations(), [""; 0]);
}

#[tokio::test]
async fn a_check_tells_a_wrong_id_and_sends_an_event_on_demand_only() {
    let subject = GoogleSubject::start();
    let http = Loopback::new(subject.hosts());
    for (setting, id) in [("measurement_id", "UA-12345-1"), ("firebase_app_id", "G-ABCDE12345")] {
        let sink = GoogleSubject::sink(&account(json!({setting: id}), &[("api_secret", API_SECRET)]));
        let check = sink.check(&http, NOW, true).await;
        let last = check.steps.last().expect("a step");
        assert_eq!((last.name, last.state), ("object_exists", StepState::Failed), "{check:?}");
        assert!(last.found.contains(id) && !last.remedy.is_empty(), "{last:?}");
    }
    let sink = GoogleSubject::sink(&GoogleSubject::account());
    sink.check(&http, NOW, false).await;
    assert_eq!(subject.0.events(), [Value::Null; 0]);
    sink.check(&http, NOW, true).await;
    let taken = subject.0.events();
    assert_eq!((taken.len(), &taken[0]["name"]), (1, &json!("flowstate_test")));
    assert_eq!(taken[0]["params"]["debug_mode"], 1);
}

#[test]
fn a_setting_is_refused_with_what_is_wrong() {
    let secret = [("api_secret", API_SECRET)];
    for (settings, credentials, message) in [
        (json!({}), &secret[..], "`measurement_id`: give either it or `firebase_app_id`"),
        (
            json!({"measurement_id": "G-1", "firebase_app_id": "1:2"}),
            &secret,
            "`measurement_id`: give either",
        ),
        (json!({"measurement_id": "G-1&x=2"}), &secret, "`measurement_id`: an id has letters"),
        (json!({"measurement_id": "G-1", "region": "us"}), &secret, "`region`: `us` is neither"),
        (json!({"measurement_id": "G-1", "currency": "euro"}), &secret, "`currency`: it is no code"),
        (json!({"measurement_id": "G-1", "send_ip": "yes"}), &secret, "`send_ip`: it is neither"),
        (json!({"measurement_id": "G-1"}), &[], "`api_secret`: it is missing"),
    ] {
        let error = GoogleAnalytics::new(&account(settings, credentials)).expect_err(message).to_string();
        assert!(error.starts_with(message), "{error}");
    }
}
