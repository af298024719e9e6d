//! The sink against a receiver, over HTTP.

use super::*;
use crate::engine::StepState;
use crate::vendors::conformance::{Loopback, NOW, Subject, account, conformance, stored};
use serde_json::{Value, json};
use std::net::SocketAddr;
use vendors::Failure as Fails;
use vendors::webhook::Receiver;

const HOST: &str = "hooks.example.com";
const SECRET: &str = "whsec_bmV3IHNlY3JldCBvZiB0aGlydHkgdHdvIGJ5dGVzISE=";
const OLD_SECRET: &str = "whsec_b2xkIHNlY3JldCBvZiB0aGlydHkgdHdvIGJ5dGVzISE=";

struct WebhookSubject(Receiver);

impl Subject for WebhookSubject {
    type Sink = Webhook;
    const VENDOR: &'static str = "webhook";

    fn start() -> Self {
        Self(Receiver::start(SECRET, || NOW).expect("a receiver"))
    }

    fn account() -> Account {
        account(json!({"url": "https://hooks.example.com/in?from=flowstate"}), &[("signing_secret", SECRET)])
    }

    fn wrong_account() -> Option<Account> {
        let url = json!({"url": "https://hooks.example.com/in"});
        Some(account(url, &[("signing_secret", OLD_SECRET)]))
    }

    fn sink(account: &Account) -> Webhook {
        Webhook::new(account).expect("a sink")
    }

    fn hosts(&self) -> Vec<(&'static str, SocketAddr)> {
        vec![(HOST, self.0.address())]
    }

    fn kept(&self) -> usize {
        self.0.deliveries().len()
    }

    fn violations(&self) -> Vec<String> {
        self.0.violations()
    }

    fn stop(&mut self) {
        self.0.stop();
    }
}

conformance!(WebhookSubject);

fn operation(sink: &Webhook, message_id: &str) -> Operation {
    let event =
        json!({"type": "track", "messageId": message_id, "userId": "u-1", "event": "Order Completed"});
    match sink.map(&stored(&event)) {
        Mapped::Operations(mut operations) => operations.remove(0),
        other => panic!("it became {other:?}"),
    }
}

#[test]
fn the_id_and_the_body_are_the_same_on_every_attempt_and_the_time_is_the_attempts() {
    let sink = WebhookSubject::sink(&WebhookSubject::account());
    let operation = operation(&sink, "m-1");
    let (first, second) = (sink.request(&[&operation], NOW), sink.request(&[&operation], NOW + 90 * SECOND));
    assert_eq!(first.body, second.body);
    assert_eq!(first.headers[ID], "m-1");
    assert_eq!(second.headers[ID], "m-1");
    assert_eq!(first.headers[TIMESTAMP], "1768478400");
    assert_eq!(second.headers[TIMESTAMP], "1768478490");
    assert_ne!(first.headers[SIGNATURE], second.headers[SIGNATURE]);
}

#[test]
fn an_id_that_would_break_the_signature_or_the_header_goes_as_its_hash() {
    let hash = |id: &str| {
        let made = webhook_id(id);
        assert!(made.starts_with("msg_") && made.len() == 36 && !made.contains('.'), "{made}");
        made
    };
    assert_eq!(webhook_id("ajs-next-17_a:1"), "ajs-next-17_a:1");
    assert_ne!(hash("a.b"), hash("a.c"));
    assert_eq!(hash("größe"), hash("größe"));
    hash("a b");
    hash("a\r\nb");
    hash("");
}

/// While the receiver changes over, it may know either secret.
#[tokio::test]
async fn both_secrets_sign_until_the_previous_one_ends() {
    let settings = json!({
        "url": "https://hooks.example.com/in", "signing_secret_previous_until": "2026-01-15T13:00:00Z",
    });
    let credentials = [("signing_secret", SECRET), ("signing_secret_previous", OLD_SECRET)];
    let sink = Webhook::new(&account(settings, &credentials)).expect("a sink");
    let operation = operation(&sink, "m-1");
    for secret in [SECRET, OLD_SECRET] {
        let receiver = Receiver::start(secret, || NOW).expect("a receiver");
        let http = Loopback::new(vec![(HOST, receiver.address())]);
        let answer = http.send(sink.request(&[&operation], NOW)).await.expect("an answer");
        assert_eq!(sink.verdicts(&[&operation], &answer, NOW), [Verdict::Delivered]);
        assert_eq!(receiver.violations(), [""; 0]);
    }
    let until = NOW + 3_600 * SECOND;
    let signatures = |now| {
        let request = sink.request(&[&operation], now);
        request.headers[SIGNATURE].to_str().expect("text").split(' ').count()
    };
    assert_eq!((signatures(until - 1), signatures(until)), (2, 1));
}

#[tokio::test]
async fn a_repeat_after_a_lost_answer_bears_the_same_id() {
    let receiver = Receiver::start(SECRET, || NOW).expect("a receiver");
    let http = Loopback::new(vec![(HOST, receiver.address())]);
    let sink = WebhookSubject::sink(&WebhookSubject::account());
    let operation = operation(&sink, "m-1");
    receiver.fail([Fails::TakeAndReset]);
    http.send(sink.request(&[&operation], NOW)).await.expect_err("no answer");
    http.send(sink.request(&[&operation], NOW)).await.expect("an answer");
    let taken: Vec<_> = receiver.deliveries().iter().map(|taken| (taken.id.clone(), taken.times)).collect();
    assert_eq!(taken, [("m-1".to_owned(), 2)]);
}

#[test]
fn a_body_is_the_event_with_the_time_of_its_receipt() {
    let sink = WebhookSubject::sink(&WebhookSubject::account());
    let body: Value = serde_json::from_slice(&operation(&sink, "m-1").body).expect("JSON");
    assert_eq!(body["receivedAt"], "2026-01-15T12:00:00.000Z");
    assert_eq!((&body["type"], &body["userId"]), (&json!("track"), &json!("u-1")));
}

#[tokio::test]
async fn a_check_tells_what_is_wrong_with_a_receiver() {
    let receiver = Receiver::start(SECRET, || NOW).expect("a receiver");
    let http = Loopback::new(vec![(HOST, receiver.address())]);
    let sink = WebhookSubject::sink(&WebhookSubject::account());
    for (status, step) in [
        (302, "reachable"),
        (401, "authenticated"),
        (404, "object_exists"),
        (410, "object_exists"),
        (500, "sample_event"),
    ] {
        receiver.fail([Fails::status(status)]);
        let check = sink.check(&http, NOW, true).await;
        let last = check.steps.last().expect("a step");
        assert_eq!((last.name, last.state), (step, StepState::Failed), "{status}: {check:?}");
    }
    for (sample, of_sample) in [(false, StepState::Skipped), (true, StepState::Passed)] {
        let check = sink.check(&http, NOW, sample).await;
        let states: Vec<_> = check.steps.iter().map(|step| (step.name, step.state)).collect();
        let told = [
            ("reachable", StepState::Passed),
            ("authenticated", StepState::Unprovable),
            ("sample_event", of_sample),
        ];
        assert_eq!(states, told);
    }
    let taken = receiver.deliveries();
    assert_eq!((taken.len(), &taken[0].body["type"]), (1, &json!("flowstate.test")));
}

#[test]
fn a_setting_is_refused_with_what_is_wrong() {
    let url = |url: &str| account(json!({"url": url}), &[("signing_secret", SECRET)]);
    let good = json!({"url": "https://hooks.example.com/in"});
    let previous = [("signing_secret", SECRET), ("signing_secret_previous", OLD_SECRET)];
    let mut bad_time = good.clone();
    bad_time["signing_secret_previous_until"] = "tomorrow".into();
    for (account, message) in [
        (url("hooks.example.com"), "`url`: relative URL without a base"),
        (url("ftp://hooks.example.com/in"), "`url`: it is no `https` address"),
        (url("https://ada:pw@hooks.example.com/in"), "`url`: it may hold no user name"),
        (account(good.clone(), &[]), "`signing_secret`: it is missing"),
        (
            account(good.clone(), &[("signing_secret", "0123456789abcdef")]),
            "`signing_secret`: it is not `whsec_`",
        ),
        (account(good, &previous), "`signing_secret_previous_until`: it is missing"),
        (account(bad_time, &previous), "`signing_secret_previous_until`: it is no time"),
    ] {
        let error = Webhook::new(&account).expect_err(message).to_string();
        assert!(error.starts_with(message), "{error}");
        assert!(!error.contains("0123456789abcdef"), "{error}");
    }
    Webhook::new(&url("http://10.0.0.7:8080/in")).expect("where that may be sent is decided elsewhere");
}
