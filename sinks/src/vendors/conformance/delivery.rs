//! The sink and its fake vendor, over HTTP.

use super::{Loopback, NOW, Subject, answers, events, mapping, skip};
use crate::engine::{Account, Idempotency, Manners, Mapped, Operation, Sink, StepState, Verdict};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use pipeline::egress::{Answer, Http};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const STEPS: [&str; 5] = ["reachable", "authenticated", "permissions", "object_exists", "sample_event"];

/// Sends operations in requests as large as the sink allows, leaving out what the engine would refuse
/// for its size, and returns the verdicts that are not [`Verdict::Delivered`].
async fn send(sink: &impl Sink, http: &Loopback, operations: &[Operation]) -> Vec<Verdict> {
    let mut failed = Vec::new();
    for batch in cut(sink.manners(), operations) {
        let answer = http.send(sink.request(&batch, NOW)).await.expect("an answer");
        let verdicts = sink.verdicts(&batch, &answer, NOW);
        assert_eq!(verdicts.len(), batch.len(), "{verdicts:?}");
        failed.extend(verdicts.into_iter().filter(|verdict| *verdict != Verdict::Delivered));
    }
    failed
}

fn cut<'a>(manners: &Manners, operations: &'a [Operation]) -> Vec<Vec<&'a Operation>> {
    let mut batches: Vec<Vec<&Operation>> = Vec::new();
    let mut open: BTreeMap<(usize, &str), (usize, usize)> = BTreeMap::new();
    for operation in operations {
        let limits = manners.endpoints[operation.endpoint];
        let bytes = operation.body.len();
        if bytes > limits.operation_bytes_max {
            continue;
        }
        let key = (operation.endpoint, operation.group.as_str());
        match open.get_mut(&key) {
            Some((batch, size))
                if batches[*batch].len() < limits.operations_max
                    && *size + bytes <= limits.batch_bytes_max =>
            {
                batches[*batch].push(operation);
                *size += bytes;
            }
            _ => {
                open.insert(key, (batches.len(), bytes));
                batches.push(vec![operation]);
            }
        }
    }
    batches
}

pub(crate) async fn fixtures_are_delivered<S: Subject>() {
    let subject = S::start();
    let sink = S::sink(&S::account());
    let failed = send(&sink, &Loopback::new(subject.hosts()), &mapping::operations::<S>(&sink)).await;
    assert_eq!(subject.violations(), [""; 0]);
    assert_eq!(failed, []);
    assert!(subject.kept() > 0, "nothing was kept");
}

pub(crate) async fn a_repeat_does_what_the_sink_declares<S: Subject>() {
    let subject = S::start();
    let sink = S::sink(&S::account());
    let http = Loopback::new(subject.hosts());
    let operations = mapping::operations::<S>(&sink);
    assert_eq!(send(&sink, &http, &operations).await, []);
    let once = subject.kept();
    assert_eq!(send(&sink, &http, &operations).await, []);
    let again = subject.kept();
    match sink.manners().idempotency {
        Idempotency::Upsert | Idempotency::Key(_) => assert_eq!(again, once, "a repeat was kept"),
        Idempotency::None => assert!(again > once, "repeats are known, so there is a key"),
    }
}

pub(crate) fn requests_keep_the_limits<S: Subject>() {
    let subject = S::start();
    let sink = S::sink(&S::account());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let http = Loopback::new(subject.hosts());
    TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(12) })
        .run(&proptest::collection::vec(events::any_event(), 1..16), |events| {
            let operations: Vec<_> = events
                .iter()
                .filter_map(|event| match sink.map(event) {
                    Mapped::Operations(operations) => Some(operations),
                    Mapped::Skipped(_) | Mapped::Refused(_) => None,
                })
                .flatten()
                .collect();
            let known = subject.violations().len();
            let failed = runtime.block_on(send(&sink, &http, &operations));
            let broken = subject.violations();
            prop_assert_eq!(broken.get(known), None);
            prop_assert_eq!(failed, Vec::new());
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Requests as full as the sink makes them: by number, and by size.
pub(crate) async fn full_requests_are_taken<S: Subject>() {
    let subject = S::start();
    let sink = S::sink(&S::account());
    let http = Loopback::new(subject.hosts());
    let most = sink.manners().endpoints.iter().map(|limits| limits.operations_max).max().unwrap_or(1);
    let large: Map<String, Value> = (0..30).map(|n| (format!("p{n:02}"), "€".repeat(300).into())).collect();
    for (count, properties) in [(most + 3, Map::new()), (300, large)] {
        let operations: Vec<Operation> = (0..count)
            .map(|index| {
                super::stored(&json!({
                    "type": "track", "messageId": format!("full-{}-{index}", properties.len()), "userId": "u-1",
                    "anonymousId": "a-1", "event": "Report Opened", "properties": properties,
                }))
            })
            .flat_map(|event| match sink.map(&event) {
                Mapped::Operations(operations) => operations,
                other => panic!("it became {other:?}"),
            })
            .collect();
        let requests = cut(sink.manners(), &operations).len();
        assert!(requests > 1, "one request took {count} operations");
        assert_eq!(send(&sink, &http, &operations).await, []);
        assert_eq!(subject.violations(), [""; 0]);
    }
}

pub(crate) async fn documented_events_are_taken_or_refused_with_a_reason<S: Subject>() {
    let Some(events) = events::documented() else {
        return skip("documented_events_are_taken_or_refused_with_a_reason");
    };
    assert_eq!(events.len(), 131);
    let subject = S::start();
    let sink = S::sink(&S::account());
    let mut operations = Vec::new();
    for event in &events {
        match sink.map(event) {
            Mapped::Operations(more) => operations.extend(more),
            Mapped::Skipped(reason) => assert!(!reason.is_empty()),
            Mapped::Refused(failure) => assert!(!failure.remedy.is_empty(), "{failure:?}"),
        }
    }
    let failed = send(&sink, &Loopback::new(subject.hosts()), &operations).await;
    assert_eq!(subject.violations(), [""; 0]);
    assert_eq!(failed, []);
    assert!(operations.len() > events.len() / 2, "only {} operations", operations.len());
}

pub(crate) async fn a_check_names_the_step_that_failed<S: Subject>() {
    let mut subject = S::start();
    let http = Loopback::new(subject.hosts());
    for sample in [false, true] {
        let good = S::sink(&S::account()).check(&http, NOW, sample).await;
        assert!(!good.steps.is_empty(), "a check has steps");
        for step in &good.steps {
            assert!(STEPS.contains(&step.name), "{step:?}");
            assert_ne!(step.state, StepState::Failed, "{step:?}");
            assert!(!step.found.is_empty(), "{step:?} tells nothing");
        }
        assert_eq!(subject.violations(), [""; 0]);
    }
    let Some(wrong) = S::wrong_account() else {
        let good = S::sink(&S::account()).check(&http, NOW, false).await;
        let told = good.steps.iter().find(|step| step.name == "authenticated").expect("a step for the key");
        assert_eq!(told.state, StepState::Unprovable, "{told:?}");
        assert!(!told.remedy.is_empty(), "{told:?} does not say what a person can look at");
        return unreachable(&mut subject).await;
    };
    let check = S::sink(&wrong).check(&http, NOW, true).await;
    let last = check.steps.last().expect("a step");
    assert_eq!((last.name, last.state), ("authenticated", StepState::Failed), "{check:?}");
    assert!(!last.remedy.is_empty(), "{last:?} does not say what to do");
    unreachable(&mut subject).await;
}

async fn unreachable<S: Subject>(subject: &mut S) {
    subject.stop();
    // A connection that is open already may be answered once more.
    let http = Loopback::new(subject.hosts());
    let check = S::sink(&S::account()).check(&http, NOW, true).await;
    let last = check.steps.last().expect("a step");
    assert_eq!((last.name, last.state), ("reachable", StepState::Failed), "{check:?}");
    assert!(!last.remedy.is_empty(), "{last:?} does not say what to do");
}

pub(crate) async fn secrets_are_never_shown<S: Subject>() {
    let mut subject = S::start();
    let http = Loopback::new(subject.hosts());
    let mut shown = Vec::new();
    for account in [Some(S::account()), S::wrong_account()].into_iter().flatten() {
        let sink = S::sink(&account);
        shown.push(format!("{sink:?}"));
        shown.push(format!("{:?}", sink.check(&http, NOW, true).await));
        for endpoint in 0..sink.manners().endpoints.len() {
            let operations = answers::some_operations::<S>(&sink, endpoint, 1);
            let operations: Vec<_> = operations.iter().collect();
            let request = sink.request(&operations, NOW);
            shown.push(format!("{:?}", request.headers));
            for status in [200, 302, 400, 401, 403, 404, 410, 413, 429, 500] {
                let answer = Answer { status, headers: HeaderMap::new(), body: "no".into() };
                shown.push(format!("{:?}", sink.verdicts(&operations, &answer, NOW)));
            }
        }
        shown.push(format!(
            "{:?}",
            sink.map(&super::stored(&json!({
                "type": "track", "messageId": "m-1", "userId": "u-1", "event": "",
            })))
        ));
    }
    subject.stop();
    let http = Loopback::new(subject.hosts());
    shown.push(format!("{:?}", S::sink(&S::account()).check(&http, NOW, true).await));
    for secret in secrets::<S>() {
        for text in &shown {
            assert!(!text.contains(&secret), "a secret is shown in {text}");
        }
    }
}

/// The credentials of all accounts, plain and as Basic authentication writes them.
fn secrets<S: Subject>() -> Vec<String> {
    let of = |account: Account| account.credentials.into_values().collect::<Vec<_>>();
    let secrets: Vec<_> =
        [Some(S::account()), S::wrong_account()].into_iter().flatten().flat_map(of).collect();
    let plain = secrets.iter().map(|secret| secret.reveal().to_owned());
    let basic = secrets.iter().map(|secret| BASE64_STANDARD.encode(format!("{}:", secret.reveal())));
    plain.chain(basic).collect()
}
