//! The time that a lane lives by.

use crate::engine::ports::Time;
use pipeline::Micros;
use pipeline::clock::HOUR;
use std::sync::Arc;

/// A clock that runs evenly whatever happens to the time of day.
///
/// It begins with the time of day and runs with the time that has passed. When the time of day has
/// been set, it follows by a hundredth of the time that passes, so that no wait is cut short or
/// drawn out; an error of more than two hours was no time at all, and is put right at once.
pub(super) struct LaneClock {
    time: Arc<dyn Time>,
    now: Micros,
    elapsed: Micros,
}

const STEP: Micros = 2 * HOUR;

impl LaneClock {
    pub(super) fn new(time: Arc<dyn Time>) -> Self {
        let (now, elapsed) = (time.now(), time.elapsed());
        Self { time, now, elapsed }
    }

    pub(super) fn now(&mut self) -> Micros {
        let elapsed = self.time.elapsed();
        let passed = (elapsed - self.elapsed).max(0);
        self.elapsed = elapsed;
        self.now += passed;
        let error = self.time.now().saturating_sub(self.now);
        self.now += if error.abs() > STEP { error } else { error.clamp(-passed / 100, passed / 100) };
        self.now
    }

    /// The time since some moment before, by which all lanes of a destination go.
    pub(super) fn elapsed(&self) -> Micros {
        self.time.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::BoxFuture;
    use pipeline::clock::SECOND;
    use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
    use std::time::Duration;

    struct Given {
        now: AtomicI64,
        elapsed: AtomicI64,
    }

    impl Time for Given {
        fn now(&self) -> Micros {
            self.now.load(SeqCst)
        }

        fn elapsed(&self) -> Micros {
            self.elapsed.load(SeqCst)
        }

        fn sleep(&self, _: Duration) -> BoxFuture<'static, ()> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn a_clock_that_is_set_changes_no_wait_by_more_than_a_hundredth() {
        for jump in [HOUR, -HOUR] {
            let time = Arc::new(Given { now: AtomicI64::new(10 * HOUR), elapsed: AtomicI64::new(0) });
            let mut clock = LaneClock::new(Arc::<Given>::clone(&time));
            time.now.fetch_add(jump, SeqCst);
            assert_eq!(clock.now(), 10 * HOUR);
            time.now.fetch_add(100 * SECOND, SeqCst);
            time.elapsed.fetch_add(100 * SECOND, SeqCst);
            assert_eq!(clock.now(), 10 * HOUR + 100 * SECOND + jump.signum() * SECOND);
            time.now.fetch_add(101 * HOUR, SeqCst);
            time.elapsed.fetch_add(101 * HOUR, SeqCst);
            assert_eq!(clock.now(), time.now(), "it arrives");
        }
    }

    #[test]
    fn a_clock_that_was_never_set_is_put_right_at_once() {
        let time = Arc::new(Given { now: AtomicI64::new(0), elapsed: AtomicI64::new(0) });
        let mut clock = LaneClock::new(Arc::<Given>::clone(&time));
        time.now.store(500_000 * HOUR, SeqCst);
        assert_eq!(clock.now(), 500_000 * HOUR);
    }
}
