//! Reading no faster than a replay may send.

use crate::{Events, Feed};
use async_trait::async_trait;
use pipeline::condition::Condition;
use pipeline::event::Event;
use pipeline::log::{LogError, Offset, PartitionId, Passed, Stored};
use std::sync::Arc;
use std::time::Duration;

/// A partition, no faster than so many selected events in a second.
pub(super) struct Paced {
    pub(super) feed: Arc<dyn Feed>,
    pub(super) condition: Option<Arc<dyn Condition>>,
    pub(super) rate: f64,
}

struct PacedEvents {
    events: Box<dyn Events>,
    condition: Option<Arc<dyn Condition>>,
    rate: f64,
    not_before: tokio::time::Instant,
}

impl Feed for Paced {
    fn partition(&self) -> &PartitionId {
        self.feed.partition()
    }

    fn end(&self) -> Offset {
        self.feed.end()
    }

    fn open(&self, from: Offset) -> Box<dyn Events> {
        Box::new(PacedEvents {
            events: self.feed.open(from),
            condition: self.condition.clone(),
            rate: self.rate,
            not_before: tokio::time::Instant::now(),
        })
    }
}

#[async_trait]
impl Events for PacedEvents {
    async fn next(&mut self, max: usize) -> Result<(Vec<Stored<Event<'static>>>, Offset), LogError> {
        tokio::time::sleep_until(self.not_before).await;
        // A tenth of a second's worth at once, so that the pace is even.
        let most = (self.rate / 10.0).ceil().max(1.0) as usize;
        let read = self.events.next(max.min(most)).await?;
        let selected = match &self.condition {
            None => read.0.len(),
            // What cannot be evaluated is decided by the lane; here it counts as selected.
            Some(condition) => condition
                .holds(&read.0)
                .map_or(read.0.len(), |held| held.into_iter().filter(|held| *held).count()),
        };
        self.not_before = tokio::time::Instant::now() + Duration::from_secs_f64(selected as f64 / self.rate);
        Ok(read)
    }

    fn passed(&mut self) -> Vec<Passed> {
        self.events.passed()
    }
}
