//! Delivery as a whole: a destination for each enabled connection, and what people ask of them.
//!
//! [`Service`] follows the connections in the control store: it starts the lanes of those that are
//! enabled, stops those of the others, and begins anew with every change of configuration. What a
//! lane does stands in [`crate::engine`].

mod custodian;
mod dead;
mod destination;
mod ended;
mod history;
mod lasting;
mod paced;
mod preview;
mod replays;
mod tally;
mod timed;

pub use dead::DeadOnes;
pub use destination::Status;
pub use history::{Counted, History, SETTLED_MAX, Settled};
pub use preview::{Preview, PreviewedEvent, PreviewedRequest};
pub use replays::Estimate;

use crate::Feed;
use crate::engine::{Check, Node, RuntimeTime, Time};
use crate::vendors;
use destination::Destination;
use pipeline::condition::Compiler;
use pipeline::connection::{Connection, ConnectionError, Connections, Start, State, Suppressed};
use pipeline::control::ControlError;
use pipeline::delivery::lane_store::LaneStore;
use pipeline::delivery::table::Deliveries;
use pipeline::egress::{Egress, HostMap, Http};
use pipeline::log::{Log, LogError, PartitionId};
use pipeline::{Clock, vendor};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether another process changed a connection.
const FOLLOW: Duration = Duration::from_secs(1);
/// How often it is looked for webhooks that have failed for days.
const LASTING: Duration = Duration::from_secs(3_600);

/// What delivery works with.
pub struct Parts {
    /// Where events come from.
    pub log: Arc<Log>,
    /// Which destinations there are.
    pub connections: Arc<Connections>,
    /// Where outcomes are written down.
    pub deliveries: Arc<Deliveries>,
    /// Where lanes keep their state.
    pub lanes: Arc<dyn LaneStore>,
    /// Where requests leave.
    pub egress: Egress,
    /// What compiles conditions.
    pub compiler: Arc<dyn Compiler>,
    /// What finds events by time.
    pub history: Arc<dyn History>,
    /// The time of day.
    pub clock: Clock,
}

/// Why delivery could not do what a person asked for.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// The connection cannot be used as it is; the message says what to change.
    #[error("{0}")]
    Refused(String),
    /// The connections could not be read, or their credentials not opened.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The control store failed. Try again.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The log could not be read. Try again.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Events could not be found by time. Try again.
    #[error("the log could not be searched: {0}")]
    History(String),
}

/// Delivers events to all enabled connections.
pub struct Service {
    parts: Arc<Parts>,
    node: Node,
    time: Arc<dyn Time>,
    destinations: Mutex<BTreeMap<Arc<str>, Destination>>,
    wake: Notify,
    /// The partitions that have ended and are this node's to deliver.
    assigned: watch::Sender<Vec<PartitionId>>,
    /// Dead events of partitions that have ended, which people want to be sent again.
    reviving: Mutex<Vec<ended::Revive>>,
}

/// The connections as they were when they were looked at last.
#[derive(Default)]
struct Followed {
    changes: Option<i64>,
    suppressed: Arc<Suppressed>,
    /// Where each connection was to begin; one that is to begin elsewhere begins anew.
    starts: BTreeMap<Arc<str>, Option<Start>>,
}

impl Service {
    /// A service that delivers nothing before [`Service::run`].
    pub fn new(parts: Parts) -> Arc<Self> {
        let time = Arc::new(RuntimeTime::new(parts.clock.clone()));
        Arc::new(Self {
            parts: Arc::new(parts),
            node: Node::default(),
            time,
            destinations: Mutex::default(),
            wake: Notify::new(),
            assigned: watch::Sender::new(Vec::new()),
            reviving: Mutex::default(),
        })
    }

    /// Delivers until `stop`. Requests under way have [`crate::engine::GRACE`] to come back.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut followed = Followed::default();
        let looking = tokio::spawn(Arc::clone(&self).look_for_ended(stop.clone()));
        let mut next_lasting = tokio::time::Instant::now() + LASTING;
        while !stop.is_cancelled() {
            if let Err(error) = self.follow(&mut followed).await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "connections could not be followed; what is running goes on");
            }
            if let Err(error) = self.follow_ended().await {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "partitions that have ended could not be delivered; it is tried again");
            }
            self.look_after().await;
            if tokio::time::Instant::now() >= next_lasting {
                next_lasting += LASTING;
                if let Err(error) = self.disable_what_failed_for_days().await {
                    tracing::warn!(%error, "webhooks that have failed for days could not be looked for");
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
                () = tokio::time::sleep(FOLLOW) => {}
            }
        }
        let running = std::mem::take(&mut *self.lock());
        futures::future::join_all(running.into_values().map(Destination::stop)).await;
        if let Err(error) = looking.await {
            tracing::error!(%error, "looking for partitions that have ended broke down");
        }
    }

    /// Looks for changes now rather than within a second.
    pub fn changed(&self) {
        self.wake.notify_one();
    }

    /// Moves everything that was decided into the `deliveries` table.
    ///
    /// # Errors
    /// As [`Deliveries::flush`].
    pub async fn flush(&self) -> Result<(), LogError> {
        self.parts.deliveries.flush().await
    }

    /// How deliveries to a connection stand; `None` where nothing is delivered.
    pub fn status(&self, connection: &str) -> Option<Status> {
        self.lock().get(connection).map(Destination::status)
    }

    /// Proves a connection step by step; `sample` allows an event that a person will see.
    ///
    /// # Errors
    /// When the connection cannot be used as it is.
    pub async fn test(&self, connection: &str, sample: bool) -> Result<Check, ServiceError> {
        let connection = self.connection(connection).await?;
        let sink = self.parts.sink(&connection)?;
        let http = timed::Timed::new(self.parts.http(&connection)?);
        let mut check = sink.check(&http, self.parts.clock.now(), sample).await;
        http.fill(&mut check);
        Ok(check)
    }

    async fn connection(&self, id: &str) -> Result<Connection, ServiceError> {
        Ok(self.parts.connections.store().connection(id).await?)
    }

    async fn follow(&self, followed: &mut Followed) -> Result<(), ServiceError> {
        let store = self.parts.connections.store();
        let changes = store.changes().await?;
        if followed.changes == Some(changes) {
            return Ok(());
        }
        let connections = store.connections().await?;
        let suppressed = store.suppressed().await?;
        if *followed.suppressed != suppressed {
            followed.suppressed = Arc::new(suppressed);
        }
        self.forget(&connections).await?;
        let mut all_started = true;
        for connection in &connections {
            self.stop_if_changed(connection, &followed.suppressed).await;
            let is_running = self.lock().contains_key(&connection.id);
            let before = followed.starts.entry(Arc::clone(&connection.id)).or_insert(connection.start);
            if connection.state == State::Enabled && !is_running {
                let anew = *before != connection.start;
                match self.start(connection, &followed.suppressed, anew).await {
                    true => *before = connection.start,
                    false => all_started = false,
                }
            }
        }
        self.follow_replays().await?;
        followed.changes = all_started.then_some(changes);
        Ok(())
    }

    /// Stops what no connection stands for any more, and removes what is known of it.
    async fn forget(&self, connections: &[Connection]) -> Result<(), ServiceError> {
        let exists = |id: &str| connections.iter().any(|connection| *connection.id == *id);
        let erased: Vec<Arc<str>> = self.lock().keys().filter(|id| !exists(id)).cloned().collect();
        for id in erased {
            self.stop(&id).await;
        }
        for lane in self.parts.lanes.lanes().await? {
            if !exists(&lane.lane.destination) {
                self.parts.lanes.forget(&lane.lane.destination).await?;
            }
        }
        Ok(())
    }

    async fn stop_if_changed(&self, connection: &Connection, suppressed: &Arc<Suppressed>) {
        let is_as_it_should = self.lock().get(&connection.id).is_none_or(|destination| {
            connection.state == State::Enabled && destination.is_made_from(connection, suppressed)
        });
        if !is_as_it_should {
            self.stop(&connection.id).await;
        }
    }

    async fn stop(&self, id: &str) {
        let running = self.lock().remove(id);
        if let Some(destination) = running {
            destination.stop().await;
        }
    }

    /// Starts a destination. One that cannot be used is held, so that a person sees why. The answer is
    /// whether that is the end of it; if not, it is tried again.
    async fn start(&self, connection: &Connection, suppressed: &Arc<Suppressed>, anew: bool) -> bool {
        let Self { parts, node, time, .. } = self;
        let ended = if anew { self.assigned.borrow().clone() } else { Vec::new() };
        let anew = anew.then_some(&*ended);
        let started = Destination::start(parts, node, time, connection, suppressed, anew).await;
        match started {
            Ok(destination) => {
                self.lock().insert(Arc::clone(&connection.id), destination);
            }
            Err(ServiceError::Refused(why)) => {
                custodian::hold_unusable(&self.parts, connection, why).await;
            }
            Err(error) => {
                let name = &connection.name;
                tracing::warn!(connection.id = %connection.id, %error, "delivery to `{name}` could not start; it is tried again");
                return false;
            }
        }
        true
    }

    /// Sees to lanes that ended by themselves, and measures all others.
    async fn look_after(&self) {
        let now = self.parts.clock.now();
        let (mut ended, mut unknown) = (Vec::new(), Vec::new());
        for (id, destination) in &*self.lock() {
            destination.measure(now);
            if destination.has_ended() {
                ended.push(Arc::clone(id));
            } else if let Some(cursor) = destination.unknown_oldest() {
                unknown.push((Arc::clone(id), cursor));
            }
        }
        for id in ended {
            // The reason is told where it is stopped; the next look starts it where it stopped.
            self.stop(&id).await;
        }
        for (id, cursor) in unknown {
            let at = destination::received_at(&*self.parts.log, cursor).await;
            if let (Some(at), Some(destination)) = (at, self.lock().get_mut(&id)) {
                destination.set_oldest(cursor, at);
            }
        }
        self.look_after_ended().await;
        self.look_after_replays().await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Destination>> {
        self.destinations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    /// The events of a partition: this node's own, or what is committed of another.
    fn feed(&self, partition: &PartitionId) -> Arc<dyn Feed> {
        if partition == self.log.partition() {
            return Arc::clone(&self.log) as _;
        }
        Arc::new(self.log.foreign(partition))
    }

    /// The sink of a connection.
    fn sink(&self, connection: &Connection) -> Result<Arc<dyn crate::engine::Sink>, ServiceError> {
        let credentials = self.connections.open_credentials(connection)?;
        let account = crate::engine::Account { settings: connection.settings.clone(), credentials };
        vendors::sink(&connection.vendor, &account).map_err(|error| ServiceError::Refused(error.to_string()))
    }

    /// Where the requests of a connection leave.
    fn http(&self, connection: &Connection) -> Result<Arc<dyn Http>, ServiceError> {
        let refused = |error: &dyn std::error::Error| ServiceError::Refused(error.to_string());
        let hosts = HostMap::parse(&connection.hosts).map_err(|error| refused(&error))?;
        self.egress.for_hosts(hosts).map_err(|error| refused(&error))
    }

    /// The names that a connection goes by in `integrations` objects.
    fn known_as(&self, connection: &Connection) -> crate::engine::selection::KnownAs {
        let facts = vendor::named(&connection.vendor);
        let mut names = vec![connection.name.clone()];
        names.extend(facts.into_iter().flat_map(|vendor| vendor.outbound.integrations.clone()));
        let explicit = facts.is_some_and(|vendor| vendor.outbound.integrations_explicit);
        crate::engine::selection::KnownAs { names, explicit }
    }
}
