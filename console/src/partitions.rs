//! What the console asks about the partitions of the log, and the binary answers.

use futures::future::BoxFuture;
use pipeline::log::PartitionId;
use serde::Serialize;
use std::collections::BTreeMap;

/// The partitions of the log: one for each server that ever wrote to its store.
pub trait Partitions: Send + Sync {
    /// All partitions.
    fn list(&self) -> BoxFuture<'static, Result<Vec<Partition>, PartitionsError>>;
    /// Takes over the partition of a server that is lost; `deliver`: and delivers its events from here. One
    /// that was written to just now is only taken from its server where `now` says so.
    fn adopt(
        &self,
        partition: PartitionId,
        deliver: bool,
        now: bool,
    ) -> BoxFuture<'static, Result<Adoption, PartitionsError>>;
    /// Moves everything that waits into the tables: events, and what became of them at destinations.
    fn commit(&self) -> BoxFuture<'static, Result<Committed, PartitionsError>>;
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    /// Its id.
    pub partition: String,
    /// Whether this server appends to it.
    pub own: bool,
    /// `local`, `open`, `sealed` or `adopted`.
    pub state: &'static str,
    /// The first offset that the tables do not hold.
    pub committed: u64,
    /// The offset behind its last record, as far as the store shows it.
    pub end: u64,
    /// How many objects of its write-ahead log are in the store.
    pub objects: u64,
    /// When the last of them was written, as RFC 3339.
    pub written_at: Option<String>,
    /// Whether it has ended, and this server delivers its events.
    pub delivered_here: bool,
    /// The partition of the server that delivers its events, where it has ended; `None` when none has claimed
    /// them, and while its own server delivers them.
    pub delivered_by: Option<String>,
}

/// What became of a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Adoption {
    /// The partition.
    pub partition: String,
    /// The offset behind its last record; all below are in the tables.
    pub end: u64,
    /// How many records were moved into the tables by this.
    pub records: u64,
    /// The partition of the server that delivers its events; `None` when none does.
    pub delivered_by: Option<String>,
}

/// What everything is in that had been acknowledged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Committed {
    /// The partition of this server.
    pub partition: String,
    /// The versions of the tables that hold it, and nothing behind it of this partition.
    pub versions: BTreeMap<&'static str, u64>,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum PartitionsError {
    /// There is no such partition.
    #[error("there is no partition `{0}`")]
    Unknown(String),
    /// It cannot be done as things are; the message says why.
    #[error("{0}")]
    Refused(String),
    /// The store failed. Try again; see the program's log.
    #[error("{0}")]
    Failed(String),
}
