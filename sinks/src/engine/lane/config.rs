//! What a lane is given, what it can be told, and how it ends.

use super::LaneStatus;
use crate::engine::gates::Gates;
use crate::engine::mapping::Mapping;
use crate::engine::selection::Selection;
use crate::engine::sink::{OrderMode, RetryProfile, Sink};
use pipeline::connection::WhenAmbiguous;
use pipeline::control::Secret;
use pipeline::delivery::journal::JournalError;
use pipeline::log::{LogError, Offset};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// One destination's way through one partition.
pub struct LaneConfig {
    /// What makes requests of events.
    pub sink: Arc<dyn Sink>,
    /// Which events are meant for the destination.
    pub selection: Selection,
    /// The changes made to each event before the vendor's mapping.
    pub mapping: Mapping,
    /// What is kept in order.
    pub order: OrderMode,
    /// What is done with an event that may have happened, at a vendor that knows no repeats.
    pub ambiguous: WhenAmbiguous,
    /// When failed operations are sent again.
    pub retry: RetryProfile,
    /// What every request passes, shared with the destination's other lanes.
    pub gates: Arc<Gates>,
    /// For a replay, or a partition that has ended: the first offset that the lane does not reach.
    pub end: Option<Offset>,
    /// The version of the connection's configuration, for the records.
    pub version: u64,
    /// What must not stand in a record, wherever a vendor repeats it.
    pub secrets: Vec<Secret>,
    /// How much the lane may take in hand.
    pub bounds: Bounds,
    /// The seed of all jitter.
    pub seed: u64,
}

/// How much a lane may take in hand. Beyond it, the lane reads no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// New events in memory, and a quarter as many that are sent again.
    pub events: usize,
    /// The sum of their operations, in bytes; one read may go beyond it.
    pub bytes: usize,
    /// Events that wait, about 200 bytes each. One window may go beyond it.
    pub parked: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { events: 4_096, bytes: 16 << 20, parked: 1_000_000 }
    }
}

/// What a lane can be told.
#[derive(Debug)]
pub enum Command {
    /// Sends nothing more until [`Command::Resume`].
    Pause,
    /// Ends a pause or a hold; everything that was not decided is read again.
    Resume,
    /// Sends dead events again, in offset order. Those that were not decided are passed over.
    Revive(Vec<Offset>),
}

/// Why a lane ended.
#[derive(Debug)]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// It has decided everything that it was to reach.
    Finished,
    /// The journal takes no more records. Nothing is lost; the process has to start anew.
    Journal(JournalError),
    /// The log cannot be read on; going on would leave events out in silence.
    Log(LogError),
}

/// The ends of a lane that its owner keeps.
pub struct Handle {
    /// Tells the lane what to do.
    pub commands: mpsc::Sender<Command>,
    /// How the lane stands.
    pub status: watch::Receiver<LaneStatus>,
}
