//! What a lane needs from the world: the log, the journal, the checkpoints, time, and somebody who
//! hears of trouble. The simulation puts its own in place of each.

use crate::Feed;
use crate::engine::Sink;
use async_trait::async_trait;
use futures::future::BoxFuture;
use pipeline::delivery::journal::Records;
use pipeline::delivery::lane_store::LaneStore;
use pipeline::delivery::{Class, LaneId};
use pipeline::event::Event;
use pipeline::log::{LogError, Offset, Stored};
use pipeline::{Clock, Micros};
use std::sync::Arc;
use std::time::Duration;

/// The ports of a lane.
#[derive(Clone)]
pub struct Ports {
    /// Where events come from.
    pub feed: Arc<dyn Feed>,
    /// Reads single events again.
    pub events_at: Arc<dyn EventsAt>,
    /// Where outcomes are written down.
    pub records: Arc<dyn Records>,
    /// Where the lane's state is kept.
    pub store: Arc<dyn LaneStore>,
    /// Where requests leave.
    pub http: Arc<dyn pipeline::egress::Http>,
    /// Time.
    pub time: Arc<dyn Time>,
    /// Who hears of trouble.
    pub owner: Arc<dyn Owner>,
}

/// Time as a lane sees it.
pub trait Time: Send + Sync {
    /// The time of day, which may jump.
    fn now(&self) -> Micros;

    /// The time since some moment before, which never jumps, in µs.
    fn elapsed(&self) -> Micros;

    /// Lets time pass.
    fn sleep(&self, delay: Duration) -> BoxFuture<'static, ()>;
}

/// The time of the machine and of the runtime.
#[derive(Clone, Debug)]
pub struct RuntimeTime {
    clock: Clock,
    start: std::time::Instant,
}

impl RuntimeTime {
    /// The time of day by `clock`.
    pub fn new(clock: Clock) -> Self {
        Self { clock, start: std::time::Instant::now() }
    }
}

impl Time for RuntimeTime {
    fn now(&self) -> Micros {
        self.clock.now()
    }

    fn elapsed(&self) -> Micros {
        i64::try_from(self.start.elapsed().as_micros()).unwrap_or(i64::MAX)
    }

    fn sleep(&self, delay: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(delay))
    }
}

/// Who owns a destination and hears what a lane cannot mend by itself.
#[async_trait]
pub trait Owner: Send + Sync {
    /// The lane sends nothing more until it is told to; nothing is lost meanwhile. Called once for
    /// each hold.
    fn on_hold(&self, lane: &LaneId, reason: &Hold);

    /// The credential is too old. The answer is a sink with a new one; `None` when there is none to be
    /// had, which holds the lane. Several lanes may ask at once and share one renewal.
    async fn renew(&self, lane: &LaneId) -> Option<Arc<dyn Sink>>;
}

/// Why a lane stopped sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// What the vendor said; [`Class::Gone`] asks to disable the destination.
    pub class: Class,
    /// The HTTP status, where an answer came.
    pub status: Option<u16>,
    /// What happened, in the vendor's words.
    pub detail: String,
    /// What a person should do.
    pub remedy: String,
}

/// Reads events again by their offsets.
#[async_trait]
pub trait EventsAt: Send + Sync {
    /// The events at `offsets`, which ascend. Those that the log no longer has are left out.
    ///
    /// # Errors
    /// As the log's reader.
    async fn read(&self, offsets: &[Offset]) -> Result<Vec<Stored<Event<'static>>>, LogError>;
}
