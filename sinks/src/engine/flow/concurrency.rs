//! How many requests to a destination are under way at once.

#[cfg(test)]
mod tests;

use crate::engine::Failure;
use pipeline::Micros;
use pipeline::delivery::Class;

/// Where it begins.
const START: usize = 2;
/// The weight of the newest round-trip time in the running mean and variance.
const NEWEST: f64 = 0.4;
/// A round trip is slow when it is so many standard deviations above the mean.
const SLOW: f64 = 2.5;
/// The least standard deviation, as a share of the mean, so that a steady vendor's smallest hitch is
/// not slow.
const DEVIATION_MIN: f64 = 0.05;

/// How many requests to one destination are under way at once: as many as the vendor takes without
/// getting slower.
///
/// It begins with 2. Each round trip in which the limit was reached without push-back raises it by 1,
/// a slow one (more than 2.5 standard deviations above the running mean) or a time-out takes a tenth,
/// and a refusal for being too fast (429, 503) takes half; never below 1 or above the vendor's
/// maximum. It changes at most once in a mean round trip, so that many answers to one mistake count
/// once. (After Vector's adaptive request concurrency, RFC 1858.)
#[derive(Clone, Debug)]
pub struct Concurrency {
    limit: f64,
    most: f64,
    fixed: bool,
    /// The running mean and variance of round-trip times, in µs; `None` before the first.
    round_trips: Option<(f64, f64)>,
    /// Whether the limit was reached since it changed last.
    reached: bool,
    changed_at: Micros,
}

/// What an answer says about how much a vendor can take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It took the request.
    Taken,
    /// It gave no answer in time.
    TimedOut,
    /// It asked for fewer requests.
    PushedBack,
    /// Nothing: it failed or refused for another reason.
    Other,
}

impl Signal {
    /// What this failure says, or the success when there is none.
    pub fn of(failure: Option<&Failure>) -> Self {
        let Some(failure) = failure else { return Self::Taken };
        match (failure.class, failure.status) {
            (Class::RateLimited, _) | (_, Some(429 | 503)) => Self::PushedBack,
            (Class::Timeout, _) => Self::TimedOut,
            _ => Self::Other,
        }
    }
}

impl Concurrency {
    /// It adapts between 1 and `most`, which is at least 1.
    pub fn adaptive(most: usize) -> Self {
        let most = most.max(1);
        Self { limit: START.min(most) as f64, fixed: false, ..Self::fixed(most) }
    }

    /// It stays at `limit`, which is at least 1.
    pub fn fixed(limit: usize) -> Self {
        let limit = limit.max(1) as f64;
        Self { limit, most: limit, fixed: true, round_trips: None, reached: false, changed_at: Micros::MIN }
    }

    /// How many requests may be under way.
    pub fn limit(&self) -> usize {
        self.limit as usize
    }

    /// Hears how a request ended, after `round_trip_us`, when `under_way` requests were under way, this
    /// one among them.
    pub fn answered(&mut self, signal: Signal, round_trip_us: u64, under_way: usize, now: Micros) {
        if self.fixed {
            return;
        }
        self.reached |= under_way >= self.limit();
        let slow = signal == Signal::Taken && self.is_slow(round_trip_us as f64);
        let (limit, least_wait) = match signal {
            Signal::PushedBack => (self.limit * 0.5, self.round_trip()),
            Signal::TimedOut => (self.limit * 0.9, self.round_trip()),
            Signal::Taken if slow => (self.limit * 0.9, self.round_trip()),
            Signal::Taken if self.reached => (self.limit + 1.0, self.round_trip()),
            Signal::Taken | Signal::Other => (self.limit, 0.0),
        };
        if signal == Signal::Taken {
            self.learn(round_trip_us as f64);
        }
        let waited = now.saturating_sub(self.changed_at) as f64;
        if limit != self.limit && waited >= least_wait {
            self.limit = limit.clamp(1.0, self.most);
            self.changed_at = now;
            self.reached = false;
        }
    }

    /// The running mean, in µs; 0 before the first answer.
    fn round_trip(&self) -> f64 {
        self.round_trips.map_or(0.0, |(mean, _)| mean)
    }

    fn is_slow(&self, round_trip: f64) -> bool {
        self.round_trips.is_some_and(|(mean, variance)| {
            round_trip > mean + SLOW * variance.sqrt().max(mean * DEVIATION_MIN)
        })
    }

    /// The running mean and variance after one more (West 1979, with exponential weights).
    fn learn(&mut self, round_trip: f64) {
        let (mean, variance) = self.round_trips.unwrap_or((round_trip, 0.0));
        let difference = round_trip - mean;
        let step = NEWEST * difference;
        self.round_trips = Some((mean + step, (1.0 - NEWEST) * (variance + difference * step)));
    }
}
