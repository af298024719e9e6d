//! The management API: sources, SQL, the life of an event, and the accounts.
//!
//! It knows the control store, and the log only through [`Reads`], which the binary implements over
//! the room of queries. Every answer but rows is JSON; every error is `{"code","message"}`.

mod api;
mod auth;
mod fields;
mod problem;
mod reads;

pub use api::configure;
pub use reads::{
    Account, AccountsOf, Format, InSource, Life, Place, ReadError, Reads, Refusal, Rows, StoredAt,
};

use pipeline::Clock;
use pipeline::control::{Control, KeyHash, Keys};
use std::sync::Arc;

/// What the management API works with.
pub struct Console {
    control: Arc<dyn Control>,
    keys: Arc<Keys>,
    reads: Arc<dyn Reads>,
    clock: Clock,
    process_key: Option<KeyHash>,
}

impl Console {
    /// A console over these. `process_key` is the hash of one more API key, which holds for this
    /// process only and is in no store.
    pub fn new(
        control: Arc<dyn Control>,
        keys: Arc<Keys>,
        reads: Arc<dyn Reads>,
        clock: Clock,
        process_key: Option<KeyHash>,
    ) -> Self {
        Self { control, keys, reads, clock, process_key }
    }
}
