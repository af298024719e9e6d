//! Time, given rather than taken, so that tests own it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

/// Microseconds since 1970-01-01T00:00:00Z.
pub type Micros = i64;

/// Microseconds in one second.
pub const SECOND: Micros = 1_000_000;

/// Microseconds in one hour.
pub const HOUR: Micros = 3_600 * SECOND;

/// Microseconds in one day.
pub const DAY: Micros = 24 * HOUR;

/// Where the time of day comes from: the machine, or a test.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Given(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still at `now` until [`Clock::advance`] moves it. Clones share it.
    pub fn given(now: Micros) -> Self {
        Self(Source::Given(Arc::new(AtomicI64::new(now))))
    }

    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
    pub fn now(&self) -> Micros {
        match &self.0 {
            Source::Given(now) => now.load(SeqCst),
            Source::System => match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
                Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
                Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
            },
        }
    }

    /// Moves a given clock forward by `by` µs; the machine's clock stays as it is.
    pub fn advance(&self, by: Micros) {
        if let Source::Given(now) = &self.0 {
            now.fetch_add(by, SeqCst);
        }
    }
}
