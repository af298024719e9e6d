//! Replays: events of the past, sent to one connection again, as a durable job.

use crate::Micros;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A replay as it is kept. How far it came in each partition is the business of its lanes.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    /// `rep_` and a UUID of version 7 in 32 hexadecimal digits.
    pub id: Arc<str>,
    /// The connection that events are sent to.
    pub connection: Arc<str>,
    /// Which events, and how fast.
    pub spec: ReplaySpec,
    /// Whether it goes on.
    pub state: ReplayState,
    /// Why it failed; `None` in all other states.
    pub error: Option<String>,
    /// How far it is.
    pub counts: ReplayCounts,
    /// When it was asked for.
    pub created_at: Micros,
    /// When its state or its counts changed last.
    pub updated_at: Micros,
}

/// Which events a replay sends, and how fast.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplaySpec {
    /// A SQL condition over the columns of `events`; see [`crate::condition`].
    pub condition: Option<String>,
    /// Events received at this time or later, in µs since 1970.
    pub from: Option<Micros>,
    /// Events received before this time, in µs since 1970.
    pub to: Option<Micros>,
    /// Which of these events.
    pub only: Only,
    /// At most this many events in a second.
    pub rate: Option<f64>,
}

/// Which of the selected events a replay sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Only {
    /// All of them.
    #[default]
    All,
    /// Those whose delivery failed for good.
    Failed,
}

/// Whether a replay goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReplayState {
    /// It sends.
    Running,
    /// A person paused it.
    Paused,
    /// A person cancelled it. What was sent stays sent.
    Cancelled,
    /// It reached its end.
    Done,
    /// It cannot go on; see its error.
    Failed,
}

impl ReplayState {
    /// All states.
    pub const ALL: [Self; 5] = [Self::Running, Self::Paused, Self::Cancelled, Self::Done, Self::Failed];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }

    /// The state with this word; `None` for any other.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it never changes again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Cancelled | Self::Done | Self::Failed)
    }
}

/// How far a replay is, in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayCounts {
    /// Looked at.
    pub scanned: u64,
    /// Of those, selected.
    pub matched: u64,
    /// Of those, delivered.
    pub sent: u64,
    /// Of those selected, refused for good.
    pub failed: u64,
    /// To be looked at altogether, as estimated; 0 until delivery has looked.
    pub total: u64,
}
