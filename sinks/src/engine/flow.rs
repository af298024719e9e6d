//! Flow control: whether, when and how fast a destination is sent to.
//!
//! Everything here is a state machine that is told the time and given randomness. Nothing sleeps, and
//! only [`Fair`] waits, because it is the one thing that destinations share. Times are those of one
//! clock that never goes back, such as [`Time::elapsed`](super::Time::elapsed), in µs.
//!
//! The order to ask in: [`Breaker::ready_at`], [`Buckets::ready_at`], [`Concurrency::limit`], a permit
//! of [`Fair`]; then, with all four at hand, [`Buckets::take`] and [`Breaker::ask`].

mod breaker;
mod buckets;
mod concurrency;
mod fair;
mod outage;
mod remaining;
mod schedule;
mod taxonomy;

pub use breaker::{Breaker, BreakerState, Pass, Trip};
pub use buckets::{Buckets, FREEZE_MAX};
pub use concurrency::{Concurrency, Signal};
pub use fair::{Fair, PERMITS, Permit};
pub use outage::{OUTAGE_RETRY, Outage};
pub use remaining::{REMAINING, Remaining, Reset, remaining};
pub use schedule::{GiveUp, Next, Schedule};
pub use taxonomy::{Action, Treatment, treatment};
