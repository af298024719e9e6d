//! Keeps to a vendor's limits on how much is sent in what time.

#[cfg(test)]
mod tests;
mod window;

use super::remaining::Remaining;
use crate::engine::Rate;
use pipeline::Micros;
use pipeline::clock::{HOUR, SECOND};
use rand::{Rng, RngExt};
use std::time::Duration;
use window::Window;

/// No answer of a vendor stops a destination for longer than this, in µs.
pub const FREEZE_MAX: Micros = HOUR;

/// The first pause after a refusal that names no time; it doubles with every one that follows.
const PAUSE: Micros = SECOND;
/// The longest pause after a refusal that names no time.
const PAUSE_MAX: Micros = 60 * SECOND;
/// A refusal this long after the last pause is the first one again.
const CALM: Micros = 60 * SECOND;

/// A vendor's limits on how much is sent in what time: one for each destination.
///
/// All limits hold at once, and each holds strictly: in **any** stretch of time as long as a limit's
/// `per`, wherever it begins, no more than its amount is sent. A vendor that counts in fixed windows
/// therefore never counts more either. Within that, the whole amount may be sent in one burst. It
/// costs at most a twentieth of the speed, because time is cut into slots.
///
/// A request with more operations than [`Buckets::operations_max`] would break a limit on
/// operations. It is let through alone, and what follows waits for as much longer.
///
/// Nothing is kept over a restart; a daily quota is then learnt again from the vendor.
#[derive(Clone, Debug)]
pub struct Buckets {
    limits: Vec<Limit>,
    left: Option<Left>,
    frozen_until: Micros,
    /// Refusals in a row that named no time.
    refusals: u32,
}

#[derive(Clone, Debug)]
struct Limit {
    operations: bool,
    window: Window,
}

/// What the vendor said is left.
#[derive(Clone, Copy, Debug)]
struct Left {
    requests: u64,
    until: Micros,
}

impl Buckets {
    /// The limits of a vendor, and the connection's own in operations for each second. An event that
    /// becomes several operations counts as often.
    ///
    /// A rate below one in 30 days counts as that.
    pub fn new(rates: &[Rate], rate_cap: Option<f64>) -> Self {
        let cap = rate_cap.map(|amount| Rate { amount, per: Duration::from_secs(1), operations: true });
        let limits = rates
            .iter()
            .copied()
            .chain(cap)
            .map(|rate| Limit { operations: rate.operations, window: Window::new(rate.amount, rate.per) });
        Self { limits: limits.collect(), left: None, frozen_until: Micros::MIN, refusals: 0 }
    }

    /// The most operations that one request may hold without breaking a limit; at least 1.
    pub fn operations_max(&self) -> usize {
        let of = |limit: &Limit| if limit.operations { limit.window.amount() } else { u64::MAX };
        let least = self.limits.iter().map(of).min().unwrap_or(u64::MAX);
        usize::try_from(least).unwrap_or(usize::MAX)
    }

    /// From when a request with so many operations may be sent, `now` where it may at once. Changes
    /// nothing.
    pub fn ready_at(&self, now: Micros, operations: usize) -> Micros {
        let mut at = now.max(self.frozen_until);
        if let Some(left) = self.left.filter(|left| left.requests == 0 && left.until > now) {
            at = at.max(left.until);
        }
        for limit in &self.limits {
            at = at.max(limit.window.ready_at(now, limit.cost(operations)));
        }
        at
    }

    /// Counts a request that is sent now.
    ///
    /// # Errors
    /// When it may not be sent, which counts nothing: the time to ask again.
    pub fn take(&mut self, now: Micros, operations: usize) -> Result<(), Micros> {
        let at = self.ready_at(now, operations);
        if at > now {
            return Err(at);
        }
        for limit in &mut self.limits {
            let cost = limit.cost(operations);
            limit.window.take(now, cost);
        }
        if let Some(left) = &mut self.left {
            left.requests = left.requests.saturating_sub(1);
        }
        Ok(())
    }

    /// Sends nothing until then, at most [`FREEZE_MAX`] from now, and up to a tenth of the wait longer
    /// so that lanes do not return in step. It never shortens a freeze. The answer is when it ends.
    pub fn freeze(&mut self, until: Micros, now: Micros, random: &mut (impl Rng + ?Sized)) -> Micros {
        let wait = until.saturating_sub(now).clamp(0, FREEZE_MAX) as f64;
        let wait = ((wait * random.random_range(1.0..=1.1)) as Micros).min(FREEZE_MAX);
        self.frozen_until = self.frozen_until.max(now.saturating_add(wait));
        self.frozen_until
    }

    /// Hears that the vendor asked for fewer requests: freezes for as long as it asked, and where it
    /// did not say for how long, for 1 s, doubling up to 60 s while that does not help. The answer is
    /// when the freeze ends.
    pub fn refused(
        &mut self,
        retry_after: Option<Duration>,
        now: Micros,
        random: &mut (impl Rng + ?Sized),
    ) -> Micros {
        let wait = match retry_after {
            Some(asked) => Micros::try_from(asked.as_micros()).unwrap_or(Micros::MAX),
            None => self.pause(now),
        };
        self.freeze(now.saturating_add(wait), now, random)
    }

    /// When the freeze ends; `None` when nothing is frozen.
    pub fn frozen_until(&self, now: Micros) -> Option<Micros> {
        (self.frozen_until > now).then_some(self.frozen_until)
    }

    /// Hears how many requests the vendor still takes. It never allows more than the limits do.
    ///
    /// Answers overtake each other, so until the time that was named first only a smaller number is
    /// believed.
    pub fn reseed(&mut self, remaining: Remaining, now: Micros) {
        if let Some(left) = self.left.as_mut().filter(|left| left.until > now) {
            left.requests = left.requests.min(remaining.requests);
            return;
        }
        let wait = Micros::try_from(remaining.renewed_in.as_micros()).unwrap_or(Micros::MAX);
        let until = now.saturating_add(wait.min(FREEZE_MAX));
        self.left = Some(Left { requests: remaining.requests, until });
    }

    fn pause(&mut self, now: Micros) -> Micros {
        // Answers to requests that were under way say nothing new.
        if self.frozen_until > now {
            return 0;
        }
        let calm = now.saturating_sub(self.frozen_until) > CALM;
        self.refusals = if calm { 0 } else { self.refusals.saturating_add(1) };
        PAUSE.saturating_mul(1 << self.refusals.min(10)).min(PAUSE_MAX)
    }
}

impl Limit {
    fn cost(&self, operations: usize) -> u64 {
        if self.operations { operations as u64 } else { 1 }
    }
}
