//! Fake vendors: small servers on the loopback interface that are stricter than the real ones.
//!
//! Each checks what the vendor's documentation asks for, answers as the vendor does, keeps what it
//! received, and fails in the ways vendors fail when told to. Tests and `flowstate demo` share them.
//! They read no environment and no file that the caller did not name.

mod failure;
pub mod google_analytics;
pub mod mixpanel;
mod schema;
mod script;
pub mod segment;
mod server;
pub mod webhook;

pub use failure::Failure;
pub use schema::Schema;
