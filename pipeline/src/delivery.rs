//! Deliveries: what became of each event at each destination.
//!
//! A [`Record`] is written for every decision about one or more events. Records go to a local,
//! fsynced journal first, which is the truth about cursors and retries, and from there to the
//! `deliveries` table, which people query.

pub mod codec;
pub mod journal;
pub mod lane_store;
pub mod needs;
pub mod table;
#[cfg(test)]
pub(crate) mod testing;

use crate::Micros;
use crate::log::{Offset, PartitionId};
use std::sync::Arc;

/// Why a delivery did not succeed: one word for each thing that is done about it.
///
/// The same words stand in the journal, the `deliveries` table, metrics, alerts and documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// The access token is too old. It is renewed once and the request repeated.
    AuthExpired,
    /// The credential is refused. The destination is held until a person replaces it.
    AuthRevoked,
    /// The credential is accepted and lacks a permission.
    Permission,
    /// The vendor asks for fewer requests. Nothing is sent until it allows more.
    RateLimited,
    /// A daily or monthly quota is used up. Nothing is sent until it is renewed.
    Quota,
    /// The vendor will never take this event as it is.
    Validation,
    /// The request or the event has too many bytes.
    TooLarge,
    /// What the request names does not exist.
    NotFound,
    /// The receiver says that it wants no more requests, ever (HTTP 410).
    Gone,
    /// The vendor has the event already. It counts as delivered.
    ConflictDuplicate,
    /// The vendor failed; time mends it.
    Transient,
    /// No answer came in time, so the vendor may have taken the request.
    Timeout,
    /// The host name has no address.
    NetworkDns,
    /// No connection could be made.
    NetworkConnect,
    /// The secured connection could not be made.
    NetworkTls,
    /// The connection broke, so the vendor may have taken the request.
    NetworkReset,
    /// Several hosts at once cannot be reached: it is our own network.
    SelfOutage,
    /// The address is one that nothing may be sent to.
    BlockedEgress,
    /// An answer that nobody expected.
    Unknown,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 19] = [
        Self::AuthExpired,
        Self::AuthRevoked,
        Self::Permission,
        Self::RateLimited,
        Self::Quota,
        Self::Validation,
        Self::TooLarge,
        Self::NotFound,
        Self::Gone,
        Self::ConflictDuplicate,
        Self::Transient,
        Self::Timeout,
        Self::NetworkDns,
        Self::NetworkConnect,
        Self::NetworkTls,
        Self::NetworkReset,
        Self::SelfOutage,
        Self::BlockedEgress,
        Self::Unknown,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AuthExpired => "auth_expired",
            Self::AuthRevoked => "auth_revoked",
            Self::Permission => "permission",
            Self::RateLimited => "rate_limited",
            Self::Quota => "quota",
            Self::Validation => "validation",
            Self::TooLarge => "too_large",
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::ConflictDuplicate => "conflict_duplicate",
            Self::Transient => "transient",
            Self::Timeout => "timeout",
            Self::NetworkDns => "network_dns",
            Self::NetworkConnect => "network_connect",
            Self::NetworkTls => "network_tls",
            Self::NetworkReset => "network_reset",
            Self::SelfOutage => "self_outage",
            Self::BlockedEgress => "blocked_egress",
            Self::Unknown => "unknown",
        }
    }

    /// The class with this word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.as_str() == word)
    }
}

/// What was decided about the events of a [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The vendor took them.
    Delivered,
    /// The attempt failed; they are sent again at `next_at`.
    Retry,
    /// Not attempted: an earlier event of the same person has to go first.
    Waiting,
    /// It still waits, and no longer keeps later events of the same person back; see `reason`.
    Released,
    /// The destination does not want them; `reason` says which rule left them out.
    Filtered,
    /// The person asked not to be followed, or gave no consent; see `reason`.
    Suppressed,
    /// They will not be sent unless somebody asks for it; see `class` and `reason`.
    Dead,
    /// A dead event that somebody asked to send again.
    Revived,
    /// A request with them is about to leave, to a vendor that knows no repeats. Nothing is decided; with
    /// an attempt of 0 the request came to nothing, and the vendor took none of them.
    Intent,
    /// A request with them got no answer, and the vendor knows no repeats. They are sent again at
    /// `next_at`; without it they are dead until a person has looked.
    Ambiguous,
    /// The log lost them before they were reached, as it keeps events no longer; `reason` says how many and
    /// where. No offsets: which of them were events, nothing tells any more.
    Missed,
}

impl Outcome {
    /// All outcomes.
    pub const ALL: [Self; 11] = [
        Self::Delivered,
        Self::Retry,
        Self::Waiting,
        Self::Released,
        Self::Filtered,
        Self::Suppressed,
        Self::Dead,
        Self::Revived,
        Self::Intent,
        Self::Ambiguous,
        Self::Missed,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Retry => "retry",
            Self::Waiting => "waiting",
            Self::Released => "released",
            Self::Filtered => "filtered",
            Self::Suppressed => "suppressed",
            Self::Dead => "dead",
            Self::Revived => "revived",
            Self::Intent => "intent",
            Self::Ambiguous => "ambiguous",
            Self::Missed => "missed",
        }
    }

    /// The outcome with this word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|outcome| outcome.as_str() == word)
    }
}

/// Why the events of a [`Record`] were being delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trigger {
    /// They came in.
    Live,
    /// A person asked to send a dead event again.
    Manual,
    /// A replay reached them.
    Replay,
}

impl Trigger {
    /// All triggers.
    pub const ALL: [Self; 3] = [Self::Live, Self::Manual, Self::Replay];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Manual => "manual",
            Self::Replay => "replay",
        }
    }

    /// The trigger with this word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|trigger| trigger.as_str() == word)
    }
}

/// Who delivers what: one destination's way through one partition.
///
/// A replay is a lane of its own beside the live one, with its own cursor and retries.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LaneId {
    /// The id of the connection that events are delivered to.
    pub destination: Arc<str>,
    /// The partition of the log.
    pub partition: PartitionId,
    /// The id of the replay; `None` for live traffic.
    pub replay: Option<Arc<str>>,
}

/// One decision of a lane about one or more events.
///
/// The fold of a lane's records, in journal order, is the lane's state: its cursor, its retries and
/// its dead events.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Who decided.
    pub lane: LaneId,
    /// When, by the clock of the node.
    pub at: Micros,
    /// What was decided.
    pub outcome: Outcome,
    /// Why the events were being delivered.
    pub trigger: Trigger,
    /// The events, ascending; empty where only the cursor moved past what is no event, or none any more.
    pub offsets: Vec<Offset>,
    /// For [`Outcome::Retry`], [`Outcome::Ambiguous`], [`Outcome::Waiting`] and [`Outcome::Revived`], one
    /// entry for each of `offsets`: hashes of the person's ids, which keep later events of the person back. Otherwise
    /// empty.
    pub keys: Vec<[u64; 2]>,
    /// The first offset that the lane has not decided, once this record is applied.
    pub cursor: Offset,
    /// How many attempts these events have had, this one included; 0 where none was made.
    pub attempt: u32,
    /// When the events are due again.
    pub next_at: Option<Micros>,
    /// Why the attempt failed.
    pub class: Option<Class>,
    /// The HTTP status, where an answer came.
    pub status: Option<u16>,
    /// The vendor's own code.
    pub vendor_code: Option<String>,
    /// What happened and what to do, or which rule left the events out; at most 2 KB, no secret.
    pub reason: Option<String>,
    /// How long the vendor took, in µs.
    pub latency_us: Option<u64>,
    /// The number of the request within its lane; several records may share one.
    pub request: Option<u64>,
    /// The request as it was sent, for failures only: at most 2 KB, no secret.
    pub sent: Option<String>,
    /// The answer, for failures only: at most 2 KB, no secret.
    pub answered: Option<String>,
    /// The version of the connection's configuration that was in force.
    pub version: u64,
}
