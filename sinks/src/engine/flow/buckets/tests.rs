use super::*;
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::StdRng;

fn rate(amount: f64, per_ms: u64, operations: bool) -> Rate {
    Rate { amount, per: Duration::from_millis(per_ms), operations }
}

/// The most that was taken in any stretch of the length `per`, wherever it begins.
fn most_in(per: Micros, taken: &[(Micros, u64)]) -> u64 {
    let from = |&(start, _): &(Micros, u64)| {
        let within = taken.iter().filter(|(at, _)| (start..start + per).contains(at));
        within.map(|(_, cost)| cost).sum()
    };
    taken.iter().map(from).max().unwrap_or_default()
}

proptest! {
    #[test]
    fn no_stretch_of_time_holds_more_than_the_limits(
        per_second in 0.2..40.0_f64, operations in 5.0..400.0_f64, operations_ms in 500..20_000_u64,
        steps in prop::collection::vec((0..400_000_i64, 1..60_usize, any::<bool>()), 1..150),
    ) {
        let limits = [rate(per_second, 1_000, false), rate(operations, operations_ms, true)];
        let mut buckets = Buckets::new(&limits, None);
        let mut now = 7_000_000_000;
        let mut requests = Vec::new();
        let mut sent = Vec::new();
        for (wait, operations, eager) in steps {
            now += wait;
            let operations = operations.min(buckets.operations_max());
            let at = buckets.ready_at(now, operations);
            prop_assert!(at >= now);
            if at > now {
                prop_assert_eq!(buckets.take(at - 1, operations), Err(at), "it is the earliest time");
            }
            if eager {
                now = at;
            }
            let taken = buckets.take(now, operations);
            prop_assert_eq!(taken.is_ok(), at <= now);
            if taken.is_ok() {
                requests.push((now, 1));
                sent.push((now, operations as u64));
            }
        }
        // Less than one in a second is one in as much more.
        let (amount, per) = (per_second.max(1.0) as u64, (1e6 / per_second.min(1.0)) as Micros);
        prop_assert!(most_in(per, &requests) <= amount);
        prop_assert!(most_in(operations_ms as Micros * 1_000, &sent) <= operations as u64);
    }

    #[test]
    fn nine_tenths_of_a_limit_are_used(amount in 1.0..200.0_f64, per_ms in 100..100_000_u64) {
        let mut buckets = Buckets::new(&[rate(amount, per_ms, false)], None);
        let (mut now, mut sent) = (0, 0_u64);
        let end = per_ms as Micros * 1_000 * 20;
        loop {
            now = buckets.ready_at(now, 1);
            if now >= end {
                break;
            }
            prop_assert_eq!(buckets.take(now, 1), Ok(()));
            sent += 1;
        }
        prop_assert!(sent as f64 >= 0.9 * 20.0 * amount.floor(), "{sent} of {}", 20.0 * amount.floor());
    }

    #[test]
    fn a_freeze_is_as_long_as_asked_up_to_an_hour(seed in any::<u64>(), asked_s in 0..10_000_i64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut buckets = Buckets::new(&[], None);
        let asked = asked_s * SECOND;
        let until = buckets.freeze(asked, 0, &mut random);
        prop_assert!(until >= asked.min(HOUR) && until <= (asked + asked / 10).min(HOUR));
        prop_assert_eq!(buckets.ready_at(0, 1), until.max(0));
        prop_assert_eq!(buckets.freeze(asked / 2, 0, &mut random) >= until, true, "never shorter");
    }
}

#[test]
fn limits_hold_in_series() {
    let mut buckets = Buckets::new(&[rate(10.0, 1_000, false), rate(25.0, 86_400_000, false)], None);
    let mut now = 0;
    for _ in 0..25 {
        now = buckets.ready_at(now, 1);
        buckets.take(now, 1).expect("it is ready");
    }
    assert!(now < 4 * SECOND, "ten in a second: {now}");
    let day = 86_400 * SECOND;
    assert!(buckets.ready_at(now, 1) >= day, "twenty-five in a day");
    assert!(buckets.ready_at(now, 1) <= day + day / 10);
}

#[test]
fn the_cap_of_a_connection_counts_operations() {
    let mut buckets = Buckets::new(&[], Some(20.0));
    assert_eq!(buckets.operations_max(), 20);
    buckets.take(0, 15).expect("it is ready");
    assert_eq!(buckets.ready_at(0, 5), 0);
    assert!(buckets.ready_at(0, 6) >= SECOND);
}

#[test]
fn a_request_above_a_limit_goes_alone_and_is_paid_for() {
    let mut buckets = Buckets::new(&[rate(10.0, 1_000, true)], None);
    buckets.take(0, 1).expect("it is ready");
    let at = buckets.ready_at(0, 35);
    assert!(at >= SECOND, "not beside others");
    buckets.take(at, 35).expect("it is ready");
    assert!(buckets.ready_at(at, 1) >= at + 4 * SECOND, "thirty-five are four seconds' worth");
}

#[test]
fn rates_that_are_no_rates_stop_nothing_for_ever() {
    for amount in [0.0, -1.0, f64::NAN, 1e-30] {
        let mut buckets = Buckets::new(&[rate(amount, 1_000, false)], None);
        buckets.take(0, 1).expect("the first");
        let at = buckets.ready_at(0, 1);
        let day = 86_400 * SECOND;
        assert!((30 * day..40 * day).contains(&at), "{amount}: {at}");
    }
    let mut endless = Buckets::new(&[rate(f64::INFINITY, 1_000, true)], None);
    assert_eq!(endless.take(0, 1_000_000), Ok(()));
}

#[test]
fn refusals_that_name_no_time_wait_longer_and_longer() {
    let mut random = StdRng::seed_from_u64(5);
    let mut buckets = Buckets::new(&[], None);
    let mut now = 0;
    for wait_s in [1, 2, 4, 8, 16, 32, 60, 60] {
        let until = buckets.refused(None, now, &mut random);
        let wait = wait_s * SECOND;
        assert!((wait..=wait + wait / 10).contains(&(until - now)), "{wait_s}: {}", until - now);
        assert_eq!(buckets.refused(None, now + 1, &mut random), until, "one that was under way");
        now = until;
    }
    now += 61 * SECOND;
    assert!(buckets.refused(None, now, &mut random) - now <= 2 * SECOND, "after a calm minute from 1 s");
    let asked = buckets.refused(Some(Duration::from_secs(600)), now, &mut random);
    assert!(asked >= now + 600 * SECOND);
    assert_eq!(buckets.frozen_until(now), Some(asked));
    assert_eq!(buckets.frozen_until(asked), None);
}

#[test]
fn what_the_vendor_says_is_left_is_kept_to() {
    let left = |requests, s| Remaining { requests, renewed_in: Duration::from_secs(s) };
    let mut buckets = Buckets::new(&[], None);
    buckets.reseed(left(3, 10), 0);
    buckets.take(0, 1).expect("the first");
    buckets.reseed(left(5, 10), SECOND);
    buckets.take(SECOND, 1).expect("the second");
    buckets.take(SECOND, 1).expect("the third");
    assert_eq!(buckets.take(SECOND, 1), Err(10 * SECOND), "an older answer allows no more");
    buckets.take(10 * SECOND, 1).expect("it is renewed");
    buckets.reseed(left(0, 100_000), 11 * SECOND);
    assert_eq!(buckets.ready_at(11 * SECOND, 1), 11 * SECOND + HOUR, "believed for an hour");
}

#[test]
fn a_clock_that_stands_still_or_goes_back_allows_no_more() {
    let mut buckets = Buckets::new(&[rate(3.0, 1_000, false)], None);
    for now in [10 * SECOND, 9 * SECOND, 0] {
        buckets.take(now, 1).expect("three are allowed");
    }
    assert!(buckets.take(5 * SECOND, 1).is_err());
    assert!(buckets.ready_at(10 * SECOND, 1) <= 11 * SECOND + SECOND / 10);
}
