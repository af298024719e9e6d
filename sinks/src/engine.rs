//! The delivery engine: it brings events to destinations in order, with retries, and keeps account
//! of every one.

mod events_at;
pub mod flow;
mod gates;
mod lane;
pub mod mapping;
mod ports;
pub mod selection;
#[cfg(test)]
mod simulation;
mod sink;
mod state;

pub use events_at::FeedEventsAt;
pub use gates::{Gate, Gates, Node};
pub use lane::{Bounds, Command, Ended, GRACE, Handle, Lane, LaneConfig, LaneStatus, WaitsFor};
pub use ports::{EventsAt, Hold, Owner, Ports, RuntimeTime, Time};
pub(crate) use sink::TOO_OLD;
pub use sink::{
    Account, Check, Failure, Idempotency, Limits, Manners, Mapped, Operation, OrderMode, Rate, RetryProfile,
    Scope, Sink, Step, StepState, Verdict,
};
pub use state::{LaneState, fold};
