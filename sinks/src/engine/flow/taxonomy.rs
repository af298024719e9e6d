//! What is done about each class of failure.

use pipeline::delivery::Class;

/// What is done about a class of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Treatment {
    /// What the lane does.
    pub action: Action,
    /// Whether it uses up one of the attempts of the operations.
    pub counts_as_attempt: bool,
    /// Whether it speaks against the destination's health, so that enough of them open the breaker.
    pub trips_breaker: bool,
    /// Whether the vendor may have taken the operations although the attempt failed.
    pub maybe_taken: bool,
}

/// What the lane does about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It renews the credential once and repeats the request at once.
    Renew,
    /// It holds the destination until a person has acted.
    Hold,
    /// It gives the operation up, and holds the destination once several operations met the same.
    HoldIfRepeated,
    /// It sends nothing until the vendor allows more.
    Freeze,
    /// It gives the operation up. A request of several is halved first, where nobody knows which one
    /// was meant.
    GiveUp,
    /// It counts the operation as delivered.
    Deliver,
    /// It sends the operation again later.
    Retry,
}

/// What is done about this class.
pub const fn treatment(class: Class) -> Treatment {
    use Action::*;
    //  class                        action          attempt breaker maybe taken
    let (action, counts_as_attempt, trips_breaker, maybe_taken) = match class {
        Class::AuthExpired => (Renew, false, false, false),
        Class::AuthRevoked => (Hold, false, false, false),
        Class::Permission => (HoldIfRepeated, true, false, false),
        Class::RateLimited => (Freeze, false, false, false),
        Class::Quota => (Freeze, false, false, false),
        Class::Validation => (GiveUp, true, false, false),
        Class::TooLarge => (GiveUp, true, false, false),
        Class::NotFound => (GiveUp, true, false, false),
        Class::Gone => (Hold, true, false, false),
        Class::ConflictDuplicate => (Deliver, true, false, true),
        Class::Transient => (Retry, true, true, true),
        Class::Timeout => (Retry, true, true, true),
        Class::NetworkDns => (Retry, true, true, false),
        Class::NetworkConnect => (Retry, true, true, false),
        Class::NetworkTls => (Retry, true, true, false),
        Class::NetworkReset => (Retry, true, true, true),
        Class::SelfOutage => (Retry, false, false, false),
        Class::BlockedEgress => (GiveUp, true, false, false),
        Class::Unknown => (Retry, true, true, true),
    };
    Treatment { action, counts_as_attempt, trips_breaker, maybe_taken }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn those(holds: impl Fn(Treatment) -> bool) -> Vec<&'static str> {
        Class::ALL.into_iter().filter(|class| holds(treatment(*class))).map(Class::as_str).collect()
    }

    #[test]
    fn waiting_for_others_uses_up_no_attempt() {
        assert_eq!(
            those(|treatment| !treatment.counts_as_attempt),
            ["auth_expired", "auth_revoked", "rate_limited", "quota", "self_outage"]
        );
    }

    #[test]
    fn only_a_sick_destination_opens_its_breaker() {
        assert_eq!(
            those(|treatment| treatment.trips_breaker),
            [
                "transient",
                "timeout",
                "network_dns",
                "network_connect",
                "network_tls",
                "network_reset",
                "unknown"
            ]
        );
    }

    #[test]
    fn only_what_never_succeeds_is_given_up_at_once() {
        assert_eq!(
            those(|treatment| treatment.action == Action::GiveUp),
            ["validation", "too_large", "not_found", "blocked_egress"]
        );
        assert_eq!(those(|treatment| treatment.action == Action::HoldIfRepeated), ["permission"]);
    }

    #[test]
    fn a_person_is_asked_only_where_time_does_not_help() {
        assert_eq!(those(|treatment| treatment.action == Action::Hold), ["auth_revoked", "gone"]);
    }

    #[test]
    fn a_request_that_never_arrived_was_not_taken() {
        assert_eq!(
            those(|treatment| treatment.maybe_taken),
            ["conflict_duplicate", "transient", "timeout", "network_reset", "unknown"]
        );
    }
}
