//! The management API: sources, connections, SQL, the life of an event, and the accounts.
//!
//! It knows the control store, the log only through [`Reads`] and [`Columns`], and delivery only
//! through [`Deliveries`]; the binary implements them over the other rooms. Every answer but rows is JSON;
//! every error is `{"code","message"}`, with `fields` where something entered is wrong.

mod api;
mod auth;
mod columns;
mod deliveries;
mod fields;
mod imports;
mod logged;
mod parameters;
mod partitions;
mod problem;
mod reads;
mod retention;

pub use api::configure;
pub use columns::{Column, ColumnList, Columns, ColumnsError, WithoutColumn};
pub use deliveries::{
    DeadLetter, DeadLetters, DeadLettersOf, DeadOnes, Deliveries, DeliveriesError, Estimate, Preview,
    PreviewedEvent, PreviewedRequest, Status, Step, StepState, WaitsFor,
};
pub use imports::{Imported, Imports, ImportsError, Piece, Reason, Repaired};
pub use logged::{
    Admission, Commits, CommitsOf, LoggedEvent, News, Page, Place as PagePlace, RejectedEvent, Search,
};
pub use partitions::{Adoption, Committed, Partition, Partitions, PartitionsError};
pub use reads::{
    Account, AccountPlace, Accounts, AccountsOf, Delivered, Format, InSource, Life, Place, ReadError, Reads,
    Refusal, Rows, StoredAt, Totals,
};
pub use retention::{DueDays, Kept, Needed, Removed, Retention};

use pipeline::Clock;
use pipeline::connection::Connections;
use pipeline::control::{Control, KeyHash, Keys};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// What the management API works with.
pub struct Console {
    control: Arc<dyn Control>,
    keys: Arc<Keys>,
    reads: Arc<dyn Reads>,
    connections: Arc<Connections>,
    deliveries: Arc<dyn Deliveries>,
    columns: Arc<dyn Columns>,
    clock: Clock,
    process_key: Option<KeyHash>,
    imports: Option<Arc<dyn Imports>>,
    partitions: Option<Arc<dyn Partitions>>,
    followers: Arc<Semaphore>,
}

/// So many clients may follow what comes in, each with a page of events in memory.
const FOLLOWERS_MAX: usize = 16;

impl Console {
    /// A console over these. `process_key` is the hash of one more API key, which holds for this
    /// process only and is in no store.
    #[expect(clippy::too_many_arguments, reason = "each is a room of its own, handed in once")]
    pub fn new(
        control: Arc<dyn Control>,
        keys: Arc<Keys>,
        reads: Arc<dyn Reads>,
        connections: Arc<Connections>,
        deliveries: Arc<dyn Deliveries>,
        columns: Arc<dyn Columns>,
        clock: Clock,
        process_key: Option<KeyHash>,
    ) -> Self {
        let followers = Arc::new(Semaphore::new(FOLLOWERS_MAX));
        Self {
            control,
            keys,
            reads,
            connections,
            deliveries,
            columns,
            clock,
            process_key,
            imports: None,
            partitions: None,
            followers,
        }
    }

    /// The same console, which takes files in too.
    #[must_use]
    pub fn with_imports(self, imports: Arc<dyn Imports>) -> Self {
        Self { imports: Some(imports), ..self }
    }

    /// The same console, which shows and takes over partitions too.
    #[must_use]
    pub fn with_partitions(self, partitions: Arc<dyn Partitions>) -> Self {
        Self { partitions: Some(partitions), ..self }
    }
}
