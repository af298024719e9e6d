//! How much may come in each second: events of one source, requests of one address.
//!
//! What is over the limit is refused whole with 429 and the seconds after which it fits; a request
//! that was begun is never cut. So a batch larger than the limit passes, and what it took too much
//! is made up for by waiting: the generic cell rate algorithm (ITU-T I.371) with its bucket allowed
//! to go below zero.

use crate::answer::Fault;
use actix_web::http::StatusCode;
use pipeline::Micros;
use pipeline::clock::SECOND;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Keys that are remembered at once, at less than 100 bytes each. Beyond it, new ones are not limited
/// until older ones have been quiet: a flood of addresses must not refuse everybody else.
const KEYS_MAX: usize = 100_000;

/// Memory is looked through for quiet keys this often at most.
const SWEEP: Micros = SECOND;

/// The two limits of the tracking API.
pub(crate) struct Rates {
    source: Rate<Arc<str>>,
    address: Rate<IpAddr>,
}

impl Rates {
    /// Limits by events per second for each source and requests per second for each address; 0 is none.
    pub(crate) fn new(source_events: u64, address_requests: u64) -> Self {
        Self { source: Rate::new(source_events), address: Rate::new(address_requests) }
    }

    /// Counts a request of this address. IPv6 addresses count by their network of 64 bits, which is
    /// what one customer has.
    pub(crate) fn take_request(&self, ip: Option<IpAddr>, now: Micros) -> Result<(), Fault> {
        let Some(ip) = ip else { return Ok(()) };
        self.address.take(&network(ip), 1, now).map_err(|wait| {
            metrics::counter!("flowstate_ingest_rate_limited_total", "by" => "address").increment(1);
            limited(format!("there are too many requests from {ip}"), wait)
        })
    }

    /// Whether this source may send more, without counting anything.
    pub(crate) fn check_source(&self, source: &str, now: Micros) -> Result<(), Fault> {
        if self.source.unit_ns == 0 {
            return Ok(());
        }
        self.take_events(&source.into(), 0, now)
    }

    /// Counts events of this source.
    pub(crate) fn take_events(&self, source: &Arc<str>, events: usize, now: Micros) -> Result<(), Fault> {
        self.source.take(source, events, now).map_err(|wait| {
            metrics::counter!("flowstate_ingest_rate_limited_total", "by" => "source").increment(1);
            limited(format!("the source `{source}` sends too many events"), wait)
        })
    }
}

fn limited(what: String, wait: Micros) -> Fault {
    let seconds = u64::try_from(wait).unwrap_or(0).div_ceil(SECOND as u64).max(1);
    let message = format!("{what}; nothing of the request was kept, send it again in {seconds} s");
    let fault = Fault::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message);
    Fault { retry_after_s: Some(seconds), ..fault }
}

fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) >> 64 << 64).into(),
        ip => ip,
    }
}

/// One limit over many keys.
struct Rate<K> {
    /// Nanoseconds that one unit takes; 0 is no limit.
    unit_ns: u64,
    keys: Mutex<Keys<K>>,
}

struct Keys<K> {
    /// When all that a key has sent will have taken its time.
    busy_until: HashMap<K, Micros>,
    swept: Micros,
}

impl<K: Hash + Eq + Clone> Rate<K> {
    fn new(per_second: u64) -> Self {
        let unit_ns = 1_000_000_000_u64.checked_div(per_second).map_or(0, |ns| ns.max(1));
        Self { unit_ns, keys: Mutex::new(Keys { busy_until: HashMap::new(), swept: Micros::MIN }) }
    }

    /// Takes `units`, unless the key is a second or more ahead of its rate: then nothing is taken, and
    /// the error is the time to wait.
    fn take(&self, key: &K, units: usize, now: Micros) -> Result<(), Micros> {
        if self.unit_ns == 0 {
            return Ok(());
        }
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let cost = (units as u64).saturating_mul(self.unit_ns) / 1_000;
        let cost = Micros::try_from(cost).unwrap_or(Micros::MAX);
        if let Some(busy_until) = keys.busy_until.get_mut(key) {
            // A clock that was set back must not lock anybody out.
            let ahead = busy_until.saturating_sub(now);
            if ahead >= SECOND {
                return Err(ahead - SECOND + 1);
            }
            *busy_until = (*busy_until).max(now).saturating_add(cost);
            return Ok(());
        }
        if units > 0 && keys.has_room(now) {
            keys.busy_until.insert(key.clone(), now.saturating_add(cost));
        }
        Ok(())
    }
}

impl<K: Hash + Eq> Keys<K> {
    fn has_room(&mut self, now: Micros) -> bool {
        if self.busy_until.len() >= KEYS_MAX && now.saturating_sub(self.swept) >= SWEEP {
            self.swept = now;
            self.busy_until.retain(|_, busy_until| *busy_until > now);
        }
        self.busy_until.len() < KEYS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_key_gets_its_rate_and_one_second_of_burst() {
        let rate = Rate::new(10);
        let sent = |from: Micros| (0..100).take_while(|_| rate.take(&"a", 1, from).is_ok()).count();
        assert_eq!(sent(0), 10, "one second's worth at once");
        assert_eq!(rate.take(&"b", 1, 0), Ok(()), "another key is not held up");
        assert_eq!(sent(SECOND / 2), 5, "then as much as time has passed");
        assert_eq!(rate.take(&"a", 1, SECOND / 2), Err(1));
        assert_eq!(sent(100 * SECOND), 10, "rest is not saved up beyond the burst");
    }

    #[test]
    fn a_large_batch_passes_and_is_waited_for() {
        let rate = Rate::new(100);
        assert_eq!(rate.take(&"a", 2_500, 0), Ok(()));
        assert_eq!(rate.take(&"a", 1, 0), Err(24 * SECOND + 1));
        assert!(rate.take(&"a", 1, 24 * SECOND).is_err());
        assert_eq!(rate.take(&"a", 1, 24 * SECOND + 1), Ok(()));
    }

    #[test]
    fn without_a_limit_nothing_is_remembered() {
        let rate = Rate::new(0);
        assert!((0..1_000).all(|_| rate.take(&"a", 1_000_000, 0).is_ok()));
        assert!(rate.keys.lock().unwrap().busy_until.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_quiet_keys_make_room() {
        let rate = Rate::new(1);
        for key in 0..KEYS_MAX + 10 {
            assert_eq!(rate.take(&key, 1, 0), Ok(()));
        }
        assert_eq!(rate.keys.lock().unwrap().busy_until.len(), KEYS_MAX);
        assert_eq!(rate.take(&usize::MAX, 1, 2 * SECOND), Ok(()));
        assert_eq!(rate.keys.lock().unwrap().busy_until.len(), 1);
    }

    #[test]
    fn addresses_of_one_network_count_together() {
        let rates = Rates::new(0, 1);
        let take = |ip: &str| rates.take_request(Some(ip.parse().unwrap()), 0).is_ok();
        assert!(take("2001:db8::1") && !take("2001:db8::2") && take("2001:db8:0:1::1"));
        assert!(take("198.51.100.7") && !take("::ffff:198.51.100.7") && take("198.51.100.8"));
    }

    proptest! {
        #[test]
        fn over_any_time_no_more_passes_than_the_rate_and_the_burst(
            per_second in 1_u64..2_000,
            calls in prop::collection::vec((0_i64..400_000, 1_usize..40), 1..200),
        ) {
            let rate = Rate::new(per_second);
            let (mut now, mut taken, mut largest) = (0, 0, 0);
            for (passed, units) in calls {
                now += passed;
                if rate.take(&(), units, now).is_ok() {
                    taken += units;
                    largest = largest.max(units);
                }
            }
            // Units are whole microseconds at least, which rounds in the client's favour.
            let allowed = per_second as f64 * (now as f64 / 1e6 + 1.0) * 1.02;
            prop_assert!(taken as f64 <= allowed + largest as f64 + 1.0, "{taken} of {allowed}");
        }
    }
}
