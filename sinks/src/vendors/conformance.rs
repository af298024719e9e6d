//! What every sink promises the engine, as tests that run against each of them.
//!
//! A vendor's tests implement [`Subject`] for their fake and call [`conformance!`] once. The rest is
//! data, in `fixtures/vendors/<vendor>/`:
//!
//! - `mapping.json`: events and what they become; see [`mapping`].
//! - `answers.json`: answers and what they say about the operations; see [`answers`].

mod answers;
mod delivery;
mod events;
mod loopback;
mod mapping;

pub(crate) use answers::{
    answers_mean_what_the_fixtures_say, every_answer_gives_a_verdict_for_each_operation,
};
pub(crate) use delivery::{
    a_check_names_the_step_that_failed, a_repeat_does_what_the_sink_declares,
    documented_events_are_taken_or_refused_with_a_reason, fixtures_are_delivered, full_requests_are_taken,
    requests_keep_the_limits, secrets_are_never_shown,
};
pub(crate) use events::{NOW, stored};
pub(crate) use loopback::Loopback;
pub(crate) use mapping::{events_become_what_the_fixtures_say, mapping_is_a_pure_function};

use crate::engine::{Account, Sink};
use pipeline::control::Secret;
use serde_json::Value;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::Path;

/// A sink and the fake vendor that it is tested against.
pub(crate) trait Subject {
    /// The sink.
    type Sink: Sink + Debug;

    /// The vendor's name, which is also the name of its folder of fixtures.
    const VENDOR: &'static str;

    /// Starts a fake vendor that knows [`Self::account`] and nothing else, at the time [`NOW`]. It
    /// holds requests against the vendor's published schema where `FLOWSTATE_SPECS` is given.
    fn start() -> Self;

    /// An account that the fake accepts.
    fn account() -> Account;

    /// The same with a credential that the fake refuses; `None` where the vendor cannot tell.
    fn wrong_account() -> Option<Account>;

    /// The sink for an account.
    fn sink(account: &Account) -> Self::Sink;

    /// The hosts of the vendor that the fake stands for, and where it listens.
    fn hosts(&self) -> Vec<(&'static str, SocketAddr)>;

    /// How many things the vendor has, after its own removal of repeats.
    fn kept(&self) -> usize;

    /// What the fake found to break the vendor's rules.
    fn violations(&self) -> Vec<String>;

    /// Stops the fake, so that nothing can be reached.
    fn stop(&mut self);
}

/// Runs the suite against a [`Subject`].
macro_rules! conformance {
    ($subject:ty) => {
        mod conforms {
            use super::*;
            use $crate::vendors::conformance;

            #[test]
            fn events_become_what_the_fixtures_say() {
                conformance::events_become_what_the_fixtures_say::<$subject>();
            }

            #[test]
            fn mapping_is_a_pure_function() {
                conformance::mapping_is_a_pure_function::<$subject>();
            }

            #[test]
            fn answers_mean_what_the_fixtures_say() {
                conformance::answers_mean_what_the_fixtures_say::<$subject>();
            }

            #[test]
            fn every_answer_gives_a_verdict_for_each_operation() {
                conformance::every_answer_gives_a_verdict_for_each_operation::<$subject>();
            }

            #[tokio::test]
            async fn fixtures_are_delivered() {
                conformance::fixtures_are_delivered::<$subject>().await;
            }

            #[tokio::test]
            async fn a_repeat_does_what_the_sink_declares() {
                conformance::a_repeat_does_what_the_sink_declares::<$subject>().await;
            }

            #[test]
            fn requests_keep_the_limits() {
                conformance::requests_keep_the_limits::<$subject>();
            }

            #[tokio::test]
            async fn full_requests_are_taken() {
                conformance::full_requests_are_taken::<$subject>().await;
            }

            #[tokio::test]
            async fn documented_events_are_taken_or_refused_with_a_reason() {
                conformance::documented_events_are_taken_or_refused_with_a_reason::<$subject>().await;
            }

            #[tokio::test]
            async fn a_check_names_the_step_that_failed() {
                conformance::a_check_names_the_step_that_failed::<$subject>().await;
            }

            #[tokio::test]
            async fn secrets_are_never_shown() {
                conformance::secrets_are_never_shown::<$subject>().await;
            }
        }
    };
}
pub(crate) use conformance;

/// An account with these settings, a JSON object, and credentials.
pub(crate) fn account(settings: Value, credentials: &[(&str, &str)]) -> Account {
    let Value::Object(settings) = settings else { panic!("settings are an object") };
    let secret = |(name, text): &(&str, &str)| ((*name).to_owned(), Secret::credential((*text).to_owned()));
    Account { settings, credentials: credentials.iter().map(secret).collect() }
}

/// A file beside the vendor's other fixtures.
fn fixture(vendor: &str, file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/vendors").join(vendor).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The folder with published specifications, where there is one.
pub(crate) fn specs() -> Option<std::path::PathBuf> {
    std::env::var_os("FLOWSTATE_SPECS").map(Into::into)
}

/// Counts a test as not run.
pub(crate) fn skip(test: &str) {
    let line = format!("{test}: FLOWSTATE_SPECS is not set");
    eprintln!("skipped: {line}");
    if let Some(path) = std::env::var_os("FLOWSTATE_TEST_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes()).unwrap();
    }
}
