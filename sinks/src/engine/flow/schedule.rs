//! When a failed operation is sent again, and when it is given up.

#[cfg(test)]
mod tests;

use super::taxonomy::{Action, treatment};
use crate::engine::{Failure, RetryProfile};
use pipeline::delivery::Class;
use rand::{Rng, RngExt};
use std::time::Duration;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// The shortest delay of a stream.
const STREAM_MIN: Duration = Duration::from_millis(250);
/// The first upper bound of a stream's delay; it doubles with every attempt.
const STREAM_BASE: Duration = Duration::from_secs(1);
/// The last upper bound.
const STREAM_MAX: Duration = Duration::from_secs(300);
/// How long a stream is tried, counting only time in which the lane could send (Segment, "Retries",
/// read 2026-11: four hours).
const STREAM_WINDOW: Duration = Duration::from_secs(4 * HOUR);
/// A stream's vendor is believed up to this when it asks to wait.
const STREAM_ASKED_MAX: Duration = Duration::from_secs(HOUR);

/// The delays of a webhook in s (Standard Webhooks, "Deliverability and reliability", read 2026-11).
const WEBHOOK: [u64; 9] =
    [5, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
/// A webhook's receiver is believed up to this when it asks to wait.
const WEBHOOK_ASKED_MAX: Duration = Duration::from_secs(10 * HOUR);

/// The delays of a notification in s: with the tenth they end within [`NOTIFY_WINDOW`].
const NOTIFY: [u64; 4] = [15, MINUTE, 4 * MINUTE, 8 * MINUTE];
/// Later than this a notification is noise.
const NOTIFY_WINDOW: Duration = Duration::from_secs(15 * MINUTE);

/// Attempts after an answer that nobody expected.
const UNKNOWN_ATTEMPTS: u32 = 5;

/// When failed operations are sent again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    profile: RetryProfile,
}

/// What comes after a failed attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Another attempt, so much later.
    At(Duration),
    /// None, unless somebody asks for it.
    GiveUp(GiveUp),
}

/// Why an operation is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GiveUp {
    /// The vendor will never take it.
    Refused,
    /// It had all its attempts.
    Attempts,
    /// It was tried for as long as its profile allows.
    Window,
    /// It would come too late to be of use.
    Stale,
    /// The vendor may have taken it already, and another attempt would make it happen twice.
    MaybeTaken,
}

impl GiveUp {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Attempts => "attempts",
            Self::Window => "window",
            Self::Stale => "stale",
            Self::MaybeTaken => "maybe_taken",
        }
    }
}

impl Schedule {
    /// The schedule of a vendor with this profile.
    pub fn new(profile: RetryProfile) -> Self {
        Self { profile }
    }

    /// What comes after attempt number `attempt`, from 1, which ended in `failure`.
    ///
    /// `sendable_us` is how long the operation has been tried, in µs, counting only time in which the
    /// lane could send. A delay counts from the end of the attempt. What the vendor asked for only
    /// ever lengthens it, by at most 1 h for streams and 10 h for webhooks. Where a person or a new
    /// credential is waited for, the delay is 0: the operation is due when the wait is over.
    pub fn next(
        &self,
        attempt: u32,
        sendable_us: u64,
        failure: &Failure,
        random: &mut (impl Rng + ?Sized),
    ) -> Next {
        let treatment = treatment(failure.class);
        match treatment.action {
            Action::GiveUp | Action::HoldIfRepeated => return Next::GiveUp(GiveUp::Refused),
            Action::Hold | Action::Renew | Action::Deliver => return Next::At(Duration::ZERO),
            Action::Freeze | Action::Retry => {}
        }
        let tried = Duration::from_micros(sendable_us);
        if treatment.counts_as_attempt
            && let Some(reason) = self.ends(attempt, tried, failure)
        {
            return Next::GiveUp(reason);
        }
        let delay = self.delay(attempt, random).max(self.asked(failure));
        let stale = self.profile == RetryProfile::Notify && tried + delay > NOTIFY_WINDOW;
        if stale { Next::GiveUp(GiveUp::Stale) } else { Next::At(delay) }
    }

    fn ends(&self, attempt: u32, tried: Duration, failure: &Failure) -> Option<GiveUp> {
        if failure.class == Class::Unknown && attempt >= UNKNOWN_ATTEMPTS {
            return Some(GiveUp::Attempts);
        }
        match self.profile {
            RetryProfile::Few(most) if treatment(failure.class).maybe_taken && attempt >= most => {
                Some(GiveUp::MaybeTaken)
            }
            RetryProfile::Stream | RetryProfile::Few(_) => (tried >= STREAM_WINDOW).then_some(GiveUp::Window),
            RetryProfile::Webhook => (attempt as usize > WEBHOOK.len()).then_some(GiveUp::Attempts),
            RetryProfile::Notify => (attempt as usize > NOTIFY.len()).then_some(GiveUp::Attempts),
        }
    }

    fn delay(&self, attempt: u32, random: &mut (impl Rng + ?Sized)) -> Duration {
        let failures = attempt.saturating_sub(1);
        match self.profile {
            RetryProfile::Stream | RetryProfile::Few(_) => {
                let bound = STREAM_BASE.saturating_mul(1 << failures.min(30)).min(STREAM_MAX);
                bound.mul_f64(random.random_range(0.0..=1.0)).max(STREAM_MIN)
            }
            RetryProfile::Webhook => step(&WEBHOOK, failures, random),
            RetryProfile::Notify => step(&NOTIFY, failures, random),
        }
    }

    /// How long the vendor asked to wait, as far as it is believed.
    fn asked(&self, failure: &Failure) -> Duration {
        let most = match self.profile {
            RetryProfile::Webhook => WEBHOOK_ASKED_MAX,
            RetryProfile::Stream | RetryProfile::Few(_) | RetryProfile::Notify => STREAM_ASKED_MAX,
        };
        failure.retry_after.unwrap_or_default().min(most)
    }
}

/// The delay after this many failures, the last one for all that follow, and up to a tenth more.
fn step(delays: &[u64], failures: u32, random: &mut (impl Rng + ?Sized)) -> Duration {
    let seconds = delays.get(failures as usize).or(delays.last()).copied().unwrap_or_default();
    Duration::from_secs(seconds).mul_f64(random.random_range(1.0..=1.1))
}
