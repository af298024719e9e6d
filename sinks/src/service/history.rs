//! Finding events by time.

use async_trait::async_trait;
use pipeline::Micros;
use pipeline::connection::ReplaySpec;
use pipeline::log::{Offset, PartitionId};

/// So many events are known to be settled at once; eight bytes each.
pub const SETTLED_MAX: usize = 1_000_000;

/// What can be asked about the past of the log; the query engine answers it.
#[async_trait]
pub trait History: Send + Sync {
    /// The offset of the first event of a partition that was received at `time` or later; `None` when
    /// there is none yet.
    ///
    /// # Errors
    /// When the log cannot be searched; the text says why.
    async fn first_at(&self, partition: &PartitionId, time: Micros) -> Result<Option<Offset>, String>;

    /// What the records of any node that were made at `since` or later say about a destination's way
    /// through a partition, from the offset `from` on.
    ///
    /// # Errors
    /// When the deliveries cannot be searched; the text says why.
    async fn settled(
        &self,
        destination: &str,
        partition: &PartitionId,
        from: Offset,
        since: Micros,
    ) -> Result<Settled, String>;

    /// When the attempts at a destination that nothing was delivered to since began, and when the last of
    /// them was made; `None` when the last outcome was a delivery, or there was none.
    ///
    /// # Errors
    /// When the log cannot be searched; the text says why.
    async fn failing(&self, destination: &str) -> Result<Option<(Micros, Micros)>, String>;

    /// What a replay looks at and selects. Of the selected events, those that happened before
    /// `oldest` are counted as too old.
    ///
    /// # Errors
    /// When the log cannot be searched; the text says why.
    async fn count(&self, spec: &ReplaySpec, oldest: Option<Micros>) -> Result<Counted, String>;
}

/// What is known of a destination's way through a partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The events that were delivered or left out, ascending, or that wait for a person because nobody knows
    /// whether they were delivered. No more than [`SETTLED_MAX`]: then nothing is said of those behind the
    /// last.
    pub done: Vec<Offset>,
    /// The events of requests that were about to leave and of which nothing more is known, each with the
    /// number of the attempt.
    pub unclear: Vec<(Offset, u32)>,
}

/// How many events a replay is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Those it looks at.
    pub scanned: u64,
    /// Of those, the ones that meet its condition.
    pub matched: u64,
    /// Of those, the ones that happened too long ago for the destination.
    pub too_old: u64,
}
