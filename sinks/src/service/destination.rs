//! One enabled connection: its sink, its gates, and its lanes.

use super::custodian::Custodian;
use super::tally::Tally;
use super::{Parts, ServiceError};
use crate::engine::flow::BreakerState;
use crate::engine::mapping::Mapping;
use crate::engine::selection::Selection;
use crate::engine::{
    Bounds, Command, Ended, FeedEventsAt, Gates, Handle, Lane, LaneConfig, LaneState, LaneStatus, Node,
    OrderMode, Ports, RetryProfile, Sink, Time, WaitsFor,
};
use crate::{Events, Feed};
use pipeline::Micros;
use pipeline::condition::Condition;
use pipeline::connection::{Connection, Order, Start, StartFrom, Suppressed};
use pipeline::control::Secret;
use pipeline::delivery::lane_store::Checkpoint;
use pipeline::delivery::{LaneId, Record};
use pipeline::log::{Offset, PartitionId};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// One enabled connection while it is delivered to.
pub(super) struct Destination {
    made_from: MadeFrom,
    pub(super) template: Arc<Template>,
    live: Running,
    pub(super) replays: BTreeMap<Arc<str>, super::replays::Running>,
    /// The lanes through partitions that have ended.
    pub(super) ended: BTreeMap<PartitionId, super::ended::Through>,
    /// The received time of the event at the cursor, as of that cursor.
    oldest: Option<(Offset, Micros)>,
}

/// What a destination was made from; with anything else it has to be made anew.
struct MadeFrom {
    version: u64,
    start: Option<Start>,
    suppressed: Arc<Suppressed>,
}

/// What every lane of a destination is made of.
pub(super) struct Template {
    pub(super) parts: Arc<Parts>,
    pub(super) connection: Connection,
    sink: Arc<dyn Sink>,
    http: Arc<dyn pipeline::egress::Http>,
    pub(super) selection: Selection,
    condition: Option<Arc<dyn Condition>>,
    suppressed: Arc<Suppressed>,
    secrets: Vec<Secret>,
    gates: Arc<Gates>,
    time: Arc<dyn Time>,
}

/// A lane that is running.
pub(super) struct Running {
    stop: CancellationToken,
    pub(super) task: JoinHandle<Ended>,
    pub(super) handle: Handle,
    pub(super) tally: Arc<Tally>,
}

/// How deliveries to a connection stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// How its lane stands; what waits in partitions that have ended is counted, too.
    pub lane: LaneStatus,
    /// When the event at the cursor was received; `None` when nothing waits, or nobody has looked yet.
    pub oldest: Option<Micros>,
    /// The breaker.
    pub breaker: BreakerState,
}

impl Destination {
    /// Starts the live lane of a connection: where it stopped, or where the connection says when it
    /// never ran or is to begin `anew`; its lanes through these other partitions then begin anew, too.
    pub(super) async fn start(
        parts: &Arc<Parts>,
        node: &Node,
        time: &Arc<dyn Time>,
        connection: &Connection,
        suppressed: &Arc<Suppressed>,
        anew: Option<&[PartitionId]>,
    ) -> Result<Self, ServiceError> {
        let template = Template::new(parts, node, time, connection, suppressed)?;
        let here = parts.log.partition();
        if let Some(ended) = anew {
            for partition in ended.iter().chain([here]) {
                template.begin_anew(&template.lane(partition, None)).await?;
            }
        }
        let state = template.recover(&template.lane(here, None), template.live_start(here).await?).await?;
        let live = template.run(state, parts.feed(here), template.selection.clone(), None, Vec::new())?;
        let made_from = MadeFrom {
            version: connection.version,
            start: connection.start,
            suppressed: Arc::clone(suppressed),
        };
        let (replays, ended) = (BTreeMap::new(), BTreeMap::new());
        Ok(Self { made_from, template: Arc::new(template), live, replays, ended, oldest: None })
    }

    /// Whether it is as these would make it.
    pub(super) fn is_made_from(&self, connection: &Connection, suppressed: &Arc<Suppressed>) -> bool {
        self.made_from.version == connection.version
            && self.made_from.start == connection.start
            && Arc::ptr_eq(&self.made_from.suppressed, suppressed)
    }

    /// Stops all its lanes and waits for them.
    pub(super) async fn stop(self) {
        let replays = self.replays.into_values().map(super::replays::Running::stop);
        let ended = self.ended.into_values().filter_map(|through| through.running).map(Running::stop);
        tokio::join!(self.live.stop(), futures::future::join_all(replays), futures::future::join_all(ended));
    }

    /// Why the live lane ended, once it has.
    pub(super) fn has_ended(&self) -> bool {
        self.live.task.is_finished()
    }

    pub(super) fn commands(&self) -> tokio::sync::mpsc::Sender<Command> {
        self.live.handle.commands.clone()
    }

    pub(super) fn status(&self) -> Status {
        let mut lane = self.live.handle.status.borrow().clone();
        let oldest = self.oldest.filter(|(cursor, _)| *cursor == lane.cursor && lane.behind > 0);
        for through in self.ended.values().filter_map(|through| through.running.as_ref()) {
            let status = through.handle.status.borrow();
            lane.behind += status.behind;
            lane.parked += status.parked;
            lane.in_flight += status.in_flight;
        }
        Status { oldest: oldest.map(|(_, at)| at), breaker: self.template.gates.breaker(), lane }
    }

    /// The cursor whose event's time is not known yet, where something waits.
    pub(super) fn unknown_oldest(&self) -> Option<Offset> {
        let lane = self.live.handle.status.borrow();
        (lane.behind > 0 && self.oldest.is_none_or(|(cursor, _)| cursor != lane.cursor))
            .then_some(lane.cursor)
    }

    pub(super) fn set_oldest(&mut self, cursor: Offset, at: Micros) {
        self.oldest = Some((cursor, at));
    }

    /// Lets Prometheus know how the destination stands.
    pub(super) fn measure(&self, now: Micros) {
        let (id, status) = (self.template.connection.id.to_string(), self.status());
        let vendor = self.template.connection.vendor.clone();
        let gauge = |name: &'static str, value: f64| {
            metrics::gauge!(name, "connection" => id.clone(), "vendor" => vendor.clone()).set(value);
        };
        gauge("flowstate_delivery_lag_offsets", status.lane.behind as f64);
        gauge("flowstate_delivery_lag_seconds", status.oldest.map_or(0.0, |at| (now - at) as f64 / 1e6));
        gauge("flowstate_delivery_parked_events", status.lane.parked as f64);
        gauge("flowstate_delivery_requests_in_flight", status.lane.in_flight as f64);
        gauge("flowstate_delivery_breaker_open", f64::from(status.breaker != BreakerState::Closed));
        gauge("flowstate_delivery_held", f64::from(matches!(status.lane.waits_for, WaitsFor::Hold(_))));
    }
}

impl Template {
    fn new(
        parts: &Arc<Parts>,
        node: &Node,
        time: &Arc<dyn Time>,
        connection: &Connection,
        suppressed: &Arc<Suppressed>,
    ) -> Result<Self, ServiceError> {
        let refused = |error: &dyn std::error::Error| ServiceError::Refused(error.to_string());
        let (sink, http) = (parts.sink(connection)?, parts.http(connection)?);
        let routing = &connection.routing;
        let compile = |text: &String| parts.compiler.compile(text).map_err(|error| refused(&error));
        let condition = routing.condition.as_ref().map(compile).transpose()?;
        let selection =
            Selection::new(routing, parts.known_as(connection), Arc::clone(suppressed), condition.clone())
                .map_err(|error| refused(&error))?;
        let secrets = parts.connections.open_credentials(connection)?.into_values().collect();
        let gates = Gates::new(
            Arc::clone(&connection.id),
            sink.manners(),
            routing.rate_cap,
            None,
            node.clone(),
            seed(&connection.id, parts.clock.now()),
        );
        Ok(Self {
            parts: Arc::clone(parts),
            connection: connection.clone(),
            sink,
            http,
            selection,
            condition,
            suppressed: Arc::clone(suppressed),
            secrets,
            gates: Arc::new(gates),
            time: Arc::clone(time),
        })
    }

    /// Whether its vendor is a receiver of a person's own, which may vanish for good.
    pub(super) fn gives_up_for_good(&self) -> bool {
        self.sink.manners().retry == RetryProfile::Webhook
    }

    /// The lane through a partition.
    pub(super) fn lane(&self, partition: &PartitionId, replay: Option<Arc<str>>) -> LaneId {
        LaneId { destination: Arc::clone(&self.connection.id), partition: partition.clone(), replay }
    }

    /// The selection of a replay: the routing's, and `condition` besides; imported events too.
    pub(super) fn selection_with(
        &self,
        condition: Option<Arc<dyn Condition>>,
    ) -> Result<Selection, ServiceError> {
        let conditions: Vec<_> = self.condition.iter().cloned().chain(condition).collect();
        let condition: Option<Arc<dyn Condition>> =
            (!conditions.is_empty()).then(|| Arc::new(super::replays::All(conditions)) as _);
        let known_as = self.parts.known_as(&self.connection);
        Selection::new(&self.connection.routing, known_as, Arc::clone(&self.suppressed), condition)
            .map(Selection::with_imported)
            .map_err(|error| ServiceError::Refused(error.to_string()))
    }

    /// Where the live lane through a partition begins when it begins anew.
    pub(super) async fn live_start(&self, partition: &PartitionId) -> Result<Offset, ServiceError> {
        match self.connection.start {
            Some(Start { from: StartFrom::Beginning, .. }) => Ok(0),
            Some(Start { from: StartFrom::Time(time), .. }) => self.offset_at(partition, time).await,
            Some(Start { from: StartFrom::Now, asked_at }) => self.offset_at(partition, asked_at).await,
            None => Ok(self.parts.feed(partition).end()),
        }
    }

    /// The first offset of a partition that was received at `time` or later.
    pub(super) async fn offset_at(
        &self,
        partition: &PartitionId,
        time: Micros,
    ) -> Result<Offset, ServiceError> {
        let end = self.parts.feed(partition).end();
        let found = self.parts.history.first_at(partition, time).await;
        Ok(found.map_err(ServiceError::History)?.unwrap_or(end))
    }

    /// Puts a lane that ran before to where the connection begins; what waited is passed over.
    async fn begin_anew(&self, lane: &LaneId) -> Result<(), ServiceError> {
        let Some(old) = self.parts.lanes.load(lane).await? else { return Ok(()) };
        let waiting: Vec<Offset> = old.parked.iter().map(|parked| parked.offset).collect();
        let start = self.live_start(&lane.partition).await?;
        let last = self.parts.deliveries.journal().last();
        Ok(self.parts.lanes.save(lane, start, last, &[], &waiting, &[], &[]).await?)
    }

    /// The state of a lane as the last process left it; a lane that has none begins at `start`.
    pub(super) async fn recover(&self, lane: &LaneId, start: Offset) -> Result<LaneState, ServiceError> {
        let journal = Arc::clone(self.parts.deliveries.journal());
        let checkpoint = match self.parts.lanes.load(lane).await? {
            Some(checkpoint) => checkpoint,
            None => {
                let last = journal.last();
                self.parts.lanes.save(lane, start, last, &[], &[], &[], &[]).await?;
                Checkpoint { cursor: start, journal: last, parked: Vec::new() }
            }
        };
        let (from, of) = ((checkpoint.journal + 1).max(journal.first()), lane.clone());
        let records = tokio::task::spawn_blocking(move || {
            let mut reader = journal.reader(from);
            let mut found: Vec<(u64, Record)> = Vec::new();
            while let Some(group) = reader.next_group()? {
                found.extend(group.into_iter().filter(|(_, record)| record.lane == of));
            }
            Ok::<_, pipeline::delivery::journal::JournalError>(found)
        })
        .await
        .map_err(|error| ServiceError::History(error.to_string()))?
        .map_err(|error| ServiceError::Log(error.into()))?;
        Ok(LaneState::recover(lane.clone(), &checkpoint, records))
    }

    /// Runs a lane from a state on; first of all it sends the dead events `revive` again.
    pub(super) fn run(
        &self,
        state: LaneState,
        feed: Arc<dyn Feed>,
        selection: Selection,
        end: Option<Offset>,
        revive: Vec<Offset>,
    ) -> Result<Running, ServiceError> {
        let (connection, manners) = (&self.connection, self.sink.manners());
        let mapping = Mapping::compile(&connection.routing.mapping)
            .map_err(|error| ServiceError::Refused(error.to_string()))?;
        let tally =
            Tally::new(Arc::clone(self.parts.deliveries.journal()), &connection.id, &connection.vendor);
        let ports = Ports {
            events_at: Arc::new(FeedEventsAt(self.parts.feed(&state.lane().partition))),
            feed,
            records: Arc::clone(&tally) as _,
            store: Arc::clone(&self.parts.lanes),
            http: Arc::clone(&self.http),
            time: Arc::clone(&self.time),
            owner: Arc::new(Custodian { parts: Arc::clone(&self.parts), connection: connection.clone() }),
        };
        let config = LaneConfig {
            sink: Arc::clone(&self.sink),
            selection,
            mapping,
            order: connection.routing.order.map_or(manners.order, |order| match order {
                Order::PerUser => OrderMode::PerUser,
                Order::None => OrderMode::None,
                Order::Strict => OrderMode::Strict,
            }),
            ambiguous: connection.routing.ambiguous.unwrap_or(manners.ambiguous),
            retry: manners.retry,
            gates: Arc::clone(&self.gates),
            end,
            version: connection.version,
            secrets: self.secrets.clone(),
            bounds: Bounds::default(),
            seed: seed(&connection.id, self.parts.clock.now()),
        };
        let (mut lane, handle) = Lane::new(config, ports, state);
        lane.revive_first(revive);
        let stop = CancellationToken::new();
        let task = tokio::spawn(lane.run(stop.clone()));
        Ok(Running { stop, task, handle, tally })
    }
}

impl Running {
    /// Stops the lane and waits for it.
    pub(super) async fn stop(self) {
        self.stop.cancel();
        self.has_finished().await;
    }

    /// Waits for the end of the lane, and tells what went wrong; whether everything is decided that it was
    /// to reach.
    pub(super) async fn has_finished(self) -> bool {
        match self.task.await {
            Ok(Ended::Finished) => return true,
            Ok(Ended::Stopped) => {}
            Ok(Ended::Journal(error)) => {
                tracing::error!(%error, "a lane stopped: its outcomes cannot be written down; restart");
            }
            Ok(Ended::Log(error)) => tracing::error!(%error, "a lane stopped: the log cannot be read on"),
            Err(error) => tracing::error!(%error, "a lane broke down"),
        }
        false
    }
}

/// When the first event at or behind an offset was received.
pub(super) async fn received_at(feed: &dyn Feed, from: Offset) -> Option<Micros> {
    let mut events: Box<dyn Events> = feed.open(from);
    let mut next = from;
    while next < feed.end() {
        let read = events.next(1).await.ok()?;
        if let Some(event) = read.0.first() {
            return Some(event.received_at);
        }
        next = read.1;
    }
    None
}

/// A seed for jitter: other destinations and other starts get other ones.
fn seed(id: &str, now: Micros) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(id.as_bytes(), now.unsigned_abs())
}
