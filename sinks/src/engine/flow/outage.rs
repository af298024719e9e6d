//! Finds out that it is our own network that is down.

use pipeline::Micros;
use pipeline::clock::SECOND;
use pipeline::delivery::Class;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long an operation waits that failed during an outage of our own, so that the end of it is found
/// out. It uses up no attempt.
pub const OUTAGE_RETRY: Duration = Duration::from_secs(10);

/// So many hosts at once do not fail by chance.
const HOSTS: usize = 3;
/// What is older says nothing, in µs.
const WINDOW: Micros = 30 * SECOND;

/// Finds out that our own network is down: one for each node, shared by all destinations.
///
/// It is when at least 3 different hosts could not be reached within 30 s and none could. While it
/// is, a failure at network level becomes [`Class::SelfOutage`], which is held against nobody.
#[derive(Clone, Debug, Default)]
pub struct Outage {
    /// When each host could not be reached last.
    unreached: BTreeMap<Box<str>, Micros>,
    /// When any host was reached last.
    reached_at: Option<Micros>,
}

impl Outage {
    /// Hears how a request to `host` ended, `None` when it was taken, and says what it ended as:
    /// [`Class::SelfOutage`] in place of a network failure when it is our own network.
    pub fn answered(&mut self, host: &str, failure: Option<Class>, now: Micros) -> Option<Class> {
        match failure {
            Some(class) if is_network(class) => {
                self.unreached.retain(|_, at| now.saturating_sub(*at) < WINDOW);
                self.unreached.insert(host.into(), now);
                Some(if self.is_ours(now) { Class::SelfOutage } else { class })
            }
            // A request that was not sent says nothing; one that was not answered in time may have
            // got through or not.
            Some(Class::BlockedEgress | Class::SelfOutage | Class::Timeout) => failure,
            _ => {
                self.reached_at = Some(now);
                failure
            }
        }
    }

    /// Whether it is our own network that is down.
    pub fn is_ours(&self, now: Micros) -> bool {
        let recent = |at: Micros| now.saturating_sub(at) < WINDOW;
        !self.reached_at.is_some_and(recent)
            && self.unreached.values().filter(|at| recent(**at)).count() >= HOSTS
    }
}

fn is_network(class: Class) -> bool {
    use Class::*;
    matches!(class, NetworkDns | NetworkConnect | NetworkTls | NetworkReset)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DNS: Option<Class> = Some(Class::NetworkDns);

    #[test]
    fn three_unreachable_hosts_are_our_own_outage() {
        let mut outage = Outage::default();
        assert_eq!(outage.answered("a", DNS, 0), DNS);
        assert_eq!(outage.answered("b", DNS, SECOND), DNS);
        assert_eq!(outage.answered("a", DNS, 2 * SECOND), DNS, "the same host again is no third one");
        assert!(!outage.is_ours(2 * SECOND));
        assert_eq!(outage.answered("c", DNS, 3 * SECOND), Some(Class::SelfOutage));
        assert!(outage.is_ours(3 * SECOND));
        assert_eq!(outage.answered("a", Some(Class::Validation), 4 * SECOND), Some(Class::Validation));
        assert!(!outage.is_ours(4 * SECOND), "a host that refuses an event was reached");
    }

    #[test]
    fn a_host_that_was_reached_within_the_window_rules_an_outage_out() {
        let mut outage = Outage::default();
        outage.answered("fine", None, 0);
        for (second, host) in [(10, "a"), (11, "b"), (29, "c")] {
            assert_eq!(outage.answered(host, DNS, second * SECOND), DNS);
        }
        assert_eq!(outage.answered("d", DNS, 30 * SECOND), Some(Class::SelfOutage));
    }

    #[test]
    fn hosts_that_fail_far_apart_are_no_outage() {
        let mut outage = Outage::default();
        for second in 0..100 {
            let host = second.to_string();
            assert_eq!(outage.answered(&host, DNS, second * 15 * SECOND), DNS, "at most two in any 30 s");
        }
        assert!(outage.unreached.len() <= 2, "hosts are forgotten");
    }

    #[test]
    fn only_what_fails_at_network_level_speaks_for_an_outage() {
        for class in Class::ALL {
            let mut outage = Outage::default();
            for host in ["a", "b"] {
                outage.answered(host, DNS, 0);
            }
            let ended = outage.answered("c", Some(class), 0);
            let network = class.as_str().starts_with("network_");
            assert_eq!(ended == Some(Class::SelfOutage), network || class == Class::SelfOutage, "{class:?}");
        }
    }
}
