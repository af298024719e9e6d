//! One limit: so much in any stretch of time.

use pipeline::Micros;
use pipeline::clock::DAY;
use std::time::Duration;

/// The slots that a limit's time is cut into.
const SLOTS: i64 = 20;
/// No limit covers a longer time.
const PER_MAX: Micros = 30 * DAY;

/// At most `amount` in any stretch of time of the length `per`.
///
/// Time is cut into slots of a twentieth of `per`. What was taken in the current slot and the twenty
/// before it is within the amount; any stretch of `per` lies within such 21 slots.
#[derive(Clone, Debug)]
pub(super) struct Window {
    amount: u64,
    /// The length of a slot, in µs.
    slot: Micros,
    taken: [u64; SLOTS as usize + 1],
    /// The number of the current slot.
    now: i64,
    /// Nothing before this; after something larger than the amount.
    owed_until: Micros,
}

impl Window {
    /// An amount below 1 is one in as much longer a time; what is left over a whole number is left.
    pub(super) fn new(amount: f64, per: Duration) -> Self {
        let per = Micros::try_from(per.as_micros()).unwrap_or(PER_MAX).clamp(1, PER_MAX);
        // `max` also takes the other one of a NaN.
        let least = (per as f64 / PER_MAX as f64).min(1.0);
        let amount = amount.max(least);
        let per = (per as f64 / amount.min(1.0)) as Micros;
        let slot = (per.clamp(1, PER_MAX) + SLOTS - 1) / SLOTS;
        Self {
            amount: amount.max(1.0) as u64,
            slot,
            taken: [0; SLOTS as usize + 1],
            now: i64::MIN,
            owed_until: Micros::MIN,
        }
    }

    /// The most that is ever taken at once.
    pub(super) fn amount(&self) -> u64 {
        self.amount
    }

    /// From when so much may be taken, `now` where it may at once.
    pub(super) fn ready_at(&self, now: Micros, cost: u64) -> Micros {
        let current = self.current(now);
        let oldest = current.saturating_sub(SLOTS);
        let counting = || (oldest..=self.now).map(|slot| (slot, self.taken[index(slot)]));
        let mut sum: u64 = counting().map(|(_, taken)| taken).sum();
        let most = self.amount.saturating_sub(cost);
        let mut at = now.max(self.owed_until);
        for (slot, taken) in counting() {
            if sum <= most {
                break;
            }
            // It counts until so many others have passed after it.
            at = at.max(slot.saturating_add(SLOTS + 1).saturating_mul(self.slot));
            sum -= taken;
        }
        at
    }

    /// Counts what is taken now.
    pub(super) fn take(&mut self, now: Micros, cost: u64) {
        let current = self.current(now);
        let passed = current.saturating_sub(self.now).min(SLOTS + 1);
        for past in 0..passed {
            self.taken[index(current - past)] = 0;
        }
        self.now = current;
        self.taken[index(current)] += cost.min(self.amount);
        if cost > self.amount {
            let times = i64::try_from(cost.div_ceil(self.amount)).unwrap_or(i64::MAX);
            let owed = self.slot.saturating_mul(SLOTS + 1).saturating_mul(times).min(PER_MAX);
            self.owed_until = self.owed_until.max(now.saturating_add(owed));
        }
    }

    fn current(&self, now: Micros) -> i64 {
        now.div_euclid(self.slot).max(self.now)
    }
}

fn index(slot: i64) -> usize {
    slot.rem_euclid(SLOTS + 1) as usize
}
