//! The log, the journal and the store of checkpoints, as long as the process lives.

use super::world::World;
use crate::engine::state::Save;
use crate::{Events, Feed};
use async_trait::async_trait;
use pipeline::control::ControlError;
use pipeline::delivery::journal::{JournalError, Records};
use pipeline::delivery::lane_store::{
    Checkpoint, Dead, DeadFilter, DeadPage, LaneStore, LaneSummary, Parked,
};
use pipeline::delivery::{LaneId, Record};
use pipeline::event::Event;
use pipeline::log::{LogError, Offset, PartitionId, Passed, Stored};
use rand::RngExt;
use std::sync::Arc;
use std::time::Duration;

/// The world as one life of the process sees it.
#[derive(Clone)]
pub(super) struct Machine(pub(super) Arc<World>);

impl Machine {
    /// Lets a disk take its time.
    async fn write(&self) {
        let delay = self.0.lock().random.random_range(100..20_000);
        self.0.clock.sleep(Duration::from_micros(delay)).await;
    }
}

#[async_trait]
impl Records for Machine {
    async fn append(&self, records: Vec<Record>) -> Result<u64, JournalError> {
        self.0.lock().disk.appending = Some(records);
        self.write().await;
        let records = self.0.lock().disk.appending.take().expect("one append at a time");
        if self.0.chance(self.0.plan.weather.journal_fails) {
            // Whether they are kept shows when the process starts anew.
            self.0.lock().disk.appending = Some(records);
            return Err(JournalError::Failed("the disk is gone".to_owned()));
        }
        Ok(self.0.commit(records))
    }
}

#[async_trait]
impl LaneStore for Machine {
    async fn load(&self, _: &LaneId) -> Result<Option<Checkpoint>, ControlError> {
        Ok(self.0.lock().disk.checkpoint.clone())
    }

    async fn save(
        &self,
        _: &LaneId,
        cursor: Offset,
        journal: u64,
        put: &[Parked],
        removed: &[Offset],
        dead: &[Dead],
        revived: &[Offset],
    ) -> Result<(), ControlError> {
        let (put, removed) = (put.to_vec(), removed.to_vec());
        let save = Save { cursor, journal, put, removed, dead: dead.to_vec(), revived: revived.to_vec() };
        self.0.lock().disk.saving = Some(save);
        self.write().await;
        let save = self.0.lock().disk.saving.take().expect("one save at a time");
        if self.0.chance(self.0.plan.weather.store_fails) {
            return Err(ControlError::Invalid("the disk is full".to_owned()));
        }
        self.0.lock().disk.save(save);
        Ok(())
    }

    async fn dead(&self, _: &str, _: &DeadFilter) -> Result<DeadPage, ControlError> {
        unreachable!("only people look at dead events")
    }

    async fn resolve(&self, _: &LaneId, _: &[Offset]) -> Result<(), ControlError> {
        unreachable!("only replays of what failed resolve dead events")
    }

    async fn lanes(&self) -> Result<Vec<LaneSummary>, ControlError> {
        unreachable!("only the journal asks for all lanes")
    }

    async fn forget(&self, _: &str) -> Result<(), ControlError> {
        unreachable!("only people remove destinations")
    }
}

/// The log: events are there once their time has come.
pub(super) struct SimulatedFeed {
    pub(super) machine: Machine,
    pub(super) partition: PartitionId,
}

impl Feed for SimulatedFeed {
    fn partition(&self) -> &PartitionId {
        &self.partition
    }

    fn end(&self) -> Offset {
        let World { plan, clock, .. } = &*self.machine.0;
        let now = clock.elapsed();
        plan.events.iter().find(|(_, (at, _))| *at > now).map_or(plan.end, |(offset, _)| *offset)
    }

    fn open(&self, from: Offset) -> Box<dyn Events> {
        let partition = self.partition.clone();
        Box::new(Position { feed: Self { machine: self.machine.clone(), partition }, next: from })
    }
}

/// A place in the log.
struct Position {
    feed: SimulatedFeed,
    next: Offset,
}

#[async_trait]
impl Events for Position {
    async fn next(&mut self, max: usize) -> Result<(Vec<Stored<Event<'static>>>, Offset), LogError> {
        let World { plan, clock, .. } = &*self.feed.machine.0;
        if self.feed.machine.0.chance(plan.weather.read_fails) {
            return Err(LogError::store("a read", std::io::Error::other("the store does not answer")));
        }
        while self.feed.end() <= self.next {
            let Some((_, (at, _))) = plan.events.range(self.next..).next() else {
                std::future::pending().await
            };
            let wait = u64::try_from((*at - clock.elapsed()).max(1)).unwrap_or(1);
            clock.sleep(Duration::from_micros(wait)).await;
        }
        let end = self.feed.end();
        let events: Vec<_> =
            plan.events.range(self.next..end).take(max).map(|(_, (_, event))| event.clone()).collect();
        self.next = if events.len() == max { events[max - 1].offset + 1 } else { end };
        Ok((events, self.next))
    }

    fn passed(&mut self) -> Vec<Passed> {
        Vec::new()
    }
}
