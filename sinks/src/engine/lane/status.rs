//! How a lane stands, for whoever looks.

use super::{Lane, Mode};
use crate::engine::gates::Gate;
use crate::engine::ports::Hold;
use crate::engine::state::LaneState;
use pipeline::Micros;
use pipeline::log::Offset;

/// How a lane stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStatus {
    /// The first offset that the lane has not decided.
    pub cursor: Offset,
    /// How many offsets of the log lie between the cursor and the end.
    pub behind: u64,
    /// How many events wait for another attempt, or behind one that does.
    pub parked: usize,
    /// When the next of them is due that is not in hand; a time in the past where one is due already.
    pub next_at: Option<Micros>,
    /// How many requests are under way.
    pub in_flight: usize,
    /// What it waits for.
    pub waits_for: WaitsFor,
}

/// What a lane waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// New events; it is busy or has none.
    Events,
    /// The log, which could not be read.
    Log {
        /// When it is tried again.
        until: Micros,
    },
    /// Events that failed: too many wait for the lane to read on.
    Retries,
    /// A gate that lets no request through.
    Gate {
        /// Which one.
        gate: Gate,
        /// Until when; `None`: until a request comes back.
        until: Option<Micros>,
    },
    /// A new credential, which has been asked for.
    Credential,
    /// A person: see [`Command::Resume`](super::Command::Resume).
    Hold(Hold),
    /// A person who paused it.
    Resume,
    /// Requests under way, to stop or begin anew.
    Requests,
}

impl LaneStatus {
    pub(super) fn new(state: &LaneState) -> Self {
        Self {
            cursor: state.cursor(),
            behind: 0,
            parked: state.parking.len(),
            next_at: None,
            in_flight: 0,
            waits_for: WaitsFor::Events,
        }
    }
}

impl Lane {
    /// Lets watchers know how the lane stands.
    pub(super) fn show(&self, now: Micros) {
        let status = LaneStatus {
            cursor: self.state.cursor(),
            behind: self.ports.feed.end().saturating_sub(self.state.cursor()),
            parked: self.state.parking.len(),
            next_at: self.state.parking.next_due().map(|at| at.max(0)),
            in_flight: self.flying.len(),
            waits_for: self.waits_for(now),
        };
        self.status.send_if_modified(|shown| {
            let changed = *shown != status;
            *shown = status;
            changed
        });
    }

    fn waits_for(&self, now: Micros) -> WaitsFor {
        match &self.mode {
            Mode::Paused => WaitsFor::Resume,
            Mode::Held(hold) => WaitsFor::Hold(hold.clone()),
            Mode::Resuming | Mode::Stopping { .. } => WaitsFor::Requests,
            Mode::Running if self.renewing.is_some() => WaitsFor::Credential,
            Mode::Running => match self.shut {
                Some(shut) => {
                    let until = shut.until.map(|until| now + (until - self.clock.elapsed()).max(0));
                    WaitsFor::Gate { gate: shut.gate, until }
                }
                None => self.intake_waits_for(now),
            },
        }
    }
}
