//! The append-only log: WAL first, Delta tables of Parquet on object storage soon after.
//!
//! The promises of the log stand on [`Log`].

mod adopt;
mod appender;
pub mod backup;
mod census;
mod claims;
mod committer;
pub mod dedup;
mod file_reader;
mod foreign;
mod frame;
mod fresh;
pub(crate) mod lease;
pub(crate) mod maintenance;
mod objects;
mod priority;
mod published;
mod reader;
mod recovery;
pub mod retention;
pub(crate) mod rows;
pub mod store;
mod stored;
pub mod table;
mod tail;
pub mod verify;
pub mod wal;

pub use adopt::{Adopted, PartitionReport, PartitionState, adopt, partitions};
pub use census::{NotPromoted, Promotion};
pub use claims::claim;
pub use foreign::{Foreign, ForeignReader};
pub use frame::{Batch, Frame, Origin};
pub use reader::{Passed, Reader};
pub use recovery::read_only;
pub use rows::event_rows;
pub use stored::{EVENT_COLUMNS, stored_events, stored_rejected};

use crate::{Clock, Micros};
use appender::Appender;
use arrow::record_batch::RecordBatch;
use committer::Command;
use fresh::FreshRows;
use futures::stream::BoxStream;
use published::Published;
use retention::{Keeping, KeepingCell, Limits, Need, Needs, Notices, Overview};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use table::promoted::{ColumnChange, ColumnError, Promoted};
use table::{TableKind, TableSnapshot};
use tail::{Group, Tail};
use tokio::sync::{mpsc, oneshot};
use wal::WalReader;

/// The name of the source of events that the server itself records, such as `connection.held`. No app
/// can have it, and no destination gets them.
pub const INTERNAL_SOURCE: &str = "flowstate";

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

/// What [`Log::append`] waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// The records survive a crash and loss of power: they are synced to the WAL on the local disk.
    #[default]
    Local,
    /// They survive the loss of the machine, too: they are an object in the store besides.
    Object,
}

/// How the log is kept.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The directory of the WAL and of the deduplication index; one process at a time holds it.
    pub dir: PathBuf,
    /// Where the tables lie.
    pub store: store::StoreConfig,
    /// What an append waits for.
    pub durability: Durability,
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
    /// Which properties get columns of their own.
    pub promotion: Promotion,
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

/// Why an append was not taken. Nothing of it was kept, unless the variant says otherwise.
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
    /// The batch does not fit into the log, whatever the disk. Send its items in smaller batches.
    #[error("the batch takes more than {bytes_max} bytes, which the write-ahead log cannot hold at once")]
    TooLarge {
        /// What one batch may take.
        bytes_max: u64,
    },
    /// With [`Durability::Object`]: the store cannot be written to. Try again after the given seconds;
    /// the records may be kept, so with the same message ids.
    #[error("the records cannot be stored: {reason}")]
    StoreUnavailable {
        /// What the store answered.
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

impl TableView {
    pub(crate) fn new(table: Arc<TableSnapshot>, fresh: Arc<dyn Fresh>) -> Self {
        Self { table, fresh }
    }

    /// The rows that wait for their commit.
    pub fn fresh(&self) -> &Arc<dyn Fresh> {
        &self.fresh
    }
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

/// The append-only log of one node.
///
/// 1. **Durable.** When [`Log::append`] returns, the records survive `kill -9` and power loss: they
///    were written and synced (`fdatasync`) to the WAL. With [`Durability::Object`] they survive the
///    loss of the machine, too: they are an object in the store, and another node can [`adopt()`] them.
/// 2. **Atomic.** A reader sees all of one append or none of it.
/// 3. **Ordered.** Offsets are dense at append and follow its order; `received_at` (µs) strictly
///    increases. A reader sees no gap and no repeat, across restarts, commits and compaction, but for
///    what [`retention`] removed, which is listed as a [`table::Hole`].
/// 4. **Exactly once from WAL to table.** The last offset of a commit is the Delta transaction of
///    the partition; recovery goes on behind it.
/// 5. **Deduplicated** by (source, message id) over a window. A duplicate of an id still in flight
///    waits for the same fsync. Never across sources.
/// 6. **Accounted.** Each append leaves a receipt with the items counted before anything was decided
///    about them, so received = accepted + duplicate + rejected can be checked.
/// 7. **Bounded.** The WAL, the queue, and what is held in memory have limits; at a limit the answer
///    is an [`AppendError`], never silence.
///
/// An fsync error ends appending for good ([`AppendError::Failed`]): after it nobody knows what the
/// disk holds, so the process must start anew and recover from what is there.
pub struct Log {
    partition: PartitionId,
    appender: Arc<Appender>,
    tail: Arc<Tail>,
    wal: WalReader,
    published: Arc<Published>,
    keeping: KeepingCell,
    store: store::Store,
    clock: Clock,
    commands: mpsc::Sender<Command>,
    background: Mutex<Vec<JoinHandle<()>>>,
    stop: tokio::sync::watch::Sender<bool>,
    claims: tokio::sync::Mutex<claims::Claims>,
}

/// How the log is doing.
#[derive(Clone, Debug)]
pub struct Status {
    /// Why appending ended; `None` while it goes on.
    pub failed: Option<String>,
    /// With [`Durability::Object`]: why no appends are taken just now; `None` while they are.
    pub waiting: Option<String>,
    /// What the last commit failed with; `None` when it did not. Appending goes on meanwhile.
    pub commit_error: Option<String>,
    /// The first offset behind the log.
    pub end: Offset,
    /// The first offset that is not in the tables.
    pub committed: Offset,
    /// Bytes the WAL takes on disk.
    pub wal_bytes: u64,
    /// Active files of each table.
    pub files: [u64; 3],
}

impl Log {
    /// Opens the log, recovers what the last process left, and starts its writer and its committer.
    ///
    /// # Errors
    /// [`LogError::InUse`] when another process holds the directory; [`LogError::Damaged`] when
    /// something durable is missing; [`LogError::Store`] when disk or store fail.
    pub async fn open(config: LogConfig, clock: Clock) -> Result<Self, LogError> {
        recovery::open(config, clock).await
    }

    /// Appends one request's items: all of them or none, durable when it returns.
    ///
    /// # Errors
    /// See [`AppendError`]; nothing was kept, except after [`AppendError::Failed`], where nobody
    /// knows until the restart, and after [`AppendError::StoreUnavailable`], where the records may be
    /// kept; a repeat with the same message ids is then a duplicate.
    pub async fn append(&self, batch: Batch) -> Result<Appended, AppendError> {
        self.appender.append(batch).await
    }

    /// The log as it is now; every append that has returned is in it.
    pub fn snapshot(&self) -> Snapshot {
        let others = self.published.others();
        let (tables, bounds, pin) = self.published.pin();
        let from = bounds.into_iter().min().unwrap_or(0);
        let groups = self.tail.groups_from(from).map(Arc::new);
        let end = match &groups {
            Some(groups) => groups.last().map_or(from, |group| group.end),
            None => self.tail.end(),
        };
        // Rows that are in memory need no hold on the WAL.
        let _pin = groups.is_none().then(|| Arc::new(pin));
        let (partition, wal) = (self.partition.clone(), Some(self.wal.clone()));
        let fresh: Arc<dyn Fresh> = Arc::new(FreshRows { partition, bounds, end, groups, wal, _pin });
        Snapshot::new(others.beside(tables, &self.partition), &fresh)
    }

    /// A reader of this node's partition from `from` on.
    pub fn reader(&self, from: Offset) -> Reader {
        let published = Arc::clone(&self.published);
        Reader::new(self.partition.clone(), Arc::clone(&self.tail), self.wal.clone(), published, from)
    }

    /// Takes in what other nodes have committed. It happens about once a second by itself.
    ///
    /// # Errors
    /// As [`Table::refresh`].
    ///
    /// [`Table::refresh`]: table::Table::refresh
    pub async fn refresh(&self) -> Result<(), LogError> {
        self.published.refresh().await
    }

    /// Has rows removed from now on that are older than `limits` and that nobody of `needs` needs; see
    /// [`retention`]. Until it is called nothing is removed, and only the first call counts.
    ///
    /// Of several nodes on one bucket only one removes, for all of them: give all the same limits.
    pub fn retain(&self, limits: Limits, needs: Arc<dyn Needs>) {
        // The first call counts.
        let _ = self.keeping.set(Keeping { limits, needs: Some(needs) });
    }

    /// What these tables keep and have lost by retention, what is due, and what that waits for.
    ///
    /// # Errors
    /// [`LogError::Store`] when it cannot be known what the destinations need.
    pub async fn retention(&self, tables: Vec<Arc<TableSnapshot>>) -> Result<Overview, LogError> {
        let Some(keeping) = self.keeping.get() else {
            return Ok(Overview::new(tables, Limits::default(), Vec::new(), self.clock.now()));
        };
        let mut needs: Vec<Need> = keeping.needs().await?.unwrap_or_default();
        if keeping.limits.events.is_some() {
            needs.extend(Notices::read(&self.store, Some(&self.partition), self.clock.now()).await?);
        }
        Ok(Overview::new(tables, keeping.limits, needs, self.clock.now()))
    }

    /// Changes which properties have columns of their own in `events`; see [`Table::change_columns`].
    ///
    /// # Errors
    /// See [`ColumnError`].
    ///
    /// [`Table::change_columns`]: table::Table::change_columns
    pub async fn change_columns(&self, change: &ColumnChange) -> Result<Arc<Promoted>, ColumnError> {
        self.published.table(TableKind::Events).change_columns(change).await
    }

    /// The frequent properties that got no column, as far as this process has met them.
    pub fn not_promoted(&self) -> Vec<NotPromoted> {
        self.published.not_promoted()
    }

    /// The partition this node appends to.
    pub fn partition(&self) -> &PartitionId {
        &self.partition
    }

    /// How the log is doing now.
    pub fn status(&self) -> Status {
        let (tables, bounds, _pin) = self.published.pin();
        Status {
            failed: self.appender.failed().map(ToOwned::to_owned).or_else(|| self.published.ended()),
            waiting: self.appender.waiting(),
            commit_error: self.published.commit_error(),
            end: self.tail.end(),
            committed: bounds[TableKind::Receipts.index()],
            wal_bytes: self.appender.wal_bytes(),
            files: TableKind::ALL.map(|kind| tables[kind.index()].files.len() as u64),
        }
    }

    /// Commits everything appended so far.
    ///
    /// # Errors
    /// [`LogError::Store`] when the store fails; what was appended stays in the WAL.
    pub async fn flush(&self) -> Result<(), LogError> {
        self.command(Command::Flush).await
    }

    /// Takes no more appends, finishes those under way, commits, and releases the directory.
    ///
    /// # Errors
    /// As [`Log::flush`]; the directory is released all the same.
    pub async fn close(&self) -> Result<(), LogError> {
        self.stop.send_replace(true);
        self.appender.stop().await;
        let outcome = self.command(Command::Close).await;
        self.appender.end().await;
        self.tail.close();
        let background = std::mem::take(&mut *self.background.lock().unwrap_or_else(PoisonError::into_inner));
        let joined =
            tokio::task::spawn_blocking(|| background.into_iter().try_for_each(JoinHandle::join)).await;
        if !matches!(joined, Ok(Ok(()))) {
            return Err(LogError::store("a background thread of the log ended early", "it panicked"));
        }
        outcome
    }

    /// Ends it without a commit, as a crash does, and lets go of the directory.
    #[cfg(test)]
    async fn abandon(self) {
        self.stop.send_replace(true);
        let _ = self.command(Command::Abandon).await;
        self.appender.end().await;
        self.tail.close();
    }

    /// Commits everything appended so far, and tells the versions of the tables, in the order of
    /// [`TableKind::ALL`], that hold it and nothing behind it of this partition.
    ///
    /// # Errors
    /// As [`Log::flush`].
    pub async fn pin(&self) -> Result<[u64; 3], LogError> {
        self.command(Command::Pin).await
    }

    async fn command<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, String>>) -> Command,
    ) -> Result<T, LogError> {
        let (done, outcome) = oneshot::channel();
        let gone = || LogError::store("the log was closed", "its committer has ended");
        self.commands.send(command(done)).await.map_err(|_| gone())?;
        let outcome = outcome.await.map_err(|_| gone())?;
        outcome.map_err(|error| LogError::store("a commit failed", error))
    }
}

impl Snapshot {
    fn new(tables: Vec<Arc<TableSnapshot>>, fresh: &Arc<dyn Fresh>) -> Self {
        let view = |table| TableView { table, fresh: Arc::clone(fresh) };
        Self { tables: tables.into_iter().map(view).collect() }
    }
}

/// Durable groups from `from` on, about `bytes` of them; `None` when the WAL does not hold `from`.
fn groups_of_wal(wal: &WalReader, from: Offset, bytes: u64) -> Result<Option<Vec<Arc<Group>>>, LogError> {
    let Some(groups) = wal.read_from(from, bytes)? else { return Ok(None) };
    let group = |data: wal::GroupData| {
        Arc::new(Group {
            first: data.first_offset,
            end: data.end_offset,
            payload: data.payload,
            since: tokio::time::Instant::now(),
        })
    };
    Ok(Some(groups.into_iter().map(group).collect()))
}

/// Runs work that blocks away from the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(LogError::store("a background task ended early", error)))
}

#[cfg(test)]
mod tests;
