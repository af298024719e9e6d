//! Stops sending to a destination that is down, and finds out when it is back.

#[cfg(test)]
mod tests;

use super::taxonomy::treatment;
use pipeline::Micros;
use pipeline::clock::SECOND;
use pipeline::delivery::Class;
use rand::{Rng, RngExt};
use std::fmt;

/// So many failures in a row open the breaker.
const IN_A_ROW: u32 = 10;
/// So many requests say something about the share that fails.
const REQUESTS_MIN: u64 = 20;
/// The time over which requests are counted, in s.
const WINDOW: usize = 30;
/// The first pause, in µs; it doubles with every probe that fails.
const PAUSE: Micros = 15 * SECOND;
/// The longest pause.
const PAUSE_MAX: Micros = 300 * SECOND;
/// A probe that has not been answered after this was lost; longer than any request takes.
const PROBE_MAX: Micros = 60 * SECOND;

/// Stops sending to a destination that is down: one for each destination.
///
/// Closed, it counts. After 10 failures in a row, or when at least half of at least 20 requests of the
/// last 30 s failed, it opens: nothing is sent for 15 s, doubling with every probe that fails up to
/// 5 min (a random quarter less, so that destinations do not return in step). Then one request is let
/// through as a probe, and what becomes of it closes or opens the breaker. Only failures that
/// [`Treatment::trips_breaker`](super::Treatment::trips_breaker) count as failures; any other answer
/// shows that the destination is there.
#[derive(Clone, Debug)]
pub struct Breaker {
    seconds: [Second; WINDOW],
    /// The second that was counted last.
    now: i64,
    in_a_row: u32,
    phase: Phase,
    /// Grows when the breaker opens, so that answers to older requests are told apart.
    generation: u64,
    /// How many probes failed since it opened.
    probes: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    requests: u64,
    failures: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open { trip: Trip, probe_at: Micros },
    HalfOpen { trip: Trip, lost_at: Micros },
}

/// The leave to send one request, handed back with its answer.
#[must_use = "the breaker waits for the answer"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    generation: u64,
    probe: bool,
}

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests are sent.
    Closed,
    /// Nothing is sent until a probe.
    Open {
        /// Why it opened.
        trip: Trip,
        /// When the probe is sent.
        probe_at: Micros,
    },
    /// A probe is under way.
    HalfOpen {
        /// Why it opened.
        trip: Trip,
    },
}

/// Why a breaker opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trip {
    /// When it opened; probes that failed since do not change it.
    pub at: Micros,
    /// The class of the last failure.
    pub class: Class,
    /// Failures in a row.
    pub in_a_row: u32,
    /// Requests of the last 30 s.
    pub requests: u64,
    /// Those of them that failed.
    pub failures: u64,
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

impl Breaker {
    /// A closed breaker.
    pub fn new() -> Self {
        Self {
            seconds: [Second::default(); WINDOW],
            now: i64::MIN,
            in_a_row: 0,
            phase: Phase::Closed,
            generation: 0,
            probes: 0,
        }
    }

    /// Its state.
    pub fn state(&self) -> BreakerState {
        match self.phase {
            Phase::Closed => BreakerState::Closed,
            Phase::Open { trip, probe_at } => BreakerState::Open { trip, probe_at },
            Phase::HalfOpen { trip, .. } => BreakerState::HalfOpen { trip },
        }
    }

    /// From when a request may be sent, `now` where it may at once. Changes nothing.
    ///
    /// While a probe is under way this is when it counts as lost; its answer may allow more before.
    pub fn ready_at(&self, now: Micros) -> Micros {
        match self.phase {
            Phase::Closed => now,
            Phase::Open { probe_at: at, .. } | Phase::HalfOpen { lost_at: at, .. } => at.max(now),
        }
    }

    /// The leave to send a request now.
    ///
    /// # Errors
    /// When none may be sent: the time to ask again.
    pub fn ask(&mut self, now: Micros) -> Result<Pass, Micros> {
        let at = self.ready_at(now);
        if at > now {
            return Err(at);
        }
        let probe = match self.phase {
            Phase::Closed => false,
            Phase::Open { trip, .. } | Phase::HalfOpen { trip, .. } => {
                self.generation += 1;
                self.phase = Phase::HalfOpen { trip, lost_at: now.saturating_add(PROBE_MAX) };
                true
            }
        };
        Ok(Pass { generation: self.generation, probe })
    }

    /// Hears how a request ended: `None` when the vendor took it.
    ///
    /// Answers to requests that were sent before the breaker opened change nothing.
    pub fn answered(
        &mut self,
        pass: Pass,
        failure: Option<Class>,
        now: Micros,
        random: &mut (impl Rng + ?Sized),
    ) {
        if pass.generation != self.generation {
            return;
        }
        // These say nothing about the destination.
        if matches!(failure, Some(Class::SelfOutage | Class::BlockedEgress)) {
            return self.unused(pass, now.saturating_add(PAUSE));
        }
        let tripped = failure.filter(|class| treatment(*class).trips_breaker);
        match (self.phase, tripped) {
            (Phase::Closed, tripped) => self.count(tripped, now, random),
            (Phase::HalfOpen { .. }, None) => self.close(),
            (Phase::HalfOpen { trip, .. }, Some(class)) => {
                self.probes = self.probes.saturating_add(1);
                self.open(Trip { class, ..trip }, now, random);
            }
            (Phase::Open { .. }, _) => {}
        }
    }

    /// Hears that a request was not sent after all. If it was the probe, another may be sent from
    /// `probe_at` on.
    pub fn unused(&mut self, pass: Pass, probe_at: Micros) {
        if let Phase::HalfOpen { trip, .. } = self.phase
            && pass.generation == self.generation
        {
            self.phase = Phase::Open { trip, probe_at };
        }
    }

    fn count(&mut self, failed: Option<Class>, now: Micros, random: &mut (impl Rng + ?Sized)) {
        let second = self.advance(now);
        second.requests += 1;
        second.failures += u64::from(failed.is_some());
        let Some(class) = failed else {
            self.in_a_row = 0;
            return;
        };
        self.in_a_row = self.in_a_row.saturating_add(1);
        let requests = self.seconds.iter().map(|second| second.requests).sum();
        let failures = self.seconds.iter().map(|second| second.failures).sum();
        if self.in_a_row >= IN_A_ROW || (requests >= REQUESTS_MIN && failures * 2 >= requests) {
            self.probes = 0;
            let trip = Trip { at: now, class, in_a_row: self.in_a_row, requests, failures };
            self.open(trip, now, random);
        }
    }

    /// The counters of this second, after forgetting what is too old.
    fn advance(&mut self, now: Micros) -> &mut Second {
        let second = now.div_euclid(SECOND).max(self.now);
        let passed = second.saturating_sub(self.now).min(WINDOW as i64);
        for past in 0..passed {
            self.seconds[slot(second - past)] = Second::default();
        }
        self.now = second;
        &mut self.seconds[slot(second)]
    }

    fn open(&mut self, trip: Trip, now: Micros, random: &mut (impl Rng + ?Sized)) {
        let pause = PAUSE.saturating_mul(1 << self.probes.min(10)).min(PAUSE_MAX) as f64;
        let pause = (pause * random.random_range(0.75..=1.0)) as Micros;
        self.generation += 1;
        self.phase = Phase::Open { trip, probe_at: now.saturating_add(pause) };
    }

    fn close(&mut self) {
        *self = Self { generation: self.generation + 1, ..Self::new() };
    }
}

fn slot(second: i64) -> usize {
    second.rem_euclid(WINDOW as i64) as usize
}

impl Pass {
    /// Whether this is the one request that finds out if the destination is back.
    pub fn is_probe(self) -> bool {
        self.probe
    }
}

impl fmt::Display for Trip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.class.as_str();
        if self.in_a_row >= IN_A_ROW {
            return write!(f, "{} requests in a row failed, the last one with `{class}`", self.in_a_row);
        }
        let Self { requests, failures, .. } = self;
        write!(f, "{failures} of {requests} requests in {WINDOW} s failed, the last one with `{class}`")
    }
}
