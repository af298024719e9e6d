//! Which events the destinations of this node have not got yet.

use super::lane_store::{LaneStore, LaneSummary};
use crate::connection::{Connection, ConnectionStore, Replay, ReplayState, State};
use crate::control::ControlError;
use crate::log::retention::{Need, Needs, Partitions};
use crate::log::{LogError, PartitionId};
use async_trait::async_trait;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The needs of destinations and replays, as their lanes' checkpoints tell them.
///
/// A checkpoint is never ahead of its lane, so what a lane still has to read or to send again is
/// always among the needs. A replay opens its lanes one after the other, so it needs every partition that
/// it has none in yet, too. Only enabled destinations and running replays are waited for.
pub struct DestinationNeeds {
    /// Which destinations and replays there are.
    pub connections: Arc<dyn ConnectionStore>,
    /// Where their lanes stand.
    pub lanes: Arc<dyn LaneStore>,
}

#[async_trait]
impl Needs for DestinationNeeds {
    async fn needs(&self) -> Result<Vec<Need>, LogError> {
        self.all().await.map_err(|error| LogError::store("what destinations need cannot be known", error))
    }
}

impl DestinationNeeds {
    async fn all(&self) -> Result<Vec<Need>, ControlError> {
        // The lanes first: one that begins meanwhile is of the next look.
        let lanes = self.lanes.lanes().await?;
        let (connections, replays) =
            (self.connections.connections().await?, self.connections.open_replays().await?);
        let mut needs = Vec::new();
        let mut come_to: HashMap<Arc<str>, BTreeSet<PartitionId>> = HashMap::new();
        for LaneSummary { lane, .. } in lanes {
            let Some(connection) = connections.iter().find(|one| one.id == lane.destination) else {
                continue;
            };
            let replay = match &lane.replay {
                None => None,
                Some(id) => match replays.iter().find(|replay| replay.id == *id) {
                    None => continue,
                    found => found,
                },
            };
            let Some(checkpoint) = self.lanes.load(&lane).await? else { continue };
            let parked = checkpoint.parked.iter().map(|parked| parked.offset);
            if let Some(id) = lane.replay {
                come_to.entry(id).or_default().insert(lane.partition.clone());
            }
            needs.push(Need {
                partitions: Partitions::One(lane.partition),
                offset: parked.fold(checkpoint.cursor, u64::min),
                from: None,
                by: name(connection, replay),
                passed_over: passed_over(connection, replay).map(ToOwned::to_owned),
            });
        }
        for replay in &replays {
            let Some(owner) = connections.iter().find(|one| one.id == replay.connection) else { continue };
            needs.push(to_come(owner, replay, come_to.remove(&replay.id).unwrap_or_default()));
        }
        Ok(needs)
    }
}

/// What a replay needs of the partitions that it has not come to: all but those that it has.
fn to_come(connection: &Connection, replay: &Replay, come_to: BTreeSet<PartitionId>) -> Need {
    Need {
        partitions: Partitions::AllBut(come_to),
        offset: 0,
        from: replay.spec.from,
        by: name(connection, Some(replay)),
        passed_over: passed_over(connection, Some(replay)).map(ToOwned::to_owned),
    }
}

fn name(connection: &Connection, replay: Option<&Replay>) -> String {
    match replay {
        None => format!("destination `{}`", connection.name),
        Some(replay) => format!("replay `{}` to `{}`", replay.id, connection.name),
    }
}

fn passed_over(connection: &Connection, replay: Option<&Replay>) -> Option<&'static str> {
    match connection.state {
        State::Enabled => {
            replay.filter(|replay| replay.state != ReplayState::Running).map(|_| "it is paused")
        }
        State::Draft => Some("it is not enabled"),
        State::Paused => Some("it is paused"),
        State::Held => Some("it is held until somebody sees to it"),
        State::Disabled => Some("it is disabled"),
    }
}

#[cfg(test)]
mod tests;
