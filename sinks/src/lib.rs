//! Everything that goes out: the [`Sink`] each vendor implements and the [`Worker`] that drives it.
//!
//! A worker follows the log with a cursor of its own, so a slow or broken destination stops nobody
//! but itself. Left out here: where events come from (the log) and where cursors are kept (the
//! control store); both belong to `pipeline`.

pub mod engine;
mod feed;
mod http;
mod outcome;
mod retry;
pub mod service;
mod sink;
pub mod vendors;
mod worker;

pub use feed::{Events, Feed};
pub use outcome::Outcome;
pub use retry::Retry;
pub use sink::{Limits, SettingError, Sink};
pub use worker::{DeliveryError, GRACE, Wait, Worker};
