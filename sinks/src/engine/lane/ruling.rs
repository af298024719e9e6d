//! What is done about a failure, given what it says something about.

use crate::engine::flow::{Action, treatment};
use crate::engine::sink::{Failure, Scope};

/// What a lane does about an operation that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ruling {
    /// The vendor has it: it counts as delivered.
    Delivered,
    /// Sent again later. Counts as an attempt.
    Retry,
    /// Sent again in a smaller request, at once.
    Halve,
    /// Given up.
    Dead,
    /// Sent again as it is once the vendor takes requests again; no attempt is used up.
    Freeze,
    /// Sent again as it is with a new credential.
    Renew,
    /// Nothing is sent until a person has done something.
    Hold,
}

/// What is done about a failure in a request of so many operations.
///
/// A failure that says that every event would fare the same gives no event up: the lane is held.
pub(super) fn ruling(failure: &Failure, operations: usize) -> Ruling {
    let lasting = match failure.scope {
        Scope::Destination => Ruling::Hold,
        Scope::Batch if operations > 1 => Ruling::Halve,
        Scope::Batch | Scope::Item => Ruling::Dead,
    };
    let treatment = treatment(failure.class);
    match treatment.action {
        Action::Deliver => Ruling::Delivered,
        Action::Renew => Ruling::Renew,
        Action::Hold => Ruling::Hold,
        Action::Freeze => Ruling::Freeze,
        Action::Retry if treatment.counts_as_attempt => Ruling::Retry,
        Action::Retry => Ruling::Freeze,
        Action::GiveUp | Action::HoldIfRepeated => lasting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::delivery::Class;

    fn of(class: Class, scope: Scope, operations: usize) -> Ruling {
        let failure = Failure {
            class,
            scope,
            retry_after: None,
            status: None,
            vendor_code: None,
            detail: String::new(),
            remedy: String::new(),
        };
        ruling(&failure, operations)
    }

    #[test]
    fn a_refused_request_is_halved_until_one_operation_is_refused_by_itself() {
        assert_eq!(of(Class::Validation, Scope::Batch, 2), Ruling::Halve);
        assert_eq!(of(Class::TooLarge, Scope::Batch, 1), Ruling::Dead);
        assert_eq!(of(Class::Validation, Scope::Item, 9), Ruling::Dead);
    }

    #[test]
    fn what_every_event_would_meet_gives_no_event_up() {
        for class in Class::ALL {
            assert_ne!(of(class, Scope::Destination, 1), Ruling::Dead, "{class:?}");
        }
    }

    #[test]
    fn waiting_for_the_vendor_uses_up_no_attempt() {
        for class in [Class::RateLimited, Class::Quota, Class::SelfOutage] {
            for scope in [Scope::Item, Scope::Batch, Scope::Destination] {
                assert_eq!(of(class, scope, 1), Ruling::Freeze);
            }
        }
    }
}
