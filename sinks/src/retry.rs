//! When a failed request is sent again.

use rand::RngExt;
use rand::rngs::StdRng;
use std::time::Duration;

/// Delays between attempts: exponential with full jitter, so that many workers do not return in step
/// (AWS Architecture Blog, "Exponential Backoff and Jitter").
#[derive(Clone, Copy, Debug)]
pub struct Retry {
    /// No delay is shorter.
    pub delay_min: Duration,
    /// The upper bound of the first delay; it doubles with every attempt.
    pub base: Duration,
    /// The upper bound never grows beyond this.
    pub delay_max: Duration,
    /// A vendor's `Retry-After` is believed up to this.
    pub retry_after_max: Duration,
    /// The delay after a refused credential, which time alone rarely mends.
    pub hold: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            delay_min: Duration::from_millis(250),
            base: Duration::from_secs(1),
            delay_max: Duration::from_secs(300),
            retry_after_max: Duration::from_secs(3600),
            hold: Duration::from_secs(60),
        }
    }
}

impl Retry {
    /// The delay after failure number `failures` in a row, from 1, counted from the end of the attempt.
    ///
    /// `retry_after` only ever lengthens it.
    pub fn delay(&self, failures: u32, retry_after: Option<Duration>, random: &mut StdRng) -> Duration {
        let doublings = failures.saturating_sub(1).min(30);
        let bound = self.base.saturating_mul(1 << doublings).min(self.delay_max);
        let jittered = bound.mul_f64(random.random_range(0.0..=1.0)).max(self.delay_min);
        jittered.max(retry_after.unwrap_or_default().min(self.retry_after_max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::SeedableRng;

    proptest! {
        #[test]
        fn retry_after_only_ever_lengthens_a_delay_and_only_up_to_its_limit(
            seed in any::<u64>(), failures in 1..u32::MAX, asked_s in 0..100_000_u64,
        ) {
            let retry = Retry::default();
            let asked = Duration::from_secs(asked_s);
            let plain = retry.delay(failures, None, &mut StdRng::seed_from_u64(seed));
            let delay = retry.delay(failures, Some(asked), &mut StdRng::seed_from_u64(seed));
            prop_assert!(plain >= retry.delay_min && plain <= retry.delay_max);
            prop_assert_eq!(delay, plain.max(asked.min(retry.retry_after_max)));
        }
    }

    #[test]
    fn delays_grow_with_every_failure_up_to_the_limit() {
        let retry = Retry::default();
        let mut random = StdRng::seed_from_u64(7);
        let mut longest = |failures| (0..200).map(|_| retry.delay(failures, None, &mut random)).max();
        assert!(longest(1) <= Some(Duration::from_secs(1)));
        assert!(longest(4) > Some(Duration::from_secs(4)) && longest(4) <= Some(Duration::from_secs(8)));
        assert!(longest(40) > Some(Duration::from_secs(200)));
    }
}
