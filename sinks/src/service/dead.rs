//! Dead events: looking at them, and sending them again.

use super::ended::Revive;
use super::{Service, ServiceError};
use crate::engine::{Command, EventsAt, FeedEventsAt};
use pipeline::Micros;
use pipeline::delivery::Class;
use pipeline::delivery::lane_store::{DEAD_MAX, DeadFilter, DeadPage};
use pipeline::event::Event;
use pipeline::log::{Offset, PartitionId, Stored};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Which dead events are sent again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadOnes {
    /// All of the connection.
    All,
    /// These.
    At(Vec<(PartitionId, Offset)>),
    /// Those given up for this reason.
    Class(Class),
    /// Those given up before this time.
    Before(Micros),
}

impl Service {
    /// A page of the dead events of a connection, newest first, with their message ids.
    ///
    /// # Errors
    /// When the control store or the log cannot be read.
    pub async fn dead(&self, connection: &str, filter: &DeadFilter) -> Result<DeadPage, ServiceError> {
        let mut page = self.parts.lanes.dead(connection, filter).await?;
        let mut nameless: BTreeMap<&PartitionId, BTreeSet<Offset>> = BTreeMap::new();
        for dead in page.dead.iter().filter(|dead| dead.message_id.is_none()) {
            nameless.entry(&dead.lane.partition).or_default().insert(dead.offset);
        }
        let mut ids: HashMap<(PartitionId, Offset), String> = HashMap::new();
        for (partition, offsets) in nameless {
            let offsets: Vec<Offset> = offsets.into_iter().collect();
            let events = FeedEventsAt(self.parts.feed(partition)).read(&offsets).await?;
            let id = |event: Stored<Event<'static>>| {
                ((event.partition, event.offset), event.record.message_id.into_owned())
            };
            ids.extend(events.into_iter().map(id));
        }
        for dead in page.dead.iter_mut().filter(|dead| dead.message_id.is_none()) {
            dead.message_id = ids.get(&(dead.lane.partition.clone(), dead.offset)).cloned();
        }
        Ok(page)
    }

    /// Sends dead events again, and says how many. They keep their ids, so that the vendor may tell that
    /// it has them.
    ///
    /// # Errors
    /// [`ServiceError::Refused`] while the connection is not enabled.
    pub async fn revive(&self, connection: &str, which: &DeadOnes) -> Result<u64, ServiceError> {
        let connection = self.connection(connection).await?;
        let commands = self.lock().get(&connection.id).map(super::Destination::commands);
        let commands = commands.ok_or_else(|| {
            let state = connection.state.as_str();
            ServiceError::Refused(format!("the connection is {state}: resume or enable it first"))
        })?;
        let mut found: BTreeMap<PartitionId, BTreeSet<Offset>> = BTreeMap::new();
        let mut filter = DeadFilter { limit: DEAD_MAX, ..DeadFilter::default() };
        match which {
            DeadOnes::Class(class) => filter.class = Some(*class),
            DeadOnes::Before(before) => filter.before = Some(*before),
            DeadOnes::All | DeadOnes::At(_) => {}
        }
        loop {
            let page = self.parts.lanes.dead(&connection.id, &filter).await?;
            let live = page.dead.into_iter().filter(|dead| dead.lane.replay.is_none());
            let wanted = live.filter(|dead| match which {
                DeadOnes::At(at) => {
                    at.iter().any(|(p, offset)| *p == dead.lane.partition && *offset == dead.offset)
                }
                _ => true,
            });
            for dead in wanted {
                found.entry(dead.lane.partition).or_default().insert(dead.offset);
            }
            match page.next_key {
                Some(key) => filter.after_key = Some(key),
                None => break,
            }
        }
        let mut count = 0;
        for (partition, offsets) in found {
            let offsets: Vec<Offset> = offsets.into_iter().collect();
            count += offsets.len() as u64;
            if partition != *self.parts.log.partition() {
                self.revive_later(Revive { connection: Arc::clone(&connection.id), partition, offsets });
            } else if commands.send(Command::Revive(offsets)).await.is_err() {
                return Err(ServiceError::Refused("the connection was just stopped: try again".to_owned()));
            }
        }
        Ok(count)
    }
}
