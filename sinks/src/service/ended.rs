//! Lanes through partitions that have ended and are this node's to deliver.
//!
//! Their events are delivered as this node's own are, until the last of them is decided. Where a lane begins:
//!
//! - The connection says from when on it gets events, and no earlier ones are sent.
//! - What was delivered or left out by the `deliveries` table is not looked at again: the partition's own
//!   node, or one that had it later, has seen to that. What had become a dead letter is tried once more, and
//!   may become one of this node's. An event whose record was lost with its node is sent again, with the
//!   same id.
//! - The table knows connections by their ids: one that has another id here gets all of the events.
//! - From then on the lane has a cursor of its own.

use super::destination::{Running, Template};
use super::history::Settled;
use super::{Service, ServiceError};
use crate::engine::Command;
use crate::{Events, Feed};
use async_trait::async_trait;
use pipeline::event::Event;
use pipeline::log::{LogError, Offset, PartitionId, Passed, Stored};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::error::SendError;
use tokio_util::sync::CancellationToken;

/// How often it is looked for partitions that became this node's to deliver.
const LOOK: Duration = Duration::from_secs(5);

/// A destination's way through a partition.
pub(super) struct Through {
    /// The lane; `None` once it is at its end.
    pub(super) running: Option<Running>,
    /// The first offset that it does not reach.
    end: Offset,
}

/// Dead events that are to be sent again.
pub(super) struct Revive {
    pub(super) connection: Arc<str>,
    pub(super) partition: PartitionId,
    pub(super) offsets: Vec<Offset>,
}

impl Service {
    /// Looks now and then for partitions that became this node's to deliver, until `stop`. It has a task of its
    /// own: a store that is down answers late, and nothing else shall wait for it.
    pub(super) async fn look_for_ended(self: Arc<Self>, stop: CancellationToken) {
        let mut failed = false;
        loop {
            let looked = tokio::select! {
                () = stop.cancelled() => return,
                looked = self.parts.log.assigned() => looked,
            };
            match looked {
                Ok(partitions) => {
                    failed = false;
                    self.assigned.send_replace(partitions);
                }
                Err(error) => {
                    if !std::mem::replace(&mut failed, true) {
                        tracing::warn!(%error, "it is not known which partitions are this node's to deliver");
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Starts lanes through partitions that have ended and have more to deliver.
    pub(super) async fn follow_ended(&self) -> Result<(), ServiceError> {
        let assigned = self.assigned.borrow().clone();
        for partition in &assigned {
            let end = self.parts.feed(partition).end();
            let has_more = |through: Option<&Through>| {
                through.is_none_or(|through| through.running.is_none() && through.end < end)
            };
            let templates: Vec<_> = self
                .lock()
                .values()
                .filter(|destination| has_more(destination.ended.get(partition)))
                .map(|destination| Arc::clone(&destination.template))
                .collect();
            for template in templates {
                self.go_through(&template, partition, Vec::new()).await?;
            }
        }
        self.revive_ended().await
    }

    /// Has dead events of partitions that have ended sent again, at the next look.
    pub(super) fn revive_later(&self, revive: Revive) {
        self.reviving.lock().unwrap_or_else(PoisonError::into_inner).push(revive);
        self.changed();
    }

    async fn revive_ended(&self) -> Result<(), ServiceError> {
        let asked = std::mem::take(&mut *self.reviving.lock().unwrap_or_else(PoisonError::into_inner));
        let mut asked = asked.into_iter();
        while let Some(Revive { connection, partition, offsets }) = asked.next() {
            let found = self.lock().get(&connection).map(|destination| {
                let through = destination.ended.get(&partition);
                let running = through.and_then(|through| through.running.as_ref());
                let commands = running.map(|running| running.handle.commands.clone());
                (Arc::clone(&destination.template), commands)
            });
            // It was stopped meanwhile: its dead events stay where they are.
            let Some((template, commands)) = found else { continue };
            let offsets = match commands {
                None => offsets,
                Some(commands) => match commands.send(Command::Revive(offsets)).await {
                    // A lane that has just ended gives them back.
                    Err(SendError(Command::Revive(offsets))) => offsets,
                    _ => continue,
                },
            };
            if let Err(error) = self.go_through(&template, &partition, offsets.clone()).await {
                let again = std::iter::once(Revive { connection, partition, offsets }).chain(asked);
                self.reviving.lock().unwrap_or_else(PoisonError::into_inner).extend(again);
                return Err(error);
            }
        }
        Ok(())
    }

    /// Runs a lane through a partition up to what is committed of it, after the dead events `revive`.
    async fn go_through(
        &self,
        template: &Arc<Template>,
        partition: &PartitionId,
        revive: Vec<Offset>,
    ) -> Result<(), ServiceError> {
        let feed = self.parts.feed(partition);
        let end = feed.end();
        let lane = template.lane(partition, None);
        let start = match self.parts.lanes.load(&lane).await? {
            Some(checkpoint) => checkpoint.cursor,
            None => template.live_start(partition).await?,
        };
        let mut state = template.recover(&lane, start).await?;
        let mut running = None;
        if state.cursor() < end || state.parked().next().is_some() || !revive.is_empty() {
            let Settled { done, unclear } = template.settled(partition, state.cursor()).await?;
            unclear.into_iter().for_each(|(offset, attempt)| state.unclear(offset, attempt));
            let feed = Arc::new(Unsettled { feed, settled: done });
            running = Some(template.run(state, feed, template.selection.clone(), Some(end), revive)?);
        }
        let through = Through { running, end };
        let unplaced = match self.lock().get_mut(&template.connection.id) {
            Some(destination) if Arc::ptr_eq(&destination.template, template) => {
                destination.ended.insert(partition.clone(), through)
            }
            _ => Some(through),
        };
        if let Some(running) = unplaced.and_then(|through| through.running) {
            running.stop().await;
        }
        Ok(())
    }

    /// Sees to lanes that are at the end of their partition, or that broke off.
    pub(super) async fn look_after_ended(&self) {
        let mut over = Vec::new();
        for (id, destination) in &mut *self.lock() {
            for (partition, through) in &mut destination.ended {
                if through.running.as_ref().is_some_and(|running| running.task.is_finished())
                    && let Some(running) = through.running.take()
                {
                    over.push((Arc::clone(id), partition.clone(), running));
                }
            }
        }
        for (id, partition, running) in over {
            if running.has_finished().await {
                tracing::info!(
                    connection.id = %id, partition = %partition,
                    "everything of a partition that has ended is delivered"
                );
            } else if let Some(destination) = self.lock().get_mut(&id) {
                // The next look begins where it stopped.
                destination.ended.remove(&partition);
            }
        }
    }
}

impl Template {
    /// What is known of the destination's way through a partition from `from` on.
    ///
    /// Only what was recorded since the connection was told where to begin counts: what was before is to be
    /// sent again if the connection says so.
    async fn settled(&self, partition: &PartitionId, from: Offset) -> Result<Settled, ServiceError> {
        let since = self.connection.start.map_or(0, |start| start.asked_at);
        let id = &self.connection.id;
        self.parts.history.settled(id, partition, from, since).await.map_err(ServiceError::History)
    }
}

/// A partition without the events that are settled.
struct Unsettled {
    feed: Arc<dyn Feed>,
    /// Ascending.
    settled: Vec<Offset>,
}

struct UnsettledEvents {
    events: Box<dyn Events>,
    settled: Arc<[Offset]>,
}

impl Feed for Unsettled {
    fn partition(&self) -> &PartitionId {
        self.feed.partition()
    }

    fn end(&self) -> Offset {
        self.feed.end()
    }

    fn open(&self, from: Offset) -> Box<dyn Events> {
        let settled = self.settled[self.settled.partition_point(|&offset| offset < from)..].into();
        Box::new(UnsettledEvents { events: self.feed.open(from), settled })
    }
}

#[async_trait]
impl Events for UnsettledEvents {
    async fn next(&mut self, max: usize) -> Result<(Vec<Stored<Event<'static>>>, Offset), LogError> {
        let (mut events, position) = self.events.next(max).await?;
        events.retain(|event| self.settled.binary_search(&event.offset).is_err());
        Ok((events, position))
    }

    fn passed(&mut self) -> Vec<Passed> {
        self.events.passed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pipeline::event::Kind;

    /// Events at all even offsets below ten.
    struct Even(PartitionId);

    struct EvenEvents(PartitionId, Offset);

    impl Feed for Even {
        fn partition(&self) -> &PartitionId {
            &self.0
        }

        fn end(&self) -> Offset {
            10
        }

        fn open(&self, from: Offset) -> Box<dyn Events> {
            Box::new(EvenEvents(self.0.clone(), from))
        }
    }

    #[async_trait]
    impl Events for EvenEvents {
        async fn next(&mut self, max: usize) -> Result<(Vec<Stored<Event<'static>>>, Offset), LogError> {
            let end = (self.1 + max as Offset).min(10);
            let event = |offset| Stored {
                partition: self.0.clone(),
                offset,
                received_at: 0,
                source: "web".into(),
                test: false,
                record: Event::new(Kind::Track, offset.to_string()),
            };
            let events = (self.1..end).filter(|offset| offset % 2 == 0).map(event).collect();
            self.1 = end;
            Ok((events, end))
        }

        fn passed(&mut self) -> Vec<Passed> {
            Vec::new()
        }
    }

    #[tokio::test]
    async fn settled_events_are_left_out_and_the_position_moves_past_them() {
        let feed = Arc::new(Even(PartitionId("0".into())));
        let unsettled = Unsettled { feed, settled: vec![0, 2, 6] };
        for (from, expected) in [(0, vec![4, 8]), (5, vec![8]), (9, vec![])] {
            let mut events = unsettled.open(from);
            let (mut found, mut next) = (Vec::new(), from);
            while next < unsettled.end() {
                let (read, position) = events.next(3).await.unwrap();
                assert!(position > next);
                next = position;
                found.extend(read.into_iter().map(|event| event.offset));
            }
            assert_eq!(found, expected, "from {from}");
        }
    }
}
