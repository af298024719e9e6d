//! Everything that goes out: events on their way from the log to the vendors.
//!
//! - [`service`] follows the connections in the control store: it runs a destination for each one
//!   that is enabled, and does what people ask of them: checks, previews, replays, dead letters.
//! - [`engine`] is what every destination has in common: it selects and maps events, keeps a
//!   person's order, sends, waits, retries, and accounts for every event. A slow or broken
//!   destination stops nobody but itself.
//! - [`vendors`] has one file for each vendor, an [`engine::Sink`]: pure functions from events to
//!   requests and from answers to verdicts.
//! - [`Feed`] is the log as the engine reads it, so that a test can stand in for it.
//!
//! Left out here: where events come from (the log), and where outcomes and the state of lanes are
//! kept (the delivery journal and the control store); both belong to `pipeline`.

pub mod engine;
mod feed;
pub mod service;
mod setting;
pub mod vendors;

pub use feed::{Events, Feed};
pub use setting::SettingError;
