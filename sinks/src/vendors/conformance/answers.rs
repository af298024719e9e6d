//! Fixtures of answers and what they mean.
//!
//! `answers.json` is an array of
//! `{"name", "operations"?, "endpoint"?, "status", "headers"?, "body"?, "verdicts"}`. It is asked
//! about that many operations (1 unless said) of the endpoint (0 unless said), taken from
//! `mapping.json` over and over. A verdict is `"delivered"` or
//! `{"class", "scope"?, "retry_after_s"?, "vendor_code"?, "detail"?, "remedy"?}`, where `detail` and
//! `remedy` are contained and a `retry_after_s` that is not named means that there is none.

use super::{NOW, Subject, fixture, mapping};
use crate::engine::{Failure, Operation, Scope, Sink, Verdict};
use bytes::Bytes;
use pipeline::delivery::Class;
use pipeline::egress::Answer;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use reqwest::header::{HeaderMap, HeaderName};
use serde_json::Value;
use std::time::Duration;

/// What every vendor's fixtures have to speak about.
const NEEDED: [&str; 7] = [
    "delivered",
    "refused",
    "unauthorized",
    "rate limited with a hint",
    "rate limited without a hint",
    "server error",
    "too large",
];

/// The longest text kept of an answer, in bytes.
const DETAIL_BYTES_MAX: usize = 2048;

pub(crate) fn answers_mean_what_the_fixtures_say<S: Subject>() {
    let sink = S::sink(&S::account());
    let cases = fixture(S::VENDOR, "answers.json");
    for needed in NEEDED {
        assert!(cases.iter().any(|case| case["name"] == needed), "no fixture is called `{needed}`");
    }
    for case in &cases {
        let name = case["name"].as_str().expect("a name");
        let count = case["operations"].as_u64().unwrap_or(1) as usize;
        let endpoint = case["endpoint"].as_u64().unwrap_or(0) as usize;
        let operations = some_operations::<S>(&sink, endpoint, count);
        let operations: Vec<&Operation> = operations.iter().collect();
        let verdicts = sink.verdicts(&operations, &answer(case), NOW);
        let expected = case["verdicts"].as_array().expect("verdicts");
        assert_eq!(verdicts.len(), expected.len(), "{name}: {verdicts:?}");
        assert_eq!(verdicts.len(), operations.len(), "{name}: {verdicts:?}");
        for (verdict, expected) in verdicts.iter().zip(expected) {
            match verdict {
                Verdict::Delivered => assert_eq!(*expected, "delivered", "{name}"),
                Verdict::Failed(failure) => {
                    assert!(expected.is_object(), "{name}: {failure:?}");
                    assert_eq!(failure.status, Some(answer(case).status), "{name}: {failure:?}");
                    check_failure(name, failure, expected);
                }
            }
        }
    }
}

fn answer(case: &Value) -> Answer {
    let status = case["status"].as_u64().and_then(|status| status.try_into().ok()).expect("a status");
    let headers = case["headers"].as_object().into_iter().flatten().map(|(name, value)| {
        let name: HeaderName = name.parse().expect("a header's name");
        (name, value.as_str().and_then(|text| text.parse().ok()).expect("a header's text"))
    });
    let body = match &case["body"] {
        Value::Null => Bytes::new(),
        Value::String(text) => Bytes::from(text.clone()),
        json => Bytes::from(json.to_string()),
    };
    Answer { status, headers: headers.collect(), body }
}

pub(super) fn check_failure(name: &str, failure: &Failure, expected: &Value) {
    assert_eq!(failure.class.as_str(), expected["class"].as_str().expect("a class"), "{name}: {failure:?}");
    if let Some(scope) = expected["scope"].as_str() {
        let word = match failure.scope {
            Scope::Item => "item",
            Scope::Batch => "batch",
            Scope::Destination => "destination",
        };
        assert_eq!(word, scope, "{name}: {failure:?}");
    }
    let retry_after = expected["retry_after_s"].as_u64().map(Duration::from_secs);
    assert_eq!(failure.retry_after, retry_after, "{name}: {failure:?}");
    if let Some(code) = expected["vendor_code"].as_str() {
        assert_eq!(failure.vendor_code.as_deref(), Some(code), "{name}: {failure:?}");
    }
    for (field, text) in [("detail", &failure.detail), ("remedy", &failure.remedy)] {
        let part = expected[field].as_str().unwrap_or_default();
        assert!(text.contains(part), "{name}: `{field}` is {text:?}");
    }
}

/// So many operations of an endpoint.
pub(super) fn some_operations<S: Subject>(sink: &S::Sink, endpoint: usize, count: usize) -> Vec<Operation> {
    let operations = mapping::operations::<S>(sink);
    let mut operations: Vec<_> = operations.into_iter().filter(|one| one.endpoint == endpoint).collect();
    assert!(!operations.is_empty(), "no fixture has an operation of endpoint {endpoint}");
    let known = operations.len();
    operations.extend((known..count).map(|index| operations[index % known].clone()).collect::<Vec<_>>());
    operations.truncate(count);
    operations
}

pub(crate) fn every_answer_gives_a_verdict_for_each_operation<S: Subject>() {
    let sink = S::sink(&S::account());
    let endpoints: Vec<usize> = sink.manners().endpoints.iter().map(|limits| limits.operations_max).collect();
    let body = prop_oneof![
        ".{0,40}".prop_map(Bytes::from),
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from),
        Just(Bytes::from("é".repeat(4_000))),
        Just(Bytes::from_static(b"{\"status\":0,\"error\":7,\"failed_records\":[{\"index\":99}]}")),
        Just(Bytes::from_static(b"[]")),
    ];
    let retry_after = proptest::option::of("[0-9]{1,25}|-1|soon|Thu, 15 Jan 2026 12:01:00 GMT");
    let answers = (100..600_u16, body, retry_after, 0..endpoints.len(), 1..=3_usize);
    let operations: Vec<_> = endpoints
        .iter()
        .enumerate()
        .map(|(endpoint, max)| some_operations::<S>(&sink, endpoint, 3.min(*max)))
        .collect();
    TestRunner::new(Config { failure_persistence: None, ..Config::default() })
        .run(&answers, |(status, body, retry_after, endpoint, count)| {
            let operations: Vec<_> = operations[endpoint].iter().take(count).collect();
            let mut headers = HeaderMap::new();
            if let Some(text) = retry_after {
                headers.insert("retry-after", text.parse().expect("a header"));
            }
            let verdicts = sink.verdicts(&operations, &Answer { status, headers, body }, NOW);
            prop_assert_eq!(verdicts.len(), operations.len());
            for verdict in &verdicts {
                if let Verdict::Failed(failure) = verdict {
                    prop_assert_eq!(failure.status, Some(status));
                    prop_assert!(failure.detail.len() <= DETAIL_BYTES_MAX, "{}", failure.detail.len());
                    let held = matches!(failure.class, Class::AuthRevoked | Class::Permission | Class::Gone);
                    prop_assert!(!held || !failure.remedy.is_empty(), "nothing to do about {failure:?}");
                }
            }
            let delivered = verdicts.contains(&Verdict::Delivered);
            prop_assert!(!delivered || (200..300).contains(&status), "{status} is no success");
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
