//! The Delta tables.
//!
//! One [`Table`] in a process owns each table: it appends, compacts and cleans, one commit at a
//! time, and keeps the list of files in memory, so that a commit costs the same however many files
//! there are. Commits of other processes are taken in when they are met.

mod append;
mod checkpoint;
mod clean;
mod commit;
mod compact;
mod encode;
mod export;
mod filters;
mod history;
mod holes;
mod metadata;
mod open;
pub mod promoted;
mod replay;
mod schema;
mod statistics;

pub use append::TableAppend;
pub use clean::{Cleaned, Retention};
pub use compact::{Compacted, CompactionPolicy};
pub use filters::IdFilters;
pub use history::CommitSummary;
pub use holes::{Hole, HoleReason};

pub(crate) use export::{Exported, table_objects};
pub use open::WalCover;
pub(crate) use schema::{CONTEXT, CONTEXT_COLUMNS, Section, Type, element, number_element};

use super::lease::Lease;
use super::store::Store;
use super::{Offset, PartitionId};
use crate::Clock;
use arc_swap::ArcSwap;
use deltalake_core::logstore::LogStoreRef;
use object_store::ObjectStore;
use promoted::{FileFacts, Promoted};
use replay::State;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

/// The tables in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TableKind {
    /// Accepted events.
    Events,
    /// Rejected events.
    Rejected,
    /// One row for each request: how many items it brought and which were duplicates.
    Receipts,
    /// What became of events at destinations. It is not filled from the WAL but from the delivery
    /// journal, whose sequence numbers stand in for offsets.
    Deliveries,
}

impl TableKind {
    /// The log's own tables, in the order in which they are committed; receipts last, because every
    /// frame has one: what the receipts' table has committed, all tables have.
    pub const ALL: [Self; 3] = [Self::Events, Self::Rejected, Self::Receipts];

    /// The name in the store.
    pub fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Rejected => "rejected",
            Self::Receipts => "receipts",
            Self::Deliveries => "deliveries",
        }
    }

    /// The name in SQL. There `deliveries` is a view with a row for each event.
    pub fn sql_name(self) -> &'static str {
        match self {
            Self::Deliveries => "delivery_records",
            other => other.name(),
        }
    }
}

/// One Parquet file of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// The path below the table's root, not URL-encoded.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// The value of the partition column, `received_date` or `date`, as days since 1970-01-01.
    pub received_date: i32,
    /// The partition its rows came through.
    pub partition: PartitionId,
    /// The first and the last offset in it; of deliveries, the sequence numbers.
    pub offsets: (Offset, Offset),
    /// What its promoted columns are good for; without those that it lacks.
    pub promoted: Arc<FileFacts>,
    /// The `stats` of its Delta action, as JSON text: `minValues`, `maxValues`, `nullCount`.
    pub stats: Arc<str>,
}

/// The committed part of one table at one version.
#[derive(Clone, Debug)]
pub struct TableSnapshot {
    /// Which table.
    pub kind: TableKind,
    /// The Delta version.
    pub version: u64,
    /// The URL of the table's root, with a slash at the end.
    pub root: url::Url,
    /// The store of the table: its paths are relative to `root`, as those of [`DataFile`] are.
    pub store: Arc<dyn ObjectStore>,
    /// The active files, by partition and first offset; within a partition their ranges of offsets
    /// do not overlap.
    pub files: Arc<Vec<DataFile>>,
    /// The last offset committed for each partition.
    pub committed: HashMap<PartitionId, Offset>,
    /// The promoted columns; only events have any.
    pub promoted: Arc<Promoted>,
    /// What was taken out of the table for good, by partition and offset.
    pub holes: Arc<Vec<Hole>>,
}

/// The owner of one table: there is one in a process.
///
/// - An append is durable and visible when [`Table::append`] returns, and happens once: the last
///   offset is the Delta transaction version of its partition and is the only cursor.
/// - The table's files never overlap within a partition, and compaction keeps every row and its
///   place.
/// - Rows go for good by [`Table::take_out`] alone, whose commit lists them as a [`Hole`].
/// - A file is taken from the store only when it has been inactive for the retention time.
pub struct Table {
    location: Location,
    clock: Clock,
    state: tokio::sync::Mutex<State>,
    published: ArcSwap<TableSnapshot>,
    /// One compaction, checkpoint or cleaning at a time.
    maintenance: tokio::sync::Mutex<()>,
    /// The version of the newest checkpoint we know of.
    checkpointed: AtomicU64,
    /// When the state was last known to be the newest.
    at_tip: AtomicI64,
}

/// Where a table lies.
#[derive(Clone, Debug)]
struct Location {
    kind: TableKind,
    store: Store,
    /// The store as seen from the table's root.
    objects: Arc<dyn ObjectStore>,
    log: LogStoreRef,
}

impl Table {
    /// The table as of the last commit.
    pub fn snapshot(&self) -> Arc<TableSnapshot> {
        self.published.load_full()
    }

    /// Which table it is.
    pub fn kind(&self) -> TableKind {
        self.location.kind
    }

    /// The last offset committed for a partition; `None` before its first commit.
    pub fn committed(&self, partition: &PartitionId) -> Option<Offset> {
        self.published.load().committed.get(partition).copied()
    }

    /// The store it lies in.
    pub(crate) fn store(&self) -> &Store {
        &self.location.store
    }

    /// The lease `name` in the table's store, for a node that is called `owner`.
    pub(crate) fn lease(&self, name: &str, owner: &str) -> Lease {
        Lease::new(&self.location.store, name, owner, self.clock.clone())
    }

    fn publish(&self, state: &State) {
        self.published.store(Arc::new(self.location.snapshot(state)));
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Table({} at version {})", self.kind().name(), self.published.load().version)
    }
}

impl Location {
    fn snapshot(&self, state: &State) -> TableSnapshot {
        TableSnapshot {
            kind: self.kind,
            version: state.version,
            root: self.store.url(self.kind.name()),
            store: Arc::clone(&self.objects),
            files: Arc::clone(&state.files),
            committed: state.committed.clone(),
            promoted: Arc::clone(&state.promoted),
            holes: Arc::clone(&state.holes),
        }
    }
}

#[cfg(test)]
pub(crate) mod test_store;
#[cfg(test)]
mod tests;
