use super::*;
use crate::engine::Scope;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

const PROFILES: [RetryProfile; 4] =
    [RetryProfile::Stream, RetryProfile::Webhook, RetryProfile::Notify, RetryProfile::Few(3)];

fn failure(class: Class, retry_after: Option<Duration>) -> Failure {
    Failure {
        class,
        scope: Scope::Item,
        retry_after,
        status: None,
        vendor_code: None,
        detail: String::new(),
        remedy: String::new(),
    }
}

fn next(profile: RetryProfile, attempt: u32, sendable_s: u64, class: Class) -> Next {
    let mut random = StdRng::seed_from_u64(u64::from(attempt));
    Schedule::new(profile).next(attempt, sendable_s * 1_000_000, &failure(class, None), &mut random)
}

/// The attempts from the first on, each as long as its delay after the one before, and the end.
fn run(profile: RetryProfile, class: Class, seed: u64) -> (Vec<Duration>, GiveUp) {
    let schedule = Schedule::new(profile);
    let mut random = StdRng::seed_from_u64(seed);
    let mut delays = Vec::new();
    let mut tried = Duration::ZERO;
    loop {
        let attempt = delays.len() as u32 + 1;
        let tried_us = u64::try_from(tried.as_micros()).unwrap();
        match schedule.next(attempt, tried_us, &failure(class, None), &mut random) {
            Next::GiveUp(reason) => return (delays, reason),
            Next::At(delay) => {
                tried += delay;
                delays.push(delay);
                assert!(delays.len() < 10_000, "{profile:?} is tried for ever, seed {seed}");
            }
        }
    }
}

proptest! {
    #[test]
    fn retry_after_only_ever_lengthens_a_delay_and_only_up_to_its_limit(
        seed in any::<u64>(), profile in 0..4_usize, attempt in 1..10_u32, asked_s in 0..200_000_u64,
    ) {
        let schedule = Schedule::new(PROFILES[profile]);
        let asked = Duration::from_secs(asked_s);
        // A class that uses up no attempt, so that nothing is given up.
        let after = |retry_after| {
            let failure = failure(Class::RateLimited, retry_after);
            schedule.next(attempt, 0, &failure, &mut StdRng::seed_from_u64(seed))
        };
        let most = Duration::from_secs(if PROFILES[profile] == RetryProfile::Webhook { 36_000 } else { 3_600 });
        match (after(None), after(Some(asked))) {
            (Next::At(plain), Next::At(delay)) => prop_assert_eq!(delay, plain.max(asked.min(most))),
            (_, given_up) => {
                prop_assert_eq!(PROFILES[profile], RetryProfile::Notify);
                prop_assert_eq!(given_up, Next::GiveUp(GiveUp::Stale));
            }
        }
    }

    #[test]
    fn a_stream_is_tried_for_four_hours_with_growing_delays(seed in any::<u64>()) {
        let (delays, reason) = run(RetryProfile::Stream, Class::Transient, seed);
        prop_assert_eq!(reason, GiveUp::Window);
        for (index, delay) in delays.iter().enumerate() {
            let bound = Duration::from_secs(1 << index.min(20)).min(Duration::from_secs(300));
            prop_assert!(*delay >= Duration::from_millis(250) && *delay <= bound, "{index}: {delay:?}");
        }
        let tried: Duration = delays.iter().sum();
        let window = Duration::from_secs(4 * 3_600);
        prop_assert!(tried >= window && tried <= window + Duration::from_secs(300), "{tried:?}");
        let first: Duration = delays[..3].iter().sum();
        prop_assert!(first <= Duration::from_secs(10), "a person is not held up long: {first:?}");
    }

    #[test]
    fn a_webhook_is_tried_ten_times_and_never_early(seed in any::<u64>()) {
        let (delays, reason) = run(RetryProfile::Webhook, Class::NetworkDns, seed);
        prop_assert_eq!(reason, GiveUp::Attempts);
        let least = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].map(Duration::from_secs);
        prop_assert_eq!(delays.len(), least.len());
        for (delay, least) in delays.into_iter().zip(least) {
            prop_assert!(delay >= least && delay <= least.mul_f64(1.1), "{delay:?} after {least:?}");
        }
    }

    #[test]
    fn a_notification_has_five_attempts_within_fifteen_minutes(seed in any::<u64>()) {
        let (delays, reason) = run(RetryProfile::Notify, Class::Transient, seed);
        prop_assert_eq!((delays.len(), reason), (4, GiveUp::Attempts));
        prop_assert!(delays.iter().sum::<Duration>() <= Duration::from_secs(900));
    }
}

#[test]
fn jitter_spreads_over_the_whole_bound() {
    let delays: Vec<_> =
        (0..200).map(|seed| run(RetryProfile::Stream, Class::Transient, seed).0[3]).collect();
    assert!(delays.iter().any(|delay| *delay < Duration::from_secs(1)), "some early");
    assert!(delays.iter().any(|delay| *delay > Duration::from_secs(7)), "some late");
}

#[test]
fn what_will_never_be_taken_is_given_up_at_the_first_attempt() {
    for profile in PROFILES {
        for class in Class::ALL {
            let refused = matches!(next(profile, 1, 0, class), Next::GiveUp(_));
            let never = [
                Class::Validation,
                Class::TooLarge,
                Class::NotFound,
                Class::BlockedEgress,
                Class::Permission,
            ];
            assert_eq!(refused, never.contains(&class), "{profile:?} {class:?}");
        }
    }
}

#[test]
fn what_waits_for_somebody_is_due_when_the_wait_is_over() {
    for class in [Class::AuthExpired, Class::AuthRevoked, Class::Gone] {
        assert_eq!(next(RetryProfile::Stream, 90, 1_000_000, class), Next::At(Duration::ZERO), "{class:?}");
    }
}

#[test]
fn waiting_for_a_vendor_or_for_our_network_gives_nothing_up() {
    for profile in [RetryProfile::Stream, RetryProfile::Webhook, RetryProfile::Few(1)] {
        for class in [Class::RateLimited, Class::Quota, Class::SelfOutage] {
            let next = next(profile, 1_000, 1_000_000, class);
            assert!(matches!(next, Next::At(delay) if delay > Duration::ZERO), "{profile:?} {class:?}");
        }
    }
}

#[test]
fn an_unexpected_answer_is_asked_for_five_times() {
    for profile in [RetryProfile::Stream, RetryProfile::Webhook, RetryProfile::Notify, RetryProfile::Few(9)] {
        assert!(matches!(next(profile, 4, 0, Class::Unknown), Next::At(_)), "{profile:?}");
        assert_eq!(next(profile, 5, 0, Class::Unknown), Next::GiveUp(GiveUp::Attempts), "{profile:?}");
    }
}

#[test]
fn what_must_not_happen_twice_is_repeated_only_a_few_times() {
    let few = RetryProfile::Few(2);
    for class in [Class::Timeout, Class::NetworkReset, Class::Transient] {
        assert!(matches!(next(few, 1, 0, class), Next::At(_)), "{class:?}");
        assert_eq!(next(few, 2, 0, class), Next::GiveUp(GiveUp::MaybeTaken), "{class:?}");
    }
    // A request that never arrived may be repeated for as long as any other.
    assert!(matches!(next(few, 50, 0, Class::NetworkConnect), Next::At(_)));
    assert_eq!(next(few, 50, 14_400, Class::NetworkConnect), Next::GiveUp(GiveUp::Window));
}

#[test]
fn a_notification_that_would_come_too_late_is_not_sent() {
    let late = failure(Class::RateLimited, Some(Duration::from_secs(901)));
    let mut random = StdRng::seed_from_u64(1);
    let next = Schedule::new(RetryProfile::Notify).next(1, 0, &late, &mut random);
    assert_eq!(next, Next::GiveUp(GiveUp::Stale));
}
