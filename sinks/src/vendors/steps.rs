//! The steps of a check, in the same words for every vendor.

use crate::engine::{Step, StepState};
use pipeline::delivery::Class;
use pipeline::egress::HttpError;

/// It holds.
pub(crate) fn passed(name: &'static str, found: impl Into<String>) -> Step {
    step(name, StepState::Passed, found, "")
}

/// It does not hold, and this is what to do.
pub(crate) fn failed(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Step {
    step(name, StepState::Failed, found, remedy)
}

/// The vendor does not tell, and this is what a person can look at.
pub(crate) fn unprovable(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Step {
    step(name, StepState::Unprovable, found, remedy)
}

/// It was not asked for.
pub(crate) fn skipped(name: &'static str, found: impl Into<String>) -> Step {
    step(name, StepState::Skipped, found, "")
}

/// The step `reachable` of a host that gave no answer.
pub(crate) fn unreachable(host: &str, error: &HttpError) -> Step {
    let remedy = match error.class {
        Class::NetworkDns => "Check that this machine resolves names of the internet.",
        Class::NetworkTls => {
            "Check this machine's clock and certificates, and that nothing reads the traffic on the way."
        }
        Class::BlockedEgress => "Allow this address in the server's configuration, or use another.",
        _ => "Check that this machine may reach the host on port 443, and try again.",
    };
    failed("reachable", format!("{host} gave no answer: {}", error.detail), remedy)
}

fn step(name: &'static str, state: StepState, found: impl Into<String>, remedy: impl Into<String>) -> Step {
    Step { name, state, found: found.into(), remedy: remedy.into(), ms: 0 }
}
