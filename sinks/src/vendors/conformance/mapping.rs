//! Fixtures of events and what they become.
//!
//! `mapping.json` is an array of
//! `{"name", "event", "settings"?, …}` where `event` is a message in Segment's words, received at
//! `NOW`, `settings` are merged over those of the good account, and one more field says what becomes
//! of it:
//!
//! - `"operations": [{"endpoint"?, "group"?, "body"}]`: in this order; a group or body that is no
//!   text is compared as JSON.
//! - `"skipped": "…"`: the reason holds this text.
//! - `"refused": {"class", "detail"?, "remedy"?, "vendor_code"?}`: texts are contained.

use super::{Subject, answers::check_failure, events::any_event, fixture, stored};
use crate::engine::{Account, Mapped, Operation, Sink};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;

pub(crate) fn events_become_what_the_fixtures_say<S: Subject>() {
    let cases = fixture(S::VENDOR, "mapping.json");
    assert!(!cases.is_empty(), "there are fixtures");
    for case in &cases {
        let name = case["name"].as_str().expect("a name");
        let mapped = S::sink(&account::<S>(case)).map(&stored(&case["event"]));
        match &mapped {
            Mapped::Operations(operations) => {
                let expected = case["operations"].as_array();
                let expected = expected.unwrap_or_else(|| panic!("{name}: became {mapped:?}"));
                assert_eq!(operations.len(), expected.len(), "{name}: became {mapped:?}");
                for (operation, expected) in operations.iter().zip(expected) {
                    check_operation(name, operation, expected);
                }
            }
            Mapped::Skipped(reason) => {
                let expected =
                    case["skipped"].as_str().unwrap_or_else(|| panic!("{name}: became {mapped:?}"));
                assert!(reason.contains(expected), "{name}: {reason}");
            }
            Mapped::Refused(failure) => {
                assert!(case["refused"].is_object(), "{name}: became {mapped:?}");
                check_failure(name, failure, &case["refused"]);
                assert!(!failure.detail.is_empty(), "{name}: no detail");
                assert!(!failure.remedy.is_empty(), "{name}: a refused event has a remedy");
            }
        }
    }
    assert!(cases.iter().any(|case| case["operations"].is_array()), "no fixture is about `operations`");
}

fn check_operation(name: &str, operation: &Operation, expected: &Value) {
    let endpoint = expected["endpoint"].as_u64().unwrap_or(0);
    assert_eq!(operation.endpoint as u64, endpoint, "{name}: {operation:?}");
    compare(name, operation.body.as_ref(), &expected["body"]);
    if !expected["group"].is_null() {
        compare(name, operation.group.as_bytes(), &expected["group"]);
    }
}

fn compare(name: &str, text: &[u8], expected: &Value) {
    if let Some(expected) = expected.as_str() {
        assert_eq!(String::from_utf8_lossy(text), expected, "{name}");
        return;
    }
    let value: Value = serde_json::from_slice(text).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(value, *expected, "{name}: became {value}");
}

/// The good account with the settings of a case.
fn account<S: Subject>(case: &Value) -> Account {
    let mut account = S::account();
    for (key, value) in case["settings"].as_object().into_iter().flatten() {
        account.settings.insert(key.clone(), value.clone());
    }
    account.settings.retain(|_, value| !value.is_null());
    account
}

/// All operations of the fixtures that hold for the good account as it is.
pub(super) fn operations<S: Subject>(sink: &S::Sink) -> Vec<Operation> {
    let cases = fixture(S::VENDOR, "mapping.json");
    let cases = cases.iter().filter(|case| case["settings"].is_null());
    cases
        .filter_map(|case| match sink.map(&stored(&case["event"])) {
            Mapped::Operations(operations) => Some(operations),
            Mapped::Skipped(_) | Mapped::Refused(_) => None,
        })
        .flatten()
        .collect()
}

pub(crate) fn mapping_is_a_pure_function<S: Subject>() {
    let (one, other) = (S::sink(&S::account()), S::sink(&S::account()));
    TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(32) })
        .run(&any_event(), |event| {
            let first = format!("{:?}", one.map(&event));
            prop_assert_eq!(&format!("{:?}", one.map(&event)), &first);
            prop_assert_eq!(&format!("{:?}", other.map(&event)), &first);
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
