//! Finding events by time.

use async_trait::async_trait;
use pipeline::Micros;
use pipeline::connection::ReplaySpec;
use pipeline::log::{Offset, PartitionId};

/// What can be asked about the past of the log; the query engine answers it.
#[async_trait]
pub trait History: Send + Sync {
    /// The offset of the first event of a partition that was received at `time` or later; `None` when
    /// there is none yet.
    ///
    /// # Errors
    /// When the log cannot be searched; the text says why.
    async fn first_at(&self, partition: &PartitionId, time: Micros) -> Result<Option<Offset>, String>;

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
