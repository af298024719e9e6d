use super::*;
use crate::engine::Scope;
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Rounds of as many requests as are allowed, all answered at once. `vendor` says how long the round
/// takes, in µs, and how many of so many requests it refuses. The limits after each round.
fn rounds(seed: u64, most: usize, count: usize, vendor: impl Fn(usize) -> (f64, usize)) -> Vec<usize> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut concurrency = Concurrency::adaptive(most);
    let mut now = 0;
    (0..count)
        .map(|_| {
            let requests = concurrency.limit();
            let (time, refused) = vendor(requests);
            let time = (time * random.random_range(0.98..1.02)) as u64;
            now += time as Micros;
            for request in 0..requests {
                let signal = if request < refused { Signal::PushedBack } else { Signal::Taken };
                concurrency.answered(signal, time, requests - request, now);
            }
            concurrency.limit()
        })
        .collect()
}

fn mean(limits: &[usize]) -> f64 {
    limits.iter().sum::<usize>() as f64 / limits.len() as f64
}

#[test]
fn it_grows_to_the_maximum_where_the_vendor_keeps_up() {
    for seed in 0..20 {
        let limits = rounds(seed, 50, 200, |_| (100_000.0, 0));
        assert!(mean(&limits[150..]) > 40.0, "seed {seed}: {limits:?}");
    }
}

#[test]
fn it_stays_near_what_a_vendor_takes_without_refusing() {
    for seed in 0..20 {
        let limits = rounds(seed, 200, 300, |requests| (100_000.0, requests.saturating_sub(20)));
        let mean = mean(&limits[100..]);
        assert!((10.0..=20.0).contains(&mean), "seed {seed}: {mean}");
        assert!(limits.iter().all(|limit| *limit <= 21), "seed {seed}: it backs off at the first refusal");
    }
}

#[test]
fn it_backs_off_where_a_vendor_gets_slow() {
    for seed in 0..20 {
        let slow = |requests| if requests > 20 { 500_000.0 } else { 100_000.0 };
        let limits = rounds(seed, 200, 300, |requests| (slow(requests), 0));
        let mean = mean(&limits[100..]);
        assert!((12.0..=24.0).contains(&mean), "seed {seed}: {mean}: {limits:?}");
    }
}

#[test]
fn it_does_not_grow_beyond_what_is_used() {
    let mut concurrency = Concurrency::adaptive(100);
    for now in 0..1_000 {
        concurrency.answered(Signal::Taken, 1_000, 1, now * 10_000);
    }
    assert_eq!(concurrency.limit(), 2);
}

#[test]
fn many_answers_to_one_mistake_count_once() {
    let mut concurrency = Concurrency::adaptive(100);
    for now in 1..=40 {
        concurrency.answered(Signal::Taken, 10_000, 100, now * 10_000);
    }
    let before = concurrency.limit();
    assert_eq!(before, 42);
    for at in 0..30 {
        concurrency.answered(Signal::PushedBack, 10_000, 100, 410_000 + at);
    }
    assert_eq!(concurrency.limit(), before / 2);
    concurrency.answered(Signal::TimedOut, 30_000_000, 100, 500_000);
    assert_eq!(concurrency.limit(), 18, "a tenth of 21 less");
}

#[test]
fn a_fixed_limit_stays() {
    let mut concurrency = Concurrency::fixed(7);
    for now in 0..100 {
        concurrency.answered(Signal::PushedBack, 1_000, 7, now * 1_000_000);
        assert_eq!(concurrency.limit(), 7);
    }
}

#[test]
fn a_failure_says_what_it_says_about_load() {
    let failure = |class, status| Failure {
        class,
        scope: Scope::Batch,
        retry_after: None,
        status,
        vendor_code: None,
        detail: String::new(),
        remedy: String::new(),
    };
    for (class, status, signal) in [
        (Class::RateLimited, None, Signal::PushedBack),
        (Class::Transient, Some(503), Signal::PushedBack),
        (Class::Quota, Some(429), Signal::PushedBack),
        (Class::Timeout, None, Signal::TimedOut),
        (Class::Transient, Some(500), Signal::Other),
        (Class::Validation, Some(400), Signal::Other),
        (Class::NetworkDns, None, Signal::Other),
    ] {
        assert_eq!(Signal::of(Some(&failure(class, status))), signal, "{class:?} {status:?}");
    }
    assert_eq!(Signal::of(None), Signal::Taken);
}

proptest! {
    #[test]
    fn it_stays_between_one_and_the_maximum(
        most in 0..300_usize,
        answers in prop::collection::vec((0..4_usize, any::<u64>(), 0..400_usize, -1_000..10_000_000_i64), 1..300),
    ) {
        let signals = [Signal::Taken, Signal::TimedOut, Signal::PushedBack, Signal::Other];
        let mut concurrency = Concurrency::adaptive(most);
        let mut now = 0;
        for (signal, time, under_way, wait) in answers {
            now += wait;
            concurrency.answered(signals[signal], time, under_way, now);
            prop_assert!((1..=most.max(1)).contains(&concurrency.limit()), "{}", concurrency.limit());
        }
    }
}
