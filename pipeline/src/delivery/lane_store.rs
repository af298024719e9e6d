//! Where lanes keep their checkpoints: cursors, waiting events and dead events.

#[cfg(test)]
pub(crate) mod conformance;

use super::{Class, LaneId, Trigger};
use crate::Micros;
use crate::control::ControlError;
use crate::log::Offset;
use async_trait::async_trait;

/// How many dead events are kept for one destination; the events themselves stay in the log.
pub const DEAD_MAX: u32 = 10_000;

/// The state of a lane as of one place in the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// The first offset that the lane has not decided.
    pub cursor: Offset,
    /// The journal's records up to this sequence number are folded in; 0 when none is.
    pub journal: u64,
    /// The events that wait, by offset.
    pub parked: Vec<Parked>,
}

/// An event that waits for its next attempt, or for an earlier event of the same person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// The event.
    pub offset: Offset,
    /// Hashes of the person's ids; 0 where there is none.
    pub keys: [u64; 2],
    /// How many attempts it has had.
    pub attempt: u32,
    /// When it was first decided about.
    pub first_at: Micros,
    /// When it is due; `None` while it waits behind another event.
    pub next_at: Option<Micros>,
    /// How much of the retry window is used up, in µs: only time in which the lane could send.
    pub sendable_us: u64,
    /// Why the last attempt failed; `None` when none was made.
    pub class: Option<Class>,
    /// Why it is being delivered.
    pub trigger: Trigger,
}

/// An event that is not sent unless somebody asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dead {
    /// Whose event it is.
    pub lane: LaneId,
    /// The event.
    pub offset: Offset,
    /// The event's message id, where it is known.
    pub message_id: Option<String>,
    /// Why it was given up.
    pub class: Class,
    /// The HTTP status of the last answer.
    pub status: Option<u16>,
    /// The vendor's own code.
    pub vendor_code: Option<String>,
    /// What happened and what to do.
    pub reason: Option<String>,
    /// How many attempts it has had.
    pub attempt: u32,
    /// When it was given up.
    pub at: Micros,
}

/// Which dead events of a destination are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadFilter {
    /// Only those given up for this reason.
    pub class: Option<Class>,
    /// Only those given up before this time.
    pub before: Option<Micros>,
    /// No more than this many, and never more than [`DEAD_MAX`]; 0 means as many as there may be.
    pub limit: u32,
    /// Only those behind the page before, which said so in [`DeadPage::next_key`].
    pub after_key: Option<u64>,
}

/// A page of dead events, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadPage {
    /// The events.
    pub dead: Vec<Dead>,
    /// What to give as [`DeadFilter::after_key`] for the next page; `None` when this is the last.
    pub next_key: Option<u64>,
    /// How many this destination has, whatever the filter.
    pub kept: u64,
    /// How many older ones of this destination were dropped, ever.
    pub dropped: u64,
}

/// Where one lane stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneSummary {
    /// Which lane.
    pub lane: LaneId,
    /// The first offset that it has not decided.
    pub cursor: Offset,
    /// The journal's records up to this sequence number are folded in.
    pub journal: u64,
}

/// The store of lanes' checkpoints.
///
/// Every write is durable and atomic when it returns. A lane is saved before its first record is
/// appended to the journal: records of lanes that the store does not know are kept for nobody.
#[async_trait]
pub trait LaneStore: Send + Sync {
    /// The lane's state as it was saved last; `None` before the first time.
    async fn load(&self, lane: &LaneId) -> Result<Option<Checkpoint>, ControlError>;

    /// Saves what changed in a lane since the last time, in one transaction: where it stands, the
    /// events that wait now (`put`, in place of what was known of them), those that wait no longer
    /// (`removed`), those given up (`dead`, of this lane, the newest last), and dead ones that are
    /// sent again (`revived`). No offset is in both of a pair. The same save may be made again.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are one lane's changes, and every caller has them all"
    )]
    async fn save(
        &self,
        lane: &LaneId,
        cursor: Offset,
        journal: u64,
        put: &[Parked],
        removed: &[Offset],
        dead: &[Dead],
        revived: &[Offset],
    ) -> Result<(), ControlError>;

    /// Dead events of a destination, the newest first.
    async fn dead(&self, destination: &str, filter: &DeadFilter) -> Result<DeadPage, ControlError>;

    /// Forgets dead events of a lane, as another lane has delivered them. Those it does not have are
    /// passed over.
    async fn resolve(&self, lane: &LaneId, offsets: &[Offset]) -> Result<(), ControlError>;

    /// All lanes, by destination, partition and replay.
    async fn lanes(&self) -> Result<Vec<LaneSummary>, ControlError>;

    /// Removes everything that is known of a destination.
    async fn forget(&self, destination: &str) -> Result<(), ControlError>;
}
