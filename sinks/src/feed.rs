//! The log as the engine reads it.

use async_trait::async_trait;
use pipeline::event::Event;
use pipeline::log::{Foreign, ForeignReader, Log, LogError, Offset, PartitionId, Passed, Reader, Stored};

/// Where events come from: one partition, as [`Log`] gives it.
pub trait Feed: Send + Sync {
    /// The partition.
    fn partition(&self) -> &PartitionId;

    /// The first offset that no record has yet.
    fn end(&self) -> Offset;

    /// The events from an offset on.
    fn open(&self, from: Offset) -> Box<dyn Events>;
}

/// Events in offset order, as [`Reader`] gives them.
#[async_trait]
pub trait Events: Send {
    /// As [`Reader::next`].
    async fn next(&mut self, max: usize) -> Result<(Vec<Stored<Event<'static>>>, Offset), LogError>;

    /// As [`Reader::passed`].
    fn passed(&mut self) -> Vec<Passed>;
}

impl Feed for Log {
    fn partition(&self) -> &PartitionId {
        self.partition()
    }

    fn end(&self) -> Offset {
        self.status().end
    }

    fn open(&self, from: Offset) -> Box<dyn Events> {
        Box::new(self.reader(from))
    }
}

#[async_trait]
impl Events for Reader {
    async fn next(&mut self, max: usize) -> Result<(Vec<Stored<Event<'static>>>, Offset), LogError> {
        Self::next(self, max).await
    }

    fn passed(&mut self) -> Vec<Passed> {
        Self::passed(self)
    }
}

impl Feed for Foreign {
    fn partition(&self) -> &PartitionId {
        self.partition()
    }

    fn end(&self) -> Offset {
        self.end()
    }

    fn open(&self, from: Offset) -> Box<dyn Events> {
        Box::new(self.reader(from))
    }
}

#[async_trait]
impl Events for ForeignReader {
    async fn next(&mut self, max: usize) -> Result<(Vec<Stored<Event<'static>>>, Offset), LogError> {
        let read = Self::next(self, max).await?;
        read.ok_or_else(|| LogError::store("there is nothing more to read", "the partition has ended"))
    }

    fn passed(&mut self) -> Vec<Passed> {
        Self::passed(self)
    }
}
