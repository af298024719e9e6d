//! The append-only log: WAL first, Delta tables of Parquet on object storage soon after.
//!
//! The promises of the log stand on [`Log`].

pub mod dedup;
mod frame;
pub(crate) mod rows;
pub mod store;
pub mod table;
pub mod wal;

pub use frame::{Batch, Frame, Origin};

use crate::event::Event;
use crate::{Clock, Micros};
use arrow::record_batch::RecordBatch;
use futures::stream::BoxStream;
use std::path::PathBuf;
use std::sync::Arc;
use table::{TableKind, TableSnapshot};

/// A record's position in its partition: dense at append, never reused.
pub type Offset = u64;

/// One node's WAL and everything that came through it: 16 hexadecimal digits, made at random with
/// the WAL directory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PartitionId(pub Arc<str>);

impl std::fmt::Display for PartitionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How the log is kept.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The directory of the WAL and of the deduplication index; one process at a time holds it.
    pub dir: PathBuf,
    /// Where the tables lie: a `file://` URL of a directory.
    pub store: url::Url,
    /// The WAL takes no more than this; beyond it appends are refused with [`AppendError::StorageFull`].
    pub wal_bytes_max: u64,
    /// The size of one WAL segment.
    pub segment_bytes: u64,
    /// A record waits no longer than this for its commit.
    pub commit_age: std::time::Duration,
    /// A commit is made as soon as this many bytes wait for it.
    pub commit_bytes: u64,
    /// How long a message id is remembered.
    pub dedup_window: std::time::Duration,
    /// How much memory the deduplication index may take.
    pub dedup_memory_bytes_max: usize,
}

/// What became of one append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The offset of the receipt.
    pub offset: Offset,
    /// When the request was received.
    pub received_at: Micros,
    /// The indexes, ascending, of the items that had been stored before.
    pub duplicates: Vec<u32>,
}

/// Why an append was not taken. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Too much is waiting to be written. Try again after the given seconds.
    #[error("too many requests wait for the disk")]
    Overloaded {
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// The disk or the WAL's share of it is full. Try again after the given seconds.
    #[error("the write-ahead log is full: {reason}")]
    StorageFull {
        /// What is full and what would help.
        reason: String,
        /// Seconds to wait.
        retry_after_s: u64,
    },
    /// The log is being closed. Try again with the next process.
    #[error("the log is shutting down")]
    ShuttingDown,
    /// A write or an fsync failed, so nothing more can be promised until the process starts anew.
    #[error("the log cannot write until it is restarted: {0}")]
    Failed(String),
}

/// A record as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<T> {
    /// The partition it came through.
    pub partition: PartitionId,
    /// Its position there.
    pub offset: Offset,
    /// When it was received; strictly increasing within the partition.
    pub received_at: Micros,
    /// The name of its source.
    pub source: Arc<str>,
    /// Whether its source was made for tests.
    pub test: bool,
    /// What was recorded.
    pub record: T,
}

/// All of the log at one moment: committed files and the rows that are not committed yet.
#[derive(Clone)]
pub struct Snapshot {
    /// One view for each table, in the order of [`TableKind::ALL`].
    pub tables: Vec<TableView>,
}

/// One table at one moment. No row is in both its files and its fresh rows.
#[derive(Clone)]
pub struct TableView {
    /// The committed part.
    pub table: Arc<TableSnapshot>,
    fresh: Arc<dyn Fresh>,
}

/// Rows that wait for their commit.
pub trait Fresh: Send + Sync {
    /// The rows of this table in offset order, with the table's schema.
    fn batches(&self, kind: TableKind) -> BoxStream<'static, Result<RecordBatch, LogError>>;
    /// About how many records there are.
    fn records(&self) -> u64;
}

/// Why the log could not be opened, read or committed.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// Another process holds the directory. Stop it, or name another directory.
    #[error("the data directory `{0}` is in use by another process")]
    InUse(PathBuf),
    /// Something that was durable is damaged or missing. Run `flowstate verify`; restore a backup.
    #[error("the log is damaged: {0}")]
    Damaged(String),
    /// The disk or the store did not do as asked. Try again; see the message.
    #[error("{what}: {source}")]
    Store {
        /// What was being done.
        what: String,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl LogError {
    /// A failure of the disk or the store while `what` was being done.
    pub fn store(
        what: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Store { what: what.into(), source: source.into() }
    }
}

/// The log of one node.
pub struct Log {}

impl Log {
    /// Opens the log, recovers what the last process left, and starts its writer and its committer.
    ///
    /// # Errors
    /// [`LogError::InUse`] when another process holds the directory; [`LogError::Damaged`] when
    /// something durable is missing; [`LogError::Store`] when disk or store fail.
    pub async fn open(config: LogConfig, clock: Clock) -> Result<Self, LogError> {
        let _ = (config, clock);
        unimplemented!()
    }

    /// Appends one request's items: all of them or none, durable when it returns.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was kept.
    pub async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        let _ = batch;
        unimplemented!()
    }

    /// The log as it is now; every append that has returned is in it.
    pub fn snapshot(&self) -> Snapshot {
        unimplemented!()
    }

    /// A reader of this node's partition from `from` on.
    pub fn reader(&self, from: Offset) -> Reader {
        let _ = from;
        unimplemented!()
    }

    /// The partition this node appends to.
    pub fn partition(&self) -> &PartitionId {
        unimplemented!()
    }

    /// Commits everything appended so far.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails; what was appended stays in the WAL.
    pub async fn flush(&self) -> Result<(), LogError> {
        unimplemented!()
    }

    /// Takes no more appends, finishes those under way, commits, and releases the directory.
    ///
    /// # Errors
    /// As [`Log::flush`].
    pub async fn close(&self) -> Result<(), LogError> {
        unimplemented!()
    }
}

/// Reads events in offset order, wherever they lie: in memory, in the WAL or in Parquet files.
///
/// No gap and no repeat, across restarts, commits and compaction.
pub struct Reader {}

impl Reader {
    /// The next events, at most `max`; waits while there is nothing new. The second value is the
    /// position to go on from: it may pass over records that are no events.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when records are missing; [`LogError::Store`] when a read failed.
    pub async fn next(&mut self, max: usize) -> Result<(Vec<Stored<Event<'static>>>, Offset), LogError> {
        let _ = max;
        unimplemented!()
    }
}
