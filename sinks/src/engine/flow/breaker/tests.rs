use super::*;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

const DOWN: Option<Class> = Some(Class::Transient);

struct Destination {
    breaker: Breaker,
    random: StdRng,
    now: Micros,
}

impl Destination {
    fn new(seed: u64) -> Self {
        Self { breaker: Breaker::new(), random: StdRng::seed_from_u64(seed), now: 0 }
    }

    fn request(&mut self, ends: Option<Class>) {
        let pass = self.breaker.ask(self.now).expect("a pass");
        self.breaker.answered(pass, ends, self.now, &mut self.random);
    }

    fn probe_at(&self) -> Micros {
        match self.breaker.state() {
            BreakerState::Open { probe_at, .. } => probe_at,
            state => panic!("the breaker is not open: {state:?}"),
        }
    }

    fn is_closed(&self) -> bool {
        self.breaker.state() == BreakerState::Closed
    }
}

#[test]
fn ten_failures_in_a_row_open_it() {
    let mut destination = Destination::new(1);
    for failures in 1..10 {
        destination.request(DOWN);
        destination.now += 3_600 * SECOND;
        assert!(destination.is_closed(), "after {failures}");
    }
    destination.request(DOWN);
    let BreakerState::Open { trip, probe_at } = destination.breaker.state() else { panic!("not open") };
    assert_eq!(trip.to_string(), "10 requests in a row failed, the last one with `transient`");
    assert_eq!(destination.breaker.ask(destination.now), Err(probe_at));
    assert_eq!(destination.breaker.ready_at(destination.now), probe_at);
}

#[test]
fn half_of_twenty_requests_open_it() {
    let mut destination = Destination::new(1);
    for pair in 1..=10 {
        assert!(destination.is_closed(), "before pair {pair}");
        destination.request(None);
        destination.now += SECOND;
        destination.request(Some(Class::Timeout));
    }
    let BreakerState::Open { trip, .. } = destination.breaker.state() else { panic!("not open") };
    assert_eq!(trip.to_string(), "10 of 20 requests in 30 s failed, the last one with `timeout`");
}

#[test]
fn only_failures_of_the_destination_open_it() {
    for class in Class::ALL {
        let mut destination = Destination::new(1);
        for _ in 0..1_000 {
            if destination.is_closed() {
                destination.request(Some(class));
            }
        }
        assert_eq!(destination.is_closed(), !treatment(class).trips_breaker, "{class:?}");
    }
}

#[test]
fn pauses_double_up_to_five_minutes_and_a_good_probe_ends_them() {
    for seed in 0..50 {
        let mut destination = Destination::new(seed);
        (0..10).for_each(|_| destination.request(DOWN));
        for pause_s in [15, 30, 60, 120, 240, 300, 300, 300] {
            let pause = destination.probe_at() - destination.now;
            let longest = pause_s * SECOND;
            assert!(pause <= longest && pause * 4 >= longest * 3, "seed {seed}: {pause} of {longest}");
            destination.now = destination.probe_at();
            destination.request(DOWN);
        }
        destination.now = destination.probe_at();
        destination.request(None);
        assert!(destination.is_closed(), "seed {seed}");
        (0..10).for_each(|_| destination.request(DOWN));
        assert!(destination.probe_at() - destination.now <= 15 * SECOND, "seed {seed}: from the beginning");
    }
}

#[test]
fn one_probe_is_under_way_at_a_time() {
    let mut destination = Destination::new(1);
    (0..10).for_each(|_| destination.request(DOWN));
    destination.now = destination.probe_at();
    let probe = destination.breaker.ask(destination.now).expect("a probe");
    assert!(probe.is_probe());
    assert!(matches!(destination.breaker.state(), BreakerState::HalfOpen { .. }));
    assert!(destination.breaker.ask(destination.now + 59 * SECOND).is_err());
    let second = destination.breaker.ask(destination.now + 60 * SECOND).expect("the first one was lost");
    destination.breaker.answered(probe, None, destination.now, &mut destination.random);
    assert!(!destination.is_closed(), "the lost probe decides nothing");
    destination.breaker.answered(second, Some(Class::Validation), destination.now, &mut destination.random);
    assert!(destination.is_closed(), "a destination that refuses an event is there");
}

#[test]
fn a_probe_that_is_not_sent_leaves_its_place() {
    let mut destination = Destination::new(1);
    (0..10).for_each(|_| destination.request(DOWN));
    destination.now = destination.probe_at();
    let probe = destination.breaker.ask(destination.now).expect("a probe");
    destination.breaker.unused(probe, destination.now);
    let probe = destination.breaker.ask(destination.now).expect("another probe");
    let ours = Some(Class::SelfOutage);
    destination.breaker.answered(probe, ours, destination.now, &mut destination.random);
    assert_eq!(destination.probe_at(), destination.now + 15 * SECOND, "our own outage decides nothing");
}

#[test]
fn requests_from_before_it_opened_decide_nothing() {
    let mut destination = Destination::new(1);
    let before: Vec<_> = (0..30).map(|_| destination.breaker.ask(0).expect("a pass")).collect();
    (0..10).for_each(|_| destination.request(DOWN));
    let open = destination.breaker.state();
    for pass in &before[..10] {
        destination.breaker.answered(*pass, None, 1, &mut destination.random);
        destination.breaker.answered(*pass, DOWN, 1, &mut destination.random);
    }
    assert_eq!(destination.breaker.state(), open);
    destination.now = destination.probe_at();
    let probe = destination.breaker.ask(destination.now).expect("a probe");
    for pass in &before[10..] {
        destination.breaker.answered(*pass, DOWN, destination.now, &mut destination.random);
    }
    destination.breaker.answered(probe, None, destination.now, &mut destination.random);
    for pass in before {
        destination.breaker.answered(pass, DOWN, destination.now, &mut destination.random);
    }
    assert!(destination.is_closed());
}

proptest! {
    /// Against a list of all requests, which says plainly what is promised.
    #[test]
    fn it_opens_exactly_when_it_should(
        seed in any::<u64>(), share in 0..100_u32,
        steps in prop::collection::vec((0..4_000_000_i64, 0..100_u32), 1..200),
    ) {
        let mut destination = Destination::new(seed);
        let mut requests: Vec<(i64, bool)> = Vec::new();
        for (wait, dice) in steps {
            destination.now += wait;
            let failed = dice < share;
            requests.push((destination.now / SECOND, failed));
            destination.request(failed.then_some(Class::NetworkReset));
            let in_a_row = requests.iter().rev().take_while(|(_, failed)| *failed).count();
            let second = destination.now / SECOND;
            let recent: Vec<_> = requests.iter().filter(|(at, _)| second - at < 30).collect();
            let failures = recent.iter().filter(|(_, failed)| *failed).count();
            let opens = failed && (in_a_row >= 10 || (recent.len() >= 20 && failures * 2 >= recent.len()));
            prop_assert_eq!(!destination.is_closed(), opens);
            if opens {
                let BreakerState::Open { trip, .. } = destination.breaker.state() else { unreachable!() };
                prop_assert_eq!(trip.requests, recent.len() as u64);
                prop_assert_eq!(trip.failures, failures as u64);
                return Ok(());
            }
        }
    }
}
