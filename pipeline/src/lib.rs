//! The room every other room meets in: events, the append-only log, the control store, the clock,
//! and the one HTTP client for everything that leaves.
//!
//! It knows no HTTP route and no vendor's name, and depends on none of the other rooms.

pub mod clock;
pub mod condition;
pub mod connection;
pub mod control;
pub mod delivery;
pub mod egress;
pub mod event;
pub mod failpoint;
pub mod json;
pub mod log;
pub mod redact;
pub mod seal;
pub mod vendor;

pub use clock::{Clock, Micros};
